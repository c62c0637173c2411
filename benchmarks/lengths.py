"""Times recordings of 3 to 5,000 steps in buckets, against one padded shape.

    python benchmarks/lengths.py

Lengths are log-uniform; each recording has sound at four times the rate of the picture,
and one of three classes. Both trainings see the same minibatches, each in its own
process. Prints seconds per epoch after the first, which compiles; the peak memory of
the process, and XLA's estimate for a device; and how far dev scores differ, by rounding
alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import describe

from ifusion.corpora.corpus import Corpus

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from small_runs import make_clips

LONGEST, SHORTEST, RATE = 5000, 3, 4
LANES = 4


def make_corpus(count: int) -> Corpus:
    """Draws recordings whose class is the rhythm of their first features."""
    rng = np.random.default_rng(0)
    steps = np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), count)).astype(int)
    steps[:2] = SHORTEST, LONGEST
    partition = np.where(np.arange(count) % 9 < 6, "train", "dev")  # of every class
    lengths = {"audio": steps, "video": np.maximum(steps // RATE, 1)}
    return make_clips("classification", lengths, (23, 17), partition)


def train(count: int, epochs: int, buckets: bool) -> dict[str, object]:
    """Trains lanes of implicit fusion, in buckets or padded to the longest."""
    from ifusion.experiment.gather import fit_standardizers, gather_fold
    from ifusion.experiment.options import Options
    from ifusion.experiment.study import lane_mesh, make_study
    from ifusion.systems.implicit_fusion import joint_program
    from ifusion.systems.neural import NeuralLane, joint_weights, lane_arrays
    from ifusion.training.loop import train_lanes
    from ifusion.training.schedule import peak_bytes

    options = Options()
    training = replace(options.training, epochs=epochs, patience=epochs, batch_size=16)
    options = replace(options, training=training)
    study = make_study(options, {"fixed": make_corpus(count)}, lane_mesh())
    if not buckets:
        room = study.room._replace(groups=(sum(study.room.groups),))
        protocol = replace(study.protocol, buckets=study.protocol.buckets[-1:])
        study = study._replace(protocol=protocol, room=room)
    fold = gather_fold(study, "fixed", fit_standardizers(study, "fixed"), None)
    program, protocol = joint_program(study.protocol), study.protocol
    lanes = [
        NeuralLane("audio", "pace", 0, joint_weights(protocol.modalities, "audio", a))
        for a in np.linspace(0, 1, LANES).tolist()
    ]
    arrays = lane_arrays(lanes, protocol.modalities, protocol.targets)
    ends = []
    state, _ = train_lanes(
        program.sweep,
        arrays,
        fold.train,
        fold.dev,
        training,
        on_epoch=lambda progress: ends.append(time.perf_counter()),
        num_sequences=fold.num_sequences,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    estimate = peak_bytes(program.sweep, LANES, arrays, None, fold.train, fold.dev)
    return {
        "shapes": [dict(bucket) for bucket in protocol.buckets],
        "seconds": float(np.median(np.diff(ends))),
        "resident_gib": peak,
        "estimate_gib": estimate / 2**30,
        "dev_scores": np.asarray(state.best_score).tolist(),
    }


def main() -> None:
    """Runs both, one after the other, and prints their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", choices=("buckets", "padded"), help="one, as JSON")
    args = parser.parse_args()
    if args.only:
        found = train(args.recordings, args.epochs, args.only == "buckets")
        print(json.dumps(found))
        return
    print(describe(("jax", "flax", "optax", "numpy")))
    results = {}
    for name in ("buckets", "padded"):
        command = [sys.executable, __file__, "--only", name]
        command += ["--recordings", str(args.recordings), "--epochs", str(args.epochs)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, json.dumps(results[name]))
    ours, peer = results["buckets"], results["padded"]
    for key in ("seconds", "resident_gib", "estimate_gib"):
        print(f"padded / buckets, {key}: {peer[key] / ours[key]:.2f}")
    apart = np.abs(np.subtract(ours["dev_scores"], peer["dev_scores"])).max()
    print(f"dev scores differ by at most {apart:.2g}")


if __name__ == "__main__":
    main()
