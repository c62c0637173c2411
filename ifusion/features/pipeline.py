"""All steps of an extraction: labels, features of every recording, a corpus."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ifusion.corpora.corpus import shorten
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
from ifusion.features.extraction import Failure, Task, Work, extract_all
from ifusion.features.extractors import (
    FACE_CHOICES,
    WINDOW,
    Extractor,
    Features,
    Options,
    make_extractor,
    state,
)
from ifusion.features.file_index import FileIndex
from ifusion.features.labels import (
    Listing,
    code_labels,
    list_files,
    read_labels,
    read_ravdess,
)
from ifusion.features.media import SOUNDS, VIDEOS
from ifusion.features.omg_videos import read_omg_videos
from ifusion.features.traces import read_traces
from ifusion.terminal import note

# shares that are doubtful: modality, name, least, and what is found
RARE = (
    ("audio", "voice_share", 0.05, "a voice is heard"),
    ("video", "face_share", 0.5, "the face is seen"),
)


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
      media: folder of recordings; None if all features are of tables.
      out: folder to make.
      labels: CSV file, see `read_labels`; of "omg" the folder of its files. Without
        labels or a corpus only tables of features are written, for predictions.
      corpus: "ravdess" or "omg", whose layout is known.
      targets: columns of labels.
      traces: folder of labels over time, see `read_traces`.
      gold: how raters become a label, "mean" or "avec".
      as_classes: whether labels that are numbers name classes.
      extractors: {modality: extractor}.
      step: [s] from frame to frame, None = a row a recording.
      window: [s] of functionals around a frame.
      rate: [Hz] to resample sound to.
      face: which of several faces counts.
      smallest_face: [pixel] from which on faces are sought.
      cache: folder, None = beside `out`.
      jobs: processes.
      shard: "i/n", None = all.
    """

    media: Path | None
    out: Path
    extractors: Mapping[str, str]
    labels: Path | None = None
    corpus: str | None = None
    targets: tuple[str, ...] = ()
    traces: Path | None = None
    gold: str = "mean"
    as_classes: bool = False
    step: float | None = None
    window: float | None = None
    rate: int | None = None
    face: str = FACE_CHOICES[0]
    smallest_face: float | None = None
    cache: Path | None = None
    jobs: int = 1
    shard: str | None = None


class Report(NamedTuple):
    """What came of it.

    Attributes:
      sentence: for the user.
      failures: recordings without a modality.
    """

    sentence: str
    failures: list[Failure]


def extract_corpus(request: Request) -> Report:
    """Extracts the features of a folder of media, and writes a corpus of them.

    Raises:
      CorpusError: the labels are wrong, or no recording has all features.
      ValueError: what is asked for makes no sense, or a library is not installed.
    """
    options = _options(request)
    share = _share(request.shard)
    if request.shard is None:
        require_new(request.out)
    make_extractor.cache_clear()  # files may have changed
    extractors = {
        m: make_extractor(m, name, options) for m, name in request.extractors.items()
    }
    listing, path = _listing(request, extractors)
    labels, unlabelled = _labels(request, listing, path)
    cache = request.cache or request.out.with_name(f"{request.out.name}.cache")
    cache.mkdir(parents=True, exist_ok=True)
    work = Work(request.extractors, options, cache)
    tasks, failures = _tasks(listing, request.extractors, share)
    failures += unlabelled
    found: dict[str, dict[int, Features]] = {m: {} for m in request.extractors}
    for task, features in extract_all(tasks, work, request.jobs):
        if isinstance(features, Failure):
            failures.append(features)
        elif request.shard is None:
            found[task.modality][task.place] = features
    failures += _odd_ones(found)
    failures.sort()
    failed = len({failure.place for failure in failures})
    if request.shard is not None:
        write_failures(cache / f"failures-{share[0]}-{share[1]}.csv", listing, failures)
        return Report(f"share {request.shard} is in {cache}, {failed} failed", failures)
    for failure in unlabelled:
        for extracted in found.values():
            extracted.pop(failure.place, None)
    places = complete_places(listing, found, failures)
    listing = replace(listing, notes=tuple(_doubts(listing, found)))
    for sentence in listing.notes:
        note(sentence)
    finished, states = {}, {}
    for modality, extractor in extractors.items():
        mine = {i: found[modality][i] for i in places}
        finished[modality], stated = _finish(extractor, mine, listing)
        states[modality] = state(extractor, stated, finished[modality].values())
    count = write_extracted(
        request.out, listing, finished, states, failures, labels, request.step
    )
    sentence = f"written: {request.out}, {count} recordings"
    if failed:
        sentence += f"; left out: {failed}, see {request.out / FAILURES}"
    return Report(sentence, failures)


def _odd_ones(found: dict[str, dict[int, Features]]) -> list[Failure]:
    """Takes out recordings whose features are not those of most."""
    failures = []
    for modality, features in found.items():
        counts = Counter(f.names for f in features.values())
        usual = counts.most_common(1)[0][0] if counts else ()
        for place, mine in list(features.items()):
            if mine.names != usual:
                reason = f"it has {len(mine.names)} features, others {len(usual)}"
                if len(mine.names) == len(usual):
                    reason = "its features have other names than those of others"
                failures.append(Failure(place, modality, reason))
                del features[place]
    return failures


def _finish(
    extractor: Extractor, found: Mapping[int, Features], listing: Listing
) -> tuple[dict[int, Features], dict[str, Any]]:
    """Does what is left to do with all recordings; returns what they depend on, too."""
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
            f"sound is sampled at {', '.join(map(str, sorted(rates)))} Hz, on which "
            f"features depend; --rate={min(rates)} resamples all of it"
        )
    for modality, fact, least, what in RARE:
        rare = [
            f"{listing.recording[place]} ({features.facts[fact]:.0%})"
            for place, features in sorted(found.get(modality, {}).items())
            if features.facts.get(fact, 1) < least
        ]
        if rare:
            yield f"{what} in little of {len(rare)} recordings: {shorten(rare)}"


def _options(request: Request) -> Options:
    if not request.extractors:
        raise ValueError("neither --audio nor --video is given")
    if request.window is not None and request.step is None:
        raise ValueError("--window has no meaning without --step")
    window = WINDOW if request.window is None else request.window
    return Options(
        request.step, window, request.rate, request.face, request.smallest_face
    )


def _share(shard: str | None) -> tuple[int, int]:
    """Reads "i/n": (1, 1) where there is none."""
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
    """Returns the recordings, and the path that they are listed in."""
    omg = request.corpus == "omg"
    if request.corpus is not None and (request.labels is not None) != omg:
        which = (
            "needs --labels, the folder of its CSV files" if omg else "has no --labels"
        )
        raise ValueError(f"--corpus={request.corpus} {which}")
    if request.labels is None and (request.targets or request.as_classes):
        raise ValueError("--target and --classes have no meaning without --labels")
    indices = {m: _index(request, m, e.tables) for m, e in extractors.items()}
    folder = next(iter(indices.values())).folder
    if omg and request.labels is not None and request.traces is None:
        listing = read_omg_videos(request.labels, indices, request.targets)
        return listing, request.labels
    if request.labels is not None and not omg:
        traced = request.traces is not None
        listing = read_labels(request.labels, indices, request.targets, traced)
        return listing, request.labels
    if request.traces is not None:
        raise ValueError("--traces needs --labels, which tells partitions")
    if request.corpus is None:
        return list_files(indices), folder
    if any(extractor.tables for extractor in extractors.values()):
        raise ValueError("--corpus names recordings, not tables; use --labels")
    return read_ravdess(FileIndex(folder, [SOUNDS | VIDEOS])), folder


def _labels(
    request: Request, listing: Listing, path: Path
) -> tuple[Labels | Continuous | None, list[Failure]]:
    """Reads the labels of a listing, and says which recordings have none."""
    if request.traces is None:
        if not listing.labels:
            return None, []
        return code_labels(listing, path, request.as_classes), []
    if request.step is None:
        raise ValueError("--traces needs --step, the seconds from frame to frame")
    if request.gold not in GOLD_STANDARDS:
        raise ValueError(
            f"--gold={request.gold}, expected {' or '.join(GOLD_STANDARDS)}"
        )
    unrated = [partition == "test" for partition in listing.partition]
    traces, failures = read_traces(
        request.traces, listing.recording, unrated, request.step
    )
    return Continuous(traces, request.gold, request.step), failures


def _index(request: Request, modality: str, tables: Path | None) -> FileIndex:
    """Lists the files that a modality is extracted from."""
    if tables is not None:
        return FileIndex(tables, [SUFFIXES])
    if request.media is None:
        raise ValueError("--media is needed, the folder of recordings")
    order = [SOUNDS, VIDEOS] if modality == "audio" else [VIDEOS, SOUNDS]
    return FileIndex(request.media, order)


def _tasks(
    listing: Listing, modalities: Mapping[str, str], share: tuple[int, int]
) -> tuple[list[Task], list[Failure]]:
    """Lists what is to be extracted, and the recordings that have no file."""
    tasks, failures = [], []
    for modality in modalities:
        for place, source in enumerate(listing.sources[modality]):
            if place % share[1] != share[0] - 1:
                continue
            if source is None:
                failures.append(Failure(place, modality, "there is no such file"))
            else:
                tasks.append(Task(place, modality, source))
    return tasks, failures
