"""The gated recurrent unit: a pure function over a sequence, and its Flax module.

The cell is the reset-after form of PyTorch, cuDNN and `flax.linen.GRUCell`:

    r = sigmoid(x_r + h_r),  z = sigmoid(x_z + h_z)
    q = h_n + b_n,  n = tanh(x_n + r * q),  h' = n + z * (h - n)

with `x = features @ W_i + b_i` and `h = hidden @ W_h`; the weights hold the three gates
side by side in the order r, z, n (Cho et al., 2014; the paper names only "GRU").

The network runs `gru`, whose gradient is written out; `gru_reference` computes the same
in the plainest way and leaves the gradient to autodiff. Sequences are time first here,
so that a step is one block of memory; `GRULayer` swaps the axes on its way in and out,
or calls `native_gru`.

Axes: B batch, T time, F features, H hidden units, S layers in series.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ifusion.models.architecture import Architecture
from ifusion.models.native_gru import chosen_instructions, gru_layer

# x_r, x_z and x_n; XLA does not vectorise a step that cuts them out of one array.
Gates = Sequence[jax.Array]


def gru_reference(
    gates: Gates,
    kernel: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array,
) -> jax.Array:
    """Computes what `gru` does, step by step, from the same arguments."""

    def step(
        hidden: jax.Array, inputs: tuple[jax.Array, ...]
    ) -> tuple[jax.Array, jax.Array]:
        x_r, x_z, x_n, mask = inputs
        h_r, h_z, h_n = jnp.split(hidden @ kernel, 3, axis=-1)
        reset = jax.nn.sigmoid(x_r + h_r)
        update = jax.nn.sigmoid(x_z + h_z)
        candidate = jnp.tanh(x_n + reset * (h_n + bias))
        following = candidate + update * (hidden - candidate)
        hidden = jnp.where(mask[:, None] > 0, following, hidden)
        return hidden, hidden

    return jax.lax.scan(step, initial, (*gates, mask))[1]


def _cell(
    hidden: jax.Array, inputs: Any, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, ...]:
    """One step from x of three gates (B, H) and held (B, 1): h', r, z, n, q, (B, H).

    Where a step does not exist (held), z = 1: the state is held, and the backward pass
    needs no mask.
    """
    x_r, x_z, x_n, held = inputs
    h_r, h_z, h_n = jnp.split(hidden @ kernel, 3, axis=-1)
    reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    product = h_n + bias
    candidate = jnp.tanh(x_n + reset * product)
    following = candidate + update * (hidden - candidate)
    hidden = jnp.where(held, hidden, following)
    return hidden, reset, jnp.where(held, 1, update), candidate, product


def _forward(
    gates: Gates,
    kernel: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array,
) -> tuple[jax.Array, ...]:
    """Runs the steps forwards; arguments are those of `gru`.

    Returns:
      h', r, z, n and q of each step, (T, B, H) each; z is 1 where no step exists.
    """

    def step(hidden: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
        cell = _cell(hidden, inputs, kernel, bias)
        return cell[0], cell

    inputs = (*gates, mask[..., None] <= 0)
    cells: tuple[jax.Array, ...] = jax.lax.scan(step, initial, inputs)[1]
    return cells


def _backward(
    kernel: jax.Array,
    cotangents: jax.Array,
    before: jax.Array,
    reset: jax.Array,
    update: jax.Array,
    candidate: jax.Array,
    product: jax.Array,
) -> tuple[jax.Array, ...]:
    """Runs the steps backwards, with one product in each.

    Args:
      kernel: (H, 3H), W_h.
      cotangents: (T, B, H), of the outputs.
      before: (T, B, H), h of each step.
      reset: (T, B, H), r.
      update: (T, B, H), z.
      candidate: (T, B, H), n.
      product: (T, B, H), q.

    Returns:
      Cotangents of the inputs of r, z, n and of q, (T, B, H) each, and of the initial
      state (B, H).
    """

    def step(later: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
        cotangent, hidden, r, z, n, q = inputs
        total = later + cotangent
        into_n = total * (1 - z) * (1 - n * n)
        into_z = total * (hidden - n) * z * (1 - z)
        into_r = into_n * q * r * (1 - r)
        into_q = into_n * r
        into_products = jnp.concatenate([into_r, into_z, into_q], axis=-1)
        earlier = total * z + into_products @ kernel.T
        return earlier, (into_r, into_z, into_n, into_q)

    inputs = (cotangents, before, reset, update, candidate, product)
    first, into = jax.lax.scan(step, jnp.zeros_like(before[0]), inputs, reverse=True)
    return (*into, first)


@jax.custom_vjp
def _recurrence(
    gates: Gates,
    kernel: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array,
) -> jax.Array:
    """Runs `gru` with a kernel and an initial state."""
    return _forward(gates, kernel, bias, mask, initial)[0]


def _recurrence_forward(
    gates: Gates,
    kernel: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array,
) -> tuple[jax.Array, Any]:
    hidden, *cells = _forward(gates, kernel, bias, mask, initial)
    return hidden, (kernel, initial, hidden, cells)


def _recurrence_backward(saved: Any, cotangents: jax.Array) -> tuple[Any, ...]:
    """The gradient of the weights is one product per gate, over all steps."""
    kernel, initial, hidden, cells = saved
    before = jnp.concatenate([initial[None], hidden[:-1]])
    into_r, into_z, into_n, into_q, first = _backward(
        kernel, cotangents, before, *cells
    )
    rows = before.reshape(-1, before.shape[-1])
    into_kernel = [rows.T @ x.reshape(rows.shape) for x in (into_r, into_z, into_q)]
    return (
        [into_r, into_z, into_n],
        jnp.concatenate(into_kernel, axis=-1),
        jnp.sum(into_q, axis=(0, 1)),
        None,  # of the mask
        first,
    )


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def gru(
    gates: Gates,
    kernel: jax.Array | None,
    bias: jax.Array,
    mask: jax.Array,
    initial: jax.Array | None = None,
) -> jax.Array:
    """Runs the recurrence over the input products of a whole sequence.

    Sequences of one step (T = 1, an utterance) that start at zero need no recurrent
    weights at all.

    Args:
      gates: x_r, x_z and x_n, (T, B, H) each: features @ W_i + b_i.
      kernel: (H, 3H), recurrent weights W_h of the gates r, z, n; None if T = 1.
      bias: (H,), b_n, the recurrent bias of the candidate.
      mask: (T, B), 1 where a step exists; the state is held where it is 0.
      initial: (B, H), the hidden state before the first step; zero by default.

    Returns:
      (T, B, H), the hidden state after each step.

    Raises:
      ValueError: no kernel, but several steps or an initial state.
    """
    require_memory(kernel, gates[0].shape[0], initial)
    if kernel is None:
        return _single_step(gates, bias, mask)
    if initial is None:
        initial = jnp.zeros_like(gates[0][0])
    hidden: jax.Array = _recurrence([*gates], kernel, bias, mask, initial)
    return hidden


def require_memory(kernel: Any, steps: int, initial: Any) -> None:
    """Refuses several steps, or an initial state, without a kernel.

    Raises:
      ValueError: if there are any.
    """
    if kernel is None and (steps > 1 or initial is not None):
        raise ValueError(
            f"a model for single steps has no memory, but it got sequences of {steps} "
            "steps" + (" and an initial state" if initial is not None else "")
        )


def _single_step(gates: Gates, bias: jax.Array, mask: jax.Array) -> jax.Array:
    """The first step from a zero state, in which W_h plays no part."""
    x_r, x_z, x_n = gates
    candidate = jnp.tanh(x_n + jax.nn.sigmoid(x_r) * bias)
    hidden = candidate - jax.nn.sigmoid(x_z) * candidate
    return jnp.where(mask[..., None] > 0, hidden, 0)


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draws one orthogonal (H, H) matrix per gate, side by side: (H, 3H)."""
    draw, square = nn.initializers.orthogonal(), (shape[0], shape[0])
    return jnp.concatenate([draw(k, square) for k in jax.random.split(key, 3)], axis=1)


def _lecun_rows(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Draws (G, F) of variance 1 / F."""
    return nn.initializers.lecun_normal()(key, shape[::-1]).T


def input_products(features: jax.Array, weight: jax.Array, bias: jax.Array) -> Gates:
    """Computes x of all steps at once: (T, B, F) -> three (T, B, H)."""
    rows = features.reshape(-1, features.shape[-1])
    # Splits products or weights, whichever are smaller, since a split is a copy.
    if len(rows) < rows.shape[-1]:
        gates = jnp.split(rows @ weight.T + bias, 3, axis=-1)
    else:
        parts = zip(jnp.split(weight, 3), jnp.split(bias, 3), strict=True)
        gates = [rows @ w.T + b for w, b in parts]
    return tuple(x.reshape(*features.shape[:-1], -1) for x in gates)


class InputWeights(nn.Module):
    """W_i and b_i of the gates r, z and n.

    The weights are (3H, F), as PyTorch has them: where F is large, a CPU is a fifth
    faster with them and with their gradient than with (F, 3H).

    Attributes:
      hidden_size: H.
    """

    hidden_size: int

    @nn.compact
    def __call__(self, num_features: int) -> tuple[jax.Array, jax.Array]:
        """Returns (3H, F) and (3H,)."""
        size = 3 * self.hidden_size
        weight = self.param("weight", _lecun_rows, (size, num_features))
        return weight, self.param("bias", nn.initializers.zeros_init(), (size,))


class GRULayer(nn.Module):
    """One unidirectional GRU layer: (B, T, F) -> (B, T, H).

    Not in the paper: initial weights are those of `flax.linen.GRUCell`: LeCun normal
    for the inputs, orthogonal for each recurrent gate, and zero for biases.

    Attributes:
      hidden_size: H.
      recurrent: whether there are sequences of more than one step. Without any, W_h
        would only multiply zeros, so it is not declared; for T = 1 that saves more than
        half of the parameters.
    """

    hidden_size: int
    recurrent: bool = True

    @nn.compact
    def __call__(
        self, features: jax.Array, mask: jax.Array, initial: jax.Array | None = None
    ) -> jax.Array:
        """Maps (B, T, F), its (B, T) mask and a state (B, H) or None to (B, T, H)."""
        weight, input_bias = InputWeights(self.hidden_size, name="input")(
            features.shape[-1]
        )
        shape = (self.hidden_size, 3 * self.hidden_size)
        kernel = (
            self.param("kernel", _orthogonal_gates, shape) if self.recurrent else None
        )
        bias = self.param("bias", nn.initializers.zeros_init(), (self.hidden_size,))
        require_memory(kernel, features.shape[1], initial)
        instructions = chosen_instructions(features.dtype)
        if instructions != "off" and features.size:
            return gru_layer(
                instructions,
                features,
                weight,
                input_bias=input_bias,
                kernel=kernel,
                bias=bias,
                mask=mask,
                initial=initial,
            )
        gates = input_products(jnp.swapaxes(features, 0, 1), weight, input_bias)
        hidden = gru(gates, kernel, bias, jnp.swapaxes(mask, 0, 1), initial)
        return jnp.swapaxes(hidden, 0, 1)


def zero_states(sizes: Architecture, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """Makes the states of branch and shared layers before the first step, (S, B, H)."""
    branch, shared = (
        jnp.zeros((layers, batch_size, sizes.hidden_size))
        for layers in (sizes.branch_layers, sizes.shared_layers)
    )
    return branch, shared


class GRUStack(nn.Module):
    """GRU layers in series, with the state that they end in.

    Attributes:
      num_layers: S, layers in series, at least one.
      hidden_size: H of every layer.
      recurrent: whether there are sequences of more than one step.
    """

    num_layers: int
    hidden_size: int
    recurrent: bool = True

    def setup(self) -> None:
        """Declares `gru_<i>`."""
        self.gru = [
            GRULayer(self.hidden_size, self.recurrent) for _ in range(self.num_layers)
        ]

    def __call__(
        self, features: jax.Array, mask: jax.Array, initial: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the layers from the states `initial` (S, B, H), zeros by default.

        Returns:
          (B, T, H), and the states (S, B, H) after the last step.
        """
        hidden, last = features, []
        for i, layer in enumerate(self.gru):
            hidden = layer(hidden, mask, None if initial is None else initial[i])
            last.append(hidden[:, -1])
        return hidden, jnp.stack(last)
