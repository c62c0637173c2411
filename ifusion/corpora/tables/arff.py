"""ARFF, the format of Weka and openSMILE, in which AVEC distributes RECOLA.

    % a comment
    @relation 'any name'
    @attribute name string
    @attribute frameTime numeric
    @attribute 'a quoted name' real
    @data
    'train_1',0.04,-1.5
    train_1,0.08,?

Keywords are case-insensitive, `integer` and `real` are `numeric`, `?` or NaN in a
numeric column is a missing value. String, date and nominal columns are text, which is
not compared with the declared values. Sparse rows and relational attributes are not
supported. scipy.io.arff does not read string attributes, hence this module.

The row in an error is a line of the file. Axes: R rows, F attributes.
"""

import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.delimited import NANS, is_number

MISSING = ("?", *NANS)  # cells of a numeric column without value
KINDS = {"numeric": "numeric", "real": "numeric", "integer": "numeric"}
KINDS |= {"string": "string", "date": "date", "relational": "relational"}
NAME = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s'"{},%]\S*)"""
ATTRIBUTE = re.compile(rf"(?:{NAME})\s+(.+)", re.DOTALL)
PLAIN = re.compile(r"[\w.:/+()\[\]-]+")
# a quoted cell, or a stray quote
QUOTED = re.compile(
    rb"""(?:(?<=,)|^)\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*(?=,|$)|['"]"""
)
COMMA = b"\x1f"  # replaces a comma inside quotes while a line is parsed


class Attribute(NamedTuple):
    """One column.

    Attributes:
      name: as declared, quotes and surrounding blanks removed.
      kind: "numeric", "string", "date" or "nominal".
      line: of its declaration, from 1.
    """

    name: str
    kind: str
    line: int


class ArffHeader(NamedTuple):
    """The part of a file before its rows.

    Attributes:
      attributes: F, in the order of the file.
      line: of @data.
      size: [byte] up to the end of that line.
    """

    attributes: tuple[Attribute, ...]
    line: int
    size: int


def read_arff_header(path: Path) -> ArffHeader:
    """Reads a file up to @data.

    Raises:
      CorpusError: @relation does not come first, @data or every attribute is missing, a
        line is something else, or an attribute has no name or an unknown type.
    """
    attributes: list[Attribute] = []
    related = False
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            content = raw.removeprefix(b"\xef\xbb\xbf").strip()
            if not content or content.startswith(b"%"):
                continue
            line = _decode(path, number, content)
            keyword, _, rest = line.partition(" ")
            keyword, *tail = keyword.split("\t", 1)
            rest = " ".join([*tail, rest]).strip()
            keyword = keyword.lower()
            if keyword == "@relation" and not related:
                related = True
            elif not related:
                _fail(path, number, f"found {line[:40]!r}, expected @relation first")
            elif keyword == "@attribute":
                attributes.append(_attribute(path, number, rest))
            elif keyword == "@data" and not rest:
                if not attributes:
                    _fail(path, number, "there is no @attribute before @data")
                return ArffHeader(tuple(attributes), number, lines.tell())
            else:
                expected = "expected @attribute or @data"
                _fail(path, number, f"found {line[:40]!r}, {expected}")
    raise CorpusError("there is no line @data", path)


def read_arff(
    path: Path, header: ArffHeader, types: Mapping[str, type]
) -> pd.DataFrame:
    """Reads the rows below @data.

    Args:
      path: the file.
      header: of the file.
      types: {attribute: str, numpy.float32 or numpy.float64}, what to read.

    Returns:
      R rows with the columns of `types`, among others.

    Raises:
      CorpusError: a row is too short, too long or sparse, a quote is not closed, a line
        is not UTF-8 text, or a numeric attribute or cell is not.
    """
    for name, kind, line in header.attributes:
        if kind != "numeric" and types.get(name, str) is not str:
            _fail(path, line, f"the attribute is {kind}, expected numeric", name)
    data = _read_data(path, header)
    for mark in (b"\0", COMMA):
        if mark in data:
            before = data[: data.index(mark) + 1].splitlines()
            byte = "a zero byte" if mark == b"\0" else "a control character"
            _fail(path, header.line + len(before), f"the line holds {byte}")
    frame = _parse_plain(data, header, types)
    if frame is None:
        frame = _parse_any(path, data, header, types)
    for name, type_ in types.items():
        if type_ is str:
            text = frame[name].str.replace(COMMA.decode(), ",").str.strip()
            frame[name] = text.where(text != "?", "")
    return frame


def line_of(path: Path, header: ArffHeader, row: int) -> int:
    """Finds the line of a 0-based row by reading again: only errors need it."""
    return _rows(_read_data(path, header), header)[row][0]


def write_arff(
    path: Path,
    relation: str,
    text: Mapping[str, np.ndarray],
    names: Sequence[str],
    values: np.ndarray,
    digits: int = 9,
) -> None:
    """Writes a file that `read_arff` reads back.

    Args:
      path: of the file.
      relation: its name.
      text: {column: (R,) str}, written first.
      names: F numeric columns.
      values: (R, F), NaN = missing.
      digits: significant digits of the values; 9 distinguish any two float32.
    """
    kinds = dict.fromkeys(text, "string") | dict.fromkeys(names, "numeric")
    head = [f"@attribute {_quote(name)} {kind}\n" for name, kind in kinds.items()]
    form = ",".join([f"%.{digits}g"] * len(names)) + "\n"
    columns = [map(_quote, column.tolist()) for column in text.values()]
    keys = zip(*columns, strict=True) if columns else itertools.repeat(())
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"@relation {_quote(relation)}\n\n{''.join(head)}\n@data\n")
        for key, cells in zip(keys, values, strict=bool(columns)):
            # Python writes nan, which is read as missing but is not ARFF
            numbers = (form % tuple(cells.tolist())).replace("nan", "?")
            file.write(",".join([*key, numbers]))


def _attribute(path: Path, number: int, rest: str) -> Attribute:
    match = ATTRIBUTE.fullmatch(rest)
    if not match:
        _fail(path, number, f"@attribute {rest[:40]!r} is not a name and a type")
    single, double, plain, declared = match.groups()
    name = plain or _unescape(single if single is not None else double)
    if declared.startswith("{") and declared.endswith("}"):
        return Attribute(name.strip(), "nominal", number)
    word, _, more = declared.partition(" ")
    kind = KINDS.get(word.lower(), "")
    if kind == "relational" or not kind or (more.strip() and kind != "date"):
        _fail(
            path,
            number,
            f"type {declared[:40]!r}, expected numeric, real, integer, string, date or "
            "{nominal, values}",
            name,
        )
    return Attribute(name.strip(), kind, number)


def _read_data(path: Path, header: ArffHeader) -> bytes:
    with path.open("rb") as file:
        file.seek(header.size)
        return file.read()


def _rows(data: bytes, header: ArffHeader) -> list[tuple[int, bytes]]:
    """Lists the lines that are neither blank nor comments, with their numbers."""
    lines = enumerate(map(bytes.strip, data.splitlines()), header.line + 1)
    return [(n, line) for n, line in lines if line and not line.startswith(b"%")]


def _parse_plain(
    data: bytes, header: ArffHeader, types: Mapping[str, type]
) -> pd.DataFrame | None:
    """Parses plain rows fast; None = `_parse_any` must decide.

    A short row leaves the last column, a numeric one, empty, and a long row is an error
    in pandas, except for the first row, whose values are counted here.
    """
    unusual = (b"%", b"{", b'"', b"\\", b"\t")
    first = data[: data.find(b"\n")]
    every = {
        a.name: types.get(a.name, np.float32 if a.kind == "numeric" else str)
        for a in header.attributes
    }
    if (
        every[header.attributes[-1].name] is str
        or any(mark in data for mark in unusual)
        or first.count(b",") + 1 != len(header.attributes)
        or not _quotes_enclose_cells(data)
    ):
        return None
    try:
        frame = _parse(data, header, every, list(every), "'")
    except (ValueError, OverflowError):
        return None
    num_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return frame if len(frame) == num_lines else None


def _quotes_enclose_cells(data: bytes) -> bool:
    """Returns whether each quote either begins or ends a cell."""
    place = data.find(b"'")
    while place >= 0:
        begins = place == 0 or data[place - 1] in b",\n"
        ends = place + 1 == len(data) or data[place + 1] in b",\r\n"
        if begins == ends:
            return False
        place = data.find(b"'", place + 1)
    return True


def _parse_any(
    path: Path, data: bytes, header: ArffHeader, types: Mapping[str, type]
) -> pd.DataFrame:
    """Parses rows line by line, and names what is wrong with them."""
    lines, numbers = [], []
    for number, line in _rows(data, header):
        if line.startswith(b"{"):
            _fail(path, number, "the row is sparse; write all values of the row")
        line = _requote(path, number, line)
        found, expected = line.count(b",") + 1, len(header.attributes)
        if found != expected:
            column = header.attributes[min(found, expected - 1)].name
            reason = f"the row has {found} values, the header declares {expected}"
            _fail(path, number, reason, column)
        lines.append(line)
        numbers.append(number)
    if not lines:
        return pd.DataFrame({name: pd.Series([], dtype=t) for name, t in types.items()})
    try:
        frame = _parse(b"\n".join(lines), header, types, list(types), '"')
    except (ValueError, OverflowError) as error:
        for number, line in zip(numbers, lines, strict=True):
            _decode(path, number, line)
        names = [attribute.name for attribute in header.attributes]
        numeric = {name for name, type_ in types.items() if type_ is not str}
        for row, name, cell in _bad_cells(lines, names, numeric):
            _fail(path, numbers[row], f"{cell!r} is not a number", name)
        raise CorpusError(" ".join(str(error).split()), path) from error
    if len(frame) != len(lines):  # a character that pandas takes for a line break
        raise CorpusError("the rows hold control characters", path)
    return frame


def _parse(
    data: bytes,
    header: ArffHeader,
    types: Mapping[str, type],
    columns: Sequence[str],
    quote: str,
) -> pd.DataFrame:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return pd.read_csv(
            io.BytesIO(data),
            names=[attribute.name for attribute in header.attributes],
            header=None,
            index_col=False,
            usecols=None if len(columns) == len(header.attributes) else list(columns),
            dtype=dict(types),
            keep_default_na=False,
            na_values={n: list(MISSING) for n, t in types.items() if t is not str},
            skipinitialspace=True,
            quotechar=quote,
            encoding="utf-8",
        )


def _requote(path: Path, number: int, line: bytes) -> bytes:
    """Turns the quotes of ARFF into those of CSV."""
    if b"'" not in line and b'"' not in line:
        return line

    def cell(match: re.Match[bytes]) -> bytes:
        content = match[1] if match[1] is not None else match[2]
        if content is None:
            place = len(line[: match.start()].split(b","))
            _fail(path, number, f"value {place} holds a stray or unclosed quote")
        content = re.sub(rb"\\(.)", rb"\1", content)
        return b'"' + content.replace(b'"', b'""').replace(b",", COMMA) + b'"'

    # up to the comma after the last quote; rows are long, and names come first
    end = line.find(b",", max(line.rfind(b"'"), line.rfind(b'"')))
    end = len(line) if end < 0 else end
    return QUOTED.sub(cell, line[:end]) + line[end:]


def _bad_cells(
    lines: Sequence[bytes], names: Sequence[str], numeric: set[str]
) -> list[tuple[int, str, str]]:
    """Finds the first numeric cell that is not a number: row, column and cell."""
    for row, line in enumerate(lines):
        cells = next(csv.reader([line.decode("utf-8", "replace")]))
        for name, cell in zip(names, cells, strict=False):
            if name in numeric and not is_number(cell.lstrip(), MISSING):
                return [(row, name, cell.replace(COMMA.decode(), ","))]
    return []


def _decode(path: Path, number: int, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError("not UTF-8 text", path, number) from error


def _quote(name: str) -> str:
    """Quotes a name if it must be; many readers do not know quotes."""
    if PLAIN.fullmatch(name):
        return name
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _unescape(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _fail(path: Path, number: int, reason: str, column: str | None = None) -> NoReturn:
    raise CorpusError(reason, path, number, column)
