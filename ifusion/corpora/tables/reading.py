"""Any format to a `Table`.

Axes: R rows, F numeric columns that are not asked for by name.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.tables import arff, delimited, parquet
from ifusion.corpora.tables.arrays import (
    as_text,
    load_arrays,
    load_datasets,
    load_records,
    require_file,
)
from ifusion.corpora.tables.checks import as_float32
from ifusion.corpora.tables.table import Table, record_number

SUFFIXES = (".csv", ".parquet", ".npz", ".npy", ".h5", ".hdf5")
Rest = Literal["text", "numeric", "ignore"]


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
        raise CorpusError(f"found {names}, expected only one of them", folder)
    return found[0] if found else None


def read_columns(path: Path, separators: str = ",") -> tuple[str, ...]:
    """Reads the column names of a CSV or ARFF file, surrounding blanks removed.

    Raises:
      CorpusError: the file is missing or empty, a column has no name or that of
        another, all names of a CSV file are numbers, or the header of an ARFF file is
        broken.
    """
    if require_file(path).suffix == ".arff":
        return _checked_columns(
            path, [a.name for a in arff.read_header(path).attributes]
        )
    separator = delimited.find_separator(path, separators)
    names = [name.strip() for name in delimited.read_header(path, separator)]
    numbers = [delimited.is_number(name, delimited.BLANK) for name in names]
    if names and all(names) and all(numbers):
        reason = f"found the numbers {shorten(names)}, expected a line of column names"
        raise CorpusError(reason, path, row=1)
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
      separators: what may separate the fields of a CSV file; the first of these that
        its header contains does.

    Raises:
      CorpusError: the file is missing or broken, a column is missing, duplicate or
        unnamed, a row is too short or too long, a numeric cell is not a number, or the
        file has no rows.
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
        raise CorpusError(f"expected a file ending in one of {(*readers,)}", path)
    table = readers[path.suffix](require_file(path), text, numbers, rest)
    if not len(table):
        raise CorpusError("there are no rows", path)
    return table


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
            reason = f"the attribute is {attribute.kind}, expected numeric"
            raise CorpusError(reason, path, attribute.line, attribute.name)
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
        values[:, i] = as_float32(parquet.number_column(path, name, found[name]))
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
    line: Callable[[int], int] = record_number,
) -> Table:
    names = tuple(others) if rest == "numeric" else ()
    return Table(
        path,
        {column: np.asarray(frame[column], np.str_) for column in text},
        {column: frame[column].to_numpy(np.float64) for column in numbers},
        names,
        np.ascontiguousarray(as_float32(frame[list(names)].to_numpy())),
        line,
    )


def _read_arrays(
    load: Callable[[Path, Sequence[str]], dict[str, np.ndarray]],
    path: Path,
    text: Sequence[str],
    numbers: Sequence[str],
    rest: Rest,
) -> Table:
    _require_numeric_rest(path, rest)
    arrays = load(path, [*text, *numbers, "names", "values"])
    _require_shape(path, "names", arrays["names"], arrays["names"].size)
    names = _checked_columns(path, as_text(path, "names", arrays["names"]).tolist())
    values = arrays["values"]
    num_rows = values.shape[0] if values.ndim else 0
    _require_shape(path, "values", values, num_rows, len(names))
    for column in (*text, *numbers):
        _require_shape(path, column, arrays[column], num_rows)
    for column in ("values", *numbers):
        _require_numeric(path, column, arrays[column].dtype)
    return Table(
        path,
        {column: as_text(path, column, arrays[column]) for column in text},
        {column: arrays[column].astype(np.float64) for column in numbers},
        names,
        as_float32(values),
    )


def _require_shape(path: Path, name: str, array: np.ndarray, *shape: int) -> None:
    if array.shape != shape:
        reason = f"the array has shape {array.shape}, expected {shape}"
        raise CorpusError(reason, path, column=name)


def _read_npy(
    path: Path, text: Sequence[str], numbers: Sequence[str], rest: Rest
) -> Table:
    _require_numeric_rest(path, rest)
    records = load_records(path)
    columns = _checked_columns(path, records.dtype.names or ())
    if columns != records.dtype.names:
        raise CorpusError("the name of a field starts or ends with a blank", path)
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
    """Views adjacent float32 fields as (R, F) on disk; copies where it cannot."""
    types, fields = records.dtype, records.dtype.fields
    offsets = [fields[name][1] for name in names] if fields else []
    adjacent = bool(offsets) and offsets == [
        offsets[0] + 4 * i for i in range(len(offsets))
    ]
    if adjacent and all(types[name] == np.float32 for name in names):
        return np.ndarray(
            (len(records), len(names)),
            np.float32,
            records.view(np.uint8).reshape(-1) if len(records) else None,
            offsets[0],
            (types.itemsize, 4),
        )
    columns = [as_float32(np.asarray(records[name])) for name in names]
    return np.stack(columns, 1) if columns else np.empty((len(records), 0), np.float32)


def _require_numeric_rest(path: Path, rest: Rest) -> None:
    if rest != "numeric":
        raise CorpusError("expected a CSV or Parquet file", path)


def _require_numeric(path: Path, column: str, dtype: np.dtype) -> None:
    if dtype.kind not in "fiub":
        raise CorpusError(f"{dtype} values, expected numbers", path, 1, column)


def _checked_columns(path: Path, columns: Sequence[object]) -> tuple[str, ...]:
    names = tuple(str(name).strip() for name in columns)
    if not names:
        raise CorpusError("the file is empty, expected column names", path, row=1)
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not name:
            raise CorpusError(f"column {i + 1} has no name", path, row=1)
        if name in seen:
            raise CorpusError("the column occurs more than once", path, 1, name)
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
            reason = f"the column is missing{hint}, found {columns[:8]}"
            raise CorpusError(reason, path, 1, name)
    asked = {*text, *numbers}
    return () if rest == "ignore" else tuple(c for c in columns if c not in asked)
