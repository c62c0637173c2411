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
from typing import NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.delimited import NANS, is_number

MISSING = ("?", *NANS)  # cells of a numeric column without value
KINDS = {"numeric": "numeric", "real": "numeric", "integer": "numeric"}
KINDS |= {"string": "string", "date": "date"}
NAME = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s'"{},%]\S*)"""
ATTRIBUTE = re.compile(rf"(?:{NAME})\s+(.+)", re.DOTALL)
PLAIN = re.compile(r"[\w.:/+()\[\]-]+")
# a quoted cell, or a stray quote
QUOTED = re.compile(
    rb"""(?:(?<=,)|^)\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*(?=,|$)|['"]"""
)
COMMA = b"\x1f"  # replaces a comma inside quotes while a line is parsed


class Attribute(NamedTuple):
    """One column."""

    name: str  # as declared, quotes and surrounding blanks removed
    kind: str  # "numeric", "string", "date" or "nominal"
    line: int  # of its declaration, from 1


class ArffHeader(NamedTuple):
    """The part of a file before its rows: F attributes."""

    attributes: tuple[Attribute, ...]
    line: int  # of @data
    size: int  # [byte] up to the end of that line


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
            word = re.split(r"[ \t]", line, maxsplit=1)[0]
            keyword, rest = word.lower(), line[len(word) :].strip()
            if keyword == "@relation" and not related:
                related = True
            elif not related:
                reason = f"found {line[:40]!r}, expected @relation first"
                raise CorpusError(reason, path, number)
            elif keyword == "@attribute":
                attributes.append(_attribute(path, number, rest))
            elif keyword == "@data" and not rest:
                if not attributes:
                    reason = "there is no @attribute before @data"
                    raise CorpusError(reason, path, number)
                return ArffHeader(tuple(attributes), number, lines.tell())
            else:
                reason = f"found {line[:40]!r}, expected @attribute or @data"
                raise CorpusError(reason, path, number)
    raise CorpusError("there is no line @data", path)


def read_arff(
    path: Path, header: ArffHeader, types: Mapping[str, type]
) -> pd.DataFrame:
    """Reads the R rows below @data, with the columns of `types`, among others.

    `types` is {attribute: str, numpy.float32 or numpy.float64}.

    Raises:
      CorpusError: a row is too short, too long or sparse, a quote is not closed, a line
        is not UTF-8 text, or a numeric attribute or cell is not.
    """
    for name, kind, line in header.attributes:
        if kind != "numeric" and types.get(name, str) is not str:
            reason = f"the attribute is {kind}, expected numeric"
            raise CorpusError(reason, path, line, name)
    data = _read_data(path, header)
    for mark in (b"\0", COMMA):
        if mark in data:
            before = data[: data.index(mark) + 1].splitlines()
            byte = "a zero byte" if mark == b"\0" else "a control character"
            reason = f"the line holds {byte}"
            raise CorpusError(reason, path, header.line + len(before))
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
) -> None:
    """Writes a file that `read_arff` reads back.

    First come the columns of `text`, {column: (R,) str}, then the F numeric ones of
    `names`, whose values are (R, F), NaN = missing.
    """
    kinds = dict.fromkeys(text, "string") | dict.fromkeys(names, "numeric")
    head = [f"@attribute {_quote(name)} {kind}\n" for name, kind in kinds.items()]
    # 9 significant digits distinguish any two float32
    form = ",".join(["%.9g"] * len(names)) + "\n"
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
        reason = f"@attribute {rest[:40]!r} is not a name and a type"
        raise CorpusError(reason, path, number)
    single, double, plain, declared = match.groups()
    name = plain or re.sub(r"\\(.)", r"\1", single if single is not None else double)
    if declared.startswith("{") and declared.endswith("}"):
        return Attribute(name.strip(), "nominal", number)
    word, _, more = declared.partition(" ")
    kind = KINDS.get(word.lower(), "")
    if not kind or (more.strip() and kind != "date"):
        reason = (
            f"type {declared[:40]!r}, expected numeric, real, integer, string, date or "
            "{nominal, values}"
        )
        raise CorpusError(reason, path, number, name)
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
            reason = "the row is sparse; write all values of the row"
            raise CorpusError(reason, path, number)
        line = _requote(path, number, line)
        found, expected = line.count(b",") + 1, len(header.attributes)
        if found != expected:
            column = header.attributes[min(found, expected - 1)].name
            reason = f"the row has {found} values, the header declares {expected}"
            raise CorpusError(reason, path, number, column)
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
        for number, line in zip(numbers, lines, strict=True):
            cells = next(csv.reader([line.decode("utf-8", "replace")]))
            for name, cell in zip(names, cells, strict=False):
                if name in numeric and not is_number(cell.lstrip(), MISSING):
                    reason = f"{cell.replace(COMMA.decode(), ',')!r} is not a number"
                    raise CorpusError(reason, path, number, name) from error
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
            reason = f"value {place} holds a stray or unclosed quote"
            raise CorpusError(reason, path, number)
        content = re.sub(rb"\\(.)", rb"\1", content)
        return b'"' + content.replace(b'"', b'""').replace(b",", COMMA) + b'"'

    # up to the comma after the last quote; rows are long, and names come first
    end = line.find(b",", max(line.rfind(b"'"), line.rfind(b'"')))
    end = len(line) if end < 0 else end
    return QUOTED.sub(cell, line[:end]) + line[end:]


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
