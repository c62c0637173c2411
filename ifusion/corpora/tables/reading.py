"""Any format to a `Table`.

Axes: R rows, F numeric columns that are not asked for by name.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.names import normalise, normalise_names
from ifusion.corpora.tables import arff, delimited, parquet
from ifusion.corpora.tables.arrays import (
    as_text,
    load_arrays,
    load_datasets,
    load_records,
    require_file,
)
from ifusion.corpora.tables.checks import as_float32
from ifusion.corpora.tables.table import Table

SUFFIXES = (".csv", ".parquet", ".npz", ".npy", ".h5", ".hdf5")
Rest = Literal["text", "numeric", "ignore"]
Choose = Callable[[Path, tuple[str, ...]], tuple[str, ...]]  # the columns that are read


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
    choose: Choose | None = None,
) -> Table:
    """Reads a file of any format.

    Args:
      path: .csv, .arff, .parquet, .npz, .h5 or .hdf5 (arrays or datasets named as the
        text and number columns, `names` and `values`), or .npy (a structured array with
        a field a column).
      text: columns that must be there and are read as text, each cell normalised as a
        name, see `ifusion.corpora.names`.
      numbers: columns that must be there and are read as float64.
      rest: what the other columns are.
      separators: what may separate the fields of a CSV file; the first of these that
        its header contains does.
      choose: (path, names of the other columns) -> those of them that are read as
        numbers; all by default.

    Raises:
      CorpusError: the file is missing or broken, a column is missing, duplicate or
        unnamed, a row is too short or too long, a numeric cell is not a number, or the
        file has no rows.
    """
    readers: dict[str, Callable[[Path, Wanted], Table]] = {
        ".csv": partial(_read_text, separators=separators),
        ".arff": partial(_read_text, separators=separators),
        ".parquet": _read_parquet,
        ".npz": partial(_read_arrays, load=load_arrays),
        ".npy": _read_npy,
        ".h5": partial(_read_arrays, load=load_datasets),
        ".hdf5": partial(_read_arrays, load=load_datasets),
    }
    if path.suffix not in readers:
        raise CorpusError(f"expected a file ending in one of {(*readers,)}", path)
    table = readers[path.suffix](
        require_file(path), Wanted(text, numbers, rest, choose)
    )
    if not len(table):
        raise CorpusError("there are no rows", path)
    return replace(table, text={k: normalise_names(v) for k, v in table.text.items()})


class Wanted(NamedTuple):
    """The columns that are asked for, as in `read_table`."""

    text: Sequence[str]
    numbers: Sequence[str]
    rest: Rest
    choose: Choose | None = None

    def split(
        self, path: Path, columns: Sequence[str]
    ) -> tuple[list[str], tuple[str, ...]]:
        """Returns all columns to read as text, and those to read as float32.

        Raises:
          CorpusError: a column is missing.
        """
        for name in (*self.text, *self.numbers):
            if name not in columns:
                hint = " (are the fields separated by ';'?)" * (";" in columns[0])
                reason = f"the column is missing{hint}, found {tuple(columns[:8])}"
                raise CorpusError(reason, path, 1, name)
        asked = {*self.text, *self.numbers}
        others = tuple(column for column in columns if column not in asked)
        if self.choose is not None and self.rest == "numeric":
            others = self.choose(path, others)
        text = [*self.text, *(others if self.rest == "text" else ())]
        return text, others if self.rest == "numeric" else ()


def _read_text(path: Path, wanted: Wanted, separators: str) -> Table:
    """Reads CSV or ARFF."""
    if path.suffix == ".arff":
        header = arff.read_header(path)
        columns = _checked_columns(path, [a.name for a in header.attributes])
        read = partial(arff.read_rows, path, header)
        line = partial(arff.line_of, path, header)
    else:
        separator = delimited.find_separator(path, separators)
        columns = read_columns(path, separator)
        read = partial(delimited.read_rows, path, columns, separator)
        line = partial(delimited.line_of, path, separator)
    text, names = wanted.split(path, columns)
    types: dict[str, Any] = dict.fromkeys(names, np.float32)
    types |= dict.fromkeys(wanted.numbers, np.float64) | dict.fromkeys(text, str)
    frame = read(types)
    return Table(
        path,
        {column: np.asarray(frame[column], np.str_) for column in text},
        {column: frame[column].to_numpy(np.float64) for column in wanted.numbers},
        names,
        np.ascontiguousarray(as_float32(frame[list(names)].to_numpy())),
        line,
    )


def _read_parquet(path: Path, wanted: Wanted) -> Table:
    table = parquet.load_parquet(path)
    columns = _checked_columns(path, table.column_names)
    text, names = wanted.split(path, columns)

    def numbers(name: str) -> np.ndarray:
        return parquet.number_column(path, name, table.column(columns.index(name)))

    values = np.empty((table.num_rows, len(names)), np.float32)
    for i, name in enumerate(names):
        values[:, i] = as_float32(numbers(name))
    return Table(
        path,
        {c: parquet.text_column(path, c, table.column(columns.index(c))) for c in text},
        {c: numbers(c).astype(np.float64) for c in wanted.numbers},
        names,
        values,
    )


def _read_arrays(
    path: Path,
    wanted: Wanted,
    load: Callable[[Path, Sequence[str]], dict[str, np.ndarray]],
) -> Table:
    """Reads npz or HDF5."""
    _require_numeric_rest(path, wanted)
    arrays = load(path, [*wanted.text, *wanted.numbers, "names", "values"])
    _require_shape(path, "names", arrays["names"], arrays["names"].size)
    names = _checked_columns(path, as_text(path, "names", arrays["names"]).tolist())
    values = arrays["values"]
    num_rows = values.shape[0] if values.ndim else 0
    _require_shape(path, "values", values, num_rows, len(names))
    for column in (*wanted.text, *wanted.numbers):
        _require_shape(path, column, arrays[column], num_rows)
    for column in ("values", *wanted.numbers):
        _require_numeric(path, column, arrays[column].dtype)
    chosen = names if wanted.choose is None else wanted.choose(path, names)
    if len(chosen) < len(names):
        values = values[:, [names.index(name) for name in chosen]]
    return Table(
        path,
        {column: as_text(path, column, arrays[column]) for column in wanted.text},
        {column: arrays[column].astype(np.float64) for column in wanted.numbers},
        chosen,
        as_float32(values),
    )


def _read_npy(path: Path, wanted: Wanted) -> Table:
    _require_numeric_rest(path, wanted)
    records = load_records(path)
    columns = _checked_columns(path, records.dtype.names or ())
    if columns != records.dtype.names:
        reason = "the name of a field starts or ends with a blank, or is not in NFC"
        raise CorpusError(reason, path)
    text, names = wanted.split(path, columns)
    for column in (*wanted.numbers, *names):
        _require_numeric(path, column, records.dtype[column])
    return Table(
        path,
        {column: as_text(path, column, np.asarray(records[column])) for column in text},
        {column: records[column].astype(np.float64) for column in wanted.numbers},
        names,
        _record_values(records, names),
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


def _require_numeric_rest(path: Path, wanted: Wanted) -> None:
    if wanted.rest != "numeric":
        raise CorpusError("expected a CSV or Parquet file", path)


def _require_shape(path: Path, name: str, array: np.ndarray, *shape: int) -> None:
    if array.shape != shape:
        reason = f"the array has shape {array.shape}, expected {shape}"
        raise CorpusError(reason, path, column=name)


def _require_numeric(path: Path, column: str, dtype: np.dtype) -> None:
    if dtype.kind not in "fiub":
        raise CorpusError(f"{dtype} values, expected numbers", path, 1, column)


def _checked_columns(path: Path, columns: Sequence[object]) -> tuple[str, ...]:
    names = tuple(normalise(str(name)) for name in columns)
    if not names:
        raise CorpusError("the file is empty, expected column names", path, row=1)
    for i, name in enumerate(names):
        if not name:
            raise CorpusError(f"column {i + 1} has no name", path, row=1)
    for name, count in Counter(names).items():
        if count > 1:
            raise CorpusError("the column occurs more than once", path, 1, name)
    return names
