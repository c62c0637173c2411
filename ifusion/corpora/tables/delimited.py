"""CSV, and the mistakes in it that pandas accepts: rows of other lengths, open quotes.

The row in an error is a line of the file, header included, for a row of several lines
the first. Axis: R rows.
"""

import csv
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CorpusError

NANS = ("nan", "NaN", "NAN", "-nan", "-NaN", "-NAN")  # C prints their sign
BLANK = ("", *NANS, "NA", "n/a")  # cells of a numeric column without value
EMPTY = frozenset({"na", "n/a", "null", "none", "nil", "-", "--", ".", "?"})
EMPTY |= {"#n/a", "#na", "#null!", "#div/0!", "#value!", "#num!"}
IGNORE_IT = "; if the column is not a feature, add it to corpus.ignore"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_separator(path: Path, separators: str) -> str:
    """Returns the first separator found in the first line that is not blank."""
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next(filter(str.strip, lines), "")
    return next((s for s in separators if s in first), separators[0])


def read_column_names(path: Path, separator: str) -> list[str]:
    """Reads the fields of the first line, see `open_rows`; [] if the file is empty."""
    with open_rows(path, separator) as rows:
        return next(rows, (1, []))[1]


def read_delimited(
    path: Path,
    columns: Sequence[str],
    separator: str,
    types: Mapping[str, Any],
    advice: str,
) -> pd.DataFrame:
    """Reads the R rows below the header, with the columns of `types`.

    Args:
      path: the file.
      columns: all columns, in order.
      separator: between fields.
      types: {column: str, numpy.float32 or numpy.float64}, what to read.
      advice: what to do about text in a float32 column, the end of a message.

    Raises:
      CorpusError: a row is too short or too long, a quote is not closed, a line is not
        UTF-8 text, or a numeric cell is not a number.
    """
    num_rows = _count_rows(path, columns, separator)
    numeric = [column for column, type_ in types.items() if type_ is not str]
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            frame = pd.read_csv(
                path,
                sep=separator,
                names=list(columns),
                header=0,
                index_col=False,
                usecols=list(types),
                dtype=dict(types),
                keep_default_na=False,
                na_values={column: list(BLANK) for column in numeric},
                encoding="utf-8-sig",
            )
    except (ValueError, OverflowError) as error:
        raise _not_numeric(path, columns, separator, types, advice, error) from error
    if len(frame) != num_rows:
        reason = f"pandas finds {len(frame)} of {num_rows} rows; are some blank?"
        raise CorpusError(reason, path)
    return frame


def line_of(path: Path, separator: str, row: int) -> int:
    """Finds the line of a 0-based row by reading again: only errors need it."""
    with open_rows(path, separator) as rows:
        return next(itertools.islice(rows, row + 1, None))[0]


def is_number(cell: str, missing: Collection[str]) -> bool:
    """Returns whether a cell is a number or stands for a missing one."""
    if cell in missing:
        return True
    try:
        number = float(cell)
    except ValueError:
        return False
    # Python also reads 1_000, digits of other scripts and " nan"
    return cell.isascii() and "_" not in cell and number == number


@contextmanager
def open_rows(path: Path, separator: str) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Opens a file, to yield line number and fields of each row that is not empty.

    Raises:
      CorpusError: while rows are read: a line is not UTF-8 text or holds a zero byte, a
        quote is not closed or stands inside a value.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        yield _rows(path, separator, _checked_lines(path, file))


def _checked_lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            line.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CorpusError("not UTF-8 text", path, number) from error
        if "\0" in line:
            raise CorpusError("the line holds a zero byte", path, number)
        yield line


def _rows(
    path: Path, separator: str, lines: Iterator[str]
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{error} (a stray quote?)", path, line) from error


def _count_rows(path: Path, columns: Sequence[str], separator: str) -> int:
    """Counts the rows below the header, and checks that all have as many fields."""
    width, mark, count = len(columns), separator.encode(), -1
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            content = line if number else line.removeprefix(BYTE_ORDER_MARK)
            if content in (b"\n", b"\r\n"):
                continue
            if _plain_fields(content, mark) != width:
                return _count_slowly(path, columns, separator)
            count += 1
    return count


def _plain_fields(line: bytes, mark: bytes) -> int | None:
    """Counts the fields of a line; None where it needs a closer look."""
    odd = b"\0" in line or line.isspace()
    if odd or 0 <= line.find(b"\r") < len(line) - 2:
        return None
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return None
    # quoted names come first; after the last quote, separators can be counted
    end = line.rfind(b'"') + 1
    if not end:
        return line.count(mark) + 1
    if line[end : end + 1] not in (mark, b"\r", b"\n", b""):
        return None
    try:
        cells = next(
            csv.reader([line[:end].decode()], delimiter=mark.decode(), strict=True)
        )
    except csv.Error:
        return None
    return len(cells) + line.count(mark, end)


def _count_slowly(path: Path, columns: Sequence[str], separator: str) -> int:
    width, count = len(columns), -1
    with open_rows(path, separator) as rows:
        for line, row in rows:
            if len(row) != width:
                column = columns[min(len(row), width - 1)]
                hint = "; decimal commas?" if len(row) > width else ""
                marks = [repr(m) for m in ",;\t" if m in row[0] and len(row) == 1]
                hint = f"; are they separated by {marks[0]}?" if marks else hint
                reason = f"the row has {len(row)} fields, the header {width}{hint}"
                raise CorpusError(reason, path, line, column)
            count += 1
    return count


def _ask_cell(cell: str, wanted: bool, advice: str) -> str:
    """Says what to do about a cell that is not a number, in a wanted column or not."""
    if cell.strip().lower() in EMPTY:
        return "; leave the cell blank if the value is missing"
    if re.fullmatch(r"[-+\d.,eE ]+", cell):
        return "; write decimals with a point" if "," in cell else ""
    if wanted:
        return "; write times in seconds" if ":" in cell else ""
    return advice


def _not_numeric(
    path: Path,
    columns: Sequence[str],
    separator: str,
    types: Mapping[str, Any],
    advice: str,
    error: Exception,
) -> CorpusError:
    """Names the first cell that is not a number."""
    with open_rows(path, separator) as rows:
        for line, row in itertools.islice(rows, 1, None):
            for column, cell in zip(columns, row, strict=True):
                kind = types.get(column, str)
                if kind is not str and not is_number(cell, BLANK):
                    hint = _ask_cell(cell, kind is np.float64, advice)
                    reason = f"{cell!r} is not a number{hint}"
                    return CorpusError(reason, path, line, column)
    return CorpusError(" ".join(str(error).split()), path)
