"""Adds the recordings of another folder to a corpus, without their labels.

They may be of new speakers, whom a student is adapted to. Not in the paper.
"""

from dataclasses import replace

import numpy as np

from ifusion.corpora.corpus import (
    UNLABELLED,
    Corpus,
    CorpusError,
    FileExtents,
    Modality,
    frame_extents,
    shorten,
)
from ifusion.corpora.likeness import recording_hashes


def with_unlabelled(corpus: Corpus, more: Corpus) -> Corpus:
    """Adds recordings behind the others, as ones of the partition `UNLABELLED`.

    Their labels, ratings and partitions are not used. Attributes that they lack are
    blank; without a fold, they are trained on in every fold.

    Raises:
      CorpusError: modalities, features or steps differ; or a recording has the name or
        all features of one of the corpus, which may be scored.
    """
    _require_alike(corpus, more)
    count, rows = more.num_recordings, more.num_rows
    blank = -1 if corpus.classes else np.nan
    labels = np.full((rows, len(corpus.targets)), blank, corpus.labels.dtype)
    extents = np.concatenate([frame_extents(corpus), frame_extents(more)])
    said = f"{count} recordings of {more.name!r} were added, without labels."
    joined = replace(
        corpus,
        recording=np.append(corpus.recording, more.recording),
        partition=np.append(corpus.partition, np.full(count, UNLABELLED)),
        speaker=np.append(corpus.speaker, more.speaker),
        modalities={
            name: Modality(modality.names, _join(modality, more.modalities[name]))
            for name, modality in corpus.modalities.items()
        },
        frames={
            name: replace(
                frames,
                values=_join(frames, more.frames[name]),
                offsets=_append(frames.offsets, more.frames[name].offsets),
            )
            for name, frames in corpus.frames.items()
        },
        labels=np.concatenate([corpus.labels, labels]),
        offsets=_append(corpus.offsets, more.offsets),
        attributes={
            name: np.append(column, more.attributes.get(name, np.full(count, "")))
            for name, column in corpus.attributes.items()
        },
        raters={
            target: np.pad(ratings, ((0, rows), (0, 0)), constant_values=np.nan)
            for target, ratings in corpus.raters.items()
        },
        files=FileExtents(extents, corpus.files.missing if corpus.files else {}),
        notes=(*corpus.notes, said),
    )
    _require_new(joined, count)
    return joined


def _require_alike(corpus: Corpus, more: Corpus) -> None:
    twice = set(corpus.recording.tolist()) & set(more.recording.tolist())
    if twice:
        raise CorpusError(
            f"recordings of {more.name!r} have names of {corpus.name!r}, which may be "
            f"scored: {shorten(sorted(twice))}; expected others, or other names"
        )
    for name, modality in corpus.modalities.items():
        found = more.modalities.get(name)
        lacking = sorted({*modality.names} - {*found.names}) if found else [name]
        if lacking:
            what = f"features of {name}" if found else "the modality"
            raise CorpusError(f"{more.name!r} lacks {what}: {shorten(lacking)}")
    mine, theirs = _steps(corpus), _steps(more)
    if mine != theirs:
        raise CorpusError(
            f"{more.name!r} has {theirs}; expected {mine}, as {corpus.name!r} has"
        )


def _steps(corpus: Corpus) -> str:
    """Describes what recordings are made of."""
    if corpus.frames:
        each = ", ".join(f"{m} {x.step}" for m, x in sorted(corpus.frames.items()))
        return f"frames with one label per recording (steps [s]: {each})"
    if corpus.frame_step is not None:
        return f"labels every {corpus.frame_step:g} s"
    return "one row per recording"


def _require_new(joined: Corpus, count: int) -> None:
    """Checks that none of the last recordings has all features of one before them."""
    hashes = recording_hashes(joined)
    same = np.isin(hashes[-count:], hashes[:-count])
    if same.any():
        raise CorpusError(
            "recordings to be added without labels are in the corpus already, by all "
            f"of their features: {shorten(joined.recording[-count:][same])}; expected "
            "none that may be scored"
        )


def _join(mine: Modality, theirs: Modality) -> np.ndarray:
    """Joins values, in the order of the features of the first."""
    places = {name: place for place, name in enumerate(theirs.names)}
    columns = [places[name] for name in mine.names]
    return np.concatenate([mine.values, theirs.values[:, columns]])


def _append(offsets: np.ndarray, more: np.ndarray) -> np.ndarray:
    return np.append(offsets, offsets[-1] + more[1:])
