"""Checks of a table; each error names the first cell that is wrong.

Axes: R rows, F features.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CHUNK_ROWS, CorpusError
from ifusion.corpora.names import ask_alike
from ifusion.corpora.tables.table import Table
from ifusion.corpora.timing import other_rate

IMPUTE = "; corpus.impute fills gaps with the mean of train"
MAX_TIME = 1e9  # [s], 30 years


def require_values(table: Table, allow_nan: bool) -> None:
    """Checks the features (R, F) of a table, a chunk of rows at a time.

    Raises:
      CorpusError: a value is infinite, or NaN where that is not allowed.
    """
    if not table.names:
        raise CorpusError("there is no feature column", table.path)
    for start in range(0, len(table), CHUNK_ROWS):
        part = table.values[start : start + CHUNK_ROWS]
        wrong = np.isinf(part) if allow_nan else ~np.isfinite(part)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            reason = "the value is infinite"
            if np.isnan(part[row, column]):
                reason = f"the value is missing{IMPUTE}"
            raise table.error(start + row, table.names[column], reason)


def require_numbers(table: Table, column: str, allow_nan: bool = False) -> np.ndarray:
    """Returns a column of `numbers`, (R,) float64.

    Raises:
      CorpusError: a value is infinite, or NaN where that is not allowed.
    """
    numbers = table.numbers[column]
    wrong = np.isinf(numbers) if allow_nan else ~np.isfinite(numbers)
    table.require_none(
        wrong, column, lambda row: f"{numbers[row]} is not a finite number"
    )
    return numbers


def require_float32(table: Table, column: str, allow_nan: bool = False) -> np.ndarray:
    """Returns a column of `numbers` as (R,) float32.

    Raises:
      CorpusError: a value is beyond float32; or see `require_numbers`.
    """
    numbers = require_numbers(table, column, allow_nan)
    small = as_float32(numbers)
    table.require_none(
        np.isinf(small), column, lambda row: f"{numbers[row]:g} is beyond float32"
    )
    return small


def require_times(table: Table, column: str) -> np.ndarray:
    """Returns a column of `numbers` that are times [s], (R,) float64.

    Raises:
      CorpusError: a value is missing, infinite or beyond `MAX_TIME`.
    """
    times = require_numbers(table, column)
    far = np.abs(times) > MAX_TIME
    table.require_none(
        far,
        column,
        lambda row: (
            f"time {times[row]:g} s is beyond {MAX_TIME:g} s; count from the start of "
            "the recording"
        ),
    )
    return times


def require_steps(
    table: Table,
    column: str,
    step: float,
    order: np.ndarray | None = None,
    owner: np.ndarray | None = None,
) -> None:
    """Checks that times are start, start + step, ... within half a step.

    Args:
      table: any table with that column of `numbers`.
      column: its name.
      step: frame step [s].
      order: (R,) rows, those of a recording together and in order; None = as they are.
      owner: (R,) recording of each of these; None = all are of one.

    Raises:
      CorpusError: a time repeats, goes back, follows a gap, or does not keep the step.
    """
    order = np.arange(len(table)) if order is None else order
    owner = np.zeros(len(table), np.int64) if owner is None else owner
    times = table.numbers[column][order]
    first = np.searchsorted(owner, owner)  # where the recording of each row begins
    expected = times[first] + step * (np.arange(len(times)) - first)
    wrong = np.abs(times - expected) > step / 2
    if not wrong.any():
        return
    place = int(wrong.argmax())
    row, change = int(order[place]), times[place] - times[place - 1]
    kinds = {
        "is a duplicate": change == 0,
        "goes back": change < 0,
        "follows a gap": change > 1.5 * step,
    }
    what = next((k for k, v in kinds.items() if v), "does not keep the frame step")
    steps = np.diff(times[owner == owner[place]])
    usual = float(np.median(steps))
    regular = len(steps) > 2 and np.mean(np.abs(steps - usual) < step / 10) > 0.5
    hint = ""
    if regular and usual > 0 and abs(usual - step) > step / 10:
        what = f"belongs to a frame step of {usual:g} s"
        hint = other_rate(usual, step)
        if "frame_step" not in hint:
            hint += ", or change the frame step if all files agree"
    elif (steps < 0).any():
        hint = "; its rows are not in order of time: sort them"
    elif regular and change > 0:
        mean = (times[place] - times[first[place]]) / (place - first[place])
        hint = f"; rows come every {mean:.6g} s and drift: resample to every {step:g} s"
    names = table.text.get("recording")
    name = "" if names is None else f" of recording {str(names[row])!r}"
    reason = f"time {times[place]:g}{name} {what}, expected {expected[place]:g}"
    raise table.error(row, column, f"{reason} (frame step {step:g} s){hint}")


def class_column(table: Table, column: str, classes: Sequence[str]) -> np.ndarray:
    """Encodes a text column: (R,) int32 index into classes, -1 where blank.

    Raises:
      CorpusError: a cell names an unknown class.
    """
    names = table.text[column]
    codes = pd.Index(classes).get_indexer(pd.Index(names)).astype(np.int32)
    unknown = (codes < 0) & (names != "")
    table.require_none(
        unknown,
        column,
        lambda row: (
            f"unknown class {str(names[row])!r}, expected one of {tuple(classes)}"
            f"{ask_alike(str(names[row]), classes)}"
        ),
    )
    return codes


def positions(table: Table, column: str, known: np.ndarray, where: str) -> np.ndarray:
    """Looks up each name of a column: (R,) int64 positions in known, (n,) unique.

    `where` says what lists the known names.

    Raises:
      CorpusError: a name is unknown.
    """
    names = table.text[column]
    found = pd.Index(known).get_indexer(pd.Index(names))
    table.require_none(
        found < 0,
        column,
        lambda row: (
            f"{str(names[row])!r} is not in {where}{ask_alike(str(names[row]), known)}"
        ),
    )
    return found.astype(np.int64)


def require_unique(table: Table, column: str) -> None:
    """Checks that no two rows agree in a text column.

    Raises:
      CorpusError: two rows agree.
    """
    names = table.text[column]
    again = pd.Index(names).duplicated()
    table.require_none(
        again, column, lambda row: f"{str(names[row])!r} occurs more than once"
    )


def as_float32(values: np.ndarray) -> np.ndarray:
    """Casts to float32; what it cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)
