"""Training on data that are read block by block, against the same data at hand."""

import jax
import numpy as np
import pytest
from grids import grid_arrays

from ifusion.lanes import make_grid
from ifusion.losses import cross_entropy
from ifusion.preprocessing.sequences import Batch
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.loop import train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.stream import Blocks
from ifusion.training.sweep import build_sweep

MODALITIES = ("audio", "video")
LANES = grid_arrays(
    make_grid(MODALITIES, ("emotion",), (0.0, 0.5), (0, 1)), MODALITIES, ("emotion",)
)
SEQUENCES, WINDOWS = 22, 2  # of one step; or 11 recordings of two windows
OPTIONS = TrainingOptions(
    epochs=6, patience=2, batch_size=4, learning_rate=0.1, input_noise=0.1
)


def accuracy(outputs, labels, mask):
    right = (outputs.argmax(-1) == labels) * mask
    return right.sum() / mask.sum()


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(SEQUENCES), make_data(9, seed=1)


@pytest.fixture(scope="module")
def build(make_model, num_features, mesh):
    def make(side_by_side=False, windows=1):
        model = make_model(recurrent=windows > 1)
        learner = make_implicit_fusion(model, num_features, cross_entropy)
        return build_sweep(
            learner, accuracy, OPTIONS, mesh, windows, side_by_side=side_by_side
        )

    return make


def bytes_of(sequence):
    return sum(x.nbytes for x in jax.tree.leaves(sequence))


def stream(train, block_bytes, asked=None):
    """Takes sequences of arrays that are at hand, as a reader of files would."""

    def take(numbers):
        if asked is not None:
            asked.append(numbers.tolist())
        exists = (numbers >= 0)[:, None]
        taken = Batch(*jax.tree.map(lambda x: x[numbers].copy(), train))
        taken.mask[~exists[:, 0]] = 0
        taken.labelled[~exists[:, 0]] = 0
        return taken

    one = bytes_of(jax.tree.map(lambda x: x[:1], train))
    return Blocks(take, len(train.mask), one, block_bytes)


@pytest.fixture(
    scope="module",
    params=[
        (False, 1),
        pytest.param((True, 1), marks=pytest.mark.slow),
        (False, WINDOWS),
    ],
    ids=str,
)
def at_hand(request, build, data):
    """A program, how many sequences or recordings there are, and what it ends with."""
    side_by_side, windows = request.param
    sweep = build(side_by_side, windows)
    count = (SEQUENCES - 2) // windows  # the rest is room
    run = train_lanes(sweep, LANES, *data, OPTIONS, num_sequences=count)
    return sweep, count, run


@pytest.mark.parametrize(
    "updates",
    [pytest.param(n, marks=[pytest.mark.slow] * (n != 4)) for n in (1, 4, 100)],
)
def test_lanes_learn_from_a_stream_what_they_learn_from_data_at_hand(
    at_hand, data, updates
):
    """Blocks of one update, of four (the last not full), and of the whole epoch."""
    sweep, count, expected = at_hand
    train, dev = data
    two_seeds = 2 * OPTIONS.batch_size * bytes_of(jax.tree.map(lambda x: x[:1], train))
    asked = []
    blocks = stream(train, updates * two_seeds, asked)
    streamed = train_lanes(sweep, LANES, blocks, dev, OPTIONS, num_sequences=count)
    jax.tree.map(np.testing.assert_array_equal, streamed, expected)
    assert len(set(map(len, asked))) == 1  # one shape, one compilation
    assert max(map(len, asked)) <= updates * 2 * OPTIONS.batch_size


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize("seeds", [(0, 1), (1,)])
def test_every_sequence_is_read_once_an_epoch_for_each_seed_that_is_trained(
    build, data, seeds
):
    train, dev = data
    asked = []
    blocks = stream(train, 1, asked)
    only = np.flatnonzero(np.isin(LANES.seed, seeds)).tolist()
    _, history = train_lanes(build(), LANES, blocks, dev, OPTIONS, only=only)
    trained = ~np.isnan(history["joint"])
    assert trained.any(0).tolist() == np.isin(LANES.seed, seeds).tolist()
    passes = sum(len(set(LANES.seed[row].tolist())) for row in trained)
    read = sorted(n for block in asked for n in block if n >= 0)
    assert read == sorted([*range(SEQUENCES)] * passes)


@pytest.mark.usefixtures("unoptimised")
def test_a_lane_that_fails_is_frozen_as_with_data_at_hand(build, data):
    """Infinite video in one minibatch: all lanes fail but audio with alpha = 0."""
    train, dev = data
    video = train.features["video"].copy()
    video[5] = np.inf
    broken = train._replace(features={**train.features, "video": video})
    sweep = build()
    expected = train_lanes(sweep, LANES, broken, dev, OPTIONS)
    failed = expected[0].train.failed_step >= 0
    assert failed.tolist() == [False, True, False, True, True, True, True, True]
    streamed = train_lanes(sweep, LANES, stream(broken, 1), dev, OPTIONS)
    jax.tree.map(np.testing.assert_array_equal, streamed, expected)
