"""One face through a recording, and pictures of it aligned by five points.

Frames are read twice, so that memory stays flat: once to find all faces and choose the
one to follow, and once more to look at it.

Axes: R frames, N faces of a frame.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ifusion.features.media import MediaError, Picture, Recording, read_pictures
from ifusion.features.mtcnn import BATCH, Faces, halve, overlap, sample

LINK = 0.3  # least overlap with its last box for a face to be the same
PATIENCE = 1.0  # [s] that a face may be lost
# places of eyes, nose and corners of the mouth in an aligned picture with side 1: the
# template of ArcFace (J. Deng et al., CVPR 2019), which has 112 pixels
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
) / 112  # fmt: skip


class Frame(NamedTuple):
    """A picture, and the number of frames that show it."""

    picture: Picture
    repeats: int


class FaceTrack(NamedTuple):
    """The face that is followed, NaN in frames without it."""

    boxes: np.ndarray  # (R, 4) [pixel]
    points: np.ndarray  # (R, 5, 2) [pixel], as of `Faces`
    confidence: np.ndarray  # (R,)
    repeats: np.ndarray  # (R,) number of frames that show each picture
    most_faces: int  # the most in one picture

    @property
    def share(self) -> float:
        """The share of frames with the face."""
        there = ~np.isnan(self.confidence)
        return float(np.sum(self.repeats * there) / np.sum(self.repeats))


def read_frames(recording: Recording, step: float | None) -> Iterator[Frame]:
    """Reads the pictures on show at times 0, step, 2 * step, ... [s].

    Without a step every picture is read once.
    """
    if step is None:
        for picture in read_pictures(recording):
            yield Frame(picture, 1)
        return
    before, frame, interval = None, 0, step
    for picture in read_pictures(recording):
        if before is not None:
            count = max(0, int(np.ceil(picture.time / step - 1e-6)) - frame)
            frame += count
            interval = picture.time - before.time
            if count:
                yield Frame(before, count)
        before = picture
    if before is not None:
        stop = before.time + interval  # it is shown as long as the one before
        count = int(np.floor(stop / step + 1e-6)) - frame
        if count > 0 or not frame:
            yield Frame(before, max(1, count))


def follow_face(
    frames: Iterable[Frame],
    detect: Callable[[np.ndarray], list[Faces]],
    choice: str,
    recording: Recording,
) -> FaceTrack:
    """Finds the faces of all frames, and follows one.

    A face is followed from frame to frame while its boxes overlap. The choice is the
    one whose area ("largest") or confidence ("most_confident") has the largest sum over
    all frames. `detect` finds the faces of (B, H, W, 3) pictures.

    Raises:
      MediaError: there is no face in any frame.
    """
    traces: list[_Trace] = []
    repeats: list[int] = []
    most = 0
    for batch in _batches(frames):
        found = detect(np.stack([frame.picture.rgb for frame in batch]))
        for frame, faces in zip(batch, found, strict=True):
            _extend(traces, faces, len(repeats), frame.picture.time)
            repeats.append(frame.repeats)
            most = max(most, len(faces.boxes))
    rows = len(repeats)
    if not traces:
        raise MediaError(f"no face is found in its {rows} pictures", recording.path)
    best = max(traces, key=lambda trace: trace.weight(choice))
    boxes, points = np.full((rows, 4), np.nan), np.full((rows, 5, 2), np.nan)
    confidence = np.full(rows, np.nan)
    boxes[best.rows], points[best.rows] = best.boxes, best.points
    confidence[best.rows] = best.confidence
    return FaceTrack(boxes, points, confidence, np.array(repeats), most)


@dataclass
class _Trace:
    """One face, as far as it has been followed."""

    time: float = 0.0  # [s] of the last row
    rows: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)

    def weight(self, choice: str) -> float:
        boxes = np.array(self.boxes)
        if choice == "largest":
            return float(np.sum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))
        return float(np.sum(self.confidence))


def _batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Groups frames of the same size."""
    batch: list[Frame] = []
    for frame in frames:
        other = batch and batch[0].picture.rgb.shape != frame.picture.rgb.shape
        if other or len(batch) == BATCH:
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _extend(traces: list[_Trace], faces: Faces, row: int, time: float) -> None:
    """Adds each face of a frame to the trace it overlaps most, or to a new one."""
    open_traces = [t for t in traces if time - t.time <= PATIENCE]
    for box, confidence, points in zip(
        faces.boxes, faces.confidence, faces.points, strict=True
    ):
        free = [t for t in open_traces if t.rows[-1] < row]
        last = np.array([t.boxes[-1] for t in free]).reshape(-1, 4)
        shares = overlap(box, last, "union")
        if shares.max(initial=0) >= LINK:
            trace = free[shares.argmax()]
        else:
            trace = _Trace()
            traces.append(trace)
        trace.time = time
        trace.rows.append(row)
        trace.boxes.append(box)
        trace.points.append(points)
        trace.confidence.append(float(confidence))


def align_face(
    rgb: np.ndarray, points: np.ndarray, side: int, zoom: float = 1.0
) -> np.ndarray:
    """Turns, shifts and scales a picture so that its face fits `TEMPLATE`.

    Args:
      rgb: (height, width, 3) uint8.
      points: (5, 2) [pixel].
      side: of the result [pixel].
      zoom: below 1 to show more around the face.

    Returns:
      (side, side, 3) float32, 0 to 255; grey outside the picture.
    """
    target = ((TEMPLATE - 0.5) * zoom + 0.5) * side
    matrix, shift = similarity(target, points)
    pixel = np.arange(side) + 0.5
    x = matrix[0, 0] * pixel[None, :] + matrix[0, 1] * pixel[:, None] + shift[0]
    y = matrix[1, 0] * pixel[None, :] + matrix[1, 1] * pixel[:, None] + shift[1]
    pictures, scale = rgb[None], float(np.hypot(*matrix[0]))
    while scale >= 2 and min(pictures.shape[1:3]) >= 2:
        pictures, scale, x, y = halve(pictures), scale / 2, x / 2, y / 2
    return sample(pictures, np.zeros(1, int), x[None] - 0.5, y[None] - 0.5)[0]


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits a turn, a scale and a shift, target = matrix @ source + shift.

    The least-squares fit of S. Umeyama, IEEE Trans. PAMI 13(4), 1991. In the plane it
    is a product of complex numbers, which cannot mirror.

    Args:
      source: (n, 2).
      target: (n, 2).

    Returns:
      (2, 2) and (2,).
    """
    a, b = (points @ np.array([1, 1j]) for points in (source, target))
    a_mean, b_mean = a.mean(), b.mean()
    a, b = a - a_mean, b - b_mean
    factor = np.vdot(a, b) / np.vdot(a, a).real
    shift = b_mean - factor * a_mean
    matrix = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return matrix, np.array([shift.real, shift.imag])
