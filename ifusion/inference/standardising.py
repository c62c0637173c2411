"""The standardiser in float32 alone, for programs without float64.

Axis: F features.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ifusion.inference.predictor import Predictor


class Split(NamedTuple):
    """x becomes ((x - mean) - rest) * scale, all (F,) float32.

    The mean is cut in two, so that a large one costs no digits: x - mean is exact where
    they are near.

    Attributes:
      mean: rounded.
      rest: what rounding took.
      scale: 1 / std; 0 where a feature is constant.
      low: lower bound to clip to, or None.
      high: upper bound likewise.
    """

    mean: np.ndarray
    rest: np.ndarray
    scale: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


def require_whole(predictor: "Predictor") -> None:
    """Refuses a predictor that thins long recordings, which such programs do not.

    Raises:
      ValueError: it does.
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
