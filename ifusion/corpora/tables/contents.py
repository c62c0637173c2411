"""Recognises a file by its first bytes, and finds names similar to a missing one."""

import re
import unicodedata
from pathlib import Path

from ifusion.corpora.corpus import CorpusError, shorten

HEAD = 4096  # [byte] that are examined
UTF8 = "save it as UTF-8"
EXCEL = ("an Excel workbook", "save it as CSV (UTF-8)")
# (first bytes, what such a file is, what to do)
SIGNATURES = (
    (rb"\x1f\x8b", "compressed by gzip", "unpack it"),
    (rb"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it"),
    (rb"PK\x03\x04.{26}(\[Content_Types\]|_rels|xl/|docProps)", *EXCEL),
    (rb"PK\x03\x04.{26}[^.\x00]*\.npy", "npz", "name it .npz"),
    (rb"PK\x03\x04", "a zip archive", "unpack it"),
    (rb"\xd0\xcf\x11\xe0", *EXCEL),
    (rb"PAR1\x15", "Parquet", "name it .parquet"),
    (rb"ARROW1\x00\x00", "Feather", "write it as Parquet"),
    (rb"\x89HDF\r\n|MATLAB 7\.3", "HDF5", "name it .h5"),
    (rb"MATLAB 5", "a MAT-file of MATLAB", "write CSV or HDF5 (h5write)"),
    (rb"\x93NUMPY", "npy", "name it .npy"),
    (rb"\x80[\x02-\x05]", "a pickle of Python", "write CSV, npz or Parquet"),
    (rb"version https://git-lfs", "a pointer of Git LFS", "fetch it (git lfs pull)"),
    (rb"\s*<(!doctype html|html)", "a web page", "download the file itself"),
    (rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff", "UTF-32 text, expected UTF-8", UTF8),
    (rb"\xff\xfe|\xfe\xff", "UTF-16 text, expected UTF-8", UTF8),
    (rb"(?:[^\x00]\x00){8}|(?:\x00[^\x00]){8}", "UTF-16 text, expected UTF-8", UTF8),
    (rb"(?:\xef\xbb\xbf)?(?:\s|%[^\n]*\n)*@relation\s", "ARFF", "name it .arff"),
)
SEPARATOR_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\"?(sep=.)\"?[\r\n]", re.I)
SIGNED = [
    (re.compile(mark, re.DOTALL | re.I), what, remedy)
    for mark, what, remedy in SIGNATURES
]


def recognise(path: Path) -> tuple[str, str]:
    """Says what a file is and what to do about it; ("", "") if that is unknown."""
    return _recognise(_head(path))


def require_text(path: Path) -> None:
    """Checks that a file is CSV, or ARFF if named so, as far as its first bytes show.

    Raises:
      CorpusError: it is something else, or begins with a line for Excel.
    """
    head, is_arff = _head(path), path.suffix == ".arff"
    what, remedy = _recognise(head)
    if what and not (what == "ARFF" and is_arff):
        raise CorpusError(f"the file is {what}; {remedy}", path, 1)
    line = SEPARATOR_LINE.match(head)
    if line and not is_arff:
        found = line[1].decode("latin-1")
        reason = f"the first line, {found!r}, is for Excel only; delete it"
        raise CorpusError(reason, path, 1)


def similar(path: Path) -> str:
    """Says what exists under a similar name as a missing file or folder, or ""."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        return ""
    near = [p for p in beside if _plain(p.name) == _plain(path.name)]
    if not near:
        above = path.absolute().parent.parent
        there = (above / path.name).is_file()
        return f"; move {path.name} from {above}" if there else ""
    if path.exists():
        return f"; it is a {'folder' if path.is_dir() else 'file'}"
    if near[0].is_dir() and path.suffix:
        return f"; {near[0].name} is a folder: join its parts in one file"
    names = shorten(p.name for p in near)
    return f"; there is {names}, but names must agree in case and ending"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _recognise(head: bytes) -> tuple[str, str]:
    found = ((what, remedy) for mark, what, remedy in SIGNED if mark.match(head))
    return next(found, ("", ""))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().split(".")[0].casefold()
