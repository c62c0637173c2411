"""What choosing the best of several trainings gives when none is better.

Axes: N trainings that differ only in their seeds.
"""

from typing import NamedTuple

import numpy as np

DRAWS = 2000
LEAST = 3  # trainings; fewer say nothing about chance


class Chance(NamedTuple):
    """The gain of the best of several means over the first of them.

    Attributes:
      mean: mean over draws.
      low: 2.5 % of draws are below it.
      high: 2.5 % of draws are above it.
    """

    mean: float
    low: float
    high: float


def best_of_many(scores: np.ndarray, groups: int, size: int) -> Chance:
    """Draws groups of trainings, and compares the best mean with the first one.

    Scores are first moved away from their mean, by sqrt(N / (N - 1)), so that draws
    from a few of them vary as much as trainings do.

    Args:
      scores: (N,) on dev; NaN are left out.
      groups: number of groups to choose from, such as the alphas.
      size: trainings per group, such as the seeds of an alpha.

    Returns:
      The chance over `DRAWS` draws with replacement; NaN with fewer than `LEAST`
      scores.
    """
    known = np.asarray(scores, np.float64)
    known = known[~np.isnan(known)]
    count = len(known)
    if count < LEAST:
        return Chance(np.nan, np.nan, np.nan)
    middle = known.mean()
    known = middle + (known - middle) * np.sqrt(count / (count - 1))
    rng = np.random.default_rng(0)
    means = known[rng.integers(count, size=(DRAWS, groups, size))].mean(-1)
    gains = means.max(-1) - means[:, 0]
    low, high = np.quantile(gains, (0.025, 0.975))
    return Chance(float(gains.mean()), float(low), float(high))
