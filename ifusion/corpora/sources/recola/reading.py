"""RECOLA (Sec. 4.1.2) in the form that AVEC 2015, 2016 and 2018 distribute it in.

27 recordings of five minutes, `train_1` to `train_9`, `dev_1` to `dev_9`, `test_1` to
`test_9`, with a row every 40 ms (7501 of them); arousal and valence by six raters. The
corpus may not be passed on, and the labels of test are with its organisers. Expected,
by default, in the folder (a file each recording; ARFF, or CSV with `;` or `,`):

    features_audio/train_1.arff                   [name,] frameTime, a column a feature
    features_video_geometric/train_1.arff         likewise
    ratings_gold_standard/arousal/train_1.arff    Instance_name, frameTime, GoldStandard
    ratings_individual/arousal/train_1.csv        time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3

`RecolaFiles` names other places. AVEC 2016 tuned the windows of the features to each
target and has them in sub-folders: `features_audio/{target}/{recording}` reads these,
with one target at a time, or `features_audio/arousal/{recording}` takes one of them for
both. AVEC 2018: `features/audio/eGeMAPSfunct/{recording}`, `labels/gs_1/{target}/
{recording}` and `labels/individual/{target}/{recording}`.

Columns called name, Instance_name, time, frameTime or timestamp, in any case, are no
features, nor are numbers of frames (frame, frameIndex): these may begin anywhere, and
where there are no times they must go up by one. A file without times is taken to begin
where the gold standard does, which `Corpus.notes` tells.

Recordings that lack a file of features, or of what labels are made of, are left out
whole, test recordings too: one that lacks video is not predicted from audio either.
`Corpus.left_out` and `Corpus.notes` list them. Files of a recording that begin or end
apart are cut to their common frames, its attributes `EXTENT` tell where these lie.

Axes: T frames of one recording, R rows (frames of all recordings), F features of a
modality, K targets, A raters.
"""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ifusion.corpora.arff import write_arff
from ifusion.corpora.corpus import (
    EXTENT,
    PARTITIONS,
    Corpus,
    CorpusError,
    Modality,
    shorten,
)
from ifusion.corpora.gold_standard import (
    GOLD_STANDARDS,
    Gold,
    rater_weights,
    require_gold,
)
from ifusion.corpora.tabular import (
    Table,
    read_columns,
    read_table,
    require_numbers,
    require_steps,
    require_times,
    require_values,
)

FRAME_STEP = 0.04  # [s]
RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
Kind = Literal["features", "gold standard", "ratings"]
FORMATS = (".arff", ".csv")
# columns that are no features, in lower case
NAMES, TIMES = {"name", "instance_name"}, {"time", "frametime", "timestamp"}
COUNTERS = {"frame", "frameindex"}
LICENCE = "RECOLA end user licence agreement: academic research, not to be passed on"
CITATION = (
    "F. Ringeval, A. Sonderegger, J. Sauer, D. Lalanne (2013). Introducing the RECOLA "
    "Multimodal Corpus of Remote Collaborative and Affective Interactions. Proc. FG."
)


@dataclass(frozen=True)
class RecolaFiles:
    """Where the files are, from the folder of the corpus.

    {recording} becomes train_1, ..., {target} arousal or valence. A pattern without
    .arff or .csv at its end finds either.

    Attributes:
      features: {modality: pattern}.
      gold_standard: pattern.
      raters: pattern; the files need not exist.
      recordings: how many a partition has.
    """

    features: Mapping[str, str] = field(
        default_factory=lambda: {
            "audio": "features_audio/{recording}",
            "video": "features_video_geometric/{recording}",
        }
    )
    gold_standard: str = "ratings_gold_standard/{target}/{recording}"
    raters: str = "ratings_individual/{target}/{recording}"
    recordings: int = 9


class Source(NamedTuple):
    """What a file holds.

    Attributes:
      of: a modality or a target.
      kind: what of it.
    """

    of: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.of} {self.kind}"


class Track(NamedTuple):
    """One file of one recording: T rows, the first of which is frame `start`."""

    table: Table
    start: int

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + len(self.table)


class Span(NamedTuple):
    """Frames of a recording: start, ..., stop - 1."""

    start: int
    stop: int


Tracks = dict[Source, Track]


def read_recola(
    folder: Path | str,
    targets: Sequence[str] = ("arousal", "valence"),
    gold: Gold = "given",
    files: RecolaFiles | None = None,
    allow_nan: bool = False,
    tolerance: int = 5,
    frame_step: float = FRAME_STEP,
    ignore: Sequence[str] = ("class",),
) -> Corpus:
    """Reads RECOLA.

    Args:
      folder: of the corpus.
      targets: some of those that the files are there for.
      gold: "given" reads the gold standard; "mean" and "avec" make it of the raters,
        see `ifusion.corpora.gold_standard`.
      files: where the files are, by default as AVEC 2015 has them.
      allow_nan: whether features may lack values; set it where gaps will be imputed.
      tolerance: how many frames the files of a recording may begin or end apart; they
        are cut to what they have in common. Ratings, where they are not what labels are
        made of, cut nothing: frames beyond them are NaN.
      frame_step: [s].
      ignore: columns that are no features, for example the class that openSMILE writes;
        one of names that is among them is not compared with that of the file.

    Returns:
      Time-continuous regression in the order train, dev, test. Each recording is a
      speaker of its own. Test labels are NaN where there are none. Of each recording
      the attributes `EXTENT` [frame] tell its first row, and where its gold standard
      begins and ends, or without one all of its files.

    Raises:
      CorpusError: a file is wrong, the files of a recording do not fit together, or
        nothing is left of train or dev; the sentence names file, row and column.
      ValueError: an argument makes no sense.
    """
    folder, files = Path(folder), files or RecolaFiles()
    require_gold(gold)
    if tolerance < 0 or frame_step <= 0 or files.recordings < 1:
        raise ValueError(
            f"tolerance is {tolerance}, frame_step {frame_step}, recordings "
            f"{files.recordings}, expected 0 or more, more than 0, and 1 or more"
        )
    if not folder.is_dir():
        raise CorpusError(f"{folder}: there is no such folder")
    sources = _sources(files, targets, gold)
    found, notes = _read_recordings(folder, files, sources, gold, frame_step, ignore)
    for name, tracks in found.items():
        for source, track in tracks.items():
            _check_values(name, source, track, frame_step, allow_nan)
    notes += _list_gaps(found, frame_step)
    spans, extents, made_of = {}, [], _made_of(gold)
    for name, tracks in found.items():
        binding = {s: t for s, t in tracks.items() if s.kind in ("features", made_of)}
        spans[name], note = _common(name, binding, tolerance, frame_step)
        whole = _whole(binding, made_of)
        extents.append((spans[name].start, whole.start, whole.stop))
        notes += [*note, *_list_unrated(name, tracks, spans[name])]
    raters = {t: _join_raters(found, spans, Source(t, "ratings")) for t in targets}
    labels, note = _join_labels(found, spans, targets, gold)
    modalities = {
        m: _join_features(found, spans, Source(m, "features")) for m in files.features
    }
    return Corpus(
        name="RECOLA",
        recording=np.array([*found]),
        partition=np.array([_partition(name) for name in found]),
        speaker=np.array([*found]),
        modalities=modalities,
        targets=tuple(targets),
        labels=labels,
        frame_step=frame_step,
        offsets=np.cumsum([0, *(span.stop - span.start for span in spans.values())]),
        attributes=dict(zip(EXTENT, np.array(extents).T, strict=True)),
        raters=_same_width(raters),
        licence=LICENCE,
        citation=CITATION,
        notes=(*notes, *note),
        left_out=_left_out(files, found),
    )


class Series(NamedTuple):
    """One value a frame of one recording: a gold standard, or predictions.

    Attributes:
      path: the file.
      start: number of the first frame.
      values: (T,) float32, NaN where there is none.
    """

    path: Path
    start: int
    values: np.ndarray


def read_series(
    folder: Path | str, frame_step: float = FRAME_STEP
) -> dict[str, Series]:
    """Reads a folder of gold standards or predictions of one target.

    Args:
      folder: with a file each recording, in the format of the gold standard.
      frame_step: [s].

    Returns:
      {recording: its values}, recordings by number.

    Raises:
      CorpusError: there is no file, or one is wrong; the sentence names row and column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder}: there is no such folder")
    paths = [p for p in folder.iterdir() if p.suffix in FORMATS]
    if not paths:
        raise CorpusError(f"{folder}: there is no file ending in one of {FORMATS}")
    series: dict[str, Series] = {}
    for path in sorted(paths, key=lambda p: (len(p.stem), p.name)):
        if path.stem in series:
            other = series[path.stem].path.name
            raise CorpusError(f"{path}: there is {other} too, expected one")
        table, start = _read_table(path, "a value a frame", 1, frame_step, NAMES)
        require_values(table, allow_nan=True)
        series[path.stem] = Series(path, start or 0, table.values[:, 0])
    return series


def write_recola(
    corpus: Corpus,
    folder: Path | str,
    files: RecolaFiles | None = None,
    test_labels: bool = False,
    digits: int = 9,
) -> RecolaFiles:
    """Writes a corpus as AVEC distributes RECOLA; `read_recola` reads it back.

    Features and gold standard become ARFF, ratings CSV with `;`. Recordings are renamed
    train_1, ... in their order, times begin at 0, attributes are not written.

    Args:
      corpus: time-continuous regression with at most six raters, rated on its targets.
      folder: must not exist, or be empty.
      files: where the files go; how many recordings there are, the corpus tells.
      test_labels: whether labels and ratings of test are written too.
      digits: significant digits of features; 9 keep float32 exactly.

    Returns:
      `files` with the greatest number of recordings a partition has.

    Raises:
      CorpusError: the corpus has no frames or too many raters, or the folder is not
        empty.
    """
    folder, files = Path(folder), files or RecolaFiles()
    if corpus.classes or corpus.frame_step is None:
        raise CorpusError(f"corpus {corpus.name!r} is no time-continuous regression")
    if corpus.num_raters > len(RATERS):
        raise CorpusError(f"corpus {corpus.name!r} has more than {len(RATERS)} raters")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CorpusError(f"{folder}: already exists and is not an empty folder")
    if set(files.features) != set(corpus.modalities):
        raise CorpusError(
            f"the modalities are {[*corpus.modalities]}, but files has a pattern for "
            f"{[*files.features]}"
        )
    sources = _sources(files, corpus.targets, "given")
    for target in set(corpus.targets) - set(corpus.raters):
        del sources[Source(target, "ratings")]
    counts = dict.fromkeys(PARTITIONS, 0)
    lengths = np.diff(corpus.offsets)
    for i, partition in enumerate(corpus.partition.tolist()):
        counts[partition] += 1
        name = f"{partition}_{counts[partition]}"
        times = np.round(np.arange(lengths[i]) * corpus.frame_step, 9)
        rows = slice(*corpus.offsets[i : i + 2].tolist())
        for source, pattern in sources.items():
            if source.kind == "features" or partition != "test" or test_labels:
                path = _path_to_write(folder, pattern, source, name)
                names, values = _columns(corpus, source)
                cells = np.column_stack([times, values[rows]])
                _write(path, name, names, cells, digits)
    return replace(files, recordings=max(counts.values()))


# ---- which file is where -----------------------------------------------------------


def _partition(recording: str) -> str:
    return recording.partition("_")[0]


def _recordings(files: RecolaFiles) -> list[str]:
    """Names the recordings that are looked for."""
    return [f"{p}_{k + 1}" for p in PARTITIONS for k in range(files.recordings)]


def _left_out(
    files: RecolaFiles, found: Mapping[str, Tracks]
) -> dict[str, tuple[str, ...]]:
    """Lists by partition the recordings that were looked for in vain."""
    absent = [name for name in _recordings(files) if name not in found]
    return {p: tuple(n for n in absent if _partition(n) == p) for p in PARTITIONS}


def _sources(
    files: RecolaFiles, targets: Sequence[str], gold: Gold
) -> dict[Source, str]:
    """Lists what is to be read, each with its pattern, {target} filled in.

    Raises:
      ValueError: targets or patterns make no sense.
    """
    if not targets or len(set(targets)) < len(targets):
        raise ValueError(f"targets are {tuple(targets)}, expected distinct names")
    if not files.features:
        raise ValueError("features is empty, expected a pattern for each modality")
    sources = {
        Source(m, "features"): (p, targets[0]) for m, p in files.features.items()
    }
    if gold == "given":
        for target in targets:
            sources[Source(target, "gold standard")] = (files.gold_standard, target)
    for target in targets:
        sources[Source(target, "ratings")] = (files.raters, target)
    for source, (pattern, _) in sources.items():
        rest = pattern.replace("{recording}", "", 1).replace("{target}", "")
        if len(rest) == len(pattern) or "{recording}" not in pattern or "{" in rest:
            raise ValueError(
                f"the pattern of {source} is {pattern!r}, expected {{recording}} in "
                "it, and no other braces but {target}"
            )
        if len(targets) > 1 and ("{target}" in pattern) == (source.kind == "features"):
            raise ValueError(
                f"the pattern of {source} is {pattern!r} with the targets "
                f"{', '.join(targets)}: ratings need {{target}}, and features may "
                "differ between targets only if there is one target"
            )
    return {s: p.replace("{target}", target) for s, (p, target) in sources.items()}


def _find(folder: Path, pattern: str, recording: str) -> Path | None:
    """Finds the file of a recording in either format.

    Raises:
      CorpusError: there are both.
    """
    name = pattern.replace("{recording}", recording)
    endings = ("",) if name.endswith(FORMATS) else FORMATS
    paths = [p for ending in endings if (p := folder / f"{name}{ending}").is_file()]
    if len(paths) > 1:
        raise CorpusError(f"{paths[0]}: there is {paths[1].name} too, expected one")
    return paths[0] if paths else None


def _list_beyond(
    folder: Path, pattern: str, source: Source, names: Sequence[str]
) -> list[str]:
    """Notes the files of recordings that are numbered as none of those looked for."""
    before, after = pattern.split("{recording}")
    before = os.path.join(folder, before)
    endings = ("",) if after.endswith(FORMATS) else FORMATS
    beyond = set()
    for partition, ending in product(PARTITIONS, endings):
        places = map(glob.escape, (before, after + ending))
        for path in glob.glob(f"{partition}_*".join(places)):
            name = path.removeprefix(before).removesuffix(after + ending)
            if name not in names and name.removeprefix(f"{partition}_").isdecimal():
                beyond.add(name)
    if not beyond:
        return []
    listed = sorted(beyond, key=lambda name: (len(name), name))
    return [
        f"{len(beyond)} files of {source} were not read, since {len(names)} recordings "
        f"are looked for, {names[0]} to {names[-1]}: {', '.join(listed)}"
    ]


def _made_of(gold: Gold) -> Kind:
    """What labels are made of."""
    return "gold standard" if gold == "given" else "ratings"


def _most(source: Source) -> int | None:
    """How many columns a file may have beside name and time."""
    return 1 if source.kind == "gold standard" else None


def _is_needed(source: Source, recording: str, gold: Gold) -> bool:
    """Says whether a recording is nothing without that file."""
    if source.kind == "features":
        return True
    return source.kind == _made_of(gold) and _partition(recording) != "test"


# ---- reading -----------------------------------------------------------------------


def _read_recordings(
    folder: Path,
    files: RecolaFiles,
    sources: Mapping[Source, str],
    gold: Gold,
    step: float,
    ignore: Sequence[str],
) -> tuple[dict[str, Tracks], list[str]]:
    """Reads all recordings that are complete, and notes what is not there."""
    names = _recordings(files)
    paths = {s: {n: _find(folder, p, n) for n in names} for s, p in sources.items()}
    notes = []
    for source, by_name in paths.items():
        needed = _is_needed(source, names[0], gold)
        if needed and not any(by_name.values()):
            example = folder / sources[source].replace("{recording}", names[0])
            raise CorpusError(
                f"{example}: there is no such file, in none of the formats {FORMATS}, "
                f"nor {source} of any other recording"
            )
        notes += _list_absent(source, by_name, gold)
        notes += _list_beyond(folder, sources[source], source, names)
    untimed: Counter[Source] = Counter()
    found: dict[str, Tracks] = {}
    ignored = {name.lower() for name in ignore}
    text = NAMES | ignored
    for name in names:
        if all(p[name] or not _is_needed(s, name, gold) for s, p in paths.items()):
            read = {
                source: _read_table(path, f"{source}", _most(source), step, text)
                for source, by_name in paths.items()
                if (path := by_name[name]) is not None
            }
            untimed.update(s for s, (_, start) in read.items() if start is None)
            found[name] = _settle_starts(read)
            _require_own_name(found[name], name, names, ignored)
    for partition in ("train", "dev"):
        if partition not in map(_partition, found):
            raise CorpusError(
                f"{folder}: no {partition} recording has all files: {'; '.join(notes)}"
            )
    notes += [
        f"{count} files of {source} have no column of time ({', '.join(sorted(TIMES))})"
        " and are taken to begin where others of their recording do"
        for source, count in untimed.items()
    ]
    return found, notes


def _list_absent(
    source: Source, by_name: Mapping[str, Path | None], gold: Gold
) -> list[str]:
    """Counts and lists the recordings that lack a file."""
    notes = []
    for partition in PARTITIONS:
        inside = [name for name in by_name if _partition(name) == partition]
        absent = [name for name in inside if by_name[name] is None]
        if absent:
            follows = ""
            if _is_needed(source, absent[0], gold):
                follows = " and were left out"
            elif source.kind == "gold standard" or gold != "given":
                follows = " and are unlabelled"
            notes.append(
                f"{len(absent)} of {len(inside)} {partition} recordings have no "
                f"{source}{follows}: {', '.join(absent)}"
            )
    return notes


def _read_table(
    path: Path, what: str, most: int | None, step: float, ignore: set[str]
) -> tuple[Table, int | None]:
    """Reads a file, and the number of its first frame; None where it has no times.

    Args:
      path: of the file.
      what: it holds, for the message.
      most: columns there may be beside time and those ignored; None = any number.
      step: frame step [s].
      ignore: columns that are left out, in lower case.
    """
    columns = read_columns(path, ";,")
    text = [c for c in columns if c.lower() in ignore]
    times = [c for c in columns if c.lower() in TIMES]
    counters = [c for c in columns if c.lower() in COUNTERS - ignore]
    if len(times) > 1:
        raise CorpusError(
            f"{path}: there are the columns {times}, expected one of time"
        )
    table = read_table(path, text, [*times, *counters], separators=";,")
    if not 0 < len(table.names) <= (most or len(table.names)):
        raise CorpusError(
            f"{path}: found the columns {shorten(columns)}, expected {most or 'some'} "
            f"with {what} beside name and time"
        )
    if not times:
        for counter in counters:
            _require_counts(table, counter)
        return table, None
    seconds = require_times(table, times[0])
    require_steps(table, times[0], step)
    return table, round(seconds[0] / step)


def _require_counts(table: Table, column: str) -> None:
    """Refuses numbers of frames that do not go up by one."""
    numbers = require_numbers(table, column)
    wrong = np.diff(numbers) != 1
    if wrong.any():
        row = int(wrong.argmax()) + 1
        raise table.error(
            row,
            column,
            f"frame {numbers[row]:g} follows frame {numbers[row - 1]:g}, expected the "
            "next one",
        )


def _settle_starts(read: Mapping[Source, tuple[Table, int | None]]) -> Tracks:
    """Lets files without times begin where the gold standard does, or else 0."""
    known = {s: start for s, (_, start) in read.items() if start is not None}
    gold = [start for s, start in known.items() if s.kind == "gold standard"]
    default = next(iter([*gold, *known.values(), 0]))
    return {s: Track(table, known.get(s, default)) for s, (table, _) in read.items()}


def _require_own_name(
    tracks: Tracks, name: str, names: Sequence[str], ignored: set[str]
) -> None:
    """Refuses files whose name column, unless ignored, names another recording."""
    others = sorted(set(names) - {name})
    for track in tracks.values():
        for column, values in track.table.text.items():
            wrong = np.isin(values, others)
            if column.lower() in NAMES - ignored and wrong.any():
                row = int(wrong.argmax())
                raise track.table.error(
                    row,
                    column,
                    f"the recording is {values[row]}, expected {name}; if the file is "
                    f"right and its column is not, put {column} into corpus.ignore",
                )


def _check_values(
    name: str, source: Source, track: Track, step: float, allow_nan: bool
) -> None:
    """Refuses infinite values, and missing ones where they may not be."""
    table = track.table
    require_values(table, allow_nan=True)
    features = source.kind == "features"
    unlabelled = source.kind == "ratings" or _partition(name) == "test"
    if allow_nan if features else unlabelled:
        return
    for first, last in _runs(np.isnan(table.values).any(1))[:1]:
        column = int(np.isnan(table.values[first]).argmax())
        begin, end = (step * (track.start + t) for t in (first, last))
        hint = "; the option impute fills gaps with the mean of train" * features
        raise table.error(
            first,
            table.names[column],
            f"values are missing in {last - first + 1} frames in a row, {begin:g} to "
            f"{end:g} s, expected numbers{hint}",
        )


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """Lists the runs of True in (T,) bool: first and last frame of each."""
    edges = np.diff(np.concatenate([[0], where.astype(np.int8), [0]]))
    firsts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    return [(int(a), int(b) - 1) for a, b in zip(firsts, ends, strict=True)]


def _list_gaps(found: Mapping[str, Tracks], step: float) -> list[str]:
    """Says of each modality how many frames lack values, and which run is longest."""
    runs: dict[Source, list[tuple[int, float, str]]] = {}
    for name, tracks in found.items():
        for source, track in tracks.items():
            if source.kind == "features":
                runs.setdefault(source, []).extend(
                    (last - first + 1, step * (track.start + first), name)
                    for first, last in _runs(np.isnan(track.table.values).any(1))
                )
    return [
        f"{source}: {sum(n for n, _, _ in gaps)} frames lack values, at most "
        f"{max(gaps)[0]} in a row ({max(gaps)[2]}, from {max(gaps)[1]:g} s on)"
        for source, gaps in runs.items()
        if gaps
    ]


def _common(
    name: str, tracks: Tracks, tolerance: int, step: float
) -> tuple[Span, list[str]]:
    """Finds the common frames of a recording, and notes what was cut.

    Raises:
      CorpusError: two files begin or end more frames apart than is tolerated.
    """
    starts = sorted(tracks.values(), key=lambda track: track.start)
    stops = sorted(tracks.values(), key=lambda track: track.stop)
    span = Span(starts[-1].start, stops[0].stop)
    apart = {
        "begin": (span.start - starts[0].start, starts[0], starts[-1]),
        "end": (stops[-1].stop - span.stop, stops[0], stops[-1]),
    }
    verb = max(apart, key=lambda v: apart[v][0])
    gap, one, other = apart[verb]
    if gap > tolerance or span.stop <= span.start:
        raise CorpusError(
            f"recording {name!r}: {_describe(one, step)} and {_describe(other, step)} "
            f"{verb} {gap} frames apart, expected at most {tolerance} (the tolerance)"
        )
    counts = ", ".join(f"{s} {len(t.table)}" for s, t in tracks.items())
    cut = f"{name} was cut to {span.stop - span.start} common frames ({counts})"
    return span, [cut] if gap else []


def _whole(tracks: Tracks, made_of: Kind) -> Span:
    """Finds all frames of what labels are made of, else of all files."""
    labels = [track for source, track in tracks.items() if source.kind == made_of]
    reach = labels or [*tracks.values()]
    return Span(min(t.start for t in reach), max(t.stop for t in reach))


def _overlap(track: Track, span: Span) -> Span:
    """The frames of a span that a file has."""
    start = min(max(span.start, track.start), span.stop)
    return Span(start, max(min(span.stop, track.stop), start))


def _list_unrated(name: str, tracks: Tracks, span: Span) -> list[str]:
    """Notes ratings that begin later or end earlier than the recording."""
    notes = []
    for source, track in tracks.items():
        start, stop = _overlap(track, span)
        missing = span.stop - span.start - (stop - start)
        if missing:
            notes.append(
                f"{source} of {name} do not reach over {missing} of its "
                f"{span.stop - span.start} frames; there they are NaN"
            )
    return notes


def _describe(track: Track, step: float) -> str:
    return (
        f"{track.table.path} ({len(track.table)} frames, {step * track.start:g} to "
        f"{step * (track.stop - 1):g} s)"
    )


# ---- joining recordings ------------------------------------------------------------


def _cut(track: Track, values: np.ndarray, span: Span) -> np.ndarray:
    """Takes the common frames of (T, ...) values of a file."""
    return values[span.start - track.start : span.stop - track.start]


def _names(found: Mapping[str, Tracks], source: Source) -> tuple[str, ...]:
    """Returns the columns that all recordings have; () where none has the source."""
    first: Table | None = None
    for tracks in found.values():
        if source not in tracks:
            continue
        table = tracks[source].table
        first = first or table
        if table.names != first.names:
            odd = sorted(set(table.names) ^ set(first.names)) or ["in another order"]
            raise CorpusError(
                f"{table.path}: its {len(table.names)} columns of {source} are not the "
                f"{len(first.names)} of {first.path}: {shorten(odd)}"
            )
    return first.names if first else ()


def _join_features(
    found: Mapping[str, Tracks], spans: Mapping[str, Span], source: Source
) -> Modality:
    """Joins a modality, and lets go of each recording once it is copied."""
    names = _names(found, source)
    num_rows = sum(span.stop - span.start for span in spans.values())
    values, row = np.empty((num_rows, len(names)), np.float32), 0
    for name, tracks in found.items():
        track = tracks.pop(source)
        part = _cut(track, track.table.values, spans[name])
        values[row : row + len(part)] = part
        row += len(part)
    return Modality(names, values)


def _join_raters(
    found: Mapping[str, Tracks], spans: Mapping[str, Span], source: Source
) -> np.ndarray:
    """Joins the ratings of a target: (R, A), NaN where a recording has none."""
    num_raters = len(_names(found, source))
    parts = []
    for name, span in spans.items():
        track = found[name].get(source)
        ratings = np.full((span.stop - span.start, num_raters), np.nan)
        if track is not None:
            rated = _overlap(track, span)
            place = slice(rated.start - span.start, rated.stop - span.start)
            ratings[place] = _cut(track, track.table.values, rated)
        parts.append(ratings)
    return np.concatenate(parts)


def _same_width(raters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leaves out targets without ratings, and widens those of fewer raters by NaN."""
    num = max(ratings.shape[1] for ratings in raters.values())
    return {
        target: np.pad(r, ((0, 0), (0, num - r.shape[1])), constant_values=np.nan)
        for target, r in raters.items()
        if r.shape[1]
    }


def _join_labels(
    found: Mapping[str, Tracks],
    spans: Mapping[str, Span],
    targets: Sequence[str],
    gold: Gold,
) -> tuple[np.ndarray, list[str]]:
    """Joins the labels, (R, K) float32, and notes where raters did not agree."""
    kind = _made_of(gold)
    notes, parts = [], []
    for name, span in spans.items():
        labels = np.full((span.stop - span.start, len(targets)), np.nan, np.float32)
        for k, target in enumerate(targets):
            track = found[name].get(Source(target, kind))
            if track is None:
                continue
            values = track.table.values
            if gold != "given":
                _require_rated(name, track)
                values = GOLD_STANDARDS[gold](values)[:, None]
            labels[:, k] = _cut(track, values[:, 0], span)
            if gold == "avec" and not rater_weights(track.table.values).sum() > 0:
                notes.append(
                    f"{name}: the raters of {target} do not agree; all weigh the same"
                )
        parts.append(labels)
    return np.concatenate(parts), notes


def _require_rated(name: str, track: Track) -> None:
    """Refuses frames of train and dev that nobody rated."""
    empty = np.isnan(track.table.values).all(1)
    if empty.any() and _partition(name) != "test":
        raise track.table.error(
            int(empty.argmax()),
            track.table.names[0],
            "no rater has a value here, expected one or more",
        )


# ---- writing -----------------------------------------------------------------------


def _path_to_write(folder: Path, pattern: str, source: Source, name: str) -> Path:
    ending = ".csv" if source.kind == "ratings" else ".arff"
    place = pattern.replace("{recording}", name)
    return folder / (place if place.endswith(FORMATS) else place + ending)


def _columns(corpus: Corpus, source: Source) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names and the values (R, n) of what a file holds."""
    if source.kind == "features":
        modality = corpus.modalities[source.of]
        return modality.names, modality.values
    if source.kind == "ratings":
        return RATERS[: corpus.num_raters], corpus.raters[source.of]
    k = corpus.targets.index(source.of)
    return ("GoldStandard",), corpus.labels[:, k : k + 1]


def _write(
    path: Path, recording: str, names: Sequence[str], values: np.ndarray, digits: int
) -> None:
    """Writes (T, 1 + n) values, times first: ARFF, or CSV with blanks behind names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".arff":
        text = {"name": np.full(len(values), recording)}
        write_arff(path, path.parent.name, text, ["frameTime", *names], values, digits)
        return
    header = ";".join(["time", *(f"{name} " for name in names[:-1]), names[-1]])
    np.savetxt(path, values, f"%.{digits}g", ";", header=header, comments="")
