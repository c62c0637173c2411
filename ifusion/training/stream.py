"""Training on more sequences than the memory holds: blocks that are read when due.

What an epoch draws does not depend on how it is cut: minibatches and noise follow from
seed, epoch and number of the update. So lanes learn from a stream exactly what they
learn from data at hand. Not in the paper.

Axes: L lanes, S seeds, N sequences, B batch, T time.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np

from ifusion.preprocessing.sequences import Batch
from ifusion.training.epoch import LaneState, Metrics
from ifusion.training.lanes import LaneArrays
from ifusion.training.sweep import Sweep


@dataclass(frozen=True)
class Stream:
    """Sequences that are read while lanes train.

    Attributes:
      take: (numbers (n,) int) -> Batch of these sequences on the host; -1 asks for one
        without any step.
      capacity: N.
      sequence_bytes: of one sequence.
      block_bytes: what is read at once, but for a minibatch of each seed at least; the
        block that lanes train on, the one after it, and a copy on each device are held
        at a time.
    """

    take: Callable[[np.ndarray], Batch]
    capacity: int
    sequence_bytes: int
    block_bytes: int


def stream_epoch(
    sweep: Sweep,
    state: LaneState,
    lanes: LaneArrays,
    going: np.ndarray,
    epoch: int,
    num_sequences: int,
    train: Stream,
    dev: Batch,
) -> tuple[LaneState, Metrics]:
    """Trains an epoch block by block; the next is read while the devices work.

    Args:
      sweep: the program.
      state: (L, ...), donated.
      lanes: (L,) each.
      going: (L,) bool, lanes that are trained.
      epoch: counted from 1.
      num_sequences: how many of the stream exist, in recordings where the state is
        carried over their windows.
      train: what is read.
      dev: as `Sweep.epoch` has it.

    Returns:
      What `Sweep.epoch` returns.
    """
    seeds, seed_of_lane = np.unique(lanes.seed, return_inverse=True)
    orders = np.array(sweep.orders(seeds, epoch, num_sequences, train.capacity))
    orders[~np.isin(np.arange(len(seeds)), seed_of_lane[going])] = -1  # not read
    parts: list[Metrics] = []
    for first, order, data in _blocks(orders, train):
        if parts:  # no more than one block ahead
            jax.block_until_ready(parts[-1])
        state, losses = sweep.advance(
            state, lanes, going, order[seed_of_lane], epoch, first, data
        )
        parts.append(losses)
    updates = {k: np.concatenate([p[k] for p in parts], 1) for k in parts[0]}
    return sweep.judge(state, lanes, going, updates, epoch, dev)


def _blocks(
    orders: np.ndarray, train: Stream
) -> Iterator[tuple[int, np.ndarray, Batch]]:
    """Yields number of the first update, order (S, k, B) in the block, and its data.

    All blocks are of one shape, for one compilation; updates beyond the last are of no
    sequence, and change nothing.
    """
    seeds, steps, size = orders.shape
    most = max(train.block_bytes // (seeds * size * train.sequence_bytes), 1)
    length = math.ceil(steps / math.ceil(steps / most))
    for first in range(0, steps, length):
        wanted = orders[:, first : first + length]
        room = ((0, 0), (0, length - wanted.shape[1]), (0, 0))
        wanted = np.pad(wanted, room, constant_values=-1)
        places = np.arange(wanted.size, dtype=np.int32).reshape(wanted.shape)
        yield first, np.where(wanted >= 0, places, -1), train.take(wanted.ravel())
