"""Frames of several modalities with one label per recording, as a `Corpus`.

Axes: N recordings, r frames of all of them, F features of a modality, K targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.columns import is_bookkeeping
from ifusion.corpora.corpus import (
    LEFT_OUT,
    PARTITIONS,
    Corpus,
    CorpusError,
    Frames,
    shorten,
    with_recordings,
)
from ifusion.corpora.description import unlabelled_notes
from ifusion.corpora.folder.labels import KEYS
from ifusion.corpora.functionals import pool_frames
from ifusion.corpora.tables.checks import as_float32


class Joined(NamedTuple):
    """The frames of a modality in all recordings."""

    frames: Frames
    lost: int  # values that were infinite, or beyond float32, and are NaN


def join_frames(
    steps: Sequence[np.ndarray], names: Sequence[str], step: float | None = None
) -> Joined:
    """Joins the frames of N recordings, (t, F) each.

    `names` are those of the F features; the step [s] is None if it is not known.
    """
    lengths = [len(values) for values in steps]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    joined = np.full((int(offsets[-1]), len(names)), np.nan, np.float32)
    lost = 0
    for start, values in zip(offsets[:-1], steps, strict=True):
        part = joined[start : start + len(values)]
        part[:] = as_float32(values)
        infinite = np.isinf(part)
        part[infinite] = np.nan
        lost += int(infinite.sum())
    return Joined(Frames(tuple(names), joined, offsets, step), lost)


def make_corpus(
    path: Path,
    modalities: Mapping[str, Joined],
    partition: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...] = (),
    notes: Sequence[str] = (),
    **fields: Any,
) -> Corpus:
    """Makes a corpus, whose notes say what is missing.

    Args:
      path: the file that it comes from, for messages.
      modalities: {name: frames}.
      partition: (N,) str.
      labels: (N, K) float32, NaN = unlabelled; or (N, 1) str, names of classes.
      classes: in code order; () = regression.
      notes: what was assumed or left out.
      **fields: further fields of `Corpus`.

    Raises:
      CorpusError: of `Corpus`, or a modality has no frame.
    """
    frames = {name: joined.frames for name, joined in modalities.items()}
    for name, own in frames.items():
        if not own.lengths.any():
            raise CorpusError(f"no recording has a frame of {name}", path)
    some = np.any([own.lengths > 0 for own in frames.values()], axis=0)
    if classes:
        labels = pd.Index(classes).get_indexer(pd.Index(labels[:, 0]))[:, None]
    try:
        corpus = Corpus(
            modalities={name: pool_frames(x) for name, x in frames.items()},
            frames=frames,
            partition=np.where(some, partition, LEFT_OUT),
            labels=labels,
            classes=classes,
            **fields,
        )
    except CorpusError as error:
        raise CorpusError(error.reason, path) from error
    said = [*notes]
    if not some.all():
        said.append(
            f"{(~some).sum()} of {len(some)} recordings have no frame and are left "
            f"out: {shorten(corpus.recording[~some])}"
        )
        corpus = with_recordings(corpus, some)
    said += unlabelled_notes(corpus, partition[some])
    for name, own in corpus.frames.items():
        absent, lost = own.lengths == 0, modalities[name].lost
        if absent.any():
            said.append(
                f"{name}: {absent.sum()} of {len(absent)} recordings have no frame, "
                f"and no row in the table: {shorten(corpus.recording[absent])}; "
                "read the folder with --config.corpus.missing=mask"
            )
        missing = int(np.isnan(own.values).sum())
        if missing:
            infinite = f" ({lost} of them infinite)" if lost else ""
            said.append(
                f"{name}: {missing} of {own.values.size} values are missing{infinite} "
                "and stay missing; read the folder with --config.corpus.impute"
            )
    return replace(corpus, notes=tuple(said))


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


def describe(corpus: Corpus) -> str:
    """Describes a corpus of frames in one line."""
    counts = [f"{int((corpus.partition == p).sum())} {p}" for p in PARTITIONS]
    parts = [f"{len(corpus.recording)} recordings ({', '.join(counts)})"]
    for name, frames in corpus.frames.items():
        least, most = frames.lengths.min(), frames.lengths.max()
        rate = f" every {frames.step:g} s" if frames.step else ""
        parts.append(
            f"{name} {len(frames.names)} features, {least} to {most} frames{rate}"
        )
    return "; ".join([*parts, f"target {', '.join(corpus.targets)}"])
