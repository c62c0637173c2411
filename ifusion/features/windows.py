"""Means and standard deviations of features, over a recording or around each frame.

Axes: R frames, F features.
"""

from collections.abc import Sequence

import numpy as np

FUNCTIONALS = ("mean", "sd")


def name_functionals(names: Sequence[str]) -> tuple[str, ...]:
    """Names what `summarise` and `summarise_windows` return."""
    return tuple(f"{name}_{f}" for f in FUNCTIONALS for name in names)


def summarise(frames: np.ndarray) -> np.ndarray:
    """Returns means, then standard deviations of the population: (R, F) -> (1, 2F)."""
    frames = frames.astype(np.float64)
    return np.concatenate([frames.mean(0), frames.std(0)])[None]


def summarise_windows(frames: np.ndarray, length: int) -> np.ndarray:
    """Summarises the window around each frame: (R, F) -> (R, 2F).

    Near both ends a window is the first or last whole one; it is all frames if there
    are no more.

    Args:
      frames: (R, F).
      length: of a window [frame].
    """
    rows = len(frames)
    length = min(length, rows)
    first = np.clip(np.arange(rows) - length // 2, 0, rows - length)
    centred = frames - frames.mean(0)  # so that squares lose no digits
    zero = np.zeros((1, frames.shape[1]))
    sums = np.concatenate([zero, np.cumsum(centred, 0, np.float64)])
    squares = np.concatenate([zero, np.cumsum(np.square(centred), 0, np.float64)])
    means = (sums[first + length] - sums[first]) / length
    spread = (squares[first + length] - squares[first]) / length - np.square(means)
    return np.concatenate(
        [means + frames.mean(0), np.sqrt(np.maximum(spread, 0))], axis=1
    )


def average_frames(
    times: np.ndarray, values: np.ndarray, step: float, frames: int
) -> np.ndarray:
    """Averages values over frames, from half a step before their times to half after.

    Frames without a value are interpolated linearly between those that have some.

    Args:
      times: (n,) of the values [s].
      values: (n, F).
      step: [s] from frame to frame, the first of which is at 0.
      frames: R; one at least has a value.

    Returns:
      (R, F) float64.
    """
    frame = np.floor(times / step + 0.5 + 1e-9).astype(int)
    inside = (frame >= 0) & (frame < frames)
    counts = np.bincount(frame[inside], minlength=frames)
    (known,) = np.nonzero(counts)
    averaged = np.empty((frames, values.shape[1]))
    for column, own in zip(averaged.T, values[inside].T, strict=True):
        sums = np.bincount(frame[inside], own, minlength=frames)
        column[:] = np.interp(np.arange(frames), known, sums[known] / counts[known])
    return averaged
