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
from ifusion.models.network import OUTPUT, Inputs, Network, Outputs
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
      init: (key, init_data) -> params, a nested dict; init_data are arrays that a lane is
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


Further = Callable[[Mapping[str, jax.Array], Batch, LaneArrays], jax.Array]


def make_implicit_fusion(
    model: ImplicitFusion,
    num_features: Mapping[str, int],
    task_loss: TaskLoss,
    further: Further | None = None,
) -> Learner:
    """Builds the learner of Eqs. 3 and 4, which predicts from its main modality alone.

    A modality of weight 0 is cut off, not multiplied by 0: its representation is
    replaced by zeros before the shared head and its branch is not trained, so that
    nothing of it, not even a NaN, reaches a lane of alpha = 0.

    Args:
      model: an `ImplicitFusion`.
      num_features: {m: F_m}.
      task_loss: (outputs, labels, mask) -> ().
      further: (representations {m: (B, T, H)}, batch, lane) -> (), what J gains beside,
        with the weight `extra_weight` of the lane; not in the paper.
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
        joint = joint_loss(losses, lane.weights)
        if further:
            losses["further"] = further(representations, batch, lane)
            joint = joint + lane.extra_weight * losses["further"]
        return joint, (losses, following)

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
        init=lambda key, init_data: init_params(model, key, num_features),
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


Read = Callable[[Batch], Inputs]
Objective = Callable[[Outputs, Batch, LaneArrays, Any], tuple[jax.Array, Losses]]


def make_network_learner(network: Network, read: Read, objective: Objective) -> Learner:
    """Builds the learner of a network whose head `OUTPUT` predicts the target.

    Args:
      network: what is trained.
      read: batch -> {input: (B, T, F)}.
      objective: (outputs {head: (B, T, O)}, batch, lane, epoch) -> (J, its parts).
    """

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        outputs = network.apply(params, read(batch), batch.mask, None)
        joint, losses = objective(outputs, batch, lane, epoch)
        return joint, (losses, hidden)

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        predicted = network.apply(params, read(batch), batch.mask, EVALUATION_STEPS)
        outputs: jax.Array = predicted[OUTPUT]
        return outputs

    return Learner(lambda key, init_data: network.init(key), loss, output)


def task_objective(task_loss: TaskLoss) -> Objective:
    """Builds J = L_y, the loss of the target alone."""

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        return task_loss(outputs[OUTPUT], batch.labels, batch.labelled), {}

    return objective


def two_task_objective(
    task_loss: TaskLoss, second: Callable[[Outputs, Batch], jax.Array]
) -> Objective:
    """Builds J = L_y + lambda L_2, Fig. 1(d); lambda is `extra_weight` of a lane.

    Args:
      task_loss: L_y.
      second: (outputs, batch) -> (), L_2.
    """

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        first = task_loss(outputs[OUTPUT], batch.labels, batch.labelled)
        beside = second(outputs, batch)
        return first + lane.extra_weight * beside, {"first": first, "second": beside}

    return objective
