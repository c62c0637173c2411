"""The corpus: recordings, the features of each modality, and what is to be predicted.

Axes: N recordings, R rows (utterances, or frames of all recordings one after another),
F features of a modality, K targets, A raters.

Utterance-level corpora (Sec. 4.1.1) have one row a recording. Time-continuous corpora
(Sec. 4.1.2) have `frame_step` and own the rows `offsets[i]:offsets[i + 1]` for
recording i. Features are float32 and may be a `numpy.memmap`; nothing here reads them
as a whole.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

PARTITIONS = ("train", "dev", "test")
JOIN = "+"  # between modalities that are named together
# attributes that place a recording's rows in its files, see `frame_extents`
EXTENT = ("first_frame", "files_from", "files_to")
CHUNK_ROWS = 16384  # rows looked at together, so that a memory map stays on disk


class CorpusError(ValueError):
    """What is wrong with a user's data, in one sentence."""


@dataclass(frozen=True, eq=False)
class Modality:
    """The features f_m of one modality.

    Attributes:
      names: F feature names, unique.
      values: (R, F) float32, read-only. NaN where a feature has no value.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        object.__setattr__(self, "values", _read_only(self.values, np.float32))
        _require(
            self.values.ndim == 2 and self.values.shape[1] == len(self.names) > 0,
            f"features of shape {self.values.shape} have {len(self.names)} names, "
            "expected (rows, one or more features) and a name for each feature",
        )
        _require_names("feature", self.names)


@dataclass(frozen=True, eq=False)
class Corpus:
    """An immutable, structurally valid corpus.

    Attributes:
      name: what reports call it.
      recording: (N,) str, unique.
      partition: (N,) str, each in `PARTITIONS`.
      speaker: (N,) str.
      modalities: {name: features}, in the order given.
      targets: K names; a classification has one, for example ("emotion",).
      labels: (R, K). Classification: int32 index into `classes`, -1 = unlabelled;
        regression: float32, NaN = unlabelled. Only the test partition may have
        unlabelled rows.
      classes: class names in code order; () = regression.
      frame_step: [s] between rows of a recording; None = row i is recording i.
      offsets: (N + 1,) int64, recording i owns rows offsets[i]:offsets[i + 1]. Leave
        empty where row i is recording i.
      attributes: further columns of the recordings, each (N,), always text:
        "video" (rows of one video are in order of time), "fold", ...
      raters: {target: (R, A) float32}, one column a rater, NaN where a rater gave
        nothing; for a classification the class index. Ratings of quantities that are no
        target are welcome.
      licence: what the user may do with the data.
      citation: whom to cite.
      notes: what a reader wants the user to know.
      left_out: {partition: names} of recordings that a reader knows of and left out,
        since a file is missing.
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
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._freeze()
        self._check_recordings()
        self._check_rows()
        self._check_labels()

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
            put(name, _read_only(getattr(self, name), np.str_))
        for name in ("targets", "classes", "notes"):
            put(name, tuple(str(value) for value in getattr(self, name)))
        offsets = self.offsets if len(self.offsets) else range(self.num_recordings + 1)
        put("offsets", _read_only(offsets, np.int64))
        put("labels", _read_only(self.labels, np.int32 if self.classes else np.float32))
        put("modalities", MappingProxyType(dict(self.modalities)))
        put("left_out", MappingProxyType(dict(self.left_out)))
        for name, dtype in (("attributes", np.str_), ("raters", np.float32)):
            columns = {k: _read_only(v, dtype) for k, v in getattr(self, name).items()}
            put(name, MappingProxyType(columns))

    def _check_recordings(self) -> None:
        _require(self.num_recordings > 0, "there are no recordings")
        _require_names("recording", self.recording)
        columns = {
            "partition": self.partition,
            "speaker": self.speaker,
            **self.attributes,
        }
        for name, column in columns.items():
            _require(
                column.shape == (self.num_recordings,),
                f"column {name!r} has shape {column.shape}, "
                f"expected one value for each of {self.num_recordings} recordings",
            )
        unknown = np.flatnonzero(~np.isin(self.partition, PARTITIONS))
        if len(unknown):
            raise CorpusError(
                f"recording {str(self.recording[unknown[0]])!r} has partition "
                f"{str(self.partition[unknown[0]])!r}, expected one of {PARTITIONS}"
            )
        _require(
            not {"recording", "partition", "speaker"} & set(self.attributes),
            "attributes may not be called recording, partition or speaker",
        )

    def _check_rows(self) -> None:
        _require(bool(self.modalities), "there is no modality")
        for name, modality in self.modalities.items():
            _require(
                name and not name.startswith(".") and not {"/", "\\"} & set(name),
                f"modality {name!r} cannot name a file; expected a name without / and "
                "\\ that does not begin with a dot",
            )
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
            f"offsets do not cut {self.num_rows} rows into {self.num_recordings} "
            "recordings of one or more rows",
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
                f"class indices reach from {self.labels.min()} to {self.labels.max()}, "
                f"expected -1 (unlabelled) to {len(self.classes) - 1}",
            )
        else:
            _require(not np.isinf(self.labels).any(), "a label is infinite")
        missing = unlabelled_rows(self) & (row_partition(self) != "test")
        if missing.any():
            first = np.searchsorted(self.offsets, missing.argmax(), side="right") - 1
            raise CorpusError(
                f"recording {str(self.recording[first])!r} of partition "
                f"{str(self.partition[first])!r} has no label; only the test partition "
                "may lack labels"
            )
        for name, ratings in self.raters.items():
            shape = (self.num_rows, self.num_raters)
            _require(
                ratings.shape == shape,
                f"ratings of {name!r} have shape {ratings.shape}, expected {shape}",
            )

    @property
    def num_raters(self) -> int:
        """A, 0 where the corpus has only its gold standard."""
        return next((r.shape[-1] for r in self.raters.values()), 0)


def row_partition(corpus: Corpus) -> np.ndarray:
    """Repeats the partition of a recording for each of its rows: (R,) str."""
    return np.repeat(corpus.partition, np.diff(corpus.offsets))


def unlabelled_rows(corpus: Corpus) -> np.ndarray:
    """Says which rows lack a label of any target: (R,) bool."""
    return np.any(is_unlabelled(corpus.labels), axis=1)


def is_unlabelled(labels: np.ndarray) -> np.ndarray:
    """Tells where there is none: class indices or values, of any shape."""
    return labels < 0 if labels.dtype == np.int32 else np.isnan(labels)


def rows_of(corpus: Corpus, indices: np.ndarray) -> np.ndarray:
    """Lists the rows of some recordings, one recording after another.

    Args:
      corpus: any corpus.
      indices: (n,) int, positions of recordings.

    Returns:
      (r,) int64, rows in the order of `indices`.
    """
    return concatenated_ranges(
        corpus.offsets[indices], np.diff(corpus.offsets)[indices]
    )


def concatenated_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Joins range(start, start + length) of each pair: (n,), (n,) -> (sum,) int64."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)


def whole_extents(offsets: np.ndarray) -> np.ndarray:
    """Extents of recordings of which nothing was cut: (N + 1,) -> (N, 3) int64."""
    lengths = np.diff(offsets)
    return np.stack([np.zeros_like(lengths), np.zeros_like(lengths), lengths], axis=1)


def frame_extents(corpus: Corpus) -> np.ndarray:
    """Says where the rows of each recording lie in its files, whose ends may be cut.

    Returns:
      (N, 3) int64 [frame]: the first row; the first frame of the files, and the one
      after their last. Those of attributes `EXTENT`; without them nothing was cut.

    Raises:
      CorpusError: the attributes are no whole numbers.
    """
    if not set(EXTENT) <= set(corpus.attributes):
        return whole_extents(corpus.offsets)
    columns = [corpus.attributes[name] for name in EXTENT]
    try:
        return np.stack([column.astype(np.int64) for column in columns], axis=1)
    except ValueError as error:
        raise CorpusError(
            f"the attributes {EXTENT} of corpus {corpus.name!r} hold something else "
            "than whole numbers [frame]"
        ) from error


def with_partition(corpus: Corpus, partition: np.ndarray) -> Corpus:
    """Returns the corpus under another split, for example of `fold_partition`.

    Args:
      corpus: any corpus.
      partition: (N,) str, each in `PARTITIONS`.

    Raises:
      CorpusError: train or dev is empty, or has unlabelled recordings.
    """
    split = replace(corpus, partition=partition)
    require_partitions(split)
    return split


def with_targets(corpus: Corpus, targets: Sequence[str]) -> Corpus:
    """Returns the corpus with some of its targets alone, in the order given."""
    columns = [corpus.targets.index(target) for target in targets]
    if len(columns) == len(corpus.targets) and columns == sorted(columns):
        return corpus
    return replace(corpus, targets=tuple(targets), labels=corpus.labels[:, columns])


def require_partitions(corpus: Corpus) -> None:
    """Refuses a corpus that nothing can be trained or selected on.

    Raises:
      CorpusError: train or dev is empty.
    """
    for partition in ("train", "dev"):
        _require(
            partition in corpus.partition,
            f"corpus {corpus.name!r} has no recording in partition {partition!r}, "
            "expected at least one",
        )


def fold_names(corpus: Corpus) -> tuple[str, ...]:
    """Lists the folds of attribute "fold", numbers in order of size, else by letter.

    Raises:
      CorpusError: there is no such attribute, or it names fewer than three folds.
    """
    _require(
        "fold" in corpus.attributes,
        f"corpus {corpus.name!r} has no column 'fold', which cross-validation needs",
    )
    names = natural_order(corpus.attributes["fold"])
    _require(
        len(names) >= 3,
        f"corpus {corpus.name!r} has the folds {names}, expected three or more "
        "(held out, dev, train)",
    )
    return names


def fold_partition(corpus: Corpus, fold: str) -> np.ndarray:
    """Splits for cross-validation: (N,) str.

    Not in the paper: the held-out fold is test, the next one (cyclic) is dev, so that
    alpha and the epoch are chosen on recordings that are neither trained on nor scored.

    Raises:
      CorpusError: there are no folds, or none of that name.
    """
    names = fold_names(corpus)
    _require(fold in names, f"fold {fold!r} is none of the folds {names}")
    dev = names[(names.index(fold) + 1) % len(names)]
    column = corpus.attributes["fold"]
    return np.where(column == fold, "test", np.where(column == dev, "dev", "train"))


def corpus_warnings(corpus: Corpus) -> tuple[str, ...]:
    """Says what is suspicious but allowed, one sentence each.

    Partitions that share speakers, classes without a recording, unlabelled test rows,
    and features that are constant, missing or partly missing in train.
    """
    return (
        *_shared_speakers(corpus),
        *_absent_classes(corpus),
        *_unlabelled(corpus),
        *_poor_features(corpus),
    )


def fingerprint(corpus: Corpus) -> str:
    """Identifies what lanes are trained and chosen on: a SHA-256 in hexadecimal.

    It covers the recordings and their attributes, labels, raters and features of train
    and dev. Test is left out, so that labels which arrive later change nothing.
    """
    chosen = np.flatnonzero(corpus.partition != "test")
    rows = rows_of(corpus, chosen)
    digest = hashlib.sha256()

    def add(values: object) -> None:
        digest.update(repr(values).encode() + b"\0")

    columns = (corpus.recording, corpus.partition, corpus.speaker)
    for column in (*columns, np.diff(corpus.offsets), *corpus.attributes.values()):
        add(column[chosen].tolist())
    add((corpus.targets, corpus.classes, corpus.frame_step, tuple(corpus.attributes)))
    arrays: list[tuple[tuple[str, ...], np.ndarray]] = [((), corpus.labels)]
    arrays += [((name,), ratings) for name, ratings in corpus.raters.items()]
    arrays += [((m, *x.names), x.values) for m, x in corpus.modalities.items()]
    for names, values in arrays:
        add(names)
        for start in range(0, len(rows), CHUNK_ROWS):
            part = values[rows[start : start + CHUNK_ROWS]]
            digest.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def natural_order(values: Iterable[str]) -> tuple[str, ...]:
    """Sorts distinct names: as numbers if all are digits, else by letter."""
    names = {str(value) for value in values}
    digits = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda n: (int(n) if digits else 0, n)))


def shorten(names: Iterable[str], most: int = 8) -> str:
    """Joins names for a sentence and says how many were left out."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _shared_speakers(corpus: Corpus) -> list[str]:
    speakers = {p: set(corpus.speaker[corpus.partition == p]) for p in PARTITIONS}
    pairs = [("train", "dev"), ("train", "test"), ("dev", "test")]
    shared = {(a, b): natural_order(speakers[a] & speakers[b]) for a, b in pairs}
    return [
        f"Partitions {a} and {b} share {len(names)} speakers ({shorten(names)}): "
        "scores may be too good."
        for (a, b), names in shared.items()
        if names
    ]


def _absent_classes(corpus: Corpus) -> list[str]:
    sentences = []
    # not of test, whose labels stay closed until it is opened
    for partition in ("train", "dev") if corpus.classes else ():
        labels = corpus.labels[row_partition(corpus) == partition]
        absent = [c for i, c in enumerate(corpus.classes) if i not in labels]
        if absent and (labels >= 0).any():
            sentences.append(f"No {partition} recording is labelled {shorten(absent)}.")
    return sentences


def _unlabelled(corpus: Corpus) -> list[str]:
    count = int(unlabelled_rows(corpus).sum())
    total = int((row_partition(corpus) == "test").sum())
    return [f"{count} of {total} test rows have no label."] if count else []


def _poor_features(corpus: Corpus) -> list[str]:
    train = row_partition(corpus) == "train"
    sentences = []
    for name, modality in corpus.modalities.items():
        low, high, missing = _train_range(modality.values, train)
        kinds = {
            "constant in train (kept, scaled to 0)": low == high,
            "without any value in train": missing == train.sum(),
            "with missing values in train": (missing > 0) & (missing < train.sum()),
        }
        for what, where in kinds.items():
            names = [modality.names[i] for i in np.flatnonzero(where)]
            if names:
                sentences.append(
                    f"{name}: {len(names)} features are {what}: {shorten(names)}."
                )
    return sentences


def _train_range(
    values: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds least value, greatest value and number of NaNs of each feature: (F,)."""
    low = np.full(values.shape[1], np.inf, np.float32)
    high, missing = -low, np.zeros(values.shape[1], np.int64)
    for start in range(0, len(values), CHUNK_ROWS):
        part = values[start : start + CHUNK_ROWS][train[start : start + CHUNK_ROWS]]
        low = np.fmin(low, np.fmin.reduce(part, initial=np.inf))
        high = np.fmax(high, np.fmax.reduce(part, initial=-np.inf))
        missing += np.isnan(part).sum(0)
    return low, high, missing


def _read_only(values: object, dtype: type) -> np.ndarray:
    """Views an array as one of the type that cannot be written; copies only if cast."""
    array = np.asarray(values)
    array = array.astype(dtype, copy=False) if array.dtype != dtype else array
    view = array.view()
    view.flags.writeable = False
    return view


def _require_names(kind: str, names: Iterable[str]) -> None:
    array = np.asarray(list(names), np.str_)
    _require(array.ndim == 1 and bool((array != "").all()), f"a {kind} has no name")
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < len(array):
        name = str(unique[counts.argmax()])
        raise CorpusError(f"{kind} {name!r} occurs more than once")


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise CorpusError(sentence)
