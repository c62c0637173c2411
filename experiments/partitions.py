"""The partitions of a corpus as arrays, and the room that suits those of every fold."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
from ml_collections import ConfigDict

from ifusion.corpora.corpus import Corpus, rows_of
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.sequences import (
    SequenceOptions,
    sequence_rows,
    training_rows,
)
from ifusion.preprocessing.standardise import (
    Standardizer,
    fit_standardizer,
    iterate_rows,
)
from ifusion.training.options import TrainingOptions


def read_training(section: ConfigDict) -> tuple[TrainingOptions, SequenceOptions]:
    """Splits the section `training` of a config.

    Raises:
      ValueError: an entry makes no sense.
    """
    entries = {k: v for k, v in section.items() if k != "loss"}
    named = [field.name for field in fields(SequenceOptions)]
    sequences = SequenceOptions(**{name: entries.pop(name) for name in named})
    return TrainingOptions(**entries), sequences


def chosen_modalities(section: ConfigDict, corpus: Corpus) -> tuple[str, ...]:
    """Names the modalities of the section `sweep`, in the order of the loss weights.

    Raises:
      ValueError: one is none of the corpus, or twice, or has a name that is taken.
    """
    taken = {"joint", "labels", "dev_score"} & set(
        corpus.modalities
    )  # names of the history
    if taken:
        raise ValueError(f"a modality may not be called {taken.pop()!r}")
    for name in section.modalities:
        if name not in corpus.modalities:
            raise ValueError(
                f"sweep.modalities holds {name!r}; the modalities of {corpus.name!r} "
                f"are {', '.join(corpus.modalities)}"
            )
    if len(set(section.modalities)) < len(section.modalities):
        raise ValueError(f"sweep.modalities repeats a name: {section.modalities}")
    return tuple(section.modalities) or tuple(corpus.modalities)


def find_capacity(
    folds: Mapping[str, Corpus], options: SequenceOptions
) -> dict[str, tuple[int, ...]]:
    """Finds the room that suits every fold, so that all share one compilation.

    Returns:
      {"train": (N, W, T), "dev": (N, T)}.
    """
    train = [training_rows(c, options).shape for c in folds.values()]
    dev = evaluation_room(folds, "dev", options.sequence)
    return {"train": tuple(np.max(train, axis=0).tolist()), "dev": dev}


def evaluation_room(
    folds: Mapping[str, Corpus], partition: str, by: str
) -> tuple[int, int]:
    """Finds the room (N, T) for whole sequences of a partition of every fold."""
    shapes = [sequence_rows(c, partition, by).shape for c in folds.values()]
    count, steps = np.max(shapes, axis=0).tolist()
    if steps > EVALUATION_STEPS:  # which is gone through in parts of equal length
        steps += -steps % EVALUATION_STEPS
    return count, steps


def fit_standardizers(
    corpus: Corpus, modalities: Sequence[str]
) -> dict[str, Standardizer]:
    """Learns the statistics of the train partition (Sec. 4.2)."""
    seen = rows_of(corpus, np.flatnonzero(corpus.partition == "train"))
    return {
        m: fit_standardizer(iterate_rows(corpus.modalities[m], seen))
        for m in modalities
    }
