"""The extractors of video; each follows one face through a recording.

Axes: R frames.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.functionals import name_functionals
from ifusion.features import geometry, vgg_face
from ifusion.features.extra import extra_version
from ifusion.features.extracted import read_tables
from ifusion.features.extractors import (
    Extractor,
    ExtractorOptions,
    Features,
    Maker,
    path_in,
)
from ifusion.features.faces import FaceTrack, align_face, follow_face, read_frames
from ifusion.features.landmarks import find_landmarks, load_landmark_model
from ifusion.features.media import Recording
from ifusion.features.mtcnn import BATCH, detect_faces, load_detector_weights
from ifusion.features.onnx_model import embed_faces, load_model
from ifusion.features.vgg_weights import BLUE_FIRST, WHERE, read_layers
from ifusion.features.windows import summarise, summarise_windows
from ifusion.paths import expand_path

MEAN_SHAPE = "mean_shape"
VGG_ZOOM = 0.7  # shows the whole head, as in the pictures VGG-Face was trained on


def _geometry(name: str, rest: str, options: ExtractorOptions) -> Extractor:
    mean = _read_mean_shape(expand_path(rest)) if rest else None
    load_landmark_model()  # fails early if the library is missing
    states = {
        "extractor": "geometric features of AVEC 2016, MTCNN and dlib",
        "dlib": extra_version("dlib-bin"),
        **_face_states(options),
    }

    def extract(recording: Recording) -> Features:
        track = _follow(recording, options)
        found = np.full((len(track.boxes), 49, 2), np.nan, np.float32)
        frames = read_frames(recording, options.step)
        for row, (frame, box) in enumerate(zip(frames, track.boxes, strict=True)):
            if not np.isnan(box[0]):
                found[row] = find_landmarks(frame.picture.rgb, box)
        values = np.repeat(found.reshape(-1, 98), track.repeats, axis=0)
        names = tuple(f"{axis}{i}" for i in range(49) for axis in "xy")
        return Features(names, values, _face_facts(track))

    def fit(train: Sequence[Features]) -> dict[str, Any]:
        if mean is None and not train:
            raise CorpusError(
                "geometry fits a mean shape on train, which has no recordings; use "
                "that of a corpus, geometry:CORPUS/extraction.json"
            )
        shape = (
            geometry.fit_mean_shape([*map(_shapes, train)]) if mean is None else mean
        )
        window = {"window": options.seconds} if options.step else {}
        return {**window, MEAN_SHAPE: shape.tolist()}

    def finish(found: Features, states: Mapping[str, Any]) -> Features:
        shapes = geometry.fill_gaps(_shapes(found))
        frames = partial(geometry.describe_shapes, shapes, _mean_shape(states))
        names = name_functionals(geometry.feature_names())
        if options.step is None:
            return Features(names, summarise(frames, len(shapes))[None], found.facts)
        length = max(1, round(options.seconds / options.step))
        values = summarise_windows(frames, len(shapes), length)
        return Features(names, values, found.facts)

    # the states hold the mean shape, so the name needs no file that may be gone
    return Extractor(name.partition(":")[0], states, extract, fit, finish)


def _shapes(found: Features) -> np.ndarray:
    return found.values.reshape(-1, 49, 2)


def _read_mean_shape(path: Path) -> np.ndarray:
    """Reads the mean shape from the extraction.json of a corpus."""
    if not path.is_file():
        raise CorpusError("no such file", path)
    try:
        return _mean_shape(json.loads(path.read_text("utf-8"))["video"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "expected the extraction.json of a corpus with geometric features"
        raise CorpusError(reason, path) from error


def _mean_shape(states: Mapping[str, Any]) -> np.ndarray:
    mean = np.array(states.get(MEAN_SHAPE), np.float64)
    if mean.shape != (49, 2) or not np.isfinite(mean).all():
        raise CorpusError("geometry has no mean shape of 49 points in its provenance")
    return mean


def _vgg_face(
    name: str, rest: str, options: ExtractorOptions, rectify: bool = True
) -> Extractor:
    first, colon, behind = rest.partition(":")
    named = bool(colon) and first in ("rgb", "bgr")
    path = path_in(name, behind if named else rest, "file", f"; {WHERE}")
    layers = jax.tree.map(jnp.asarray, read_layers(path))
    bgr = first == "bgr" if named else path.suffix.lower() in BLUE_FIRST
    embed = partial(vgg_face.embed, layers, bgr=bgr, rectify=rectify)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    states = {
        "extractor": "VGG-Face fc7",
        "weights": digest,
        "channels": "bgr" if bgr else "rgb",
        "rectified": str(rectify),
        "zoom": VGG_ZOOM,
    }
    return _embedding(name, options, states, vgg_face.SIDE, VGG_ZOOM, embed, "fc7_")


def _onnx(name: str, rest: str, options: ExtractorOptions) -> Extractor:
    model = load_model(path_in(name, rest, "file"), "video")
    embed = partial(embed_faces, model)
    side, zoom = model.states["side"], model.states["zoom"]
    return _embedding(name, options, model.states, side, zoom, embed, "face")


def _embedding(
    name: str,
    options: ExtractorOptions,
    states: Mapping[str, Any],
    side: int,
    zoom: float,
    embed: Callable[[np.ndarray], Any],
    prefix: str,
) -> Extractor:
    """Makes the extractor of a network that embeds aligned faces.

    Without a step it averages the vectors of all pictures with the face.
    """

    def extract(recording: Recording) -> Features:
        track = _follow(recording, options)
        rows = np.flatnonzero(~np.isnan(track.confidence))
        total: Any = 0.0
        vectors: list[np.ndarray] = []
        for faces in _aligned_faces(recording, track, options, side, zoom):
            padded = np.zeros((BATCH, side, side, 3), np.float32)
            padded[: len(faces)] = faces
            found = np.asarray(embed(padded))[: len(faces)]
            if options.step is None:  # a long recording has too many to keep
                total = total + found.sum(0, np.float64)
            else:
                vectors.append(found)
        if options.step is None:
            values = (total / len(rows))[None]
        else:
            known = np.concatenate(vectors)
            values = np.full((len(track.boxes), known.shape[1]), np.nan)
            values[rows] = known
            values = np.repeat(values, track.repeats, axis=0)
        names = tuple(f"{prefix}{i}" for i in range(values.shape[1]))
        return Features(names, values.astype(np.float32), _face_facts(track))

    return Extractor(name, {**states, **_face_states(options)}, extract)


def _aligned_faces(
    recording: Recording,
    track: FaceTrack,
    options: ExtractorOptions,
    side: int,
    zoom: float,
) -> Iterator[np.ndarray]:
    """Reads the faces of all frames that have one, as (B, side, side, 3) batches."""
    batch = []
    frames = read_frames(recording, options.step)
    for frame, points in zip(frames, track.points, strict=True):
        if not np.isnan(points[0, 0]):
            batch.append(align_face(frame.picture.rgb, points, side, zoom))
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _follow(recording: Recording, options: ExtractorOptions) -> FaceTrack:
    weights = load_detector_weights()
    detect = partial(detect_faces, weights, smallest=options.smallest_face)
    frames = read_frames(recording, options.step)
    return follow_face(frames, detect, options.face, recording)


def _face_states(options: ExtractorOptions) -> dict[str, str | float | None]:
    return {
        "mtcnn": extra_version("mtcnn"),
        "step": options.step,
        "face": options.face,
        "smallest_face": options.smallest_face,
    }


def _face_facts(track: FaceTrack) -> dict[str, float]:
    return {"face_share": track.share, "most_faces": track.most_faces}


MAKERS: Mapping[str, Maker] = {
    "geometry": _geometry,
    "vggface": _vgg_face,
    "vggface-linear": partial(_vgg_face, rectify=False),
    "onnx": _onnx,
    "openface": partial(read_tables, tool="OpenFace"),
}
