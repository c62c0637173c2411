"""Runs long sequences part by part, holding the layers of only one part.

Axes: B batch, T time; ... any further axes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

EVALUATION_STEPS = 512  # of a part, when whole recordings are evaluated


def in_parts(
    step: Callable[[Any, Any], tuple[Any, Any]],
    begin: Any,
    inputs: Any,
    steps: int,
    pooled: bool = False,
) -> Any:
    """Scans over the parts of sequences, carrying the state.

    Args:
      step: (state, inputs of a part) -> (state after it, its outputs (B, t, ...)).
      begin: state before the first part.
      inputs: tree of (B, T, ...).
      steps: t of a part.
      pooled: whether the outputs of a part are one answer for all steps so far.

    Returns:
      Tree of (B, T, ...); of pooled outputs those of the last part.

    Raises:
      ValueError: T is not a multiple of steps.
    """
    batch_size, length = jax.tree.leaves(inputs)[0].shape[:2]
    if length % steps:
        raise ValueError(f"{length} steps are not a multiple of parts of {steps}")

    def part(state: Any, start: jax.Array) -> tuple[Any, Any]:
        def cut(x: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice_in_dim(x, start, steps, axis=1)

        return step(state, jax.tree.map(cut, inputs))

    _, parts = jax.lax.scan(part, begin, jnp.arange(0, length, steps))
    if pooled:
        return jax.tree.map(lambda p: p[-1], parts)
    return jax.tree.map(
        lambda p: jnp.moveaxis(p, 0, 1).reshape(batch_size, length, -1), parts
    )
