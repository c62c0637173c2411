"""VGG-Face against PyTorch and scipy, and its weights from every kind of file."""

import struct
from collections import OrderedDict

import numpy as np
import pytest

from ifusion.corpora.corpus import CorpusError
from ifusion.features import vgg_face, vgg_weights
from ifusion.features.vgg_face import DEPTHS, LAYERS, MEAN_RGB, embed, layer_shapes
from ifusion.features.vgg_weights import read_layers

SMALL = {"widths": (4, 5, 6, 7, 7), "code": 9, "side": 64}
SHAPES = layer_shapes(**SMALL)


def draw_layers(shapes, seed=0):
    rng = np.random.default_rng(seed)
    layers = []
    for shape in shapes.values():
        kernel = rng.standard_normal(shape, np.float32)
        kernel *= np.float32(np.sqrt(2 / np.prod(shape[:3])))
        layers.append((kernel, rng.normal(0, 0.1, shape[-1]).astype(np.float32)))
    return layers


@pytest.fixture(scope="module")
def layers():
    return draw_layers(SHAPES)


def scipy_embed(layers, face, bgr):
    from scipy.signal import correlate

    def convolve(x, kernel, bias, pad):
        x = np.pad(x, [(pad, pad), (pad, pad), (0, 0)])
        maps = [correlate(x, kernel[..., o], "valid")[..., 0] for o in range(len(bias))]
        return np.stack(maps, -1) + bias

    x = face - MEAN_RGB
    x = x[..., ::-1] if bgr else x
    left = iter(layers)
    for depth in DEPTHS:
        for _ in range(depth):
            x = np.maximum(convolve(x, *next(left), 1), 0)
        x = np.max([x[i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    x = np.maximum(convolve(x, *next(left), 0), 0)
    return convolve(x, *next(left), 0)[0, 0]


@pytest.mark.parametrize("bgr", [False, True])
def test_the_network_is_that_of_scipy(layers, bgr):
    faces = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3))
    expected = np.stack([scipy_embed(layers, face, bgr) for face in faces])
    found = embed(layers, faces.astype(np.float32), bgr, rectify=False)
    assert (expected < 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    rectified = embed(layers, faces.astype(np.float32), bgr)
    np.testing.assert_allclose(rectified, np.maximum(expected, 0), rtol=1e-4, atol=1e-3)


def test_there_are_13_convolutions_of_the_true_shapes():
    shapes = layer_shapes()
    assert tuple(shapes) == LAYERS and len(LAYERS) == 15
    assert shapes["conv1_1"] == (3, 3, 3, 64) and shapes["conv5_3"] == (3, 3, 512, 512)
    assert shapes["fc6"] == (7, 7, 512, 4096) and shapes["fc7"] == (1, 1, 4096, 4096)


def write_mat(path, layers, old=False):
    from scipy.io import savemat

    cells = np.empty(2 * len(layers), object)
    for i, (name, (kernel, bias)) in enumerate(zip(LAYERS, layers, strict=True)):
        weights = np.empty(2, object)
        weights[:] = kernel, bias
        both = {"filters": kernel, "biases": bias} if old else {"weights": weights}
        cells[2 * i] = {"name": name, "type": "conv", **both}
        cells[2 * i + 1] = {"name": f"relu{i}", "type": "relu"}
    savemat(path, {"layers": cells})


def write_keras(path, layers, dense=True, root=""):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        names = []
        for name, (kernel, bias) in zip(LAYERS, layers, strict=True):
            if dense and name.startswith("fc"):
                kernel = kernel.reshape(-1, kernel.shape[-1])
            layer = group.create_group(name)
            stored = [f"{name}/kernel:0", f"{name}/bias:0"]
            layer[stored[0]], layer[stored[1]] = kernel, bias
            layer.attrs["weight_names"] = [s.encode() for s in stored]
            empty = group.create_group(f"{name}_relu")
            empty.attrs["weight_names"] = np.array([], "S1")
            names += [name, f"{name}_relu"]
        group.attrs["layer_names"] = [n.encode() for n in names]


def field(number, content):
    """A field of a protocol buffer: bytes, or an int."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def write_caffe(path, layers, old=False):
    """As protoc would serialise a NetParameter."""
    net = field(1, b"VGG_FACE")
    for name, (kernel, bias) in zip(LAYERS, layers, strict=True):
        weights = kernel.transpose(3, 2, 0, 1)
        if name.startswith("fc"):
            weights = weights.reshape(len(weights), -1)
        blobs = b""
        for array in (weights, bias):
            data = field(5, np.ascontiguousarray(array, "<f4").tobytes())
            if old:
                sizes = (1,) * (4 - array.ndim) + array.shape
                shape = b"".join(field(i + 1, n) for i, n in enumerate(sizes))
            else:
                packed = b"".join(map(varint, array.shape))
                shape = field(7, field(1, packed))
            blobs += field(6 if old else 7, shape + data)
        named = field(4 if old else 1, name.encode())
        net += field(2 if old else 100, named + blobs)
    path.write_bytes(net)


def write_npz(path, layers):
    arrays = {}
    for name, (kernel, bias) in zip(LAYERS, layers, strict=True):
        arrays |= {f"{name}_kernel": kernel, f"{name}_bias": bias}
    np.savez(path, **arrays)


def write_torch(path, layers, old=False):
    torch = pytest.importorskip("torch")
    state = OrderedDict()
    for name, (kernel, bias) in zip(LAYERS, layers, strict=True):
        weight = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        if name.startswith("fc"):
            weight = weight.reshape(len(weight), -1)
        state[f"{name}.weight"] = torch.from_numpy(weight)
        state[f"{name}.bias"] = torch.from_numpy(bias)
    torch.save(state, path, _use_new_zipfile_serialization=not old)


WRITERS = {
    "new.mat": write_mat,
    "old.mat": lambda p, w: write_mat(p, w, old=True),
    "a.npz": write_npz,
    "dense.h5": write_keras,
    "conv.h5": lambda p, w: write_keras(p, w, False, "model_weights"),
    "new.caffemodel": write_caffe,
    "old.caffemodel": lambda p, w: write_caffe(p, w, old=True),
    "new.pth": write_torch,
    "old.pth": lambda p, w: write_torch(p, w, old=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_weights_are_read_from_every_kind_of_file(tmp_path, layers, name):
    path = tmp_path / name
    WRITERS[name](path, layers)
    found = read_layers(path, SHAPES)
    for (kernel, bias), (expected, expected_bias) in zip(found, layers, strict=True):
        np.testing.assert_array_equal(kernel, expected)
        np.testing.assert_array_equal(bias, expected_bias)


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_refused(tmp_path, layers, name):
    path = tmp_path / name
    WRITERS[name](path, layers)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorpusError, match=path.name):
        read_layers(path, SHAPES)


def test_another_network_is_refused(tmp_path, layers):
    path = tmp_path / "a.npz"
    write_npz(path, draw_layers(layer_shapes(**{**SMALL, "code": 8})))
    with pytest.raises(CorpusError, match="fc6 has weights"):
        read_layers(path, SHAPES)
    write_mat(tmp_path / "a.mat", layers)
    with pytest.raises(CorpusError, match="conv1_1 has weights"):
        read_layers(tmp_path / "a.mat")


def test_where_weights_are_to_be_had_is_said(tmp_path):
    with pytest.raises(CorpusError, match=r"robots\.ox\.ac\.uk"):
        read_layers(tmp_path / "vgg_face.mat")
    with pytest.raises(CorpusError, match=r"expected a file ending in one of \.mat"):
        read_layers(tmp_path / "vgg_face.txt")


@pytest.mark.parametrize("old", [False, True])
def test_what_is_no_dict_of_tensors_is_refused(tmp_path, old):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(CorpusError, match=r"asks for|not a readable"):
        read_layers(path, SHAPES)


@pytest.mark.slow
def test_the_true_network_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    layers = draw_layers(layer_shapes())
    faces = np.random.default_rng(1).uniform(0, 255, (2, 224, 224, 3)).astype("f4")
    x = torch.from_numpy(faces - np.float32(MEAN_RGB)).permute(0, 3, 1, 2)
    left = iter(layers)

    def convolve(x, padding):
        kernel, bias = next(left)
        weight = torch.from_numpy(kernel).permute(3, 2, 0, 1)
        return torch.conv2d(x, weight, torch.from_numpy(bias), padding=padding)

    with torch.inference_mode():
        for depth in DEPTHS:
            for _ in range(depth):
                x = convolve(x, 1).relu()
            x = torch.nn.functional.max_pool2d(x, 2)
        expected = convolve(convolve(x, 0).relu(), 0)[:, :, 0, 0].relu().numpy()
    found = np.asarray(embed(layers, faces))
    assert found.shape == (2, vgg_face.CODE)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.max())


def test_fields_are_those_of_the_wire_format():
    """150 is the example of protobuf's documentation: 08 96 01."""
    assert field(1, 150) == b"\x08\x96\x01"
    found = list(vgg_weights._fields(memoryview(field(1, 150) + field(2, b"testing"))))
    assert found[0] == (1, 150) and bytes(found[1][1]) == b"testing"
    single = struct.pack("<f", 1.5)
    assert vgg_weights._blob(memoryview(field(5, single) + field(4, 1))) == [1.5]
