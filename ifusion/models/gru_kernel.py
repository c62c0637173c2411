"""The recurrence of `gru` as one GPU kernel that keeps the weights on the chip.

A kernel goes through a whole sequence for one tile of the batch. Its W_h and hidden
state stay in registers and shared memory, where the plain form reads them from memory
at every step and starts several kernels a step. The lanes of a sweep (vmap) become one
more axis of the grid: lanes x tiles.

Written for Pallas's Triton backend: its tiles need no layouts by hand and it reaches
down to Ampere, where Mosaic GPU begins at Hopper. (jax 0.12 deprecates that backend, so
the kernel will have to move.) Triton takes powers of two, so H is padded (100 to 128)
by units that stay zero, and the batch by steps that do not exist.

This has not been run on a GPU. What is known: in interpret mode on the CPU it equals
`gru_reference` in values and gradients, and both kernels lower to Triton for CUDA.
In float32 and tf32, W_h of 128 units takes 196 kB, three quarters of an SM's registers:
whether it stays there is for a profile to say; in bfloat16 it is half of that.

Axes: B batch, T time, H hidden units; P padded batch, U padded units, A tile of the
batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from ifusion.models.gru import (
    Gates,
    Recurrence,
    backward_steps,
    forward_steps,
    gru,
    make_recurrence,
)

SMALLEST_TILE = 16  # rows of the smallest product of tensor cores
LARGEST_TILE = 32
PRECISIONS = {
    "float32": (jnp.float32, jax.lax.Precision.HIGHEST),
    "tf32": (jnp.float32, jax.lax.Precision.DEFAULT),
    "bfloat16": (jnp.bfloat16, jax.lax.Precision.DEFAULT),
}


@dataclass(frozen=True)
class KernelOptions:
    """How the kernel computes.

    Attributes:
      precision: of the operands of its products: float32, tf32 or bfloat16. Sums, gates
        and states are float32.
      num_warps: of 32 threads, that share a tile.
      interpret: emulates the kernel, on any device; for tests.
    """

    precision: str = "float32"
    num_warps: int = 8
    interpret: bool = False

    def __post_init__(self) -> None:
        """Refuses unknown precisions."""
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"sweep.kernel is {self.precision!r}; expected one of "
                f"{', '.join(PRECISIONS)}"
            )


def make_fused_gru(options: KernelOptions) -> Recurrence:
    """Builds a function that is `gru` on any device but a GPU, and fused on that."""
    run = make_recurrence(
        partial(_on_gpu, options, _fused_forward, forward_steps),
        partial(_on_gpu, options, _fused_backward, backward_steps),
    )
    return partial(gru, recurrence=run)


def _on_gpu(
    options: KernelOptions, fused: Callable, plain: Callable, *arguments: Any
) -> Any:
    """Calls the kernel on a GPU, and the plain form elsewhere."""
    if options.interpret:
        return fused(options, *arguments)
    return jax.lax.platform_dependent(
        *arguments, cuda=partial(fused, options), default=plain
    )


def _tiles(batch: int, hidden: int) -> tuple[int, int, int]:
    """Chooses the sizes A, P and U."""
    tile = min(max(pl.next_power_of_2(batch), SMALLEST_TILE), LARGEST_TILE)
    units = max(pl.next_power_of_2(hidden), SMALLEST_TILE)
    return tile, -(-batch // tile) * tile, units


def _padded(x: jax.Array, *sizes: int) -> jax.Array:
    """Fills the last axes up to these sizes with zeros."""
    room = [(0, 0)] * (x.ndim - len(sizes))
    room += [(0, n - m) for n, m in zip(sizes, x.shape[-len(sizes) :], strict=True)]
    return jnp.pad(x, room)


def _call(
    options: KernelOptions,
    body: Callable[..., None],
    kernel: jax.Array,
    inputs: Sequence[tuple[jax.Array, pl.BlockSpec]],
    outputs: Sequence[tuple[tuple[int, ...], pl.BlockSpec]],
    count: int,
) -> Sequence[jax.Array]:
    """Runs a body over the tiles of the batch.

    Args:
      options: of the kernel.
      body: (product, reference to (3, U, U) of W_h, references to inputs and outputs).
      kernel: (H, 3H), W_h.
      inputs: arrays, and which block of each a tile sees.
      outputs: shapes, likewise.
      count: of tiles.
    """
    units = inputs[0][0].shape[-1]
    dtype, precision = PRECISIONS[options.precision]
    weights = jnp.stack(jnp.split(kernel, 3, axis=-1)).astype(dtype)

    def product(rows: jax.Array, matrix: jax.Array) -> jax.Array:
        return jnp.dot(
            rows.astype(dtype),
            matrix,
            precision=precision,
            preferred_element_type=jnp.float32,
        )

    run = pl.pallas_call(
        partial(body, product),
        grid=(count,),
        in_specs=[
            pl.BlockSpec((3, units, units), lambda i: (0, 0, 0)),
            *[spec for _, spec in inputs],
        ],
        out_specs=[spec for _, spec in outputs],
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.float32) for shape, _ in outputs],
        compiler_params=triton.CompilerParams(num_warps=options.num_warps),
        interpret=options.interpret,
    )
    arrays: Sequence[jax.Array] = run(
        _padded(weights, units, units), *[x for x, _ in inputs]
    )
    return arrays


def _fused_forward(
    options: KernelOptions,
    gates: Gates,
    kernel: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array,
) -> tuple[jax.Array, ...]:
    """Is `forward_steps`, in one kernel."""
    (steps, batch), size = mask.shape, len(bias)
    tile, rows, units = _tiles(batch, size)
    sequence = pl.BlockSpec((steps, tile, units), lambda i: (0, i, 0))
    x_r, x_z, x_n = (_padded(x, rows, units) for x in gates)

    def body(product: Callable[..., jax.Array], weights: Any, *refs: Any) -> None:
        x_r, x_z, x_n, mask, initial, bias, *outputs = refs
        w_r, w_z, w_n = weights[0], weights[1], weights[2]
        b_n = bias[...][None, :]

        def step(t: jax.Array, hidden: jax.Array) -> jax.Array:
            reset = jax.nn.sigmoid(x_r[t] + product(hidden, w_r))
            update = jax.nn.sigmoid(x_z[t] + product(hidden, w_z))
            recurrent = product(hidden, w_n) + b_n
            candidate = jnp.tanh(x_n[t] + reset * recurrent)
            held = mask[t][:, None] <= 0
            following = candidate + update * (hidden - candidate)
            hidden = jnp.where(held, hidden, following)
            update = jnp.where(held, 1.0, update)
            cell = (hidden, reset, update, candidate, recurrent)
            for output, value in zip(outputs, cell, strict=True):
                output[t] = value
            return hidden

        jax.lax.fori_loop(0, steps, step, initial[...])

    cells = _call(
        options,
        body,
        kernel,
        [
            *((x, sequence) for x in (x_r, x_z, x_n)),
            (_padded(mask, rows), pl.BlockSpec((steps, tile), lambda i: (0, i))),
            (
                _padded(initial, rows, units),
                pl.BlockSpec((tile, units), lambda i: (i, 0)),
            ),
            (_padded(bias, units), pl.BlockSpec((units,), lambda i: (0,))),
        ],
        [((steps, rows, units), sequence)] * 5,
        rows // tile,
    )
    return tuple(x[:, :batch, :size] for x in cells)


def _fused_backward(
    options: KernelOptions, kernel: jax.Array, *sequences: jax.Array
) -> tuple[jax.Array, ...]:
    """Is `backward_steps`, in one kernel."""
    steps, batch, size = sequences[0].shape
    tile, rows, units = _tiles(batch, size)
    sequence = pl.BlockSpec((steps, tile, units), lambda i: (0, i, 0))

    def body(product: Callable[..., jax.Array], weights: Any, *refs: Any) -> None:
        cotangents, before, *cells = refs[:6]
        *outputs, first = refs[6:]
        w_r, w_z, w_n = weights[0].T, weights[1].T, weights[2].T

        def step(i: jax.Array, later: jax.Array) -> jax.Array:
            t = steps - 1 - i
            r, z, n, q = (cell[t] for cell in cells)
            total = later + cotangents[t]
            into_n = total * (1 - z) * (1 - n * n)
            into_z = total * (before[t] - n) * z * (1 - z)
            into_r = into_n * q * r * (1 - r)
            into_q = into_n * r
            into = (into_r, into_z, into_n, into_q)
            for output, value in zip(outputs, into, strict=True):
                output[t] = value
            products = product(into_r, w_r) + product(into_z, w_z)
            return total * z + products + product(into_q, w_n)

        zero = jnp.zeros((tile, units), jnp.float32)
        first[...] = jax.lax.fori_loop(0, steps, step, zero)

    *into, first = _call(
        options,
        body,
        kernel,
        [(_padded(x, rows, units), sequence) for x in sequences],
        [
            *[((steps, rows, units), sequence)] * 4,
            ((rows, units), pl.BlockSpec((tile, units), lambda i: (i, 0))),
        ],
        rows // tile,
    )
    return (*(x[:, :batch, :size] for x in into), first[:batch, :size])
