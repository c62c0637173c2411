"""The corpus: recordings, the features of each modality, and what is to be predicted.

Axes: N recordings, R rows (utterances, or frames of all recordings one after another),
F features of a modality, K targets, A raters.

Utterance-level corpora (Sec. 4.1.1) have one row per recording. Time-continuous corpora
(Sec. 4.1.2) have `frame_step` and own the rows `offsets[i]:offsets[i + 1]` for
recording i. Features are float32 and may be a `numpy.memmap`; nothing here reads them
as a whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ifusion.corpora.names import (
    FILE_RULE,
    can_name_file,
    find_fault,
    normalise,
    normalise_names,
)
from ifusion.terminal import printable

PARTITIONS = ("train", "dev", "test")
UNLABELLED = "unlabelled"  # the partition of what is trained on without a label
LEFT_OUT = "left out"  # of what a fold neither trains on nor scores
JOIN = "+"  # between modalities that are named together
CHUNK_ROWS = 16384  # rows processed together, so that a memory map stays on disk


class CorpusError(ValueError):
    """What is wrong with a user's data, and where.

    The message is composed from these, for example
    "features/audio.csv, row 12, column loudness: 'abc' is not a number".

    Attributes:
      reason: what is wrong, in one sentence.
      file: where, if it is in a file.
      row: as the user counts it: a line of a text file, header included, else a record
        counted from 1.
      column: its name, or that of an array of the file.
    """

    def __init__(
        self,
        reason: str,
        file: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        self.reason, self.row, self.column = reason, row, column
        self.file = None if file is None else Path(file)
        places = {"": file, "row ": row, "column ": column}
        where = [f"{kind}{p}" for kind, p in places.items() if p is not None]
        sentence = ": ".join([*filter(None, [", ".join(where)]), reason])
        super().__init__(printable(sentence))


@dataclass(frozen=True, eq=False)
class Modality:
    """The features f_m of one modality.

    Attributes:
      names: F feature names, unique.
      values: (R, F) float32, read-only. NaN where a feature has no value.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def __repr__(self) -> str:
        return f"Modality({len(self.names)} features, {len(self.values)} rows)"

    def __post_init__(self) -> None:
        names = tuple(normalise(str(name)) for name in self.names)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "values", _read_only(self.values, np.float32))
        _require(
            self.values.ndim == 2 and self.values.shape[1] == len(self.names) > 0,
            f"features of shape {self.values.shape} have {len(self.names)} names, "
            "expected (rows, 1 or more features) and a name for each feature",
        )
        _require_names("feature", self.names)

    @cached_property
    def row_hashes(self) -> np.ndarray:
        """(R,) uint64, equal where all features of two rows are; read once."""
        rng = np.random.default_rng(0)  # the same odd weights each time
        weights = rng.integers(0, 2**64, len(self.names), np.uint64) | np.uint64(1)
        hashes = np.empty(len(self.values), np.uint64)
        rows = -(-(2**20) // len(self.names))  # a few MB at a time
        for start in range(0, len(hashes), rows):
            part = np.ascontiguousarray(self.values[start : start + rows])
            hashes[start : start + len(part)] = part.view(np.uint32) @ weights
        return hashes


@dataclass(frozen=True)
class Hiding:
    """Which labels are hidden, to study a corpus as if it had few.

    Attributes:
      share: of the labels of train that are kept, in 0 ... 1.
      draw: number of the random draw.
      by: "clip" keeps that share of each speaker's clips, over time of the minutes;
        "speaker" keeps all clips of that share of the speakers.
      adapt: attribute such as "sentence" that splits each fold: test recordings of one
        value are scored, those of the others are trained on, without their labels; ""
        = none are.
    """

    share: float = 1.0
    draw: int = 0
    by: str = "clip"
    adapt: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(
                f"corpus.labelled is {self.share}; expected above 0, at most 1"
            )
        if not isinstance(self.draw, int) or self.draw < 0:
            raise ValueError(f"corpus.draw is {self.draw}; expected 0, 1, ...")
        if self.by not in ("clip", "speaker"):
            raise ValueError(
                f"corpus.labelled_by is {self.by!r}; expected 'clip' or 'speaker'"
            )


@dataclass(frozen=True, eq=False)
class Frames(Modality):
    """The frames of a modality, where a recording has one label.

    Attributes:
      names: F feature names, unique.
      values: (r, F) float32, read-only, recording after recording.
      offsets: (N + 1,) int64, recording i owns frames offsets[i]:offsets[i + 1]; one
        that lacks the modality has none.
      step: [s] between frames; None = not known.
    """

    offsets: np.ndarray
    step: float | None = None

    def __repr__(self) -> str:
        return f"Frames({len(self.names)} features, {len(self.values)} frames)"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "offsets", _read_only(self.offsets, np.int64))
        _require(
            self.offsets.ndim == 1
            and len(self.offsets) > 1
            and self.offsets[0] == 0
            and self.offsets[-1] == len(self.values)
            and bool((np.diff(self.offsets) >= 0).all()),
            f"offsets do not split {len(self.values)} frames into recordings",
        )
        _require(
            self.step is None or (np.isfinite(self.step) and self.step > 0),
            f"step is {self.step}, expected a positive number [s]",
        )

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, frames of each recording."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class FileExtents:
    """What the files of a corpus hold beyond its rows, whose ends a reader may cut.

    Prediction files for the organisers of a challenge need every recording, and every
    frame of its files, however much of them the corpus could use.

    Attributes:
      frames: (N, 3) int64 [frame] for each recording: its first row, the first frame of
        its files, and the frame after their last.
      missing: {partition: recordings} that are not in the corpus because they lack a
        file.
    """

    frames: np.ndarray
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Corpus:
    """An immutable, structurally valid corpus.

    All names are normalised: composed Unicode (NFC), without outer blanks. Names of
    recordings, speakers, targets, classes and modalities hold no control characters and
    are not spreadsheet formulas, since tables and terminals show them as they are.

    Attributes:
      name: shown in reports.
      recording: (N,) str, unique.
      partition: (N,) str, each in `PARTITIONS`, `UNLABELLED` or `LEFT_OUT`. A train
        recording without any label becomes `UNLABELLED`, whose labels are blanked.
      speaker: (N,) str.
      modalities: {name: features}, in the order given.
      frames: {name: frames of a modality}, where recordings have one label and
        modalities frames of their own, whose functionals are the features; {} = none.
        A recording that is not left out has some of one modality or more.
      targets: K names; a classification has one, for example ("emotion",).
      labels: (R, K). Classification: int32 index into `classes`, -1 = unlabelled;
        regression: float32, NaN = unlabelled. All rows of dev must be labelled.
      classes: class names in code order; () = regression.
      frame_step: [s] between rows of a recording; None = row i is recording i.
      offsets: (N + 1,) int64, recording i owns rows offsets[i]:offsets[i + 1]. Leave
        it empty if row i is recording i.
      attributes: {name: (N,) str}, further columns of the recordings: "video" (rows of
        one video are in order of time), "fold", ...
      raters: {target: (R, A) float32}, one column per rater, NaN = not rated; for a
        classification the class index. Quantities that are not targets may be rated
        too.
      licence: what the user may do with the data.
      citation: whom to cite.
      notes: what the reader of the corpus wants the user to know.
      source: {"kind", ...}, with which `readers.open_corpus` reads the corpus again; {}
        for a corpus made in Python.
      files: what the recordings' files hold beyond these rows; None = nothing.
      neutral: for sentiment, the value between negative and positive; None = the
        targets are something else.
      hiding: labels that are hidden once the corpus is split; None = none.
      provenance: {modality: extractor, version and options of its features}, see
        `ifusion.corpora.provenance`; {} = not known.
    """

    name: str
    recording: np.ndarray
    partition: np.ndarray
    speaker: np.ndarray
    modalities: Mapping[str, Modality]
    targets: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    frame_step: float | None = None
    offsets: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    raters: Mapping[str, np.ndarray] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    files: FileExtents | None = None
    neutral: float | None = None
    frames: Mapping[str, Frames] = field(default_factory=dict)
    hiding: Hiding | None = None
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = {p: int((self.partition == p).sum()) for p in PARTITIONS}
        widths = {name: len(m.names) for name, m in self.modalities.items()}
        return (
            f"Corpus(name={self.name!r}, task={self.task!r}, targets={self.targets}, "
            f"recordings={counts}, modalities={widths})"
        )

    def __post_init__(self) -> None:
        self._freeze()
        self._check_recordings()
        self._check_rows()
        self._check_labels()
        self._set_unlabelled_apart()

    @property
    def task(self) -> str:
        """Either "classification" or "regression"."""
        return "classification" if self.classes else "regression"

    @property
    def num_recordings(self) -> int:
        """N."""
        return len(self.recording)

    @property
    def num_rows(self) -> int:
        """R, utterances or frames."""
        return len(self.labels)

    def _freeze(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        for name in ("recording", "partition", "speaker"):
            put(name, _read_names(getattr(self, name)))
        for name in ("targets", "classes"):
            put(name, tuple(normalise(str(value)) for value in getattr(self, name)))
        put("notes", tuple(str(value) for value in self.notes))
        offsets = self.offsets if len(self.offsets) else range(self.num_recordings + 1)
        put("offsets", _read_only(offsets, np.int64))
        put("labels", _read_only(self.labels, np.int32 if self.classes else np.float32))
        columns: dict[str, dict[str, Any]] = {
            "modalities": dict(self.modalities),
            "frames": dict(self.frames),
            "attributes": {k: _read_names(v) for k, v in self.attributes.items()},
            "raters": {k: _read_only(v, np.float32) for k, v in self.raters.items()},
        }
        for kind, mapping in columns.items():
            named = {normalise(str(key)): value for key, value in mapping.items()}
            _require(
                len(named) == len(mapping),
                f"two of the {kind} {tuple(mapping)} have the same name",
            )
            put(kind, MappingProxyType(named))

    def _check_recordings(self) -> None:
        _require(self.num_recordings > 0, "the corpus has no recordings")
        _require_names("recording", self.recording)
        require_printable("speaker", self.speaker)
        _require(
            not {"recording", "partition", "speaker"} & set(self.attributes),
            "no attribute may be called recording, partition or speaker",
        )
        columns = {"partition": self.partition, "speaker": self.speaker}
        for name, column in {**columns, **self.attributes}.items():
            _require(
                column.shape == (self.num_recordings,),
                f"column {name!r} has shape {column.shape}, "
                f"expected one value for each of {self.num_recordings} recordings",
            )
        known = (*PARTITIONS, UNLABELLED)
        unknown = np.flatnonzero(~np.isin(self.partition, (*known, LEFT_OUT)))
        if len(unknown):
            raise CorpusError(
                f"recording {str(self.recording[unknown[0]])!r} has partition "
                f"{str(self.partition[unknown[0]])!r}, expected one of {known}"
            )
        _require(
            self.files is None or self.files.frames.shape == (self.num_recordings, 3),
            "files.frames does not have three entries for each recording",
        )

    def _check_rows(self) -> None:
        _require(bool(self.modalities), "the corpus has no modality")
        require_printable("modality", self.modalities)
        _require(
            len({name.casefold() for name in self.modalities}) == len(self.modalities),
            f"the modalities {tuple(self.modalities)} differ only in case, expected "
            "names of different files",
        )
        for name, modality in self.modalities.items():
            require_file_name("modality", name)
            _require(
                len(modality.values) == self.num_rows,
                f"modality {name!r} has {len(modality.values)} rows, "
                f"the labels have {self.num_rows}",
            )
        _require(
            len(self.offsets) == self.num_recordings + 1
            and self.offsets[0] == 0
            and self.offsets[-1] == self.num_rows
            and bool((np.diff(self.offsets) > 0).all()),
            f"offsets do not split {self.num_rows} rows into {self.num_recordings} "
            "recordings of one or more rows",
        )
        if self.frames:
            _require(
                self.frames.keys() == self.modalities.keys(),
                f"there are frames of {tuple(self.frames)}, expected of each modality, "
                f"{tuple(self.modalities)}",
            )
            _require(
                self.frame_step is None,
                "there are frames of recordings with one label, and a frame_step of "
                "labels over time; expected one of them",
            )
            for name, frames in self.frames.items():
                _require(
                    len(frames.lengths) == self.num_recordings,
                    f"modality {name!r} has frames of {len(frames.lengths)} "
                    f"recordings, expected {self.num_recordings}",
                )
            some = np.any([x.lengths > 0 for x in self.frames.values()], axis=0)
            lost = self.recording[~some & (self.partition != LEFT_OUT)]
            _require(
                not len(lost),
                f"recordings have no frame of any modality: {shorten(lost)}; leave "
                "them out",
            )
        if self.frame_step is None:
            _require(
                self.num_rows == self.num_recordings,
                f"{self.num_rows} rows for {self.num_recordings} recordings need a "
                "frame_step",
            )
        else:
            _require(
                np.isfinite(self.frame_step) and self.frame_step > 0,
                f"frame_step is {self.frame_step}, expected a positive number [s]",
            )

    def _check_labels(self) -> None:
        _require_names("target", self.targets)
        _require(
            len(self.targets) > 0 and self.labels.shape[1:] == (len(self.targets),),
            f"labels have shape {self.labels.shape}, expected one column for each of "
            f"the targets {self.targets}",
        )
        if self.classes:
            _require_names("class", self.classes)
            _require(len(self.targets) == 1, "a classification has one target")
            _require(
                self.labels.min() >= -1 and self.labels.max() < len(self.classes),
                f"class indices range from {self.labels.min()} to {self.labels.max()}, "
                f"expected -1 (unlabelled) to {len(self.classes) - 1}",
            )
        else:
            _require(not np.isinf(self.labels).any(), "a label is infinite")
        _require(
            self.neutral is None or not (self.classes or np.isnan(self.neutral)),
            f"neutral is {self.neutral}, expected a value of a regression",
        )
        missing = unlabelled_rows(self) & (row_partition(self) == "dev")
        if missing.any():
            first = np.searchsorted(self.offsets, missing.argmax(), side="right") - 1
            raise CorpusError(
                f"recording {str(self.recording[first])!r} of partition 'dev' has no "
                "label; recordings of dev need them, to choose by"
            )
        for name, ratings in self.raters.items():
            shape = (self.num_rows, self.num_raters)
            _require(
                ratings.shape == shape,
                f"ratings of {name!r} have shape {ratings.shape}, expected {shape}",
            )

    def _set_unlabelled_apart(self) -> None:
        blank = (self.partition == "train") & ~has_labels(self)
        apart = blank | (self.partition == UNLABELLED)
        if blank.any():
            partition = np.where(blank, UNLABELLED, self.partition)
            object.__setattr__(self, "partition", _read_names(partition))
        rows = np.repeat(apart, np.diff(self.offsets))
        if not is_unlabelled(self.labels[rows]).all():
            kind, nothing = (np.int32, -1) if self.classes else (np.float32, np.nan)
            labels = np.where(rows[:, None], nothing, self.labels)
            object.__setattr__(self, "labels", _read_only(labels, kind))

    @property
    def num_raters(self) -> int:
        """A, 0 if the corpus has only its gold standard."""
        return next((r.shape[-1] for r in self.raters.values()), 0)


def row_partition(corpus: Corpus) -> np.ndarray:
    """Returns the partition of each row: (R,) str."""
    return np.repeat(corpus.partition, np.diff(corpus.offsets))


def unlabelled_rows(corpus: Corpus) -> np.ndarray:
    """Returns which rows lack a label of one target or more: (R,) bool."""
    return np.any(is_unlabelled(corpus.labels), axis=1)


def has_labels(corpus: Corpus) -> np.ndarray:
    """Returns which recordings have a row with a label of every target: (N,) bool."""
    return np.logical_or.reduceat(~unlabelled_rows(corpus), corpus.offsets[:-1])


def has_unlabelled(corpus: Corpus) -> bool:
    """Returns whether recordings are trained on without a label, or will be."""
    return corpus.hiding is not None or UNLABELLED in corpus.partition


def is_unlabelled(labels: np.ndarray) -> np.ndarray:
    """Returns where class indices or values, of any shape, are missing."""
    return labels < 0 if labels.dtype == np.int32 else np.isnan(labels)


def frame_extents(corpus: Corpus) -> np.ndarray:
    """Returns `FileExtents.frames` of a corpus, (N, 3); its own rows if it has none."""
    if corpus.files is not None:
        return corpus.files.frames
    lengths = np.diff(corpus.offsets)
    return np.stack([np.zeros_like(lengths), np.zeros_like(lengths), lengths], axis=1)


def missing_recordings(corpus: Corpus, partition: str) -> tuple[str, ...]:
    """Names the recordings of a partition that are left out for lack of a file."""
    return () if corpus.files is None else corpus.files.missing.get(partition, ())


def rows_of(corpus: Corpus | Frames, indices: np.ndarray) -> np.ndarray:
    """Returns the rows, or frames, of recordings in this order: (n,) -> (r,) int64."""
    lengths = np.diff(corpus.offsets)[indices]
    return concatenated_ranges(corpus.offsets[indices], lengths)


def concatenated_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Joins range(start, start + length) of each pair: (n,), (n,) -> (sum,) int64."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)


def with_recordings(corpus: Corpus, kept: np.ndarray) -> Corpus:
    """Returns the corpus with some of its recordings only, given by (N,) bool."""
    chosen = np.flatnonzero(kept)
    rows = rows_of(corpus, chosen)
    return replace(
        corpus,
        recording=corpus.recording[chosen],
        partition=corpus.partition[chosen],
        speaker=corpus.speaker[chosen],
        modalities={
            m: Modality(x.names, x.values[rows]) for m, x in corpus.modalities.items()
        },
        frames={
            m: replace(
                x,
                values=x.values[rows_of(x, chosen)],
                offsets=np.append(0, np.cumsum(x.lengths[chosen])),
            )
            for m, x in corpus.frames.items()
        },
        labels=corpus.labels[rows],
        offsets=np.append(0, np.cumsum(np.diff(corpus.offsets)[chosen])),
        attributes={k: column[chosen] for k, column in corpus.attributes.items()},
        raters={k: ratings[rows] for k, ratings in corpus.raters.items()},
        files=None,
    )


def with_partition(corpus: Corpus, partition: np.ndarray) -> Corpus:
    """Returns the corpus under another split, (N,) str, as that of `fold_partition`.

    Raises:
      CorpusError: train or dev is empty, or dev has unlabelled recordings.
    """
    split = replace(corpus, partition=partition)
    require_partitions(split)
    return split


def with_targets(corpus: Corpus, targets: Sequence[str]) -> Corpus:
    """Returns the corpus with these of its targets only, in this order."""
    columns = [corpus.targets.index(target) for target in targets]
    if len(columns) == len(corpus.targets) and columns == sorted(columns):
        return corpus
    return replace(corpus, targets=tuple(targets), labels=corpus.labels[:, columns])


def require_partitions(corpus: Corpus) -> None:
    """Checks that there are recordings to train on and to select on.

    Raises:
      CorpusError: train or dev is empty.
    """
    for partition in ("train", "dev"):
        labelled = " with a label" if UNLABELLED in corpus.partition else ""
        _require(
            partition in corpus.partition,
            f"corpus {corpus.name!r} has no recording{labelled} in partition "
            f"{partition!r}, expected at least one",
        )


def natural_order(values: Iterable[str]) -> tuple[str, ...]:
    """Sorts distinct names: as numbers if all are digits, else alphabetically."""
    names = {str(value) for value in values}
    digits = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda n: (int(n) if digits else 0, n)))


def shorten(names: Iterable[str], most: int = 8) -> str:
    """Joins names for a message, with the number of those left out."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def require_file_name(kind: str, name: str, path: Path | None = None) -> None:
    """Checks that a file or folder can have a name.

    Raises:
      CorpusError: it cannot.
    """
    if not can_name_file(name):
        raise CorpusError(f"{kind} {name!r} cannot name a file: {FILE_RULE}", path)


def require_printable(kind: str, names: Iterable[str]) -> None:
    """Checks that names can be shown by terminals, reports and spreadsheets.

    Raises:
      CorpusError: a name holds a control character, or is a formula.
    """
    found = find_fault(names)
    if found:
        raise CorpusError(f"{kind} {found[0]!r} {found[1]}; rename it")


def _read_only(values: object, dtype: type) -> np.ndarray:
    """Returns a read-only view of an array; copies it only to change its type."""
    view: np.ndarray = np.asarray(values).astype(dtype, copy=False).view()
    view.flags.writeable = False
    return view


def _read_names(names: object) -> np.ndarray:
    return _read_only(normalise_names(_read_only(names, np.str_)), np.str_)


def _require_names(kind: str, names: Iterable[str]) -> None:
    names = list(names)
    if kind != "feature":  # no table of a report holds names of features
        require_printable(kind, names)
    array = np.asarray(names, np.str_)
    _require(array.ndim == 1 and bool((array != "").all()), f"a {kind} has no name")
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < len(array):
        name = str(unique[counts.argmax()])
        raise CorpusError(f"{kind} {name!r} occurs more than once")


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise CorpusError(sentence)
