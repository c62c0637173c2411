"""Which lanes train at once and where: as many as fit in memory, dealt to devices.

Axes: L lanes, N sequences, B batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ifusion.lanes import LaneArrays
from ifusion.preprocessing.sequences import Batch
from ifusion.training.sets import Sets, one_set
from ifusion.training.stream import Blocks, capacity_of
from ifusion.training.sweep import Sweep


class MemoryLimitError(ValueError):
    """Not even one lane fits in the memory of a device."""


def chunk_of(
    sweep: Sweep,
    lanes: LaneArrays,
    init_data: Any,
    train: Batch | Blocks,
    dev: Batch,
    sets: Sets | None = None,
) -> int:
    """Chooses how many lanes are trained at once: all if they fit, else equal chunks.

    Args:
      sweep: the program.
      lanes: (L, ...).
      init_data: as `train_lanes` takes it.
      train: sequences of the train partition, in memory or read in blocks.
      dev: sequences of the dev partition.
      sets: as `train_lanes` takes it.

    Returns:
      A multiple of `sweep.width`.

    Raises:
      MemoryLimitError: not even one lane fits on a device.
    """
    num_lanes, width = len(lanes.seed), sweep.width
    most = num_lanes if sweep.chunk is None else sweep.chunk
    limit = device_memory(sweep.mesh) if sweep.memory is None else sweep.memory
    if limit is not None:

        def needed(each: int) -> int:
            return peak_bytes(sweep, each * width, lanes, init_data, train, dev, sets)

        most = min(most, width * fit_lanes(needed, limit, -(-most // width)))
    return even_chunk(num_lanes, most, width)


def device_memory(mesh: Mesh) -> float | None:
    """Returns the memory [byte] that a device reports; None for a CPU."""
    stats = mesh.devices.flat[0].memory_stats() or {}
    return stats.get("bytes_limit")


def even_chunk(num_lanes: int, most: int, width: int) -> int:
    """Chooses the size of equal chunks, with as little padding as possible.

    Args:
      num_lanes: L.
      most: lanes that fit in a chunk.
      width: a chunk is a multiple of it.
    """
    chunk = -(-num_lanes // -(-num_lanes // most))
    return chunk + -chunk % width


def deal(num_lanes: int, sweep: Sweep) -> np.ndarray:
    """Orders the lanes of a chunk for the devices, each of which takes an equal part.

    Lanes next to each other mostly share a main, and so cost and stop alike. Devices
    that run lanes one after another get them in turn, so that none waits for long.
    """
    lanes = np.arange(num_lanes)
    return lanes if sweep.side_by_side else lanes.reshape(-1, sweep.width).T.ravel()


def fit_lanes(needed: Callable[[int], int], limit: float, most: int) -> int:
    """Finds how many lanes a device should hold, for the fewest chunks.

    Args:
      needed: lanes -> [byte], ascending; slow.
      limit: [byte].
      most: lanes of a device if all were held at once.

    Raises:
      MemoryLimitError: not even one lane fits.
    """
    sizes = {most: needed(most)}
    if sizes[most] <= limit:
        return most
    fits, fails = 1, most
    sizes[fits] = needed(fits)
    if sizes[fits] > limit:
        raise MemoryLimitError(
            f"sweep.memory_gib: data and one lane need {_in_words(sizes[fits])} per "
            "device; use a smaller training.batch_size, or sweep.block_mib if train is "
            "large"
        )
    while -(-most // fits) > -(-most // (fails - 1)):
        slope = (sizes[fails] - sizes[fits]) / (fails - fits)
        guess = fits + int((limit - sizes[fits]) / slope)
        guess = min(max(guess, fits + 1), fails - 1)
        sizes[guess] = needed(guess)
        fits, fails = (guess, fails) if sizes[guess] <= limit else (fits, guess)
    return fits


def peak_bytes(
    sweep: Sweep,
    size: int,
    lanes: LaneArrays,
    init_data: Any,
    train: Batch | Blocks,
    dev: Batch,
    sets: Sets | None = None,
) -> int:
    """Returns the peak memory [byte] of a device that trains so many lanes.

    It adds what XLA reports for the compiled programs and the arrays held meanwhile.
    Each lane counts as one of its own seed, the most expensive case.

    Args:
      sweep: the program.
      size: lanes of all devices together.
      lanes: (L, ...), of which only shapes matter.
      init_data: as `train_lanes` takes it.
      train: sequences of the train partition, in memory or read in blocks.
      dev: sequences of the dev partition.
      sets: as `train_lanes` takes it.
    """

    def shape(x: Any) -> jax.ShapeDtypeStruct:
        of_all = (size, *x.shape[1:])
        return jax.ShapeDtypeStruct(of_all, x.dtype, sharding=sweep.sharding)

    seeds = len(np.unique(lanes.seed))
    sets = sets or one_set(len(lanes.seed), capacity_of(train), 1)
    capacity = max(sets.rooms)
    order = jax.eval_shape(lambda: sweep.orders(lanes.seed, 1, 1, capacity))
    lanes, init_data, order = jax.tree.map(shape, (lanes, init_data, order))
    state = jax.tree.map(shape, jax.eval_shape(sweep.init, lanes, init_data))
    going, shown = shape(np.zeros(1, bool)), jax.tree.map(shape, sets.dev) or None
    data, waits = train, 0
    if isinstance(train, Blocks):  # a block is trained on, another one waits
        updates, batch_size = order.shape[1:]
        minibatch = seeds * batch_size
        updates = min(
            updates, max(train.block_bytes // (minibatch * train.sequence_bytes), 1)
        )
        data = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                (updates * minibatch, *x.shape[1:]), x.dtype
            ),
            train.take(np.zeros(1, int)),
        )
        order = shape(np.zeros((1, updates, batch_size), np.int32))
        waits = _bytes(data)
    minibatches = (lanes.seed, order)
    trained, best = state.train, state[1:]
    programs = (
        sweep.advance.lower(trained, lanes, going, minibatches, 1, 0, data),
        sweep.score.lower(best, (lanes, trained.params), going, shown, 1, dev),
    )
    spread = _bytes((state, lanes, going, minibatches, shown, init_data)) // sweep.width
    return spread + _bytes((data, dev)) + waits + max(map(_extra_bytes, programs))


def _extra_bytes(lowered: Any) -> int:
    """Returns the memory [byte] of a program beyond its arguments, used or not."""
    found = lowered.compile().memory_analysis()
    new = found.output_size_in_bytes - found.alias_size_in_bytes
    return int(found.temp_size_in_bytes + new)


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _in_words(size: float) -> str:
    """Formats bytes as "1.25 GiB" or, below one, "12.3 MiB"."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
