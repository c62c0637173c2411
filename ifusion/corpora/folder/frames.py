"""Frames of a modality in the order of the corpus, where a recording has one label.

Axes: N recordings, r rows (frames) of a file, F features.
"""

import numpy as np

from ifusion.corpora.corpus import CorpusError, Frames
from ifusion.corpora.folder.rows import Rows
from ifusion.corpora.tables.table import Table

SLACK = 0.1  # of a step, by which times may miss it
UNEVEN = 1000  # times that the longest recording may outlast the shortest


def place_frames(
    rows: Rows, names: np.ndarray, column: str, step: float | None
) -> tuple[Frames, list[str]]:
    """Puts the frames of a modality into the order of the corpus, with notes.

    Args:
      rows: frames, those of a recording together or not.
      names: (N,), of the recordings.
      column: "time" [s] or "step", which orders the frames of a recording.
      step: [s] that times keep; None = not known.

    Raises:
      CorpusError: the frames of a recording do not ascend, or do not keep the step.
    """
    table, codes = rows
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(names))
    _check_order(table, order, codes, column, step)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    # a table in order stays as it is, so that a memory map stays on disk
    ordered = np.array_equal(order, np.arange(len(order)))
    values = table.values if ordered else table.values[order]
    low, high = counts[counts > 0].min(), counts.max()
    notes = []
    if high >= UNEVEN * low:
        long, short = (str(names[list(counts).index(n)]) for n in (high, low))
        notes.append(
            f"{table.path}: recording {long!r} has {high} frames, {short!r} only "
            f"{low}: are both right?"
        )
    return Frames(table.names, values, offsets, step), notes


def _check_order(
    table: Table, order: np.ndarray, codes: np.ndarray, column: str, step: float | None
) -> None:
    """Checks that frames ascend within each recording, and keep the step."""
    places = table.numbers[column][order]
    inside = np.diff(codes[order]) == 0
    gaps = np.diff(places)
    wrong = np.zeros(len(order), bool)
    wrong[order[1:]] = inside & ~(gaps > 0)
    table.require_none(
        wrong,
        column,
        lambda row: (
            f"{column} {table.numbers[column][row]:g} of recording "
            f"{str(table.text['recording'][row])!r} does not follow the frame before it"
            "; expected ascending values"
        ),
    )
    if step is None or not inside.any():
        return
    # lost frames do not affect the median, uneven times do not affect the mean
    median, mean = np.median(gaps[inside]), np.mean(gaps[inside])
    if min(abs(median - step), abs(mean - step)) > SLACK * step:
        reason = (
            f"frames come every {median:g} s, but corpus.json says every {step:g} s in "
            "'frame_steps'"
        )
        raise CorpusError(reason, table.path, column=column)
