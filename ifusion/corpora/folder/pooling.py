"""Pools the frames of a modality to one row per recording: functionals of features.

Where a recording has one label, each modality may have its own frame step and length.
Frames are pooled as they are read: each feature becomes its mean and its standard
deviation over the frames of a recording. Not in the paper: which functionals.

Axes: N recordings, n of them in a file, r rows (frames) of it, F features.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.folder.rows import Rows
from ifusion.corpora.tables.table import Table

SLACK = 0.5  # share of a step by which times may be off
FUNCTIONALS = ("mean", "sd")


def pool_frames(
    rows: Rows, recordings: Table, column: str, step: float | None, impute: bool
) -> tuple[Rows, str]:
    """Pools the frames of each recording.

    Args:
      rows: frames of a modality, in any order of recordings.
      recordings: recordings.csv.
      column: of the table's numbers that orders the frames of a recording: "time" [s]
        or "step".
      step: [s] between frames; None = unknown.
      impute: whether a recording without frames becomes NaN.

    Returns:
      One row per recording with 2F features: means, then population standard
      deviations, of the values that are not missing; and a note.

    Raises:
      CorpusError: frames of a recording do not ascend, or do not keep the step.
    """
    table, codes = rows
    order = np.argsort(codes, kind="stable")
    owners, first = np.unique(codes[order], return_index=True)
    _check_order(table, order, codes, column, step)
    num = len(table.names)
    pooled = np.full((len(owners), 2 * num), np.nan, np.float32)
    for row, (start, stop) in zip(
        pooled, pairwise([*first.tolist(), len(order)]), strict=True
    ):
        row[:] = pool(table.values[order[start:stop]])
    lines = order[first]
    names = recordings.text["recording"]
    absent = np.setdiff1d(np.arange(len(names)), owners) if impute else owners[:0]
    frames_of = np.diff([*first.tolist(), len(order)])
    note = (
        f"{table.path} has {frames_of.min()} to {frames_of.max()} frames per "
        "recording; each feature is pooled to its mean and standard deviation over them"
    )
    if len(absent):
        lost = shorten(names[absent].tolist())
        note += f"; {len(absent)} recordings have no frame and are imputed: {lost}"
    whose = np.concatenate([owners, absent])
    blank = np.full((len(absent), 2 * num), np.nan, np.float32)
    return Rows(
        replace(
            table,
            text={"recording": names[whose]},
            numbers={},
            names=name_functionals(table.names),
            values=np.concatenate([pooled, blank]),
            line=lambda row: table.line(int(lines[min(row, len(lines) - 1)])),
        ),
        whose,
    ), note


def pool(frames: np.ndarray) -> np.ndarray:
    """Means, then standard deviations, without NaN: (t, F) -> (2F,) float32.

    They are NaN where a feature has no values.
    """
    frames = frames.astype(np.float64)
    known = ~np.isnan(frames)
    count = known.sum(0)
    some = np.maximum(count, 1)
    mean = np.where(known, frames, 0).sum(0) / some
    square = np.square(np.where(known, frames - mean, 0)).sum(0) / some
    found = np.where(count > 0, [mean, np.sqrt(square)], np.nan)
    return found.ravel().astype(np.float32)


def name_functionals(names: Sequence[str]) -> tuple[str, ...]:
    """Names the functionals that `pool` returns."""
    return tuple(f"{name}_{f}" for f in FUNCTIONALS for name in names)


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
    usual = float(np.median(gaps[inside])) if step and inside.any() else step
    if step and usual and abs(usual - step) > SLACK * step:
        reason = (
            f"frames come every {usual:g} s, but corpus.json says every {step:g} s in "
            "'frame_steps'"
        )
        raise CorpusError(reason, table.path, column=column)
