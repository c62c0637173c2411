"""What post-processing may do to predictions over time: steps with their constants.

Evaluation learns them on dev, a checkpoint keeps them, inference applies them; so they
lie below all three.

Axes: R frames of all recordings, N recordings, L lanes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import median_filter

STEPS = ("median", "centre", "scale", "shift")


class Adjustment(NamedTuple):
    """One step with its constants.

    Attributes:
      step: of `STEPS`.
      value: median: window [frame], odd; centre: what is added; scale: what is
        multiplied by; shift: [frame], positive = later.
      pivot: the value that scaling leaves in place; 0 for the other steps.
    """

    step: str
    value: float
    pivot: float = 0.0


def adjust(
    predictions: np.ndarray, offsets: np.ndarray, adjustments: Sequence[Adjustment]
) -> np.ndarray:
    """Applies adjustments one after another, each recording on its own.

    Args:
      predictions: (R,).
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].
      adjustments: with their constants.

    Returns:
      (R,) float64.

    Raises:
      ValueError: an adjustment is of no known step.
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
            raise ValueError(f"step {step!r} is none of {', '.join(STEPS)}")
    return values


def adjust_lanes(
    predictions: np.ndarray,
    offsets: np.ndarray,
    adjustments: Sequence[Sequence[Adjustment]],
) -> np.ndarray:
    """Applies to each lane its own adjustments.

    Args:
      predictions: (L, R).
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].
      adjustments: L times those of a lane.

    Returns:
      (L, R) float32.
    """
    adjusted = np.empty(predictions.shape, np.float32)
    for i, (values, mine) in enumerate(zip(predictions, adjustments, strict=True)):
        adjusted[i] = adjust(values, offsets, mine)
    return adjusted


def shift_series(values: np.ndarray, frames: int) -> np.ndarray:
    """Moves series later by some frames, holding the values at the edges.

    Args:
      values: (..., T) of one recording.
      frames: negative = earlier.

    Returns:
      (..., T).
    """
    steps = np.arange(values.shape[-1])
    return values[..., np.clip(steps - frames, 0, len(steps) - 1)]


def adjustments_to_json(adjustments: Sequence[Adjustment]) -> list[dict[str, Any]]:
    """Writes adjustments as JSON has them."""
    return [adjustment._asdict() for adjustment in adjustments]


def adjustments_from_json(
    content: Sequence[Mapping[str, Any]],
) -> tuple[Adjustment, ...]:
    """Reads what `adjustments_to_json` wrote."""
    return tuple(Adjustment(**entry) for entry in content)


def _median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over a centred window of frames, the edges held: (T,) -> (T,)."""
    return np.asarray(median_filter(values, window, mode="nearest"))
