"""A run directory: made, or checked to be that of the run to resume."""

import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from data import require_unchanged, summarise_corpus
from files import CONFIG, CORPUS, PROGRAM, require_program, write_json
from ml_collections import ConfigDict

from ifusion import __version__
from ifusion.corpora.corpus import Corpus
from ifusion.reporting.run import read_json, require_kinds
from ifusion.storage import write_atomically

VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")


def prepare_run(
    workdir: Path,
    program: str,
    config: ConfigDict,
    folds: Mapping[str, Corpus],
    facts: Mapping[str, Any],
) -> None:
    """Makes the run directory, or checks that it is that of the run to resume.

    Other versions than those that the run was started with are told of.

    Args:
      workdir: the directory.
      program: that makes the run, `SWEEP` or `TABLES`.
      config: of the run.
      folds: the corpus under each split.
      facts: what the provenance tells beside versions, device and command.

    Raises:
      ValueError: the run there was started by another program or with another
        configuration.
    """
    settings = {**_plain(config.to_dict()), "folds": list(folds), PROGRAM: program}
    path, now = workdir / CONFIG, provenance()
    if path.exists():
        known = read_json(path, [])
        require_program(path, known, program)
        for sentence in changes_since(known.pop("provenance", {}), now):
            print(f"note: {sentence}", file=sys.stderr)
        known = {PROGRAM: program, **known}
        if known != settings:
            differing = [k for k in settings if settings[k] != known.get(k)]
            raise ValueError(
                f"{path}: the run was started with other entries in "
                f"{', '.join(differing)}; --resume needs the same flags"
            )
    else:
        write_json(path, {**settings, "provenance": {**now, **facts}})
    if (workdir / CORPUS).exists():
        require_unchanged(workdir / CORPUS, folds)
    else:
        write_json(workdir / CORPUS, summarise_corpus(folds))


def changes_since(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Tells what has changed that the last digits of a score may depend on."""
    return [
        f"{name} is {now[name]}, but the run was started with {then.get(name)}: scores "
        "may differ in their last digits"
        for name in ("ifusion", *VERSIONS, "devices")
        if now[name] != then.get(name)
    ]


def _plain(value: Any) -> Any:
    """Turns tuples into lists, as JSON has them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def provenance() -> dict[str, Any]:
    """Tells what a run is made with, and when."""
    return {
        "ifusion": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
        "devices": [d.device_kind for d in jax.local_devices()],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def log_opening(log: Path, partition: str) -> int:
    """Adds a line to the log; returns how often the partition was opened before.

    Raises:
      ValueError: a line of the log tells of no partition.
    """
    opened = log.read_text("utf-8") if log.exists() else ""
    lines = enumerate(opened.splitlines(), 1)
    times = sum(_opened(log, number, line) == partition for number, line in lines)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"time": now, "partition": partition, "opened_before": times}
    write_atomically(log, f"{opened}{json.dumps(entry)}\n".encode())
    return times


def _opened(log: Path, number: int, line: str) -> str:
    """Reads which partition a line of the log tells of."""
    place = f"{log}, row {number}"
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: no JSON ({error})") from None
    require_kinds(place, entry, {"partition": str})
    return str(entry["partition"])
