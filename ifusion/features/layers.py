"""Layers of convolutional networks; pictures are (B, height, width, channels)."""

import jax
import jax.numpy as jnp
from jax import lax


def convolve(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, padding: str = "VALID"
) -> jax.Array:
    """Convolves with a (height, width, in, out) kernel, with stride 1."""
    layout = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=layout)
    return x + bias


def pool_maxima(x: jax.Array, size: int, padding: str = "SAME") -> jax.Array:
    """Takes maxima over windows of size x size, with stride 2."""
    # the barrier keeps what comes before from being computed again for each window
    x = lax.optimization_barrier(x)
    window, strides = (1, size, size, 1), (1, 2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)
