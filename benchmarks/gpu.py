"""Checks the program on a GPU and times the sweep there; writes JSON and Markdown.

    python benchmarks/gpu.py --out=gpu
    python benchmarks/gpu.py --platform=cpu --small --out=tried   # without a GPU

It takes under eight minutes: what is left after seven is not begun, and the tables say
so. Checked are values and gradients against the CPU, lanes in groups against all at
once, and the estimate of memory against its peak. The sweep trains in JAX, an epoch of
all lanes with its evaluation; PyTorch loops over the lanes with cuDNN (fused Adam, both
modalities as one batch), the same through torch.compile, and runs one lane written out
over all lanes by torch.vmap (without an evaluation). Utilisation is of a product of
large matrices, in the precision of the sweep, in the same run.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from contestants import Contestant
from machine import describe
from workloads import MODALITIES, WORKLOADS, Workload, list_lanes

LIMIT = 420.0  # [s], after which nothing is begun
ROUNDS = 3
SIZE = 8192  # of the square matrices of the ceiling


def shrink(workload: Workload) -> Workload:
    """Makes a workload that a CPU runs in no time."""
    steps = min(workload.steps, 4)
    return replace(
        workload,
        features=(8, 16),
        steps=steps,
        train=8,
        dev=4,
        hidden_size=8,
        batch_size=4,
    )


def check(small: bool) -> dict[str, Any]:
    """Compares the program here with itself on the CPU, in groups, and in memory."""
    import jax
    from ifusion_lanes import prepare

    from ifusion.training.loop import train_lanes
    from ifusion.training.options import TrainingOptions
    from ifusion.training.schedule import peak_bytes

    workload = replace(WORKLOADS["recola"], train=16, dev=16)
    workload = shrink(workload) if small else workload
    made = prepare(workload, list_lanes(4), "off")
    options = TrainingOptions(epochs=2, patience=2, batch_size=workload.batch_size)

    def train(sweep: Any) -> Any:
        lanes = jax.tree.map(np.asarray, made.lanes)
        state, _ = train_lanes(sweep, lanes, made.train, made.dev, options)
        return state.best_params

    whole, groups = train(made.sweep), train(replace(made.sweep, chunk=2))
    found = {"lanes_in_groups": _largest(whole, groups), **_compare(workload)}
    estimated = peak_bytes(
        made.sweep, len(made.going), made.lanes, None, made.train, made.dev
    )
    stats = jax.devices()[0].memory_stats() or {}
    return found | {
        "device": jax.devices()[0].device_kind,
        "memory_estimated": estimated,
        "memory_peak": stats.get("peak_bytes_in_use"),
    }


def _compare(workload: Workload) -> dict[str, float]:
    """Compares values and gradients of the joint loss with those on the CPU."""
    import jax
    import jax.numpy as jnp
    from ifusion_lanes import make_batch, make_model
    from workloads import draw_data

    from ifusion.core import init_params, predict

    model, batch = make_model(workload), make_batch(draw_data(workload)[0])
    sizes = dict(zip(MODALITIES, workload.features, strict=True))
    params = init_params(model, jax.random.key(0), sizes)

    def loss(params: Any, features: Any) -> Any:
        outputs = predict(model, params, features, batch.inputs_mask).outputs
        return sum(jnp.mean(jnp.sin(x)) for x in outputs.values()), outputs

    found = {}
    for precision in ("default", "highest"):
        results = []
        for device in (jax.devices()[0], jax.devices("cpu")[0]):
            given = jax.device_put((params, batch.features), device)
            with jax.default_matmul_precision(precision), jax.default_device(device):
                results.append(jax.jit(jax.value_and_grad(loss, has_aux=True))(*given))
        (mine, grads), (theirs, expected) = results
        found[f"values_{precision}"] = _largest(mine, theirs)
        found[f"gradients_{precision}"] = _largest(grads, expected)
    return found


def _largest(tree: Any, other: Any) -> float:
    """Returns the largest difference, relative to the largest of its array."""
    import jax

    def of_leaf(x: Any, y: Any) -> float:
        x, y = np.asarray(x), np.asarray(y)
        return float(np.max(np.abs(x - y)) / max(np.max(np.abs(y)), 1e-30))

    return max(jax.tree.leaves(jax.tree.map(of_leaf, tree, other)))


def make_ours(workload: Workload, lanes: Any) -> Callable[[], None]:
    """Prepares the sweep in JAX."""
    from ifusion_lanes import make_epoch

    return make_epoch(workload, lanes, 1, "off")


def make_theirs(form: str, workload: Workload, lanes: Any) -> Callable[[], None]:
    """Prepares a form of PyTorch; an epoch ends when the device has finished."""
    import pytorch_lanes
    import torch

    makers = {
        "cuDNN loop": lambda: pytorch_lanes.make_epoch(workload, lanes, True),
        "torch.compile": lambda: pytorch_lanes.make_compiled_epoch(workload, lanes),
        "torch.vmap": lambda: pytorch_lanes.make_vmap_epoch(workload, lanes),
    }
    epoch = makers[form]()

    def run() -> None:
        epoch()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


def make_ceiling(size: int) -> Callable[[], None]:
    """Prepares ten products of large matrices."""
    import jax
    import jax.numpy as jnp

    square = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)

    def run() -> None:
        jax.block_until_ready([product(square, square) for _ in range(10)])

    return run


def time_epochs(
    name: str, make: Callable[..., Any], arguments: tuple[Any, ...], left: float
) -> dict[str, Any]:
    """Times epochs after the first, within what is left [s].

    Returns:
      {"first" [s], "epoch" [s], the median}, or {"failed": why}.
    """
    if left <= 0:
        return {"failed": "not begun: no time left"}
    try:
        contestant = Contestant(name, make, [arguments], left)
        first = contestant.run(left).wall
        epoch = float(np.median([contestant.run(left).wall for _ in range(ROUNDS)]))
        contestant.close()
    except (EOFError, TimeoutError) as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"first": first, "epoch": epoch}


def to_markdown(found: dict[str, Any]) -> str:
    """Writes the tables."""
    lines = [found["machine"], "", "| check | |", "| --- | ---: |"]
    lines += [f"| {name} | {value} |" for name, value in found["checks"].items()]
    lines += [
        "",
        f"Ceiling: {found['ceiling'] / 1e9:.0f} GFLOP/s. The whole took "
        f"{found['seconds']:.0f} s.",
        "",
        "| workload | lanes | program | first [s] | epoch [s] | ratio | of ceiling |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in found["sweeps"]:
        cells = [row["workload"], str(row["lanes"]), row["program"]]
        if "failed" in row:
            cells += [row["failed"], "", "", ""]
        else:
            share = row["flops"] / row["epoch"] / found["ceiling"]
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
            cells += [
                f"{row['first']:.1f}",
                f"{row['epoch']:.3f}",
                ratio,
                f"{share:.0%}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parses the flags, checks, measures and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--platform", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--small", action="store_true", help="small shapes, few lanes")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="without ending")
    flags = parser.parse_args()
    begin = time.monotonic()
    os.environ["JAX_PLATFORMS"] = "cpu" if flags.platform == "cpu" else "cuda,cpu"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # processes share the device
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        checks = pool.submit(check, flags.small).result()
    size = 256 if flags.small else SIZE
    product = Contestant("ceiling", make_ceiling, [(size,)])
    ceiling = 10 * 2 * size**3 / min(product.run().wall for _ in range(4))
    product.close()
    rows = []
    for count in (4, 6) if flags.small else (44, 220):
        for name in ("recola", "omg"):
            workload = shrink(WORKLOADS[name]) if flags.small else WORKLOADS[name]
            lanes = list_lanes(count)
            flops = sum(workload.flops(lane) for lane in lanes)
            entries = {"ifusion": (make_ours, (workload, lanes))}
            for form in ("cuDNN loop", "torch.compile", "torch.vmap"):
                entries[form] = (make_theirs, (form, workload, lanes))
            ours = None
            for program, (make, arguments) in entries.items():
                left = LIMIT - (time.monotonic() - begin)
                took = time_epochs(program, make, arguments, left)
                ours = ours or took.get("epoch")
                if ours and "epoch" in took:
                    took["ratio"] = took["epoch"] / ours
                facts = {"workload": name, "lanes": count, "program": program}
                rows.append({**facts, "flops": flops, **took})
                print(rows[-1], flush=True)
    found = {
        "machine": describe(["jax", "jaxlib", "flax", "numpy", "torch"]),
        "checks": checks,
        "ceiling": ceiling,
        "sweeps": rows,
        "seconds": time.monotonic() - begin,
    }
    text = to_markdown(found)
    flags.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    flags.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
