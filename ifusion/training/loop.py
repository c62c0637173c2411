"""The loop over epochs, until every lane has stopped.

Axes: L lanes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.lanes import LaneArrays
from ifusion.preprocessing.sequences import Batch
from ifusion.training.options import TrainingOptions
from ifusion.training.schedule import chunk_of, deal
from ifusion.training.sets import Sets, one_set
from ifusion.training.stream import Blocks, capacity_of, train_epoch
from ifusion.training.sweep import LaneState, Sweep, stopped


class Progress(NamedTuple):
    """Progress of the lanes that are being trained.

    Attributes:
      epoch: of these lanes, counted from 1.
      metrics: {name: (L,)} of this epoch, NaN for lanes that were not trained in it.
      best_score: (L,), best dev score so far, -inf for lanes that have not started.
      active: number of lanes that continue.
      waiting: number of lanes that have not started, for lack of memory.
    """

    epoch: int
    metrics: dict[str, np.ndarray]
    best_score: np.ndarray
    active: int
    waiting: int


class Snapshot(NamedTuple):
    """The state of training after an epoch: `train_lanes` resumes from it exactly.

    Keys and minibatches follow from seed and epoch, so they are not part of it.

    Attributes:
      finished: number of lanes of earlier chunks, which are done.
      epoch: of the current chunk.
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
    train: Batch | Blocks,
    dev: Batch,
    options: TrainingOptions,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    num_sequences: int | None = None,
    init_data: Any = None,
    resume_from: Snapshot | None = None,
    save: Callable[[Callable[[], Snapshot]], None] = lambda take: None,
    only: Sequence[int] | None = None,
    sets: Sets | None = None,
) -> tuple[LaneState, dict[str, np.ndarray]]:
    """Trains all lanes until each has stopped.

    Lanes that do not fit in memory together are trained in chunks of equal size, one
    after another. A chunk is padded to a multiple of the devices by copies of its last
    lane that are not trained, and dealt to them.

    Args:
      sweep: the program.
      lanes: (L, ...).
      train: sequences of the train partition, in memory or read in blocks.
      dev: sequences of the dev partition.
      options: the same that the program was built with.
      on_epoch: called with the progress after every epoch.
      num_sequences: how many sequences of train are not padding; all by default.
      init_data: arrays that each lane starts from, L in front.
      resume_from: a snapshot of these lanes.
      save: called after every epoch with a function that takes a snapshot, to be called
        before it returns or not at all: a snapshot copies all states to the host.
      only: positions of the lanes to train, all by default. The others keep their
        initial state, so that these train in their place of the same program.
      sets: for train and dev of several trainings, joined by `join_sets`: which lanes
        read what. It replaces `num_sequences`.

    Returns:
      The state on the host, L in front; and the history {metric: (epochs, L)}, NaN for
      lanes that had stopped.

    Raises:
      MemoryLimitError: not even one lane fits in the memory of a device.
    """
    num_lanes = len(lanes.seed)
    if sets is None:
        count = capacity_of(train) if num_sequences is None else num_sequences
        sets = one_set(num_lanes, capacity_of(train), count)
    dev = jax.tree.map(jnp.asarray, dev)
    if not isinstance(train, Blocks):
        train = jax.tree.map(jnp.asarray, train)
    chunk = chunk_of(sweep, lanes, init_data, train, dev, sets)
    order = deal(chunk, sweep)  # of lanes on the devices
    place = np.argsort(order)  # of each lane there
    wanted = np.isin(np.arange(num_lanes), range(num_lanes) if only is None else only)
    best_score = np.full(num_lanes, -np.inf, np.float32)
    history: dict[str, np.ndarray] = {}
    states, parts, begun = [], [], 0
    if resume_from is not None:
        begun = len(resume_from.state.best_score)
        best_score[:begun] = resume_from.state.best_score
        done = slice(resume_from.finished)
        states.append(_on_host(resume_from.state, done))
        history |= resume_from.history
        starts = range(resume_from.finished, begun, chunk)
        parts += [slice(start, min(start + chunk, begun)) for start in starts]
    ends = range(begun + chunk, num_lanes + chunk, chunk)
    parts += [slice(end - chunk, min(end, num_lanes)) for end in ends]
    for here in parts:
        size, waiting = here.stop - here.start, num_lanes - here.stop
        places = place[:size]
        dealt = partial(_dealt, here, order)
        part = jax.tree.map(dealt, lanes)
        seeds, own = part.seed, sets._replace(of=dealt(sets.of))
        mine = np.pad(wanted[here], (0, chunk - size))[order]
        epoch = 0
        if resume_from is not None and here.start < begun:
            epoch = resume_from.epoch
            state = jax.tree.map(dealt, resume_from.state)
            state = jax.device_put(state, sweep.sharding)
        else:
            state = sweep.init(part, jax.tree.map(dealt, init_data))
        part = jax.device_put(part, sweep.sharding)
        going = mine & _continue(state, epoch, options.patience)
        while epoch < options.epochs and going.any():
            epoch += 1
            state, metrics = train_epoch(
                sweep, state, part, seeds, going, epoch, own, train, dev
            )
            metrics = {
                k: _among(v[places], here, num_lanes) for k, v in metrics.items()
            }
            history = _record(history, epoch, here, metrics)
            going = mine & _continue(state, epoch, options.patience)
            best_score[here] = np.asarray(state.best_score)[places]
            active = int(going.sum())
            on_epoch(Progress(epoch, metrics, best_score.copy(), active, waiting))
            save(partial(_snapshot, here, places, epoch, (*states, state), history))
        states.append(_on_host(state, places))
        del state  # before the next chunk takes its place
    return _concatenate(states), history


def _continue(state: LaneState, epoch: int, patience: int) -> np.ndarray:
    """Returns which lanes continue after `epoch`, (L,) bool."""
    return ~np.asarray(stopped(state, epoch + 1, patience))


def _dealt(here: slice, order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Takes the values of some lanes in the order of a chunk, the last for padding."""
    return values[np.minimum(here.start + order, here.stop - 1)]


def _on_host(state: LaneState, places: np.ndarray | slice) -> LaneState:
    """Fetches the states of the lanes at these places."""
    fetched: LaneState = jax.tree.map(lambda x: np.asarray(x)[places], state)
    return fetched


def _concatenate(states: Sequence[LaneState]) -> LaneState:
    joined: LaneState = jax.tree.map(lambda *x: np.concatenate(x), *states)
    return joined


def _snapshot(
    here: slice,
    places: np.ndarray,
    epoch: int,
    states: Sequence[LaneState],
    history: dict[str, np.ndarray],
) -> Snapshot:
    """Copies the states, the last of which is that of the chunk `here`."""
    *before, state = states
    begun = _concatenate([*before, _on_host(state, places)])
    return Snapshot(here.start, epoch, begun, history)


def _among(values: np.ndarray, here: slice, num_lanes: int) -> np.ndarray:
    """Puts the values of some lanes among those of all, the others NaN."""
    placed = np.full(num_lanes, np.nan, values.dtype)
    placed[here] = values
    return placed


def _record(
    history: dict[str, np.ndarray],
    epoch: int,
    here: slice,
    metrics: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns a history {metric: (epochs, L)} with an epoch of the lanes `here`."""
    recorded = {}
    for name, values in metrics.items():
        known = history.get(name, np.empty((0, len(values)), values.dtype))
        room = ((0, max(epoch - len(known), 0)), (0, 0))
        recorded[name] = np.pad(known, room, constant_values=np.nan)
        recorded[name][epoch - 1, here] = values[here]
    return recorded
