"""Recurrent networks of one or several inputs and tasks: Fig. 1(a), (c) and (d).

Axes: B batch, T time, F features of an input, H hidden units, S layers in series, I
inputs, O outputs of a head.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ifusion.models.architecture import Architecture
from ifusion.models.gru import GRUStack, zero_states
from ifusion.models.network import (
    POOLING,
    Hidden,
    Inputs,
    Network,
    Outputs,
    branch_name,
)
from ifusion.models.parts import in_parts
from ifusion.models.pooling import TimePooling, zero_sums


class MultiHead(nn.Module):
    """A branch for each input, their concatenation, shared layers, one head per task.

    With one input and one head it is what implicit fusion evaluates, and has the same
    initial parameters under the same names.

    Attributes:
      inputs: I names.
      heads: (name, O) of each task.
      architecture: sizes; a branch has `branch_layers`, the rest `shared_layers`.
    """

    inputs: tuple[str, ...]
    heads: tuple[tuple[str, int], ...]
    architecture: Architecture

    @nn.compact
    def __call__(
        self,
        inputs: Inputs,
        mask: jax.Array,
        heads: tuple[str, ...],
        state: Hidden | None = None,
    ) -> tuple[Outputs, Hidden]:
        """Maps {input: (B, T, F)} to {head: (B, T, O)} of some heads, and the state.

        The concatenation [r_A; r_V] is (B, T, I * H). Pooled over time, the outputs
        have one step.
        """
        sizes = self.architecture
        stack = partial(
            GRUStack, hidden_size=sizes.hidden_size, recurrent=sizes.recurrent
        )
        passed = {
            name: stack(sizes.branch_layers, name=branch_name(name))(
                inputs[name], mask, state.branch[name] if state else None
            )
            for name in self.inputs
        }
        joined = jnp.concatenate([passed[name][0] for name in self.inputs], axis=-1)
        hidden, shared = stack(sizes.shared_layers, name="shared")(
            joined, mask, state.shared if state else None
        )
        sums = None
        if sizes.pooling:
            hidden, sums = TimePooling(sizes.pooling, name=POOLING)(
                hidden, mask, state.pooled if state else None
            )
        outputs = {
            name: nn.Dense(size, name=name)(hidden)
            for name, size in self.heads
            if name in heads
        }
        states = {name: last for name, (_, last) in passed.items()}
        return outputs, Hidden(states, shared, sums)


def make_multi_head(
    num_inputs: Mapping[str, int],
    heads: Mapping[str, int],
    architecture: Architecture,
) -> Network:
    """Builds the network.

    Args:
      num_inputs: {input: F}.
      heads: {task: O}.
      architecture: sizes.
    """
    model = MultiHead(tuple(num_inputs), tuple(heads.items()), architecture)

    def init(key: jax.Array) -> Any:
        blank = {name: jnp.zeros((1, 1, size)) for name, size in num_inputs.items()}
        return model.init(key, blank, jnp.ones((1, 1)), tuple(heads))["params"]

    def apply(
        params: Any, inputs: Inputs, mask: jax.Array, steps: int | None
    ) -> Outputs:
        wanted = tuple(name for name in heads if name in params)

        def part(
            state: Hidden | None, inputs: tuple[Inputs, jax.Array]
        ) -> tuple[Hidden, Outputs]:
            applied: Any = model.apply({"params": params}, *inputs, wanted, state)
            return applied[1], applied[0]

        taken = {name: inputs[name] for name in num_inputs}
        if steps is None or mask.shape[1] <= steps:
            return part(None, (taken, mask))[1]
        branch, shared = zero_states(architecture, len(mask))
        sums = zero_sums(architecture, len(mask))
        begin = Hidden(dict.fromkeys(model.inputs, branch), shared, sums)
        pooled = bool(architecture.pooling)
        outputs: Outputs = in_parts(part, begin, (taken, mask), steps, pooled)
        return outputs

    return Network(init, apply)
