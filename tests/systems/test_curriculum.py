from dataclasses import replace

import jax
import numpy as np
import pytest

from ifusion.losses import squared_error
from ifusion.preprocessing.minibatches import take_target
from ifusion.systems import curriculum
from ifusion.systems.neural import NeuralLane, lane_arrays


def test_bins_by_hand():
    difficulty = np.array([[0.3, 0.1, 9.0, 0.2], [0.5, 0.4, np.nan, 0.6]])
    exists = np.array([[1, 1, 0, 1], [1, 1, 1, 1]])
    bins = curriculum.equal_bins(difficulty, exists, 3, np.random.default_rng(0))
    # sorted: .1 .2 | .3 .4 | .5 .6 NaN of seven, so 3 + 2 + 2: ranks * 3 // 7
    expected = [[0, 0, 2, 0], [1, 1, 2, 2]]
    np.testing.assert_array_equal(bins, expected)


def test_ties_are_put_in_random_order():
    difficulty, exists = np.zeros((40, 1)), np.ones((40, 1))
    first, second = (
        curriculum.equal_bins(difficulty, exists, 5, np.random.default_rng(seed))
        for seed in (0, 1)
    )
    for bins in (first, second):
        assert np.bincount(bins.ravel().astype(int)).tolist() == [8] * 5
        assert (np.diff(bins.ravel()) < 0).any()
    assert (first != second).any()


@pytest.mark.parametrize("epochs", [5, 12, 100])
def test_bins_open_after_equal_epochs_and_all_do(epochs):
    opened = [curriculum.opened_bin(e, epochs, 5) for e in range(1, epochs + 1)]
    assert opened == sorted(opened) and set(opened) == set(range(5))
    counts = np.bincount(opened)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("difficulty", "first"),
    [(curriculum.disagreement, "least"), (curriculum.agreement, "most")],
)
def test_training_begins_with_the_first_bin(recordings, difficulty, first):
    """The loss of an epoch is that of the steps whose bin is open, found by sorting."""
    protocol, fold = recordings
    fold = curriculum.with_bins(protocol, fold, difficulty, "audio")
    learner = curriculum.make_learner(protocol, "audio")
    lane = NeuralLane("audio", "valence", seed=1, weights={}, delay=2)
    lane = jax.tree.map(
        lambda x: x[0], lane_arrays([lane], protocol.modalities, protocol.targets)
    )
    batch = take_target(fold.train, lane.target, lane.delay)
    params = learner.init(jax.random.key(0), None)
    outputs = learner.output(params, batch, lane)
    # all steps with a label, once each
    known = fold.whole.labelled > 0
    ranked = np.sort(fold.whole.extras["uncertainty"][..., 1][known])
    ranked = ranked if first == "least" else ranked[::-1]
    seen = []
    for epoch in range(1, 6):
        share = -(-len(ranked) * epoch // 5)
        bound = ranked[share - 1]
        here = np.asarray(batch.extras["uncertainty"])
        opened = here <= bound if first == "least" else here >= bound
        mask = np.asarray(batch.labelled) * opened
        expected = squared_error(outputs, batch.labels, mask)
        loss, _ = learner.loss(params, batch, lane, epoch, None)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        seen.append(mask.sum())
    assert seen == sorted(seen) and 0 < seen[0] < seen[-1] == batch.labelled.sum()


def test_random_bins_are_of_the_seed_alone(recordings):
    protocol, fold = recordings
    wild = fold.whole.extras["uncertainty"] ** 3
    other = replace(fold, whole=fold.whole._replace(extras={"uncertainty": wild}))
    bins = [
        curriculum.with_bins(protocol, x, curriculum.chance, "audio").train.extras
        for x in (fold, other)
    ]
    for seed in protocol.seeds:
        np.testing.assert_array_equal(bins[0][f"bin_{seed}"], bins[1][f"bin_{seed}"])
    assert (bins[0]["bin_0"] != bins[0]["bin_1"]).any()


@pytest.mark.parametrize("ties", [False, True])
def test_a_step_of_two_windows_is_in_one_bin(recordings, ties):
    protocol, fold = recordings
    if ties:
        alike = {"uncertainty": np.zeros_like(fold.whole.labels)}
        fold = replace(fold, whole=fold.whole._replace(extras=alike))
    difficulty = curriculum.disagreement if ties else curriculum.chance
    binned = curriculum.with_bins(protocol, fold, difficulty, "audio")
    bins = binned.train.extras["bin_0"]
    assert len(set(bins[:4].ravel())) == 5
    for first in (0, 2):
        np.testing.assert_array_equal(bins[first, 8:], bins[first + 1, :2])


def test_steps_of_unknown_difficulty_come_last(recordings):
    """Unrated ones are neither easy nor, the other way round, first."""
    protocol, fold = recordings
    gaps = np.array(fold.whole.extras["uncertainty"])
    gaps[1] = np.nan
    fold = replace(fold, whole=fold.whole._replace(extras={"uncertainty": gaps}))
    for difficulty in (curriculum.disagreement, curriculum.agreement):
        binned = curriculum.with_bins(protocol, fold, difficulty, "audio")
        bins = binned.train.extras["bin_1"]
        assert bins[2:4].min() >= 2 and bins[:2].min() == 0


def test_fewer_epochs_than_bins_are_refused(utterances):
    training = replace(utterances[0].training, epochs=4)
    with pytest.raises(ValueError, match="epochs is 4; a curriculum of 5 bins"):
        curriculum.CURRICULUM.make_fit(replace(utterances[0], training=training))
