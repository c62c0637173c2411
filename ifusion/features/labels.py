"""Which recordings there are, and what to predict of them, from a CSV file.

Axis: N recordings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import (
    PARTITIONS,
    UNLABELLED,
    CorpusError,
    natural_order,
    shorten,
)
from ifusion.corpora.tables.checks import require_unique
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.corpora.tables.table import Table
from ifusion.features.file_index import FileIndex
from ifusion.features.media import Recording

KEYS = ("recording", "partition", "speaker", "file", "start", "end")


@dataclass(frozen=True, eq=False)
class Listing:
    """The recordings of a corpus to be made.

    Attributes:
      name: of the corpus.
      recording: N names, unique.
      partition: N, each in `PARTITIONS`; blank without labels.
      speaker: N names.
      labels: {target: N texts}, blank if unlabelled; {} if nothing is to be predicted.
      sources: {modality: N recordings}; None where there is no file.
      attributes: {name: N texts}, further columns.
      licence: what may be done with the data.
      citation: whom to cite.
      notes: what a user of the corpus should know.
    """

    name: str
    recording: Sequence[str]
    partition: Sequence[str]
    speaker: Sequence[str]
    labels: Mapping[str, Sequence[str]]
    sources: Mapping[str, Sequence[Recording | None]]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    notes: tuple[str, ...] = ()


def read_listing(
    path: Path,
    indices: Mapping[str, FileIndex],
    targets: Sequence[str] = (),
    traced: bool = False,
) -> Listing:
    """Reads a CSV file of labels, and finds the recordings.

    Its columns are `recording` and `partition`, as of a corpus; `speaker` and
    `file`, by default the recording; `start` and `end` [s], where a recording is part
    of a file; and one per target. Recordings and files name media, with or without
    folder and suffix. Sound and picture may be two files that differ in suffix.

    Args:
      path: of the CSV file.
      indices: {modality: its files}.
      targets: columns to predict, the others are kept as attributes; () for the only
        one that is left.
      traced: whether the labels are in other files, so that no column is a target.

    Raises:
      CorpusError: the file is wrong, or names no file.
    """
    columns = read_columns(path)
    others = [c for c in columns if c not in KEYS]
    if not targets and not traced:
        if len(others) != 1:
            which = f"which of the columns {shorten(others)} are targets? say --target"
            reason = which if others else "expected a column of labels"
            raise CorpusError(reason, path, 1)
        targets = others
    table = read_table(path, ("recording", "partition", *targets), rest="text")
    require_unique(table, "recording")
    text = {name: values.tolist() for name, values in table.text.items()}
    names = text["recording"]
    start, end = (_seconds(table, c, text) for c in ("start", "end"))
    table.require_none(
        ~((start >= 0) & (start < end)),
        "start",
        lambda row: f"start {start[row]:g} s and end {end[row]:g} s are not a part",
    )
    files = [*zip(text.get("file", names), start.tolist(), end.tolist(), strict=True)]
    sources = {
        m: [Recording(found, a, b) if (found := index.find(name)) else None
            for name, a, b in files]
        for m, index in indices.items()
    }  # fmt: skip
    for modality, recordings in sources.items():
        if not any(recordings):
            folder = indices[modality].folder
            raise CorpusError(
                f"no file of {folder} has a name such as {names[0]!r}", path, 2
            )
    _check_partitions(table, targets)
    kept = [c for c in (*others, "start", "end") if c in text and c not in targets]
    return Listing(
        name=path.stem,
        recording=names,
        partition=text["partition"],
        speaker=text.get("speaker", names),
        labels={name: text[name] for name in targets},
        sources=sources,
        attributes={name: text[name] for name in kept},
    )


def _check_partitions(table: Table, targets: Sequence[str]) -> None:
    """Refuses what no corpus may have, before hours of extraction."""
    partition, allowed = table.text["partition"], (*PARTITIONS, UNLABELLED)
    table.require_none(
        ~np.isin(partition, allowed),
        "partition",
        lambda row: f"{str(partition[row])!r}, expected one of {allowed}",
    )
    for target in targets:
        blank = table.text[target] == ""
        table.require_none(
            blank & (partition == "dev"),
            target,
            lambda _: "recordings of dev need a label, to choose by",
        )
        table.require_none(
            ~blank & (partition == UNLABELLED),
            target,
            lambda _: f"recordings of partition {UNLABELLED!r} have none",
        )
    found = set(partition.tolist())
    for name in ("train", "dev") if found != {UNLABELLED} else ():
        if name not in found:
            reason = f"no recording is in {name!r}, expected at least one"
            raise CorpusError(reason, table.path, column="partition")


def _seconds(table: Table, column: str, text: Mapping[str, list[str]]) -> np.ndarray:
    """Reads a column of times [s], which need not exist."""
    otherwise = 0.0 if column == "start" else np.inf
    found = np.full(len(table), otherwise)
    wrong = np.zeros(len(table), bool)
    for row, cell in enumerate(text.get(column, ())):
        try:
            found[row] = float(cell) if cell else otherwise
        except ValueError:
            wrong[row] = True
    table.require_none(
        wrong | np.isnan(found),
        column,
        lambda row: f"{text[column][row]!r} is not a number of seconds",
    )
    return found


def list_files(indices: Mapping[str, FileIndex]) -> Listing:
    """Lists all recordings, without labels, named by their paths."""
    names = sorted({index.name(p) for index in indices.values() for p in index.paths})
    first = next(iter(indices.values()))
    return Listing(
        name=first.folder.name,
        recording=names,
        partition=[""] * len(names),
        speaker=names,
        labels={},
        sources={
            m: [Recording(p) if (p := index.find(name)) else None for name in names]
            for m, index in indices.items()
        },
    )


def code_labels(
    listing: Listing, path: Path, as_classes: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turns labels into numbers: values if all are numbers, otherwise class indices.

    Args:
      listing: with N recordings and K targets.
      path: of the labels, for messages.
      as_classes: whether numbers are names of classes, too.

    Returns:
      (N, K) float64, NaN if unlabelled, and the names of the classes, () for values.

    Raises:
      CorpusError: there are several targets, and a label is not a number; or only some
        labels are numbers.
    """
    columns = list(listing.labels.values())
    texts = [text for column in columns for text in column if text]
    wrong = [text for text in texts if not _is_number(text)]
    if not wrong and not as_classes:
        values = [[float(t) if t else np.nan for t in column] for column in columns]
        return np.array(values).T, ()
    if len(columns) > 1:
        reason = f"{wrong[0]!r} is not a number" if wrong else "--classes is given"
        raise CorpusError(f"{reason}; several targets must be numbers", path)
    if 0 < len(wrong) < len(texts) and not as_classes:
        reason = f"{wrong[0]!r} is not a number, but others are; --classes allows both"
        raise CorpusError(reason, path, column=next(iter(listing.labels)))
    classes = natural_order(text for text in columns[0] if text)
    place = {name: float(i) for i, name in enumerate(classes)}
    return np.array([[place.get(t, np.nan)] for t in columns[0]]), classes


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
