"""All steps of an extraction: labels, features of every recording, a corpus."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ifusion.corpora.corpus import UNLABELLED, shorten
from ifusion.corpora.folder.writing import require_new
from ifusion.corpora.gold_standard import GOLD_STANDARDS
from ifusion.features.corpus_folder import (
    FAILURES,
    Continuous,
    Labels,
    complete_places,
    write_extracted,
    write_failures,
)
from ifusion.features.extracted import SUFFIXES
from ifusion.features.extraction import Failure, Recipe, Task, extract_all
from ifusion.features.extractors import (
    Extractor,
    ExtractorOptions,
    Features,
    make_extractor,
    state,
)
from ifusion.features.file_index import FileIndex
from ifusion.features.labels import Listing, code_labels, list_files, read_listing
from ifusion.features.media import SOUNDS, VIDEOS
from ifusion.features.omg_videos import read_omg_videos
from ifusion.features.ravdess_files import list_ravdess
from ifusion.features.traces import read_traces
from ifusion.terminal import note

# shares that are worth a note when low: modality, fact, least, what is missing
RARE = (
    ("audio", "voice_share", 0.05, "a voice is heard"),
    ("video", "face_share", 0.5, "the face is seen"),
)


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
      media: folder of recordings; None if all features come from tables.
      out: folder to make.
      extractors: {modality: name of its extractor}.
      options: shared by the extractors.
      labels: CSV file, see `read_listing`; for "omg" the folder of its CSV files. If
        neither labels nor a corpus is given, only tables of features are written.
      corpus: "ravdess" or "omg", whose layout is known; None for any other.
      target: columns to predict.
      traces: folder of labels over time, see `read_traces`.
      gold: how ratings become one label, "mean" or "avec".
      classes: whether labels that are numbers are names of classes.
      cache: folder for what is extracted; None for one beside `out`.
      jobs: number of processes; None for one per core.
      shard: "i/n" to extract share i of n only; None to extract everything.
    """

    media: Path | None
    out: Path
    extractors: Mapping[str, str]
    options: ExtractorOptions = field(default_factory=ExtractorOptions)
    labels: Path | None = None
    corpus: str | None = None
    target: Sequence[str] = ()
    traces: Path | None = None
    gold: str = "mean"
    classes: bool = False
    cache: Path | None = None
    jobs: int | None = 1
    shard: str | None = None


def make_request(values: Mapping[str, Any]) -> Request:
    """Makes a request from values by name, such as those of flags.

    Args:
      values: entries of `Request` and `ExtractorOptions`; "audio" and "video" name
        extractors, and other names are ignored.

    Raises:
      ValueError: an option is out of range.
    """
    extractors = {m: values[m] for m in ("audio", "video") if values.get(m)}
    given = {"extractors": extractors, **values}

    def of(kind: Any) -> dict[str, Any]:
        return {x.name: given[x.name] for x in fields(kind) if x.name in given}

    given["options"] = ExtractorOptions(**of(ExtractorOptions))
    return Request(**of(Request))


class Report(NamedTuple):
    """What came of it."""

    sentence: str  # a summary for the user
    failures: list[Failure]  # what is left out


def extract_corpus(request: Request) -> Report:
    """Extracts the features of a folder of recordings, and writes a corpus of them.

    Raises:
      CorpusError: the labels are wrong, or no recording has all features.
      ValueError: the request makes no sense, or a library is not installed.
    """
    if not request.extractors:
        raise ValueError("neither --audio nor --video is given")
    share = _share(request.shard)
    if request.shard is None:
        require_new(request.out)
    make_extractor.cache_clear()  # its files may have changed
    extractors = {
        m: make_extractor(m, name, request.options)
        for m, name in request.extractors.items()
    }
    listing, path = _listing(request, extractors)
    labels, unlabelled = _labels(request, listing, path)
    for extractor in extractors.values():
        if extractor.fit and "train" not in listing.partition:
            extractor.fit([])  # fails now rather than after hours
    cache = request.cache or request.out.with_name(f"{request.out.name}.cache")
    if cache.exists() and not cache.is_dir():
        raise ValueError(f"--cache={cache}: expected a folder")
    cache.mkdir(parents=True, exist_ok=True)
    tasks, failures = _tasks(listing, share)
    failures += unlabelled
    found: dict[str, dict[int, Features]] = {m: {} for m in extractors}
    recipe = Recipe(request.extractors, request.options, cache)
    jobs = request.jobs or os.cpu_count() or 1
    for task, features in extract_all(tasks, recipe, jobs):
        if isinstance(features, Failure):
            failures.append(features)
        elif request.shard is None:
            found[task.modality][task.place] = features
    failures += _odd_ones(found)
    failures.sort()
    if request.shard is not None:
        lost = cache / f"failures-{share[0]}-{share[1]}.csv"
        write_failures(lost, listing, failures)
        sentence = f"share {request.shard} is in {cache}"
        return Report(sentence + _left_out(failures, lost), failures)
    for failure in unlabelled:
        for extracted in found.values():
            extracted.pop(failure.place, None)
    places = complete_places(listing, found, failures)
    kept = {m: {i: features[i] for i in places} for m, features in found.items()}
    doubts = tuple(_doubts(listing, kept))
    listing = replace(listing, notes=(*listing.notes, *doubts))
    for sentence in listing.notes:
        note(sentence)
    finished, provenance = {}, {}
    for m, extractor in extractors.items():
        finished[m], states = _finish(extractor, kept[m], listing)
        provenance[m] = state(extractor, states, finished[m].values())
    step = request.options.step
    count = write_extracted(
        request.out, listing, finished, provenance, failures, labels, step
    )
    sentence = f"written: {request.out}, {count} recordings"
    return Report(sentence + _left_out(failures, request.out / FAILURES), failures)


def _left_out(failures: Sequence[Failure], path: Path) -> str:
    count = len({failure.place for failure in failures})
    return f"; left out: {count}, see {path}" if count else ""


def _odd_ones(found: dict[str, dict[int, Features]]) -> list[Failure]:
    """Takes out recordings whose features differ from those of the majority."""
    failures = []
    for modality, features in found.items():
        counts = Counter(f.names for f in features.values())
        usual = counts.most_common(1)[0][0] if counts else ()
        for place, mine in list(features.items()):
            if mine.names != usual:
                reason = f"it has {len(mine.names)} features, others {len(usual)}"
                if len(mine.names) == len(usual):
                    reason = "the names of its features differ from those of others"
                failures.append(Failure(place, modality, reason))
                del features[place]
    return failures


def _finish(
    extractor: Extractor, found: Mapping[int, Features], listing: Listing
) -> tuple[dict[int, Features], dict[str, Any]]:
    """Does the last step, with what it learns from train; returns all states, too."""
    states = dict(extractor.states)
    if extractor.fit:
        train = [f for i, f in found.items() if listing.partition[i] == "train"]
        states |= extractor.fit(train)
    return {i: extractor.finish(f, states) for i, f in found.items()}, states


def _doubts(
    listing: Listing, found: Mapping[str, Mapping[int, Features]]
) -> Iterator[str]:
    """Says what is possible, but rarely meant."""
    rates = {
        int(features.facts["sound_rate"])
        for features in found.get("audio", {}).values()
        if "sound_rate" in features.facts
    }
    if len(rates) > 1:
        yield (
            f"features depend on the sampling rate, and recordings have "
            f"{', '.join(map(str, sorted(rates)))} Hz; --rate={min(rates)} resamples "
            "them all"
        )
    for modality, fact, least, what in RARE:
        rare = [
            f"{listing.recording[place]} ({features.facts[fact]:.0%})"
            for place, features in sorted(found.get(modality, {}).items())
            if features.facts.get(fact, 1) < least
        ]
        if rare:
            yield f"{what} in little of {len(rare)} recordings: {shorten(rare)}"


def _share(shard: str | None) -> tuple[int, int]:
    """Reads "i/n"; (1, 1) if there is none."""
    if shard is None:
        return 1, 1
    first, slash, last = shard.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal()):
        raise ValueError(f"--shard={shard}, expected i/n, such as 2/4")
    if not 1 <= int(first) <= int(last):
        raise ValueError(f"--shard={shard}, expected 1/{last} to {last}/{last}")
    return int(first), int(last)


def _listing(
    request: Request, extractors: Mapping[str, Extractor]
) -> tuple[Listing, Path]:
    """Returns the recordings, and the path that lists them."""
    omg = request.corpus == "omg"
    if omg and request.labels is None:
        raise ValueError("--corpus=omg needs --labels, the folder of its CSV files")
    if request.corpus == "ravdess" and request.labels is not None:
        raise ValueError("--corpus=ravdess has its labels in file names, not --labels")
    if request.traces is None and request.gold != "mean":
        raise ValueError("--gold needs --traces")
    if request.labels is None and (request.target or request.classes):
        raise ValueError("--target and --classes need --labels")
    if request.traces is not None and (request.labels is None or omg):
        raise ValueError("--traces needs --labels, a CSV file with partitions")
    indices = {m: _index(request, m, e.tables) for m, e in extractors.items()}
    folder = next(iter(indices.values())).folder
    if request.labels is not None and omg:
        listing = read_omg_videos(request.labels, indices, request.target)
        return listing, request.labels
    if request.labels is not None:
        traced = request.traces is not None
        listing = read_listing(request.labels, indices, request.target, traced)
        return replace(listing, name=request.out.name), request.labels
    if request.corpus is None:
        return list_files(indices), folder
    if any(extractor.tables for extractor in extractors.values()):
        raise ValueError("--corpus names recordings, not tables; use --labels")
    return list_ravdess(FileIndex(folder, [SOUNDS | VIDEOS]), [*extractors]), folder


def _labels(
    request: Request, listing: Listing, path: Path
) -> tuple[Labels | Continuous | None, list[Failure]]:
    """Reads the labels, and says which recordings have none."""
    if request.traces is None:
        if not listing.labels:
            return None, []
        return code_labels(listing, path, request.classes), []
    if request.options.step is None:
        raise ValueError("--traces needs --step, the seconds from frame to frame")
    if request.gold not in GOLD_STANDARDS:
        known = " or ".join(GOLD_STANDARDS)
        raise ValueError(f"--gold={request.gold}, expected {known}")
    unrated = [p in ("test", UNLABELLED) for p in listing.partition]
    traces, failures = read_traces(
        request.traces, listing.recording, unrated, request.options.step
    )
    return Continuous(traces, request.gold), failures


def _index(request: Request, modality: str, tables: Path | None) -> FileIndex:
    """Lists the files that a modality is extracted from."""
    if tables is not None:
        return FileIndex(tables, [SUFFIXES])
    if request.media is None:
        raise ValueError("--media is needed, the folder of recordings")
    order = [SOUNDS, VIDEOS] if modality == "audio" else [VIDEOS, SOUNDS]
    return FileIndex(request.media, order)


def _tasks(
    listing: Listing, share: tuple[int, int]
) -> tuple[list[Task], list[Failure]]:
    """Lists what to extract, and the recordings that have no file."""
    tasks, failures = [], []
    for modality, sources in listing.sources.items():
        for place, source in enumerate(sources):
            if place % share[1] != share[0] - 1:
                continue
            if source is None:
                failures.append(Failure(place, modality, "there is no such file"))
            else:
                tasks.append(Task(place, modality, source))
    return tasks, failures
