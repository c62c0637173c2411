"""The concordance correlation coefficient (CCC), one formula for all modules.

    CCC = 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2)

Gold standards, losses, dev scores and reports use it, so it lies below all. It is
symmetric in x and y. If x or y is constant, the CCC is 0, even if both are equal and
the quotient is 0 / 0.

Axes: N instances (frames); ... any leading axes.
"""

from typing import Any, Literal

import numpy as np

Array = Any  # of numpy or jax.numpy
Convention = Literal["population", "sample", "avec_ces"]
# subtracted from N to divide sums of squares and of products by
DIVISORS = {"population": (0, 0), "sample": (1, 1), "avec_ces": (1, 0)}


def concordance(
    x: np.ndarray, y: np.ndarray, convention: Convention = "population"
) -> np.ndarray:
    """Computes the CCC along the last axis, in float64 and two passes.

    Args:
      x: (..., N) numbers; NaN gives NaN.
      y: (..., N); leading axes are broadcast.
      convention: "population" divides variances and covariance by N (AVEC 2018 GES and
        the default of all reports), "sample" by N - 1 (MuSe), "avec_ces" variances by
        N - 1 but the covariance by N (AVEC 2018 CES).

    Returns:
      (...) float64 in [-1, 1].

    Raises:
      ValueError: the convention is unknown, or x and y differ in N or have too few
        instances: fewer than one, or than two where N - 1 divides or there are leading
        axes, since (N, 1) is most likely N instances.
    """
    if convention not in DIVISORS:
        raise ValueError(
            f"convention is {convention!r}, expected one of {', '.join(DIVISORS)}"
        )
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim and y.ndim and x.shape[-1] == y.shape[-1] == 1 < max(x.size, y.size):
        raise ValueError(
            f"x has shape {x.shape} and y {y.shape}: a single instance along the last "
            "axis; pass (N,)"
        )
    num, least = x.shape[-1], 1 + max(DIVISORS[convention])
    if num != y.shape[-1] or num < least:
        raise ValueError(
            f"x has {num} instances and y {y.shape[-1]}, expected the same number, "
            f"{least} or more"
        )
    squares, products = (num - taken for taken in DIVISORS[convention])
    (mean_x, from_x), (mean_y, from_y) = _centre(x), _centre(y)
    return concordance_of_moments(
        (from_x * from_y).sum(-1) / products,
        np.square(from_x).sum(-1) / squares,
        np.square(from_y).sum(-1) / squares,
        mean_x - mean_y,
    )


def concordance_of_moments(
    covariance: Array, variance_x: Array, variance_y: Array, gap: Array
) -> Array:
    """Computes the CCC from moments, in their own array library.

    Args:
      covariance: (...).
      variance_x: (...).
      variance_y: (...).
      gap: (...), the mean of x minus that of y.

    Returns:
      (...), 0 where all moments are 0.
    """
    xp = covariance.__array_namespace__()
    whole = variance_x + variance_y + gap * gap
    return 2 * covariance / xp.where(whole == 0, 1.0, whole)


def _centre(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means (...) and deviations (..., N), exactly 0 for a constant."""
    mean = x.mean(-1)
    constant = x.max(-1) == x.min(-1)  # its computed mean may be off by rounding
    return mean, np.where(constant[..., None], 0.0, x - mean[..., None])
