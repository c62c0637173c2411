"""The tables of a folder: one row per recording, or one per frame.

Axes: N recordings, r rows of a file.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion.corpora.columns import Columns, is_index
from ifusion.corpora.corpus import PARTITIONS, UNLABELLED, CorpusError, shorten
from ifusion.corpora.folder.header import Header
from ifusion.corpora.names import normalise
from ifusion.corpora.tables.checks import (
    positions,
    require_times,
    require_unique,
    require_values,
)
from ifusion.corpora.tables.contents import similar
from ifusion.corpora.tables.reading import (
    SUFFIXES,
    Choose,
    Rest,
    find_table,
    read_table,
)
from ifusion.corpora.tables.table import Table

UNTIMED = (
    "labels over time need the key 'frame_step' in corpus.json; frames with one label "
    "per recording need the key 'frame_steps', and labels without a time"
)


class Rows(NamedTuple):
    """The rows of a file, and their recordings."""

    table: Table
    codes: np.ndarray  # (r,) int64, recording of each row


def read_recordings(path: Path) -> Table:
    """Reads and checks recordings.csv."""
    keys = ("recording", "partition", "speaker")
    table = read_table(path, keys, rest="text", choose=_without_index)
    require_unique(table, "recording")
    blank = table.text["recording"] == ""
    table.require_none(blank, "recording", lambda row: "found '', expected a name")
    partition, known = table.text["partition"], (*PARTITIONS, UNLABELLED)
    table.require_none(
        ~np.isin(partition, known),
        "partition",
        lambda row: f"found {str(partition[row])!r}, expected one of {known}",
    )
    found = set(partition.tolist())
    for name in ("train", "dev") if found != {UNLABELLED} else ():
        if name not in found:
            reason = f"no recording is in {name!r}, expected at least one"
            raise CorpusError(reason, path, column="partition")
    return table


def _without_index(_: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not is_index(name))


def read_features(
    folder: Path, header: Header, recordings: Table, impute: bool, columns: Columns
) -> dict[str, Rows]:
    """Reads and checks the features of each modality."""
    features: dict[str, Rows] = {}
    for name, width in header.widths.items():
        path = find_table(folder / "features", name)
        if path is None:
            path = folder / "features" / f"{name}.csv"
            hint = similar(path if path.parent.is_dir() else path.parent)
            reason = f"no such file for modality {name!r}, in none of {SUFFIXES}{hint}"
            raise CorpusError(reason, path)
        framed = name in header.frame_steps
        key = frame_column(header, name) if framed else ""
        most = None if framed or header.frame_step is not None else len(recordings)
        table = read_rows(
            path, header.frame_step, frame=key, choose=columns.choose, most=most
        )
        table = columns.settle(table, impute)
        if width not in (None, len(table.names)):
            reason = (
                f"found {len(table.names)} feature columns, corpus.json says {width}"
            )
            raise CorpusError(reason, path, row=1)
        require_values(table, allow_nan=impute)
        features[name] = Rows(table, codes_of(table, recordings))
    return features


def list_unread(folder: Path, header: Header) -> list[str]:
    """Notes tables among the features that corpus.json does not name."""
    tables = [p for p in (folder / "features").iterdir() if p.suffix in SUFFIXES]
    unread = [p.name for p in tables if normalise(p.stem) not in header.widths]
    unread = sorted(name for name in unread if name[0] != ".")
    if not unread:
        return []
    return [f"not read, since corpus.json names no such modality: {shorten(unread)}"]


def read_rows(
    path: Path,
    step: float | None,
    text: Sequence[str] = (),
    numbers: Sequence[str] = (),
    rest: Rest = "numeric",
    choose: Choose | None = None,
    most: int | None = None,
    frame: str = "",
) -> Table:
    """Reads a table with one row per recording, or one row per frame.

    It has frames if there is a step, with a time each; or if `frame` names the column
    that orders them.
    """
    time = ("time",) if step is not None else (frame,) if frame else ()

    def timed(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
        if step is None and "time" in names:
            raise CorpusError(UNTIMED, path, 1, "time")
        return names if choose is None else choose(path, names)

    keys, numbers = ("recording", *text), (*time, *numbers)
    table = read_table(path, keys, numbers, rest, choose=timed, most=most)
    for column in time:
        require_times(table, column)
    return table


def frame_column(header: Header, modality: str) -> str:
    """Names the column that orders frames: "time" where their step is known."""
    return "step" if header.frame_steps[modality] is None else "time"


def codes_of(table: Table, recordings: Table) -> np.ndarray:
    """Returns which recording each row belongs to: (r,) int64."""
    return positions(table, "recording", recordings.text["recording"], "recordings.csv")


def take(rows: Rows, keep: np.ndarray) -> Rows:
    """Keeps some rows, given by (r,) bool; a memory map stays one if all are kept."""
    table, kept = rows.table, np.flatnonzero(keep)
    if len(kept) == len(table):
        return rows
    part = replace(
        table,
        text={name: column[kept] for name, column in table.text.items()},
        numbers={name: column[kept] for name, column in table.numbers.items()},
        values=table.values[kept],
        line=lambda row: table.line(int(kept[row])),
    )
    return Rows(part, rows.codes[kept])
