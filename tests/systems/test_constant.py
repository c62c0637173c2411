"""The constant answer against counts and means by hand, and dummies of scikit-learn."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from ifusion.preprocessing.sequences import Batch
from ifusion.systems.constant import CONSTANT


def fit(labels, labelled, num_classes, targets):
    """Fits on sequences without features, of steps that may lack a label."""
    mask = np.ones((len(labels), labels.shape[1] - 1), np.float32)
    whole = Batch({}, mask, labels, labelled)
    protocol = SimpleNamespace(
        num_classes=num_classes, mains=("a", "v"), targets=targets, seeds=(7, 8)
    )
    fitted = CONSTANT.make(protocol)(
        SimpleNamespace(whole=whole), lambda stage, mains: nullcontext()
    )
    features = {m: np.zeros((2, 3, 1)) for m in ("a", "v")}
    positions = range(len(fitted.candidates))
    return fitted, fitted.predict(features, np.ones((2, 3)), positions)


def test_it_names_the_class_most_frequent_in_train():
    labels = np.array([[[2], [1], [0]], [[1], [0], [0]], [[2], [0], [0]]])
    labelled = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 1]], np.float32)
    fitted, outputs = fit(labels, labelled, 4, ("emotion",))
    dummy = DummyClassifier().fit(np.zeros(4), [2, 1, 1, 2])  # a tie: the first
    assert [(c.main, c.seed) for c in fitted.candidates] == [("a", 7), ("v", 7)]
    assert outputs.shape == (2, 2, 3, 4)
    assert (outputs.argmax(-1) == dummy.predict([[0]])[0]).all()


def test_it_says_the_mean_of_each_target_in_train():
    rng = np.random.default_rng(0)
    labels = rng.standard_normal((3, 5, 2)).astype(np.float32)
    labelled = np.ones((3, 5), np.float32)
    labelled[1, 2:] = 0
    fitted, outputs = fit(labels, labelled, 0, ("arousal", "valence"))
    known = labels[:, :4][labelled[:, :4] > 0]
    mean = DummyRegressor().fit(known, known).predict([[0]])[0]
    for candidate, mine in zip(fitted.candidates, outputs, strict=True):
        expected = mean[["arousal", "valence"].index(candidate.target)]
        np.testing.assert_allclose(mine, expected, rtol=1e-6)
