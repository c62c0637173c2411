"""Classification scores as formulas over confusion matrices.

A formula computes in the array library of its counts: `jax.numpy` inside the jitted
program (the dev score of each epoch), float64 numpy on the host (what is reported).
With one formula for both, they cannot drift apart.

Axes: K classes, N instances; ... any leading axes (lanes, seeds, clusters). A confusion
matrix is counts[..., label, prediction], (..., K, K), ints or floats. 0 / 0 is 0, as
with scikit-learn's `zero_division=0`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

Array = Any  # numpy or jax.numpy, whichever comes in
Metric = Callable[[Array], Array]


def accuracy(counts: Array) -> Array:
    """Share of instances classified correctly: (..., K, K) -> (...)."""
    return _ratio(_hits(counts).sum(-1), counts.sum((-2, -1)))


def f1_per_class(counts: Array) -> Array:
    """F1 of each class in [0, 1], 0 without labels and predictions.

    (..., K, K) -> (..., K).
    """
    return _ratio(2 * _hits(counts), counts.sum(-1) + counts.sum(-2))


def micro_f1(counts: Array) -> Array:
    """F1 of the hits and errors of all classes together: (..., K, K) -> (...).

    With one label per instance and all classes counted it equals the accuracy. It is
    the F1 of OMG-Emotion's official script, and so most likely that of Table 1.
    """
    both = counts.sum(-1) + counts.sum(-2)
    return _ratio(2 * _hits(counts).sum(-1), both.sum(-1))


def macro_f1(counts: Array) -> Array:
    """Mean F1 of all K classes, absent ones included: (..., K, K) -> (...)."""
    return f1_per_class(counts).mean(-1)


def weighted_f1(counts: Array) -> Array:
    """Mean F1 of the classes, weighted by their labels: (..., K, K) -> (...)."""
    f1 = f1_per_class(counts)
    support = counts.sum(-1).astype(f1.dtype)
    return _ratio((support * f1).sum(-1), support.sum(-1))


def uar(counts: Array) -> Array:
    """Unweighted average recall of the classes that occur: (..., K, K) -> (...)."""
    support = counts.sum(-1)
    recall = _ratio(_hits(counts), support)
    return _ratio(recall.sum(-1), (support > 0).sum(-1).astype(recall.dtype))


CLASSIFICATION_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "micro_f1": micro_f1,
        "macro_f1": macro_f1,
        "weighted_f1": weighted_f1,
        "uar": uar,
        "accuracy": accuracy,
    }
)


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int
) -> np.ndarray:
    """Counts how often each class was predicted as each class.

    Args:
      labels: (N,) class indices in [0, K).
      predictions: (N,) class indices in [0, K).
      num_classes: K.

    Returns:
      (K, K) int64, rows are labels, columns predictions.

    Raises:
      ValueError: if the shapes differ or are not (N,), indices are not integers, or one
        lies outside [0, K), such as the -1 of an unlabelled instance.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(
            f"labels {labels.shape} and predictions {predictions.shape} must be "
            "vectors of equal length."
        )
    for name, codes in (("labels", labels), ("predictions", predictions)):
        if codes.dtype.kind not in "iu" and codes.size:
            raise ValueError(f"{name} are {codes.dtype}, expected class indices.")
        outside = (codes < 0) | (codes >= num_classes)
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            raise ValueError(
                f"{name}[{i}] is {codes[i]}, expected a class index from 0 to "
                f"{num_classes - 1}; leave unlabelled instances out."
            )
    cells = labels.astype(np.int64) * num_classes + predictions
    flat = np.bincount(cells, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def _hits(counts: Array) -> Array:
    """The diagonal, instances classified correctly: (..., K, K) -> (..., K)."""
    return counts.__array_namespace__().linalg.diagonal(counts)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Elementwise quotient, 0 where the denominator is 0; shapes must agree."""
    xp = numerator.__array_namespace__()
    some = denominator > 0
    return xp.where(some, numerator / xp.where(some, denominator, 1), 0.0)
