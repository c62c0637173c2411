"""The files of RECOLA's recordings, read and checked one by one.

Axis: T frames of one recording.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion.corpora.columns import COUNTERS, NAMES, TIMES, Columns
from ifusion.corpora.corpus import PARTITIONS, UNLABELLED, CorpusError, shorten
from ifusion.corpora.gold_standard import Gold
from ifusion.corpora.sources.recola.layout import (
    FORMATS,
    LABELLED,
    RecolaFiles,
    Source,
    find_file,
    is_needed,
    list_unlabelled,
    list_unread,
    made_of,
    partition_of,
    recording_names,
)
from ifusion.corpora.tables.checks import (
    IMPUTE,
    require_numbers,
    require_steps,
    require_times,
    require_values,
)
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.corpora.tables.table import Table

CLASS = "class"  # a column that openSMILE writes into ARFF


class Track(NamedTuple):
    """One file of one recording: T rows, the first of which is frame `start`."""

    table: Table
    start: int

    @property
    def stop(self) -> int:
        """The frame after the last one."""
        return self.start + len(self.table)


Tracks = dict[Source, Track]


def read_tracks(
    folder: Path,
    files: RecolaFiles,
    sources: Mapping[Source, str],
    gold: Gold,
    step: float,
    impute: bool,
    columns: Columns,
) -> tuple[dict[str, Tracks], list[str]]:
    """Reads all complete recordings, and notes what is missing."""
    patterns = [p for s, p in sources.items() if s.kind == "features"]
    names = [*recording_names(files), *list_unlabelled(folder, patterns)]
    paths = {s: {n: find_file(folder, p, n) for n in names} for s, p in sources.items()}
    notes = []
    for source, by_name in paths.items():
        needed = source.kind in ("features", made_of(gold))
        if needed and not any(by_name.values()):
            example = folder / sources[source].replace("{recording}", names[0])
            reason = f"no such file, in none of {FORMATS}, nor other {source}"
            raise CorpusError(reason, example)
        notes += _list_absent(source, by_name, gold)
        notes += list_unread(folder, sources[source], source, names)
    untimed: Counter[Source] = Counter()
    found: dict[str, Tracks] = {}
    for name in names:
        if all(p[name] or not is_needed(s, name, gold) for s, p in paths.items()):
            read = {
                source: read_track(path, source, step, impute, columns)
                for source, by_name in paths.items()
                if (path := by_name[name]) is not None
            }
            untimed.update(s for s, (_, start) in read.items() if start is None)
            found[name] = _settle_starts(read)
            _require_own_name(found[name], name, names)
    for partition in ("train", "dev"):
        if partition not in map(partition_of, found):
            reason = f"no {partition} recording has all files: {'; '.join(notes)}"
            raise CorpusError(reason, folder)
    notes += [
        f"{count} files of {source} have no time column ({', '.join(sorted(TIMES))}) "
        "and are assumed to begin where others of their recording do"
        for source, count in untimed.items()
    ]
    return found, notes


def _list_absent(
    source: Source, by_name: Mapping[str, Path | None], gold: Gold
) -> list[str]:
    """Notes which recordings lack a file."""
    notes = []
    features = source.kind == "features"
    for partition in (*PARTITIONS, *([UNLABELLED] if features else [])):
        inside = [name for name in by_name if partition_of(name) == partition]
        absent = [name for name in inside if by_name[name] is None]
        if absent:
            follows = ""
            if is_needed(source, absent[0], gold):
                follows = " and were left out"
            elif source.kind == "gold standard" or gold != "given":
                follows = " and are unlabelled"
            notes.append(
                f"{len(absent)} of {len(inside)} {partition} recordings have no "
                f"{source}{follows}: {', '.join(absent)}"
            )
    return notes


def read_track(
    path: Path, source: Source, step: float, impute: bool, columns: Columns
) -> tuple[Table, int | None]:
    """Reads a file, and the number of its first frame, None if it has no times.

    Frames are `step` [s] apart; if `impute`, features may lack values.
    """
    features, single = source.kind == "features", source.kind == "gold standard"
    names = [c for c in read_columns(path, ";,\t") if not columns.ignores(c)]
    text = [c for c in names if c.lower() in NAMES]
    times = [c for c in names if c.lower() in TIMES]
    counters = [c for c in names if c.lower() in COUNTERS]
    if len(times) > 1:
        raise CorpusError(f"found the time columns {times}, expected one", path)
    table = read_table(
        path,
        text,
        [*times, *counters],
        separators=";,\t",
        choose=partial(_choose, columns, features),
    )
    table = columns.settle(table, impute)
    if not table.names or (single and len(table.names) > 1):
        expected = "one" if single else "some"
        reason = (
            f"found the columns {shorten(names)}, expected {expected} besides name and "
            "time"
        )
        raise CorpusError(reason, path)
    if not times:
        for counter in counters:
            _require_counts(table, counter)
        return table, None
    seconds = require_times(table, times[0])
    require_steps(table, times[0], step)
    return table, round(seconds[0] / step)


def _choose(
    columns: Columns, features: bool, path: Path, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Leaves out openSMILE's class, and what the rule for columns leaves out."""
    others = tuple(n for n in names if n.lower() != CLASS or columns.keeps(n))
    return columns.choose(path, others, features)


def _require_counts(table: Table, column: str) -> None:
    """Checks that frame numbers go up by one."""
    numbers = require_numbers(table, column)
    table.require_none(
        np.diff(numbers, prepend=numbers[0] - 1) != 1,
        column,
        lambda row: f"frame {numbers[row]:g} follows frame {numbers[row - 1]:g}",
    )


def _settle_starts(read: Mapping[Source, tuple[Table, int | None]]) -> Tracks:
    """Makes files without times begin where the gold standard does, or else at 0."""
    known = {s: start for s, (_, start) in read.items() if start is not None}
    gold = [start for s, start in known.items() if s.kind == "gold standard"]
    default = next(iter([*gold, *known.values(), 0]))
    return {s: Track(table, known.get(s, default)) for s, (table, _) in read.items()}


def _require_own_name(tracks: Tracks, name: str, names: Sequence[str]) -> None:
    """Checks that name columns, unless ignored, do not name another recording."""
    others = sorted(set(names) - {name})
    for track in tracks.values():
        for column, values in track.table.text.items():
            wrong = np.isin(values, others)
            if wrong.any():
                row = int(wrong.argmax())
                reason = (
                    f"found recording {values[row]}, expected {name}; if the column is "
                    f"wrong and the file is right, add {column} to corpus.ignore"
                )
                raise track.table.error(row, column, reason)


def check_values(
    name: str, source: Source, track: Track, step: float, impute: bool
) -> None:
    """Checks that no value is infinite, or missing where that is not allowed."""
    table = track.table
    require_values(table, allow_nan=True)
    features = source.kind == "features"
    unlabelled = source.kind == "ratings" or partition_of(name) != LABELLED
    if impute if features else unlabelled:
        return
    for first, last in _runs(np.isnan(table.values).any(1))[:1]:
        column = int(np.isnan(table.values[first]).argmax())
        begin, end = (step * (track.start + t) for t in (first, last))
        hint = IMPUTE * features
        reason = (
            f"values are missing in {last - first + 1} consecutive frames, {begin:g} "
            f"to {end:g} s{hint}"
        )
        raise table.error(first, table.names[column], reason)


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """Lists the runs of True in (T,) bool: first and last frame of each."""
    edges = np.diff(np.concatenate([[0], where.astype(np.int8), [0]]))
    firsts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    return [(int(a), int(b) - 1) for a, b in zip(firsts, ends, strict=True)]


def list_gaps(found: Mapping[str, Tracks], step: float) -> list[str]:
    """Notes for each modality how many frames lack values, and the longest gap."""
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
