"""Several sets of sequences in one, whose lanes train side by side.

Each lane reads the set it belongs to, and is trained as on that set alone. Not in the
paper.

Axes: L lanes, D sets, N sequences of dev.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.preprocessing.ragged import Ragged, join_recordings
from ifusion.preprocessing.sequences import Batch


class Sets(NamedTuple):
    """Where the sets lie in train and dev, and which lanes read them.

    Attributes:
      of: (L,) int, number of the set of each lane.
      rooms: D, how many sequences of train each set has room for.
      counts: D, how many of them exist, counted in recordings if the state is carried
        over their windows.
      dev: the sequences of dev that each set is scored on, (D, n) int32, -1 where none
        is left: all, or those of each bucket; () if every set is scored on all of dev.
    """

    of: np.ndarray
    rooms: tuple[int, ...]
    counts: tuple[int, ...]
    dev: tuple[np.ndarray, ...] = ()


def one_set(lanes: int, room: int, count: int) -> Sets:
    """Makes a single set, of so many lanes and sequences."""
    return Sets(np.zeros(lanes, int), (room,), (count,))


def join_sets(
    parts: Sequence[tuple[Batch, Batch]], counts: Sequence[int], lanes: Sequence[int]
) -> tuple[Batch, Batch, Sets]:
    """Joins sets of equal `shapes_of`, whose dev have equal numbers of sequences.

    Args:
      parts: D of (train, dev).
      counts: D, see `Sets`.
      lanes: D, how many lanes each set has, one set after another.

    Returns:
      Train and dev of all, and where the sets lie.
    """
    trains, devs = zip(*parts, strict=True)
    rooms = tuple(len(train.mask) for train in trains)
    sets = Sets(np.repeat(np.arange(len(parts)), lanes), rooms, tuple(counts))
    first, size = devs[0], len(devs[0].mask)
    if all(dev is first for dev in devs):
        return join_batches(trains), first, sets
    own = [
        [np.arange(size)] if dev.lengths is None else dev.lengths.groups for dev in devs
    ]
    rows = (
        np.stack([np.where(x >= 0, x + i * size, -1) for i, x in enumerate(each)])
        for each in zip(*own, strict=True)
    )
    sets = sets._replace(dev=tuple(x.astype(np.int32) for x in rows))
    return join_batches(trains), join_batches(devs), sets


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Joins batches of equal `shapes_of`, one after another.

    Recordings keep their buckets, but belong to no `groups`.
    """
    bare = [
        batch._replace(lengths=batch.lengths and batch.lengths._replace(groups=()))
        for batch in batches
    ]

    def join(*parts: Any) -> Any:
        if isinstance(parts[0], Ragged):
            return join_recordings(parts, [len(x.lengths) for x in parts])
        return np.concatenate(parts)

    joined: Batch = jax.tree.map(join, *bare, is_leaf=lambda x: isinstance(x, Ragged))
    return joined


def shapes_of(batch: Batch) -> str:
    """Describes a batch, but for its numbers of sequences and of steps of `Ragged`."""

    def shape(x: Any) -> Any:
        values = x.values if isinstance(x, Ragged) else x
        return np.shape(values)[1:], np.result_type(values).name

    bare = batch._replace(lengths=None)
    return repr(jax.tree.map(shape, bare, is_leaf=lambda x: isinstance(x, Ragged)))
