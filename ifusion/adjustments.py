"""The steps of post-processing of predictions over time, with their constants.

`evaluation` learns them on dev, `experiment` stores them, and both apply them, as
`inference` does.

Axes: R frames of all recordings, N recordings, T frames of one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

STEPS = ("median", "centre", "scale", "shift")


class Adjustment(NamedTuple):
    """One step with its constants.

    Attributes:
      step: of `STEPS`.
      value: median: window [frame], odd; centre: summand; scale: factor; shift:
        [frame], positive = later.
      pivot: the value that scaling leaves unchanged; 0 for the other steps.
    """

    step: str
    value: float
    pivot: float = 0.0


def adjust(
    predictions: np.ndarray, offsets: np.ndarray, adjustments: Sequence[Adjustment]
) -> np.ndarray:
    """Applies adjustments one after another, recording by recording.

    Args:
      predictions: (R,).
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].
      adjustments: steps with their constants.

    Returns:
      (R,) float64.

    Raises:
      ValueError: if a step is unknown.
    """
    values = np.array(predictions, np.float64)
    for step, value, pivot in adjustments:
        if step == "centre":
            values = values + value
        elif step == "scale":
            values = pivot + value * (values - pivot)
        elif step in ("median", "shift"):
            parts = np.split(values, offsets[1:-1])
            treat = _median if step == "median" else shift_series
            values = np.concatenate([treat(part, int(value)) for part in parts])
        else:
            raise ValueError(f"step {step!r} is not one of {', '.join(STEPS)}")
    return values


def shift_series(values: np.ndarray, frames: int) -> np.ndarray:
    """Shifts series later by some frames, repeating the values at the edges.

    Args:
      values: (..., T) of one recording.
      frames: negative = earlier.

    Returns:
      (..., T).
    """
    steps = np.arange(values.shape[-1])
    return values[..., np.clip(steps - frames, 0, len(steps) - 1)]


def adjustments_to_json(adjustments: Sequence[Adjustment]) -> list[dict[str, Any]]:
    """Turns adjustments into JSON values."""
    return [adjustment._asdict() for adjustment in adjustments]


def adjustments_from_json(
    content: Sequence[Mapping[str, Any]],
) -> tuple[Adjustment, ...]:
    """Turns the values of `adjustments_to_json` into adjustments."""
    return tuple(Adjustment(**entry) for entry in content)


def _median(values: np.ndarray, window: int) -> np.ndarray:
    """Filters by the median of a centred window, repeating the edges: (T,) -> (T,)."""
    from scipy.ndimage import median_filter  # loaded where a predictor needs it

    return np.asarray(median_filter(values, window, mode="nearest"))
