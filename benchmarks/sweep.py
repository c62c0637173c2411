"""Times the sweep against its peers, in turn, on the same data and lanes.

    python benchmarks/sweep.py --workload=recola --peers=plain,pytorch,flax_rnn

An epoch trains every lane on the train partition, scores it on dev and keeps the best
parameters. `ifusion` runs its layers and Adam in C++ where they are compiled for wide
vectors (sweep.native=auto), `plain` in JAX (sweep.native=off). PyTorch comes in three
forms: `loop` is the plain loop over the lanes; `processes` adds fused Adam and both
modalities as one batch, with one process and thread per core; `batched` also batches
the lanes of each process by hand. PyTorch at its best is the fastest of them.

A contestant of one process may use every core; of several each is kept to its own.
--vectors=avx2 keeps XLA, PyTorch, numpy and the layers in C++ from wider ones.

The first epoch, which compiles, is printed separately. Times are medians over rounds; a
ratio is the median over rounds of a peer's time divided by the sweep's in the same
round. Processor time shows what remains of a ratio on a shared machine.
"""

import argparse
import os
from collections.abc import Mapping, Sequence

import flax_rnn
import ifusion_lanes
import numpy as np
import peaks
import pytorch_lanes
from contestants import Contestant, Took
from machine import describe, list_cores
from workloads import WORKLOADS, BenchmarkLane, Workload, list_lanes

PEERS = {
    "pytorch": ("loop", "processes", "batched"),
    "flax_rnn": ("flax_rnn",),
    "plain": ("plain",),
    "loop": ("loop",),
    "processes": ("processes",),
    "batched": ("batched",),
}

# The variables by which the libraries of all contestants leave out AVX-512.
ONLY_AVX2 = {
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


def enter(
    workload: Workload,
    lanes: Sequence[BenchmarkLane],
    peers: Sequence[str],
    native: str,
) -> list[Contestant]:
    """Starts the sweep and its peers, one after another."""
    cores = len(list_cores())
    each = [(workload, lanes[i::cores]) for i in range(min(cores, len(lanes)))]
    ours, all_lanes = ifusion_lanes.make_epoch, (workload, lanes)
    makers = {
        "ifusion": (ours, [(*all_lanes, cores, native)]),
        "plain": (ours, [(*all_lanes, cores, "off")]),
        "loop": (pytorch_lanes.make_epoch, [(*all_lanes, False)]),
        "processes": (pytorch_lanes.make_epoch, [(*entry, True) for entry in each]),
        "batched": (pytorch_lanes.make_batched_epoch, each),
        "flax_rnn": (flax_rnn.make_epoch, [all_lanes]),
    }
    return [Contestant(name, *makers[name]) for name in ("ifusion", *peers)]


def measure_peak(cores: int) -> dict[str, float]:
    """Measures the products of each library on all cores at once [FLOP/s]."""
    makers = {
        "numpy": (peaks.make_numpy, [()] * cores),
        "PyTorch": (peaks.make_torch, [()] * cores),
        "XLA": (peaks.make_xla, [(cores,)]),
    }
    found = {}
    for name, (make, arguments) in makers.items():
        product = Contestant(name, make, arguments)
        least = min(product.run().wall for _ in range(5))
        product.close()
        found[name] = cores * 2 * peaks.SIZE**3 / least
    return found


def measure(
    contestants: Sequence[Contestant], rounds: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Runs an epoch of each in turn.

    Returns:
      {name: [s] of its first epoch}, {name: (rounds, 2), wall and processor time [s] of
      the others}.
    """
    first = {c.name: c.run().wall for c in contestants}
    times: dict[str, list[Took]] = {c.name: [] for c in contestants}
    for number in range(rounds):
        for contestant in contestants:
            times[contestant.name].append(contestant.run())
        told = ", ".join(f"{name} {t[-1].wall:.2f}" for name, t in times.items())
        print(f"round {number + 1}: {told} s", flush=True)
    return first, {name: np.array(t) for name, t in times.items()}


def print_table(
    first: Mapping[str, float],
    times: Mapping[str, np.ndarray],
    memory: Mapping[str, int],
    flops: float,
    ceiling: float,
) -> None:
    """Prints one row per contestant, as Markdown.

    Args:
      first: [s].
      times: (rounds, 2), wall and processor time [s].
      memory: [byte].
      flops: floating-point operations of an epoch.
      ceiling: [FLOP/s].
    """
    print(
        "| | epoch [s] | ratio | range | processor [s] | ratio | first [s] "
        "| memory [GiB] | GFLOP/s | of peak |"
    )
    print("| --- |" + " ---: |" * 9)
    for name, values in times.items():
        ratios = values / times["ifusion"]
        (epoch, processor), (ratio, on_processor) = (
            np.median(x, axis=0) for x in (values, ratios)
        )
        low, high = ratios[:, 0].min(), ratios[:, 0].max()
        print(
            f"| {name} | {epoch:.2f} | {ratio:.2f} | {low:.2f}-{high:.2f} "
            f"| {processor:.2f} | {on_processor:.2f} | {first[name]:.1f} "
            f"| {memory[name] / 2**30:.2f} | {flops / epoch / 1e9:.0f} "
            f"| {flops / epoch / ceiling:.0%} |"
        )


def main() -> None:
    """Parses the flags, measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", choices=WORKLOADS, required=True)
    parser.add_argument("--peers", default="plain,pytorch,flax_rnn")
    parser.add_argument("--lanes", type=int, default=22)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--vectors", choices=("widest", "avx2"), default="widest")
    flags = parser.parse_args()
    workload, lanes = WORKLOADS[flags.workload], list_lanes(flags.lanes)
    named = [name for name in flags.peers.split(",") if name]
    for name in named:
        if name not in PEERS:
            parser.error(f"--peers: {name!r}; expected some of {', '.join(PEERS)}")
    peers = list(dict.fromkeys(peer for name in named for peer in PEERS[name]))
    narrow = flags.vectors == "avx2"
    os.environ.update(ONLY_AVX2 if narrow else {})  # before a library is loaded
    print(describe(["jax", "jaxlib", "flax", "numpy", "torch"]))
    print(f"{flags.workload}: {workload}, {len(lanes)} lanes, {flags.vectors} vectors")
    cores = len(list_cores())
    before = measure_peak(cores)
    contestants = enter(workload, lanes, peers, "avx2" if narrow else "auto")
    first, times = measure(contestants, flags.rounds)
    found = {name: max(x, before[name]) for name, x in measure_peak(cores).items()}
    ceiling = max(found.values())
    listed = ", ".join(f"{name} {x / 1e9:.0f}" for name, x in found.items())
    print(f"products on {cores} cores [GFLOP/s]: {listed}")
    memory = {c.name: c.close() for c in contestants}
    flops = sum(workload.flops(lane) for lane in lanes)
    print_table(first, times, memory, flops, ceiling)


if __name__ == "__main__":
    main()
