"""What choosing the best of several trainings gives when none is better.

Axes: N trainings that differ only in their seeds.
"""

from typing import NamedTuple

import numpy as np

DRAWS = 2000


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

    Args:
      scores: (N,) on dev; NaN are left out.
      groups: number of groups to choose from, such as the alphas.
      size: trainings per group, such as the seeds of an alpha.

    Returns:
      The chance over `DRAWS` draws with replacement; NaN with fewer than two scores.
    """
    known = np.asarray(scores, np.float64)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return Chance(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(0)
    means = known[rng.integers(len(known), size=(DRAWS, groups, size))].mean(-1)
    gains = means.max(-1) - means[:, 0]
    low, high = np.quantile(gains, (0.025, 0.975))
    return Chance(float(gains.mean()), float(low), float(high))
