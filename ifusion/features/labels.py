"""What is to be predicted of which recordings: from a CSV file, or from file names.

Axis: N recordings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import PARTITIONS, CorpusError, natural_order, shorten
from ifusion.corpora.tables.checks import require_unique
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.corpora.tables.table import Table
from ifusion.features.file_index import FileIndex
from ifusion.features.media import Recording

KEYS = ("recording", "partition", "speaker", "file", "start", "end")
MODALITIES = ("audio", "video")
RAVDESS_EMOTIONS = (
    ("01", "neutral"), ("02", "calm"), ("03", "happy"), ("04", "sad"),
    ("05", "angry"), ("06", "fearful"), ("07", "disgust"), ("08", "surprised"),
)  # fmt: skip
RAVDESS_FOLDS = (  # held-out actors; C. Luna-Jimenez et al. (2021), Applied Sciences
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)
RAVDESS_PARTITIONS = ("train", "train", "train", "dev", "test")  # of the folds
RAVDESS_KINDS = {"01": ("audio", "video"), "02": ("video",), "03": ("audio",)}


@dataclass(frozen=True, eq=False)
class Listing:
    """The recordings of a corpus that is to be made.

    Attributes:
      name: of the corpus.
      recording: N names, unique.
      partition: N, each in `PARTITIONS`; blank without labels.
      speaker: N names.
      labels: {target: N texts}, blank = unlabelled; {} = nothing is to be predicted.
      sources: {modality: N recordings}; None where the file is not there.
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


def read_labels(
    path: Path,
    indices: Mapping[str, FileIndex],
    targets: Sequence[str] = (),
    traced: bool = False,
) -> Listing:
    """Reads a CSV file of labels, and finds the recordings.

    Its columns are `recording` and `partition`; `speaker`, by default the recording;
    `file`, by default the recording, both as names of media files with or without
    folder and suffix; `start` and `end` [s], where a recording is a part of a file; and
    one for each target. Sound and picture may be two files that differ in suffix.

    Args:
      path: of the CSV file.
      indices: {modality: the files}.
      targets: columns to predict, the others are kept as attributes; () = the only one
        that is left.
      traced: whether labels are in other files, and no column is a target.

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
    partition = table.text["partition"]
    table.require_none(
        ~np.isin(partition, PARTITIONS),
        "partition",
        lambda row: f"{str(partition[row])!r}, expected one of {PARTITIONS}",
    )
    text = {name: values.tolist() for name, values in table.text.items()}
    names = text["recording"]
    start, end = (_seconds(table, c, text) for c in ("start", "end"))
    table.require_none(
        ~((start >= 0) & (start < end)),
        "start",
        lambda row: f"start {start[row]:g} s and end {end[row]:g} s are no part",
    )
    sources = {
        m: [
            Recording(found, a, b) if (found := index.find(name)) else None
            for name, a, b in zip(
                text.get("file", names), start.tolist(), end.tolist(), strict=True
            )
        ]
        for m, index in indices.items()
    }
    for modality, files in sources.items():
        if not any(files):
            folder = indices[modality].folder
            raise CorpusError(
                f"no file of {folder} has a name such as {names[0]!r}", path, 2
            )
    return Listing(
        name=path.stem,
        recording=names,
        partition=text["partition"],
        speaker=text.get("speaker", names),
        labels={name: text[name] for name in targets},
        sources=sources,
        attributes={c: text[c] for c in (*others, "start", "end") if c in text
                    and c not in targets},
    )  # fmt: skip


def _seconds(table: Table, column: str, text: Mapping[str, list[str]]) -> np.ndarray:
    """Reads a column of times [s], which need not be there."""
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
        lambda row: f"{text[column][row]!r} is no number of seconds",
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


def read_ravdess(media: FileIndex, classes: int = 8) -> Listing:
    """Reads what the file names of RAVDESS say, of its speech.

    A name has seven numbers: modality (01 sound and picture, 02 picture, 03 sound),
    channel (01 speech), emotion, intensity, statement, repetition, actor. What is there
    of the 24 actors is taken; files of sound are preferred for audio.

    Args:
      media: the files, in folders by actor or not.
      classes: 8, or 7 = without calm, as OMG-Emotion has.

    Raises:
      CorpusError: there is none, or two files are the same recording.
    """
    named = dict(RAVDESS_EMOTIONS)
    found: dict[str, dict[str, Path]] = {}
    for path in media.paths:
        kind, _, name = path.stem.partition("-")
        parts = name.split("-")
        speech = len(parts) == 6 and parts[0] == "01" and parts[1] in named
        if not speech or kind not in RAVDESS_KINDS or not parts[5].isdigit():
            continue
        if not 1 <= int(parts[5]) <= 24 or (classes == 7 and parts[1] == "02"):
            continue
        files = found.setdefault(name, {})
        if kind in files:
            raise CorpusError(f"the same recording as {files[kind]}", path)
        files[kind] = path
    if not found:
        raise CorpusError(
            "no file is named as RAVDESS speech, 01-01-03-...", media.folder
        )
    names = sorted(found)
    said = [name.split("-") for name in names]
    actors = [int(p[5]) for p in said]
    folds = [
        next(i for i, held in enumerate(RAVDESS_FOLDS) if a in held) for a in actors
    ]
    first = {"audio": ("03", "01"), "video": ("01", "02")}
    return Listing(
        name=f"RAVDESS speech, {classes} classes",
        recording=names,
        partition=[RAVDESS_PARTITIONS[fold] for fold in folds],
        speaker=[f"actor {actor:02d}" for actor in actors],
        labels={"emotion": [named[p[1]] for p in said]},
        sources={
            m: [
                next((Recording(found[n][k]) for k in first[m] if k in found[n]), None)
                for n in names
            ]
            for m in MODALITIES
        },
        attributes={
            "fold": [str(fold) for fold in folds],
            "sex": ["female" if actor % 2 == 0 else "male" for actor in actors],
            "intensity": ["strong" if p[2] == "02" else "normal" for p in said],
            "statement": [str(int(p[3])) for p in said],
            "repetition": [str(int(p[4])) for p in said],
        },
        licence="CC BY-NC-SA 4.0 (non-commercial, share-alike, attribution)",
        citation=(
            "S. R. Livingstone, F. A. Russo (2018). The Ryerson Audio-Visual Database "
            "of Emotional Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391."
        ),
    )


def code_labels(
    listing: Listing, path: Path, as_classes: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turns labels into numbers: a regression if all are numbers, else classes.

    Args:
      listing: with N recordings and K targets.
      path: of the labels, for messages.
      as_classes: whether numbers are names of classes, too.

    Returns:
      (N, K) float64, NaN = unlabelled, and the names of classes, () = regression. A
      class is its index.

    Raises:
      CorpusError: there are several targets and one is no number.
    """
    columns = list(listing.labels.values())
    texts = [text for column in columns for text in column if text]
    wrong = [text for text in texts if as_classes or not _is_number(text)]
    if not wrong:
        values = [[float(t) if t else np.nan for t in column] for column in columns]
        return np.array(values).T, ()
    if len(columns) > 1:
        reason = f"{wrong[0]!r} is no number; several targets must be numbers"
        raise CorpusError(reason, path)
    classes = natural_order(text for text in columns[0] if text)
    place = {name: float(i) for i, name in enumerate(classes)}
    return np.array([[place.get(t, np.nan)] for t in columns[0]]), classes


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
