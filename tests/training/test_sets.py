"""Lanes of several sets of sequences, against training on each set alone."""

import jax
import numpy as np
import pytest
from grids import grid_arrays

from ifusion.lanes import make_grid
from ifusion.losses import cross_entropy
from ifusion.preprocessing.ragged import Ragged, measure_lengths, take_steps
from ifusion.preprocessing.sequences import Batch
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.loop import train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.schedule import peak_bytes
from ifusion.training.sets import join_batches, join_sets, shapes_of
from ifusion.training.sweep import build_sweep

MODALITIES = ("audio", "video")
OPTIONS = TrainingOptions(
    epochs=4, patience=2, batch_size=4, learning_rate=0.1, input_noise=0.1
)
ROOMS, COUNTS = (20, 15), (18, 11)


def accuracy(outputs, labels, mask):
    return ((outputs.argmax(-1) == labels) * mask).sum() / mask.sum()


def bytes_of(part):
    """Bytes of train."""
    return sum(x.nbytes for x in jax.tree.leaves(part[0]))


def lanes_of(seeds):
    grid = make_grid(MODALITIES, ("emotion",), (0.0, 0.5), seeds)
    return grid_arrays(grid, MODALITIES, ("emotion",))


LANES = [lanes_of((0, 1)), lanes_of((1, 2))]  # they share a seed


@pytest.fixture(scope="module")
def parts(make_data):
    return [(make_data(n, seed=n), make_data(9, seed=n + 1)) for n in ROOMS]


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize(
    ("side_by_side", "same_dev"),
    [(False, False), (False, True), (True, False), (True, True)],
)
def test_lanes_are_those_of_their_set_alone(
    parts, make_model, num_features, mesh, side_by_side, same_dev
):
    if same_dev:
        parts = [(train, parts[0][1]) for train, _ in parts]
    learner = make_implicit_fusion(make_model(), num_features, cross_entropy)
    sweep = build_sweep(learner, accuracy, OPTIONS, mesh, side_by_side=side_by_side)
    sizes = [len(lanes.seed) for lanes in LANES]
    train, dev, sets = join_sets(parts, COUNTS, sizes)
    assert len(dev.mask) == (9 if same_dev else 18)
    arrays = jax.tree.map(lambda *x: np.concatenate(x), *LANES)
    needed = [
        peak_bytes(sweep, len(lanes.seed), lanes, None, *data)
        for lanes, data in zip(LANES, parts, strict=True)
    ]
    both = peak_bytes(sweep, len(arrays.seed), arrays, None, train, dev, sets)
    assert both > max(needed) + min(map(bytes_of, parts))
    state, history = train_lanes(sweep, arrays, train, dev, OPTIONS, sets=sets)
    begin = 0
    for lanes, (own, scored), count, size in zip(
        LANES, parts, COUNTS, sizes, strict=True
    ):
        alone, losses = train_lanes(
            sweep, lanes, own, scored, OPTIONS, num_sequences=count
        )
        here = slice(begin, begin + size)
        found = jax.tree.map(lambda x, here=here: x[here], state)
        begin += size
        closeness = {"rtol": 0, "atol": 1e-5 if side_by_side else 0}
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(x, y, **closeness)
        for name, values in losses.items():
            mine = history[name][: len(values), here]
            np.testing.assert_allclose(mine, values, **closeness)
            assert np.isnan(history[name][len(values) :, here]).all()


def test_recordings_keep_their_steps_and_lengths():
    rng = np.random.default_rng(0)

    def draw(lengths):
        starts = np.cumsum(lengths) - lengths
        values = rng.standard_normal((sum(lengths) + 1, 2)).astype(np.float32)
        ragged = Ragged(values, starts.astype(np.int32), np.array(lengths, np.int32))
        mask = np.ones((3, 1), np.float32)
        measured = measure_lengths({"audio": ragged}, ({"audio": 2}, {"audio": 5}))
        labels = rng.integers(0, 3, (3, 1, 1))
        return Batch({"audio": ragged}, mask, labels, mask, lengths=measured)

    parts = [draw([2, 5, 1]), draw([4, 2, 2])]
    assert shapes_of(parts[0]) == shapes_of(parts[1])
    joined = join_batches(parts)
    for i, part in enumerate(parts):
        rows = np.arange(3)
        found, there = take_steps(joined.features["audio"], rows + 3 * i, 5)
        own, mask = take_steps(part.features["audio"], rows, 5)
        np.testing.assert_array_equal(found, own)
        np.testing.assert_array_equal(there, mask)
        mine = slice(3 * i, 3 * i + 3)
        for name in ("relative", "bucket"):
            value = getattr(joined.lengths, name)[mine]
            np.testing.assert_array_equal(value, getattr(part.lengths, name))
        np.testing.assert_array_equal(joined.labels[mine], part.labels)
