"""Named arrays of npz and HDF5 files, and the records of npy files.

None of them is unpickled, nothing outside the file is read, and whatever a broken file
makes numpy, zipfile, zlib or the HDF5 library raise becomes a sentence that names it.
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

MAX_HEADER_SIZE = 10**6  # [byte] of an npy file; numpy's own limit is some 450 features
MAX_RATIO = 1032  # of what deflate packs to its result
HEAP = b"GCOL\x01\0\0\0"  # how a heap begins; its size follows
LAST_CHARACTER, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)  # code points of Unicode


def require_file(path: Path) -> Path:
    """Returns the path.

    Raises:
      CorpusError: its folder or the file is missing.
    """
    if not path.parent.is_dir():
        raise CorpusError(f"{path.parent}: there is no such folder")
    if not path.is_file():
        raise CorpusError(f"{path}: there is no such file")
    return path


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever is raised inside into a CorpusError that names the file.

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
        raise CorpusError(f"{path}: not a readable {kind} file ({reason})") from error


def load_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads named arrays of an npz file.

    Raises:
      CorpusError: the file is missing or broken, an array is missing, there twice, or
        of Python objects.
    """
    with reading(require_file(path), "npz"), path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise CorpusError(f"{path}: holds a single array, expected an npz archive")
        with loaded as archive:
            for name in names:
                count = archive.files.count(name)
                if count != 1:
                    what = "occurs more than once" if count else "is missing"
                    raise CorpusError(f"{path}: array {name!r} {what}")
            arrays = {name: archive[name] for name in names}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # numpy gives out what it cannot read
                raise CorpusError(f"{path}: {name!r} is not an array")
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
        raise CorpusError(
            f"{path}: reading HDF5 needs h5py (pip install h5py)"
        ) from error
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
        raise CorpusError(
            f"{path}: writing HDF5 needs h5py (pip install h5py)"
        ) from error
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
            raise CorpusError(f"{path}: expected a structured array, a field a column")
        if records.ndim != 1:
            raise CorpusError(
                f"{path}: array has shape {records.shape}, expected (rows,)"
            )
        if not records.size:
            raise CorpusError(f"{path}: there are no rows below the column names")
        behind = path.stat().st_size - records.offset - records.nbytes
        if behind:
            raise CorpusError(
                f"{path}: there are {behind} bytes behind the {len(records)} rows that "
                "its header tells of"
            )
        return records


def as_text(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """Turns text, also UTF-8 in bytes, and numbers into str of the same shape.

    Raises:
      CorpusError: values are of another type, or hold what is no character.
    """
    if values.dtype.kind not in "USiufb":
        raise CorpusError(
            f"{path}, array {name!r}: values are of type {values.dtype}, expected text"
        )
    if values.dtype.kind == "S":
        try:
            return np.char.decode(values, "utf-8").astype(np.str_)
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path}, array {name!r}: not UTF-8 text") from error
    text = np.ascontiguousarray(values).astype(np.str_).reshape(values.shape)
    points = np.frombuffer(text.tobytes(), np.uint32)
    low, high = SURROGATES
    if np.any((points > LAST_CHARACTER) | ((points >= low) & (points <= high))):
        raise CorpusError(f"{path}, array {name!r}: holds what is no character")
    return text


def _read_dataset(path: Path, file: Any, name: str) -> np.ndarray:
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        raise CorpusError(f"{path}: array {name!r} is missing")
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise CorpusError(
            f"{path}: {name!r} is a group or lies elsewhere, expected a dataset"
        )
    if found.shape is None:
        raise CorpusError(f"{path}: array {name!r} has no values")
    is_text = h5py.check_string_dtype(found.dtype) is not None
    if found.dtype.hasobject and not is_text:
        raise CorpusError(
            f"{path}, array {name!r}: values are objects, expected numbers or text"
        )
    size, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
    if size > MAX_RATIO * stored:  # damaged, or it would be read as blanks
        raise CorpusError(
            f"{path}: array {name!r} tells of {size} bytes, but {stored} are there"
        )
    if not is_text:
        return found[()]
    if h5py.check_string_dtype(found.dtype).length is None:
        _check_heaps(path)
    return np.asarray(found.asstr()[()], np.str_)


def _check_heaps(path: Path) -> None:
    """Walks the heaps in which HDF5 keeps text of any length.

    The HDF5 library does not end on one that is damaged.

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
                raise CorpusError(f"{path}: not a readable HDF5 file (damaged heap)")
            while place + 16 <= end:
                index, size = struct.unpack_from("<H6xQ", data, place)
                place += 16 + -(-size // 8) * 8 if index else size
                if place > end or (not index and size < 16):
                    raise CorpusError(
                        f"{path}: not a readable HDF5 file (damaged heap)"
                    )
            start = data.find(HEAP, start + 16)
