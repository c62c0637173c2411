"""Writes one system of a run to a file, and checks the file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax import export

from ifusion.inference.bundle import read_bundle, write_bundle
from ifusion.inference.card import describe_model
from ifusion.inference.inputs import Inputs
from ifusion.inference.onnx_graph import make_onnx
from ifusion.inference.opening import load_predictor
from ifusion.inference.predictor import Predictor
from ifusion.inference.stablehlo import make_stablehlo
from ifusion.storage import write_atomically

FORMS = (".ifusion", ".onnx", ".stablehlo")
TOLERANCE = 1e-4  # by which a file may differ [largest answer]
FRAMES = 60  # of the recordings that it is checked on


def export_model(
    run: Path,
    main: str,
    system: str,
    out: Path,
    *,
    target: str | None = None,
    seeds: Sequence[str] | None = None,
    stream: bool = False,
) -> list[str]:
    """Writes a predictor in the form that the ending of the file asks for.

    Args:
      run: directory.
      main: modality, or several joined by "+" (as a bundle only).
      system: key.
      out: file to write, ending in one of `FORMS`.
      target: one of several; all by default.
      seeds: to average, as text; all by default.
      stream: whether the state goes in and out of ONNX, see `make_onnx`.

    Returns:
      Lines that say what was written, and the model card.

    Raises:
      ValueError: the run, the ending or a seed is wrong, or the system has no such
        form.
    """
    if out.suffix not in FORMS:
        raise ValueError(f"{out}: expected a name ending in one of {', '.join(FORMS)}")
    if stream and out.suffix != ".onnx":
        raise ValueError("--stream needs .onnx; a bundle streams: predictor.stream()")
    predictor = load_predictor(run, main, system, target)
    if seeds is not None:
        predictor = predictor.pick([_to_seed(seed) for seed in seeds])
    predictor = describe_model(predictor, run)
    if out.suffix == ".ifusion":
        write_bundle(predictor, out)
        read_bundle(out)
        tried = "read back and checked"
    elif stream:
        write_atomically(out, make_onnx(predictor, stream=True).SerializeToString())
        tried = "with its state in and out"
    else:
        data, call = (_onnx if out.suffix == ".onnx" else _stablehlo)(predictor)
        write_atomically(out, data)
        tried = "not run: onnxruntime is not installed"
        if call is not None:
            worst = try_out(predictor, call)
            tried = f"its answers differ from those of the run by at most {worst:.1g}"
    size = out.stat().st_size
    return [f"{out}: {size / 1e6:.2f} MB, {tried}", "", predictor.card]


def try_out(
    predictor: Predictor, call: Callable[[np.ndarray], dict[str, Any]]
) -> float:
    """Compares an exported model with its predictor on drawn features.

    Args:
      predictor: of one modality.
      call: raw features, (R, F) or (N, T, F), to {output: array}.

    Returns:
      The largest difference, in units of the largest answer if that is above 1.

    Raises:
      ValueError: it is above `TOLERANCE`.
    """
    (main,) = predictor.features
    found = predictor.members[0].statistics[main]
    rows = np.random.default_rng(0).standard_normal((2 * FRAMES, len(found["mean"])))
    x = (found["mean"] + found["std"] * rows).astype(np.float32)
    count = FRAMES if predictor.of_many_rows else 1
    lengths = np.full(len(x) // count, count)
    inputs = Inputs({main: x}, lengths, None, ())
    if predictor.frames:
        inputs = Inputs({main: x}, np.ones_like(lengths), None, (), {main: lengths})
    expected = predictor.average(inputs)
    found = call(x.reshape(2, FRAMES, -1) if predictor.of_many_rows else x)
    worst = 0.0
    for target, values in expected.items():
        own = np.asarray(found["probabilities" if predictor.classes else target])
        size = max(1.0, float(np.abs(values).max()))
        difference = np.abs(own.reshape(values.shape) - values)
        worst = max(worst, float(difference.max()) / size)
    if not worst < TOLERANCE:
        raise ValueError(f"the exported model differs from the run by {worst:.2g}")
    return worst


def _to_seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--seeds: {text!r} is not a number") from None


def _onnx(predictor: Predictor) -> tuple[bytes, Any]:
    data = make_onnx(predictor).SerializeToString()
    try:
        import onnxruntime
    except ImportError:
        return data, None
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (main,) = predictor.features
    return data, lambda x: dict(zip(names, session.run(None, {main: x}), strict=True))


def _stablehlo(predictor: Predictor) -> tuple[bytes, Any]:
    data = make_stablehlo(predictor)
    return data, export.deserialize(bytearray(data)).call
