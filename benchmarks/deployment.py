"""Times a deployed system of a run on one core, against PyTorch.

    python benchmarks/deployment.py --run=runs/recola --main=audio

Prints sizes of the files, time and memory to import and load them, the largest
differences between them, the time from a frame to its predictions (p50 and p99), and
frames per second for whole recordings, in processor time where other programs would
disturb it. PyTorch runs the same weights, without standardising or averaging.
"""

import argparse
import os

os.sched_setaffinity(0, [sorted(os.sched_getaffinity(0))[0]])  # before anything starts

import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from tempfile import TemporaryDirectory  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from machine import describe  # noqa: E402

from ifusion.inference.bundle import read_bundle  # noqa: E402
from ifusion.inference.exporting import export_model  # noqa: E402
from ifusion.inference.inputs import Inputs  # noqa: E402
from ifusion.inference.onnx_graph import MOVING, make_onnx  # noqa: E402
from ifusion.inference.opening import load_predictor  # noqa: E402
from ifusion.inference.predictor import Predictor  # noqa: E402
from ifusion.inference.service import Upload  # noqa: E402
from ifusion.systems.chains import AppendDifficulty, Chain, Dense, Gru  # noqa: E402

WARM, FRAMES, WHOLE = 200, 3000, 7500  # frames pushed; of a whole recording
PREDICT = """
import numpy as np
from ifusion.inference.bundle import read_bundle
def M():
    p = read_bundle('{path}.ifusion')
    names = p.features[p.main]
    p.predict(np.zeros((ROWS, len(names)), 'f'), names=names)
"""
LOADS = {
    "bundle": "from ifusion.inference.bundle import read_bundle; M = lambda: "
    "read_bundle('{path}.ifusion')",
    "bundle, first prediction": PREDICT.replace("ROWS", "9"),
    "bundle, two hours, or 100,000 utterances": PREDICT.replace(
        "ROWS", "180_000 if p.over_time else 100_000"
    ),
    "ONNX": "import onnxruntime; M = lambda: "
    "onnxruntime.InferenceSession('{path}.onnx', providers=['CPUExecutionProvider'])",
    "StableHLO": "import jax.export; M = lambda: "
    "jax.export.deserialize(bytearray(open('{path}.stablehlo', 'rb').read()))",
}
CLOCK = """
import time
a = time.process_time()
{code}
b = time.process_time()
M()
c = time.process_time()
lines = open("/proc/self/status").read().splitlines()
peak = next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) / 1000
print(f"{{1000 * (b - a):.0f}} {{1000 * (c - b):.1f}} {{peak:.0f}}")
"""


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--main", default="audio")
    parser.add_argument("--system", default="implicit_fusion")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    print(describe(["jax", "onnxruntime", "torch", "numpy"]), "one core", sep="; ")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        print("\n| file | size [MB] | differs at most by |\n| --- | ---: | ---: |")
        for ending in (".ifusion", ".onnx", ".stablehlo"):
            line, *_ = export_model(
                flags.run, flags.main, flags.system, path.with_suffix(ending)
            )
            size, tried = line.partition(": ")[2].split(" MB, ")
            print(f"| {ending} | {size} | {tried} |")
        predictor = read_bundle(path.with_suffix(".ifusion"))
        print_differences(
            load_predictor(flags.run, flags.main, flags.system), predictor
        )
        print_loading(path)
    if predictor.over_time:
        print("\n| model | program | p50 [ms] | p99 [ms] | processor, p50 | p99 |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        one = predictor.pick([predictor.seeds[0]])
        first = replace(one, targets=one.targets[:1], members=one.members[:1])
        for title, each in (("one member", first), ("all members", predictor)):
            print_latency(title, each)
        print_throughput(first)


def print_differences(run: Predictor, bundle: Predictor) -> None:
    """Prints how far the answers of a bundle and of the page are from the run's."""
    table = pd.DataFrame(draw(run, 100), columns=run.features[run.main])
    names = list(run.classes or run.targets)
    expected = run.predict_table(table).table[names]
    said = Upload("t.csv", table.to_csv(index=False).encode()).predict(bundle)
    found = {"bundle": bundle.predict_table(table).table, "page": said["columns"]}
    for name, columns in found.items():
        worst = max(np.abs(columns[n] - expected[n]).max() for n in names)
        print(f"| {name} | | {worst:.1g} |")


def print_loading(path: Path) -> None:
    """Prints time and memory of new interpreters that load each file."""
    print("\nImport and load in processor time.\n")
    print("| loads | import [ms] | load [ms] | peak memory [MB] |")
    print("| --- | ---: | ---: | ---: |")
    for name, code in LOADS.items():
        program = CLOCK.format(code=code.format(path=path))
        done = [
            subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for _ in range(1 if "hours" in name else 3)
        ]
        best = np.array(done, float).min(0)
        print(f"| {name} | {best[0]:.0f} | {best[1]:.1f} | {best[2]:.0f} |")


def print_latency(title: str, predictor: Predictor) -> None:
    """Prints the time from one frame to its predictions, and how far they differ."""
    x = draw(predictor, WARM + FRAMES)
    still = replace(
        predictor,
        members=tuple(
            replace(
                m,
                delay=0,
                adjustments=tuple(s for s in m.adjustments if s.step not in MOVING),
            )
            for m in predictor.members
        ),
    )
    stream = still.stream()
    target = predictor.targets[0]
    calls: dict[str, Callable[[np.ndarray], Any]] = {
        "JAX, predictor.stream()": lambda frame: stream.push(frame)[target],
        "ONNX Runtime, --stream": stream_onnx(still),
    }
    if len(predictor.members) == 1:
        calls["PyTorch, network alone"] = stream_torch(predictor.chains[0])
    answers = {}
    for name, call in calls.items():
        times, found = [], []
        for frame in x:
            start = time.perf_counter(), time.process_time()
            found.append(np.ravel(call(frame))[0])
            end = time.perf_counter(), time.process_time()
            times.append([b - a for a, b in zip(start, end, strict=True)])
        quantiles = 1000 * np.percentile(times[WARM:], [50, 99], axis=0).T
        answers[name] = np.array(found)
        cells = " | ".join(f"{ms:.3f}" for ms in quantiles.ravel())
        print(f"| {title} | {name} | {cells} |")
    whole = still.average(Inputs({still.main: x}, np.array([len(x)]), None, ()))
    for name, values in answers.items():
        if "PyTorch" not in name:
            print(
                f"| | {name}: at most {np.abs(values - whole[target]).max():.1g} from "
                "the whole recording | | | | |"
            )


def print_throughput(predictor: Predictor) -> None:
    """Prints frames a second of whole recordings."""
    x = draw(predictor, WHOLE)
    inputs = Inputs({predictor.main: x}, np.array([len(x)]), None, ())
    session = open_onnx(predictor)
    run = run_torch(predictor.chains[0])
    calls = {
        "JAX, predictor": lambda: predictor.average(inputs),
        "ONNX Runtime": lambda: session.run(None, {predictor.main: x[None]}),
        "PyTorch, network alone": lambda: run(torch.from_numpy(x)[:, None], {}),
    }
    print(f"\n| one member, {WHOLE} frames | frames / s of processor |\n| --- | ---: |")
    for name, call in calls.items():
        call()
        times = []
        for _ in range(7):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
        print(f"| {name} | {WHOLE / np.median(times):,.0f} |")


def draw(predictor: Predictor, frames: int) -> np.ndarray:
    """Draws raw features: (T, F)."""
    found = predictor.members[0].statistics[predictor.main]
    noise = np.random.default_rng(0).standard_normal((frames, len(found["mean"])))
    return (found["mean"] + found["std"] * noise).astype(np.float32)


def open_onnx(
    predictor: Predictor, stream: bool = False
) -> onnxruntime.InferenceSession:
    """Opens a predictor in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        make_onnx(predictor, stream=stream).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )


def stream_onnx(predictor: Predictor) -> Callable[[np.ndarray], Any]:
    """Prepares a frame in ONNX Runtime."""
    session = open_onnx(predictor, stream=True)
    main, *states = session.get_inputs()
    held = {s.name: np.zeros((1, 1, s.shape[2]), np.float32) for s in states}
    outputs = [predictor.targets[0], *(s.name.replace("state", "next") for s in states)]

    def call(frame: np.ndarray) -> Any:
        value, *after = session.run(outputs, {main.name: frame[None, None], **held})
        held.update(zip(held, after, strict=True))
        return value

    return call


def run_torch(chain: Chain) -> Callable[[torch.Tensor, dict[int, Any]], torch.Tensor]:
    """Builds a chain in PyTorch: (T, 1, F) and states, which it updates."""
    layers = [torch_layer(block) for block in chain]

    def run(x: torch.Tensor, states: dict[int, Any]) -> torch.Tensor:
        with torch.inference_mode():
            for i, layer in enumerate(layers):
                if isinstance(layer, torch.nn.GRU):
                    x, states[i] = layer(x, states.get(i))
                elif isinstance(layer, tuple):
                    first, mean, std, squared = layer
                    d = first(x, states.setdefault(i, {}))
                    d = torch.square(x - d) @ squared.T if len(squared) else d
                    x = torch.cat([x, (d - mean) / std], -1)
                else:
                    x = layer(x)
        return x

    return run


def torch_layer(block: Any) -> Any:
    """Turns a block into PyTorch's own layer."""

    def tensor(values: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(values, np.float32))

    match block:
        case Dense(kernel, bias):
            dense = torch.nn.Linear(*kernel.shape)
            dense.weight.data, dense.bias.data = tensor(kernel.T), tensor(bias)
            return dense
        case Gru(weight, bias, kernel, recurrent_bias):
            hidden = len(recurrent_bias)
            gru = torch.nn.GRU(weight.shape[1], hidden)
            gru.weight_ih_l0.data, gru.weight_hh_l0.data = (
                tensor(weight),
                tensor(kernel.T),
            )
            zeros = np.zeros(2 * hidden)
            gru.bias_ih_l0.data = tensor(bias)
            gru.bias_hh_l0.data = tensor(np.concatenate([zeros, recurrent_bias]))
            return gru
        case AppendDifficulty(estimator, mean, std, squared):
            return run_torch(estimator), tensor(mean), tensor(std), tensor(squared)
    raise ValueError(f"{type(block).__name__} is not in this benchmark")


def stream_torch(chain: Chain) -> Callable[[np.ndarray], Any]:
    """Prepares a frame in PyTorch."""
    run, states = run_torch(chain), dict[int, Any]()
    return lambda frame: run(torch.from_numpy(frame)[None, None], states).numpy()


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    main()
