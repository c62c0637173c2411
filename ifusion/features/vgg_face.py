"""VGG-Face: a face to 4096 activations of fc7, as in the paper (Sec. 4.1).

O. M. Parkhi, A. Vedaldi, A. Zisserman, "Deep Face Recognition", BMVC 2015: the 16
layers of VGG-16, trained to tell 2622 people apart. `vgg_weights` reads the weights.

Axes: B faces.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.features.layers import convolve, pool_maxima

SIDE, CODE = 224, 4096  # [pixel]; activations
MEAN_RGB = (129.1863, 104.7624, 93.5940)
DEPTHS = (2, 2, 3, 3, 3)  # convolutions before each pooling
CONVOLUTIONS = [f"conv{i}_{j + 1}" for i, n in enumerate(DEPTHS, 1) for j in range(n)]
LAYERS = (*CONVOLUTIONS, "fc6", "fc7")
Layer = tuple[np.ndarray, np.ndarray]  # kernel (height, width, in, out), bias (out,)


def layer_shapes(
    widths: Sequence[int] = (64, 128, 256, 512, 512), code: int = CODE, side: int = SIDE
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each layer's kernel; smaller widths are for tests."""
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
      rectify: whether negative activations become 0, as in Caffe, which rectifies fc7
        in place. Not in the paper: whether.

    Returns:
      (B, 4096).
    """
    x = faces - jnp.array(MEAN_RGB)
    x = x[..., ::-1] if bgr else x
    waiting = iter(layers)
    for depth in DEPTHS:
        for kernel, bias in islice(waiting, depth):
            x = jax.nn.relu(convolve(x, kernel, bias, "SAME"))
        x = pool_maxima(x, 2, "VALID")
    (kernel6, bias6), (kernel7, bias7) = waiting
    x = jax.nn.relu(convolve(x, kernel6, bias6))
    x = convolve(x, kernel7, bias7)[:, 0, 0]
    return jax.nn.relu(x) if rectify else x
