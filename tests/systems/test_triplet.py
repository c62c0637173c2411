from dataclasses import replace

import jax
import numpy as np
import pytest

from ifusion.losses import triplet_loss
from ifusion.preprocessing.sequences import Batch
from ifusion.systems import triplet


def brute_force(anchors, others, same, different, margin):
    """All triplets, one by one."""
    a = anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
    o = others / np.linalg.norm(others, axis=1, keepdims=True)
    hinges = [
        max(0.0, ((a[i] - o[p]) ** 2).sum() - ((a[i] - o[n]) ** 2).sum() + margin)
        for i in range(len(a))
        for p in np.flatnonzero(same[i])
        for n in np.flatnonzero(different[i])
    ]
    return np.mean(hinges)


@pytest.mark.parametrize("margin", [0.2, 1.5])
def test_the_triplet_loss_equals_all_triplets_one_by_one(margin):
    rng = np.random.default_rng(0)
    anchors, others = rng.standard_normal((2, 7, 4)).astype(np.float32)
    same = rng.random((7, 7)) < 0.3
    different = ~same & (rng.random((7, 7)) < 0.8)
    loss = triplet_loss(anchors, others, same, different, margin)
    expected = brute_force(anchors, others, same, different, margin)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_no_triplet_costs_nothing_and_zeros_have_a_finite_slope():
    zeros, none = np.zeros((3, 4), np.float32), np.zeros((3, 3))
    every = np.ones((3, 3))
    assert triplet_loss(zeros, zeros, every, none, 0.2) == 0
    slope = jax.grad(triplet_loss)(zeros, zeros + 1, np.eye(3), 1 - np.eye(3), 0.2)
    assert np.isfinite(slope).all()


def test_classes_are_alike_by_their_most_frequent_one():
    labels = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 2], [2, 2, 2]])
    labelled = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]], np.float32)
    # classes 1, 1, then 1 and 2 as often, so the first, and none
    same, different = triplet.alike_pairs(Batch({}, None, labels, labelled), 3)
    known = np.ones((4, 4)) * np.array([1, 1, 1, 0]) * np.array([1, 1, 1, 0])[:, None]
    np.testing.assert_array_equal(same, known)
    np.testing.assert_array_equal(different, np.zeros((4, 4)))


def test_values_are_alike_on_one_side_of_the_median():
    labels = np.array([[0.0, 9.0], [2.0, 4.0], [5.0, 5.0], [-7.0, 1.0], [99.0, 0.0]])
    labelled = np.array([[1, 0], [1, 1], [1, 1], [1, 1], [0, 0]], np.float32)
    # means 0, 3, 5, -3, none; the median of the four is 1.5
    same, different = triplet.alike_pairs(Batch({}, None, labels, labelled), 0)
    high = np.array([0, 1, 1, 0])
    np.testing.assert_array_equal(same[:4, :4], high[:, None] == high)
    np.testing.assert_array_equal(different[:4, :4], high[:, None] != high)
    for x in (same, different):
        assert not np.any(x[4]) and not np.any(x[:, 4])


def test_alpha_0_is_tried_once_and_others_with_every_lambda(utterances):
    options = replace(
        utterances[0].systems, crossed_alphas=(0.0, 0.5), lambdas=(0.1, 1.0)
    )
    tried = triplet.crossed(replace(utterances[0], systems=options), "video")
    assert [dict(x.setting) for x in tried] == [
        {"alpha": 0.0, "lambda": 0.0},
        {"alpha": 0.5, "lambda": 0.1},
        {"alpha": 0.5, "lambda": 1.0},
    ]
