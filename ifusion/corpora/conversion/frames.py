"""Frames of several modalities with one label per recording, and the folder they make.

Axes: N recordings, R rows (steps of all recordings, one recording after another),
F features of a modality, K targets.

The folder is in the open format (`ifusion.corpora.folder`), with `frame_steps`: every
modality keeps its own steps in each recording.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from ifusion.corpora.columns import is_bookkeeping
from ifusion.corpora.corpus import (
    PARTITIONS,
    CorpusError,
    Modality,
    concatenated_ranges,
    require_printable,
    shorten,
)
from ifusion.corpora.folder.labels import KEYS
from ifusion.corpora.folder.writing import (
    Format,
    require_new,
    whole_folder,
    write_csv,
    write_features,
)
from ifusion.corpora.names import FILE_RULE, can_name_file, normalise_names
from ifusion.corpora.tables.checks import as_float32

FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, eq=False)
class Frames:
    """The steps of one modality.

    Attributes:
      names: F feature names.
      values: (R, F) float32, NaN where a feature has no value.
      offsets: (N + 1,) int64, recording i owns rows offsets[i]:offsets[i + 1], which
        may be none.
      step: [s] between rows; None = unknown, or not constant.
      times: (R,) float64 [s] since the recording began; None = 0, step, 2 * step, ...
      lost: number of values that were infinite, or beyond float32, and are NaN here.
    """

    names: tuple[str, ...]
    values: np.ndarray
    offsets: np.ndarray
    step: float | None = None
    times: np.ndarray | None = None
    lost: int = 0


@dataclass(frozen=True, eq=False)
class FrameCorpus:
    """Frames of several modalities, and one label per recording.

    Attributes:
      path: the file that it comes from, for messages.
      name: of the corpus.
      recording: (N,) str, unique.
      partition: (N,) str, each in `PARTITIONS`.
      speaker: (N,) str.
      modalities: {name: frames}.
      targets: K names.
      labels: (N, K) float32, NaN = unlabelled; or (N, 1) str, names of classes.
      classes: in code order; () = regression.
      attributes: {name: (N,) str}, further columns of the recordings.
      citation: whom to cite.
      notes: what was assumed or left out.
    """

    path: Path
    name: str
    recording: np.ndarray
    partition: np.ndarray
    speaker: np.ndarray
    modalities: Mapping[str, Frames]
    targets: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    citation: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "recording", normalise_names(self.recording))
        object.__setattr__(self, "speaker", normalise_names(self.speaker))
        self._check_names()
        self._check_labels()
        object.__setattr__(self, "notes", (*self.notes, *self._gaps()))

    def _check_names(self) -> None:
        unique, counts = np.unique(self.recording, return_counts=True)
        if len(unique) < len(self.recording):
            name = str(unique[counts.argmax()])
            raise CorpusError(f"recording {name!r} occurs more than once", self.path)
        if not len(unique) or "" in unique:
            what = "a recording has no name" if len(unique) else "there is no recording"
            raise CorpusError(what, self.path)
        kinds: dict[str, Sequence[str]] = {
            "recording": unique.tolist(),
            "speaker": self.speaker.tolist(),
            "class": self.classes,
            "target": self.targets,
        }
        for kind, names in kinds.items():
            try:
                require_printable(kind, names)
            except CorpusError as error:
                raise CorpusError(error.reason, self.path) from error
        for name in self.targets:
            if not name or name in KEYS or name != name.strip():
                raise CorpusError(f"target {name!r} cannot be a column", self.path)
        for name, frames in self.modalities.items():
            if not can_name_file(name):
                reason = f"modality {name!r} cannot name a file: {FILE_RULE}"
                raise CorpusError(reason, self.path)
            if not len(frames.values):
                raise CorpusError(f"no recording has a frame of {name}", self.path)

    def _blank(self) -> np.ndarray:
        """Returns which recordings lack a label: (N,) bool."""
        blank = self.labels == "" if self.classes else ~np.isfinite(self.labels)
        return np.asarray(blank.any(1))

    def _check_labels(self) -> None:
        wrong = np.flatnonzero(self._blank() & (self.partition == "dev"))
        if len(wrong):
            names = shorten(self.recording[wrong].tolist())
            reason = f"recordings of dev without a label: {names}"
            raise CorpusError(reason, self.path)

    def _gaps(self) -> list[str]:
        """Says which labels, recordings and values are missing."""
        notes = []
        blank = self.recording[self._blank() & (self.partition == "train")].tolist()
        if blank:
            notes.append(
                f"{len(blank)} recordings of train have no label and count as "
                f"unlabelled: {shorten(blank)}"
            )
        for name, frames in self.modalities.items():
            empty = self.recording[np.diff(frames.offsets) == 0].tolist()
            if empty:
                notes.append(
                    f"{name}: {len(empty)} of {len(self.recording)} recordings have no "
                    f"frame, and no row in the table: {shorten(empty)}"
                )
            missing = int(np.isnan(frames.values).sum())
            if missing:
                lost = f" ({frames.lost} of them infinite)" if frames.lost else ""
                notes.append(
                    f"{name}: {missing} of {frames.values.size} values are missing"
                    f"{lost} and stay missing; read the folder with "
                    "--config.corpus.impute"
                )
        return notes


def join_frames(
    steps: Sequence[np.ndarray],
    names: Sequence[str],
    step: float | None = None,
    times: np.ndarray | None = None,
) -> Frames:
    """Joins the steps of all recordings.

    Args:
      steps: N arrays (t, F) of numbers.
      names: F feature names.
      step: as in `Frames`.
      times: as in `Frames`.
    """
    lengths = [len(values) for values in steps]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    joined = np.empty((int(offsets[-1]), len(names)), np.float32)
    lost = 0
    for start, values in zip(offsets[:-1], steps, strict=True):
        part = joined[start : start + len(values)]
        part[:] = as_float32(values)
        infinite = np.isinf(part)
        part[infinite] = np.nan
        lost += int(infinite.sum())
    return Frames(tuple(names), joined, offsets, step, times, lost)


def number_features(modality: str, count: int) -> list[str]:
    """Names F features that have no names: audio0, audio1, ..."""
    return [f"{modality}{i}" for i in range(count)]


def are_feature_names(names: object, count: int) -> bool:
    """Returns whether F columns with these names would be read back as features."""
    if not isinstance(names, list | tuple) or len(set(map(str, names))) != count:
        return False
    return len(names) == count and all(
        isinstance(name, str)
        and name.strip() == name != ""
        and name not in {*KEYS, "step"}
        and not is_bookkeeping(name)
        for name in names
    )


def describe(corpus: FrameCorpus) -> str:
    """Describes a corpus in one line."""
    counts = [f"{int((corpus.partition == p).sum())} {p}" for p in PARTITIONS]
    parts = [f"{len(corpus.recording)} recordings ({', '.join(counts)})"]
    for name, frames in corpus.modalities.items():
        lengths = np.diff(frames.offsets)
        rate = f" every {frames.step:g} s" if frames.step else ""
        parts.append(
            f"{name} {len(frames.names)} features, {lengths.min()} to {lengths.max()} "
            f"frames{rate}"
        )
    return "; ".join([*parts, f"target {', '.join(corpus.targets)}"])


def write_frames(corpus: FrameCorpus, folder: Path, features: str = "npz") -> None:
    """Writes the folder, whole or not at all.

    Args:
      corpus: any.
      folder: must not exist, or be empty.
      features: format of the feature files, one of `FORMATS`.

    Raises:
      CorpusError: the folder is not empty, or the format unknown.
    """
    if features not in FORMATS:
        raise CorpusError(f"format {features!r}, expected one of {FORMATS}")
    require_new(folder)
    with whole_folder(folder) as part:
        _write_header(corpus, part / "corpus.json")
        columns = {"partition": corpus.partition, "speaker": corpus.speaker}
        recordings = {"recording": corpus.recording, **columns, **corpus.attributes}
        write_csv(part / "recordings.csv", recordings)
        labels = dict(zip(corpus.targets, corpus.labels.T, strict=True))
        write_csv(part / "labels.csv", {"recording": corpus.recording, **labels})
        for name, frames in corpus.modalities.items():
            path = part / "features" / f"{name}.{features}"
            keys = _key_columns(corpus.recording, frames)
            write_features(path, keys, Modality(frames.names, frames.values))


def _write_header(corpus: FrameCorpus, path: Path) -> None:
    header = {
        "name": corpus.name,
        "task": "classification" if corpus.classes else "regression",
        **({"classes": list(corpus.classes)} if corpus.classes else {}),
        "targets": list(corpus.targets),
        "frame_steps": {name: f.step for name, f in corpus.modalities.items()},
        "modalities": {name: len(f.names) for name, f in corpus.modalities.items()},
        "licence": "",
        "citation": corpus.citation,
        "notes": list(corpus.notes),
    }
    text = json.dumps(header, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")


def _key_columns(recording: np.ndarray, frames: Frames) -> dict[str, np.ndarray]:
    lengths = np.diff(frames.offsets)
    keys = {"recording": np.repeat(recording, lengths)}
    steps = concatenated_ranges(np.zeros_like(lengths), lengths)
    if frames.step is None:
        return keys | {"step": steps}
    times = steps * frames.step if frames.times is None else frames.times
    return keys | {"time": np.round(times, 9)}  # to the nanosecond, as write_corpus
