"""Row "SVM [23]": the baseline of OMG-Emotion, on the features of an utterance.

Not in the paper: a linear kernel, one machine per pair of classes, and the complexity
chosen by accuracy in cross-validation over the speakers of train (the first if equal).

Axes: N sequences, T time, R utterances, F features of a modality, C classes of the
corpus, K classes in train, P = K (K - 1) / 2 pairs.
"""

from itertools import product
from typing import Any

import numpy as np

from ifusion.systems.options import SystemOptions
from ifusion.systems.system import (
    Candidate,
    Features,
    Fit,
    Fitted,
    Fold,
    Params,
    Predict,
    Problem,
    Protocol,
    System,
    UnsuitedError,
    labels_of,
    require_plain_training,
    take_main,
)


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of one SVM per main and target."""
    require_plain_training(protocol)

    def fit(fold: Fold, trainer: Any) -> Fitted:
        candidates, params = [], []
        for main, target in product(protocol.mains, protocol.targets):
            column = protocol.targets.index(target)
            labels, known = labels_of(fold.whole, column, main)
            complexity, fitted = fit_svm(
                fold.whole.features[main][known],
                labels[known],
                np.broadcast_to(fold.speakers[:, None], known.shape)[known],
                protocol.systems,
            )
            candidate = Candidate(
                main=main,
                target=target,
                seed=protocol.seeds[0],
                setting={"C": complexity},
                parameters=fitted["coef"].size + fitted["intercept"].size,
            )
            candidates.append(candidate)
            params.append(fitted)
        return Fitted(tuple(candidates), tuple(params))

    return fit


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict for single utterances."""

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        taken = take_main(problem, main, features, mask)[main]
        outputs = np.zeros((*mask.shape, problem.num_classes), np.float32)
        exists = mask > 0
        outputs[exists] = class_outputs(params, taken[exists], problem.num_classes)
        return outputs

    return predict


def fit_svm(
    features: np.ndarray,
    labels: np.ndarray,
    speakers: np.ndarray,
    options: SystemOptions,
) -> tuple[float, Params]:
    """Fits a support vector machine and chooses its complexity over speakers.

    Args:
      features: (R, F), standardised.
      labels: (R,) class indices.
      speakers: (R,), never on both sides of a split.
      options: complexities, and how many folds at most.

    Returns:
      The complexity, and {"coef": (P, F), "intercept": (P,), "classes": (K,)} of the
      machine fitted on all utterances.

    Raises:
      UnsuitedError: if there are fewer than two speakers or two classes.
    """
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.svm import SVC

    count = min(options.svm_folds, len(set(speakers.tolist())))
    if count < 2:
        raise UnsuitedError(
            "the SVM is cross-validated over the speakers of train and needs at least "
            f"2; found {count}"
        )
    if len(set(labels.tolist())) < 2:
        raise UnsuitedError("the SVM needs at least two classes in train; found 1")
    search = GridSearchCV(
        SVC(kernel="linear", break_ties=True),
        {"C": list(options.svm_complexities)},
        scoring="accuracy",
        cv=GroupKFold(count),
    )
    machine = search.fit(features, labels, groups=speakers).best_estimator_
    return machine.C, {
        "coef": np.asarray(machine.coef_),
        "intercept": np.asarray(machine.intercept_),
        "classes": machine.classes_.astype(np.int64),
    }


def class_outputs(params: Params, features: np.ndarray, num_classes: int) -> np.ndarray:
    """Scores each class, the largest being predicted: (R, F) -> (R, C).

    As scikit-learn does: by the votes of pairs of classes, and by their margins if
    tied. A class missing from train is never the largest.
    """
    decided = features.astype(np.float64) @ params["coef"].T + params["intercept"]
    classes = np.asarray(params["classes"])
    count = len(classes)
    if count == 2:
        scores = np.concatenate([-decided, decided], axis=1)
    else:
        first, second = np.triu_indices(count, 1)
        wins, loses = np.eye(count)[first], np.eye(count)[second]  # (P, K)
        votes = (decided >= 0) @ wins + (decided < 0) @ loses
        sure = decided @ (wins - loses)
        scores = votes + sure / (3 * (np.abs(sure) + 1))
    outputs = np.full((len(features), num_classes), scores.min(initial=0.0) - 1)
    outputs[:, classes] = scores
    return outputs


SVM = System(
    key="svm",
    title="SVM",
    source="[23]",
    make_fit=make_fit,
    make_predict=make_predict,
    needs=frozenset({"classes"}),
    seeded=False,
    functionals=True,
)
