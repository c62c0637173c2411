"""Finds the shares of a run on disk, and checks that they belong together.

The share `--lanes=i/n` of a run has its own folder, `shares/i-of-n`, with a lock,
config, fingerprint of the corpus and stages like a run, but without predictions: those
come with the merge.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ifusion.experiment.store import (
    CONFIG,
    CORPUS,
    SHARES,
    SYSTEMS_FILE,
    changes_since,
    differing_sections,
    read_config,
    read_corpus_facts,
    read_systems,
)
from ifusion.experiment.trainer import Share
from ifusion.terminal import note

NAME = re.compile(r"([1-9]\d*)-of-([1-9]\d*)")  # of the folder of a share


def parse_share(text: str) -> Share:
    """Reads "2/4".

    Raises:
      ValueError: if it has another form, or there is no such share.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    share = Share(*map(int, match.groups())) if match else Share(0, 0)
    if not 1 <= share.number <= share.total:
        raise ValueError(
            f"--lanes={text}: expected i/n, share i of n, such as 2/4; i from 1 to n"
        )
    return share


def share_folder(run: Path, share: Share) -> Path:
    """The folder of a share."""
    return run / SHARES / f"{share.number}-of-{share.total}"


def list_shares(run: Path) -> dict[Share, Path]:
    """Finds the shares in a directory and their folders."""
    there = sorted((run / SHARES).iterdir()) if (run / SHARES).is_dir() else ()
    matches = {path: NAME.fullmatch(path.name) for path in there}
    return {Share(*map(int, m.groups())): path for path, m in matches.items() if m}


def count_shares(run: Path) -> int | None:
    """Counts the shares of a run; None if it has not started.

    Raises:
      ValueError: if the run is not split, or split in two ways.
    """
    counts = sorted({share.total for share in list_shares(run)})
    if len(counts) > 1:
        raise ValueError(
            f"{run / SHARES}: holds shares of splits into "
            f"{' and '.join(map(str, counts))}; remove those of one split"
        )
    if not counts and (run / CONFIG).exists():
        raise ValueError(
            f"{run}: this run is not split into shares; continue it with --resume, "
            "without --lanes"
        )
    return counts[0] if counts else None


def other_shares(run: Path, folder: Path) -> list[Path]:
    """Finds the folders of the other shares of a run that have started."""
    folders = list_shares(run).values()
    return [x for x in folders if x != folder and (x / SYSTEMS_FILE).exists()]


def find_shares(roots: Sequence[Path]) -> tuple[Path, ...]:
    """Finds all shares of one run in some directories, in the order of lanes.

    Raises:
      ValueError: if shares are missing, occur twice, or belong to several runs.
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
            f"{where}: no shares found; train them with sweep.py --lanes=i/n"
        )
    counts = sorted({share.total for share in found})
    if len(counts) > 1:
        raise ValueError(
            f"{where}: holds shares of splits into {' and '.join(map(str, counts))}"
        )
    wanted = [Share(i + 1, counts[0]) for i in range(counts[0])]
    missing = [f"{i}/{n}" for i, n in wanted if Share(i, n) not in found]
    if missing:
        raise ValueError(f"{where}: shares missing: --lanes={', '.join(missing)}")
    return tuple(found[share] for share in wanted)


def require_agreement(folders: Sequence[Path]) -> None:
    """Checks that shares have the same options and corpus.

    Prints a note where versions or devices differ.

    Raises:
      ValueError: if they differ.
    """
    first, *others = folders
    known = read_config(first)
    for folder in others:
        config = read_config(folder)
        differing = differing_sections(known, config)
        if _systems(folder) != _systems(first):
            differing.append("systems")
        if differing:
            raise ValueError(
                f"{folder} and {first} differ in {', '.join(differing)}: they are "
                "shares of different runs"
            )
        prints = [read_corpus_facts(x)["fingerprints"] for x in (folder, first)]
        if prints[0] != prints[1]:
            raise ValueError(
                f"{folder / CORPUS} and {first / CORPUS} differ in the fingerprint of "
                "the corpus: the shares were trained on different data"
            )
        for sentence in changes_since(known["provenance"], config["provenance"]):
            note(f"{folder}: {sentence}")


def _systems(folder: Path) -> list[str]:
    return [row["key"] for row in read_systems(folder)]
