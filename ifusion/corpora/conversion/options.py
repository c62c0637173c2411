"""The options of a conversion, and the file that splits recordings.

Axis: N recordings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import PARTITIONS, UNLABELLED, CorpusError, shorten
from ifusion.corpora.folder.header import FRAME_STEPS
from ifusion.corpora.tables.checks import require_unique
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.paths import expand_path

PARTITION_NAMES = {name: name for name in (*PARTITIONS, UNLABELLED)} | {"valid": "dev"}
SPLIT_KEYS = ("recording", "video")


@dataclass(frozen=True)
class ConversionOptions:
    """What a user may ask for; a reader refuses what its format has no use for.

    Attributes:
      name: of the corpus; "" = that of the input file.
      targets: what to predict; each reader says what it offers.
      modalities: those to convert, () = all.
      frame_steps: {modality: [s]}, for formats that do not say; absent = unknown.
      labels: the sequence of labels, for `csd` only.
      split: CSV with the columns `recording` or `video`, and `partition`; see
        `read_split`.
    """

    name: str = ""
    targets: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    frame_steps: Mapping[str, float] = field(default_factory=dict)
    labels: Path | None = None
    split: Path | None = None


def refuse(options: ConversionOptions, kind: str, *names: str) -> None:
    """Refuses options that a format has no use for.

    Raises:
      CorpusError: one of them is set.
    """
    for name in names:
        if getattr(options, name):
            raise CorpusError(f"--{name} does not apply to {kind} files")


def name_inputs(inputs: Sequence[str]) -> list[tuple[str, Path]]:
    """Reads inputs, each PATH or NAME=PATH, as (name or "", path).

    Raises:
      CorpusError: there is none.
    """
    if not inputs:
        raise CorpusError("no input file is given")
    found = []
    for text in inputs:
        name, equals, path = text.partition("=")
        named = bool(equals) and not Path(text).exists() and "/" not in name
        found.append((name, expand_path(path)) if named else ("", expand_path(text)))
    return found


def parse_frame_steps(entries: Sequence[str]) -> dict[str, float]:
    """Reads frame steps [s], each MODALITY:SECONDS.

    Raises:
      CorpusError: an entry is not such a pair.
    """
    steps = {}
    for entry in entries:
        modality, _, seconds = entry.rpartition(":")
        try:
            step = float(seconds)
        except ValueError:
            step = np.nan
        low, high = FRAME_STEPS
        if not modality or not low <= step <= high:
            reason = "expected MODALITY:SECONDS, such as audio:0.01"
            raise CorpusError(f"frame step {entry!r}; {reason}")
        steps[modality] = step
    return steps


def choose_modalities(
    path: Path, found: Sequence[str], options: ConversionOptions
) -> tuple[str, ...]:
    """Returns the modalities to convert, in the order asked for or found.

    Raises:
      CorpusError: the file has none, or lacks one that is requested or given a step.
    """
    for name in (*options.modalities, *options.frame_steps):
        if name not in found:
            reason = f"there is no modality {name!r}, found {shorten(found) or 'none'}"
            raise CorpusError(reason, path)
    chosen = options.modalities or tuple(found)
    if not chosen:
        raise CorpusError("there is no modality", path)
    return chosen


def read_split(
    path: Path, recording: Sequence[str], video: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Reads the partition of each recording, or of all recordings of a video.

    The file is a CSV with the column `recording` or `video`, and `partition`: train,
    dev (or valid) or test.

    Returns:
      (N,) str, "" where the file does not say, and notes.

    Raises:
      CorpusError: the file is wrong, or names none of the recordings.
    """
    columns = read_columns(path)
    keys = [key for key in SPLIT_KEYS if key in columns]
    if len(keys) != 1:
        reason = f"expected the column 'recording' or 'video', found {columns[:8]}"
        raise CorpusError(reason, path, 1)
    table = read_table(path, (keys[0], "partition"), rest="text")
    require_unique(table, keys[0])
    named = table.text["partition"]
    table.require_none(
        ~np.isin(named, list(PARTITION_NAMES)),
        "partition",
        lambda row: f"{str(named[row])!r}, expected one of {(*PARTITION_NAMES,)}",
    )
    part = dict(zip(table.text[keys[0]].tolist(), named.tolist(), strict=True))
    names = recording if keys[0] == "recording" else video
    found = [PARTITION_NAMES.get(part.get(name, ""), "") for name in names]
    left = [name for name, where in zip(recording, found, strict=True) if not where]
    if len(left) == len(found):
        reason = f"names no {keys[0]} of the input, such as {str(names[0])!r}"
        raise CorpusError(reason, path)
    notes = []
    if left:
        notes.append(
            f"{path} names no partition of {len(left)} of {len(found)} recordings, "
            f"which are left out: {shorten(left)}"
        )
    return np.asarray(found, np.str_), notes
