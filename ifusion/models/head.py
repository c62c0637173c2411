"""The shared head SH, Eq. 2: what predicts the emotion from any modality.

Axes: M modalities, B batch, T time, H hidden units, S layers in series, O outputs.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ifusion.models.architecture import Architecture
from ifusion.models.gru import GRUStack
from ifusion.models.pooling import TimePooling
from ifusion.preprocessing.sequences import steps_of


class SharedHead(nn.Module):
    """GRU layers and a linear output, the same for each modality.

    Not in the paper: where a recording has one label, the shared layers are pooled over
    its steps, and O has one step. Modalities then have steps of their own: T_m and a
    mask for each, {m: (B, T_m)}.

    Attributes:
      num_outputs: O.
      architecture: sizes.
    """

    num_outputs: int
    architecture: Architecture

    def setup(self) -> None:
        """Declares `shared`, `pooling` and `output`."""
        sizes = self.architecture
        self.shared = GRUStack(
            sizes.shared_layers,
            hidden_size=sizes.hidden_size,
            recurrent=sizes.recurrent,
        )
        self.pooling = TimePooling(sizes.pooling) if sizes.pooling else None
        self.output = nn.Dense(self.num_outputs)

    def __call__(
        self, representations: Mapping[str, Any], mask: Any, state: Any = None
    ) -> tuple[Any, Any]:
        """p_m = SH(r_m), Eq. 2: ({m: (B, T, O)}, {m: (states (S, B, H), sums)}).

        Modalities of equally many steps are stacked along the batch: one product
        instead of M.
        """
        alike: dict[int, list[str]] = {}
        for m, r in representations.items():
            alike.setdefault(r.shape[1], []).append(m)
        outputs: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for names in alike.values():
            taken = {m: representations[m] for m in names}
            own = {m: state[m] for m in names} if state else None
            decided, left = self._decide_stacked(taken, mask, own)
            outputs |= decided
            after |= left
        return outputs, after

    def _decide_stacked(
        self, representations: Mapping[str, Any], mask: Any, state: Any
    ) -> tuple[Any, Any]:
        """Decides on modalities of equally many steps."""
        names, num = list(representations), len(representations)
        stacked = jnp.concatenate(list(representations.values()))
        exists = jnp.concatenate([steps_of(mask, m) for m in names])
        before = jnp.concatenate([state[m].shared for m in names], 1) if state else None
        hidden, last = self.shared(stacked, exists, before)
        sums: dict[str, Any] = dict.fromkeys(names)
        if self.pooling:
            pooled = []
            for m, steps in zip(names, jnp.split(hidden, num), strict=True):
                so_far = state[m].pooled if state else None
                vector, sums[m] = self.pooling(steps, steps_of(mask, m), so_far)
                pooled.append(vector)
            hidden = jnp.concatenate(pooled)
        outputs = jnp.split(self.output(hidden), num)
        states = jnp.split(last, num, axis=1)
        after = {m: (x, sums[m]) for m, x in zip(names, states, strict=True)}
        return dict(zip(names, outputs, strict=True)), after
