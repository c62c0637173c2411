"""A run directory: its files, its lock, and the identity of its run.

    config.json           options and, under "provenance", versions, devices, command
    corpus.json           the corpus in figures, with a fingerprint per fold
    systems.json          the systems of the run, and why one has no score
    scores.csv            the score of every predictor by every metric
    evaluations.jsonl     when test was opened
    folds/<fold>/data/    train statistics, and names and sizes for predictors
    folds/<fold>/settings.json             penalty and delay, chosen on dev
    folds/<fold>/fits/<system>/            candidates, parameters, training curves
    folds/<fold>/outcomes/<system>-<partition>/   predictions
    folds/<fold>/traces/<system>-<partition>.safetensors   the same over time
    stages/               trained lanes of folds that are not finished
    shares/<i>-of-<n>/    parts of the run that other jobs train, each like a run

`ifusion.reporting` makes tables, figures and the report of these.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout

from ifusion import __version__
from ifusion.corpora.names import can_name_file, file_name
from ifusion.corpora.splits import require_unchanged, summarise_corpus
from ifusion.evaluation.result import Entry
from ifusion.experiment.options import Options, options_from_dict, options_to_dict
from ifusion.experiment.study import Folds
from ifusion.storage import (
    make_folder,
    read_json,
    read_json_list,
    remove_leftovers,
    require_kinds,
    write_atomically,
    write_json,
)
from ifusion.systems.catalogue import SYSTEMS
from ifusion.terminal import note

FORMAT = 5
CONFIG, CORPUS, SYSTEMS_FILE = "config.json", "corpus.json", "systems.json"
EVALUATIONS, LOCK = "evaluations.jsonl", ".lock"
FOLDS, DATA, FITS, OUTCOMES, TRACES = "folds", "data", "fits", "outcomes", "traces"
FUNCTIONALS = "functionals"  # DATA of systems that read functionals
SETTINGS = "settings.json"
IDENTITY_SECTIONS = (
    "model",
    "training",
    "sweep",
    "evaluation",
    "postprocessing",
    "systems",
)
SHARES = "shares"
MAY_CHANGE = {  # when a run is resumed
    "corpus": ("path",),
    "sweep": ("memory_gib", "block_mib", "save_every_seconds", "keep_snapshots"),
}
VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")
FACTS = {
    "name": str,
    "task": str,
    "classes": list,
    "targets": list,
    "frame_step": (int, float, type(None)),
    "licence": str,
    "citation": str,
    "notes": list,
    "warnings": list,
    "features": dict,
    "provenance": dict,
    "fingerprints": dict,
    "partitions": dict,
}
ENTRY = {x.name: x.type for x in fields(Entry)}
NEW_ENTRY = "control_of"  # which older runs lack


def fold_folder(run: Path, fold: str) -> Path:
    """The folder of a fold."""
    return run / FOLDS / file_name(fold)  # safe whatever config.json says


def fit_folder(run: Path, fold: str, system: str) -> Path:
    """The folder of a fitted system; it exists once the system is fitted."""
    return fold_folder(run, fold) / FITS / system


def outcome_folder(run: Path, fold: str, system: str, partition: str) -> Path:
    """The folder of a system's predictions for a partition."""
    return fold_folder(run, fold) / OUTCOMES / f"{system}-{partition}"


def trace_file(run: Path, fold: str, system: str, partition: str) -> Path:
    """The file of a system's predictions over time."""
    return fold_folder(run, fold) / TRACES / f"{system}-{partition}.safetensors"


def refuse_existing(run: Path, resume: bool, allowed: Sequence[str] = ()) -> None:
    """Refuses a directory that is not empty, unless its run is resumed.

    Names in `allowed` may exist all the same.

    Raises:
      ValueError: if it is refused, or holds something other than a run.
    """
    if run.exists() and not run.is_dir():
        raise ValueError(f"{run} is not a directory")
    there = [path for path in run.iterdir() if _holds(path)] if run.exists() else []
    occupied = {path.name for path in there} - {LOCK, *allowed}
    if occupied and not {CONFIG, SHARES} & occupied:
        raise ValueError(
            f"{run} is not empty, and holds no run ({CONFIG} is missing); name another "
            "folder"
        )
    if occupied and not resume:
        raise ValueError(f"{run} is not empty; pass --resume to continue it")


def _holds(path: Path) -> bool:
    """Returns whether a path is more than an empty folder or an unfinished file."""
    if path.is_dir():  # such as a link to another disk for `STAGES`
        return any(path.iterdir())
    return not path.name.endswith(".part")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keeps other processes from writing to a run.

    A killed process does not keep the lock; its unfinished files are removed.

    Raises:
      ValueError: if another process holds the lock.
    """
    make_folder(run)
    try:
        with FileLock(run / LOCK, timeout=0):
            remove_leftovers(run)
            yield
    except Timeout:
        raise ValueError(
            f"{run}: another process holds the lock; wait for it, or choose another "
            "directory"
        ) from None


def prepare_run(
    run: Path, corpus: Mapping[str, Any], options: Options, folds: Folds, **facts: Any
) -> None:
    """Writes config.json and corpus.json, or checks that they agree with the run's.

    `corpus` is the source of the corpus, {"kind", ...}, or {} if it was made in Python;
    `facts` are added to the provenance. Prints a note if versions have changed.

    Raises:
      ValueError: if the run was started with other options or another corpus.
    """
    settings = as_json(
        {
            "format": FORMAT,
            "corpus": dict(corpus),
            **options_to_dict(options),
            "folds": list(folds),
        }
    )
    path, now = run / CONFIG, provenance()
    if path.exists():
        known = read_json(path)
        then = known.pop("provenance", {})
        for sentence in changes_since(then if isinstance(then, dict) else {}, now):
            note(sentence)
        differing = differing_sections(known, settings)
        if differing:
            changes = "; ".join(_changes(known, settings, differing))
            raise ValueError(f"{path}: the run has other options: {changes}")
    else:
        write_json(path, {**settings, "provenance": {**now, **facts}})
    if (run / CORPUS).exists():
        require_same_corpus(run, folds)
    else:
        write_json(run / CORPUS, summarise_corpus(folds))


def differing_sections(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names the sections in which two configs differ.

    Entries of `MAY_CHANGE` do not count; the fingerprint identifies the corpus.
    """
    names = sorted((one.keys() | other.keys()) - {"provenance"})
    return [name for name in names if _compared(one, name) != _compared(other, name)]


def _changes(
    then: Mapping[str, Any], now: Mapping[str, Any], sections: Iterable[str]
) -> Iterator[str]:
    """Says which entries of sections have changed."""
    for name in sections:
        old, new = _compared(then, name), _compared(now, name)
        if not (isinstance(old, dict) and isinstance(new, dict)):
            old, new, prefix = {name: old}, {name: new}, ""
        else:
            prefix = f"{name}."
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                yield f"{prefix}{key} is {old.get(key)!r} there, {new.get(key)!r} here"


def _compared(config: Mapping[str, Any], name: str) -> Any:
    """Returns a section without the entries of `MAY_CHANGE`."""
    section = config.get(name)
    if not isinstance(section, dict):
        return section
    return {k: v for k, v in section.items() if k not in MAY_CHANGE.get(name, ())}


def make_identity(sections: Mapping[str, Any], corpus: str) -> dict[str, str]:
    """Makes the identity in every file of a fold, see `storage.read_facts`.

    It covers the `IDENTITY_SECTIONS` of the config, and the fingerprint of the corpus.
    """
    compared = {name: _compared(sections, name) for name in IDENTITY_SECTIONS}
    text = json.dumps(compared, sort_keys=True)
    return {"config": hashlib.sha256(text.encode()).hexdigest(), "corpus": corpus}


def read_identity(run: Path, fold: str) -> dict[str, str]:
    """Reads the identity that the files of a fold must have.

    Raises:
      ValueError: if the run is damaged, or has no such fold.
    """
    prints = read_corpus_facts(run)["fingerprints"]
    if not isinstance(prints.get(fold), str):
        raise ValueError(f"{run / CORPUS}: no fingerprint of the fold {fold!r}")
    return make_identity(read_config(run), prints[fold])


def require_same_corpus(run: Path, folds: Folds) -> None:
    """Refuses a corpus other than the run's.

    Raises:
      ValueError: if recordings used to train or to choose have changed.
    """
    require_unchanged(read_corpus_facts(run), folds, run / CORPUS)


def read_config(run: Path) -> dict[str, Any]:
    """Reads the config of a run.

    Raises:
      ValueError: if it is missing, damaged or of another format.
    """
    path = run / CONFIG
    if not path.exists():
        raise ValueError(f"{run}: no run to read ({CONFIG} is missing)")
    config = read_json(path)
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{path}: a run of format {config.get('format')}; expected {FORMAT}, "
            "so train it again with this version"
        )
    kinds = {"corpus": dict, "folds": list, "provenance": dict}
    require_kinds(str(path), config, kinds | dict.fromkeys(IDENTITY_SECTIONS, dict))
    folds = config["folds"]
    if not folds or not all(isinstance(name, str) for name in folds):
        raise ValueError(f"{path}: the key folds has the value {folds!r}")
    return config


def read_corpus_facts(run: Path) -> dict[str, Any]:
    """Reads the facts about the corpus of a run, see `summarise_corpus`.

    Raises:
      ValueError: if the file is missing or damaged.
    """
    path = run / CORPUS
    facts = read_json(path)
    facts.setdefault("provenance", {})  # which earlier versions did not write
    require_kinds(str(path), facts, FACTS)
    stated = facts["provenance"]
    require_kinds(str(path), stated, dict.fromkeys(stated, dict))
    if facts["task"] not in ("classification", "regression"):
        raise ValueError(f"{path}: the key task has the value {facts['task']!r}")
    for key in ("classes", "targets", "notes", "warnings"):
        if not all(isinstance(value, str) for value in facts[key]):
            raise ValueError(f"{path}: the key {key} holds values other than text")
    return facts


def read_options(run: Path) -> Options:
    """Reads the options of a run.

    Raises:
      ValueError: if they are missing, or one makes no sense.
    """
    config = read_config(run)
    try:
        return options_from_dict(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run / CONFIG}: {error}") from None


def add_systems(run: Path, keys: Sequence[str], impossible: Mapping[str, str]) -> None:
    """Adds systems to systems.json, in table order; keeps those already listed.

    `impossible` says why some have no score.
    """
    known = {row["key"]: row for row in read_systems(run)}
    names = [name for name in ENTRY if name != "impossible"]
    for system in SYSTEMS:
        if system.key in keys:
            facts = {name: getattr(system, name) for name in names}
            known[system.key] = {**facts, "impossible": impossible.get(system.key, "")}
    rows = [known[system.key] for system in SYSTEMS if system.key in known]
    write_json(run / SYSTEMS_FILE, rows)


def read_systems(run: Path) -> list[dict[str, Any]]:
    """Reads the systems of a run; none if it has not started.

    Raises:
      ValueError: if the file is damaged.
    """
    path = run / SYSTEMS_FILE
    kinds = {name: kind for name, kind in ENTRY.items() if name != NEW_ENTRY}
    rows = read_json_list(path, kinds) if path.exists() else []
    for row in rows:
        if not can_name_file(row["key"]):
            raise ValueError(f"{path}: {row['key']!r} is not the key of a system")
    return rows


def read_entries(run: Path) -> tuple[Entry, ...]:
    """Reads the systems of a run as tables list them."""
    known = [{k: row[k] for k in ENTRY if k in row} for row in read_systems(run)]
    return tuple(Entry(**row) for row in known)


def give_up(run: Path, key: str, reason: str) -> None:
    """Records why a system has no score."""
    rows = read_systems(run)
    for row in rows:
        if row["key"] == key:
            row["impossible"] = reason
    write_json(run / SYSTEMS_FILE, rows)


def log_opening(run: Path, partition: str) -> int:
    """Logs the opening of a partition; returns how often it was opened before.

    Raises:
      ValueError: if a line of the log is damaged.
    """
    path = run / EVALUATIONS
    times = sum(row["partition"] == partition for row in read_openings(run))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"time": now, "partition": partition, "opened_before": times}
    before = path.read_text("utf-8") if path.exists() else ""
    write_atomically(path, f"{before}{json.dumps(entry)}\n".encode())
    return times


def read_openings(run: Path) -> list[dict[str, Any]]:
    """Reads when test was opened.

    Raises:
      ValueError: if a line of the log is damaged.
    """
    path = run / EVALUATIONS
    text = path.read_text("utf-8") if path.exists() else ""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: not JSON ({error})") from None
        require_kinds(f"{path}, row {number}", row, {"partition": str})
        rows.append(row)
    return rows


def provenance() -> dict[str, Any]:
    """Returns versions, devices, time and command, for the config of a run."""
    return {
        "ifusion": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
        "devices": [d.device_kind for d in jax.local_devices()],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def changes_since(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists changes of version or device, which may change last digits of scores."""
    return [
        f"{name} is {now[name]}, but the run was started with {then.get(name)}: scores "
        "may differ in their last digits"
        for name in ("ifusion", *VERSIONS, "devices")
        if now[name] != then.get(name)
    ]


def as_json(value: Any) -> Any:
    """Converts values to what JSON reads back: tuples to lists, keys to text."""
    return json.loads(json.dumps(value))
