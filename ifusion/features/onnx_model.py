"""Your own embedding: any ONNX model of 16 kHz samples, or of an aligned face.

A JSON file beside the model, `model.json` beside `model.onnx`, says what it expects.

    of faces     {"channels": "rgb" or "bgr", "mean": 127.5 or [r, g, b],
                  "scale": 0.0078125, "side": 112, "zoom": 1.0}
    of sound     {"rate": 16000, "chunk": 20}, which are the defaults

It is given (pixel - mean) * scale, mean in the order of channels, of faces that are
aligned as `align_face` says; the side is that of the model's input where it is fixed.
Sound is -1 to 1, in chunks of so many seconds, so that memory does not grow.

Axes: B faces, n samples, T frames of a chunk, F features.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.features.extra import import_extra

SOUND = {"rate": 16000, "chunk": 20}
LEAST_CHUNK = 1.0  # [s], below which the last chunk is part of the one before


@dataclass(frozen=True)
class Model:
    """A model that has been loaded.

    Attributes:
      path: of the file.
      session: of onnxruntime.
      shape: of its input, numbers or names.
      states: what its features depend on: its hash and the JSON file.
    """

    path: Path
    session: Any
    shape: tuple[int | str | None, ...]
    states: dict[str, Any]

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the first output.

        Raises:
          CorpusError: the model fails, or returns what is not finite.
        """
        name = self.session.get_inputs()[0].name
        try:
            found = np.asarray(self.session.run(None, {name: inputs})[0], np.float32)
        except Exception as error:  # onnxruntime's own kinds
            reason = (
                f"the model fails on an input {inputs.shape} ({_first_line(error)})"
            )
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
        reason = f"no readable ONNX model ({_first_line(error)})"
        raise CorpusError(reason, path) from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        types = [i.type for i in inputs]
        raise CorpusError(f"its inputs are {types}, expected one tensor(float)", path)
    read = _read_sound_options if modality == "audio" else _read_face_options
    shape = tuple(inputs[0].shape)
    states = {
        "extractor": f"ONNX model {path.name}",
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
    for name, value in found.items():
        if not _is_number(value) or value < 1:
            raise CorpusError(f"{name} is {value!r}, expected a number from 1 on", path)
    return found | {"rate": int(found["rate"])}


def _read_face_options(path: Path, shape: tuple, model: Path) -> dict[str, Any]:
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        reason = f"its input is {shape}, expected (faces, 3, side, side) or (..., 3)"
        raise CorpusError(reason, model)
    found = {"zoom": 1.0, "side": None} | _read_options(
        path, ("channels", "mean", "scale", "side", "zoom")
    )
    for name in ("channels", "mean", "scale"):
        if name not in found:
            raise CorpusError(
                f"{name!r} is missing; it says what the model expects", path
            )
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
            raise CorpusError(f"{name} is {found[name]!r}, see the documentation", path)
    return found | {"mean": [float(m) for m in mean]}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def embed_faces(model: Model, faces: np.ndarray) -> np.ndarray:
    """Computes the features of faces: (B, side, side, 3) RGB -> (B, F)."""
    states = model.states
    faces = faces if states["channels"] == "rgb" else faces[..., ::-1]
    x = ((faces - np.array(states["mean"])) * states["scale"]).astype(np.float32)
    if model.shape[1] == 3:
        x = x.transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x)
    one = model.shape[0] == 1  # some models take a single face
    parts = [x[i : i + 1] for i in range(len(x))] if one else [x]
    return np.concatenate([model.run(p).reshape(len(p), -1) for p in parts])


def embed_sound(model: Model, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the features of a recording.

    Args:
      model: any.
      samples: (n,) int16 at the rate that the model expects.

    Returns:
      (T, F) frames of all chunks, and (T,) the times of their middles [s]. A model that
      returns one vector gives a frame a chunk.
    """
    rate, chunk = model.states["rate"], model.states["chunk"]
    length = round(rate * chunk)
    starts = [*range(0, len(samples), length)]
    if len(starts) > 1 and len(samples) - starts[-1] < LEAST_CHUNK * rate:
        starts.pop()
    frames, times = [], []
    for start, stop in zip(starts, [*starts[1:], len(samples)], strict=True):
        x = (samples[start:stop] / np.float32(32768)).astype(np.float32)
        found = model.run(x.reshape((1,) * (len(model.shape) - 1) + (-1,)))
        found = found.reshape(-1, found.shape[-1])
        places = (np.arange(len(found)) + 0.5) / len(found)
        frames.append(found)
        times.append((start + places * (stop - start)) / rate)
    return np.concatenate(frames), np.concatenate(times)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
