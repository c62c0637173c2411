"""Trains one sweep on one device, on all, in shares and in processes, and compares.

    python benchmarks/widths.py compare --epochs=20 [--config.sweep.seeds="(0,)"]
    python benchmarks/widths.py kill --count=10

`compare` lists the files that differ from the run on one device, and the largest
difference of a number in a fitted system. `kill` ends one of two to four processes by
`kill -9`, measures how long the others live, continues with fewer and compares. Entries
of the config are passed to `compare`.

The status is 1 if something differs, or a process outlives its peer by more than the
heartbeat.
"""

import argparse
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import describe
from reliability import PACKAGES, RUNS, SMALL, contents, finish, is_whole, start

from ifusion.storage import read_arrays

HEARTBEAT = 10  # [s]
SLACK = 2.0  # [s] for a process to end once it has been told


def start_job(count: int, *flags: str) -> list[subprocess.Popen[str]]:
    """Starts the processes of one job."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = (f"--coordinator=localhost:{port}", f"--processes={count}")
    job = (*job, f"--heartbeat={HEARTBEAT}")
    return [start("sweep", *flags, *job, f"--process={i}") for i in range(count)]


def run_files(workdir: Path) -> dict[str, bytes]:
    """Reads the files of a run without its shares."""
    files = contents(workdir).items()
    return {name: data for name, data in files if not name.startswith("shares")}


def is_same(name: str, workdir: Path, reference: Path, begin: float) -> bool:
    """Prints how a run differs from another; returns whether it does not."""
    seconds = time.monotonic() - begin
    found, expected = run_files(workdir), run_files(reference)
    names = found.keys() | expected.keys()
    differing = sorted(n for n in names if found.get(n) != expected.get(n))
    largest = 0.0
    for folder in reference.glob("folds/*/fits/*"):
        own = read_arrays(workdir / folder.relative_to(reference))
        for array, values in read_arrays(folder).items():
            gap = np.nan_to_num(np.abs(own[array] - values))
            largest = max(largest, float(np.max(gap, initial=0)))
    print(
        f"{name}: {seconds:.0f} s, {len(differing)} of {len(names)} files differ, "
        f"numbers by {largest:g} at most",
        *differing,
        flush=True,
    )
    return not differing


def compare_widths(config: str, systems: str, epochs: int, *entries: str) -> bool:
    """Trains a config in every way; returns whether all results are the same."""
    flags = (
        f"--config=configs/{config}.py",
        f"--systems={systems}",
        f"--config.training.epochs={epochs}",
        f"--config.training.patience={epochs}",
        *entries,
    )
    same = True
    with tempfile.TemporaryDirectory() as folder:
        places = iter(Path(folder) / str(i) for i in range(9))
        begin, one = time.monotonic(), next(places)
        finish(start("sweep", *flags, "--mesh=single", f"--workdir={one}"))
        is_same("one device", one, one, begin)
        begin, workdir = time.monotonic(), next(places)
        finish(start("sweep", *flags, f"--workdir={workdir}"))
        same &= is_same("all devices", workdir, one, begin)
        for count in (2, 4):
            begin, workdir = time.monotonic(), next(places)
            finish(*start_job(count, *flags, f"--workdir={workdir}"))
            same &= is_same(f"{count} processes", workdir, one, begin)
        begin, workdir = time.monotonic(), next(places)
        for i in (3, 1, 2):
            finish(start("sweep", *flags, f"--workdir={workdir}", f"--lanes={i}/3"))
        finish(start("merge", f"--workdir={workdir}"))
        same &= is_same("3 shares, one after another", workdir, one, begin)
    return same


def kill_peers(count: int, seed: int) -> bool:
    """Kills a process of a job `count` times; returns whether all went well."""
    rng, sound = random.Random(seed), True
    lived: dict[str, list[float]] = {"the first": [], "another": []}
    with tempfile.TemporaryDirectory() as folder:
        cache = f"--compilation_cache={folder}/cache"
        flags = (*RUNS["classification"], *SMALL, cache, "--resume")
        reference = Path(folder) / "reference"
        finish(start("sweep", *flags, f"--workdir={reference}"))
        for number in range(count):
            workdir, processes = Path(folder) / str(number), 2 + number % 3
            victim = rng.randrange(processes)
            peers = start_job(processes, *flags, f"--workdir={workdir}")
            pattern = f"shares/{victim + 1}-of-*/stages/*/*/*/[0-9]*"
            while not any(workdir.glob(pattern)):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 1))
            peers[victim].kill()
            begin = time.monotonic()
            statuses = [peer.wait() for peer in peers]
            seconds = time.monotonic() - begin
            lived["another" if victim else "the first"].append(seconds)
            saved = [x.parent for x in workdir.rglob("manifest.json")]
            whole = all(map(is_whole, (x for x in saved if x.name[0] != ".")))
            left = rng.randrange(1, processes)
            begin = time.monotonic()
            finish(*start_job(left, *flags, f"--workdir={workdir}"))
            sound &= whole and 0 not in statuses and seconds < HEARTBEAT + SLACK
            print(
                f"process {victim} of {processes} killed: the others ended after "
                f"{seconds:.1f} s, status {statuses}; of {len(saved)} saved all whole: "
                f"{whole}"
            )
            sound &= is_same(f"  resumed by {left}", workdir, reference, begin)
    for name, seconds in lived.items():
        if seconds:
            print(
                f"{name} killed: others lived {min(seconds):.1f} to {max(seconds):.1f}"
            )
    return sound


def main() -> None:
    """Runs one of the two and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("compare", "kill"))
    parser.add_argument("--config", default="synthetic")
    parser.add_argument("--systems", default="baseline,implicit_fusion")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    flags, entries = parser.parse_known_args()
    unknown = [entry for entry in entries if not entry.startswith("--config.")]
    if unknown or (entries and flags.what == "kill"):
        parser.error(f"unrecognized arguments: {' '.join(unknown or entries)}")
    print(describe(PACKAGES), flush=True)
    if flags.what == "compare":
        sound = compare_widths(flags.config, flags.systems, flags.epochs, *entries)
    else:
        sound = kill_peers(flags.count, flags.seed)
    print("sound" if sound else "NOT SOUND")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
