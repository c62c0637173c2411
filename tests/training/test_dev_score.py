from functools import partial

import jax
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from ifusion.evaluation.metrics import CLASSIFICATION_METRICS
from ifusion.training.dev_score import CONCORDANCE_SCORES, make_dev_score


@pytest.mark.parametrize("name", ["micro_f1", "macro_f1", "weighted_f1", "uar"])
def test_the_score_on_dev_equals_scikit_learn_on_the_steps_that_exist(name):
    rng = np.random.default_rng(0)
    labels, mask = rng.integers(0, 4, (30, 3)), (rng.random((30, 3)) < 0.7)
    logits = rng.standard_normal((30, 3, 4)) + np.eye(4)[labels]
    score = jax.jit(make_dev_score(CLASSIFICATION_METRICS[name], 4))(
        logits, labels, mask.astype(np.float32)
    )
    truth, guesses = labels[mask], logits.argmax(-1)[mask]
    if name == "uar":
        expected = balanced_accuracy_score(truth, guesses)
    else:
        expected = f1_score(truth, guesses, average=name.removesuffix("_f1"))
    np.testing.assert_allclose(score, expected, rtol=1e-6)


def recordings(dtype=np.float32):
    """Two recordings of unlike length, far from zero, and room for a third."""
    rng = np.random.default_rng(2)
    labels = 5 + np.cumsum(rng.standard_normal((3, 4000)), axis=1) / 60
    outputs = labels + 0.3 * rng.standard_normal((3, 4000)) - 0.1
    mask = np.arange(4000) < np.array([4000, 2500, 0])[:, None]
    return outputs[..., None].astype(dtype), labels.astype(dtype), mask


def ccc(x, y, convention="population"):
    """By numpy alone."""
    squares, products = {"population": (0, 0), "sample": (1, 1), "avec_ces": (1, 0)}[
        convention
    ]
    x, y = x.astype(float), y.astype(float)
    gap = x.mean() - y.mean()
    both = x.var(ddof=squares) + y.var(ddof=squares) + gap**2
    return 2 * np.cov(x, y, ddof=products)[0, 1] / both


@pytest.mark.parametrize("convention", ["population", "sample", "avec_ces"])
@pytest.mark.parametrize("metric", ["ccc_pooled", "ccc_recordings"])
def test_a_score_on_dev_follows_the_convention_of_the_report(metric, convention):
    """On recordings so short that conventions differ."""
    outputs, labels, mask = (x[:, :40] for x in recordings())
    mask = mask & (np.arange(40) < np.array([[9], [40], [0]]))
    score = jax.jit(partial(CONCORDANCE_SCORES[metric], convention=convention))(
        outputs, labels, mask.astype(np.float32)
    )
    each = [outputs[n, mask[n], 0] for n in range(2)]
    gold = [labels[n, mask[n]] for n in range(2)]
    expected = {
        "ccc_pooled": ccc(np.concatenate(each), np.concatenate(gold), convention),
        "ccc_recordings": np.mean(
            [ccc(*x, convention) for x in zip(each, gold, strict=True)]
        ),
    }
    np.testing.assert_allclose(score, expected[metric], rtol=2e-5)


def test_the_pooled_concordance_on_dev_equals_numpy():
    outputs, labels, mask = recordings()
    score = jax.jit(CONCORDANCE_SCORES["ccc_pooled"])(
        outputs, labels, mask.astype(np.float32)
    )
    expected = ccc(outputs[mask][:, 0], labels[mask])
    np.testing.assert_allclose(score, expected, rtol=2e-6)


def test_the_mean_concordance_on_dev_leaves_out_recordings_that_do_not_exist():
    outputs, labels, mask = recordings()
    score = jax.jit(CONCORDANCE_SCORES["ccc_recordings"])(
        outputs, labels, mask.astype(np.float32)
    )
    each = [ccc(outputs[n, mask[n], 0], labels[n, mask[n]]) for n in range(2)]
    np.testing.assert_allclose(score, np.mean(each), rtol=2e-6)
    assert abs(each[0] - each[1]) > 1e-3  # so that the mean is not the pooled one
