"""Row "SVM [23]": the baseline of OMG-Emotion, on the features of an utterance.

Not in the paper: a linear kernel, one class against another, the complexity chosen by
cross-validation over speakers inside train, by accuracy (of equal ones the first).

Axes: N sequences, T time, R utterances, F features of a modality, C classes.
"""

from itertools import product
from typing import Any

import numpy as np

from ifusion.systems.classical import Predictor, collect_predictors
from ifusion.systems.system import (
    Candidate,
    Fit,
    Fitted,
    Fold,
    Protocol,
    System,
    UnsuitedError,
    Watch,
)


def make(protocol: Protocol) -> Fit:
    """Builds one machine a main."""

    def fit(fold: Fold, watch: Watch) -> Fitted:
        pairs = product(protocol.mains, protocol.targets)
        return collect_predictors([_fit(protocol, fold, *pair) for pair in pairs])

    return fit


def _fit(protocol: Protocol, fold: Fold, main: str, target: str) -> Predictor:
    steps = fold.whole.mask.shape[1]
    known = fold.whole.labelled[:, :steps] > 0
    labels = fold.whole.labels[:, :steps, protocol.targets.index(target)][known]
    speakers = np.broadcast_to(fold.speakers[:, None], known.shape)[known]
    machine = fit_svm(
        fold.whole.features[main][known],
        labels,
        speakers,
        protocol.systems.svm_complexities,
        protocol.systems.svm_folds,
    )
    candidate = Candidate(
        *(main, target, protocol.seeds[0]),
        {"C": machine.C},
        parameters=machine.coef_.size + machine.intercept_.size,
    )

    def answer(features: np.ndarray, mask: np.ndarray) -> np.ndarray:
        exists = mask > 0
        outputs = np.zeros((*mask.shape, protocol.num_classes))
        outputs[exists] = class_outputs(machine, features[exists], protocol.num_classes)
        return outputs

    return Predictor(candidate, answer)


def fit_svm(
    features: np.ndarray,
    labels: np.ndarray,
    speakers: np.ndarray,
    complexities: tuple[float, ...],
    num_folds: int,
) -> Any:
    """Fits a support vector machine, its complexity chosen over speakers.

    Args:
      features: (R, F), standardised.
      labels: (R,) class indices.
      speakers: (R,), who are never on both sides of a fold.
      complexities: C, in the order in which equal ones are preferred.
      num_folds: at most; no more than there are speakers.

    Returns:
      The `sklearn.svm.SVC`, fitted on all rows.

    Raises:
      UnsuitedError: there are fewer than two speakers or two classes.
    """
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import SVC

    count = min(num_folds, len(set(speakers.tolist())))
    if count < 2:
        raise UnsuitedError(
            "the SVM chooses its complexity by cross-validation over the speakers of "
            f"train, but there is {count}; expected at least 2"
        )
    if len(set(labels.tolist())) < 2:
        raise UnsuitedError(
            "the SVM needs at least two classes in train, but there is 1"
        )
    search = GridSearchCV(
        SVC(kernel="linear", break_ties=True),
        {"C": list(complexities)},
        scoring="accuracy",
        cv=GroupKFold(count),
        refit=False,
    )
    search.fit(features, labels, groups=speakers)
    best = search.best_params_["C"]
    return SVC(kernel="linear", break_ties=True, C=best).fit(features, labels)


def class_outputs(machine: Any, features: np.ndarray, num_classes: int) -> np.ndarray:
    """What a machine decides, the greatest being its class: (R, F) -> (R, C).

    A class that train lacks is never the greatest.
    """
    decided = machine.decision_function(features)
    if decided.ndim == 1:  # of two classes
        decided = np.stack([-decided, decided], axis=1)
    outputs = np.full((len(features), num_classes), decided.min(initial=0.0) - 1)
    outputs[:, machine.classes_.astype(np.int64)] = decided
    return outputs


SVM = System("svm", "SVM", "[23]", make, frozenset({"classes"}), seeded=False)
