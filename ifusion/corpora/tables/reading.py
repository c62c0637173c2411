"""Reads any format into a `Table`.

Axes: R rows, F numeric columns that are not asked for by name.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.names import find_alike, normalise, normalise_names
from ifusion.corpora.tables import arff, delimited, parquet
from ifusion.corpora.tables.arrays import (
    Shape,
    as_text,
    load_arrays,
    load_datasets,
    load_records,
    require_file,
)
from ifusion.corpora.tables.checks import as_float32
from ifusion.corpora.tables.contents import require_text
from ifusion.corpora.tables.table import Table

SUFFIXES = (".csv", ".arff", ".parquet", ".npz", ".npy", ".h5", ".hdf5")
SEPARATORS = ",;\t"  # of CSV; the first found in the header
SPREADSHEETS = (".csv", ".parquet")  # of text too; they may end in empty rows
BINARY = (".npz", ".npy", ".h5", ".hdf5")  # for features only
MAX_COLUMNS, MANY_ROWS = 100_000, 100_000
UNNAMED = "Unnamed: 0"  # what pandas calls the index that it wrote without a name
Rest = Literal["text", "numeric", "ignore"]
Choose = Callable[[Path, tuple[str, ...]], tuple[str, ...]]  # the columns to read


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


def read_columns(path: Path, separators: str = SEPARATORS) -> tuple[str, ...]:
    """Reads the column names of CSV, ARFF or Parquet, surrounding blanks removed.

    Raises:
      CorpusError: the file is missing or empty, a column has no name or the name of
        another, all names in a CSV file are numbers, or the header of an ARFF file is
        broken.
    """
    with _opening(path):
        require_file(path)
        if path.suffix == ".parquet":
            return _checked_columns(path, parquet.read_column_names(path))
        require_text(path)
        if path.suffix == ".arff":
            header = arff.read_arff_header(path)
            return _checked_columns(path, [a.name for a in header.attributes])
        separator = delimited.find_separator(path, separators)
        names = [name.strip() for name in delimited.read_column_names(path, separator)]
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
    separators: str = SEPARATORS,
    choose: Choose | None = None,
    most: int | None = None,
    advice: str = delimited.IGNORE_IT,
) -> Table:
    """Reads a file in any format.

    Args:
      path: .csv, .arff, .parquet, .npz, .h5 or .hdf5 (arrays or datasets named as the
        text and number columns, `names` and `values`), or .npy (a structured array with
        one field per column). In HDF5 vectors may be (R, 1) or (1, R), and `values` may
        be transposed, as MATLAB writes them.
      text: columns that must be there and are read as text, each cell normalised as a
        name, see `ifusion.corpora.names`.
      numbers: columns that must be there and are read as float64.
      rest: what the other columns are.
      separators: possible separators of the fields of a CSV file; the first found in
        its header counts.
      choose: (path, names of the other columns) -> those to read as numbers; all by
        default.
      most: rows that the file can have; a binary file that declares many more is not
        unpacked.
      advice: what to do about text in a feature, the end of a message.

    Returns:
      The table, for CSV and Parquet without empty rows at the end.

    Raises:
      CorpusError: the file is missing, unreadable, broken or in another format, a
        column is missing, duplicate or unnamed, a row is empty, too short or too long,
        a numeric cell is not a number, or the file has no rows.
    """
    readers: dict[str, Callable[[Path, Wanted], Table]] = {
        ".csv": _read_text,
        ".arff": _read_text,
        ".parquet": _read_parquet,
        ".npz": _read_arrays,
        ".npy": _read_npy,
        ".h5": _read_arrays,
        ".hdf5": _read_arrays,
    }
    if path.suffix not in readers:
        known = ", ".join(readers)
        raise CorpusError(f"expected a name ending in one of {known}", path)
    with _opening(path):
        require_file(path)
        if rest != "numeric" and path.suffix in BINARY:
            raise CorpusError("expected a CSV or Parquet file", path)
        wanted = Wanted(text, numbers, rest, separators, choose, most, advice)
        table = readers[path.suffix](path, wanted)
    if path.suffix in SPREADSHEETS:
        table = _without_empty_rows(table, [*text, *numbers])
    if not len(table):
        raise CorpusError("there are no rows", path)
    return replace(table, text={k: normalise_names(v) for k, v in table.text.items()})


class Wanted(NamedTuple):
    """The columns to read, as in `read_table`."""

    text: Sequence[str]
    numbers: Sequence[str]
    rest: Rest
    separators: str
    choose: Choose | None
    most: int | None
    advice: str

    def check_rows(self, path: Path, rows: int) -> None:
        """Checks that a file declares no more rows than it can have, or `MANY_ROWS`."""
        if self.most is not None and rows > max(self.most, MANY_ROWS):
            reason = f"the file has {rows} rows, expected {self.most} at most"
            raise CorpusError(reason, path)

    def split(
        self, path: Path, columns: Sequence[str]
    ) -> tuple[list[str], tuple[str, ...]]:
        """Returns all columns to read as text, and those to read as float32."""
        for name in (*self.text, *self.numbers):
            if name not in columns:
                marks = [repr(m) for m in ";\t| " if m in columns[0]][:1]
                hint = f" (are the fields separated by {marks[0]}?)" if marks else ""
                near = find_alike(name, columns)
                if near is not None:
                    hint = f" (is it {near!r}? Then rename that)"
                if columns[0].startswith("#"):
                    hint = " (is the first line a comment? Delete it)"
                reason = f"the column is missing{hint}, found {tuple(columns[:8])}"
                raise CorpusError(reason, path, 1, name)
        asked = {*self.text, *self.numbers}
        others = tuple(column for column in columns if column not in asked)
        if self.choose is not None:
            others = self.choose(path, others)
        text = [*self.text, *(others if self.rest == "text" else ())]
        return text, others if self.rest == "numeric" else ()


def _read_text(path: Path, wanted: Wanted) -> Table:
    require_text(path)
    if path.suffix == ".arff":
        header = arff.read_arff_header(path)
        columns = _checked_columns(path, [a.name for a in header.attributes])
        read = partial(arff.read_arff, path, header)
        line = partial(arff.line_of, path, header)
    else:
        separator = delimited.find_separator(path, wanted.separators)
        columns = read_columns(path, separator)
        read = partial(
            delimited.read_delimited, path, columns, separator, advice=wanted.advice
        )
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
    table = parquet.load_parquet(path, partial(wanted.check_rows, path))
    columns = _checked_columns(path, table.column_names)
    text, names = wanted.split(path, columns)
    found = dict(zip(columns, table.columns, strict=True))

    def numbers(name: str) -> np.ndarray:
        return parquet.number_column(path, name, found[name])

    values = np.empty((table.num_rows, len(names)), np.float32)
    for i, name in enumerate(names):
        values[:, i] = as_float32(numbers(name))
    return Table(
        path,
        {c: parquet.text_column(path, c, found[c]) for c in text},
        {c: numbers(c).astype(np.float64) for c in wanted.numbers},
        names,
        values,
    )


def _read_arrays(path: Path, wanted: Wanted) -> Table:
    """Reads npz or HDF5.

    In HDF5 vectors may be matrices of one row or column, and `values` transposed, as
    MATLAB writes them.
    """
    matlab = path.suffix != ".npz"
    vectors = [*wanted.text, *wanted.numbers, "names"]
    size: Shape = ()

    def check(shapes: Mapping[str, Shape]) -> None:
        nonlocal size
        for name in vectors:
            if not (matlab and len(shapes[name]) == 2 and 1 in shapes[name]):
                _require_shape(path, name, shapes[name], (math.prod(shapes[name]),))
        size = _rows_and_width(path, shapes, vectors)
        wanted.check_rows(path, size[0])
        transposed = shapes["values"] == size[::-1] != size
        if not (matlab and transposed):
            hint = "; is it transposed?" if transposed else ""
            _require_shape(path, "values", shapes["values"], size, hint)

    load = load_datasets if matlab else load_arrays
    arrays = load(path, [*vectors, "values"], check)
    arrays |= {name: arrays[name].reshape(-1) for name in vectors}
    notes: tuple[str, ...] = ()
    if arrays["values"].shape != size:
        arrays["values"] = np.ascontiguousarray(arrays["values"].T)
        notes = (f"{path}: values are transposed, as MATLAB writes them: read so.",)
    elif matlab and size[0] == size[1] > 1:
        notes = (
            f"{path}: there are as many rows as features, {size[0]}, so a transposed "
            "array, as MATLAB writes it, would not be noticed.",
        )
    return replace(_to_table(path, wanted, arrays), notes=notes)


def _rows_and_width(
    path: Path, shapes: Mapping[str, Shape], vectors: Sequence[str]
) -> tuple[int, int]:
    """Returns R and F by the columns and the names."""
    *columns, names = vectors
    sizes = {name: math.prod(shapes[name]) for name in columns}
    values = shapes["values"]
    rows = next(iter(sizes.values()), values[0] if values else 0)
    for name, size in sizes.items():
        if size != rows:
            _require_shape(path, name, shapes[name], (rows,))
    return rows, math.prod(shapes[names])


def _to_table(path: Path, wanted: Wanted, arrays: Mapping[str, np.ndarray]) -> Table:
    for column in ("values", *wanted.numbers):
        _require_numeric(path, column, arrays[column].dtype)
    found = as_text(path, "names", arrays["names"]).tolist()
    names, values = _checked_columns(path, found), arrays["values"]
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
    """Views adjacent float32 fields as (R, F) on disk; copies if it cannot."""
    types, fields = records.dtype, records.dtype.fields
    offsets = [fields[name][1] for name in names] if fields else []
    adjacent = bool(offsets) and bool((np.diff(offsets) == 4).all())
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


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Names a file that the system does not allow to be read."""
    try:
        yield
    except OSError as error:
        reason = f"the file cannot be read ({error.strerror or error})"
        raise CorpusError(reason, path) from error


def _without_empty_rows(table: Table, columns: Sequence[str]) -> Table:
    """Drops empty rows at the end, such as Excel leaves; no other may be empty."""
    rows = np.arange(len(table) if columns else 0)
    for name in columns:  # each only where those before are empty
        cells = (table.text if name in table.text else table.numbers)[name][rows]
        rows = rows[cells == ""] if name in table.text else rows[np.isnan(cells)]
    for text in table.text.values():
        rows = rows[text[rows] == ""]
    rows = rows[np.isnan(table.values[rows]).all(1)]
    if not len(rows):
        return table
    empty = np.isin(np.arange(len(table)), rows)
    end = 0 if empty.all() else len(table) - int(empty[::-1].argmin())
    table.require_none(
        empty[:end], columns[0], lambda row: "the row is empty; delete it"
    )
    return replace(
        table,
        text={name: column[:end] for name, column in table.text.items()},
        numbers={name: column[:end] for name, column in table.numbers.items()},
        values=table.values[:end],
    )


def _require_shape(
    path: Path, name: str, found: Shape, expected: Shape, hint: str = ""
) -> None:
    if found != expected:
        reason = f"the array has shape {found}, expected {expected}{hint}"
        raise CorpusError(reason, path, column=name)


def _require_numeric(path: Path, column: str, dtype: np.dtype) -> None:
    if dtype.kind not in "fiub":
        raise CorpusError(f"{dtype} values, expected numbers", path, 1, column)


def _checked_columns(path: Path, columns: Sequence[object]) -> tuple[str, ...]:
    names = tuple(normalise(str(name)) for name in columns)
    if names[1:] and not names[0] and path.suffix == ".csv":
        names = (UNNAMED, *names[1:])
    if not names:
        raise CorpusError("the file is empty, expected column names", path, row=1)
    if len(names) > MAX_COLUMNS:
        reason = f"the file has {len(names)} columns, expected {MAX_COLUMNS} at most"
        raise CorpusError(f"{reason}; are they the rows?", path, row=1)
    for i, name in enumerate(names):
        if not name:
            hint = "; does the line end in a separator?" if i + 1 == len(names) else ""
            raise CorpusError(f"column {i + 1} has no name{hint}", path, row=1)
    for name, count in Counter(names).items():
        if count > 1:
            raise CorpusError("the column occurs more than once", path, 1, name)
    return names
