"""Gathers a fold as arrays, to fit systems on and to score their predictions.

Axes: N sequences, T time, R rows (utterances or frames), K targets, P recordings.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from ifusion.corpora.corpus import (
    JOIN,
    UNLABELLED,
    Frames,
    Modality,
    row_partition,
    rows_of,
)
from ifusion.corpora.splits import cluster_column
from ifusion.experiment.study import Study, evaluation_room
from ifusion.preprocessing.disagreement import UNCERTAINTY, rater_disagreement
from ifusion.preprocessing.ragged import measure_lengths, pad_recordings, reorder
from ifusion.preprocessing.sequences import (
    Batch,
    make_batch,
    make_frames_batch,
    pad_rows,
    sequence_rows,
    training_rows,
    unlabelled_sequences,
)
from ifusion.preprocessing.standardise import (
    Standardizer,
    fit_clipped,
    fit_standardizer,
    fit_target_scale,
    iterate_rows,
)
from ifusion.systems.system import Fold
from ifusion.training.stream import Blocks


class Partition(NamedTuple):
    """A partition of a fold as whole sequences, with its labels.

    Attributes:
      fold: name of the fold.
      name: "dev", "test" or `UNLABELLED`.
      features: {m: (N, T, F_m)}, standardised; `Ragged` for frames with one label.
      mask: (N, T), 1 where a step, or an output, exists.
      labels: (R, K) of the existing steps; -1 or NaN if unlabelled.
      offsets: (P + 1,), recording i owns rows offsets[i]:offsets[i + 1].
      recordings: P rows: recording, and the column of the clusters.
      rows: (R,), their numbers in the corpus.
      has: {m: (R,) bool}, recordings of frames that have a modality; {} = all.
    """

    fold: str
    name: str
    features: Mapping[str, Any]
    mask: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    recordings: pd.DataFrame
    rows: np.ndarray
    has: Mapping[str, np.ndarray] = {}

    def having(self, main: str) -> "Partition":
        """Keeps the recordings that have a main, or one of several joined.

        Only these are predicted and scored.
        """
        if not self.has:
            return self
        kept = np.any([self.has[m] for m in main.split(JOIN)], axis=0)
        if kept.all():
            return self
        rows = np.flatnonzero(kept)  # a recording of frames is one row and sequence
        return self._replace(
            features={m: reorder(x, rows) for m, x in self.features.items()},
            mask=self.mask[rows],
            labels=self.labels[rows],
            offsets=np.arange(len(rows) + 1),
            recordings=self.recordings.iloc[rows].reset_index(drop=True),
            rows=self.rows[rows],
            has={m: there[rows] for m, there in self.has.items()},
        )


def fit_standardizers(study: Study, fold: str) -> dict[str, Standardizer]:
    """Learns the statistics of the train partition of a fold (Sec. 4.2)."""
    corpus, features = study.folds[fold], study.features(fold)
    training = study.options.training
    parts = ("train",) if training.standardise == "labelled" else ("train", UNLABELLED)
    seen = np.flatnonzero(np.isin(corpus.partition, parts))

    def fit(modality: Modality) -> Standardizer:
        rows = rows_of(modality if isinstance(modality, Frames) else corpus, seen)
        if training.clip:
            return fit_clipped(modality, rows, training.clip)
        return fit_standardizer(iterate_rows(modality, rows))

    return {m: fit(features[m]) for m in study.protocol.modalities}


def target_scale_of(study: Study, fold: str) -> Standardizer | None:
    """Learns how the targets of a fold are scaled, see `fit_target_scale`."""
    corpus = study.folds[fold]
    if corpus.classes:
        return None
    train = corpus.labels[row_partition(corpus) == "train"]
    return fit_target_scale(train, study.options.training.target_scale)


MakeBatch = Callable[[np.ndarray, str], Batch]  # (rows (N, T), partition) -> batch


def gather_fold(
    study: Study,
    name: str,
    standardizers: Mapping[str, Standardizer],
    target_scale: Standardizer | None,
) -> Fold:
    """Gathers the arrays that systems are fitted on; settings are chosen later."""
    make = _batch_maker(study, name, standardizers, target_scale)
    corpus, sequences = study.folds[name], study.options.sequences
    streamed = bool(study.protocol.block_bytes)
    train_rows = training_rows(corpus, sequences)
    whole_rows = sequence_rows(corpus, "train", sequences.sequence)
    dev_rows = sequence_rows(corpus, "dev", sequences.sequence)

    def pad(rows: np.ndarray, partition: str) -> np.ndarray:
        room = study.protocol.capacity[partition]
        return pad_rows(rows, *room).reshape(-1, room[-1])

    train: Batch | Blocks
    unlabelled, num_unlabelled, origins = None, 0, None
    if streamed:
        train = _blocks(study, make, pad(train_rows, "train"))
    else:
        train = make(pad(train_rows, "train"), "train")
        origins = _places(whole_rows, corpus.num_rows)[train_rows[:, 0, 0]]
        if UNLABELLED in study.protocol.capacity:
            rows = unlabelled_sequences(corpus, sequences)
            unlabelled = make(pad(rows, UNLABELLED), UNLABELLED)
            num_unlabelled = len(rows)
    recordings = np.searchsorted(corpus.offsets, whole_rows[:, 0], side="right") - 1
    _, speakers = np.unique(corpus.speaker[recordings], return_inverse=True)
    return Fold(
        train=train,
        dev=make(pad(dev_rows, "dev"), "dev"),
        num_sequences=len(train_rows),
        whole=make(whole_rows[:1] if streamed else whole_rows, "train"),
        speakers=speakers,
        settings={},
        origins=origins,
        unlabelled=unlabelled,
        num_unlabelled=num_unlabelled,
    )


def _batch_maker(
    study: Study,
    name: str,
    standardizers: Mapping[str, Standardizer],
    target_scale: Standardizer | None,
) -> MakeBatch:
    """Builds what makes batches of a fold, with the disagreement of raters."""
    corpus, sequences = study.folds[name], study.options.sequences
    # systems that read train in blocks need neither raters nor whole sequences
    streamed = bool(study.protocol.block_bytes)
    disagreement = None if streamed else rater_disagreement(corpus)
    if disagreement is not None and target_scale is not None:
        disagreement = (disagreement / target_scale.std).astype(np.float32)
    extras = {} if disagreement is None else {UNCERTAINTY: disagreement}

    def make(rows: np.ndarray, partition: str) -> Batch:
        if not study.over_frames:
            return make_batch(
                corpus, rows, standardizers, study.ahead, extras, target_scale
            )
        batch = make_frames_batch(
            corpus, rows, standardizers, sequences, extras, target_scale
        )
        assert study.room is not None
        room = study.room.steps[partition]
        features = {
            m: pad_recordings(x, len(rows), room[m]) for m, x in batch.features.items()
        }
        groups = study.room.groups if partition == "dev" else ()
        lengths = measure_lengths(features, study.protocol.buckets, groups)
        return batch._replace(features=features, lengths=lengths)

    return make


def gather_partition(
    study: Study, fold: str, name: str, standardizers: Mapping[str, Standardizer]
) -> Partition:
    """Gathers a partition of a fold as whole sequences."""
    corpus, by = study.folds[fold], study.options.sequences.sequence
    room = evaluation_room(study.folds, name, by)
    rows = pad_rows(sequence_rows(corpus, name, by), *room)
    if study.over_frames:
        sequences = study.options.sequences
        batch = make_frames_batch(corpus, rows, standardizers, sequences)
    else:
        batch = make_batch(corpus, rows, standardizers)
    there = rows[rows >= 0]
    first = np.isin(there, corpus.offsets[:-1])  # where a recording begins
    recordings = np.searchsorted(corpus.offsets, there[first])
    cluster = study.options.evaluation.cluster
    return Partition(
        fold=fold,
        name=name,
        features=batch.features,
        mask=np.asarray(batch.mask),
        labels=corpus.labels[there],
        offsets=np.append(np.flatnonzero(first), len(there)),
        recordings=pd.DataFrame(
            {
                "recording": corpus.recording[recordings],
                cluster: cluster_column(corpus, cluster)[recordings],
            }
        ),
        rows=there,
        has={m: x.lengths[there] > 0 for m, x in corpus.frames.items()},
    )


def _blocks(study: Study, make: MakeBatch, rows: np.ndarray) -> Blocks:
    """Reads train in blocks while lanes train."""

    def take(numbers: np.ndarray) -> Batch:
        exists = (numbers >= 0)[:, None]
        return make(np.where(exists, rows[numbers], -1), "train")

    size = sum(x.nbytes for x in jax.tree.leaves(take(np.zeros(1, np.int64))))
    sweep, block = study.options.sweep, study.protocol.block_bytes
    seeds = len({*sweep.seeds, *sweep.tuning_seeds})
    least = seeds * study.protocol.training.batch_size * size
    if least > block:
        raise ValueError(
            f"sweep.block_mib is {block / 2**20:.3g}, but one minibatch for each of "
            f"{seeds} seeds takes {least / 2**20:.3g} MiB; set at least that, or lower "
            "training.batch_size or training.window"
        )
    return Blocks(take, len(rows), size, block)


def _places(rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Finds sequence and step of each row of the corpus: (num_rows, 2), -1 if none."""
    places = np.full((num_rows, 2), -1)
    sequences, steps = np.nonzero(rows >= 0)
    places[rows[sequences, steps]] = np.stack([sequences, steps], axis=1)
    return places
