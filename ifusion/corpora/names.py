"""Names in users' files: normalised, printable, and turned into file names.

Axis: N names.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ifusion.terminal import CONTROL, UNSEEN, printable

_OUTER = re.compile(rf"^[\s{UNSEEN}]+|[\s{UNSEEN}]+$")
FORMULA_SIGNS = ("=", "+", "-", "@")  # how spreadsheet formulas begin
_FORMULA = re.compile(r"=|[-+@].*[(|!]")  # what a spreadsheet would run
_NO_FILE = re.compile(rf'[/\\:*?"<>|]|{CONTROL.pattern}')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
MEDIA = re.compile(  # endings of files, which some tables have and others do not
    r"\.(mp4|m4v|mov|avi|mkv|webm|flv|wmv|mpe?g|3gp|wav|mp3|m4a|aac|ogg|opus|flac|wma)$",
    re.I,
)
_LONGEST = 120  # [byte] of a file name, to leave room for endings
FILE_RULE = (
    'it must not be empty, hold / \\ : * ? " < > | or control characters, begin with a '
    f"dot, end with a dot or blank, be longer than {_LONGEST} bytes, or be reserved as "
    "CON is"
)
BLANKS = ("", "nan", "na", "n/a", "none", "null", "<na>")  # in lower case


def normalise(name: str) -> str:
    """Normalises the spelling of a name: composed (NFC), without outer blanks."""
    if name.isascii():
        return name.strip()
    return _OUTER.sub("", unicodedata.normalize("NFC", name))


def normalise_names(names: np.ndarray) -> np.ndarray:
    """Normalises an array of text; returns the same array if nothing changes."""
    if not names.size or not names.dtype.itemsize:
        return names
    if np.ascontiguousarray(names).view(np.uint32).max() < 128:
        stripped = np.strings.strip(names)
    else:
        codes, distinct = pd.factorize(names.ravel())
        spelt = np.array([normalise(str(name)) for name in distinct])
        stripped = spelt[codes].reshape(names.shape)
    return names if np.array_equal(stripped, names) else stripped


def find_fault(names: Iterable[str]) -> tuple[str, str] | None:
    """Finds a name that is not allowed, and says why in words to follow it."""
    names = [str(name) for name in names]
    if not CONTROL.search("".join(names)):  # one look is enough for most
        names = [name for name in names if name[:1] in FORMULA_SIGNS]
    for name in names:
        control = CONTROL.search(name)
        if control:
            return name, f"holds the control character {printable(control[0])}"
        if _FORMULA.match(name):
            return name, "is a formula to a spreadsheet"
    return None


ALIKE = "case, blanks, - or _, zeros in front or .0"


def likeness(name: str) -> str:
    """Returns a key that names share if only what `ALIKE` lists differs."""
    folded = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"\.0+$", "", folded))


def find_alike(name: str, known: Iterable[str]) -> str | None:
    """Finds a known name that differs in no more than `ALIKE`, or in a media ending."""
    key = likeness(MEDIA.sub("", name))
    return next((str(k) for k in known if likeness(MEDIA.sub("", str(k))) == key), None)


def ask_alike(name: str, known: Iterable[str]) -> str:
    """Asks if another name was meant, for the end of a message; "" if none is alike."""
    near = find_alike(name, known)
    return "" if near is None else f"; did you mean {near!r}?"


def in_number_order(names: Iterable[str]) -> list[str]:
    """Sorts names by the numbers in them: u2 comes before u10."""

    def key(name: str) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", name)
        return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]

    return sorted(names, key=key)


def file_name(name: str) -> str:
    """Turns any name into one for a file or folder on any file system.

    A name that `can_name_file` stays as it is.
    """
    safe = _NO_FILE.sub("_", normalise(name)).lstrip(".").rstrip(". ")
    safe = f"_{safe}" if _DEVICE.match(safe) or not safe else safe
    return safe if len(safe.encode()) <= _LONGEST else _mark(safe, name)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Names a file for each name, distinct even where case does not count."""
    safe = {name: file_name(name) for name in names}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(safe, key=lambda name: safe[name] != name):
        again = safe[name].casefold() in taken
        found[name] = _mark(safe[name], name) if again else safe[name]
        taken.add(found[name].casefold())
    return found


def can_name_file(name: str) -> bool:
    """Returns whether a file or folder can have this name as it is."""
    return bool(name) and file_name(name) == name


def _mark(safe: str, name: str) -> str:
    """Shortens a name, and appends a hash of the original."""
    short = safe.encode()[: _LONGEST - 9].decode(errors="ignore")
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    return f"{short}-{digest[:8]}"
