"""Standardises in float32 alone, for programs without float64.

Axis: F features.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ifusion.inference.predictor import Predictor


class Split(NamedTuple):
    """x becomes ((x - mean) - rest) * scale, all (F,) float32.

    The mean has two parts, so that a large one costs no digits: x - mean is exact if
    both are close.
    """

    mean: np.ndarray  # rounded to float32
    rest: np.ndarray  # the rounding error
    scale: np.ndarray  # 1 / std; 0 if a feature is constant
    low: np.ndarray | None  # bounds to clip to
    high: np.ndarray | None


def require_whole(predictor: Predictor) -> None:
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
