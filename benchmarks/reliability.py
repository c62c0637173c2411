"""Kills, damages and starves small runs, and counts what is lost.

    python benchmarks/reliability.py kills --count=200 [--task=regression|tables]
    python benchmarks/reliability.py damage --count=600
    python benchmarks/reliability.py faults

`kills` ends runs by `kill -9` at random moments, resumes them until they are finished,
and compares their files with those of an uninterrupted run. `damage` flips bits and
truncates files of snapshots, trained lanes, fitted systems and outcomes. `faults` fills
the disk, makes it read-only and removes the folder; it mounts a small tmpfs, as root.

The status is 1 if something is torn, lost, left behind, different or silent.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from machine import describe

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from ifusion.storage import read_arrays, read_facts  # noqa: E402

PACKAGES = ("jax", "jaxlib", "safetensors", "numpy")
RUNS = {  # three folds, each with a search for settings before the grid
    "classification": (
        "--config=configs/synthetic.py",
        "--config.corpus.recordings=(60,30,30)",
        "--config.corpus.speakers=12",
        "--config.training.epochs=40",
        "--config.training.patience=40",
        "--config.sweep.l2=(0.0,0.01)",
    ),
    "regression": (  # with the hidden state carried from window to window
        "--config=configs/synthetic_continuous.py",
        "--config.corpus.recordings=(4,3,3)",
        "--config.corpus.speakers=10",
        "--config.corpus.frames=300",
        "--config.training.epochs=12",
        "--config.training.window=64",
        "--config.training.hop=64",
        "--config.training.carry=True",
        "--config.sweep.delays=(0.0,0.4)",
    ),
    "tables": (  # systems of one stage, of two, and of none
        "--config=configs/synthetic.py",
        "--systems=svm,ddat_re,baseline,implicit_fusion,late_fusion",
        "--config.corpus.recordings=(60,30,30)",
        "--config.corpus.speakers=12",
        "--config.training.epochs=20",
        "--config.training.patience=20",
        "--config.systems.lambdas=(0.3,)",
    ),
}
SMALL = (
    "--folds",
    "--config.corpus.folds=3",
    "--config.model.hidden_size=8",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.save_every_seconds=0",
)
STATED = {"config.json", "checkpoint.json"}  # which state when and by what command
DERIVED = {  # of these, or of how long a fit took
    "manifest.json",
    "report.html",
    "comparison.csv",
    "comparison.md",
}


def start(program: str, *flags: str) -> subprocess.Popen[str]:
    """Starts a program of experiments/."""
    return subprocess.Popen(
        [sys.executable, f"experiments/{program}.py", *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> None:
    """Waits for the end of processes.

    Raises:
      RuntimeError: one failed.
    """
    for process in processes:
        said = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(said)


class Runs:
    """Starts runs of experiments/sweep.py that share their compiled programs."""

    def __init__(self, folder: Path, task: str = "classification") -> None:
        """Makes the uninterrupted run."""
        self._flags = (*RUNS[task], *SMALL, "--resume")
        self._cache = folder / "cache"
        reference = folder / "reference"
        self.finish(reference)
        begin = time.monotonic()
        self.finish(folder / "timed")
        self.seconds = time.monotonic() - begin
        self.expected = contents(reference)

    def start(self, workdir: Path) -> subprocess.Popen[str]:
        """Starts a run, or continues it."""
        cache = f"--compilation_cache={self._cache}"
        return start("sweep", *self._flags, f"--workdir={workdir}", cache)

    def finish(self, workdir: Path) -> None:
        """Runs to the end.

        Raises:
          RuntimeError: the run failed.
        """
        finish(self.start(workdir))

    def differing(self, workdir: Path) -> list[str]:
        """Lists files that are missing, left behind, or differ from the reference."""
        found = contents(workdir)
        names = sorted(found.keys() | self.expected.keys())
        return [n for n in names if found.get(n) != self.expected.get(n)]


def contents(workdir: Path) -> dict[str, bytes]:
    """Reads the files of a run, without start times and commands."""
    files = {}
    for path in sorted(workdir.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if path.name in STATED:
            facts = json.loads(data)
            facts.pop("provenance", None)
            data = json.dumps(facts).encode()
        files[str(path.relative_to(workdir))] = b"" if path.name in DERIVED else data
    return files


SAVED = (  # a name that begins with a dot is being written, or being removed
    "stages/[!.]*/*/*/[0-9]*",
    "stages/[!.]*/*/*/trained-*",
    "folds/*/fits/[!.]*",
    "folds/*/outcomes/[!.]*",
)


def saved_in(workdir: Path) -> list[Path]:
    """Lists the complete folders: snapshots, trained lanes, fits, outcomes."""
    return [path for pattern in SAVED for path in sorted(workdir.glob(pattern))]


def is_whole(folder: Path) -> bool:
    """Returns whether all of a folder reads as it was written."""
    try:
        return bool(read_facts(folder) and read_arrays(folder))
    except ValueError as error:
        print(error)
        return False


def is_kept(saved: Path, workdir: Path) -> bool:
    """Returns whether a complete folder, or its successor, still exists."""
    if saved.exists() or "folds" in saved.relative_to(workdir).parts:
        return saved.exists()
    if not (workdir / Path(*saved.relative_to(workdir).parts[:2])).exists():
        return True  # all systems of the fold are finished
    if saved.name.startswith("trained"):
        return False
    stage = [x.name for x in saved.parent.iterdir()] if saved.parent.exists() else []
    later = any(name.isdigit() and int(name) > int(saved.name) for name in stage)
    return later or any(name.startswith("trained") for name in stage)


def kill(runs: Runs, workdir: Path, seconds: float, wait: bool) -> tuple[bool, str]:
    """Starts a run, or continues it, and kills it after some seconds.

    If `wait`, these count from the first thing saved instead of the start.

    Returns:
      Whether it was killed before its end, and what it printed.
    """
    before = saved_in(workdir)
    with runs.start(workdir) as process:
        while wait and process.poll() is None and saved_in(workdir) == before:
            time.sleep(0.001)
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        saved = saved_in(workdir)
        process.kill()
        said = process.communicate()[1]
    lost = [path for path in saved if not is_kept(path, workdir)]
    if lost:
        print(f"lost: {lost}")
    return process.returncode < 0, said + "lost\n" * len(lost)


def kill_runs(count: int, seed: int, task: str) -> bool:
    """Kills runs until `count` kills have hit; returns whether all went well."""
    rng, tally, points = random.Random(seed), Counter[str](), set()
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), task)
        print(f"undisturbed, {runs.seconds:.1f} s a run, {len(runs.expected)} files")
        while tally["kills"] < count:
            workdir, hit = Path(folder) / "run", True
            while hit and tally["kills"] < count:
                wait = rng.random() < 0.7
                seconds = rng.uniform(0, 0.4 if wait else runs.seconds)
                hit, said = kill(runs, workdir, seconds, wait)
                tally["kills"] += hit
                tally["of these in a write"] += hit and any(workdir.rglob(".*.part"))
                tally["torn"] += sum(not is_whole(x) for x in saved_in(workdir))
                tally["lost"] += said.count("lost\n")
                there = [x for x in said.splitlines() if "continuing from" in x]
                tally["resumed in training"] += bool(there)
                points |= {x.partition("stages")[2] for x in there}
            runs.finish(workdir)
            differing = runs.differing(workdir)
            tally["different or left behind"] += len(differing)
            tally["runs"] += 1
            print(dict(tally), *differing, flush=True)
            shutil.rmtree(workdir)
    print(f"resumed from {len(points)} different snapshots, number and stage")
    return not (tally["torn"] or tally["lost"] or tally["different or left behind"])


def damage(path: Path, rng: random.Random) -> str:
    """Flips a bit of a file, or truncates it; returns a description."""
    whole = path.read_bytes()
    i = rng.randrange(len(whole))
    if rng.random() < 0.5:
        path.write_bytes(whole[:i])
        return f"cut at {i} of {len(whole)}"
    bit = rng.randrange(8)
    path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :])
    return f"bit {bit} of byte {i} of {len(whole)}"


def damage_saved(count: int, seed: int) -> bool:
    """Damages saved files of a run; returns whether all damage was noticed."""
    rng, tally = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        runs, workdir = Runs(Path(folder), "tables"), Path(folder) / "run"
        with runs.start(workdir) as process:  # until there is one of each kind
            while process.poll() is None and not all(
                any(workdir.glob(pattern)) for pattern in SAVED
            ):
                time.sleep(0.001)
            process.kill()
        kinds = [pattern for pattern in SAVED if any(workdir.glob(pattern))]
        for number in range(count):
            kind = kinds[number % len(kinds)]
            saved = rng.choice(sorted(workdir.glob(kind)))
            path = rng.choice(sorted(saved.iterdir()))
            whole, what = path.read_bytes(), damage(path, rng)
            try:
                read_facts(saved), read_arrays(saved)
                tally["silent"] += 1
                print(f"silent: {path}: {what}")
            except ValueError as error:
                named = "refused" if str(saved) in str(error) else "silent"
                tally[f"{what.split()[0]}, {named}"] += 1
            path.write_bytes(whole)
    print(f"kinds damaged: {', '.join(kinds)}")
    print(dict(tally))
    return not any("silent" in name for name in tally)


def starve_runs() -> bool:
    """Takes the disk away from runs; returns whether each said so and lost nothing."""
    sound = True
    with tempfile.TemporaryDirectory() as folder:
        runs, disk = Runs(Path(folder)), Path(folder) / "disk"
        disk.mkdir()

        def check(name: str, words: str, said: str, workdir: Path) -> None:
            """Checks what was said and is left, and whether the run can go on."""
            nonlocal sound
            last = said.strip().splitlines()[-1]
            whole = [is_whole(path) for path in saved_in(workdir)]
            named = last.startswith("error: ") and words in last
            runs.finish(workdir)
            differing = runs.differing(workdir)
            passed = named and "Traceback" not in said and all(whole) and not differing
            sound &= passed
            print(f"{name}: {'sound' if passed else 'NOT SOUND'}; {last}")
            print(f"  {len(whole)} saved before, whole: {all(whole)}", *differing)

        for kibibytes in (60, 300, 400, 500, 700, 900):
            workdir = disk / "run"
            mount(disk, f"size={kibibytes}k")
            said = runs.start(workdir).communicate()[1]
            mount(disk, "remount,size=64m")
            check(f"disk of {kibibytes} KiB", "No space left", said, workdir)
            unmount(disk)
        mount(disk, "size=64m")
        workdir = disk / "run"
        kill(runs, workdir, 0.3, wait=True)
        mount(disk, "remount,ro")
        said = runs.start(workdir).communicate()[1]
        mount(disk, "remount,rw")
        check("read-only disk", "Read-only file system", said, workdir)
        unmount(disk)
        workdir, moved = Path(folder) / "run", Path(folder) / "moved"
        with runs.start(workdir) as process:
            while process.poll() is None and len(saved_in(workdir)) < 2:
                time.sleep(0.001)
            workdir.rename(moved)
            said = process.communicate()[1]
        check("vanished folder", "No such file or directory", said, moved)
        sound &= not workdir.exists()
    return sound


def mount(folder: Path, options: str) -> None:
    """Mounts memory as a disk, or changes that mount."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True
    )


def unmount(folder: Path) -> None:
    """Unmounts the disk, and loses its files."""
    subprocess.run(["umount", str(folder)], check=True)


def main() -> None:
    """Runs one of the three and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "damage", "faults"))
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=RUNS, default="classification")
    flags = parser.parse_args()
    print(describe(PACKAGES), flush=True)
    if flags.what == "kills":
        sound = kill_runs(flags.count, flags.seed, flags.task)
    elif flags.what == "damage":
        sound = damage_saved(flags.count, flags.seed)
    else:
        sound = starve_runs()
    print("sound" if sound else "NOT SOUND")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
