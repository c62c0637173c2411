"""Row "constant": the same output for every input, the floor under all others.

Not in the paper: the most frequent class of train (the first if equal), or the mean of
the target in train, whose CCC is 0.

Axes: N sequences, T time, O outputs.
"""

from itertools import product
from typing import Any

import numpy as np

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
    labels_of,
    require_plain_training,
    take_main,
)


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of one constant per main and target."""
    require_plain_training(protocol)

    def fit(fold: Fold, trainer: Any) -> Fitted:
        candidates, params = [], []
        for main, (column, target) in product(
            protocol.mains, enumerate(protocol.targets)
        ):
            labels, known = labels_of(fold.whole, column, main)
            value = _constant(labels[known], protocol.num_classes)
            candidates.append(Candidate(main, target, protocol.seeds[0], parameters=1))
            params.append({"value": value})
        return Fitted(tuple(candidates), tuple(params))

    return fit


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict, which repeats the constant."""

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        take_main(problem, main, features, mask)
        value = np.asarray(params["value"], np.float32)
        return np.broadcast_to(value, (*mask.shape, len(value)))

    return predict


def _constant(labels: np.ndarray, num_classes: int) -> np.ndarray:
    if not num_classes:
        return np.array([labels.mean(dtype=np.float64)])
    counts = np.bincount(labels.astype(np.int64), minlength=num_classes)
    return np.eye(num_classes)[counts.argmax()]


CONSTANT = System(
    key="constant",
    title="Constant prediction",
    make_fit=make_fit,
    make_predict=make_predict,
    seeded=False,
    functionals=True,
)
