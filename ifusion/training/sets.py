"""Several sets of sequences in one, whose lanes train side by side.

Each lane reads the set it belongs to, and is trained as on that set alone. Not in the
paper.

Axes: L lanes, D sets, N sequences of a set.
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
      counts: D, how many sequences of train are not padding, counted in recordings if
        the state is carried over their windows.
      dev: the sequences of dev that each set is scored on, (D, n) int32, -1 where none
        is left: all, or those of each bucket; () if every set is scored on all of dev.
    """

    of: np.ndarray
    counts: tuple[int, ...]
    dev: tuple[np.ndarray, ...] = ()


def one_set(lanes: int, count: int) -> Sets:
    """Makes a single set of so many lanes and sequences."""
    return Sets(np.zeros(lanes, int), (count,))


def join_sets(
    parts: Sequence[tuple[Batch, Batch]], counts: Sequence[int], lanes: Sequence[int]
) -> tuple[Batch, Batch, Sets]:
    """Joins sets of equal shapes.

    Args:
      parts: D of (train, dev).
      counts: D, see `Sets`.
      lanes: D, how many lanes each set has, one set after another.

    Returns:
      Train and dev of all, and where the sets lie.
    """
    of = np.repeat(np.arange(len(parts)), lanes)
    trains, devs = zip(*parts, strict=True)
    train, (first, *others) = join_batches(trains), devs
    if all(dev is first for dev in others):
        return train, first, Sets(of, tuple(counts))
    size = len(first.mask)
    own = [
        [np.arange(size)] if dev.lengths is None else dev.lengths.groups for dev in devs
    ]
    rows = tuple(
        np.stack([np.where(x >= 0, x + i * size, -1) for i, x in enumerate(each)])
        for each in zip(*own, strict=True)
    )
    shown = tuple(x.astype(np.int32) for x in rows)
    return train, join_batches(devs), Sets(of, tuple(counts), shown)


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Joins batches of equal shapes: sequence i of number k becomes k N + i.

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


def shapes_of(batch: Batch) -> Any:
    """Returns what must be equal for `join_batches`; steps of `Ragged` need not be."""

    def shape(x: Any) -> Any:
        if isinstance(x, Ragged):
            return x.values.shape[1:], x.lengths.shape
        return np.shape(x), np.result_type(x).name

    shapes = jax.tree.map(shape, batch, is_leaf=lambda x: isinstance(x, Ragged))
    return str(shapes)
