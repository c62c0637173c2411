"""The loop over epochs: lanes are trained until each has stopped.

Axes: L lanes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.preprocessing.sequences import Batch
from ifusion.training.epoch import LaneState, Metrics, stopped
from ifusion.training.lanes import LaneArrays
from ifusion.training.options import TrainingOptions
from ifusion.training.stream import Stream, stream_epoch
from ifusion.training.sweep import Sweep


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
    train: Batch | Stream,
    dev: Batch,
    options: TrainingOptions,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    num_sequences: int | None = None,
    init_data: Any = None,
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
      train: sequences of the train partition, at hand or read when they are due.
      dev: sequences of the dev partition.
      options: those that the program was made with.
      on_epoch: told of the progress.
      num_sequences: how many sequences of train exist; all by default.
      init_data: what the learner is handed for each lane, L in front.
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
    room = train.capacity if isinstance(train, Stream) else len(train.mask)
    count = room if num_sequences is None else num_sequences
    dev = jax.tree.map(jnp.asarray, dev)
    if not isinstance(train, Stream):
        train = jax.tree.map(jnp.asarray, train)
    wanted = np.isin(np.arange(num_lanes), range(num_lanes) if only is None else only)
    best_score = np.full(num_lanes, -np.inf, np.float32)
    states, histories, parts, begun = [], [], [], 0
    if resume_from is not None:
        begun = len(resume_from.state.best_score)
        best_score[:begun] = resume_from.state.best_score
        states.append(_on_host(resume_from.state, resume_from.finished))
        histories.append(resume_from.history)
        starts = range(resume_from.finished, begun, chunk)
        parts += [slice(start, min(start + chunk, begun)) for start in starts]
    ends = range(begun + chunk, num_lanes + chunk, chunk)
    parts += [slice(end - chunk, min(end, num_lanes)) for end in ends]
    for here in parts:
        size, waiting = here.stop - here.start, num_lanes - here.stop
        part, mine = jax.tree.map(partial(_pad, here, chunk), (lanes, init_data))
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
            state, metrics = _run_epoch(
                sweep, state, part, going, epoch, count, train, dev
            )
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


def _run_epoch(
    sweep: Sweep,
    state: LaneState,
    lanes: LaneArrays,
    going: np.ndarray,
    epoch: int,
    count: int,
    train: Batch | Stream,
    dev: Batch,
) -> tuple[LaneState, Metrics]:
    if isinstance(train, Stream):
        padded = np.pad(going, (0, len(lanes.seed) - len(going)))
        return stream_epoch(sweep, state, lanes, padded, epoch, count, train, dev)
    return sweep.epoch(state, lanes, epoch, count, train, dev)


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
