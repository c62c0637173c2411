"""Learners: what a lane trains, as pure functions of its parameters.

Implicit fusion is one, explicit fusion and an autoencoder are others; the sweep knows
them only as a `Learner`.

Axes: B batch, N sequences, T time, M modalities, O outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ifusion.core import (
    ExtraLoss,
    Features,
    Hidden,
    ImplicitFusion,
    Losses,
    init_params,
    make_joint_loss,
    predict,
)
from ifusion.lanes import LaneArrays
from ifusion.losses import TaskLoss
from ifusion.models.gru import zero_states
from ifusion.models.network import OUTPUT, Inputs, Network, Outputs, branch_name
from ifusion.models.parts import EVALUATION_STEPS, in_parts
from ifusion.models.pooling import zero_sums
from ifusion.preprocessing.sequences import Batch, steps_of


class Learner(NamedTuple):
    """The pure functions that train a lane.

    Batches are those of one lane, with the labels (B, T) of its target, see
    `ifusion.preprocessing.minibatches.take_target`.

    Attributes:
      init: (key, init_data) -> params, a nested dict; init_data are arrays of the lane
        that its parameters start from, or None.
      loss: (params, batch, lane, epoch, hidden) -> (J (), ({name: ()}, hidden)): what
        is minimised, without the penalty on weights; auxiliary losses, for logging; and
        the hidden state after the batch. Epochs count from 1.
      output: (params, batch, lane) -> (N, T, O), predictions of whole sequences.
      has: (batch, lane) -> (N, 1) bool, sequences that have what it predicts from.
      trains: lane -> {part of params: () bool}, for parts that not every lane trains.
      begin: B -> hidden state before a recording's first window, for learners whose
        state can be carried from window to window; None for others.
    """

    init: Callable[[jax.Array, Any], Any]
    loss: Callable[..., tuple[jax.Array, tuple[Losses, Any]]]
    output: Callable[[Any, Batch, LaneArrays], jax.Array]
    has: Callable[[Batch, LaneArrays], Any]
    trains: Callable[[LaneArrays], Mapping[str, Any]] = lambda lane: {}
    begin: Callable[[int], Any] | None = None


def make_implicit_fusion(
    model: ImplicitFusion,
    num_features: Mapping[str, int],
    task_loss: TaskLoss,
    extra_loss: ExtraLoss | None = None,
) -> Learner:
    """Builds the learner of Eqs. 3 and 4, which predicts from its main modality alone.

    Args:
      model: architecture.
      num_features: {m: F_m}.
      task_loss: (outputs, labels, mask) -> ().
      extra_loss: (representations {m: (B, T, H)}, batch, lane) -> (), added to J times
        the `extra_weight` of the lane; not in the paper.
    """

    def output_of(modality: str, params: Any, batch: Batch) -> jax.Array:
        features = {modality: batch.features[modality]}
        outputs = predict_in_parts(
            model, params, features, batch.inputs_mask, EVALUATION_STEPS
        )
        output: jax.Array = outputs[modality]
        return output

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        # A lane that runs alone computes the branch of its main modality only.
        branches = [partial(output_of, m) for m in model.modalities]
        chosen: jax.Array = jax.lax.switch(lane.main, branches, params, batch)
        return chosen

    def has(batch: Batch, lane: LaneArrays) -> jax.Array:
        return jnp.stack([batch.has(m) for m in model.modalities])[lane.main]

    def trains(lane: LaneArrays) -> dict[str, Any]:
        pairs = zip(model.modalities, lane.weights, strict=True)
        return {branch_name(m): w > 0 for m, w in pairs}

    return Learner(
        init=lambda key, init_data: init_params(model, key, num_features),
        loss=make_joint_loss(model, task_loss, extra_loss),
        output=output,
        has=has,
        trains=trains,
        begin=partial(zero_hidden, model, model.modalities),
    )


def zero_hidden(
    model: ImplicitFusion, modalities: Sequence[str], batch_size: int
) -> dict[str, Hidden]:
    """Makes the state {m: Hidden} in which B recordings begin."""
    branch, shared = zero_states(model.architecture, batch_size)
    sums = zero_sums(model.architecture, batch_size)
    return {m: Hidden(branch, shared, sums) for m in modalities}


def predict_in_parts(
    model: ImplicitFusion,
    params: Any,
    features: Features,
    mask: Any,
    steps: int,
) -> Any:
    """Predicts like `predict`, with the layers of only one part in memory at a time.

    Args:
      model: architecture, static; recurrent if there are several parts.
      params: as `predict` takes them.
      features: {m: (B, T, F_m)}; of several modalities T is the same.
      mask: (B, T), 1 where a step exists, or {m: (B, T)}.
      steps: of a part; T must be a multiple of it unless it is smaller.

    Returns:
      {m: (B, T, O)}, logits or regressed values.

    Raises:
      ValueError: T is not a multiple of steps.
    """
    size, length = next(iter(features.values())).shape[:2]
    if length <= steps:
        return predict(model, params, features, mask).outputs

    def part(state: Any, inputs: tuple[Features, jax.Array]) -> tuple[Any, Any]:
        predicted = predict(model, params, *inputs, state)
        return predicted.hidden, predicted.outputs

    begin = zero_hidden(model, tuple(features), size)
    own = {m: steps_of(mask, m) for m in features}
    pooled = bool(model.architecture.pooling)
    return in_parts(part, begin, (dict(features), own), steps, pooled)


Read = Callable[[Batch], tuple[Inputs, Any]]
Objective = Callable[[Outputs, Batch, LaneArrays, Any], tuple[jax.Array, Losses]]


def make_network_learner(
    network: Network, main: str, objective: Objective, read: Read | None = None
) -> Learner:
    """Builds the learner of a network whose head `OUTPUT` predicts the target.

    Args:
      network: what is trained.
      main: what it predicts from; sequences without it count as padding.
      objective: (outputs {head: (B, T, O)}, batch, lane, epoch) -> (J, {name: ()}).
      read: batch -> ({input: (B, T, F)}, their mask (B, T)); None for the features of
        the main as they are.
    """
    read = read or reads(main)

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        outputs = network.apply(params, *read(batch), None)
        there = batch.has(main)
        batch = batch._replace(mask=batch.mask * there, labelled=batch.labelled * there)
        joint, losses = objective(outputs, batch, lane, epoch)
        return joint, (losses, hidden)

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        predicted = network.apply(params, *read(batch), EVALUATION_STEPS)
        outputs: jax.Array = predicted[OUTPUT]
        return outputs

    return Learner(
        init=lambda key, init_data: network.init(key),
        loss=loss,
        output=output,
        has=lambda batch, lane: batch.has(main),
    )


def reads(main: str) -> Read:
    """Reads the features of one modality as they are."""

    def read(batch: Batch) -> tuple[Inputs, Any]:
        return batch.features, steps_of(batch.inputs_mask, main)

    return read


def task_objective(task_loss: TaskLoss) -> Objective:
    """Builds J = L_y, the loss of the target alone."""

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        return task_loss(outputs[OUTPUT], batch.labels, batch.labelled), {}

    return objective


def two_task_objective(
    task_loss: TaskLoss, second_loss: Callable[[Outputs, Batch], jax.Array]
) -> Objective:
    """Builds J = L_y + lambda L_2, Fig. 1(d); lambda is `extra_weight` of a lane.

    Args:
      task_loss: L_y.
      second_loss: (outputs, batch) -> (), L_2.
    """

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        first = task_loss(outputs[OUTPUT], batch.labels, batch.labelled)
        second = second_loss(outputs, batch)
        joint = first + lane.extra_weight * second
        return joint, {"first": first, "second": second}

    return objective
