"""One gold standard from several raters of a recording.

Not in the paper: it says "averaging all six annotators and meanwhile taking the
inter-evaluator agreement into consideration" (Sec. 4.1.2); AVEC 2018 publishes the
formula, which `avec_gold_standard` follows.

Axes: T frames of one recording, A raters of one dimension. NaN = not rated.
"""

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from ifusion.concordance import concordance_of_moments

Gold = Literal["given", "mean", "avec"]  # as distributed, or computed from the raters


def mean_gold_standard(ratings: np.ndarray) -> np.ndarray:
    """Averages over raters: (T, A) -> (T,) float64, NaN where nobody rated."""
    return _mean(np.asarray(ratings, np.float64), axis=1)


def rater_weights(ratings: np.ndarray) -> np.ndarray:
    """Returns w_a, the mean pairwise CCC of each rater: (T, A) -> (A,) float64.

    As in AVEC's GSCreation.py, mean and variance of a rater are over all the frames
    that this rater rated, and the covariance of a pair is over the frames that both
    rated. A constant rater has CCC 0 with everyone, a rater without a frame in common
    with any other has weight 0, and a single rater has weight 1.
    """
    ratings = np.asarray(ratings, np.float64)
    num = ratings.shape[1]
    if num == 1:
        return np.ones(1)
    means = _mean(ratings, axis=0)
    constant = np.fmax.reduce(ratings) == np.fmin.reduce(ratings)
    centred = np.where(constant, 0 * ratings, ratings - means)
    variances = _mean(np.square(centred), axis=0)
    agreement = np.full((num, num), np.nan)
    for a, b in itertools.combinations(range(num), 2):
        products = centred[:, a] * centred[:, b]
        if not np.isnan(products).all():
            pair = concordance_of_moments(
                np.nanmean(products), variances[a], variances[b], means[a] - means[b]
            )
            agreement[a, b] = agreement[b, a] = pair
    return np.nan_to_num(_mean(agreement, axis=1))


def avec_gold_standard(ratings: np.ndarray) -> np.ndarray:
    """Averages over raters, (T, A) -> (T,) float64; the level is of those who agree.

        GS_t = mean_a y_a,t - mean(y) + sum_a w_a mean_t(y_a) / sum_a w_a

    with w_a from `rater_weights`. If the weights do not sum to more than 0, nobody
    agrees with anybody, and all raters weigh the same. Weights of both signs can nearly
    cancel and make the last term, the level, arbitrary, so it is clipped to the range
    of the raters' means. Both rules are ours, not AVEC's. Frames that nobody rated are
    NaN.
    """
    ratings = np.asarray(ratings, np.float64)
    rated = ~np.isnan(ratings).all(axis=0)
    if not rated.any():
        return np.full(len(ratings), np.nan)
    ratings = ratings[:, rated]
    weights = rater_weights(ratings)
    if not weights.sum() > 0:
        weights = np.ones_like(weights)
    means = _mean(ratings, axis=0)
    level = np.clip(np.average(means, weights=weights), means.min(), means.max())
    return _mean(ratings, axis=1) - np.nanmean(ratings) + level


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Averages all that is not NaN; NaN where everything is."""
    count = (~np.isnan(values)).sum(axis)
    total = np.nansum(values, axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


GOLD_STANDARDS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {"mean": mean_gold_standard, "avec": avec_gold_standard}
)


def require_gold(gold: str) -> None:
    """Checks the option of the readers.

    Raises:
      ValueError: it is not "given", "mean" or "avec".
    """
    if gold not in ("given", *GOLD_STANDARDS):
        raise ValueError(f"gold is {gold!r}, expected given, mean or avec")
