"""VGG-Face: a face to 4096 activations of fc7, as in the paper (Sec. 4.1).

O. M. Parkhi, A. Vedaldi, A. Zisserman, "Deep Face Recognition", BMVC 2015: the 16
layers of VGG-16, trained to tell 2622 people apart. `vgg_weights` reads the weights.

Axes: B faces.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

SIDE, CODE = 224, 4096  # [pixel]; activations
MEAN_RGB = (129.1863, 104.7624, 93.5940)
DEPTHS = (2, 2, 3, 3, 3)  # convolutions before each pooling
CONVOLUTIONS = [f"conv{i}_{j + 1}" for i, n in enumerate(DEPTHS, 1) for j in range(n)]
LAYERS = (*CONVOLUTIONS, "fc6", "fc7")
Layer = tuple[np.ndarray, np.ndarray]  # kernel (height, width, in, out), bias (out,)


def layer_shapes(
    widths: Sequence[int] = (64, 128, 256, 512, 512), code: int = CODE, side: int = SIDE
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each layer's kernel; smaller ones are for tests."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for block, (depth, outputs) in enumerate(zip(DEPTHS, widths, strict=True), 1):
        for layer in range(depth):
            shapes[f"conv{block}_{layer + 1}"] = (3, 3, inputs, outputs)
            inputs = outputs
    last = side // 2 ** len(DEPTHS)
    shapes["fc6"] = (last, last, inputs, code)
    shapes["fc7"] = (1, 1, code, code)
    return shapes


@partial(jax.jit, static_argnames=("bgr", "rectify"))
def embed(
    layers: Sequence[tuple[jax.Array, jax.Array]],
    faces: jax.Array,
    bgr: bool = False,
    rectify: bool = True,
) -> jax.Array:
    """Computes fc7.

    Args:
      layers: 15, in the order of `LAYERS`.
      faces: (B, 224, 224, 3) float32, RGB, 0 to 255.
      bgr: whether the weights expect blue first.
      rectify: whether negative activations become 0, as in Caffe, whose "fc7" is
        rectified in place. Not in the paper.

    Returns:
      (B, 4096).
    """
    x = faces - jnp.array(MEAN_RGB)
    x = x[..., ::-1] if bgr else x
    waiting = list(layers)
    for depth in DEPTHS:
        for _ in range(depth):
            x = jax.nn.relu(_convolve(x, waiting.pop(0), "SAME"))
        window = (1, 2, 2, 1)
        x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    x = jax.nn.relu(_convolve(x, waiting.pop(0), "VALID"))
    x = _convolve(x, waiting.pop(0), "VALID")[:, 0, 0]
    return jax.nn.relu(x) if rectify else x


def _convolve(
    x: jax.Array, layer: tuple[jax.Array, jax.Array], padding: str
) -> jax.Array:
    kernel, bias = layer
    layout = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=layout)
    return x + bias
