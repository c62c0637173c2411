"""All lanes of a sweep as one jitted program.

A lane is one training run, and all that sets it apart is data: the weights of the
joint loss, the modality it is evaluated on, its seed. Lanes of one seed share initial
weights, minibatch order and input noise, so they differ in alpha alone.

The program shards the lanes over the devices, goes through those of a device in groups,
and runs the lanes of a group side by side (vmap). A group is everything on an
accelerator; on a CPU it is one lane, whose parameters and moments then stay in the
cache for a whole epoch instead of streaming through memory at every step. Where the
states of all lanes are too much to hold, they are trained in chunks, one after another.

Axes: L lanes, N sequences, B batch, T time, O outputs, W windows of a recording.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ifusion.preprocessing.sequences import Batch
from ifusion.training.dev_score import DevScore
from ifusion.training.lanes import LaneArrays
from ifusion.training.learner import Learner
from ifusion.training.options import TrainingOptions
from ifusion.training.step import (
    TrainState,
    init_state,
    make_train_step,
    take_target,
)

Metrics = dict[str, jax.Array]


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


@dataclass(frozen=True)
class Sweep:
    """The compiled program of a sweep.

    Attributes:
      init: (LaneArrays, given) -> LaneState, each leaf with L in front; given is what
        the learner is handed for each lane, None by default.
      epoch: (LaneState, LaneArrays, epoch, num_sequences, train, dev) -> (LaneState,
        metrics {name: (L,)}), the state donated; epochs count from 1; only the first
        num_sequences sequences of train (recordings where state is carried over their
        windows) exist, the rest is room. Metrics are the joint loss, the parts that the
        learner tells of, and dev_score; NaN for a lane that has stopped.
      sharding: of every leaf of LaneState, over L.
      width: L must be a multiple of it.
      chunk: lanes that fit the memory at once, None for all; a multiple of `width`.
    """

    init: Callable[..., LaneState]
    epoch: Callable[..., tuple[LaneState, Metrics]]
    sharding: NamedSharding
    width: int
    chunk: int | None = None


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


def make_lane_epoch(
    learner: Learner,
    optimizer: optax.GradientTransformation,
    dev_score: DevScore,
    options: TrainingOptions,
    windows: int = 1,
) -> Callable[..., tuple[LaneState, Metrics]]:
    """Builds an epoch of one lane, evaluation on dev and snapshot included.

    Args are those of `make_sweep`.

    Returns:
      (state, lane, epoch, num_sequences, train, dev) -> (state, metrics), as `Sweep`
      has it for all lanes.
    """
    train_step = make_train_step(learner, optimizer)

    def train(
        state: TrainState,
        lane: LaneArrays,
        epoch: jax.Array,
        num_sequences: jax.Array,
        data: Batch,
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(lane.seed), epoch)
        order_key, noise_key = jax.random.split(key)
        capacity = data.mask.shape[0] // windows
        order = minibatch_order(order_key, num_sequences, capacity, options.batch_size)
        order = window_order(order, windows)

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
            return state, (losses, jnp.sum(batch.labelled))

        steps = jnp.arange(order.shape[0])
        state, (losses, sizes) = jax.lax.scan(body, state, (steps, order))
        share = sizes / jnp.maximum(jnp.sum(sizes), 1)
        return state, {m: jnp.sum(share * x) for m, x in losses.items()}

    def lane_epoch(
        state: LaneState,
        lane: LaneArrays,
        epoch: jax.Array,
        num_sequences: jax.Array,
        data: Batch,
        dev: Batch,
    ) -> tuple[LaneState, Metrics]:
        train_state, metrics = train(state.train, lane, epoch, num_sequences, data)
        output = learner.output(train_state.params, dev, lane)
        if options.delay_scoring == "original":
            output = shift_back(output, lane.delay)
            dev = take_target(dev, lane.target, jnp.zeros_like(lane.delay))
        else:
            dev = take_target(dev, lane.target, lane.delay)
        score = dev_score(output, dev.labels, dev.labelled)
        score = score.astype(state.best_score.dtype)
        best = (train_state.params, score, jnp.asarray(epoch, jnp.int32))
        best = jax.tree.map(
            lambda new, old: jnp.where(score > state.best_score, new, old),
            best,
            (state.best_params, state.best_score, state.best_epoch),
        )
        return LaneState(train_state, *best), {**metrics, "dev_score": score}

    def unless_stopped(
        state: LaneState, lane: LaneArrays, epoch: jax.Array, *arguments: Any
    ) -> tuple[LaneState, Metrics]:
        def skip(state: LaneState) -> tuple[LaneState, Metrics]:
            _, shapes = jax.eval_shape(lane_epoch, state, lane, epoch, *arguments)
            nan = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes)
            return state, nan

        def go(state: LaneState) -> tuple[LaneState, Metrics]:
            return lane_epoch(state, lane, epoch, *arguments)

        stops = stopped(state, epoch, options.patience)
        following: tuple[LaneState, Metrics] = jax.lax.cond(stops, skip, go, state)
        return following

    return unless_stopped


def stopped(state: LaneState, epoch: jax.Array | int, patience: int) -> jax.Array:
    """Tells, before `epoch`, whether a lane has used up its patience or has failed."""
    waits = epoch - 1 - state.best_epoch >= patience
    return waits | (state.train.failed_step >= 0)


def make_sweep(
    learner: Learner,
    dev_score: DevScore,
    options: TrainingOptions,
    mesh: Mesh,
    group: int = 1,
    windows: int = 1,
    chunk: int | None = None,
) -> Sweep:
    """Builds the program that trains all lanes.

    Args:
      learner: what is trained.
      dev_score: (outputs (N, T, O), labels, mask) -> (), the higher the better; decides
        which epoch is kept.
      options: shared by all lanes.
      mesh: devices, of one axis "lanes".
      group: lanes that a device runs side by side.
      windows: W; with more than 1, train holds the windows of each recording one after
        another, a minibatch goes through those of its recordings in order of time, and
        the hidden state is carried along.
      chunk: lanes that are held at once, None for all.

    Raises:
      ValueError: chunk is no multiple of the lanes that run side by side, or the
        learner has no state to carry.
    """
    if windows > 1 and learner.begin is None:
        raise ValueError("training.carry: this learner has no state to carry")
    width = mesh.devices.size * group
    if chunk is not None and chunk % width:
        raise ValueError(f"a chunk of {chunk} lanes is no multiple of {width}")
    optimizer = optax.adam(options.learning_rate)  # Sec. 4.2
    lane_epoch = make_lane_epoch(learner, optimizer, dev_score, options, windows)

    def init_lane(inputs: tuple[LaneArrays, Any]) -> LaneState:
        lane, given = inputs
        key = jax.random.fold_in(jax.random.key(lane.seed), 0)  # epochs take 1, 2, ...
        params = learner.init(key, given)
        carried = learner.begin and windows > 1 and learner.begin(options.batch_size)
        state = init_state(params, optimizer, carried or None)
        return LaneState(
            state, params, jnp.full((), -jnp.inf, jnp.float32), jnp.zeros((), jnp.int32)
        )

    def init(lanes: LaneArrays, given: Any = None) -> Any:
        # One by one: the batched QR of orthogonal weights can deadlock jaxlib 0.10's
        # CPU thread pool.
        return jax.lax.map(init_lane, (lanes, given))

    def epoch(state: LaneState, lanes: LaneArrays, *arguments: Any) -> Any:
        def split(x: jax.Array) -> jax.Array:
            return x.reshape(-1, group, *x.shape[1:]) if group > 1 else x

        def merge(x: jax.Array) -> jax.Array:
            return x.reshape(-1, *x.shape[2:]) if group > 1 else x

        def together(state: LaneState, lanes: LaneArrays) -> Any:
            def one(state: LaneState, lane: LaneArrays) -> Any:
                return lane_epoch(state, lane, *arguments)

            return (jax.vmap(one) if group > 1 else one)(state, lanes)

        # The states are changed in place, where a map would hold old and new ones.
        def body(states: LaneState, inputs: tuple[jax.Array, LaneArrays]) -> Any:
            i, lanes = inputs
            state, metrics = together(jax.tree.map(lambda x: x[i], states), lanes)
            return jax.tree.map(lambda x, new: x.at[i].set(new), states, state), metrics

        states, lanes = jax.tree.map(split, (state, lanes))
        numbers = jnp.arange(len(jax.tree.leaves(lanes)[0]))
        return jax.tree.map(merge, jax.lax.scan(body, states, (numbers, lanes)))

    by_lane, everywhere = PartitionSpec("lanes"), PartitionSpec()
    epoch = jax.shard_map(
        epoch,
        mesh=mesh,
        in_specs=(by_lane, by_lane, *[everywhere] * 4),
        out_specs=by_lane,
        check_vma=False,  # lanes never meet: there is nothing to replicate
    )
    sharding = NamedSharding(mesh, by_lane)
    return Sweep(
        jax.jit(init, out_shardings=sharding),
        jax.jit(epoch, donate_argnums=0),
        sharding,
        width,
        chunk,
    )


class Progress(NamedTuple):
    """What is known after an epoch of the lanes that are being trained.

    Attributes:
      epoch: of these lanes, counted from 1.
      metrics: {name: (L,)} of this epoch, NaN for lanes that were not trained in it.
      best_score: (L,), best dev score so far, -inf for lanes that have not begun.
      active: lanes that go on.
      waiting: lanes that have not begun, for want of memory.
    """

    epoch: int
    metrics: dict[str, np.ndarray]
    best_score: np.ndarray
    active: int
    waiting: int


class Snapshot(NamedTuple):
    """Where training stands after an epoch: `train_lanes` goes on from it exactly.

    Of keys and minibatches there is nothing to keep: both follow from seed and epoch.

    Attributes:
      finished: lanes that are trained to their end, those of the chunks before.
      epoch: how many the chunk at work has behind it.
      state: of the lanes that have begun, in their order, on the host.
      history: {metric: (epochs, L)}, NaN where a lane was not trained.
    """

    finished: int
    epoch: int
    state: LaneState
    history: dict[str, np.ndarray]


def train_lanes(
    sweep: Sweep,
    lanes: LaneArrays,
    train: Batch,
    dev: Batch,
    options: TrainingOptions,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    num_sequences: int | None = None,
    given: Any = None,
    resume_from: Snapshot | None = None,
    save: Callable[[Callable[[], Snapshot]], None] = lambda take: None,
    only: Sequence[int] | None = None,
) -> tuple[LaneState, dict[str, np.ndarray]]:
    """Trains all lanes until each has stopped.

    Where they are too many for one chunk, chunks are of equal size. Lanes are padded to
    whole chunks, which are multiples of the sweep's width, by copies of the last lane
    that count as stopped.

    Args:
      sweep: the program.
      lanes: (L, ...).
      train: sequences of the train partition.
      dev: sequences of the dev partition.
      options: those that the program was made with.
      on_epoch: told of the progress.
      num_sequences: how many sequences of train exist; all by default.
      given: what the learner is handed for each lane, L in front.
      resume_from: where these lanes stood when their training was broken off.
      save: handed, after every epoch, a function that takes a snapshot, to be called
        before it returns or not at all: a snapshot copies all states to the host.
      only: lanes to train, all by default. The others count as stopped, so that these
        are trained as among all of them, in the same place of the same program.

    Returns:
      The state on the host, L in front; and the history {metric: (epochs, L)}, NaN for
      lanes that had stopped.
    """
    num_lanes = len(lanes.seed)
    chunk = even_chunk(num_lanes, sweep.chunk or num_lanes, sweep.width)
    count = len(train.mask) if num_sequences is None else num_sequences
    train, dev = jax.tree.map(jnp.asarray, (train, dev))
    wanted = np.isin(np.arange(num_lanes), range(num_lanes) if only is None else only)
    best_score = np.full(num_lanes, -np.inf, np.float32)
    states, histories, parts, begun = [], [], [], 0
    if resume_from is not None:
        begun = len(resume_from.state.best_score)
        best_score[:begun] = resume_from.state.best_score
        states.append(_on_host(resume_from.state, resume_from.finished))
        histories.append(resume_from.history)
        if begun > resume_from.finished:
            parts.append(slice(resume_from.finished, begun))
    ends = range(begun + chunk, num_lanes + chunk, chunk)
    parts += [slice(end - chunk, min(end, num_lanes)) for end in ends]
    for here in parts:
        size, waiting = here.stop - here.start, num_lanes - here.stop
        part, mine = jax.tree.map(partial(_pad, here, chunk), (lanes, given))
        epoch, history = 0, []
        if resume_from is not None and here.start < begun:
            epoch = resume_from.epoch
            state = jax.tree.map(partial(_pad, here, chunk), resume_from.state)
            state = jax.device_put(state, sweep.sharding)
        else:
            state = sweep.init(part, mine)
        state = _stop_unless(wanted[here], state)
        going = _going(state, epoch, options.patience, size)
        while epoch < options.epochs and going.any():
            epoch += 1
            state, metrics = sweep.epoch(state, part, epoch, count, train, dev)
            history.append(
                {
                    k: _among(np.asarray(v)[:size], here, num_lanes)
                    for k, v in metrics.items()
                }
            )
            going = _going(state, epoch, options.patience, size)
            best_score[here] = np.asarray(state.best_score)[:size]
            active = int(going.sum())
            on_epoch(Progress(epoch, history[-1], best_score.copy(), active, waiting))
            save(partial(_snapshot, here, epoch, (*states, state), histories, history))
        states.append(_on_host(state, size))
        histories += _stack(history, epoch)
    return _concatenate(states), _merge(histories)


def even_chunk(num_lanes: int, most: int, width: int) -> int:
    """Sizes chunks, all alike, so that as few lanes as can be are padding.

    Args:
      num_lanes: L.
      most: lanes of a chunk.
      width: a chunk is a multiple of it.
    """
    chunk = -(-num_lanes // -(-num_lanes // most))
    return chunk + -chunk % width


def _pad(here: slice, chunk: int, values: np.ndarray) -> np.ndarray:
    """Takes the values of some lanes, and copies of the last for whole chunks."""
    picked = values[here]
    room = (0, -len(picked) % chunk)
    return np.pad(picked, (room, *[(0, 0)] * (picked.ndim - 1)), mode="edge")


def _stop_unless(wanted: np.ndarray, state: LaneState) -> LaneState:
    """Marks other lanes, and padding, as failed, so that they cost nothing."""
    failed = state.train.failed_step
    going = np.pad(wanted, (0, len(failed) - len(wanted)))
    stops = jnp.where(going, failed, 0)
    stops = jax.device_put(stops, failed.sharding)  # else the program is compiled anew
    return state._replace(train=state.train._replace(failed_step=stops))


def _going(state: LaneState, epoch: int, patience: int, size: int) -> np.ndarray:
    """Tells which of the first `size` lanes go on after `epoch`."""
    return ~np.asarray(stopped(state, epoch + 1, patience))[:size]


def _on_host(state: LaneState, size: int) -> LaneState:
    """Fetches the states of the first `size` lanes."""
    fetched: LaneState = jax.tree.map(lambda x: np.asarray(x)[:size], state)
    return fetched


def _concatenate(states: Sequence[LaneState]) -> LaneState:
    joined: LaneState = jax.tree.map(lambda *x: np.concatenate(x), *states)
    return joined


def _snapshot(
    here: slice,
    epoch: int,
    states: Sequence[LaneState],
    histories: Sequence[dict[str, np.ndarray]],
    history: Sequence[dict[str, np.ndarray]],
) -> Snapshot:
    """Copies what there is, the last of the states that of the chunk `here`."""
    *before, state = states
    return Snapshot(
        here.start,
        epoch,
        _concatenate([*before, _on_host(state, here.stop - here.start)]),
        _merge([*histories, *_stack(history, epoch)]),
    )


def _stack(
    history: Sequence[dict[str, np.ndarray]], epochs: int
) -> list[dict[str, np.ndarray]]:
    """Makes one history of the last of `epochs`, those before them NaN; or none."""
    if not history:
        return []
    before = ((epochs - len(history), 0), (0, 0))
    return [
        {
            k: np.pad(np.stack([h[k] for h in history]), before, constant_values=np.nan)
            for k in history[0]
        }
    ]


def _among(values: np.ndarray, here: slice, num_lanes: int) -> np.ndarray:
    """Puts the values of some lanes among those of all, the others NaN."""
    placed = np.full(num_lanes, np.nan, values.dtype)
    placed[here] = values
    return placed


def _merge(histories: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Lays the histories of chunks over each other, each NaN beside its own lanes."""
    epochs = max(len(h["joint"]) for h in histories)
    merged = {
        k: np.full((epochs, v.shape[1]), np.nan, v.dtype)
        for k, v in histories[0].items()
    }
    for history in histories:
        for name, values in history.items():
            part = merged[name][: len(values)]
            np.copyto(part, values, where=~np.isnan(values))
    return merged
