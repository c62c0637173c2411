"""Named arrays of npz and HDF5 files, and the records of npy files.

Nothing is unpickled, nothing outside the file is read, and whatever numpy, zipfile,
zlib or the HDF5 library raise on a broken file becomes a `CorpusError` that names it.
"""

import mmap
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import CorpusError

MAX_HEADER_SIZE = 10**6  # [byte] of an npy file; numpy's default allows 450 features
MAX_RATIO = 1032  # of deflate compression
HEAP = b"GCOL\x01\0\0\0"  # start of an HDF5 heap; its size follows
LAST_CHARACTER, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)  # code points of Unicode


def require_file(path: Path) -> Path:
    """Returns the path.

    Raises:
      CorpusError: its folder or the file is missing.
    """
    if not path.parent.is_dir():
        raise CorpusError("no such folder", path.parent)
    if not path.is_file():
        raise CorpusError("no such file", path)
    return path


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turns any exception into a CorpusError that names the file.

    Args:
      path: the file.
      kind: its format, for the message.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that Python 2 wrote
            yield
    except CorpusError:
        raise
    except Exception as error:  # a damaged file may cause any
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorpusError(f"not a readable {kind} file ({reason})", path) from error


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads named arrays of an npz file.

    Raises:
      CorpusError: the file is missing or broken, an array is missing, there twice, or
        of Python objects.
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
                    raise CorpusError(f"the array {what}", path, column=name)
            arrays = {name: archive[name] for name in names}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # bytes that numpy cannot read
                raise CorpusError("this is not an array", path, column=name)
        return arrays


def load_datasets(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads named datasets at the root of an HDF5 file; text becomes str.

    Raises:
      CorpusError: h5py or the file is missing, the file is broken, or a dataset is
        missing, elsewhere, or of objects.
    """
    require_file(path)
    try:
        import h5py
    except ImportError as error:
        reason = "reading HDF5 needs h5py (pip install h5py)"
        raise CorpusError(reason, path) from error
    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        return {name: _read_dataset(path, file, name) for name in names}


def save_datasets(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an HDF5 file that `load_datasets` reads back.

    Raises:
      CorpusError: h5py is missing.
    """
    try:
        import h5py
    except ImportError as error:
        reason = "writing HDF5 needs h5py (pip install h5py)"
        raise CorpusError(reason, path) from error
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values.dtype.kind == "U":
                # of fixed length, since HDF5 keeps others one by one
                values = np.char.encode(values, "utf-8")
                text = h5py.string_dtype("utf-8", max(values.dtype.itemsize, 1))
                values = values.astype(text)
            file.create_dataset(name, data=values)


def load_records(path: Path) -> np.memmap:
    """Maps the structured array (R,) of an npy file, a field a column.

    Raises:
      CorpusError: the file is missing or broken, or holds something else.
    """
    with reading(require_file(path), "npy"):
        records = np.lib.format.open_memmap(path, "r", max_header_size=MAX_HEADER_SIZE)
        if not records.dtype.names:
            raise CorpusError("expected a structured array, a field a column", path)
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
      CorpusError: values are of another type, or hold an invalid character.
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


def _read_dataset(path: Path, file: Any, name: str) -> np.ndarray:
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        raise CorpusError("the array is missing", path, column=name)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        reason = "this is a group or a link to elsewhere, expected a dataset"
        raise CorpusError(reason, path, column=name)
    if found.shape is None:
        raise CorpusError("the array has no values", path, column=name)
    is_text = h5py.check_string_dtype(found.dtype) is not None
    if found.dtype.hasobject and not is_text:
        raise CorpusError("objects, expected numbers or text", path, column=name)
    size, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
    if size > MAX_RATIO * stored:  # damaged, or never written
        reason = f"the array claims {size} bytes, but the file stores {stored}"
        raise CorpusError(reason, path, column=name)
    if not is_text:
        return found[()]
    if h5py.check_string_dtype(found.dtype).length is None:
        _check_heaps(path)
    return np.asarray(found.asstr()[()], np.str_)


def _check_heaps(path: Path) -> None:
    """Walks the heaps in which HDF5 keeps text of any length.

    The HDF5 library hangs on one that is damaged.

    Raises:
      CorpusError: an object of a heap is empty or reaches beyond its end.
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
