"""Extractors of video: they follow one face through a recording.

Axes: R frames.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.features import geometry, vgg_face
from ifusion.features.extra import extra_version
from ifusion.features.extracted import openface
from ifusion.features.extractors import Extractor, Features, Maker, Options
from ifusion.features.faces import Track, align_face, follow_face, read_frames
from ifusion.features.landmarks import find_landmarks, load_predictor
from ifusion.features.media import Recording
from ifusion.features.mtcnn import BATCH, detect_faces, load_detector_weights
from ifusion.features.mtcnn_weights import Weights
from ifusion.features.onnx_model import embed_faces, load_model
from ifusion.features.vgg_weights import BLUE_FIRST, read_layers
from ifusion.features.windows import name_functionals, summarise, summarise_windows
from ifusion.paths import expand_path

MEAN_SHAPE = "mean_shape"
VGG_ZOOM = 0.7  # so that the whole head is seen, as in what VGG-Face was trained on


def _geometry(name: str, rest: str, options: Options) -> Extractor:
    mean = _read_mean_shape(expand_path(rest)) if rest else None
    load_predictor()  # refuses before anything is read
    states = {
        "extractor": "geometric features of AVEC 2016, MTCNN and dlib",
        "mtcnn": extra_version("mtcnn"),
        "dlib": extra_version("dlib-bin"),
        **_face_states(options),
    }

    def extract(recording: Recording) -> Features:
        track = _follow(recording, options)
        found = np.full((len(track.boxes), 49, 2), np.nan)
        frames = read_frames(recording, options.step)
        for row, (frame, box) in enumerate(zip(frames, track.boxes, strict=True)):
            if not np.isnan(box[0]):
                found[row] = find_landmarks(frame.picture.rgb, box)
        values = np.repeat(found.reshape(-1, 98), track.repeats, axis=0)
        names = tuple(f"{axis}{i}" for i in range(49) for axis in "xy")
        return Features(names, values.astype(np.float32), _face_facts(track))

    def fit(train: Sequence[Features]) -> dict[str, Any]:
        if mean is None and not train:
            raise CorpusError(
                "geometry has a mean shape, which is fitted on train, but there is "
                "none; name that of a corpus: geometry:CORPUS/extraction.json"
            )
        fitted = (
            geometry.fit_mean_shape([*map(_shapes, train)]) if mean is None else mean
        )
        window = {"window": options.window} if options.step else {}
        return {**window, MEAN_SHAPE: fitted.tolist()}

    def finish(found: Features, states: Mapping[str, Any]) -> Features:
        shapes = geometry.fill_gaps(_shapes(found))
        frames = geometry.describe_shapes(shapes, np.array(states[MEAN_SHAPE]))
        names = name_functionals(geometry.feature_names())
        return Features(
            names, _summarise(frames, options).astype(np.float32), found.facts
        )

    return Extractor(name, states, extract, fit, finish)


def _shapes(found: Features) -> np.ndarray:
    return found.values.reshape(-1, 49, 2).astype(np.float64)


def _vgg_face(
    name: str, rest: str, options: Options, rectify: bool = True
) -> Extractor:
    first, colon, behind = rest.partition(":")
    named = bool(colon) and first in ("rgb", "bgr")
    path = expand_path(behind if named else rest)
    layers = [
        (jnp.asarray(kernel), jnp.asarray(bias)) for kernel, bias in read_layers(path)
    ]
    bgr = first == "bgr" if named else path.suffix.lower() in BLUE_FIRST
    embed = partial(vgg_face.embed, layers, bgr=bgr, rectify=rectify)
    states = {
        "extractor": "VGG-Face fc7",
        "weights": _hash_of(path),
        "channels": "bgr" if bgr else "rgb",
        "rectified": str(rectify),
        "zoom": VGG_ZOOM,
    }
    return _embedding(name, options, states, vgg_face.SIDE, VGG_ZOOM, embed, "fc7_")


def _onnx(name: str, rest: str, options: Options) -> Extractor:
    model = load_model(expand_path(rest), "video")
    embed = partial(embed_faces, model)
    side, zoom = model.states["side"], model.states["zoom"]
    return _embedding(name, options, model.states, side, zoom, embed, "face")


def _embedding(
    name: str,
    options: Options,
    states: Mapping[str, Any],
    side: int,
    zoom: float,
    embed: Callable[[np.ndarray], Any],
    prefix: str,
) -> Extractor:
    """Makes the extractor of a network of aligned faces.

    Without a step, its vectors are averaged over the pictures with the face.
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
            if options.step is None:  # the vectors of a long recording are many
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

    states = {**states, "mtcnn": extra_version("mtcnn"), **_face_states(options)}
    return Extractor(name, states, extract)


def _aligned_faces(
    recording: Recording, track: Track, options: Options, side: int, zoom: float
) -> Iterator[np.ndarray]:
    """Reads the face of all frames that have it, (B, side, side, 3) at once."""
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


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _summarise(frames: np.ndarray, options: Options) -> np.ndarray:
    if options.step is None:
        return summarise(frames)
    return summarise_windows(frames, max(1, round(options.window / options.step)))


def _read_mean_shape(path: Path) -> np.ndarray:
    """Reads the mean shape of a corpus from its extraction.json.

    Raises:
      CorpusError: the file has none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))["video"][MEAN_SHAPE]
        mean = np.array(found, np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "expected the extraction.json of a corpus with geometric features"
        raise CorpusError(reason, path) from error
    if mean.shape != (49, 2) or not np.isfinite(mean).all():
        raise CorpusError(f"its mean shape is {mean.shape}, expected (49, 2)", path)
    return mean


@lru_cache(maxsize=1)
def _detector() -> Weights:
    return load_detector_weights()


def _follow(recording: Recording, options: Options) -> Track:
    detect = partial(detect_faces, _detector(), smallest=options.smallest_face)
    frames = read_frames(recording, options.step)
    return follow_face(frames, detect, options.face, recording)


def _face_states(options: Options) -> dict[str, str | float | None]:
    return {
        "step": options.step,
        "face": options.face,
        "smallest_face": options.smallest_face,
    }


def _face_facts(track: Track) -> dict[str, float]:
    return {"face_share": track.share, "most_faces": track.most_faces}


MAKERS: Mapping[str, Maker] = {
    "geometry": _geometry,
    "vggface": _vgg_face,
    "vggface-linear": partial(_vgg_face, rectify=False),
    "onnx": _onnx,
    "openface": openface,
}
