"""Columns of Parquet files, read by pyarrow without the additions of pandas.

Axis: R rows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arrays import reading, require_size


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens a file; whatever is wrong becomes a `CorpusError`."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        reason = "reading Parquet needs pyarrow (pip install pyarrow)"
        raise CorpusError(reason, path) from error
    with reading(path, "Parquet"), parquet.ParquetFile(path) as file:
        yield file


def read_column_names(path: Path) -> list[str]:
    """Reads the names of the columns, and nothing else.

    Raises:
      CorpusError: pyarrow is missing, or the file is broken.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def load_parquet(path: Path, check_rows: Callable[[int], None]) -> Any:
    """Reads a file as a `pyarrow.Table`, after `check_rows` of its number of rows.

    Raises:
      CorpusError: pyarrow is missing, the file is broken, or it fails `require_size`.
    """
    with _opened(path) as file:
        facts = file.metadata
        check_rows(facts.num_rows)
        size = 4 * facts.num_rows * facts.num_columns
        require_size(path, "the table", size, path.stat().st_size)
        table = file.read()
        table.validate(full=True)  # damaged text would crash later
        return table


def text_column(path: Path, name: str, column: Any) -> np.ndarray:
    """Casts text, also UTF-8 in bytes, categories, numbers and booleans to (R,) str.

    A null becomes "".

    Raises:
      CorpusError: they have another type.
    """
    import pyarrow as pa

    type_ = _plain_type(column)
    if not (_is_text(type_) or _is_number(type_)):
        raise CorpusError(f"{type_} values, expected text", path, 1, name)
    with reading(path, "Parquet"):
        text = column.cast(type_).cast(pa.large_string()).fill_null("")
        return np.asarray(text.to_pylist(), np.str_)


def number_column(path: Path, name: str, column: Any) -> np.ndarray:
    """Casts numbers and booleans to (R,) of a numeric type, null to NaN.

    Raises:
      CorpusError: they have another type.
    """
    import pyarrow as pa

    type_ = _plain_type(column)
    if not _is_number(type_):
        raise CorpusError(f"{type_} values, expected numbers", path, 1, name)
    with reading(path, "Parquet"):
        exotic = pa.types.is_boolean(type_) or pa.types.is_null(type_)
        plain = column.cast(pa.float64()) if exotic else column.cast(type_)
        numbers: np.ndarray = plain.to_numpy()
        return numbers


def _plain_type(column: Any) -> Any:
    import pyarrow as pa

    is_dictionary = pa.types.is_dictionary(column.type)
    return column.type.value_type if is_dictionary else column.type


def _is_text(type_: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    kinds = [types.is_string, types.is_large_string, types.is_binary]
    kinds += [types.is_large_binary, getattr(types, "is_string_view", types.is_string)]
    return any(kind(type_) for kind in kinds)


def _is_number(type_: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    kinds = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
    return any(kind(type_) for kind in kinds)
