"""One file to one checked table: CSV, ARFF, Parquet, npz, npy or HDF5.

Axes: R rows, F numeric columns that are not asked for by name.

Rows in messages are counted from 1: in CSV and ARFF as the lines of the file, header
included; elsewhere as records.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ifusion.corpora import arff, delimited, parquet
from ifusion.corpora.arrays import (
    as_text,
    load_arrays,
    load_datasets,
    load_records,
    require_file,
)
from ifusion.corpora.corpus import CHUNK_ROWS, CorpusError, shorten

SUFFIXES = (".csv", ".parquet", ".npz", ".npy", ".h5", ".hdf5")
MAX_TIME = 1e9  # [s], 30 years
Rest = Literal["text", "numeric", "ignore"]


def _record_number(row: int) -> int:
    return row + 1


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of one file.

    Attributes:
      path: the file.
      text: {column: (R,) str}.
      numbers: {column: (R,) float64}, NaN where blank.
      names: the F other numeric columns in the order of the file.
      values: (R, F) float32, their values; of an npy file a memory map where possible.
      line: says how the user counts a 0-based row.
    """

    path: Path
    text: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    values: np.ndarray
    line: Callable[[int], int] = _record_number

    def __len__(self) -> int:
        columns = [*self.text.values(), *self.numbers.values(), self.values]
        return len(columns[0])

    def error(self, row: int, column: str, problem: str) -> CorpusError:
        """Names a cell: row is 0-based here and as the user counts in the message."""
        return CorpusError(
            f"{self.path}, row {self.line(row)}, column {column!r}: {problem}"
        )


def find_table(
    folder: Path, stem: str, suffixes: Sequence[str] = SUFFIXES
) -> Path | None:
    """Finds folder/stem in any format; None if there is none.

    Raises:
      CorpusError: there is more than one.
    """
    found = [p for s in suffixes if os.path.isfile(p := folder / f"{stem}{s}")]
    if len(found) > 1:
        names = " and ".join(p.name for p in found)
        raise CorpusError(f"{folder}: there are {names}, expected only one of them")
    return found[0] if found else None


def read_columns(path: Path, separators: str = ",") -> tuple[str, ...]:
    """Reads the column names of a CSV or ARFF file, outer blanks removed.

    Raises:
      CorpusError: file missing or empty, a column unnamed or named twice, all names of
        a CSV file are numbers, or the header of an ARFF file is broken.
    """
    if require_file(path).suffix == ".arff":
        return _checked_columns(
            path, [a.name for a in arff.read_header(path).attributes]
        )
    separator = delimited.find_separator(path, separators)
    names = [name.strip() for name in delimited.read_header(path, separator)]
    numbers = [delimited.is_number(name, delimited.BLANK) for name in names]
    if names and all(names) and all(numbers):
        raise CorpusError(
            f"{path}, row 1: found the numbers {shorten(names)}, expected a line of "
            "column names above the rows"
        )
    return _checked_columns(path, names)


def read_table(
    path: Path,
    text: Sequence[str] = (),
    numbers: Sequence[str] = (),
    rest: Rest = "numeric",
    separators: str = ",",
) -> Table:
    """Reads a file of any format.

    Args:
      path: .csv, .arff, .parquet, .npz, .h5 or .hdf5 (arrays or datasets named as the
        text and number columns, `names` and `values`), or .npy (a structured array with
        a field a column).
      text: columns that must be there and are read as text.
      numbers: columns that must be there and are read as float64.
      rest: what the other columns are.
      separators: what may separate the fields of a CSV file; the first that occurs in
        its header does.

    Raises:
      CorpusError: the file is missing or broken, a column is missing, duplicate or
        unnamed, a row is short or over-long, a numeric cell is no number, there are no
        rows.
    """
    readers: dict[str, Callable[..., Table]] = {
        ".csv": partial(_read_csv, separators),
        ".arff": _read_arff,
        ".parquet": _read_parquet,
        ".npz": partial(_read_arrays, load_arrays),
        ".npy": _read_npy,
        ".h5": partial(_read_arrays, load_datasets),
        ".hdf5": partial(_read_arrays, load_datasets),
    }
    if path.suffix not in readers:
        raise CorpusError(f"{path}: expected a file ending in one of {(*readers,)}")
    table = readers[path.suffix](require_file(path), text, numbers, rest)
    if not len(table):
        raise CorpusError(f"{path}: there are no rows below the column names")
    return table


def require_values(table: Table, allow_nan: bool) -> None:
    """Checks the features (R, F) of a table, a chunk of rows at a time.

    Raises:
      CorpusError: a value is infinite, or NaN where that is not allowed.
    """
    if not table.names:
        raise CorpusError(f"{table.path}: there is no feature column")
    for start in range(0, len(table), CHUNK_ROWS):
        part = table.values[start : start + CHUNK_ROWS]
        wrong = np.isinf(part) if allow_nan else ~np.isfinite(part)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise table.error(
                start + row,
                table.names[column],
                "value is infinite, expected a finite number"
                if np.isinf(part[row, column])
                else "value is missing (NaN), expected a number; the option impute "
                "fills gaps with the mean of train",
            )


def require_numbers(table: Table, column: str, allow_nan: bool = False) -> np.ndarray:
    """Returns a column of `numbers`, (R,) float64.

    Raises:
      CorpusError: a value is infinite, or NaN where that is not allowed.
    """
    numbers = table.numbers[column]
    wrong = np.isinf(numbers) if allow_nan else ~np.isfinite(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        problem = f"value is {numbers[row]}, expected a finite number"
        raise table.error(row, column, problem)
    return numbers


def require_float32(table: Table, column: str, allow_nan: bool = False) -> np.ndarray:
    """Returns a column of `numbers` as (R,) float32.

    Raises:
      CorpusError: a value is beyond float32, or as `require_numbers`.
    """
    numbers = _as_float32(require_numbers(table, column, allow_nan))
    wrong = np.isinf(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        value = table.numbers[column][row]
        raise table.error(row, column, f"value {value:g} is too large for float32")
    return numbers


def require_times(table: Table, column: str) -> np.ndarray:
    """Returns a column of `numbers` that are times [s], (R,) float64.

    Raises:
      CorpusError: a value is missing, infinite or beyond `MAX_TIME`.
    """
    times = require_numbers(table, column)
    far = np.abs(times) > MAX_TIME
    if far.any():
        row = int(far.argmax())
        problem = f"time {times[row]:g} s, expected at most {MAX_TIME:g} s"
        raise table.error(row, column, problem)
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
    if regular and usual > 0 and abs(usual - step) > step / 10:
        what = f"belongs to a frame step of {usual:g} s"
    names = table.text.get("recording")
    name = "" if names is None else f" of recording {str(names[row])!r}"
    problem = f"time {times[place]:g}{name} {what}, expected {expected[place]:g}"
    raise table.error(row, column, f"{problem} (frame step {step:g} s)")


def class_column(table: Table, column: str, classes: Sequence[str]) -> np.ndarray:
    """Encodes a text column: (R,) int32 index into classes, -1 where blank.

    Raises:
      CorpusError: a cell names an unknown class.
    """
    names = table.text[column]
    codes = pd.Index(classes).get_indexer(pd.Index(names)).astype(np.int32)
    unknown = (codes < 0) & (names != "")
    if unknown.any():
        row = int(unknown.argmax())
        problem = f"unknown class {str(names[row])!r}, expected one of {tuple(classes)}"
        raise table.error(row, column, problem)
    return codes


def positions(table: Table, column: str, known: np.ndarray, where: str) -> np.ndarray:
    """Looks each name of a column up: (R,) int64 positions in known.

    Args:
      table: any table with that text column.
      column: its name.
      known: (n,) str, unique.
      where: the file or thing that lists the known names, for the message.

    Raises:
      CorpusError: a name is not known.
    """
    found = pd.Index(known).get_indexer(pd.Index(table.text[column]))
    if (found < 0).any():
        row = int((found < 0).argmax())
        name = str(table.text[column][row])
        raise table.error(row, column, f"{name!r} is not in {where}")
    return found.astype(np.int64)


def require_unique(table: Table, *columns: str) -> None:
    """Checks that no two rows agree in all of these text columns.

    Raises:
      CorpusError: two rows agree.
    """
    keys = pd.DataFrame({column: table.text[column] for column in columns})
    again = keys.duplicated().to_numpy()
    if again.any():
        row = int(again.argmax())
        name = "/".join(str(table.text[column][row]) for column in columns)
        raise table.error(row, columns[-1], f"{name!r} occurs more than once")


def _read_csv(
    separators: str,
    path: Path,
    text: Sequence[str],
    numbers: Sequence[str],
    rest: Rest,
) -> Table:
    separator = delimited.find_separator(path, separators)
    columns = read_columns(path, separator)
    others = _other_columns(path, columns, text, numbers, rest)
    as_text, _, types = _types(others, text, numbers, rest)
    frame = delimited.read_rows(path, columns, separator, types)
    line = partial(delimited.line_of, path, separator)
    return _from_frame(path, frame, as_text, numbers, others, rest, line)


def _types(
    others: Sequence[str], text: Sequence[str], numbers: Sequence[str], rest: Rest
) -> tuple[list[str], list[str], dict[str, Any]]:
    """Lists the text columns, the numeric columns, and the type of each."""
    as_text = [*text, *(others if rest == "text" else ())]
    as_float = [*numbers, *(others if rest == "numeric" else ())]
    types: dict[str, Any] = dict.fromkeys(as_float, np.float32)
    types |= dict.fromkeys(numbers, np.float64) | dict.fromkeys(as_text, str)
    return as_text, as_float, types


def _read_arff(
    path: Path, text: Sequence[str], numbers: Sequence[str], rest: Rest
) -> Table:
    header = arff.read_header(path)
    columns = _checked_columns(path, [a.name for a in header.attributes])
    others = _other_columns(path, columns, text, numbers, rest)
    as_text, as_float, types = _types(others, text, numbers, rest)
    for attribute in header.attributes:
        if attribute.name in as_float and attribute.kind != "numeric":
            raise CorpusError(
                f"{path}, row {attribute.line}, column {attribute.name!r}: the "
                f"attribute is {attribute.kind}, expected numeric"
            )
    frame = arff.read_rows(path, header, types)
    line = partial(arff.line_of, path, header)
    return _from_frame(path, frame, as_text, numbers, others, rest, line)


def _read_parquet(
    path: Path, text: Sequence[str], numbers: Sequence[str], rest: Rest
) -> Table:
    table = parquet.load_parquet(path)
    columns = _checked_columns(path, table.column_names)
    others = _other_columns(path, columns, text, numbers, rest)
    as_text, as_float, _ = _types(others, text, numbers, rest)
    found = {c: table.column(columns.index(c)) for c in (*as_text, *as_float)}
    names = others if rest == "numeric" else ()
    values = np.empty((table.num_rows, len(names)), np.float32)
    for i, name in enumerate(names):
        values[:, i] = _as_float32(parquet.number_column(path, name, found[name]))
    return Table(
        path,
        {c: parquet.text_column(path, c, found[c]) for c in as_text},
        {
            c: parquet.number_column(path, c, found[c]).astype(np.float64)
            for c in numbers
        },
        names,
        values,
    )


def _from_frame(
    path: Path,
    frame: pd.DataFrame,
    text: Sequence[str],
    numbers: Sequence[str],
    others: Sequence[str],
    rest: Rest,
    line: Callable[[int], int] = _record_number,
) -> Table:
    names = tuple(others) if rest == "numeric" else ()
    return Table(
        path,
        {column: np.asarray(frame[column], np.str_) for column in text},
        {column: frame[column].to_numpy(np.float64) for column in numbers},
        names,
        np.ascontiguousarray(_as_float32(frame[list(names)].to_numpy())),
        line,
    )


def _read_arrays(
    load: Callable[[Path, Sequence[str]], dict[str, np.ndarray]],
    path: Path,
    text: Sequence[str],
    numbers: Sequence[str],
    rest: Rest,
) -> Table:
    if rest != "numeric":
        raise CorpusError(f"{path}: expected a CSV or Parquet file")
    arrays = load(path, [*text, *numbers, "names", "values"])
    if arrays["names"].ndim != 1:
        raise CorpusError(
            f"{path}, array 'names' has shape {arrays['names'].shape}, expected "
            "(features,)"
        )
    names = _checked_columns(path, as_text(path, "names", arrays["names"]).tolist())
    values = arrays["values"]
    if values.ndim != 2 or values.shape[1] != len(names):
        raise CorpusError(
            f"{path}, array 'values' has shape {values.shape}, expected (rows, "
            f"{len(names)}) for {len(names)} names"
        )
    for column in (*text, *numbers):
        if arrays[column].shape != values.shape[:1]:
            raise CorpusError(
                f"{path}, array {column!r} has shape {arrays[column].shape}, expected "
                f"({len(values)},), one entry for each row of values"
            )
    for column in ("values", *numbers):
        _require_numeric(path, column, arrays[column].dtype)
    return Table(
        path,
        {column: as_text(path, column, arrays[column]) for column in text},
        {column: arrays[column].astype(np.float64) for column in numbers},
        names,
        _as_float32(values),
    )


def _read_npy(
    path: Path, text: Sequence[str], numbers: Sequence[str], rest: Rest
) -> Table:
    if rest != "numeric":
        raise CorpusError(f"{path}: expected a CSV or Parquet file")
    records = load_records(path)
    columns = _checked_columns(path, records.dtype.names or ())
    if columns != records.dtype.names:
        raise CorpusError(f"{path}: a field begins or ends with a blank")
    others = _other_columns(path, columns, text, numbers, rest)
    for column in (*numbers, *others):
        _require_numeric(path, column, records.dtype[column])
    return Table(
        path,
        {column: as_text(path, column, np.asarray(records[column])) for column in text},
        {column: records[column].astype(np.float64) for column in numbers},
        others,
        _record_values(records, others),
    )


def _record_values(records: np.memmap, names: tuple[str, ...]) -> np.ndarray:
    """Views neighbouring float32 fields as (R, F) on disk; copies where it cannot."""
    types, fields = records.dtype, records.dtype.fields
    offsets = [fields[name][1] for name in names] if fields else []
    neighbours = bool(offsets) and offsets == [
        offsets[0] + 4 * i for i in range(len(offsets))
    ]
    if neighbours and all(types[name] == np.float32 for name in names):
        return np.ndarray(
            (len(records), len(names)),
            np.float32,
            records.view(np.uint8).reshape(-1) if len(records) else None,
            offsets[0],
            (types.itemsize, 4),
        )
    columns = [_as_float32(np.asarray(records[name])) for name in names]
    return np.stack(columns, 1) if columns else np.empty((len(records), 0), np.float32)


def _as_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return values.astype(np.float32, copy=False)


def _require_numeric(path: Path, column: str, dtype: np.dtype) -> None:
    if dtype.kind not in "fiub":
        raise CorpusError(
            f"{path}, row 1, column {column!r}: values are of type {dtype}, "
            "expected numbers"
        )


def _checked_columns(path: Path, columns: Sequence[object]) -> tuple[str, ...]:
    names = tuple(str(name).strip() for name in columns)
    if not names:
        raise CorpusError(f"{path}, row 1: the file is empty, expected column names")
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not name:
            raise CorpusError(f"{path}, row 1: column {i + 1} has no name")
        if name in seen:
            raise CorpusError(
                f"{path}, row 1, column {name!r} occurs more than once, "
                "expected distinct names"
            )
        seen.add(name)
    return names


def _other_columns(
    path: Path,
    columns: tuple[str, ...],
    text: Sequence[str],
    numbers: Sequence[str],
    rest: Rest,
) -> tuple[str, ...]:
    for name in (*text, *numbers):
        if name not in columns:
            hint = " (are the fields separated by ';'?)" if ";" in columns[0] else ""
            raise CorpusError(
                f"{path}, row 1: column {name!r} is missing{hint}, found {columns[:8]}"
            )
    asked = {*text, *numbers}
    return () if rest == "ignore" else tuple(c for c in columns if c not in asked)
