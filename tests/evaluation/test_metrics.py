import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from ifusion.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    confusion_matrix,
    f1_per_class,
)


@st.composite
def answers(draw):
    """Labels and predictions, in which classes are often absent."""
    num_classes = draw(st.integers(2, 8))
    size = draw(st.integers(1, 60))
    codes = st.lists(st.integers(0, num_classes - 1), min_size=size, max_size=size)
    return np.array(draw(codes)), np.array(draw(codes)), num_classes


def sklearn_score(name, labels, predictions, num_classes):
    if name == "accuracy":
        return accuracy_score(labels, predictions)
    if name == "uar":
        with warnings.catch_warnings():  # it warns of classes that are never a label
            warnings.simplefilter("ignore")
            return balanced_accuracy_score(labels, predictions)
    return f1_score(
        labels,
        predictions,
        labels=range(num_classes),
        average=name.removesuffix("_f1"),
        zero_division=0,
    )


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
@settings(max_examples=60, deadline=None)
@given(case=answers())
def test_equals_sklearn(name, case):
    labels, predictions, num_classes = case
    score = CLASSIFICATION_METRICS[name](confusion_matrix(*case))
    expected = sklearn_score(name, labels, predictions, num_classes)
    assert abs(float(score) - expected) < 1e-14


@settings(max_examples=30, deadline=None)
@given(case=answers())
def test_f1_per_class_equals_sklearn(case):
    labels, predictions, num_classes = case
    expected = f1_score(
        labels, predictions, labels=range(num_classes), average=None, zero_division=0
    )
    np.testing.assert_array_equal(f1_per_class(confusion_matrix(*case)), expected)


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32])
def test_same_formula_in_a_jitted_program(name, dtype):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 30, (4, 3, 5, 5))
    counts[0, 0] = 0  # nothing counted at all
    counts[0, 1, :, 2] = counts[0, 1, 2, :] = 0  # a class neither label nor predicted
    metric = CLASSIFICATION_METRICS[name]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        inside = jax.jit(jax.vmap(metric))(jnp.asarray(counts, dtype))
    assert inside.dtype == jnp.float32
    np.testing.assert_allclose(inside, metric(counts), rtol=1e-6)
    assert metric(counts).dtype == np.float64
    assert metric(counts)[0, 0] == 0


def test_confusion_matrix_by_hand():
    counts = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 4)
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, -1], [0, 0], r"labels\[1\] is -1"),
        ([0, 1], [0, 3], r"predictions\[1\] is 3, expected .* 0 to 2"),
        ([0, 1], [0], "equal length"),
        ([[0], [1]], [[0], [1]], "vectors of equal length"),
        ([[0], [1]], [0, 1], "vectors of equal length"),
        ([0, 0.5], [0, 1], "labels are float64, expected class indices"),
        ([0, 1], [0, np.nan], "predictions are float64"),
    ],
)
def test_confusion_matrix_refuses(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(labels), np.array(predictions), 3)


def test_the_scores_that_the_protocol_of_omg_emotion_states():
    """Of its validation counts, if every answer is "happy"."""
    labels = np.repeat(np.arange(7), [61, 48, 18, 207, 196, 79, 8])
    counts = confusion_matrix(labels, np.full_like(labels, 3), 7)
    happy = {k: float(metric(counts)) for k, metric in CLASSIFICATION_METRICS.items()}
    assert round(100 * happy["micro_f1"], 1) == 33.5
    assert round(100 * happy["macro_f1"], 1) == 7.2
    assert round(100 * happy["weighted_f1"], 1) == 16.9
    assert happy["uar"] == pytest.approx(1 / 7)
