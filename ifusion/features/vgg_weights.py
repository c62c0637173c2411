"""Files with the weights of VGG-Face, as different toolkits distribute them.

    .mat           MatConvNet: vgg_face.mat of the authors; red first
    .h5            Keras: rcmalli_vggface_tf_vgg16.h5, vgg_face_weights.h5; blue first
    .caffemodel    Caffe: VGG_FACE.caffemodel of the authors; blue first
    .pth, .pt      PyTorch: a dict of tensors, such as vgg_face_dag.pth; red first
    .npz           arrays conv1_1_kernel (height, width, in, out), conv1_1_bias, ...

Layers are read in the order of the file, up to fc7. Nothing is unpickled. The readers
follow public descriptions of these formats and are tested with random weights; the true
files, which their authors allow for non-commercial research, were not available.
"""

import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ifusion.corpora.conversion.unpickling import Name, read_with_storage
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arrays import load_arrays, reading
from ifusion.features.extra import import_extra
from ifusion.features.vgg_face import LAYERS, Layer, layer_shapes

BLUE_FIRST = {".h5", ".hdf5", ".caffemodel"}  # by convention of these files
WHERE = (
    "the weights of VGG-Face are at www.robots.ox.ac.uk/~vgg/software/vgg_face "
    "(vgg_face.mat or VGG_FACE.caffemodel), or come with keras-vggface"
)
Pairs = list[tuple[np.ndarray, np.ndarray]]  # kernels and biases, as a file has them


def read_layers(
    path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> list[Layer]:
    """Reads the layers up to fc7.

    Args:
      path: the suffix tells the format.
      shapes: of the kernels, as of `layer_shapes`; None for the true network.

    Raises:
      CorpusError: the file is missing, damaged, of an unknown format or of another
        network.
    """
    shapes = shapes or layer_shapes()
    suffix = path.suffix.lower()
    if suffix not in READERS:
        reason = f"expected a file ending in one of {', '.join(READERS)}; {WHERE}"
        raise CorpusError(reason, path)
    if not path.is_file():
        raise CorpusError(f"no such file; {WHERE}", path)
    format_ = READERS[suffix]
    with reading(path, format_.name):
        pairs = format_.read(path)
    if len(pairs) < len(LAYERS):
        reason = f"found {len(pairs)} layers with weights, expected {len(LAYERS)}"
        raise CorpusError(reason, path)
    layers = []
    for name, (kernel, bias) in zip(LAYERS, pairs, strict=False):
        shape = shapes[name]
        turned = _from_planes(kernel, shape) if format_.planes else kernel
        if turned.size != math.prod(shape) or bias.size != shape[-1]:
            reason = f"{name} has weights {kernel.shape}, expected {shape}"
            raise CorpusError(reason, path)
        layer = (turned.reshape(shape), bias.reshape(-1))
        if not all(np.isfinite(array).all() for array in layer):
            raise CorpusError(f"{name} has weights that are not finite", path)
        kernel, bias = (np.ascontiguousarray(array, np.float32) for array in layer)
        layers.append((kernel, bias))
    return layers


def _from_planes(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Turns (out, in, height, width), or (out, all of these), to (height, ..., out)."""
    height, width, inputs, outputs = shape
    if kernel.size != math.prod(shape) or kernel.shape[0] != outputs:
        return kernel
    return kernel.reshape(outputs, inputs, height, width).transpose(2, 3, 1, 0)


# ---- MatConvNet --------------------------------------------------------------------


def _read_mat(path: Path) -> Pairs:
    from scipy.io import loadmat

    data = loadmat(path, simplify_cells=True)
    layers = data.get("net", data)["layers"]
    pairs = []
    for layer in layers:
        if "filters" in layer:
            pairs.append((np.asarray(layer["filters"]), np.asarray(layer["biases"])))
        elif len(layer.get("weights", ())) == 2:
            kernel, bias = layer["weights"]
            pairs.append((np.asarray(kernel), np.asarray(bias)))
    return pairs


# ---- Keras -------------------------------------------------------------------------


def _read_keras(path: Path) -> Pairs:
    h5py = import_extra("h5py")
    pairs = []
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        for layer in _texts(root.attrs["layer_names"]):
            group = root[layer]
            names = _texts(group.attrs["weight_names"])
            if len(names) == 2:
                kernel, bias = (np.asarray(group[name]) for name in names)
                pairs.append((kernel, bias))
    return pairs


def _texts(names: Any) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


# ---- Caffe: protocol buffers, of which only these fields are read ------------------

LAYER_FIELDS = {2: 6, 100: 7}  # {layer, in old and new files: its blobs}
DATA, SHAPE, OLD_SHAPE = 5, 7, (1, 2, 3, 4)  # of a blob
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of fields


def _read_caffe(path: Path) -> Pairs:
    pairs = []
    for number, layer in _fields(memoryview(path.read_bytes())):
        if number in LAYER_FIELDS:
            blobs = [v for n, v in _fields(layer) if n == LAYER_FIELDS[number]]
            if len(blobs) == 2:
                kernel, bias = map(_blob, blobs)
                pairs.append((kernel, bias))
    return pairs


def _blob(message: memoryview) -> np.ndarray:
    values, dimensions, old = [], [], {}
    for number, value in _fields(message):
        if number == DATA and isinstance(value, memoryview):
            values.append(np.frombuffer(value, "<f4"))
        elif number == SHAPE:
            for _, packed in _fields(value):
                dimensions += [packed] if isinstance(packed, int) else _varints(packed)
        elif number in OLD_SHAPE:
            old[number] = value
    shape = dimensions or [old.get(n, 1) for n in OLD_SHAPE]
    array = np.concatenate(values).reshape(shape)
    flat = len(shape) == 4 and shape[:2] == [1, 1]  # a matrix of old files
    return array.reshape(shape[2:]) if flat else array


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields the number and the value of each field, an int or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size, place = _varint(message, place)
        if size is None or place + size > len(message):
            raise ValueError("it is cut off, or not a protocol buffer")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, place


def _varints(message: memoryview) -> list[int]:
    values, place = [], 0
    while place < len(message):
        value, place = _varint(message, place)
        values.append(value)
    return values


# ---- PyTorch -----------------------------------------------------------------------

OLD_MAGIC = 0x1950A86A20F9469CFC6C
STORAGE = "torch FloatStorage"


class _Tensor(NamedTuple):
    """A tensor as a file describes it, before its numbers are read."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self, storage: np.ndarray) -> np.ndarray:
        expected = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        if list(self.strides) != expected:
            raise ValueError("a tensor is not stored in order")
        stop = self.offset + math.prod(self.shape)
        if stop > len(storage):
            raise ValueError("a tensor is cut off")
        return storage[self.offset : stop].reshape(self.shape)


def _read_torch(path: Path) -> Pairs:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            folder = name.removesuffix("data.pkl")
            tensors = _tensors(_run_pickle(BytesIO(archive.read(name)), path))
            storages = {
                t.key: np.frombuffer(archive.read(f"{folder}data/{t.key}"), "<f4")
                for t in tensors
            }
    else:
        with path.open("rb") as file:
            tensors, storages = _read_old_torch(file, path)
    arrays = [t.read(storages[t.key]) for t in tensors]
    kernels = [i for i, a in enumerate(arrays) if a.ndim > 1]
    return [(arrays[i], arrays[i + 1]) for i in kernels]


def _read_old_torch(
    file: BinaryIO, path: Path
) -> tuple[list[_Tensor], dict[str, np.ndarray]]:
    """Reads a file of PyTorch before 1.6: five pickles, and then the numbers."""
    if _run_pickle(file, path) != OLD_MAGIC:
        raise ValueError("not a file of torch.save")
    _run_pickle(file, path)  # version of the format
    _run_pickle(file, path)  # sizes of types
    tensors = _tensors(_run_pickle(file, path))
    storages = {}
    for key in _run_pickle(file, path):
        (count,) = struct.unpack("<q", file.read(8))
        storages[str(key)] = np.frombuffer(file.read(4 * count), "<f4")
    return tensors, storages


def _run_pickle(file: BinaryIO, path: Path) -> Any:
    names = {"torch._utils _rebuild_tensor_v2": _make_tensor, STORAGE: None}
    return read_with_storage(file, path, names, _storage_key)


def _make_tensor(key: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Stands for torch._utils._rebuild_tensor_v2."""
    return _Tensor(key, offset, shape, strides)


def _storage_key(identity: Any) -> str:
    """Returns which storage a persistent id stands for."""
    kind, storage, key = identity[:3]
    if kind != "storage" or storage != Name(STORAGE):
        raise ValueError("expected tensors of 32-bit floats")
    return str(key)


def _tensors(value: Any) -> list[_Tensor]:
    """Lists the tensors of a dict, in its order."""
    if isinstance(value, dict) and "state_dict" in value:
        value = value["state_dict"]
    if not isinstance(value, dict):
        raise ValueError(
            "expected a dict of tensors, of torch.save(model.state_dict())"
        )
    return [v for v in value.values() if isinstance(v, _Tensor)]


# ---- npz ---------------------------------------------------------------------------


def _read_npz(path: Path) -> Pairs:
    arrays = load_arrays(path, [f"{n}_{k}" for n in LAYERS for k in ("kernel", "bias")])
    return [(arrays[f"{n}_kernel"], arrays[f"{n}_bias"]) for n in LAYERS]


class Format(NamedTuple):
    """A kind of file."""

    name: str
    read: Callable[[Path], Pairs]
    planes: bool  # kernels are (out, in, height, width), else (height, width, in, out)


READERS: Mapping[str, Format] = {
    ".mat": Format("MatConvNet", _read_mat, planes=False),
    ".h5": Format("Keras HDF5", _read_keras, planes=False),
    ".hdf5": Format("Keras HDF5", _read_keras, planes=False),
    ".caffemodel": Format("Caffe", _read_caffe, planes=True),
    ".pth": Format("PyTorch", _read_torch, planes=True),
    ".pt": Format("PyTorch", _read_torch, planes=True),
    ".npz": Format("npz", _read_npz, planes=False),
}
