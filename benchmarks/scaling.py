"""Times the sweep over the number of lanes, the length of sequences and hidden units.

    python benchmarks/scaling.py --figure=benchmarks/scaling.png

Shapes are those of the RECOLA workload, with one minibatch per epoch. Each number of
lanes is compared with as many lanes trained one after another, each on all cores. Times
are medians.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ifusion_lanes
import numpy as np
from contestants import Contestant
from machine import describe, list_cores
from workloads import WORKLOADS, Workload, list_lanes

BASE = replace(WORKLOADS["recola"], train=16, dev=16)
LANES = (1, 2, 4, 11, 22, 44, 110, 220)
STEPS = (16, 64, 256, 512)
HIDDEN = (32, 64, 100, 128, 256)
FEW = 4  # lanes where another size is varied


def time_epoch(workload: Workload, num_lanes: int, rounds: int) -> float:
    """Returns the median time of an epoch of all lanes [s]."""
    arguments = (workload, list_lanes(num_lanes), len(list_cores()), "auto")
    contestant = Contestant("ifusion", ifusion_lanes.make_epoch, [arguments])
    contestant.run()  # compiles
    median = float(np.median([contestant.run().wall for _ in range(rounds)]))
    contestant.close()
    return median


def print_rows(name: str, rows: Sequence[tuple[int, Workload, int, float]]) -> None:
    """Prints a row per size, workload, lanes and time of an epoch [s], as Markdown."""
    print(f"| {name} | epoch [s] | per lane [ms] | GFLOP/s |")
    print("| ---: | ---: | ---: | ---: |")
    for size, workload, num_lanes, seconds in rows:
        flops = sum(workload.flops(lane) for lane in list_lanes(num_lanes))
        print(
            f"| {size} | {seconds:.2f} | {1000 * seconds / num_lanes:.0f} "
            f"| {flops / seconds / 1e9:.0f} |"
        )


def draw(lanes: Sequence[int], seconds: Sequence[float], path: Path) -> None:
    """Draws the time of an epoch over the lanes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.loglog(lanes, seconds, "o-", label="one sweep")
    one_by_one = [n * seconds[0] for n in lanes]
    axes.loglog(lanes, one_by_one, "--", label="lanes one after another")
    axes.set(xlabel="lanes", ylabel="epoch [s]")
    axes.set_xticks(lanes, [str(n) for n in lanes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Parses the flags, measures, prints and draws."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    flags = parser.parse_args()
    print(describe(["jax", "jaxlib", "numpy"]))
    seconds = [time_epoch(BASE, n, flags.rounds) for n in LANES]
    print_rows("lanes", [(n, BASE, n, s) for n, s in zip(LANES, seconds, strict=True)])
    for name, sizes in (("steps", STEPS), ("hidden_size", HIDDEN)):
        workloads = [replace(BASE, **{name: size}) for size in sizes]
        print_rows(
            name,
            [
                (size, w, FEW, time_epoch(w, FEW, flags.rounds))
                for size, w in zip(sizes, workloads, strict=True)
            ],
        )
    if flags.figure:
        draw(LANES, seconds, flags.figure)


if __name__ == "__main__":
    main()
