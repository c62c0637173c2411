"""The weights of MTCNN in the distribution `mtcnn`, which is not imported.

They are lists of arrays that joblib wrote as pickles. Nothing is unpickled:
`pickletools` lists the operations, and the bytes after each array's description are
read as numbers of the expected shape. MIT licence, I. de Paz Centeno.
"""

import io
import math
import pickletools
from pathlib import Path

import numpy as np

from ifusion.features.extra import import_extra
from ifusion.features.media import MediaError

Shape = tuple[int, ...]
Weights = dict[str, list[np.ndarray]]


def _convolution(height: int, inputs: int, outputs: int) -> list[Shape]:
    """Kernel, bias and slopes of a PReLU."""
    return [(height, height, inputs, outputs), (outputs,), (1, 1, outputs)]


def _dense(inputs: int, outputs: int) -> list[Shape]:
    return [(inputs, outputs), (outputs,)]


SHAPES: dict[str, list[Shape]] = {
    "pnet": [
        *_convolution(3, 3, 10),
        *_convolution(3, 10, 16),
        *_convolution(3, 16, 32),
        *[(1, 1, 32, 4), (4,), (1, 1, 32, 2), (2,)],
    ],
    "rnet": [
        *_convolution(3, 3, 28),
        *_convolution(3, 28, 48),
        *_convolution(2, 48, 64),
        *_dense(576, 128),
        (128,),
        *_dense(128, 4),
        *_dense(128, 2),
    ],
    "onet": [
        *_convolution(3, 3, 32),
        *_convolution(3, 32, 64),
        *_convolution(3, 64, 64),
        *_convolution(2, 64, 128),
        *_dense(1152, 256),
        (256,),
        *_dense(256, 4),
        *_dense(256, 10),
        *_dense(256, 2),
    ],
}


def read_weights(folder: Path) -> Weights:
    """Reads pnet.lz4, rnet.lz4 and onet.lz4, in the layout of Keras.

    Raises:
      MediaError: a file is missing or damaged.
    """
    return {n: _read(folder / f"{n}.lz4", shapes) for n, shapes in SHAPES.items()}


def _read(path: Path, shapes: list[Shape]) -> list[np.ndarray]:
    lz4 = import_extra("lz4.frame", "lz4")
    arrays: list[np.ndarray] = []
    before = ""
    try:
        stream = io.BytesIO(lz4.decompress(path.read_bytes()))
        for operation, _, _ in pickletools.genops(stream):
            # joblib's description of an array is built of a dict; its numbers follow
            if (before, operation.name) == ("SETITEMS", "BUILD"):
                arrays.append(_read_array(stream, shapes[len(arrays)]))
            before = operation.name
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise MediaError(f"not weights of MTCNN ({error})", path) from error
    if len(arrays) != len(shapes):
        reason = f"it has {len(arrays)} arrays, expected {len(shapes)}"
        raise MediaError(reason, path)
    return arrays


def _read_array(stream: io.BytesIO, shape: Shape) -> np.ndarray:
    """Reads the numbers of an array, after the bytes that align them."""
    stream.read(stream.read(1)[0])
    size = 4 * math.prod(shape)
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("it is cut off")
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
