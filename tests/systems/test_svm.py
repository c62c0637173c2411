"""The SVM against a cross-validation and a fit written out with scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import SVC

from ifusion.systems.options import SystemOptions
from ifusion.systems.svm import SVM, class_outputs, fit_svm
from ifusion.systems.system import Fold, UnsuitedError

COMPLEXITIES = (1e-3, 1e-2, 0.1, 1.0)


@pytest.fixture(scope="module")
def study(utterances, make_data):
    """Sixty sequences of up to three utterances, of six speakers; three classes."""
    train, dev = make_data(60, 3), make_data(150, 3, seed=1)
    options = SystemOptions(svm_complexities=COMPLEXITIES, svm_folds=3)
    protocol = replace(utterances[0], seeds=(4, 5), systems=options)
    return protocol, Fold(train, dev, 60, train, np.arange(60) % 6, {})


def by_hand(features, labels, speakers, num_folds):
    """Complexity of best mean accuracy over folds of whole speakers, and the machine.

    Six speakers of about equal size: which folds they are dealt to, scikit-learn says;
    that nobody is on both sides, is checked here.
    """
    from sklearn.model_selection import GroupKFold

    means = []
    for complexity in COMPLEXITIES:
        scores = []
        for seen, held in GroupKFold(num_folds).split(features, labels, speakers):
            assert not set(speakers[seen]) & set(speakers[held])
            machine = SVC(kernel="linear", C=complexity, break_ties=True)
            machine.fit(features[seen], labels[seen])
            scores.append(np.mean(machine.predict(features[held]) == labels[held]))
        means.append(np.mean(scores))
    best = COMPLEXITIES[int(np.argmax(means))]
    return SVC(kernel="linear", C=best, break_ties=True).fit(features, labels)


def test_it_predicts_as_scikit_learn_does(study, fit_and_predict):
    protocol, fold = study
    fitted, outputs = fit_and_predict(SVM, protocol, fold)
    assert [c.main for c in fitted.candidates] == ["audio", "video"]
    known = fold.whole.mask > 0
    labels = fold.whole.labels[..., 0][known]
    speakers = np.repeat(fold.speakers, known.sum(1))
    exists = fold.dev.mask > 0
    for candidate, mine in zip(fitted.candidates, outputs, strict=True):
        features = fold.whole.features[candidate.main][known]
        machine = by_hand(features, labels, speakers, 3)
        assert candidate.setting == {"C": machine.C}
        assert candidate.seed == 4 and not candidate.failed
        assert candidate.parameters == machine.coef_.size + 3
        values = fold.dev.features[candidate.main][exists]
        expected = machine.decision_function(values)
        np.testing.assert_allclose(mine[exists], expected, rtol=1e-5)
        guesses = machine.predict(values)
        np.testing.assert_array_equal(mine[exists].argmax(-1), guesses)
        truth = fold.dev.labels[..., 0][exists]
        assert np.mean(guesses == truth) > np.bincount(truth).max() / len(truth)


@pytest.mark.parametrize("classes", [(0, 2), (1, 2, 4, 5)])
def test_classes_that_train_lacks_are_never_predicted(classes):
    rng = np.random.default_rng(0)
    labels = rng.choice(classes, 40)
    features = rng.standard_normal((40, 5)).astype(np.float32)
    machine = SVC(kernel="linear", break_ties=True).fit(features, labels)
    options = SystemOptions(svm_complexities=(1.0,))
    _, params = fit_svm(features, labels, np.arange(40), options)
    outputs = class_outputs(params, features, 6)
    np.testing.assert_array_equal(outputs.argmax(1), machine.predict(features))


def test_train_must_have_speakers_and_classes(study, fit_and_predict):
    protocol, fold = study
    alone = replace(fold, speakers=np.zeros(60, int))
    with pytest.raises(
        UnsuitedError, match=r"speakers of train .* at least 2; found 1"
    ):
        fit_and_predict(SVM, protocol, alone)
    with pytest.raises(UnsuitedError, match="at least two classes"):
        fit_svm(np.ones((4, 2)), np.ones(4), np.arange(4), SystemOptions())
