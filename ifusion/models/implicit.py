"""Implicit fusion, Fig. 1(e): a branch for each modality, one head for them all.

Axes: B batch, T time, F features of a modality, H hidden units, S layers in series,
M modalities, O outputs (emotion classes or regressed dimensions).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ifusion.models.architecture import Architecture
from ifusion.models.gru import GRUStack
from ifusion.models.parts import in_parts

Features = Mapping[str, Any]


class Hidden(NamedTuple):
    """What a recording's past leaves in the layers that one modality passes.

    Attributes:
      branch: (S, B, H), hidden states of the layers of SP_m after the last step.
      shared: (S, B, H), those of SH, which holds one for each modality.
    """

    branch: Any
    shared: Any


State = Mapping[str, Hidden]


class ImplicitFusion(nn.Module):
    """SP_m for each modality m, and the one SH (Eqs. 1 and 2).

    Attributes:
      modalities: names of the branches, for example ("audio", "video").
      num_outputs: O.
      architecture: sizes.
    """

    modalities: tuple[str, ...]
    num_outputs: int
    architecture: Architecture

    def setup(self) -> None:
        """Declares `branch_<modality>`, `shared` and `output`."""
        sizes = self.architecture
        layer = (sizes.hidden_size, sizes.recurrent)
        self.branch = {
            m: GRUStack(sizes.branch_layers, *layer) for m in self.modalities
        }
        self.shared = GRUStack(sizes.shared_layers, *layer)
        self.output = nn.Dense(self.num_outputs)

    def represent(
        self, features: Features, mask: jax.Array, state: State | None = None
    ) -> tuple[Any, Any]:
        """r_m = SP_m(f_m), Eq. 1: ({m: (B, T, H)}, {m: (S, B, H)})."""
        given = [m for m in self.modalities if m in features]
        passed = {
            m: self.branch[m](
                features[m], mask, state[m].branch if state else None
            )
            for m in given
        }
        return {m: passed[m][0] for m in given}, {m: passed[m][1] for m in given}

    def decide(
        self, representations: Features, mask: jax.Array, state: State | None = None
    ) -> tuple[Any, Any]:
        """p_m = SH(r_m), Eq. 2: ({m: (B, T, O)}, {m: (S, B, H)}).

        The modalities pass stacked along the batch, each on its own: one product
        instead of M.
        """
        count = len(representations)
        stacked = jnp.concatenate(list(representations.values()))
        initial = None
        if state:
            before = [state[m].shared for m in representations]
            initial = jnp.concatenate(before, axis=1)
        hidden, last = self.shared(stacked, jnp.tile(mask, (count, 1)), initial)
        outputs = jnp.split(self.output(hidden), count)
        after = jnp.split(last, count, axis=1)
        return (
            dict(zip(representations, outputs, strict=True)),
            dict(zip(representations, after, strict=True)),
        )

    def __call__(
        self, features: Features, mask: jax.Array, state: State | None = None
    ) -> tuple[Any, Any]:
        """p_m = SH(SP_m(f_m)): ({m: (B, T, O)}, {m: Hidden})."""
        representations, branch = self.represent(features, mask, state)
        outputs, shared = self.decide(representations, mask, state)
        return outputs, {m: Hidden(branch[m], shared[m]) for m in outputs}


def branch_name(modality: str) -> str:
    """Names the parameters of SP_m in the parameter dict; the rest is SH."""
    return f"branch_{modality}"


def init_params(
    model: ImplicitFusion, key: jax.Array, num_features: Mapping[str, int]
) -> Any:
    """Draws the parameters, a nested dict of float32 arrays.

    Args:
      model: architecture, static.
      key: PRNG key.
      num_features: {m: F_m}.
    """
    features = {m: jnp.zeros((1, 1, size)) for m, size in num_features.items()}
    return model.init(key, features, jnp.ones((1, 1)))["params"]


def represent(
    model: ImplicitFusion, params: Any, features: Features, mask: jax.Array
) -> Any:
    """Maps each given modality into the shared space, r_m = SP_m(f_m) (Eq. 1).

    Args:
      model: architecture, static.
      params: of `init_params`; branches of modalities that are not given may be absent.
      features: {m: (B, T, F_m)}.
      mask: (B, T), 1 where a step exists.

    Returns:
      {m: (B, T, H)}.
    """
    return represent_carrying(model, params, features, mask, None)[0]


def represent_carrying(
    model: ImplicitFusion,
    params: Any,
    features: Features,
    mask: jax.Array,
    state: State | None,
) -> tuple[Any, Any]:
    """Represents the next part of recordings whose past is in `state`, None for none.

    Arguments as in `predict_carrying`.

    Returns:
      ({m: (B, T, H)}, {m: (S, B, H)}), representations and the states of SP_m after the
      last step.
    """
    carried: tuple[Any, Any] = model.apply(
        {"params": params}, features, mask, state, method="represent"
    )
    return carried


def decide(
    model: ImplicitFusion, params: Any, representations: Features, mask: jax.Array
) -> Any:
    """Applies the shared head to each given modality, p_m = SH(r_m) (Eq. 2).

    Args:
      model: architecture, static.
      params: of `init_params`; only `shared` and `output` are needed.
      representations: {m: (B, T, H)}.
      mask: (B, T), 1 where a step exists.

    Returns:
      {m: (B, T, O)}, logits or regressed values.
    """
    return decide_carrying(model, params, representations, mask, None)[0]


def decide_carrying(
    model: ImplicitFusion,
    params: Any,
    representations: Features,
    mask: jax.Array,
    state: State | None,
) -> tuple[Any, Any]:
    """Decides on the next part of recordings whose past is in `state`, None for none.

    Arguments as in `predict_carrying`, with representations for features.

    Returns:
      ({m: (B, T, O)}, {m: (S, B, H)}), outputs and the states of SH after the last
      step.
    """
    carried: tuple[Any, Any] = model.apply(
        {"params": params}, representations, mask, state, method="decide"
    )
    return carried


def predict(
    model: ImplicitFusion, params: Any, features: Features, mask: jax.Array
) -> Any:
    """Predicts p_m = SH(SP_m(f_m)) from each given modality on its own.

    Args:
      model: architecture, static.
      params: of `init_params`; branches of modalities that are not given may be absent.
      features: {m: (B, T, F_m)}; training gives every modality, evaluation one.
      mask: (B, T), 1 where a step exists.

    Returns:
      {m: (B, T, O)}, logits or regressed values.
    """
    return model.apply({"params": params}, features, mask)[0]


def zero_state(
    model: ImplicitFusion, modalities: Sequence[str], batch_size: int
) -> dict[str, Hidden]:
    """Makes the state in which a recording begins.

    Args:
      model: architecture, static.
      modalities: those that will be predicted from.
      batch_size: B, recordings side by side.

    Returns:
      {m: Hidden} of zeros, float32.
    """
    sizes = model.architecture
    branch, shared = (
        jnp.zeros((layers, batch_size, sizes.hidden_size))
        for layers in (sizes.branch_layers, sizes.shared_layers)
    )
    return {m: Hidden(branch, shared) for m in modalities}


def predict_carrying(
    model: ImplicitFusion,
    params: Any,
    features: Features,
    mask: jax.Array,
    state: State,
) -> tuple[Any, dict[str, Hidden]]:
    """Predicts the next part of recordings whose past is in `state`.

    Parts in a row give what `predict` gives for the whole, in bounded memory. The
    gradient reaches back into `state`: training on parts stops it there
    (`jax.lax.stop_gradient`) or lets it through.

    Args:
      model: architecture, static; with recurrent layers.
      params: of `init_params`; branches of modalities that are not given may be absent.
      features: {m: (B, T, F_m)}.
      mask: (B, T), 1 where a step exists; states are held where it is 0.
      state: of `zero_state`, or of the part before.

    Returns:
      ({m: (B, T, O)}, {m: Hidden}), outputs and the state after the last step.

    Raises:
      ValueError: the model is one for single steps.
    """
    carried: tuple[Any, Any] = model.apply({"params": params}, features, mask, state)
    return carried


def predict_in_parts(
    model: ImplicitFusion,
    params: Any,
    features: Features,
    mask: jax.Array,
    steps: int,
) -> Any:
    """Predicts what `predict` does, holding the layers of a part of the time only.

    Args:
      model: architecture, static; with recurrent layers if there are several parts.
      params: of `init_params`; branches of modalities that are not given may be absent.
      features: {m: (B, T, F_m)}.
      mask: (B, T), 1 where a step exists.
      steps: of a part; T must be a multiple of it unless it is smaller.

    Returns:
      {m: (B, T, O)}, logits or regressed values.

    Raises:
      ValueError: T is no multiple of steps.
    """
    if mask.shape[1] <= steps:
        return predict(model, params, features, mask)

    def part(
        state: State, inputs: tuple[Features, jax.Array]
    ) -> tuple[dict[str, Hidden], Any]:
        outputs, following = predict_carrying(model, params, *inputs, state)
        return following, outputs

    begin = zero_state(model, tuple(features), mask.shape[0])
    return in_parts(part, begin, (dict(features), mask), steps)
