"""An epoch of one lane: its minibatches in order, then the score on dev.

It is built of two parts, so that the minibatches may come in several blocks where all
of them together exceed the memory.

Axes: N sequences, B batch, T time, O outputs, W windows of a recording.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ifusion.preprocessing.sequences import Batch
from ifusion.training.dev_score import DevScore
from ifusion.training.lanes import LaneArrays
from ifusion.training.learner import Learner
from ifusion.training.options import TrainingOptions
from ifusion.training.step import TrainState, make_train_step, take_target

Metrics = dict[str, jax.Array]
LABELS = "labels"  # beside the losses of updates


class LaneState(NamedTuple):
    """What training changes in a lane, and the best of it so far.

    Attributes:
      train: of the last step.
      best_params: those of the best dev score.
      best_score: ().
      best_epoch: (), int32, counted from 1; 0 before the first epoch.
    """

    train: TrainState
    best_params: Any
    best_score: jax.Array
    best_epoch: jax.Array


def minibatch_order(
    key: jax.Array, num_sequences: jax.Array, capacity: int, batch_size: int
) -> jax.Array:
    """Draws the minibatches of an epoch: every sequence once, in random order.

    What is drawn for a sequence depends on the key and its number alone, so that room
    for more sequences changes nothing.

    Args:
      key: of the seed and the epoch.
      num_sequences: (), how many there are.
      capacity: N, how many there is room for.
      batch_size: B.

    Returns:
      (steps, B), int32; -1 where no sequence is left.
    """
    draws = jax.random.uniform(key, (capacity,))
    exists = jnp.arange(capacity) < num_sequences
    order = jnp.argsort(jnp.where(exists, draws, jnp.inf)).astype(jnp.int32)
    order = jnp.where(exists, order, -1)
    steps = -(-capacity // batch_size)
    order = jnp.pad(order, (0, steps * batch_size - capacity), constant_values=-1)
    return order.reshape(steps, batch_size)


def window_order(order: jax.Array, windows: int) -> jax.Array:
    """Goes through the windows of each recording in order of time.

    Args:
      order: (steps, B), recordings of each minibatch, -1 where none is left.
      windows: W, of each recording.

    Returns:
      (steps * W, B), sequences: window w of recording q is number q * W + w.
    """
    windowed = order[:, None] * windows + jnp.arange(windows)[:, None]
    return jnp.where(order[:, None] >= 0, windowed, -1).reshape(-1, order.shape[1])


def take_batch(data: Batch, rows: jax.Array) -> Batch:
    """Gathers the sequences `rows` (B,); those that are -1 come masked."""
    batch: Batch = jax.tree.map(lambda x: x[rows], data)
    exists = (rows >= 0)[:, None]
    return batch._replace(mask=batch.mask * exists, labelled=batch.labelled * exists)


def add_noise(key: jax.Array, batch: Batch, sigma: float) -> Batch:
    """Adds Gaussian noise of standard deviation sigma to the standardised features.

    It is drawn time first, so that room for more steps changes nothing, and from a key
    of the modality's name, so that which others there are changes nothing either.
    """
    if sigma == 0:
        return batch

    def draw(modality: str, features: jax.Array) -> jax.Array:
        b, t, f = features.shape
        name = np.uint32(zlib.crc32(modality.encode()))
        noise = jax.random.normal(
            jax.random.fold_in(key, name), (t, b, f), features.dtype
        )
        return sigma * jnp.swapaxes(noise, 0, 1)

    features = {m: f + draw(m, f) for m, f in batch.features.items()}
    return batch._replace(features=features)


def shift_back(outputs: jax.Array, delay: jax.Array) -> jax.Array:
    """Puts predictions where their labels were before they were shifted earlier.

    Args:
      outputs: (N, T, O).
      delay: () [frame]: step t takes the prediction of step t - delay, the first
        `delay` steps that of step 0.
    """
    steps = jnp.maximum(jnp.arange(outputs.shape[1]) - delay, 0)
    return jnp.take(outputs, steps, axis=1)


class LaneEpoch(NamedTuple):
    """The parts of an epoch of one lane, pure functions.

    Attributes:
      order: (seed, epoch, num_sequences, N) -> (steps, B) int32, the sequences of each
        minibatch, -1 where none is left.
      advance: (state, lane, epoch, first, order (k, B), data) -> (state, losses), the
        updates number `first` and following, counted from 0 in the epoch, by the
        sequences `order` of data; losses are {name: (k,)} and {"labels": (k,)}, how
        many labels each is a mean over.
      judge: (state, lane, epoch, losses, dev) -> (state, metrics {name: ()}), the mean
        losses of the epoch and dev_score, and the state with its best so far.
    """

    order: Callable[..., jax.Array]
    advance: Callable[..., tuple[LaneState, Metrics]]
    judge: Callable[..., tuple[LaneState, Metrics]]


def make_lane_epoch(
    learner: Learner,
    optimizer: optax.GradientTransformation,
    dev_score: DevScore,
    options: TrainingOptions,
    windows: int = 1,
) -> LaneEpoch:
    """Builds an epoch of one lane.

    Args are those of `make_sweep`.
    """
    train_step = make_train_step(learner, optimizer)

    def order(
        seed: jax.Array, epoch: jax.Array, num_sequences: jax.Array, capacity: int
    ) -> jax.Array:
        key, _ = _epoch_keys(seed, epoch)
        size = options.batch_size
        drawn = minibatch_order(key, num_sequences, capacity // windows, size)
        return window_order(drawn, windows)

    def advance(
        state: LaneState,
        lane: LaneArrays,
        epoch: jax.Array,
        first: jax.Array,
        order: jax.Array,
        data: Batch,
    ) -> tuple[LaneState, Metrics]:
        _, noise_key = _epoch_keys(lane.seed, epoch)

        def body(state: TrainState, inputs: tuple[jax.Array, jax.Array]) -> Any:
            step, rows = inputs
            batch = take_batch(data, rows)
            step_key = jax.random.fold_in(noise_key, step)
            batch = take_target(batch, lane.target, lane.delay)
            batch = add_noise(step_key, batch, options.input_noise)
            hidden = jax.tree.map(
                lambda x: jnp.where(step % windows == 0, 0, x), state.hidden
            )
            state = state._replace(hidden=hidden)
            state, losses = train_step(state, batch, lane, epoch)
            return state, {**losses, LABELS: jnp.sum(batch.labelled)}

        steps = first + jnp.arange(order.shape[0])
        train, losses = jax.lax.scan(body, state.train, (steps, order))
        return state._replace(train=train), losses

    def judge(
        state: LaneState,
        lane: LaneArrays,
        epoch: jax.Array,
        losses: Metrics,
        dev: Batch,
    ) -> tuple[LaneState, Metrics]:
        sizes = losses[LABELS]
        share = sizes / jnp.maximum(jnp.sum(sizes), 1)
        means = {m: jnp.sum(share * x) for m, x in losses.items() if m != LABELS}
        output = learner.output(state.train.params, dev, lane)
        if options.delay_scoring == "original":
            output = shift_back(output, lane.delay)
            dev = take_target(dev, lane.target, jnp.zeros_like(lane.delay))
        else:
            dev = take_target(dev, lane.target, lane.delay)
        score = dev_score(output, dev.labels, dev.labelled)
        score = score.astype(state.best_score.dtype)
        best = (state.train.params, score, jnp.asarray(epoch, jnp.int32))
        best = jax.tree.map(
            lambda new, old: jnp.where(score > state.best_score, new, old),
            best,
            (state.best_params, state.best_score, state.best_epoch),
        )
        return LaneState(state.train, *best), {**means, "dev_score": score}

    return LaneEpoch(order, advance, judge)


def only_if(
    going: jax.Array,
    change: Callable[..., tuple[LaneState, Metrics]],
    state: LaneState,
    *arguments: Any,
) -> tuple[LaneState, Metrics]:
    """Changes the state of a lane that goes on; else leaves it, and metrics are NaN."""

    def skip(state: LaneState) -> tuple[LaneState, Metrics]:
        _, shapes = jax.eval_shape(change, state, *arguments)
        return state, jax.tree.map(
            lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes
        )

    def go(state: LaneState) -> tuple[LaneState, Metrics]:
        return change(state, *arguments)

    following: tuple[LaneState, Metrics] = jax.lax.cond(going, go, skip, state)
    return following


def stopped(state: LaneState, epoch: jax.Array | int, patience: int) -> jax.Array:
    """Tells, before `epoch`, whether a lane has used up its patience or has failed."""
    waits = epoch - 1 - state.best_epoch >= patience
    return waits | (state.train.failed_step >= 0)


def _epoch_keys(seed: jax.Array, epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of the minibatch order and of the noise."""
    order, noise = jax.random.split(jax.random.fold_in(jax.random.key(seed), epoch))
    return order, noise
