"""Features at other rates: averaged over frames, or summarised over windows.

Axes: R frames, F features.
"""

from collections.abc import Callable

import numpy as np

ROUNDING = 1e-6  # [frame], so that 0.3 s / 0.1 s is 3 frames
BLOCK = 2048  # frames summarised together, so that long recordings take little memory
Read = Callable[[int, int], np.ndarray]  # (first, stop) -> these frames, (r, F) float64


def count_frames(seconds: float, step: float) -> int:
    """Counts the whole frames in so many seconds; there is always one."""
    return max(1, int(seconds / step + ROUNDING))


def summarise(read: Read, rows: int) -> np.ndarray:
    """Computes mean and standard deviation over R rows: (2F,) float32, means first."""
    middle = read(0, 1)[0]  # so that squares lose no digits
    total, square = np.zeros_like(middle), np.zeros_like(middle)
    for first in range(0, rows, BLOCK):
        block = read(first, min(first + BLOCK, rows)) - middle
        total += block.sum(0)
        square += np.square(block).sum(0)
    mean = total / rows
    deviation = np.sqrt(np.maximum(square / rows - np.square(mean), 0))
    return np.concatenate([mean + middle, deviation]).astype(np.float32)


def summarise_windows(read: Read, rows: int, length: int) -> np.ndarray:
    """Computes mean and standard deviation of a window around each frame.

    Near either end the window is the first or last whole one. If there are fewer frames
    than a window has, it holds them all.

    Args:
      read: reads some of the frames.
      rows: R, how many there are.
      length: of a window [frame].

    Returns:
      (R, 2F) float32, the means first.
    """
    length = min(length, rows)
    starts = np.clip(np.arange(rows) - length // 2, 0, rows - length)
    found = np.empty((rows, 2 * read(0, 1).shape[1]), np.float32)
    for first in range(0, rows, BLOCK):
        some = slice(first, first + BLOCK)
        own = starts[some]
        block = read(own[0], own[-1] + length)
        middle = block.mean(0)  # so that squares lose no digits
        block = block - middle
        mean = _window_sums(block, own - own[0], length) / length
        square = _window_sums(np.square(block), own - own[0], length) / length
        deviation = np.sqrt(np.maximum(square - np.square(mean), 0))
        found[some] = np.concatenate([mean + middle, deviation], axis=1)
    return found


def _window_sums(frames: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    sums = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, 0)])
    return sums[starts + length] - sums[starts]


def average_frames(
    times: np.ndarray, values: np.ndarray, step: float, frames: int
) -> np.ndarray:
    """Averages values from half a step before each frame to half a step after.

    Frames that no value falls in are interpolated linearly.

    Args:
      times: (n,) of the values [s].
      values: (n, F).
      step: time between frames [s]; the first is at 0.
      frames: R; at least one has a value.

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
