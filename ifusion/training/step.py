"""One update of one lane: the joint loss, its gradient, Adam.

Axes: B batch, T time, F features of a modality, M modalities, O outputs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ifusion.losses import joint_loss
from ifusion.models.implicit import (
    Hidden,
    ImplicitFusion,
    branch_name,
    decide_carrying,
    represent_carrying,
)
from ifusion.preprocessing.sequences import Batch


class TrainState(NamedTuple):
    """What a step changes. Arrays only, so that it vmaps, donates and saves.

    Attributes:
      params: nested dict of arrays.
      opt_state: of the optimiser.
      step: (), int32, updates made.
      failed_step: (), int32, the update that would have made the lane not finite, at
        which it was frozen; -1 while all is well.
      hidden: {m: Hidden} after the last minibatch, where training carries it from one
        part of a recording to the next; None where every sequence starts anew.
    """

    params: Any
    opt_state: optax.OptState
    step: jax.Array
    failed_step: jax.Array
    hidden: Any = None


TaskLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
Losses = dict[str, jax.Array]
TrainStep = Callable[
    [TrainState, Batch, jax.Array, jax.Array], tuple[TrainState, Losses]
]


def init_state(
    params: Any, optimizer: optax.GradientTransformation, hidden: Any = None
) -> TrainState:
    """Makes the state before the first step."""
    return TrainState(
        params,
        optimizer.init(params),
        jnp.zeros((), jnp.int32),
        jnp.full((), -1, jnp.int32),
        hidden,
    )


def take_target(batch: Batch, target: jax.Array, delay: jax.Array) -> Batch:
    """Picks the labels of a lane, shifted earlier by its annotation delay (Sec. 4.2).

    Args:
      batch: labels (B, T + D, K), labelled (B, T + D).
      target: (), index in 0 ... K - 1.
      delay: () [frame], at most D: the label of step t is that of step t + delay.

    Returns:
      The batch with labels (B, T) and labelled (B, T), 0 also where no step exists.
    """
    steps = batch.mask.shape[1]

    def shifted(x: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(x, delay, steps, axis=1)

    labels = jnp.take(batch.labels, target, axis=-1)
    labelled = shifted(batch.labelled) * batch.mask
    return batch._replace(labels=shifted(labels), labelled=labelled)


def make_train_step(
    model: ImplicitFusion,
    optimizer: optax.GradientTransformation,
    task_loss: TaskLoss,
) -> TrainStep:
    """Builds the pure (state, batch, weights, l2) -> (state, losses).

    What is fixed for a run is closed over; what a sweep varies is an argument. The
    batch is that of a lane: labels (B, T) of its target and labelled (B, T), see
    `take_target`.

    A modality of weight 0 is cut off, not multiplied by 0: its representation is
    replaced by zeros before the shared head and its branch gets no gradient, so that
    nothing of it, not even a NaN, reaches a lane of alpha = 0. A lane whose loss or
    gradient is not finite keeps its last finite parameters from then on. A batch
    without a single label changes nothing but the hidden state.

    The hidden state of `TrainState`, if any, is where the sequences of the batch begin;
    no gradient flows back through it.

    Args:
      model: an `ImplicitFusion`.
      optimizer: of optax.
      task_loss: (outputs, labels, mask) -> ().

    Returns:
      The step; weights (M,) are those of Eqs. 3 and 4, l2 () penalises squared weights
      (not biases); losses {"joint": (), m: ()} without the penalty.
    """

    def loss_fn(
        params: Any, batch: Batch, weights: jax.Array, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        raw, branch = represent_carrying(
            model, params, batch.features, batch.mask, hidden
        )
        representations = {
            m: jnp.where(w > 0, r, 0)
            for (m, r), w in zip(raw.items(), weights, strict=True)
        }
        outputs, shared = decide_carrying(
            model, params, representations, batch.mask, hidden
        )
        losses = {
            m: task_loss(p, batch.labels, batch.labelled) for m, p in outputs.items()
        }
        following = {m: Hidden(branch[m], shared[m]) for m in outputs}
        return joint_loss(losses, weights), (losses, following)

    def train_step(
        state: TrainState, batch: Batch, weights: jax.Array, l2: jax.Array
    ) -> tuple[TrainState, Losses]:
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (joint, (losses, hidden)), grads = grad_fn(
            state.params, batch, weights, state.hidden
        )
        grads = jax.tree.map(
            lambda g, p: g + 2 * l2 * p if p.ndim > 1 else g, grads, state.params
        )
        for modality, weight in zip(model.modalities, weights, strict=True):
            name = branch_name(modality)
            grads[name] = jax.tree.map(
                lambda g, w=weight: jnp.where(w > 0, g, 0), grads[name]
            )
        finite = jnp.isfinite(joint) & jnp.isfinite(optax.tree.norm(grads))
        empty = jnp.sum(batch.labelled) == 0
        alive = state.failed_step < 0
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        proceeds = alive & finite & ~empty
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(proceeds, new, old),
            (params, opt_state),
            (state.params, state.opt_state),
        )
        failed_step = jnp.where(alive & ~finite, state.step, state.failed_step)
        following = TrainState(
            *(params, opt_state, state.step + proceeds, failed_step),
            hidden if state.hidden else None,
        )
        return following, {"joint": joint, **losses}

    return train_step
