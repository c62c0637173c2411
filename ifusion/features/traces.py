"""Turns annotation traces into one rating per frame.

    traces/arousal/anna/rec1.csv     time,value       a folder per target and rater
    traces/arousal/ben/rec1.csv
    traces/valence/rec1.csv          time,anna,ben    or a column per rater

Times [s] count from the start of the recording, increase, and may have any rate. A
trace with several values per frame is averaged over each frame, from half a step before
its time to half a step after; one with fewer is interpolated linearly. The corpus
states which was done. Not in the paper.

Axes: T frames of a recording, A raters.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion.corpora.columns import TIMES
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.checks import require_times
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.features.extraction import Failure
from ifusion.features.file_index import FileIndex
from ifusion.features.windows import ROUNDING, average_frames

LATE = 1.0  # [s] that a trace may begin late; its first value is held
AVERAGED, INTERPOLATED = "averaged over frames", "interpolated linearly"


class Annotations(NamedTuple):
    """Ratings of recordings."""

    targets: tuple[str, ...]
    raters: tuple[str, ...]  # A names, of all targets
    # {place of the recording: {target: (T, A)}}, NaN for a rater without one
    ratings: dict[int, dict[str, np.ndarray]]
    methods: dict[str, int]  # {how traces became frames: how many}


Columns = dict[str, np.ndarray]  # {rater: (T,)} of one recording and target


def read_traces(
    folder: Path, names: Sequence[str], unrated: Sequence[bool], step: float
) -> tuple[Annotations, list[Failure]]:
    """Reads the traces of recordings.

    Args:
      folder: with a folder for each target.
      names: of the recordings.
      unrated: whether each recording may lack traces, as of test and unlabelled.
      step: time between frames [s].

    Returns:
      The traces, and the recordings that lack them or have wrong ones.

    Raises:
      CorpusError: there is no such folder, or no recording has traces.
    """
    if not folder.is_dir():
        raise CorpusError("no such folder", folder)
    targets = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir()))
    if not targets:
        raise CorpusError("expected a folder in it for each target", folder)
    indices = {target: _index_raters(folder / target) for target in targets}
    methods: Counter[str] = Counter()
    failures, columns = [], {}
    for place, name in enumerate(names):
        try:
            found = {t: _read_raters(indices[t], name, step, methods) for t in targets}
        except CorpusError as error:
            failures.append(Failure(place, "labels", str(error)))
            continue
        lacking = [target for target in targets if not found[target]]
        if not lacking:
            columns[place] = found
        elif not (unrated[place] and len(lacking) == len(targets)):
            reason = f"there is no trace of {' and '.join(lacking)}"
            failures.append(Failure(place, "labels", reason))
    if not columns:
        reason = failures[0].reason if failures else "no recording has traces"
        raise CorpusError(f"no recording has traces of all targets ({reason})", folder)
    raters = tuple(sorted({r for c in columns.values() for t in c.values() for r in t}))
    ratings = {}
    for place, found in columns.items():
        frames = min(len(values) for c in found.values() for values in c.values())
        absent = np.full(frames, np.nan)
        ratings[place] = {
            t: np.stack([c.get(r, absent)[:frames] for r in raters], axis=1)
            for t, c in found.items()
        }
    return Annotations(targets, raters, ratings, dict(methods)), failures


def _index_raters(folder: Path) -> dict[str, FileIndex]:
    """Returns {rater: files}; the rater is "" if columns are raters."""
    if any(path.suffix.lower() == ".csv" for path in folder.iterdir()):
        return {"": FileIndex(folder, [{".csv"}])}
    raters = sorted(path for path in folder.iterdir() if path.is_dir())
    return {rater.name: FileIndex(rater, [{".csv"}]) for rater in raters}


def _read_raters(
    indices: dict[str, FileIndex], name: str, step: float, methods: Counter[str]
) -> Columns:
    found: Columns = {}
    for rater, index in indices.items():
        path = index.find(name)
        if path is not None:
            for column, values in _read_trace(path, step, methods).items():
                found[rater or column] = values
    return found


def _read_trace(path: Path, step: float, methods: Counter[str]) -> Columns:
    columns = read_columns(path)
    clocks = [c for c in columns if c.lower() in TIMES]
    if len(clocks) != 1 or len(columns) < 2:
        expected = "expected a column time and one or more of values"
        raise CorpusError(f"{expected}, found {columns[:8]}", path, 1)
    advice = "; if the column is not a rating, remove it"
    table = read_table(path, numbers=clocks, advice=advice)
    times = require_times(table, clocks[0])
    back = np.concatenate([[False], np.diff(times) <= 0])
    table.require_none(
        back, clocks[0], lambda row: f"{times[row]:g} s is not after the time before it"
    )
    if times[0] > LATE:
        raise table.error(0, clocks[0], f"it begins at {times[0]:g} s, not at 0")
    found = {}
    for name, values in zip(table.names, table.values.T, strict=True):
        known = ~np.isnan(values)
        if not known.any():
            raise CorpusError("there is no value", path, column=name)
        found[name], method = to_frames(times[known], values[known], step)
        methods[method] += 1
    return found


def to_frames(
    times: np.ndarray, values: np.ndarray, step: float
) -> tuple[np.ndarray, str]:
    """Turns a trace into frames at 0, step, 2 * step, ... up to its last value.

    Args:
      times: (n,) [s], increasing.
      values: (n,).
      step: time between frames [s].

    Returns:
      (T,) float64, and how it was done.
    """
    frames = int(times[-1] / step + ROUNDING) + 1
    wanted = np.arange(frames) * step
    dense = len(times) > 1 and np.median(np.diff(times)) <= step / 2
    if not dense:
        return np.interp(wanted, times, values), INTERPOLATED
    averaged = average_frames(times, values[:, None], step, frames)
    return averaged[:, 0], AVERAGED
