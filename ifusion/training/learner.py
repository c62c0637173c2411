"""What a lane trains: pure functions of its parameters. Implicit fusion is one.

Whatever is trained as lanes, an explicit fusion or an autoencoder as well, is a
`Learner`; the step, the epoch and the sweep know nothing else of it.

Axes: B batch, N sequences, T time, M modalities, O outputs.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ifusion.losses import joint_loss
from ifusion.models.implicit import (
    Hidden,
    ImplicitFusion,
    branch_name,
    decide_carrying,
    init_params,
    predict_in_parts,
    represent_carrying,
    zero_state,
)
from ifusion.preprocessing.sequences import Batch
from ifusion.training.lanes import LaneArrays
from ifusion.training.memory import EVALUATION_STEPS

TaskLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
Losses = dict[str, jax.Array]


class Learner(NamedTuple):
    """What is trained in a lane.

    Batches are those of a lane: labels (B, T) of its target and labelled (B, T), see
    `ifusion.training.step.take_target`.

    Attributes:
      init: (key, given) -> params, a nested dict; given are arrays that a lane is
        handed beside its key, such as the parameters of a stage before, or None.
      loss: (params, batch, lane, epoch, hidden) -> (J (), ({name: ()}, hidden)): what
        is minimised, without the penalty on weights; its parts, to be told of; and the
        hidden state after the batch. Epochs count from 1.
      output: (params, batch, lane) -> (N, T, O), predictions of whole sequences.
      trains: lane -> {part of params: () bool}, parts that not every lane trains.
      begin: B -> hidden state before a recording's first window, for learners whose
        state can be carried from window to window; None for others.
    """

    init: Callable[[jax.Array, Any], Any]
    loss: Callable[..., tuple[jax.Array, tuple[Losses, Any]]]
    output: Callable[[Any, Batch, LaneArrays], jax.Array]
    trains: Callable[[LaneArrays], Mapping[str, Any]] = lambda lane: {}
    begin: Callable[[int], Any] | None = None


def make_implicit_fusion(
    model: ImplicitFusion, num_features: Mapping[str, int], task_loss: TaskLoss
) -> Learner:
    """Builds the learner of Eqs. 3 and 4, which predicts from its main modality alone.

    A modality of weight 0 is cut off, not multiplied by 0: its representation is
    replaced by zeros before the shared head and its branch is not trained, so that
    nothing of it, not even a NaN, reaches a lane of alpha = 0.

    Args:
      model: an `ImplicitFusion`.
      num_features: {m: F_m}.
      task_loss: (outputs, labels, mask) -> ().
    """

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        representations: dict[str, Any] = {}
        branch: dict[str, Any] = {}
        for modality, weight in zip(model.modalities, lane.weights, strict=True):
            given = {modality: batch.features[modality]}
            represent = partial(represent_carrying, model, params, given)
            raw, last = _unless(weight == 0, represent, batch.mask, hidden)
            representations |= raw
            branch |= last
        outputs, shared = decide_carrying(
            model, params, representations, batch.mask, hidden
        )
        losses = {
            m: task_loss(p, batch.labels, batch.labelled) for m, p in outputs.items()
        }
        following = {m: Hidden(branch[m], shared[m]) for m in outputs}
        return joint_loss(losses, lane.weights), (losses, following)

    def output_of(modality: str, params: Any, batch: Batch) -> jax.Array:
        given = {modality: batch.features[modality]}
        outputs = predict_in_parts(model, params, given, batch.mask, EVALUATION_STEPS)
        output: jax.Array = outputs[modality]
        return output

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        # On a CPU one branch alone is run: that of the main modality.
        branches = [partial(output_of, m) for m in model.modalities]
        chosen: jax.Array = jax.lax.switch(lane.main, branches, params, batch)
        return chosen

    def trains(lane: LaneArrays) -> dict[str, Any]:
        pairs = zip(model.modalities, lane.weights, strict=True)
        return {branch_name(m): w > 0 for m, w in pairs}

    return Learner(
        init=lambda key, given: init_params(model, key, num_features),
        loss=loss,
        output=output,
        trains=trains,
        begin=partial(zero_state, model, model.modalities),
    )


def _unless(absent: jax.Array, compute: Callable[..., Any], *arguments: Any) -> Any:
    """Computes, or gives zeros and, where lanes run one at a time, saves the work."""
    shapes = jax.eval_shape(compute, *arguments)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.cond(absent, lambda *_: zeros, compute, *arguments)
