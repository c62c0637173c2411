"""Trains an epoch of all lanes, on data in memory or read in blocks.

Minibatches and noise follow from seed, epoch and number of the update, so blocks
give exactly the same lanes as data in memory. Not in the paper.

Axes: L lanes, S seeds (of each set), N sequences, B batch, T time, U updates, D sets.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np

from ifusion.lanes import LaneArrays
from ifusion.preprocessing.sequences import Batch
from ifusion.training.sets import Sets
from ifusion.training.sweep import LaneState, Metrics, Sweep


@dataclass(frozen=True)
class Blocks:
    """Sequences that are read while lanes train.

    Attributes:
      take: (numbers (n,) int) -> Batch of these sequences on the host; -1 stands for a
        sequence without steps.
      capacity: N.
      sequence_bytes: of one sequence.
      block_bytes: of a block, which holds at least a minibatch of each seed. Two blocks
        are in memory at a time, on the host and on each device.
    """

    take: Callable[[np.ndarray], Batch]
    capacity: int
    sequence_bytes: int
    block_bytes: int


def capacity_of(train: Batch | Blocks) -> int:
    """Returns how many sequences there is room for, N."""
    return train.capacity if isinstance(train, Blocks) else len(train.mask)


def train_epoch(
    sweep: Sweep,
    state: LaneState,
    lanes: LaneArrays,
    seeds: np.ndarray,
    going: np.ndarray,
    epoch: int,
    sets: Sets,
    train: Batch | Blocks,
    dev: Batch,
) -> tuple[LaneState, dict[str, np.ndarray]]:
    """Trains an epoch and scores it on dev.

    Blocks are read one after the other, the next while the devices work.

    Args:
      sweep: the program.
      state: (L, ...), donated.
      lanes: (L,) each.
      seeds: (L,), of the lanes, on the host.
      going: (L,) bool, lanes that are trained.
      epoch: counted from 1.
      sets: which sequences each lane reads; those of `Blocks` are one set.
      train: sequences of the train partition, in memory or read in blocks.
      dev: sequences of the dev partition.

    Returns:
      The state; and {name: (L,)}, the mean losses of the epoch and dev_score, NaN for
      lanes that are not going.
    """
    ids = sets.of.astype(np.int64) << 32 | seeds  # lanes of one read the same
    length = row_length(ids, len(ids) // sweep.width)
    row_seeds, row_sets = seeds[::length], sets.of[::length]
    drawn, row = np.unique(ids[::length], return_inverse=True)
    orders, lengths = _draw_orders(sweep, drawn, epoch, sets, train)
    orders[~np.isin(drawn, ids[going])] = -1  # not read
    shown = tuple(rows[row_sets] for rows in sets.dev) or None
    trained, best = state.train, state[1:]
    parts: list[Metrics] = []
    for first, order, data in _blocks(orders, train):
        if parts:  # no more than one block ahead
            jax.block_until_ready(parts[-1])
        minibatches = (row_seeds, order[row])
        trained, losses = sweep.advance(
            trained, lanes, going, minibatches, epoch, first, data
        )
        parts.append(losses)
    best, score = sweep.score(best, (lanes, trained.params), going, shown, epoch, dev)
    updates = {k: np.concatenate([p[k] for p in parts], 1) for k in parts[0]}
    means = {k: np.empty_like(x[:, 0]) for k, x in updates.items() if k != "labels"}
    for each in np.unique(lengths):  # sums of zeros may have other bits
        mine = lengths[sets.of] == each
        own = {k: x[mine, :each] for k, x in updates.items()}
        counts = own.pop("labels")
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        with np.errstate(invalid="ignore"):  # of lanes that diverge
            for k, x in own.items():
                means[k][mine] = (share * x).sum(1, dtype=x.dtype)
    return LaneState(trained, *best), {**means, "dev_score": np.asarray(score)}


def _draw_orders(
    sweep: Sweep, ids: np.ndarray, epoch: int, sets: Sets, train: Batch | Blocks
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the minibatches of each set and seed.

    Args:
      sweep: the program.
      ids: (S,) int64, ascending; the set in the upper 32 bits, the seed in the lower.
      epoch: counted from 1.
      sets: where the D sets lie in train.
      train: sequences of the train partition, in memory or read in blocks.

    Returns:
      (S, U, B), -1 beyond the last update of a set; and the updates of each set (D,).
    """
    lengths = None if isinstance(train, Blocks) else train.lengths
    orders, begin = [], 0
    updates = np.zeros(len(sets.rooms), int)
    for i, (room, count) in enumerate(zip(sets.rooms, sets.counts, strict=True)):
        relative = None if lengths is None else lengths.relative[begin : begin + room]
        seeds = ids[ids >> 32 == i].astype(np.uint32)
        if len(seeds):
            order = np.array(sweep.orders(seeds, epoch, count, room, relative))
            orders.append(np.where(order >= 0, order + begin, -1))
            updates[i] = order.shape[1]
        begin += room
    most = int(updates.max())
    padded = [
        np.pad(x, ((0, 0), (0, most - x.shape[1]), (0, 0)), constant_values=-1)
        for x in orders
    ]
    return np.concatenate(padded), updates


def row_length(ids: np.ndarray, most: int) -> int:
    """Finds how many consecutive lanes have the same id, (L,) -> a divisor of most.

    Minibatches are drawn and gathered once for each of these rows.
    """
    ends = np.flatnonzero(np.diff(ids)) + 1
    return math.gcd(most, *ends.tolist())


def _blocks(
    orders: np.ndarray, train: Batch | Blocks
) -> Iterator[tuple[int, np.ndarray, Batch]]:
    """Yields the number of the first update, order (S, k, B) in the block, and data.

    All blocks have the same shape, so the program is compiled once; updates beyond the
    last have no sequences, and change nothing.
    """
    if not isinstance(train, Blocks):
        yield 0, orders, train
        return
    seeds, steps, size = orders.shape
    most = max(train.block_bytes // (seeds * size * train.sequence_bytes), 1)
    length = math.ceil(steps / math.ceil(steps / most))
    for first in range(0, steps, length):
        wanted = orders[:, first : first + length]
        room = ((0, 0), (0, length - wanted.shape[1]), (0, 0))
        wanted = np.pad(wanted, room, constant_values=-1)
        places = np.arange(wanted.size, dtype=np.int32).reshape(wanted.shape)
        yield first, np.where(wanted >= 0, places, -1), train.take(wanted.ravel())
