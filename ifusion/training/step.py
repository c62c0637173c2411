"""One update of one lane: the joint loss, its gradient, Adam.

Axes: B batch, T time, D steps of labels beyond T, K targets.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ifusion.preprocessing.sequences import Batch
from ifusion.training.lanes import LaneArrays
from ifusion.training.learner import Learner, Losses


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


TrainStep = Callable[[TrainState, Batch, LaneArrays, Any], tuple[TrainState, Losses]]


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
      batch: labels and extras (B, T + D, K), labelled (B, T + D).
      target: (), index in 0 ... K - 1.
      delay: () [frame], at most D: the label of step t is that of step t + delay.

    Returns:
      The batch with labels, extras (B, T) and labelled (B, T), 0 also where no step
      exists.
    """
    steps = batch.mask.shape[1]

    def shifted(x: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(x, delay, steps, axis=1)

    labels, extras = jax.tree.map(
        lambda x: shifted(jnp.take(x, target, axis=-1)), (batch.labels, batch.extras)
    )
    labelled = shifted(batch.labelled) * batch.mask
    return batch._replace(labels=labels, labelled=labelled, extras=extras)


def make_train_step(
    learner: Learner, optimizer: optax.GradientTransformation
) -> TrainStep:
    """Builds the pure (state, batch, lane, epoch) -> (state, losses).

    What is fixed for a run is closed over; what a sweep varies is an argument. The
    batch is that of a lane: labels (B, T) of its target and labelled (B, T), see
    `take_target`.

    A lane whose loss or gradient is not finite keeps its last finite parameters from
    then on. A batch without a single label changes nothing but the hidden state.

    The hidden state of `TrainState`, if any, is where the sequences of the batch begin;
    no gradient flows back through it.

    Args:
      learner: what is trained.
      optimizer: of optax.

    Returns:
      The step; the l2 of a lane penalises squared weights (not biases); losses are
      {"joint": ()}, without the penalty, and the parts that the learner tells of.
    """

    def train_step(
        state: TrainState, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[TrainState, Losses]:
        grad_fn = jax.value_and_grad(learner.loss, has_aux=True)
        (joint, (losses, hidden)), grads = grad_fn(
            state.params, batch, lane, epoch, state.hidden
        )
        grads = jax.tree.map(
            lambda g, p: g + 2 * lane.l2 * p if p.ndim > 1 else g, grads, state.params
        )
        for name, trained in learner.trains(lane).items():
            grads[name] = jax.tree.map(
                lambda g, on=trained: jnp.where(on, g, 0), grads[name]
            )
        finite = jnp.isfinite(joint) & jnp.isfinite(optax.tree.norm(grads))
        empty = jnp.sum(batch.labelled) == 0
        alive = state.failed_step < 0
        proceeds = alive & finite & ~empty

        def update() -> tuple[Any, Any]:
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            return optax.apply_updates(state.params, updates), opt_state

        # On a CPU a choice between old and new would copy both, and double the cost.
        params, opt_state = jax.lax.cond(
            proceeds, update, lambda: (state.params, state.opt_state)
        )
        failed_step = jnp.where(alive & ~finite, state.step, state.failed_step)
        following = TrainState(
            *(params, opt_state, state.step + proceeds, failed_step),
            hidden if state.hidden else None,
        )
        return following, {"joint": joint, **losses}

    return train_step
