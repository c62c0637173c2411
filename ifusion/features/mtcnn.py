"""MTCNN: faces in pictures, with five points each.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask
Cascaded Convolutional Networks", IEEE Signal Processing Letters, 2016. The first
network looks for faces of 12 x 12 pixels in the picture at many sizes; the second and
third look again at what it found, at 24 x 24 and 48 x 48 pixels. The networks run in
JAX; numpy sorts out the boxes. Not in the paper: how faces are found.

Axes: B pictures, N boxes, H height, W width. A box is left, top, right and bottom.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.features.extra import extra_folder
from ifusion.features.layers import convolve, pool_maxima
from ifusion.features.mtcnn_weights import Weights, read_weights

THRESHOLDS = {"pnet": 0.6, "rnet": 0.7, "onet": 0.8}  # confidence
OVERLAP_OF_LEVEL, OVERLAP = 0.5, 0.7  # of two boxes that overlap more, one is dropped
SCALE = 0.709  # from one size of the picture to the next
CELL, STRIDE = 12, 2  # [pixel] of the first network
LEAST_FACE = 20  # [pixel]
FACE_SHARE = 12  # the smallest face is the shorter side / 12
PATCHES = 16  # least number of boxes a program takes, so that few are compiled
BATCH = 8  # pictures looked at together; fewer if they are large
PIXELS = 2**23  # looked at together at most


class Faces(NamedTuple):
    """The faces of a picture, the most confident first.

    Attributes:
      boxes: (N, 4) [pixel].
      confidence: (N,) from 0.8 to 1.
      points: (N, 5, 2) x and y [pixel] of both eyes, the nose and both corners of the
        mouth, those on the left of the picture first.
    """

    boxes: np.ndarray
    confidence: np.ndarray
    points: np.ndarray


@functools.cache
def load_detector_weights() -> Weights:
    """Reads the weights of the installed distribution, once."""
    return read_weights(extra_folder("mtcnn") / "assets" / "weights")


def detect_faces(
    weights: Weights, pictures: np.ndarray, smallest: float | None = None
) -> list[Faces]:
    """Finds the faces of pictures.

    Args:
      weights: of `load_detector_weights`.
      pictures: (B, H, W, 3) uint8, RGB.
      smallest: side of the smallest faces to look for [pixel]; None for a twelfth of
        the shorter side, but at least 20.

    Returns:
      The faces of each picture.
    """
    found: list[Faces] = []
    height, width = pictures.shape[1:3]
    batch = max(1, min(BATCH, PIXELS // (height * width)))
    for first in range(0, len(pictures), batch):
        found += _detect(weights, pictures[first : first + batch], batch, smallest)
    return found


def _detect(
    weights: Weights, pictures: np.ndarray, batch: int, smallest: float | None
) -> list[Faces]:
    count, height, width = pictures.shape[:3]
    if not smallest:
        smallest = max(LEAST_FACE, min(height, width) / FACE_SHARE)
    owner, boxes, scores = _propose(weights["pnet"], pictures, batch, smallest)
    pyramid = _Pyramid(pictures)
    offsets, scores = _refine(_rnet, weights["rnet"], pyramid, owner, boxes, 24)
    boxes = _shift(boxes, offsets)
    kept = _keep(owner, boxes, scores, THRESHOLDS["rnet"], "union")
    owner, boxes = owner[kept], _square(boxes[kept])
    offsets, scores, points = _refine(_onet, weights["onet"], pyramid, owner, boxes, 48)
    size = boxes[:, 2:] - boxes[:, :2]
    points = points.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None]
    points += boxes[:, None, :2]
    boxes = _shift(boxes, offsets)
    kept = _keep(owner, boxes, scores, THRESHOLDS["onet"], "least")
    owner, boxes, scores, points = owner[kept], boxes[kept], scores[kept], points[kept]
    return [
        Faces(boxes[owner == i], scores[owner == i], points[owner == i])
        for i in range(count)
    ]


def _propose(
    weights: Sequence[np.ndarray], pictures: np.ndarray, batch: int, smallest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs the first network on the pictures at all sizes.

    Returns:
      (N,) the picture of each box, (N, 4) square boxes, (N,) confidence.
    """
    count, height, width = pictures.shape[:3]
    scales = pyramid_scales(height, width, smallest)
    if not scales:
        return np.zeros(0, int), np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    padded = np.zeros((batch, *pictures.shape[1:]), np.uint8)
    padded[:count] = pictures
    parts = []
    for scale, (offsets, scores) in zip(
        scales, _pnet(weights, padded, scales), strict=True
    ):
        scores = np.asarray(scores)[:count]
        owner, row, column = np.nonzero(scores > THRESHOLDS["pnet"])
        corner = STRIDE * np.stack([column, row], 1)
        boxes = np.concatenate([corner, corner + CELL], 1)
        boxes = (boxes + CELL * np.asarray(offsets)[owner, row, column]) / scale
        scores = scores[owner, row, column]
        kept = _keep(owner, boxes, scores, 0.0, "union", OVERLAP_OF_LEVEL)
        parts.append((owner[kept], boxes[kept], scores[kept]))
    owner, boxes, scores = map(np.concatenate, zip(*parts, strict=True))
    kept = _keep(owner, boxes, scores, 0.0, "union")
    return owner[kept], _square(boxes[kept]), scores[kept]


def pyramid_scales(height: int, width: int, smallest: float) -> tuple[float, ...]:
    """Returns the sizes at which to look at a picture, as shares of its own."""
    scales = []
    scale = CELL / smallest
    while min(round(height * scale), round(width * scale)) >= CELL:
        scales.append(scale)
        scale *= SCALE
    return tuple(scales)


def _refine(
    network: Callable[..., tuple[jax.Array, ...]],
    weights: Sequence[np.ndarray],
    pyramid: "_Pyramid",
    owner: np.ndarray,
    boxes: np.ndarray,
    side: int,
) -> list[np.ndarray]:
    """Runs a network on the contents of boxes; the results have N rows."""
    size = PATCHES
    while size < len(boxes):  # 16, 24, 32, 48, 64, ...
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    patches = np.zeros((size, side, side, 3), np.float32)
    patches[: len(boxes)] = pyramid.cut(owner, boxes, side)
    return [np.asarray(out)[: len(boxes)] for out in network(weights, patches)]


# ---- The networks, in the layout of Keras ------------------------------------------


@functools.partial(jax.jit, static_argnames="scales")
def _pnet(
    weights: Sequence[jax.Array], pictures: jax.Array, scales: tuple[float, ...]
) -> list[tuple[jax.Array, jax.Array]]:
    """Computes (B, h, w, 4) offsets and (B, h, w) confidence at each scale."""
    found = []
    height, width = pictures.shape[1:3]
    planes = pictures.transpose(0, 3, 1, 2).astype(jnp.float32)
    for scale in scales:
        rows = area_weights(planes.shape[2], round(height * scale))
        columns = area_weights(planes.shape[3], round(width * scale))
        planes = jnp.einsum("hy,bcyx->bchx", rows, planes)
        planes = jnp.einsum("wx,bchx->bchw", columns, planes)
        x = planes.transpose(0, 2, 3, 1)
        x = pool_maxima(_convolve(_scaled(x), *weights[0:3]), 2)
        x = _convolve(_convolve(x, *weights[3:6]), *weights[6:9])
        # convolutions of 1 x 1 are products
        offsets = x @ weights[9][0, 0] + weights[10]
        found.append((offsets, _confidence(x @ weights[11][0, 0] + weights[12])))
    return found


@jax.jit
def _rnet(weights: Sequence[jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes (N, 4) offsets and (N,) confidence of (N, 24, 24, 3) patches."""
    x = pool_maxima(_convolve(_scaled(x), *weights[0:3]), 3)
    x = pool_maxima(_convolve(x, *weights[3:6]), 3, "VALID")
    x = _flatten(_convolve(x, *weights[6:9]))
    x = _prelu(x @ weights[9] + weights[10], weights[11])
    scores = _confidence(x @ weights[14] + weights[15])
    return x @ weights[12] + weights[13], scores


@jax.jit
def _onet(
    weights: Sequence[jax.Array], x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes offsets, confidence and (N, 10) points of (N, 48, 48, 3) patches."""
    x = pool_maxima(_convolve(_scaled(x), *weights[0:3]), 3)
    x = pool_maxima(_convolve(x, *weights[3:6]), 3, "VALID")
    x = pool_maxima(_convolve(x, *weights[6:9]), 2)
    x = _flatten(_convolve(x, *weights[9:12]))
    x = _prelu(x @ weights[12] + weights[13], weights[14])
    scores = _confidence(x @ weights[19] + weights[20])
    return x @ weights[15] + weights[16], scores, x @ weights[17] + weights[18]


def _scaled(x: jax.Array) -> jax.Array:
    return (x - 127.5) / 128


def _convolve(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, slopes: jax.Array
) -> jax.Array:
    return _prelu(convolve(x, kernel, bias), slopes)


def _prelu(x: jax.Array, slopes: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0) + slopes * jnp.minimum(x, 0)


def _flatten(x: jax.Array) -> jax.Array:
    return x.transpose(0, 2, 1, 3).reshape(len(x), -1)


def _confidence(logits: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(logits[..., 1] - logits[..., 0])


# ---- Pictures ----------------------------------------------------------------------


def halve(pixels: np.ndarray) -> np.ndarray:
    """Averages 2 x 2 pixels of (B, H, W, 3), to float32."""
    height, width = (n // 2 * 2 for n in pixels.shape[1:3])
    even = pixels[:, :height, :width].astype(np.float32)
    return (
        even[:, ::2, ::2]
        + even[:, 1::2, ::2]
        + even[:, ::2, 1::2]
        + even[:, 1::2, 1::2]
    ) / 4


def area_weights(before: int, after: int) -> np.ndarray:
    """Returns (after, before) weights that resize by area; rows sum to 1."""
    edges = np.linspace(0, before, after + 1)
    left, right = edges[:-1, None], edges[1:, None]
    pixels = np.arange(before)
    overlap = np.minimum(right, pixels + 1) - np.maximum(left, pixels)
    weights = np.maximum(overlap, 0) * (after / before)
    return weights.astype(np.float32)


class _Pyramid:
    """Pictures at halved sizes, to cut patches from without aliasing."""

    def __init__(self, pictures: np.ndarray) -> None:
        self._levels = [pictures]

    def cut(self, owner: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
        """Cuts out (N, 4) boxes of (N,) pictures, to (N, side, side, 3) float32."""
        patches = np.empty((len(boxes), side, side, 3), np.float32)
        ratio = (boxes[:, 2] - boxes[:, 0]) / side
        depths = np.floor(np.log2(np.maximum(ratio, 1))).astype(int)
        for depth in np.unique(depths):
            while len(self._levels) <= depth:
                self._levels.append(halve(self._levels[-1]))
            rows = depths == depth
            patches[rows] = cut_boxes(
                self._levels[depth], owner[rows], boxes[rows] / 2**depth, side
            )
        return patches


def cut_boxes(
    pictures: np.ndarray, owner: np.ndarray, boxes: np.ndarray, side: int
) -> np.ndarray:
    """Samples (N, 4) boxes [pixel] bilinearly, to (N, side, side, 3) float32.

    Pictures and owner are those of `sample`; outside a picture it is grey.
    """
    place = (np.arange(side) + 0.5) / side
    x = boxes[:, :1] + place * (boxes[:, 2:3] - boxes[:, :1]) - 0.5
    y = boxes[:, 1:2] + place * (boxes[:, 3:4] - boxes[:, 1:2]) - 0.5
    return sample(pictures, owner, x[:, None, :], y[:, :, None])


def sample(
    pictures: np.ndarray, owner: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Interpolates between pixels; outside a picture it is grey.

    Args:
      pictures: (B, H, W, 3).
      owner: (N,) the picture to sample.
      x: (N, 1 or h, w) [pixel] from the middle of the first pixel.
      y: (N, h, 1 or w) likewise.

    Returns:
      (N, h, w, 3) float32.
    """
    height, width = pictures.shape[1:3]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    far_x, far_y = (x - left)[..., None], (y - top)[..., None]
    owner = owner[:, None, None]
    outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    x0, x1 = (np.clip(left + i, 0, width - 1) for i in (0, 1))
    y0, y1 = (np.clip(top + i, 0, height - 1) for i in (0, 1))
    upper = (1 - far_x) * pictures[owner, y0, x0] + far_x * pictures[owner, y0, x1]
    lower = (1 - far_x) * pictures[owner, y1, x0] + far_x * pictures[owner, y1, x1]
    found = ((1 - far_y) * upper + far_y * lower).astype(np.float32)
    found[outside] = 127.5
    return found


# ---- Boxes -------------------------------------------------------------------------


def _shift(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Moves the sides of boxes by shares of their size."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.tile(size, 2)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Makes boxes square by extending their shorter side."""
    size = boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, 2:] + boxes[:, :2]) / 2
    half = size.max(1, keepdims=True) / 2
    return np.concatenate([middle - half, middle + half], 1)


def _keep(
    owner: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    share: str,
    most: float = OVERLAP,
) -> np.ndarray:
    """Drops boxes by non-maximum suppression in each picture.

    Of two boxes that have more than `most` in common, see `overlap`, the one with the
    lower score is dropped, and so are scores up to the threshold. Returns the indices
    of the others, the highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > threshold]
    kept = []
    for picture in np.unique(owner[order]):
        left = order[owner[order] == picture]
        while len(left):
            best, left = left[0], left[1:]
            kept.append(best)
            left = left[overlap(boxes[best], boxes[left], share) <= most]
    chosen = np.array(kept, int)
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def overlap(box: np.ndarray, boxes: np.ndarray, share: str) -> np.ndarray:
    """Returns what a box has in common with others.

    Args:
      box: (4,).
      boxes: (N, 4).
      share: of the "union" of both boxes, or of the area of the "least".

    Returns:
      (N,) from 0 to 1.
    """
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), 1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    whole = area + areas - common if share == "union" else np.minimum(area, areas)
    return common / np.maximum(whole, 1e-9)
