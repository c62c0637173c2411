"""Standardises in float32 alone, for programs without float64.

Axis: F features.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ifusion.inference.predictor import Predictor


class Split(NamedTuple):
    """x becomes ((x - mean) - rest) * scale, all (F,) float32.

    The mean has two parts, so that a large one costs no digits: x - mean is exact if
    both are close.

    Attributes:
      mean: rounded to float32.
      rest: the rounding error.
      scale: 1 / std; 0 if a feature is constant.
      low: lower bound to clip to, or None.
      high: upper bound to clip to, or None.
    """

    mean: np.ndarray
    rest: np.ndarray
    scale: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


def require_whole(predictor: "Predictor") -> None:
    """Refuses a predictor that thins long recordings; exported programs cannot.

    Raises:
      ValueError: it thins them.
    """
    if predictor.max_frames:
        raise ValueError(
            f"recordings of more than {predictor.max_frames} frames are thinned, which "
            "only a bundle (.ifusion) does"
        )


def split_statistics(statistics: Mapping[str, np.ndarray]) -> Split:
    """Rounds the statistics of a member, see `Split`."""
    mean, std = statistics["mean"], statistics["std"]
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    rounded = mean.astype(np.float32)
    low, high = (statistics.get(name) for name in ("low", "high"))
    return Split(
        rounded,
        (mean - rounded).astype(np.float32),
        scale.astype(np.float32),
        None if low is None else low.astype(np.float32),
        None if high is None else high.astype(np.float32),
    )
