"""CSV, whose mistakes pandas accepts: short rows, over-long rows, open quotes.

Rows in messages are the lines of the file, header included; a row that has several is
called after its first. Axes: R rows.
"""

import csv
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CorpusError

NANS = ("nan", "NaN", "NAN", "-nan", "-NaN", "-NAN")  # C prints their sign
BLANK = ("", *NANS, "NA", "n/a")  # cells of a numeric column without value
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_separator(path: Path, separators: str) -> str:
    """Chooses the first separator that occurs in the first line that is not blank."""
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next(filter(str.strip, lines), "")
    return next((s for s in separators if s in first), separators[0])


def read_header(path: Path, separator: str) -> list[str]:
    """Reads the fields of the first line; [] of an empty file.

    Raises:
      CorpusError: of `open_rows`.
    """
    with open_rows(path, separator) as rows:
        return next(rows, (1, []))[1]


def read_rows(
    path: Path, columns: Sequence[str], separator: str, types: Mapping[str, Any]
) -> pd.DataFrame:
    """Reads the rows below the header.

    Args:
      path: the file.
      columns: all of it, in order.
      separator: between fields.
      types: {column: str, numpy.float32 or numpy.float64}, what is to be read.

    Returns:
      R rows with the columns of `types`.

    Raises:
      CorpusError: a row is short or over-long, a quote is not closed, a character is
        no text, or a numeric cell is no number.
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
        raise _not_numeric(path, columns, separator, numeric, error) from error
    if len(frame) != num_rows:
        raise CorpusError(
            f"{path}: there are {num_rows} rows, of which pandas finds {len(frame)}; "
            "are there rows of blanks?"
        )
    return frame


def line_of(path: Path, separator: str, row: int) -> int:
    """Finds the line of a 0-based row; read again, since only messages need it."""
    with open_rows(path, separator) as rows:
        return next(itertools.islice(rows, row + 1, None))[0]


def is_number(cell: str, missing: Collection[str]) -> bool:
    """Says whether a cell is a number or one of those that stand for a missing one."""
    if cell in missing:
        return True
    try:
        number = float(cell)
    except ValueError:
        return False
    # Python reads 1_000, digits of other scripts and " nan", no other tool does
    return cell.isascii() and "_" not in cell and number == number


@contextmanager
def open_rows(path: Path, separator: str) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Opens a file as line number and fields of each row that is not empty.

    Raises:
      CorpusError: while rows are taken: a line is no UTF-8 text or holds a zero byte,
        a quote is not closed or stands inside a value.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        yield _rows(path, separator, _checked_lines(path, file))


def _checked_lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            line.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CorpusError(f"{path}, row {number}: not UTF-8 text") from error
        if "\0" in line:
            raise CorpusError(f"{path}, row {number}: holds a zero byte")
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
        raise CorpusError(f"{path}, row {line}: {error} (a stray quote?)") from error


def _count_rows(path: Path, columns: Sequence[str], separator: str) -> int:
    """Counts the rows below the header, each of which has as many fields.

    Raises:
      CorpusError: of `open_rows`, or a row is short or over-long.
    """
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
    odd = b"\0" in line or line.isspace() or not _is_utf8(line)
    if odd or 0 <= line.find(b"\r") < len(line) - 2:
        return None
    # names in quotes come first; behind the last quote separators can be counted
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


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _count_slowly(path: Path, columns: Sequence[str], separator: str) -> int:
    width, count = len(columns), -1
    with open_rows(path, separator) as rows:
        for line, row in rows:
            if len(row) != width:
                column = columns[min(len(row), width - 1)]
                hint = "; decimal commas?" if len(row) > width else ""
                raise CorpusError(
                    f"{path}, row {line}, column {column!r}: the row has {len(row)} "
                    f"fields, expected {width} as in the header{hint}"
                )
            count += 1
    return count


def _not_numeric(
    path: Path,
    columns: Sequence[str],
    separator: str,
    numeric: Collection[str],
    error: Exception,
) -> CorpusError:
    """Finds the first cell that is no number."""
    with open_rows(path, separator) as rows:
        for line, row in itertools.islice(rows, 1, None):
            for column, cell in zip(columns, row, strict=True):
                if column in numeric and not is_number(cell, BLANK):
                    hint = "; write decimals with a point" if "," in cell else ""
                    return CorpusError(
                        f"{path}, row {line}, column {column!r}: {cell!r} is not a "
                        f"number{hint}"
                    )
    return CorpusError(f"{path}: {' '.join(str(error).split())}")
