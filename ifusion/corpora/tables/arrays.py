"""Named arrays of npz and HDF5 files, and the records of npy files.

Nothing is unpickled, nothing outside the file is read, and whatever numpy, zipfile,
zlib or the HDF5 library raise on a broken file becomes a `CorpusError` that names it.
"""

import math
import mmap
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.tables.contents import recognise, similar

MAX_HEADER_SIZE = 10**6  # [byte] of an npy file; numpy's default allows 450 features
DEFLATE_RATIO = 1032  # of the best possible compression
FREE_SIZE, MAX_RATIO = 2**28, 100  # [byte] always read, and compression allowed beyond
HEAP = b"GCOL\x01\0\0\0"  # start of an HDF5 heap; its size follows
KINDS = {"U": "text", "iu": "whole numbers", "fiu": "numbers"}
LAST_CHARACTER, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)  # code points of Unicode


def require_file(path: Path) -> Path:
    """Returns the path.

    Raises:
      CorpusError: its folder or the file is missing.
    """
    if not path.parent.is_dir():
        raise CorpusError(f"no such folder{similar(path.parent)}", path.parent)
    if not os.path.isfile(path):  # False also without permission to look
        raise CorpusError(f"no such file{similar(path)}", path)
    return path


def require_size(
    path: Path, what: str, size: int, stored: int, column: str | None = None
) -> None:
    """Checks the size [byte] of what would be unpacked against that stored [byte].

    Raises:
      CorpusError: it exceeds both `FREE_SIZE` and `MAX_RATIO` times the stored size.
    """
    if size > max(FREE_SIZE, MAX_RATIO * stored):
        reason = (
            f"{what} would grow from {stored} to {size} bytes, expected at most "
            f"{FREE_SIZE} or {MAX_RATIO} times as many; if that is right, save it "
            "uncompressed"
        )
        raise CorpusError(reason, path, column=column)


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turns any exception into a CorpusError that names the file and its format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that Python 2 wrote
            yield
    except CorpusError:
        raise
    except Exception as error:  # a damaged file may cause any
        what, remedy = "", ""
        with suppress(OSError):
            what, remedy = recognise(path)
        reason = " ".join(str(error).split()) or type(error).__name__
        if what and what != kind:
            reason = f"it is {what}; {remedy}"
        raise CorpusError(f"not a readable {kind} file ({reason})", path) from error


Shape = tuple[int, ...]
Check = Callable[[Mapping[str, Shape]], None]  # checks declared shapes before reading


def load_arrays(
    path: Path, names: Sequence[str], check: Check | None = None
) -> dict[str, np.ndarray]:
    """Reads named arrays of an npz file, after `check` of their {name: shape}.

    Raises:
      CorpusError: the file is missing or broken, an array is missing, occurs twice,
        holds Python objects, or fails `require_size`.
    """
    with reading(require_file(path), "npz"), path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise CorpusError("holds a single array, expected an npz archive", path)
        with loaded as archive:
            for name in names:
                count = archive.files.count(name)
                if count != 1:
                    what = "occurs more than once" if count else "is missing"
                    reason = (
                        f"the array {what}; the file holds {shorten(archive.files)}"
                    )
                    raise CorpusError(reason, path, column=name)
            shapes = {name: _declared_shape(path, archive.zip, name) for name in names}
            if check:
                check(shapes)
            return {name: archive[name] for name in names}


def load_datasets(
    path: Path, names: Sequence[str], check: Check | None = None
) -> dict[str, np.ndarray]:
    """Reads named datasets of an HDF5 file, as `load_arrays`; text becomes str.

    Raises:
      CorpusError: h5py or the file is missing, the file is broken, or a dataset is
        missing, is elsewhere, holds objects, or fails `require_size`.
    """
    h5py = import_h5py(require_file(path))
    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        found = {name: _find_dataset(path, file, name) for name in names}
        if check:
            check({name: dataset.shape for name, dataset in found.items()})
        return {name: _read_dataset(path, found[name]) for name in names}


def import_h5py(path: Path) -> Any:
    """Imports h5py, for a file.

    Raises:
      CorpusError: it is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise CorpusError("HDF5 needs h5py (pip install h5py)", path) from error
    return h5py


def save_datasets(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an HDF5 file that `load_datasets` reads back.

    Raises:
      CorpusError: h5py is missing.
    """
    h5py = import_h5py(path)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values.dtype.kind == "U":
                # fixed length, since HDF5 stores other text one by one
                values = np.char.encode(values, "utf-8")
                text = h5py.string_dtype("utf-8", max(values.dtype.itemsize, 1))
                values = values.astype(text)
            file.create_dataset(name, data=values)


def load_records(path: Path) -> np.memmap:
    """Maps the structured array (R,) of an npy file, one field per column.

    Raises:
      CorpusError: the file is missing or broken, or holds something else.
    """
    with reading(require_file(path), "npy"):
        records = np.lib.format.open_memmap(path, "r", max_header_size=MAX_HEADER_SIZE)
        if not records.dtype.names:
            reason = (
                f"the array has shape {records.shape} and no names; expected a "
                "structured array, one field per column, or npz with the arrays "
                "recording, names and values"
            )
            raise CorpusError(reason, path)
        if records.ndim != 1:
            reason = f"the array has shape {records.shape}, expected (rows,)"
            raise CorpusError(reason, path)
        if not records.size:
            raise CorpusError("there are no rows", path)
        behind = path.stat().st_size - records.offset - records.nbytes
        if behind:
            reason = f"there are {behind} bytes after the {len(records)} rows"
            raise CorpusError(reason, path)
        return records


def as_text(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Casts text, also UTF-8 in bytes, and numbers to str of the same shape.

    Raises:
      CorpusError: values have another type, or hold an invalid character.
    """
    if values.dtype.kind not in "USiufb":
        raise CorpusError(f"{values.dtype} values, expected text", path, column=name)
    if values.dtype.kind == "S":
        try:
            return np.char.decode(values, "utf-8").astype(np.str_)
        except UnicodeDecodeError as error:
            raise CorpusError("not UTF-8 text", path, column=name) from error
    text = np.ascontiguousarray(values).astype(np.str_).reshape(values.shape)
    points = np.frombuffer(text.tobytes(), np.uint32)
    low, high = SURROGATES
    if np.any((points > LAST_CHARACTER) | ((points >= low) & (points <= high))):
        raise CorpusError("holds an invalid character", path, column=name)
    return text


def load_checked(
    path: Path, layout: Mapping[str, tuple[str, tuple[int | str, ...]]]
) -> dict[str, np.ndarray]:
    """Reads the arrays of an npz file, none of which may be empty.

    Args:
      path: the file.
      layout: {array: (numpy's codes of its kind, a key of `KINDS`, its shape)}; a size
        is a number, or a name that stands for the size first found under it.

    Raises:
      CorpusError: of `load_arrays`; or an array has another type or shape, or is text
        with an invalid character.
    """
    arrays = load_arrays(path, [*layout])
    sizes: dict[int | str, int] = {}
    for name, (kinds, axes) in layout.items():
        array = arrays[name]
        for axis, size in zip(axes, array.shape, strict=False):
            sizes.setdefault(axis, axis if isinstance(axis, int) else size)
        shape = tuple(sizes.get(axis) for axis in axes)
        if array.shape != shape or array.dtype.kind not in kinds or not array.size:
            reason = (
                f"the array has shape {array.shape} and type {array.dtype}, expected "
                f"{KINDS[kinds]} of shape {shape}"
            )
            raise CorpusError(reason, path, column=name)
        if kinds == "U":
            as_text(path, name, array)
    return arrays


def refuse_first(
    path: Path,
    name: str,
    values: np.ndarray,
    wrong: np.ndarray,
    expected: str = "a finite number",
) -> None:
    """Names the first of the values that are wrong, by its 1-based row.

    Raises:
      CorpusError: a value is wrong.
    """
    if wrong.any():
        row, *column = (int(i) for i in np.argwhere(wrong)[0])
        where = f" in column {column[-1] + 1}" if column else ""
        reason = f"found {values[(row, *column)]}{where}, expected {expected}"
        raise CorpusError(reason, path, row + 1, name)


def _declared_shape(path: Path, archive: zipfile.ZipFile, name: str) -> Shape:
    """Reads and checks the header of an array of an npz file."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    members = {m.filename: m for m in archive.infolist()}
    member = members.get(f"{name}.npy")
    if member is None:  # a file of exactly that name
        raise CorpusError("this is not an array", path, column=name)
    with archive.open(member) as file:
        try:
            shape, _, dtype = readers[np.lib.format.read_magic(file)](file)
        except (KeyError, ValueError) as error:
            raise CorpusError("this is not an array", path, column=name) from error
    if dtype.hasobject:
        reason = "Python objects, which are never unpickled; save text by astype(str)"
        raise CorpusError(reason, path, column=name)
    size = math.prod(shape) * dtype.itemsize
    require_size(path, "the array", size, member.compress_size, name)
    return tuple(shape)


def _find_dataset(path: Path, file: Any, name: str) -> Any:
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        reason = f"the array is missing; the file holds {_inside(file)}"
        raise CorpusError(reason, path, column=name)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        reason = "this is a group or a link to elsewhere, expected a dataset"
        raise CorpusError(reason, path, column=name)
    if found.shape is None:
        raise CorpusError("the array has no values", path, column=name)
    if found.dtype.hasobject and h5py.check_string_dtype(found.dtype) is None:
        hint = ""
        if "MATLAB_class" in found.attrs:
            hint = "; in MATLAB, write a string array with h5write, not a cell array"
        reason = f"objects, expected numbers or text{hint}"
        raise CorpusError(reason, path, column=name)
    size, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
    if size > DEFLATE_RATIO * stored:  # damaged, or never written
        reason = f"the array claims {size} bytes, but the file stores {stored}"
        raise CorpusError(reason, path, column=name)
    require_size(path, "the array", size, stored, name)
    return found


def _inside(file: Any) -> str:
    """Lists the datasets of an HDF5 file with their shapes, and who wrote them."""
    found: list[str] = []

    def visit(name: str, item: Any) -> bool | None:
        if "pandas_type" in item.attrs:
            found[:] = ["a table that pandas wrote (to_hdf); write it as Parquet"]
        elif hasattr(item, "shape") and not name.startswith("#"):  # MATLAB's own
            found.append(f"{name} {item.shape}")
            return True if len(found) > 8 else None
        return True if "pandas_type" in item.attrs else None

    file.visititems(visit)
    return shorten(found) or "nothing"


def _read_dataset(path: Path, found: Any) -> np.ndarray:
    import h5py

    text = h5py.check_string_dtype(found.dtype)
    if text is None:
        return np.asarray(found[()])
    if text.length is None:
        _check_heaps(path)
    return np.asarray(found.asstr()[()], np.str_)


def _check_heaps(path: Path) -> None:
    """Walks the heaps in which HDF5 stores text of variable length.

    The HDF5 library hangs on a damaged one, where an object is empty or reaches beyond
    the end of its heap.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        start = data.find(HEAP)
        while start >= 0:
            place = start + 16
            (size,) = struct.unpack_from("<Q", data, start + 8)
            end = start + size
            if end > len(data):
                raise CorpusError("not a readable HDF5 file (damaged heap)", path)
            while place + 16 <= end:
                index, size = struct.unpack_from("<H6xQ", data, place)
                place += 16 + -(-size // 8) * 8 if index else size
                if place > end or (not index and size < 16):
                    raise CorpusError("not a readable HDF5 file (damaged heap)", path)
            start = data.find(HEAP, start + 16)
