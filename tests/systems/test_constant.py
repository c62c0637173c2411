"""The constant against counts and means by hand, and dummies of scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from ifusion.preprocessing.sequences import Batch
from ifusion.systems.constant import CONSTANT


@pytest.fixture
def fit(utterances, fit_and_predict):
    """Fits on sequences without features, of steps that may lack a label."""

    def run(labels, labelled, num_classes, targets):
        protocol, fold = utterances
        mask = np.ones((len(labels), labels.shape[1] - 1), np.float32)
        whole = Batch({}, mask, labels, labelled)
        protocol = replace(protocol, num_classes=num_classes, targets=targets)
        return fit_and_predict(CONSTANT, protocol, replace(fold, whole=whole))

    return run


def test_it_predicts_the_most_frequent_class_of_train(fit):
    labels = np.array([[[2], [1], [0]], [[1], [0], [0]], [[2], [0], [0]]])
    labelled = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 1]], np.float32)
    fitted, outputs = fit(labels, labelled, 4, ("emotion",))
    dummy = DummyClassifier().fit(np.zeros(4), [2, 1, 1, 2])  # a tie: the first
    assert [(c.main, c.seed) for c in fitted.candidates] == [("audio", 0), ("video", 0)]
    assert outputs.shape == (2, 12, 1, 4)
    assert (outputs.argmax(-1) == dummy.predict([[0]])[0]).all()


def test_it_predicts_the_mean_of_each_target_in_train(fit):
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
