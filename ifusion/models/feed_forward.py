"""Networks without recurrence: dense layers, and convolutions over time.

Axes: B batch, T time, F features, H hidden units, O outputs.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ifusion.models.network import OUTPUT, Inputs, Network, Outputs


class FeedForward(nn.Module):
    """Dense layers with ReLU, and a linear output.

    Attributes:
      num_layers: hidden layers.
      hidden_size: H.
      num_outputs: O.
    """

    num_layers: int
    hidden_size: int
    num_outputs: int

    @nn.compact
    def __call__(self, features: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps (B, T, F) to (B, T, O), each step on its own."""
        for i in range(self.num_layers):
            features = nn.relu(nn.Dense(self.hidden_size, name=f"hidden_{i}")(features))
        return nn.Dense(self.num_outputs, name=OUTPUT)(features)


class _Filters(nn.Module):
    """One convolution over time, zeros beyond both ends.

    The same as `flax.linen.Conv`, as a sum of matrix products: a CPU runs XLA's own
    convolutions some twenty times slower where they are inside a loop.

    Attributes:
      num_filters: H.
      width: steps that a filter spans, odd.
    """

    num_filters: int
    width: int

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Maps (B, T, F) to (B, T, H)."""
        steps, around = features.shape[1], self.width // 2
        shape = (self.width, features.shape[-1], self.num_filters)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[-1:])
        padded = jnp.pad(features, ((0, 0), (around, around), (0, 0)))
        products = [padded[:, i : i + steps] @ kernel[i] for i in range(self.width)]
        return sum(products, bias)


class Convolution(nn.Module):
    """Convolutions over time with ReLU, and a linear output.

    Attributes:
      num_layers: convolutions in series.
      hidden_size: H, filters of each.
      width: steps that a filter spans, odd: it looks as far ahead as back.
      num_outputs: O.
    """

    num_layers: int
    hidden_size: int
    width: int
    num_outputs: int

    @nn.compact
    def __call__(self, features: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps (B, T, F) and its (B, T) mask to (B, T, O).

        Every layer reads zeros at steps that do not exist, as beyond the ends.
        """
        for i in range(self.num_layers):
            layer = _Filters(self.hidden_size, self.width, name=f"hidden_{i}")
            features = nn.relu(layer(features * mask[..., None]))
        return nn.Dense(self.num_outputs, name=OUTPUT)(features)


def make_plain(model: nn.Module, name: str, num_features: int) -> Network:
    """Builds the network of a module above.

    Args:
      model: `FeedForward` or `Convolution`.
      name: of its input.
      num_features: F.
    """

    def init(key: jax.Array) -> Any:
        blank = jnp.zeros((1, 1, num_features))
        return model.init(key, blank, jnp.ones((1, 1)))["params"]

    def apply(
        params: Any, inputs: Inputs, mask: jax.Array, steps: int | None
    ) -> Outputs:
        return {OUTPUT: model.apply({"params": params}, inputs[name], mask)}

    return Network(init, apply)
