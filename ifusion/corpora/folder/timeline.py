"""Matches the rows of files by recording and frame.

Axes: N recordings, R rows of the corpus, r rows of a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion.corpora.corpus import Modality, concatenated_ranges
from ifusion.corpora.folder.rows import Rows
from ifusion.corpora.tables.checks import require_steps, require_unique
from ifusion.corpora.tables.table import Table
from ifusion.corpora.timing import cut_notes, nearest_frame


@dataclass(frozen=True, eq=False)
class Timeline:
    """The rows of each recording, and their times."""

    table: Table  # recordings.csv
    source: Path  # the file that lengths come from
    offsets: np.ndarray  # (N + 1,) as in `Corpus`
    starts: np.ndarray  # (N,) time of the first frame [s], 0 without a frame step
    step: float | None  # of frames [s]

    @property
    def recording(self) -> np.ndarray:
        """(N,) str."""
        return self.table.text["recording"]


def make_timeline(rows: Rows, recordings: Table, step: float | None) -> Timeline:
    """Takes the length and the first time of each recording from a modality."""
    table, codes = rows
    num = len(recordings)
    counts = np.bincount(codes, minlength=num) if step else np.ones(num, np.int64)
    starts = np.zeros(num)
    if step:
        first = _first_rows(codes, num)
        starts = np.where(first >= 0, table.numbers["time"][first], 0.0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Timeline(recordings, table.path, offsets, starts, step)


def place_features(rows: Rows, timeline: Timeline, required: np.ndarray) -> Modality:
    """Puts features into the order of the corpus.

    Recordings must be there if they are `required`, (N,) bool; others may be NaN.
    """
    table = rows.table
    source, places = align(rows, timeline, required)
    if len(places) < timeline.offsets[-1]:
        values = np.full((timeline.offsets[-1], len(table.names)), np.nan, np.float32)
        values[places] = table.values[source]
        return Modality(table.names, values)
    ordered = np.array_equal(source, np.arange(len(table)))
    # a table in order is not copied, so that a memory map stays on disk
    return Modality(table.names, table.values if ordered else table.values[source])


def require_rows(
    rows: Rows, recordings: Table, required: np.ndarray | None = None, hint: str = ""
) -> None:
    """Checks that recordings, all or those that are required, (N,) bool, have a row.

    Raises:
      CorpusError: one has none; `hint` ends the message.
    """
    table, codes = rows
    lacking = np.bincount(codes, minlength=len(recordings)) == 0
    absent = np.flatnonzero(lacking if required is None else lacking & required)
    if len(absent):
        name = str(recordings.text["recording"][absent[0]])
        reason = f"{name!r} has no row in {table.path}{hint}"
        raise recordings.error(int(absent[0]), "recording", reason)


def align(
    rows: Rows, timeline: Timeline, required: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Matches the rows of a file to the rows of the corpus.

    The file must have the recordings that are `required`, (N,) bool.

    Returns:
      (r,), (r,) int64: row of the file, row of the corpus; the latter ascending.

    Raises:
      CorpusError: a required recording is absent, one occurs twice, its times have a
        gap, repeat, or go back, or its length or start differ.
    """
    table, codes = rows
    counts = np.bincount(codes, minlength=len(required))
    require_rows(rows, timeline.table, required)
    if timeline.step is None:
        require_unique(table, "recording")
    source = np.argsort(codes, kind="stable")
    if timeline.step is not None:
        require_steps(table, "time", timeline.step, source, codes[source])
        _check_extent(rows, counts, timeline, timeline.step)
    present = np.flatnonzero(counts)
    return source, concatenated_ranges(timeline.offsets[present], counts[present])


def _check_extent(
    rows: Rows, counts: np.ndarray, timeline: Timeline, step: float
) -> None:
    """Checks that lengths and starts are those of the first modality."""
    table, codes = rows
    expected = np.diff(timeline.offsets)
    wrong = np.flatnonzero((counts > 0) & (counts != expected))
    if len(wrong):
        i = wrong[0]
        name, last = str(timeline.recording[i]), np.flatnonzero(codes == i)[-1]
        reason = (
            f"recording {name!r} has {counts[i]} frames, {timeline.source} has "
            f"{expected[i]}"
        )
        raise table.error(last, "time", reason)
    _, first = np.unique(codes, return_index=True)
    starts, times = timeline.starts[codes], table.numbers["time"]
    shifted = np.zeros(len(table), bool)
    shifted[first] = np.abs(times - starts)[first] > step / 2
    table.require_none(
        shifted,
        "time",
        lambda row: (
            f"recording {str(table.text['recording'][row])!r} starts at "
            f"{times[row]:g} s, in {timeline.source} at {starts[row]:g} s; change the "
            "times of one, or let corpus.tolerance match rows by their times"
        ),
    )


class Extents(NamedTuple):
    """Starts and lengths of recordings in M files, NaN where one lacks a recording."""

    starts: np.ndarray  # (M, N) times of first rows [s]
    counts: np.ndarray  # (M, N) rows


def measure_extents(files: Mapping[str, Rows], recordings: Table) -> Extents:
    """Measures each recording in each file."""
    shape = (len(files), len(recordings))
    starts, counts = np.full(shape, np.nan), np.full(shape, np.nan)
    for k, (table, codes) in enumerate(files.values()):
        first = _first_rows(codes, shape[1])
        present = first >= 0
        starts[k, present] = table.numbers["time"][first[present]]
        counts[k, present] = np.bincount(codes, minlength=shape[1])[present]
    return Extents(starts, counts)


def _first_rows(codes: np.ndarray, num: int) -> np.ndarray:
    """Returns the first row of each recording: (r,) -> (N,), -1 where there is none."""
    first = np.full(num, -1)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first


def common_frames(
    files: Mapping[str, Rows],
    extents: Extents,
    recordings: Table,
    step: float,
    tolerance: int,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Finds the frames of each recording that all files have.

    Returns:
      {file: (r,) bool, rows to keep}, and a note of what is cut.

    Raises:
      CorpusError: starts or ends of files differ by more frames than is tolerated, or
        the times of one have a gap, repeat, or go back.
    """
    starts, counts = extents
    orders = []
    for table, codes in files.values():
        order = np.argsort(codes, kind="stable")
        owner = codes[order]
        require_steps(table, "time", step, order, owner)
        orders.append((order, np.arange(len(order)) - np.searchsorted(owner, owner)))
    begins = nearest_frame((starts - np.fmin.reduce(starts)) / step)
    stops = begins + counts
    low, high = np.fmax.reduce(begins), np.fmin.reduce(stops)
    apart = np.fmax(low - np.fmin.reduce(begins), np.fmax.reduce(stops) - high)

    def describe(i: int) -> str:
        return ", ".join(
            f"{name} {counts[k, i]:.0f} from {starts[k, i]:g} s"
            for k, name in enumerate(files)
            if not np.isnan(counts[k, i])
        )

    wrong = np.flatnonzero((apart > tolerance) | (high <= low))
    if len(wrong):
        i = int(wrong[0])
        reason = (
            f"the files of {str(recordings.text['recording'][i])!r} begin or end "
            f"{apart[i]:.0f} frames apart ({describe(i)}), more than the tolerance of "
            f"{tolerance}"
        )
        raise recordings.error(i, "recording", reason)
    keep = {}
    for k, (name, rows) in enumerate(files.items()):
        order, place = orders[k]
        frame = np.empty(len(order))
        frame[order] = begins[k, rows.codes[order]] + place
        keep[name] = (frame >= low[rows.codes]) & (frame < high[rows.codes])
    cuts = [
        f"{recordings.text['recording'][i]} to {high[i] - low[i]:.0f} ({describe(i)})"
        for i in np.flatnonzero(apart > 0).tolist()
    ]
    return keep, cut_notes(cuts, len(recordings))
