"""Pools the steps of a recording to one vector, if a recording has one label.

Not in the paper. The sums of a pooling are carried from part to part of a recording, so
that the output of a part is that of all steps so far.

Axes: B batch, T time, H hidden units.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ifusion.models.architecture import Architecture

LOWEST = -1e30  # a score below any other, whose differences are finite


class Sums(NamedTuple):
    """Sums over the steps of a recording so far.

    Attributes:
      values: (B, H), of weighted hidden states.
      weights: (B,).
      peak: (B,), highest score, which all weights are relative to.
    """

    values: Any
    weights: Any
    peak: Any


def zero_sums(sizes: Architecture, batch_size: int) -> Sums | None:
    """Makes the sums before the first step; None where nothing is summed."""
    if sizes.pooling in ("", "last"):
        return None
    zeros = jnp.zeros((batch_size,))
    return Sums(jnp.zeros((batch_size, sizes.hidden_size)), zeros, zeros + LOWEST)


class TimePooling(nn.Module):
    """Pools the steps that exist.

    Attributes:
      kind: "last", the last state; "mean"; or "attention", the mean weighted by the
        softmax over time of h . q / sqrt(H), with one learnt query q. It starts at
        zero, which gives the mean.
    """

    kind: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, before: Sums | None = None
    ) -> tuple[jax.Array, Sums | None]:
        """Maps (B, T, H), its (B, T) mask and the sums before to (B, 1, H) and sums."""
        if self.kind == "last":
            return hidden[:, -1:], None  # the state is held where no step exists
        size = hidden.shape[-1]
        if self.kind == "mean":
            scores = jnp.zeros_like(mask)
        else:
            query = self.param("query", nn.initializers.zeros_init(), (size,))
            scores = hidden @ query / jnp.sqrt(size)
        scores = jnp.where(mask > 0, scores, LOWEST)
        peak = jax.lax.stop_gradient(jnp.max(scores, axis=1))
        if before is not None:
            peak = jnp.maximum(peak, before.peak)
        weights = jnp.exp(scores - peak[:, None]) * mask
        values = jnp.einsum("bt,bth->bh", weights, hidden)
        total = jnp.sum(weights, axis=1)
        if before is not None:
            decay = jnp.exp(before.peak - peak)
            values = values + decay[:, None] * before.values
            total = total + decay * before.weights
        pooled = values / jnp.where(total > 0, total, 1)[:, None]
        return pooled[:, None], Sums(values, total, peak)
