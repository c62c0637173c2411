"""Sequences for the GRU: rows of a corpus in order, padded to one length, and masked.

Not in the paper: what the GRU runs over on OMG-Emotion. Here an utterance is a sequence
of one step; optionally, a sequence is the utterances of a video, or of any other
attribute, in order. A recording of a time-continuous corpus is one sequence, which is
cut into windows for training.

Axes: N sequences, T time, D steps of labels beyond T, R rows, F features of a modality,
K targets, W windows of a recording.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ifusion.corpora.corpus import (
    JOIN,
    UNLABELLED,
    Corpus,
    CorpusError,
    Frames,
    concatenated_ranges,
    is_unlabelled,
    rows_of,
    shorten,
    unlabelled_rows,
)
from ifusion.corpora.names import in_number_order
from ifusion.preprocessing.ragged import Lengths, Ragged, thin, to_ragged
from ifusion.preprocessing.standardise import Standardizer, iterate_rows, standardise

LONG = 1000  # [frame], more than windows commonly have
KINDS = ("last", "mean", "attention")  # of pooling over steps
DEFAULT_POOLING = "mean"


@dataclass(frozen=True)
class SequenceOptions:
    """What the GRU runs over; not in the paper.

    Attributes:
      sequence: attribute whose values group utterances into sequences, such as "video";
        "" = each utterance, or recording of frames, is a sequence of its own.
      window: [frame] of the windows that training sequences are cut into, 0 = whole
        sequences. Evaluation always runs over whole sequences.
      hop: [frame] from window to window, 0 = as long as the window.
      pooling: where recordings have frames and one label, what it is read from: "last"
        state, "mean" or "attention" over the states of the shared layers, see
        `models.pooling`, or "functionals", mean and standard deviation of each feature;
        "auto" is `DEFAULT_POOLING`.
      max_frames: of such recordings, in each modality; 0 = no limit.
      longer: what to do with recordings of more: "refuse", or "thin", which averages as
        many consecutive frames as it takes.
      carry: whether a window starts with the final hidden state of the previous one
        instead of zero. A minibatch then steps through its recordings in order of time.
    """

    sequence: str = ""
    window: int = 0
    hop: int = 0
    carry: bool = False
    pooling: str = "auto"
    max_frames: int = 0
    longer: str = "refuse"

    def __post_init__(self) -> None:
        """Checks that the options fit together."""
        for name, value, known in (
            ("pooling", self.pooling, (*KINDS, "auto", "functionals")),
            ("longer", self.longer, ("refuse", "thin")),
        ):
            if value not in known:
                raise ValueError(
                    f"training.{name} is {value!r}; expected one of {', '.join(known)}"
                )
        if self.max_frames < 0:
            raise ValueError(
                f"training.max_frames is {self.max_frames}; expected at least 0"
            )
        if self.window < 0:
            raise ValueError(
                f"training.window is {self.window}; expected at least 0 frames"
            )
        if self.hop and not self.window:
            raise ValueError(f"training.hop is {self.hop}, but training.window is 0")
        if self.window and not 0 <= self.hop <= self.window:
            raise ValueError(
                f"training.hop is {self.hop} frames; expected 0 ... {self.window}, the "
                "length of a window, so that no frame is skipped"
            )
        if self.carry and (not self.window or self.hop not in (0, self.window)):
            raise ValueError(
                "training.carry needs windows that follow each other without overlap: "
                f"training.window above 0 (it is {self.window}) and training.hop 0 (it "
                f"is {self.hop})"
            )


class Batch(NamedTuple):
    """Padded sequences: a partition of a corpus, or a minibatch of it.

    Numpy arrays on the host, JAX arrays inside a program.

    Attributes:
      features: {m: (N, T, F_m)} float32, standardised; 0 where padded. On the host
        `Ragged` ones where modalities have steps of their own.
      mask: (N, T) float32, 1 where a step exists. Where recordings have one label, T is
        1: the one step that is answered.
      labels: (N, T + D, K), class indices or values; 0 where missing. The D rows beyond
        the last step hold annotations that lag behind.
      labelled: (N, T + D) float32, 1 where there are labels.
      extras: {name: (N, T + D, K) float32}, facts about each label, such as how far its
        raters disagree.
      steps: {m: (N, T_m)} float32, 1 where a step of a modality exists, 0 throughout
        for a recording that lacks it; {} = `mask`. On the host the lengths of `Ragged`
        features say so.
      lengths: of `Ragged` features; None of others.
    """

    features: Mapping[str, Any]
    mask: Any
    labels: Any
    labelled: Any
    extras: Mapping[str, Any] = {}
    steps: Mapping[str, Any] = {}
    lengths: Lengths | None = None

    @property
    def inputs_mask(self) -> Any:
        """Where inputs exist: `steps` of each modality, or `mask`."""
        return self.steps or self.mask

    def has(self, main: str) -> Any:
        """Where sequences have a main, or one of several joined: (N, 1) bool.

        The others have no answer: no loss, score or choice of the main may count them.
        """
        return reduce(or_, [self._has(m) for m in main.split(JOIN)])

    def _has(self, modality: str) -> Any:
        own = self.features.get(modality)
        if isinstance(own, Ragged):
            return own.lengths[:, None] > 0
        if not self.steps:
            return np.ones((len(self.mask), 1), bool)
        return self.steps[modality].max(axis=1, keepdims=True) > 0


def steps_of(mask: Any, main: str) -> Any:
    """Picks the mask of a main from {m: (B, T_m)}; one (B, T) is of all.

    Joined modalities have common steps, and one that a recording lacks has none.
    """
    if not isinstance(mask, Mapping):
        return mask
    return reduce(jnp.maximum, [mask[m] for m in main.split(JOIN)])


def sequence_rows(corpus: Corpus, partition: str, by: str = "") -> np.ndarray:
    """Lists the rows that make up each sequence of a partition.

    Args:
      corpus: any corpus.
      partition: "train", "dev", "test" or `UNLABELLED`.
      by: attribute whose values group utterances into sequences, in the order of the
        corpus; "" makes every recording a sequence of its own.

    Returns:
      (N, T) int64, rows of the corpus, -1 where padded.

    Raises:
      CorpusError: the corpus has no such attribute, or has frames.
    """
    inside = np.flatnonzero(corpus.partition == partition)
    if not by:
        members = [rows_of(corpus, np.array([i])) for i in inside]
    elif corpus.frame_step is not None:
        raise CorpusError(
            f"training.sequence is {by!r}, but a recording of {corpus.name!r} is a "
            "sequence of frames already; expected ''"
        )
    elif by not in corpus.attributes:
        raise CorpusError(
            f"training.sequence is {by!r}; the attributes of {corpus.name!r} are "
            f"{', '.join(corpus.attributes) or 'none'}"
        )
    else:
        names = corpus.attributes[by][inside]
        members = [inside[names == name] for name in dict.fromkeys(names)]
    rows = np.full((len(members), max(map(len, members), default=0)), -1)
    for row, member in zip(rows, members, strict=True):
        row[: len(member)] = member
    return rows


def order_notes(corpus: Corpus, by: str) -> list[str]:
    """Notes a doubtful order of the utterances that `sequence_rows` joins.

    It is doubtful if their attribute "start" [s] decreases or, without one, if they are
    in order of letters (u1, u10, u2) but not of the numbers in their names.

    Args:
      corpus: any corpus.
      by: as of `sequence_rows`, which refuses unknown attributes.
    """
    if by not in corpus.attributes:
        return []
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(corpus.attributes[by].tolist()):
        groups.setdefault(name, []).append(i)
    times = _numbers(corpus.attributes.get("start"))

    def wrong(members: list[int]) -> bool:
        if times is not None:
            return bool((np.diff(times[members]) < 0).any())
        names = corpus.recording[members].tolist()
        return names == sorted(names) != in_number_order(names)

    found = [(name, rows) for name, rows in groups.items() if wrong(rows)]
    if not found:
        return []
    name, rows = found[0]
    order = "in order of letters" if times is None else "not in order of their start"
    return [
        f"training.sequence joins utterances in the order of the corpus, but those of "
        f"{len(found)} of {len(groups)} values of {by!r} are {order} ({name}: "
        f"{shorten(corpus.recording[rows].tolist(), 4)}); put rows in order of time"
    ]


def _numbers(column: np.ndarray | None) -> np.ndarray | None:
    """Reads a column of text as numbers; None if it holds anything else."""
    try:
        return None if column is None else column.astype(np.float64)
    except ValueError:
        return None


def make_batch(
    corpus: Corpus,
    rows: np.ndarray,
    standardizers: Mapping[str, Standardizer],
    ahead: int = 0,
    extras: Mapping[str, np.ndarray] | None = None,
    target_scale: Standardizer | None = None,
) -> Batch:
    """Gathers sequences of the corpus, standardised.

    Args:
      corpus: any corpus.
      rows: (N, T), of `sequence_rows`.
      standardizers: {m: statistics}, of the modalities to gather.
      ahead: D [frame], of a time-continuous corpus.
      extras: {name: (R, K)}, facts about each label of the corpus.
      target_scale: of `fit_target_scale`; None leaves labels in the user's units.
    """
    exists = rows >= 0
    label_rows = _rows_ahead(corpus, rows, ahead) if ahead else rows
    labels = corpus.labels[label_rows]
    labelled = (label_rows >= 0) & ~is_unlabelled(labels).any(-1)
    if target_scale is not None:
        labels = standardise(target_scale, labels)
    features = {}
    for m, s in standardizers.items():
        gathered = np.zeros((rows.size, len(s.mean)), np.float32)
        places = np.flatnonzero(exists)
        filled = 0
        for chunk in iterate_rows(corpus.modalities[m], rows.ravel()[places]):
            here = places[filled : filled + len(chunk)]
            gathered[here] = standardise(s, chunk)
            filled += len(chunk)
        features[m] = gathered.reshape(*rows.shape, -1)
    steps = {}
    if any((x.lengths == 0).any() for x in corpus.frames.values()):
        steps = {
            m: (exists & (corpus.frames[m].lengths[rows] > 0)).astype(np.float32)
            for m in standardizers
        }
    return Batch(
        features,
        exists.astype(np.float32),
        np.where(labelled[..., None], labels, 0),
        labelled.astype(np.float32),
        {
            name: np.where(labelled[..., None], values[label_rows], 0)
            for name, values in (extras or {}).items()
        },
        steps,
    )


def make_frames_batch(
    corpus: Corpus,
    rows: np.ndarray,
    standardizers: Mapping[str, Standardizer],
    options: SequenceOptions,
    extras: Mapping[str, np.ndarray] | None = None,
    target_scale: Standardizer | None = None,
) -> Batch:
    """Gathers recordings of frames with one label, standardised and not padded.

    Args:
      corpus: with frames.
      rows: (N, 1), of `sequence_rows`, -1 where there is no recording.
      standardizers: {m: statistics of its frames}.
      options: the most frames of a recording.
      extras: as `make_batch` takes them.
      target_scale: likewise.
    """
    batch = make_batch(corpus, rows, {}, 0, extras, target_scale)
    features = {
        m: take_recordings(corpus.frames[m], rows[:, 0], s, options.max_frames)
        for m, s in standardizers.items()
    }
    return batch._replace(features=features)


def take_recordings(
    frames: Frames, recordings: np.ndarray, standardizer: Standardizer, most: int = 0
) -> Ragged:
    """Gathers the frames of recordings (N,), -1 = none, standardised and thinned."""
    there = recordings >= 0
    starts = np.where(there, frames.offsets[recordings], 0)
    lengths = np.where(there, frames.lengths[recordings], 0)
    rows = concatenated_ranges(starts, lengths)
    values = np.empty((len(rows), len(frames.names)), np.float32)
    filled = 0
    for chunk in iterate_rows(frames, rows):
        values[filled : filled + len(chunk)] = standardise(standardizer, chunk)
        filled += len(chunk)
    return thin(to_ragged(values, lengths), most)


def require_frames(corpus: Corpus, options: SequenceOptions) -> list[str]:
    """Checks the frames of recordings against the limit; notes what is thinned.

    Raises:
      ValueError: the limit is below the shortest recording, or a recording is longer
        and may not be thinned.
    """
    most, notes = options.max_frames, []
    for m, frames in corpus.frames.items() if most else ():
        some = np.where(frames.lengths > 0, frames.lengths, np.inf)
        shortest = int(some.argmin())
        if frames.lengths[shortest] > most:
            raise ValueError(
                f"training.max_frames is {most}, but the shortest recording, "
                f"{str(corpus.recording[shortest])!r}, has {frames.lengths[shortest]} "
                f"frames of {m}"
            )
        longer = np.flatnonzero(frames.lengths > most)
        named = shorten(corpus.recording[longer].tolist(), 4)
        if len(longer) and options.longer == "refuse":
            raise ValueError(
                f"training.max_frames is {most}, but {len(longer)} recordings have "
                f"more frames of {m} ({named}); raise it, or set training.longer to "
                "'thin'"
            )
        if len(longer):
            notes.append(
                f"{len(longer)} recordings have more than {most} frames of {m} and are "
                f"thinned, by averaging consecutive frames: {named}"
            )
    return notes


def whole_notes(corpus: Corpus, options: SequenceOptions) -> list[str]:
    """Notes that long recordings of labels over time are trained on uncut."""
    longest = int(np.diff(corpus.offsets).max())
    if corpus.frame_step is None or options.window or longest <= LONG:
        return []
    return [
        f"training.window is 0, so recordings of up to {longest} frames are trained on "
        "whole; the config for labels over time, configs/folder.py:continuous, cuts "
        "them and tries annotation delays"
    ]


def _rows_ahead(corpus: Corpus, rows: np.ndarray, ahead: int) -> np.ndarray:
    """Extends each sequence of frames within its recording: (N, T) -> (N, T + D)."""
    start = rows[:, :1]
    end = corpus.offsets[np.searchsorted(corpus.offsets, start, side="right")]
    extended = start + np.arange(rows.shape[1] + ahead)
    return np.where((start >= 0) & (extended < end), extended, -1)


def training_rows(corpus: Corpus, options: SequenceOptions) -> np.ndarray:
    """Lists the rows that make up each training sequence, window by window.

    Args:
      corpus: any corpus.
      options: how recordings are cut.

    Returns:
      (N, W, T) int64, rows of the corpus, -1 where padded; W = 1 unless the state is
      carried over the windows of a recording. Sequences without any label are left out.

    Raises:
      CorpusError: of `sequence_rows`.
    """
    rows = _cut(corpus, "train", options)
    return rows[_is_labelled(corpus, rows)]


def unlabelled_sequences(corpus: Corpus, options: SequenceOptions) -> np.ndarray:
    """Lists the rows of what `training_rows` leaves out, and of unlabelled recordings.

    Returns:
      (N, W, T) int64, likewise.

    Raises:
      CorpusError: of `sequence_rows`.
    """
    left = _cut(corpus, "train", options)
    left = left[~_is_labelled(corpus, left)]
    others = _cut(corpus, UNLABELLED, options)
    shape = np.maximum(left.shape, others.shape)[1:]
    parts = (pad_rows(rows, len(rows), *shape) for rows in (left, others))
    return np.concatenate(list(parts))


def _is_labelled(corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """Returns which sequences (N, W, T) have a row with a label: (N,) bool."""
    return np.any((rows >= 0) & ~unlabelled_rows(corpus)[rows], axis=(1, 2))


def _cut(corpus: Corpus, partition: str, options: SequenceOptions) -> np.ndarray:
    """Cuts the sequences of a partition into windows: (N, W, T)."""
    rows = sequence_rows(corpus, partition, options.sequence)
    if not options.window:
        return rows[:, None]
    windows = window_rows(rows, options.window, options.hop or options.window)
    if options.carry:
        return windows
    return windows[(windows >= 0).any(-1)][:, None]


def window_rows(rows: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Cuts sequences into windows that together cover every step.

    Not in the paper. A window starts every `hop` steps, until one reaches the end of
    its sequence; the last is padded.

    Args:
      rows: (N, T), of `sequence_rows`.
      length: steps of a window, at least 1.
      hop: steps from window to window, 1 ... length.

    Returns:
      (N, W, length), rows of the corpus, -1 where padded; W is that of the longest
      sequence, and windows that a shorter one does not need are empty.
    """
    steps = rows.shape[1]
    starts = np.arange(0, max(steps - length, 0) + hop, hop)
    room = int(starts[-1]) + length - steps
    padded = np.pad(rows, ((0, 0), (0, max(room, 0))), constant_values=-1)
    windows = padded[:, starts[:, None] + np.arange(length)]
    # a window before the last may have reached the end of a shorter sequence already
    counts = (rows >= 0).sum(1)
    needed = 1 + np.maximum(-(-(counts - length) // hop), 0)
    windows[np.arange(len(starts)) >= needed[:, None]] = -1
    return windows


def pad_rows(rows: np.ndarray, *shape: int) -> np.ndarray:
    """Pads rows with -1 to `shape`, which is at least as large."""
    room = [(0, size - old) for size, old in zip(shape, rows.shape, strict=True)]
    return np.pad(rows, room, constant_values=-1)
