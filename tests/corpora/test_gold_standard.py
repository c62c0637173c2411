import itertools

import audmetric
import numpy as np
import pandas as pd
import pytest

from ifusion.corpora.gold_standard import (
    avec_gold_standard,
    mean_gold_standard,
    rater_weights,
)

NAN = np.nan


def draw(num_raters=6, num_frames=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.standard_normal(num_frames)) / 10
    slopes, levels = rng.uniform(-0.3, 1.5, num_raters), rng.normal(0, 0.5, num_raters)
    noise = 0.2 * rng.standard_normal((num_frames, num_raters))
    return truth[:, None] * slopes + levels + noise


def published(ratings):
    """The formula as AVEC 2018 states it, in pandas and audmetric."""
    frame = pd.DataFrame(ratings)
    weights = [
        np.mean([audmetric.concordance_cc(frame[a], frame[b]) for b in frame if b != a])
        for a in frame
    ]
    centre = (frame.mean() * weights).sum() / np.sum(weights)
    return frame.mean(axis=1) - frame.stack().mean() + centre


def test_two_raters_by_hand():
    # raters agree with each other equally, so that both weigh the same
    ratings = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 4.0]])
    np.testing.assert_allclose(mean_gold_standard(ratings), [0.5, 1, 3])
    np.testing.assert_allclose(avec_gold_standard(ratings), [0.5, 1, 3])


def test_a_dissenting_rater_by_hand():
    # a and b agree fully (CCC 1); c is constant (CCC 0 with both) at a level of 9
    ratings = np.array([[0.0, 0.0, 9.0], [1.0, 1.0, 9.0], [2.0, 2.0, 9.0]])
    np.testing.assert_allclose(rater_weights(ratings), [0.5, 0.5, 0])
    # mean over raters is 3, 11/3, 13/3; its mean 11/3; the centre 1
    expected = np.array([3, 11 / 3, 13 / 3]) - 11 / 3 + 1
    np.testing.assert_allclose(avec_gold_standard(ratings), expected)


def test_negative_weights_by_hand():
    # b runs against the others, a level of 1 above: CCC -2/3; the others agree: CCC 1
    ratings = np.array([[-1.0, 2.0, -1.0], [1.0, 0.0, 1.0]])
    np.testing.assert_allclose(rater_weights(ratings), [1 / 6, -2 / 3, 1 / 6])
    # the weights sum to less than 0: all raters weigh the same, the plain mean
    np.testing.assert_allclose(avec_gold_standard(ratings), ratings.mean(1))
    more = ratings[:, [0, 1, 2, 2]]
    np.testing.assert_allclose(rater_weights(more), [4 / 9, -2 / 3, 4 / 9, 4 / 9])
    # they sum to 2/3: the level were -2/3 * 1 / (2/3) = -1, below every rater's mean;
    # the least of these is 0, and the plain mean has 1/4
    expected = more.mean(1) - 1 / 4 + 0
    np.testing.assert_allclose(avec_gold_standard(more), expected)


def test_weights_that_nearly_cancel_leave_the_level_among_the_raters():
    wave = np.sin(np.linspace(0, 20, 400))
    for c in np.linspace(0.4, 0.9, 101):  # through where the weights sum to 0
        ratings = np.stack([wave, wave, 0.1 - c * wave, 0.1 - c * wave / 9], axis=1)
        level = avec_gold_standard(ratings).mean()
        means = ratings.mean(0)
        assert means.min() - 1e-12 <= level <= means.max() + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_published_formula(seed):
    ratings = draw(seed=seed)
    assert published(ratings).std() > 0.1
    np.testing.assert_allclose(avec_gold_standard(ratings), published(ratings))


def test_a_rater_who_left_frames_out_keeps_an_own_mean_and_variance():
    """As AVEC's GSCreation.py: a rater's moments are of all that this rater rated."""
    ratings = draw()
    ratings[:40, 2] = NAN
    ratings[100:130, 4] = NAN
    means, stds = np.nanmean(ratings, 0), np.nanstd(ratings, 0)
    weights = []
    for a in range(6):
        pairs = []
        for b in set(range(6)) - {a}:
            both = (ratings[:, a] - means[a]) * (ratings[:, b] - means[b])
            spread = stds[a] ** 2 + stds[b] ** 2 + (means[a] - means[b]) ** 2
            pairs.append(2 * np.nanmean(both) / spread)
        weights.append(np.mean(pairs))
    np.testing.assert_allclose(rater_weights(ratings), weights)
    level = (means * weights).sum() / np.sum(weights)
    expected = np.nanmean(ratings, 1) - np.nanmean(ratings) + level
    np.testing.assert_allclose(avec_gold_standard(ratings), expected)


def test_no_frames_in_common_and_no_ratings():
    apart = np.array([[1.0, NAN], [2.0, NAN], [NAN, 5.0], [NAN, 7.0]])
    np.testing.assert_array_equal(rater_weights(apart), [0, 0])
    np.testing.assert_allclose(mean_gold_standard(apart), [1, 2, 5, 7])
    # both weigh the same: the mean of the levels 1.5 and 6 is the mean of all ratings
    np.testing.assert_allclose(avec_gold_standard(apart), [1, 2, 5, 7])
    nothing = np.full((3, 2), NAN)
    assert np.isnan(avec_gold_standard(nothing)).all()
    gap = np.array([[1.0, 1.5], [NAN, NAN], [3.0, 2.0]])
    assert np.isnan(avec_gold_standard(gap)).tolist() == [False, True, False]


def test_a_rater_without_ratings_changes_nothing():
    ratings = draw(3)
    silent = np.column_stack([ratings, np.full(len(ratings), NAN)])
    np.testing.assert_allclose(avec_gold_standard(silent), avec_gold_standard(ratings))


def test_a_single_rater_is_the_gold_standard():
    ratings = draw(1)
    assert rater_weights(ratings).tolist() == [1]
    np.testing.assert_allclose(avec_gold_standard(ratings), ratings[:, 0])


def test_the_order_of_raters_does_not_matter():
    ratings = draw(4)
    expected = avec_gold_standard(ratings)
    for order in itertools.permutations(range(4)):
        np.testing.assert_allclose(avec_gold_standard(ratings[:, order]), expected)


def test_constant_raters_are_averaged():
    ratings = np.tile([0.1, 0.3, 0.8], (5, 1))
    np.testing.assert_allclose(avec_gold_standard(ratings), np.full(5, 0.4))
