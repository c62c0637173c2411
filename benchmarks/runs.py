"""Measures a run of experiments/sweep.py as users start it: wall time, peak memory.

    python benchmarks/runs.py --config=configs/synthetic.py
    python benchmarks/runs.py --config=configs/ravdess.py --config.training.epochs=5

All flags go to the program; the run directory is deleted. Where /proc exists, the peak
also excludes mapped files, which the system can take back.
"""

import re
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
        process = subprocess.Popen([*command, f"--workdir={folder}/run"], cwd=ROOT)
        own = [0.0]
        while process.poll() is None:
            own.append(own_memory(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(process.returncode)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(describe(PACKAGES))
    processor = usage.ru_utime + usage.ru_stime
    print(
        f"{' '.join(sys.argv[1:])}: {seconds:.1f} s, processor time {processor:.1f} s, "
        f"peak memory {usage.ru_maxrss / 2**20:.2f} GiB, of its own "
        f"{max(own):.2f} GiB"
    )


def own_memory(process: int) -> float:
    """Memory of a process that is not mapped from files [GiB]; 0 if unknown."""
    try:
        status = Path(f"/proc/{process}/status").read_text("ascii")
    except OSError:
        return 0.0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 2**20 if found else 0.0


if __name__ == "__main__":
    main()
