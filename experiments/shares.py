"""Shares of a run on the disk: what was trained of each, found again and joined.

The share `--lanes=i/n` of a run has a folder of its own, `shares/i-of-n`, with a lock,
config, fingerprint of the corpus and snapshots like a run. What came out of a fold is
kept in `trained/FOLD` there: no predictions, which the run makes once it is whole.
"""

import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from directory import changes_since
from files import CONFIG, CORPUS, PROGRAM, SHARES, SWEEP, TRAINED, require_program
from fold import TrainedFold, is_finished
from settings import Share, Trained, collect_lanes
from study import Plan

from ifusion.preprocessing.standardise import Standardizer
from ifusion.reporting.run import read_json
from ifusion.storage import read_arrays, read_facts, write_folder
from ifusion.training.checkpoint import Outcome, flatten, unflatten
from ifusion.training.lanes import Lane

FORMAT = 1
NAME = re.compile(r"([1-9]\d*)-of-([1-9]\d*)")  # of the folder of a share


def parse_share(text: str) -> Share:
    """Reads "2/4".

    Raises:
      ValueError: it reads otherwise, or there is no such share.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    share = Share(*map(int, match.groups())) if match else Share(0, 0)
    if not 1 <= share.number <= share.total:
        raise ValueError(
            f"--lanes={text}: expected i/n, share i of n, such as 2/4; i from 1 to n"
        )
    return share


def share_folder(workdir: Path, share: Share) -> Path:
    """Names the folder of a share."""
    return workdir / SHARES / f"{share.number}-of-{share.total}"


def list_shares(workdir: Path) -> dict[Share, Path]:
    """Finds the folders of shares in a directory."""
    there = (workdir / SHARES).iterdir() if (workdir / SHARES).is_dir() else ()
    matches = {path: NAME.fullmatch(path.name) for path in sorted(there)}
    return {Share(*map(int, m.groups())): path for path, m in matches.items() if m}


def count_shares(workdir: Path) -> int | None:
    """Tells into how many shares a run is split; None where it has not begun.

    Raises:
      ValueError: there is a run that is not split, or split in two ways.
    """
    counts = sorted({share.total for share in list_shares(workdir)})
    if len(counts) > 1:
        raise ValueError(
            f"{workdir / SHARES}: there are shares of runs that are split differently, "
            f"in {' and in '.join(map(str, counts))}; remove those that are not meant"
        )
    if not counts and (workdir / CONFIG).exists():
        raise ValueError(
            f"{workdir}: there is a run already, which is not in shares, or not any "
            "more; go on with it by sweep.py --resume alone"
        )
    return counts[0] if counts else None


def begun_beside(workdir: Path, folder: Path) -> list[Path]:
    """Finds the folders of the other shares of a run that were begun."""
    folders = list_shares(workdir).values()
    return [x for x in folders if x != folder and (x / CORPUS).exists()]


def find_shares(roots: Sequence[Path]) -> tuple[Path, ...]:
    """Finds all shares of one run.

    Args:
      roots: directories that they were trained in.

    Returns:
      Their folders, in the order of lanes.

    Raises:
      ValueError: shares are missing, there twice, or not of one run.
    """
    where = ", ".join(map(str, roots))
    found: dict[Share, Path] = {}
    for root in {root.resolve(): root for root in roots}.values():
        for share, path in list_shares(root).items():
            if share in found:
                raise ValueError(f"the same share is in {found[share]} and {path}")
            found[share] = path
    if not found:
        raise ValueError(
            f"{where}: no shares of a run there, which sweep.py --lanes=i/n trains"
        )
    counts = sorted({share.total for share in found})
    if len(counts) > 1:
        raise ValueError(
            f"{where}: the shares there are of runs that are split differently, in "
            f"{' and in '.join(map(str, counts))}"
        )
    wanted = [Share(i + 1, counts[0]) for i in range(counts[0])]
    missing = [f"{i}/{n}" for i, n in wanted if Share(i, n) not in found]
    if missing:
        raise ValueError(
            f"{where}: not trained yet, or elsewhere: --lanes={', '.join(missing)}"
        )
    return tuple(found[share] for share in wanted)


def require_agreement(folders: Sequence[Path]) -> dict[str, Any]:
    """Checks that shares were trained by one config on one corpus.

    Versions and devices that differ are told of.

    Args:
      folders: of the shares.

    Returns:
      The config, with the names of the folds, as the first share has it.

    Raises:
      ValueError: they were not.
    """
    first, *others = folders
    known = read_json(first / CONFIG, ["provenance", "folds"])
    require_program(first / CONFIG, known, SWEEP)
    for folder in others:
        config = read_json(folder / CONFIG, ["provenance"])
        sections = (known.keys() | config.keys()) - {"provenance"}
        differing = sorted(k for k in sections if config.get(k) != known.get(k))
        if differing:
            raise ValueError(
                f"{folder / CONFIG} and {first / CONFIG} differ in "
                f"{', '.join(differing)}: they are shares of different runs"
            )
        if _fingerprints(folder) != _fingerprints(first):
            raise ValueError(
                f"{folder / CORPUS} and {first / CORPUS} differ in the fingerprint of "
                "the corpus: the shares were trained on different data"
            )
        for sentence in changes_since(known["provenance"], config["provenance"]):
            print(f"note: {folder}: {sentence}", file=sys.stderr)
    return {k: v for k, v in known.items() if k not in ("provenance", PROGRAM)}


def _fingerprints(folder: Path) -> Any:
    return read_json(folder / CORPUS, ["fingerprints"])["fingerprints"]


def require_finished(folders: Sequence[Path], folds: Sequence[str]) -> None:
    """Refuses shares that are not trained to their end.

    Raises:
      ValueError: some are not, or what is stored of one is damaged.
    """
    left = [
        f"{folder} (fold {', '.join(missing)})"
        for folder in folders
        if (missing := [x for x in folds if not is_trained(folder, x)])
    ]
    if left:
        raise ValueError(
            f"not trained to the end: {'; '.join(left)}; sweep.py --lanes=i/n --resume "
            "goes on with a share"
        )


def is_trained(folder: Path, fold: str) -> bool:
    """Tells whether a share has finished a fold.

    Raises:
      ValueError: it has, but what is stored is damaged.
    """
    return is_finished(folder, fold, TRAINED, load_trained)


def save_trained(folder: Path, result: TrainedFold, facts: Mapping[str, Any]) -> None:
    """Writes what came out of the training of a share, whole or not at all.

    Args:
      folder: must not exist; its parent must.
      result: what to write.
      facts: provenance and configuration, kept as they are.

    Raises:
      OSError: it cannot be written, or is there already.
    """
    trained, tuning, standardizers = result
    tree = {
        "params": trained.params,
        "history": trained.history,
        "standardizer": {m: vars(s) for m, s in standardizers.items()},
    }
    own = {
        "format": FORMAT,
        "lanes": [asdict(lane) for lane in trained.lanes],
        "outcomes": [asdict(outcome) for outcome in trained.outcomes],
        "modalities": list(standardizers),
        "tuning": tuning.to_dict("records"),
        "provenance": dict(facts),
    }
    write_folder(folder, flatten(tree), own)


def load_trained(folder: Path) -> TrainedFold:
    """Reads what came out of the training of a share.

    Raises:
      ValueError: there is none, or it is damaged.
    """
    facts, arrays = read_facts(folder), read_arrays(folder)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{folder}: expected a share of format {FORMAT}")
    try:
        tree = unflatten(arrays)
        trained = Trained(
            tuple(Lane(**lane) for lane in facts["lanes"]),
            tuple(Outcome(**outcome) for outcome in facts["outcomes"]),
            tree["params"],
            tree["history"],
        )
        statistics = tree["standardizer"]
        standardizers = {m: Standardizer(**statistics[m]) for m in facts["modalities"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a whole share ({error})") from None
    return TrainedFold(trained, pd.DataFrame(facts["tuning"]), standardizers)


def join_shares(plan: Plan, results: Sequence[TrainedFold]) -> TrainedFold:
    """Joins what came out of the shares of a fold.

    Args:
      plan: of the whole run.
      results: of all shares, in the order of lanes.

    Raises:
      ValueError: they are not the lanes of the plan, or shares that trained the same
        lanes for a choice of settings have chosen differently.
    """
    lanes = [lane for result in results for lane in result.trained.lanes]
    if list(map(_unset, lanes)) != list(map(_unset, plan.lanes)):
        raise ValueError("the lanes of the shares are not those of their config")
    trained = collect_lanes([result.trained for result in results], lanes)
    rows: dict[Lane, Mapping[Hashable, Any]] = {}
    for result in results:
        for row in result.tuning.to_dict("records"):
            lane = Lane(**{k: row[k] for k in Lane.__dataclass_fields__})
            known = rows.setdefault(lane, row)
            if known["chosen"] != row["chosen"]:
                raise ValueError(
                    f"two shares have chosen different settings for main {lane.main!r} "
                    f"and target {lane.target!r}, which devices that differ may lead "
                    "to; train them on devices of one kind"
                )
    tuning = pd.DataFrame([rows[lane] for lane in plan.tuning])
    return TrainedFold(trained, tuning, results[0].standardizers)


def _unset(lane: Lane) -> Lane:
    """A lane without the settings that were chosen for it."""
    return replace(lane, l2=0.0, delay=0)
