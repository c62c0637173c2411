"""Pools frames to one row per recording: functionals of each feature.

Each feature becomes its mean and its standard deviation over the frames of a recording.
Not in the paper: which functionals.

Axes: N recordings, r frames of all of them, t of one, F features.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ifusion.corpora.corpus import Frames, Modality

FUNCTIONALS = ("mean", "sd")
BLOCK = 2**20  # numbers pooled together, so that long recordings take little memory


def pool_frames(frames: Frames) -> Modality:
    """Pools the frames of each recording: (r, F) -> (N, 2F)."""
    pairs = pairwise(frames.offsets.tolist())
    rows = [mean_and_sd(frames.values[start:stop]) for start, stop in pairs]
    return Modality(name_functionals(frames.names), np.stack(rows))


def mean_and_sd(frames: np.ndarray) -> np.ndarray:
    """Means, then standard deviations, of what is not NaN: (t, F) -> (2F,) float32.

    They are NaN where there is nothing.
    """
    width = max(16, BLOCK // max(1, len(frames)))
    columns = range(0, frames.shape[1], width)
    parts = [_pool_columns(frames[:, first : first + width]) for first in columns]
    return np.concatenate(parts, 1).ravel().astype(np.float32)


def _pool_columns(frames: np.ndarray) -> np.ndarray:
    """Pools some features: (t, f) -> (2, f)."""
    frames = frames.astype(np.float64)
    known = ~np.isnan(frames)
    count = known.sum(0)
    some = np.maximum(count, 1)
    mean = np.where(known, frames, 0).sum(0) / some
    square = np.square(np.where(known, frames - mean, 0)).sum(0) / some
    return np.where(count > 0, [mean, np.sqrt(square)], np.nan)


def name_functionals(names: Sequence[str]) -> tuple[str, ...]:
    """Names what `mean_and_sd` makes of features."""
    return tuple(f"{name}_{f}" for f in FUNCTIONALS for name in names)
