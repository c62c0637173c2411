"""Features at other rates: averaged over frames, or summarised over windows.

Axes: R frames, F features.
"""

import numpy as np

ROUNDING = 1e-6  # [frame], so that 0.3 s / 0.1 s is 3 frames
COLUMNS = 16  # summarised together, so that long recordings take little memory


def count_frames(seconds: float, step: float) -> int:
    """Counts the whole frames in so many seconds; there is always one."""
    return max(1, int(seconds / step + ROUNDING))


def summarise_windows(frames: np.ndarray, length: int) -> np.ndarray:
    """Computes mean and standard deviation of a window around each frame.

    Near either end the window is the first or last whole one. If there are fewer frames
    than a window has, it holds them all.

    Args:
      frames: (R, F).
      length: of a window [frame].

    Returns:
      (R, 2F), the means first; as precise as the frames.
    """
    rows, features = frames.shape
    length = min(length, rows)
    first = np.clip(np.arange(rows) - length // 2, 0, rows - length)
    found = np.empty((rows, 2 * features), frames.dtype)
    means, deviations = found[:, :features], found[:, features:]
    for begin in range(0, features, COLUMNS):
        some = slice(begin, begin + COLUMNS)
        columns = frames[:, some].astype(np.float64)
        middle = columns.mean(0)
        columns -= middle  # so that squares lose no digits
        mean = _window_sums(columns, first, length) / length
        square = _window_sums(np.square(columns), first, length) / length
        means[:, some] = mean + middle
        deviations[:, some] = np.sqrt(np.maximum(square - np.square(mean), 0))
    return found


def _window_sums(columns: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    sums = np.concatenate([np.zeros((1, columns.shape[1])), np.cumsum(columns, 0)])
    return sums[first + length] - sums[first]


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
