"""Your own embedding: any ONNX model of sound, or of an aligned face.

A JSON file beside it, `model.json` for `model.onnx`, says what the model expects:

    of faces     {"channels": "rgb" or "bgr", "mean": 127.5 or [r, g, b],
                  "scale": 0.0078125, "side": 112, "zoom": 1.0}
    of sound     {"rate": 16000, "chunk": 20, "normalise": false}, the defaults

Faces are aligned by `align_face`, and given as (pixel - mean) * scale, with the mean in
the order of the channels; the side is needed only if the model's input leaves it open.
Sound is between -1 and 1, in chunks of so many seconds, so that memory stays flat;
`normalise` gives each chunk mean 0 and variance 1, as many wav2vec 2.0 models expect.

Axes: B faces, n samples, T frames of a chunk, F features.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.features.extra import import_extra

SOUND = {"rate": 16000, "chunk": 20, "normalise": False}
FACE = {  # what is expected
    "channels": "rgb or bgr",
    "mean": "a number, or three",
    "scale": "a number",
    "side": "8 to 1024 pixels",
    "zoom": "a number above 0",
}
LEAST_CHUNK = 1.0  # [s]; a shorter last chunk is joined to the one before


@dataclass(frozen=True)
class Model:
    """A loaded model."""

    path: Path
    session: Any  # of onnxruntime
    shape: tuple[int | str | None, ...]  # of its input, numbers or names
    states: dict[str, Any]  # what its features depend on: its hash and its options

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the first output.

        Raises:
          CorpusError: the model fails, or returns what is not finite.
        """
        name = self.session.get_inputs()[0].name
        try:
            found = np.asarray(self.session.run(None, {name: inputs})[0], np.float32)
        except Exception as error:  # onnxruntime's own kinds
            told = _first_line(error)
            reason = f"the model fails on an input {inputs.shape} ({told})"
            raise CorpusError(reason, self.path) from error
        if not np.isfinite(found).all():
            raise CorpusError("the model returns values that are not finite", self.path)
        return found


def load_model(path: Path, modality: str) -> Model:
    """Loads a model and its JSON file.

    Raises:
      CorpusError: either is missing or wrong.
    """
    runtime = import_extra("onnxruntime")
    if not path.is_file():
        raise CorpusError("no such file", path)
    data = path.read_bytes()
    try:
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds
        reason = f"not a readable ONNX model ({_first_line(error)})"
        raise CorpusError(reason, path) from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        types = [i.type for i in inputs]
        raise CorpusError(f"its inputs are {types}, expected one tensor(float)", path)
    read = _read_sound_options if modality == "audio" else _read_face_options
    shape = tuple(inputs[0].shape)
    states = {
        "extractor": "ONNX model",
        "model": hashlib.sha256(data).hexdigest(),
        **read(path.with_suffix(".json"), shape, path),
    }
    return Model(path, session, shape, states)


def _read_options(path: Path, allowed: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CorpusError(f"it cannot be read as JSON ({error})", path) from error
    if not isinstance(found, dict) or not set(found) <= set(allowed):
        raise CorpusError(f"expected an object of {', '.join(allowed)}", path)
    return found


def _read_sound_options(path: Path, shape: tuple, model: Path) -> dict[str, Any]:
    if len(shape) not in (1, 2, 3):
        reason = f"its input is {shape}, expected samples (n,), (1, n) or (1, 1, n)"
        raise CorpusError(reason, model)
    found = SOUND | _read_options(path, tuple(SOUND))
    for name in ("rate", "chunk"):
        if not _is_number(found[name]) or found[name] < 1:
            raise CorpusError(f"{name} is {found[name]!r}, expected at least 1", path)
    if not isinstance(found["normalise"], bool):
        raise CorpusError(f"normalise is {found['normalise']!r}, expected true", path)
    return found | {"rate": int(found["rate"])}


def _read_face_options(path: Path, shape: tuple, model: Path) -> dict[str, Any]:
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        reason = f"its input is {shape}, expected (faces, 3, side, side) or (..., 3)"
        raise CorpusError(reason, model)
    found = {"zoom": 1.0, "side": None} | _read_options(path, tuple(FACE))
    for name in ("channels", "mean", "scale"):
        if name not in found:
            what = f"{name!r} is missing" if path.is_file() else "no such file"
            needed = "channels, mean and scale of the pictures that the model expects"
            raise CorpusError(f"{what}; it must state {needed}", path)
    found["side"] = shape[2] if isinstance(shape[2], int) else found["side"]
    mean = found["mean"] if isinstance(found["mean"], list) else [found["mean"]] * 3
    correct = {
        "channels": found["channels"] in ("rgb", "bgr"),
        "mean": len(mean) == 3 and all(map(_is_number, mean)),
        "scale": _is_number(found["scale"]),
        "side": isinstance(found["side"], int) and 8 <= found["side"] <= 1024,
        "zoom": _is_number(found["zoom"]) and found["zoom"] > 0,
    }
    for name, right in correct.items():
        if not right:
            reason = f"{name} is {found[name]!r}, expected {FACE[name]}"
            raise CorpusError(reason, path)
    return found | {"mean": [float(m) for m in mean]}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def embed_faces(model: Model, faces: np.ndarray) -> np.ndarray:
    """Computes the features of faces, (B, side, side, 3) RGB to (B, F)."""
    states = model.states
    faces = faces if states["channels"] == "rgb" else faces[..., ::-1]
    x = ((faces - np.array(states["mean"])) * states["scale"]).astype(np.float32)
    if model.shape[1] == 3:
        x = x.transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x)
    one = model.shape[0] == 1  # some models take one face at a time
    parts = [x[i : i + 1] for i in range(len(x))] if one else [x]
    return np.concatenate([model.run(p).reshape(len(p), -1) for p in parts])


class Chunk(NamedTuple):
    """Features of a part of a recording."""

    frames: np.ndarray  # (T, F)
    times: np.ndarray  # (T,) of the middles of the frames [s]
    stop: float  # at which the part ends [s]


def embed_sound(model: Model, blocks: Iterable[np.ndarray]) -> Iterator[Chunk]:
    """Computes the features of a recording, chunk by chunk.

    Args:
      model: any; if it returns a single vector, each chunk has one frame.
      blocks: (n,) int16 samples at the rate that the model expects.
    """
    rate = model.states["rate"]
    length = round(rate * model.states["chunk"])
    start, waiting = 0, np.zeros(0, np.int16)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= length + LEAST_CHUNK * rate:
            yield _embed_chunk(model, waiting[:length], start)
            start, waiting = start + length, waiting[length:]
    if len(waiting):
        yield _embed_chunk(model, waiting, start)


def _embed_chunk(model: Model, samples: np.ndarray, start: int) -> Chunk:
    x = samples / np.float32(32768)
    if model.states["normalise"]:
        x = (x - x.mean()) / np.maximum(x.std(), 1e-7)
    shape = (1,) * (len(model.shape) - 1) + (-1,)
    found = model.run(x.reshape(shape).astype(np.float32))
    found = found.reshape(-1, found.shape[-1])
    places = (np.arange(len(found)) + 0.5) / len(found)
    rate = model.states["rate"]
    times = (start + places * len(samples)) / rate
    return Chunk(found, times, (start + len(samples)) / rate)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
