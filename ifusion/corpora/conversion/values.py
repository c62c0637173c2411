"""Checks and casts the contents of arrays and lists in files of other toolkits.

Axes: N recordings, T steps, F features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arrays import as_text

MAX_NAME = 1000  # characters; an array of text takes that many of each
JOINT = "$_$"  # between video and segment, as MMSA joins them


def texts(path: Path, key: str, value: Any) -> np.ndarray:
    """Casts names, or parts of names in several columns, to (N,) str.

    Raises:
      CorpusError: they are not a list or array of text or whole numbers.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        found = as_text(path, key, value)
    else:
        items = value.tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(items, list | tuple):
            raise _wrong(path, key, value, "text")
        found = np.array([_text(path, key, item) for item in items], np.str_)
    if found.ndim == 2 and found.shape[1]:
        found = np.array([JOINT.join(row) for row in found.tolist()], np.str_)
    if found.ndim != 1:
        raise CorpusError(f"has shape {found.shape}, expected (N,)", path, column=key)
    return found


def numbers(path: Path, key: str, value: Any) -> np.ndarray:
    """Casts numbers to float64 of the same shape, a plain list to (N,).

    Raises:
      CorpusError: they are something else.
    """
    if isinstance(value, list | tuple):
        items = [item.item() if _is_single(item) else item for item in value]
        if not all(isinstance(item, int | float | np.number) for item in items):
            raise _wrong(path, key, value, "numbers")
        try:
            return np.array([float(item) for item in items])
        except OverflowError as error:
            raise CorpusError("holds too large a number", path, column=key) from error
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.ndim == 1:
        return numbers(path, key, value.tolist())
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise _wrong(path, key, value, "numbers")
    return value.astype(np.float64)


def vector(path: Path, key: str, value: Any, count: int) -> np.ndarray:
    """Casts one number per recording to (N,) float64; axes of size 1 do not count.

    Raises:
      CorpusError: they are not numbers, or not that many.
    """
    found = numbers(path, key, value)
    if found.size != count or max(found.shape, default=0) != count:
        reason = f"has shape {found.shape}, expected one number for each of {count}"
        raise CorpusError(f"{reason} recordings", path, column=key)
    return found.reshape(count)


def whole_numbers(path: Path, key: str, value: Any, count: int) -> np.ndarray:
    """Casts one whole number per recording to (N,) int64.

    Raises:
      CorpusError: one is not whole; or see `vector`.
    """
    found = vector(path, key, value, count)
    wrong = np.flatnonzero(~(np.abs(found) < 2**53) | (found != np.floor(found)))
    if len(wrong):
        row = int(wrong[0])
        reason = f"{found[row]} is not a whole number"
        raise CorpusError(reason, path, row + 1, key)
    return found.astype(np.int64)


def lengths_within(
    path: Path, key: str, value: Any, steps: Sequence[np.ndarray]
) -> np.ndarray:
    """Casts the lengths of recordings, checked against their steps: (N,) int64.

    Raises:
      CorpusError: one is negative or beyond the steps; or see `whole_numbers`.
    """
    found = whole_numbers(path, key, value, len(steps))
    most = np.array([len(values) for values in steps])
    wrong = np.flatnonzero((found < 0) | (found > most))
    if len(wrong):
        row = int(wrong[0])
        reason = f"length {found[row]} is not between 0 and the {most[row]} steps there"
        raise CorpusError(reason, path, row + 1, key)
    return found


def split_steps(path: Path, key: str, value: Any) -> list[np.ndarray]:
    """Splits the steps of a modality, (N, T, F) or a list of (T, F), by recording.

    Raises:
      CorpusError: they are not numbers, have another shape, or several F.
    """
    whole = isinstance(value, np.ndarray) and value.dtype.kind != "O"
    if whole and (value.ndim != 3 or not value.shape[2]):
        reason = f"has shape {value.shape}, expected (recordings, steps, features)"
        raise CorpusError(reason, path, column=key)
    if not whole and not (
        isinstance(value, list | tuple)
        or (isinstance(value, np.ndarray) and value.ndim == 1)
    ):
        raise _wrong(path, key, value, "an array (recordings, steps, features)")
    found = list(value)
    for i, values in enumerate(found):
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            raise _wrong(path, key, values, "numbers")
        if values.ndim != 2 or values.shape[1] != found[0].shape[-1]:
            reason = (
                f"has shape {values.shape}, expected (steps, features) as the first"
            )
            raise CorpusError(reason, path, i + 1, key)
    return found


def row_count(path: Path, counts: dict[str, int]) -> int:
    """Returns N, which all arrays must share.

    Raises:
      CorpusError: they do not.
    """
    (first, count), *rest = counts.items()
    for key, other in rest:
        if other != count:
            reason = f"has {other} recordings, {first} has {count}"
            raise CorpusError(reason, path, column=key)
    return count


def _text(path: Path, key: str, item: Any) -> Any:
    if isinstance(item, np.ndarray | list | tuple):  # parts of a name
        parts = item.tolist() if isinstance(item, np.ndarray) else item
        if isinstance(parts, list | tuple) and len(parts) < 10:
            return JOINT.join(_plain(path, key, part) for part in parts)
    return _plain(path, key, item)


def _plain(path: Path, key: str, item: Any) -> str:
    if isinstance(item, bytes):
        item = item.decode("utf-8", "replace")
    if not isinstance(item, str | int | np.integer) or isinstance(item, bool):
        raise _wrong(path, key, item, "text")
    text = str(item)
    if len(text) > MAX_NAME:
        reason = f"a text has {len(text)} characters, expected {MAX_NAME} at most"
        raise CorpusError(reason, path, column=key)
    return text


def _is_single(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind != "O" and item.size == 1


def _wrong(path: Path, key: str, value: Any, expected: str) -> CorpusError:
    kind = type(value).__name__.strip("_")
    if isinstance(value, np.ndarray):
        kind = f"array of {value.dtype}"
    if isinstance(value, list | tuple) and value:
        kind += f" of {type(value[0]).__name__.strip('_')}"
    return CorpusError(f"holds a {kind}, expected {expected}", path, column=key)
