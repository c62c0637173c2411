"""Measures a run of experiments/sweep.py as a user starts it: wall time, peak memory.

    python benchmarks/runs.py --config=configs/synthetic.py
    python benchmarks/runs.py --config=configs/ravdess.py --config.training.epochs=5

All flags go to the program; the run directory is thrown away.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def main() -> None:
    """Runs the program and prints one line of what it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "experiments/sweep.py", *sys.argv[1:]]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, f"--workdir={folder}/run"], cwd=ROOT, check=False
        )
        seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.returncode)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(describe(PACKAGES))
    processor = usage.ru_utime + usage.ru_stime
    print(
        f"{' '.join(sys.argv[1:])}: {seconds:.1f} s, processor time {processor:.1f} s, "
        f"peak memory {usage.ru_maxrss / 2**20:.2f} GiB"
    )


if __name__ == "__main__":
    main()
