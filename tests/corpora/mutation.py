"""Damages files at random: bytes, lines, cells or arrays; the same for a seed."""

import io
import zipfile

import h5py
import numpy as np

CELLS = (
    "", " ", "nan", "NaN", " nan", "NA", "inf", "-Infinity", "1e39", "1e400", "-0",
    "1e-320", "1_0", "0x1F", "\u0663", "1,5", '"1,5"', "'1,5'", "+-1", "1e", "1 2",
    ".", "True", "9" * 400, "9" * 5000, "a" * 300, "\0", "?", "{0 1}", "%", "\\",
    '"', "'", '""', "''", '"a"b', "'a'b", "a'b", "\x1f", "\t", "\x85", "\u2028",
    "\ufeff", "\u00e9", "a", "b", "train_1", "dev", "0.04", "0", "1e18", "-1e308",
    "[", "{", "null", "true", "1e999", '"\\ud800"', "-", "../x", "/", "test",
)  # fmt: skip
MARKS = b",;\n'\"={}[]: \t"
PIECES = (b"\0", b"\xff", b'"', b"'", b",", b";", b"\n", b"\r", b"%", b"{", b"\x1f")
NUMBERS = (np.nan, np.inf, -np.inf, 1e39, -1e300, 1e18, 0.0, -1.0, 7.0)


def mutate(rng, data, kind):
    """Damages a file in one way, text in one to four.

    Args:
      rng: a numpy generator.
      data: bytes of the file.
      kind: "text", "npz", "h5" or "bytes" (anything else), which says what can be done.
    """
    ways = {"text": (_bytes, _lines, _cells, _cells, _encoding)}
    ways |= {"npz": (_bytes, _members, _arrays, _arrays), "h5": (_bytes, _bytes, _sets)}
    # only once in formats that hardly ever survive it
    for _ in range(rng.integers(1, 5) if kind == "text" else 1):
        data = rng.choice(ways.get(kind, (_bytes,)))(rng, data) if data else data
    return data


def _bytes(rng, data):
    out, at = bytearray(data), int(rng.integers(len(data)))
    size = int(rng.integers(1, 17))
    match rng.integers(7):
        case 0:
            out[at] ^= 1 << int(rng.integers(8))
        case 1:
            out[at] = int(rng.integers(256))
        case 2:
            out[at:at] = PIECES[rng.integers(len(PIECES))]
        case 3:
            del out[at : at + size]
        case 4:
            del out[at:]
        case 5:
            out[at:at] = out[at : at + size] * int(rng.integers(1, 4))
        case 6:
            out[at : at + size] = rng.bytes(size)
    return bytes(out)


def _lines(rng, data):
    lines = data.splitlines(keepends=True)
    i, j = (int(k) for k in rng.integers(len(lines), size=2))
    match rng.integers(5):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case 3:
            lines.insert(i, b"\n" if rng.integers(2) else b"  \n")
        case 4:
            lines[i] = lines[i].rstrip(b"\r\n")
    return b"".join(lines)


def _cells(rng, data):
    """Replaces, drops or repeats what stands between two marks."""
    places = [-1, *(i for i, byte in enumerate(data) if byte in MARKS), len(data)]
    k = int(rng.integers(len(places) - 1))
    start, stop = places[k] + 1, places[k + 1]
    match rng.integers(6):
        case 0:
            return data[:start] + data[stop + 1 :]
        case 1:
            return data[:start] + data[start : stop + 1] * 2 + data[stop + 1 :]
        case _:
            cell = CELLS[rng.integers(len(CELLS))].encode("utf-8", "surrogatepass")
            return data[:start] + cell + data[stop:]


def _encoding(rng, data):
    text = data.decode("utf-8", "replace")
    match rng.integers(6):
        case 0:
            return text.encode("utf-16")
        case 1:
            return text.encode("utf-16-le")
        case 2:
            return text.replace("a", "\u00e9").encode("latin-1", "replace")
        case 3:
            return b"\xef\xbb\xbf" + data
        case 4:
            return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        case _:
            return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r")


def _members(rng, data):
    """Damages one file inside an archive, whose checksum is right again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # it is damaged already
        return _bytes(rng, data)
    name = list(files)[rng.integers(len(files))]
    head = slice(0, 128) if rng.integers(2) else slice(None)
    part = files[name][head]
    files[name] = _bytes(rng, part) + files[name][len(part) :]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _change(rng, array):
    """Gives an array other values, another type or another shape."""
    array = array.copy()
    place = tuple(int(rng.integers(n)) for n in array.shape) if array.size else ()
    match rng.integers(11):
        case 0 | 1 | 2 if array.dtype.kind in "fiu" and array.size:
            array = array.astype(np.float64)
            array[place] = NUMBERS[rng.integers(len(NUMBERS))]
        case 3 if array.size:
            array[place] = array[tuple(int(rng.integers(n)) for n in array.shape)]
        case 4:
            array = array[: rng.integers(len(array) + 1)] if array.ndim else array
        case 5:
            array = array.reshape(-1) if rng.integers(2) else array[None]
        case 6:
            array = array.T if array.ndim > 1 else array[:, None]
        case 7:
            array = array.astype("U9" if rng.integers(2) else "S9")
        case 8 if array.dtype.kind in "fiu":
            kinds = ("c8", "?", "f2", ">f8", "i8")
            with np.errstate(all="ignore"):
                array = array.astype(kinds[rng.integers(len(kinds))])
        case 9:
            array = np.array(array[place]) if array.size else array
        case 10:
            array = array[::-1]
    return array


def _arrays(rng, data):
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception:  # it is damaged already
        return _bytes(rng, data)
    name = list(arrays)[rng.integers(len(arrays))]
    if rng.integers(9):
        arrays[name] = _change(rng, arrays[name])
    else:
        arrays[name + "x"] = arrays.pop(name)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _sets(rng, data):
    out = io.BytesIO(data)
    try:
        with h5py.File(out, "r+") as file:
            name = list(file)[rng.integers(len(file))]
            values = file[name][()]
            if values.dtype == object:
                values = values.astype("S")
            del file[name]
            changed = _change(rng, values)
            file[name] = changed.astype("S") if changed.dtype.kind == "U" else changed
    except Exception:  # it is damaged already
        return _bytes(rng, data)
    return out.getvalue()
