"""How predicted values agree with a gold standard: CCC, Pearson, RMSE and others.

All of them follow from six moments per recording, which are stored, pooled over folds
and compared in place of frames: exact and fast. If a recording has one value, its
moments hold the label and the prediction themselves, so measures of single values
follow, too.

A measure is a sum over recordings and a formula of that sum. The CCC pooled over
recordings and its mean over recordings are both measures, so one test of differences
serves both.

Axes: L lanes, N recordings, R frames of all recordings, D sums of a measure; ... any
leading axes (lanes, seeds, clusters). Moments are (..., N, 6) float64 in the order of
`MOMENTS`, with population variances.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ifusion.concordance import DIVISORS, Convention, concordance_of_moments
from ifusion.evaluation.metrics import Metric, accuracy, weighted_f1

MOMENTS = (
    "frames",
    "label_mean",
    "prediction_mean",
    "label_variance",
    "prediction_variance",
    "covariance",
)


class Measure(NamedTuple):
    """A score of recordings: a formula applied to a sum over them.

    Attributes:
      sums: moments (..., N, 6) -> (..., N, D), the terms of each recording.
      formula: (..., D) -> (...), takes the sum over recordings, weighted or not.
    """

    sums: Callable[[np.ndarray], np.ndarray]
    formula: Callable[[np.ndarray], np.ndarray]


def recording_moments(
    predictions: np.ndarray, labels: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Computes the moments of each recording, in float64 and two passes.

    Args:
      predictions: (..., R), in the unit of the target.
      labels: (R,); NaN, unlabelled, is left out.
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].

    Returns:
      (..., N, 6), all 0 for a recording without labels.
    """
    moments = np.zeros((*predictions.shape[:-1], len(offsets) - 1, len(MOMENTS)))
    for i, (start, stop) in enumerate(pairwise(offsets)):
        y = labels[start:stop].astype(np.float64)
        known = ~np.isnan(y)
        if not known.any():
            continue
        x = predictions[..., start:stop][..., known].astype(np.float64)
        y = y[known]
        mean_x, mean_y = _mean_of(x), _mean_of(y)
        x, y = x - mean_x[..., None], y - mean_y
        values = (len(y), mean_y, mean_x, np.square(y).mean(), np.square(x).mean(-1))
        for k, value in enumerate((*values, (x * y).mean(-1))):
            moments[..., i, k] = value
    return moments


def measure(moments: np.ndarray, score: Measure) -> np.ndarray:
    """Scores recordings: (..., N, 6) -> (...)."""
    return score.formula(score.sums(moments).sum(-2))


def make_measures(
    convention: Convention = "population",
    single: bool = False,
    neutral: float | None = None,
) -> Mapping[str, Measure]:
    """Lists the measures of a regression.

    Args:
      convention: convention of the CCC, see `ifusion.concordance`.
      single: whether a recording has one value instead of frames.
      neutral: value between negative and positive, if single values are sentiment.

    Returns:
      ccc_pooled: over the frames, or values, of all recordings together.
      ccc_recordings: mean over recordings of the CCC of each (AVEC 2018 GES); frames
        only.
      pearson: correlation over all frames together; 0 for a constant.
      rmse: root mean squared error over all frames together, in the unit of the target.
      mae: mean absolute error of single values.
      If `neutral` is known, also the measures of `_sentiment`.

    Raises:
      ValueError: if the convention is unknown.
    """
    if convention not in DIVISORS:
        raise ValueError(
            f"evaluation.convention is {convention!r}; expected one of "
            f"{', '.join(DIVISORS)}"
        )

    def ccc(pooled: np.ndarray) -> np.ndarray:
        frames, gap, var_y, var_x, covariance = _unpack(pooled)
        squares, products = (
            frames / np.maximum(frames - taken, 1) for taken in DIVISORS[convention]
        )
        return np.asarray(
            concordance_of_moments(
                products * covariance, squares * var_x, squares * var_y, gap
            )
        )

    def each_ccc(moments: np.ndarray) -> np.ndarray:
        exists = (moments[..., 0] > 0).astype(np.float64)
        alone = _about(moments, moments[..., 1], moments[..., 2])
        return np.stack([ccc(alone) * exists, exists], axis=-1)

    measures = {
        "ccc_pooled": Measure(_additive, ccc),
        "ccc_recordings": Measure(each_ccc, _quotient),
        "pearson": Measure(_additive, _pearson),
        "rmse": Measure(_additive, _rmse),
    }
    if single:
        del measures["ccc_recordings"]
        measures["mae"] = Measure(_absolute_errors, _quotient)
        measures |= {} if neutral is None else _sentiment(neutral)
    return MappingProxyType(measures)


def _sentiment(neutral: float) -> dict[str, Measure]:
    """Lists the measures in which sentiment is reported, as MMSA computes them.

    Labels and predictions count from the neutral value.

    Returns:
      acc2: accuracy of two classes, negative (< 0) or not.
      f1_2: F1 of these two classes, weighted by their labels.
      acc2_polar: accuracy of negative or positive (> 0), without neutral labels.
      f1_2_polar: F1 of these, weighted.
      acc5: accuracy after rounding to -2 ... 2, halves to the even number.
      acc7: the same with -3 ... 3.
    """

    def of_two(moments: np.ndarray, polar: bool) -> np.ndarray:
        counted, label, prediction = _single(moments, neutral)
        if polar:
            counted = counted * (label != 0)
            classes = label > 0, prediction > 0
        else:
            classes = label >= 0, prediction >= 0
        cells = [
            counted * ((classes[0] == y) & (classes[1] == x))
            for y in (False, True)
            for x in (False, True)
        ]
        return np.stack(cells, axis=-1)

    def rounded(moments: np.ndarray, most: int) -> np.ndarray:
        counted, *values = _single(moments, neutral)
        label, prediction = (np.round(np.clip(x, -most, most)) for x in values)
        return np.stack([counted * (label == prediction), counted], axis=-1)

    def of_counts(metric: Metric) -> Callable[[np.ndarray], np.ndarray]:
        return lambda cells: np.asarray(metric(cells.reshape(*cells.shape[:-1], 2, 2)))

    either, polar = (partial(of_two, polar=polar) for polar in (False, True))
    return {
        "acc2": Measure(either, of_counts(accuracy)),
        "f1_2": Measure(either, of_counts(weighted_f1)),
        "acc2_polar": Measure(polar, of_counts(accuracy)),
        "f1_2_polar": Measure(polar, of_counts(weighted_f1)),
        "acc5": Measure(partial(rounded, most=2), _quotient),
        "acc7": Measure(partial(rounded, most=3), _quotient),
    }


def _single(
    moments: np.ndarray, neutral: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns 1 where there is a label, the label, the prediction: (..., N) each."""
    exists = (moments[..., 0] > 0).astype(np.float64)
    return exists, moments[..., 1] - neutral, moments[..., 2] - neutral


def _absolute_errors(moments: np.ndarray) -> np.ndarray:
    """Absolute errors of single values, and their count: (..., N, 2)."""
    exists, label, prediction = _single(moments, 0.0)
    return np.stack([exists * np.abs(prediction - label), exists], axis=-1)


def _mean_of(values: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Weighted mean (..., N) -> (...); equal values give exactly that value."""
    weights = np.broadcast_to(weights, values.shape)
    first = values[..., :1]
    share = weights / np.maximum(weights.sum(-1, keepdims=True), 1)
    return np.asarray(first[..., 0] + (share * (values - first)).sum(-1))


def _additive(moments: np.ndarray) -> np.ndarray:
    """Turns moments into sums that add up over recordings: (..., N, 6) -> (..., N, 7).

    They are taken about the means over all recordings, so no digits are lost.
    """
    centres = [_mean_of(moments[..., k], moments[..., 0])[..., None] for k in (1, 2)]
    return _about(moments, *centres)


def _about(
    moments: np.ndarray, centre_y: np.ndarray, centre_x: np.ndarray
) -> np.ndarray:
    """Sums about centres: frames, y, x, y^2, x^2, xy, and the gap of the centres."""
    frames, mean_y, mean_x, var_y, var_x, covariance = np.moveaxis(moments, -1, 0)
    y, x = mean_y - centre_y, mean_x - centre_x
    terms = (y, x, var_y + y * y, var_x + x * x, covariance + x * y)
    gap = np.broadcast_to(centre_x - centre_y, frames.shape)
    return frames[..., None] * np.stack([np.ones_like(gap), *terms, gap], axis=-1)


def _unpack(sums: np.ndarray) -> tuple[np.ndarray, ...]:
    """Frames, mean of x minus mean of y, variances of y and x, covariance."""
    frames = sums[..., 0]
    y, x, yy, xx, xy, gap = np.moveaxis(
        sums[..., 1:] / np.maximum(frames, 1)[..., None], -1, 0
    )
    var_y, var_x = np.maximum(yy - y * y, 0), np.maximum(xx - x * x, 0)
    return frames, x - y + gap, var_y, var_x, xy - x * y


def _quotient(sums: np.ndarray) -> np.ndarray:
    """A sum over a count: (..., 2) -> (...)."""
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def _pearson(sums: np.ndarray) -> np.ndarray:
    _, _, var_y, var_x, covariance = _unpack(sums)
    scale = np.sqrt(var_x) * np.sqrt(var_y)
    return np.asarray(covariance / np.where(scale > 0, scale, 1))


def _rmse(sums: np.ndarray) -> np.ndarray:
    _, gap, var_y, var_x, covariance = _unpack(sums)
    return np.sqrt(np.maximum(var_y + var_x - 2 * covariance + gap * gap, 0))
