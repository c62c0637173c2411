"""The files of a run directory that the programs write: tables and JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from ifusion.reporting.run import read_cells, read_json
from ifusion.storage import (
    make_folder,
    remove_folder,
    remove_leftovers,
    write_atomically,
)

CONFIG, CORPUS, CHECKPOINTS = "config.json", "corpus.json", "checkpoints"
SCORES, PREDICTIONS, HISTORY = "scores.csv", "predictions.csv", "history.csv"
MOMENTS = "moments.csv"  # of predictions and gold standard, of a regression
GAINS = "postprocessing.csv"  # what each step of it brought on dev
TRACES = "predictions"  # folder of the predictions over time
TUNING = "tuning.csv"  # what settings were chosen by
SNAPSHOTS = "snapshots"  # folder of what is trained in part, gone once it is finished
EVALUATIONS = "evaluations.jsonl"  # who opened which partition when
SYSTEMS = "systems.json"  # which systems are compared
FITTED = "systems"  # folder of what came out of them, a folder a system and fold:
CANDIDATES, FIT = "candidates.csv", "fit.json"
SETTINGS = "settings"  # folder of what was chosen for the baseline of each fold
SHARES = "shares"  # folder of the parts that lanes are trained in, each like a run, but
TRAINED = "trained"  # with a folder of what came out of its folds in place of tables
PROGRAM = "program"  # entry of CONFIG: which of these made the run
SWEEP, TABLES = "sweep", "tables"
LOCK = ".lock"  # held by the program that writes to the run
ENTRIES = {  # of CONFIG, that are read after training, whatever the task
    "corpus": ("kind",),
    "training": ("delay_scoring",),
    "evaluation": ("metric", "cluster", "resamples"),
}


def refuse_existing(workdir: Path, resume: bool, beside: str = LOCK) -> None:
    """Refuses to write over what is there, unless the user resumes it.

    Where there is nothing, or only what a start that was killed has left, a run begins
    in either case.

    Args:
      workdir: the directory.
      resume: whether the user does.
      beside: name of what may be there as well.

    Raises:
      ValueError: there is something, and no run to resume.
    """
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"{workdir}: not a folder; --workdir names a run directory")
    there = {p.name for p in workdir.iterdir()} if workdir.exists() else set()
    occupied = [
        name
        for name in there
        if name not in (LOCK, beside) and not name.endswith(".part")
    ]
    if occupied and not resume:
        raise ValueError(
            f"{workdir}: there is something already; choose another --workdir, or go "
            "on with a run that was stopped by --resume"
        )
    if occupied and CONFIG not in there:
        raise ValueError(f"{workdir}: no run to resume there ({CONFIG} is missing)")


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps other programs from writing to a run; a dead one keeps nobody out.

    What a dead one left unfinished is removed.

    Raises:
      ValueError: another program is at it.
    """
    make_folder(workdir)
    try:
        with FileLock(workdir / LOCK, timeout=0):
            remove_leftovers(workdir)
            yield
    except Timeout:
        raise ValueError(
            f"{workdir}: another program is writing to this run; wait for it, or "
            "choose another directory"
        ) from None


def forget_snapshots(workdir: Path, fold: str) -> None:
    """Removes the snapshots of a fold that is finished."""
    folder = workdir / SNAPSHOTS / fold
    if folder.exists():
        remove_folder(folder)
    if folder.parent.exists() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def replace_rows(path: Path, frame: pd.DataFrame, keys: Mapping[str, str]) -> None:
    """Puts rows into a CSV file, in place of those that `keys` picks out.

    Args:
      path: of the file, which need not exist.
      frame: the new rows.
      keys: {column: value}, for example the fold and partition of the new rows.

    Raises:
      ValueError: the file lacks a column of `keys`, or is no whole table.
    """
    frame = frame.astype(object)  # written alike, whether others are there or not
    if path.is_file():
        old = read_cells(path, list(keys), further=True)
        replaced = np.logical_and.reduce([old[c] == v for c, v in keys.items()])
        frame = pd.concat([old[~replaced], frame], ignore_index=True)
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n").encode())


def read_rows(
    path: Path, keys: Mapping[str, str], numeric: Sequence[str]
) -> pd.DataFrame:
    """Reads those rows of a CSV file that `keys` picks out.

    Args:
      path: of the file.
      keys: {column: value}.
      numeric: columns to read as numbers; the others stay text.
    """
    frame = pd.read_csv(path, dtype="str")
    # by Python: what pandas reads may differ from what was written in the last bit
    numbers = {name: frame[name].map(float).astype("float64") for name in numeric}
    frame = frame.assign(**numbers)
    picked = np.logical_and.reduce([frame[c] == v for c, v in keys.items()])
    return frame[picked].reset_index(drop=True)


def require_program(path: Path, config: Mapping[str, Any], program: str) -> None:
    """Refuses the run of another program, whose files it would mix with its own.

    A run that does not say, as those of 0.1.0, was made by who lists systems.

    Raises:
      ValueError: the run was made by another one.
    """
    likely = TABLES if (path.parent / SYSTEMS).exists() else SWEEP
    made_by = config.get(PROGRAM, likely)
    if made_by != program:
        raise ValueError(
            f"{path}: the run was made by {made_by}.py, and this needs one of "
            f"{program}.py"
        )


def read_config(workdir: Path) -> dict[str, Any]:
    """Reads the config of a sweep.

    Raises:
      ValueError: there is none, it is that of another program, or it lacks a section or
        an entry of those that are read after training.
    """
    path = workdir / CONFIG
    config = read_json(path, [])
    require_program(path, config, SWEEP)
    for section, entries in ENTRIES.items():
        found = config.get(section)
        if not isinstance(found, dict):
            raise ValueError(f"{path}: there is no section {section!r}")
        for name in entries:
            if name not in found:
                raise ValueError(f"{path}: there is no entry {section}.{name}")
    if not isinstance(config.get("folds"), list) or not config["folds"]:
        raise ValueError(f"{path}: there are no folds")
    return config


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
