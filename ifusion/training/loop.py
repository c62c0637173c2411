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
    order = deal(chunk, sweep)
    wanted = np.isin(np.arange(num_lanes), range(num_lanes) if only is None else only)
    best_score = np.full(num_lanes, -np.inf, np.float32)
    history: dict[str, np.ndarray] = {}
    states, done, begun = [], 0, 0
    if resume_from is not None:
        done, begun = resume_from.finished, len(resume_from.state.best_score)
        best_score[:begun] = resume_from.state.best_score
        states.append(jax.tree.map(lambda x: x[:done], resume_from.state))
        history |= resume_from.history
    for here in _chunks(done, begun, chunk) + _chunks(begun, num_lanes, chunk):
        dealt = _Dealt(here, order)
        part, own = dealt.take(lanes), sets._replace(of=dealt.take(sets.of))
        seeds, mine = part.seed, dealt.take(wanted) & dealt.is_lane
        epoch = 0
        if resume_from is not None and here.start < begun:
            epoch = resume_from.epoch
            state = jax.device_put(dealt.take(resume_from.state), sweep.sharding)
        else:
            state = sweep.init(part, dealt.take(init_data))
        part = jax.device_put(part, sweep.sharding)
        going = mine & _continue(state, epoch, options.patience)
        while epoch < options.epochs and going.any():
            epoch += 1
            state, metrics = train_epoch(
                sweep, state, part, seeds, going, epoch, own, train, dev
            )
            metrics = _among(dealt.fetch(metrics), here, num_lanes)
            history = _record(history, epoch, here, metrics)
            going = mine & _continue(state, epoch, options.patience)
            best_score[here] = dealt.fetch(state.best_score)
            active, waiting = int(going.sum()), num_lanes - here.stop
            on_epoch(Progress(epoch, metrics, best_score.copy(), active, waiting))
            save(partial(_snapshot, dealt, epoch, (*states, state), history))
        states.append(dealt.fetch(state))
        del state  # before the next chunk takes its place
    return _concatenate(states), history


class _Dealt(NamedTuple):
    """Lanes that train at once, and their places on the devices.

    Attributes:
      here: these lanes.
      order: of the lanes on the devices, counted from the first; some are padding.
    """

    here: slice
    order: np.ndarray

    @property
    def is_lane(self) -> np.ndarray:
        """Whether there is a lane at each place on the devices, not padding."""
        return self.order < self.here.stop - self.here.start

    def take(self, tree: Any) -> Any:
        """Takes their values from those of all lanes, the last for padding."""
        index = np.minimum(self.here.start + self.order, self.here.stop - 1)
        return jax.tree.map(lambda x: x[index], tree)

    def fetch(self, tree: Any) -> Any:
        """Fetches values from the devices, in the order of the lanes."""
        places = np.argsort(self.order)[: self.here.stop - self.here.start]
        return jax.tree.map(lambda x: np.asarray(x)[places], tree)


def _chunks(start: int, stop: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, stop)) for i in range(start, stop, size)]


def _continue(state: LaneState, epoch: int, patience: int) -> np.ndarray:
    """Returns which lanes continue after `epoch`, (L,) bool."""
    return ~np.asarray(stopped(state, epoch + 1, patience))


def _concatenate(states: Sequence[LaneState]) -> LaneState:
    joined: LaneState = jax.tree.map(lambda *x: np.concatenate(x), *states)
    return joined


def _snapshot(
    dealt: _Dealt,
    epoch: int,
    states: Sequence[LaneState],
    history: dict[str, np.ndarray],
) -> Snapshot:
    """Copies the states, the last of which is on the devices."""
    *before, state = states
    begun = _concatenate([*before, dealt.fetch(state)])
    return Snapshot(dealt.here.start, epoch, begun, history)


def _among(
    metrics: dict[str, np.ndarray], here: slice, num_lanes: int
) -> dict[str, np.ndarray]:
    """Puts the metrics of some lanes among those of all, the others NaN."""
    room = (here.start, num_lanes - here.stop)
    return {k: np.pad(v, room, constant_values=np.nan) for k, v in metrics.items()}


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
