"""Landmarks to the geometric features of AVEC 2016, the paper's for RECOLA (Sec. 4.1).

M. Valstar et al., "AVEC 2016: Depression, Mood, and Emotion Recognition Workshop and
Challenge", 2016: 316 features per frame, and 632 per window, their means and standard
deviations.

     98  aligned landmarks minus the mean shape
     98  aligned landmarks minus those of the previous frame
     71  distances and angles inside three groups: an eye and its brow, left and right,
         and the mouth
     49  distances of aligned landmarks to the median of the stable ones

Not in that paper, which gives only the numbers: distances are between neighbours in a
group (10, 10 and 17), angles at a point between its two neighbours (9, 9 and 16).
Shapes are turned, shifted and scaled, but not sheared, so that their stable points fit
those of the mean shape best. In the mean shape the outer corners of the eyes are 1
apart.

Axes: R frames, L = 49 landmarks.
"""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from ifusion.features.faces import similarity

STABLE = (*range(10, 19), 19, 22, 25, 28)  # nose, and corners of the eyes
OUTER_CORNERS = (19, 28)
GROUPS = (
    ("left_eye", (*range(0, 5), *range(19, 25))),
    ("right_eye", (*range(5, 10), *range(25, 31))),
    ("mouth", tuple(range(31, 49))),
)
ROUNDS = 3  # of aligning and averaging, after which the mean stays the same
MOST_SHAPES = 20_000  # to fit a mean shape to


def feature_names() -> tuple[str, ...]:
    """Names the 316 features of a frame."""
    points = [f"{axis}{i}" for i in range(49) for axis in "xy"]
    names = [f"shape_{p}" for p in points] + [f"motion_{p}" for p in points]
    for group, indices in GROUPS:
        names += [f"{group}_distance{i}" for i in range(len(indices) - 1)]
        names += [f"{group}_angle{i}" for i in range(len(indices) - 2)]
    return (*names, *(f"median_distance{i}" for i in range(49)))


def fill_gaps(landmarks: np.ndarray) -> np.ndarray:
    """Fills frames without landmarks by PCHIP, and at the ends by the nearest frame.

    PCHIP never overshoots: F. N. Fritsch, R. E. Carlson, SIAM J. Numerical Analysis
    17(2), 1980.

    Args:
      landmarks: (R, L, 2), NaN in frames without a face; at least one frame has one.
    """
    gaps = np.isnan(landmarks).any((1, 2))
    (known,) = np.nonzero(~gaps)
    filled = landmarks.copy()
    if len(known) == 1:
        filled[:] = landmarks[known]
    elif gaps.any():
        missing = np.flatnonzero(gaps)
        after = np.clip(np.searchsorted(known, missing), 1, len(known) - 1)
        places, firsts = np.unique(after, return_index=True)
        for place, gap in zip(places, np.split(missing, firsts[1:]), strict=True):
            near = known[max(0, place - 2) : place + 2]  # all that a gap depends on
            interpolate = PchipInterpolator(near, landmarks[near].astype(np.float64))
            filled[gap] = interpolate(np.clip(gap, known[0], known[-1]))
    return filled


def fit_mean_shape(recordings: Sequence[np.ndarray]) -> np.ndarray:
    """Fits the mean shape, by aligning and averaging in turn.

    Args:
      recordings: of train only; (R, L, 2) each, NaN in frames without a face.

    Returns:
      (L, 2), with the mean of its stable points at 0.
    """
    step = max(1, sum(map(len, recordings)) // MOST_SHAPES)
    seen = [np.flatnonzero(~np.isnan(shapes).any((1, 2))) for shapes in recordings]
    some = [x[rows[::step]] for x, rows in zip(recordings, seen, strict=True)]
    shapes = np.concatenate(some).astype(np.float64)
    mean = _standard(shapes[0])
    for _ in range(ROUNDS):
        mean = _standard(align_shapes(shapes, mean).mean(0))
    return mean


def _standard(shape: np.ndarray) -> np.ndarray:
    """Makes a shape level, shifts it to 0, and scales its eyes to be 1 apart."""
    left, right = shape[list(OUTER_CORNERS)]
    matrix, _ = similarity(np.stack([left, right]), np.array([[0.0, 0], [1, 0]]))
    turned = shape @ matrix.T
    return turned - turned[list(STABLE)].mean(0)


def align_shapes(shapes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Aligns (R, L, 2) shapes to a mean shape by their stable points."""
    aligned = np.empty_like(shapes)
    for row, shape in enumerate(shapes):
        matrix, shift = similarity(shape[list(STABLE)], mean[list(STABLE)])
        aligned[row] = shape @ matrix.T + shift
    return aligned


def describe_shapes(
    landmarks: np.ndarray, mean: np.ndarray, first: int = 0, stop: int | None = None
) -> np.ndarray:
    """Computes the features of frames.

    Args:
      landmarks: (R, L, 2) without gaps; the motion of the first frame is 0.
      mean: (L, 2) of `fit_mean_shape`.
      first: of the frames to describe.
      stop: frame behind the last of them; all by default.

    Returns:
      (stop - first, 316) float64.
    """
    before = max(0, first - 1)  # motion needs the frame before
    aligned = align_shapes(landmarks[before:stop].astype(np.float64), mean)
    rows = len(aligned)
    motion = np.diff(aligned, axis=0, prepend=aligned[:1])
    parts = [(aligned - mean).reshape(rows, -1), motion.reshape(rows, -1)]
    for _, indices in GROUPS:
        steps = np.diff(aligned[:, list(indices)], axis=1)
        parts.append(np.linalg.norm(steps, axis=2))
        parts.append(_angles(-steps[:, :-1], steps[:, 1:]))
    median = np.median(aligned[:, list(STABLE)], axis=1, keepdims=True)
    parts.append(np.linalg.norm(aligned - median, axis=2))
    return np.concatenate(parts, axis=1)[first - before :]


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the angles between (..., 2) vectors [rad]."""
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return np.arctan2(np.abs(cross), (a * b).sum(-1))
