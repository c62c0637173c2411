"""What there is to know about a corpus before training.

Axes: N recordings, R rows, F features of a modality.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import combinations, permutations
from weakref import WeakKeyDictionary

import numpy as np

from ifusion.corpora.corpus import (
    CHUNK_ROWS,
    PARTITIONS,
    UNLABELLED,
    Corpus,
    Modality,
    natural_order,
    row_partition,
    rows_of,
    shorten,
    unlabelled_rows,
)
from ifusion.corpora.likeness import likeness_warnings
from ifusion.corpora.names import BLANKS
from ifusion.corpora.plausibility import implausible_features, implausible_labels
from ifusion.corpora.timing import step_warnings

# for corpora in use, since reading large ones takes seconds
_KNOWN: WeakKeyDictionary[Corpus, tuple[str, ...]] = WeakKeyDictionary()

NUMBERED = re.compile(r"\D{0,12}\d+")  # names such as f7, which say nothing


def corpus_warnings(corpus: Corpus) -> tuple[str, ...]:
    """Lists what is suspicious but allowed, one sentence each.

    Names and recordings that may be duplicates, a frame step that may not be in
    seconds, partitions that share speakers, classes without recordings, unlabelled test
    rows, features and labels that cannot be right (see `plausibility`), and modalities
    that seem to come from one file.
    """
    if corpus not in _KNOWN:
        _KNOWN[corpus] = (
            *likeness_warnings(corpus),
            *step_warnings(corpus),
            *_shared_speakers(corpus),
            *_absent_classes(corpus),
            *_unlabelled(corpus),
            *implausible_features(corpus),
            *implausible_labels(corpus),
            *_same_modalities(corpus),
        )
    return _KNOWN[corpus]


def unlabelled_notes(corpus: Corpus, partition: np.ndarray) -> list[str]:
    """Notes recordings of train without a label, which may be an oversight.

    `partition` (N,) str is as the files of the corpus have it.
    """
    train = partition == "train"
    blank = train & (corpus.partition == UNLABELLED)
    if not blank.any():
        return []
    return [
        f"{blank.sum()} of {train.sum()} recordings of train have no label and count "
        f"as unlabelled: {shorten(corpus.recording[blank])}"
    ]


def missing_notes(corpus: Corpus) -> list[str]:
    """Notes how many recordings of frames lack a modality."""
    said = []
    for m, frames in corpus.frames.items():
        counts = []
        for partition in (*PARTITIONS, UNLABELLED):
            lacking = frames.lengths[corpus.partition == partition] == 0
            if lacking.any():
                counts.append(f"{lacking.sum()} of {len(lacking)} {partition}")
        if counts:
            said.append(f"without {m}: {', '.join(counts)}")
    if not said:
        return []
    return [f"recordings {'; '.join(said)}; they count for what they have"]


def opened_warnings(corpus: Corpus) -> tuple[str, ...]:
    """Lists what is suspicious about the labels of test, once test is opened."""
    return tuple(implausible_labels(corpus, test=True))


def fingerprint(corpus: Corpus) -> str:
    """Identifies the data that lanes are trained and chosen on: a hexadecimal SHA-256.

    It covers recordings, attributes, labels, raters and features of train and dev, not
    those of test, so that test labels may arrive later.
    """
    chosen = np.flatnonzero(corpus.partition != "test")
    rows = rows_of(corpus, chosen)
    digest = hashlib.sha256()

    def add(values: object) -> None:
        digest.update(repr(values).encode() + b"\0")

    def add_values(values: np.ndarray) -> None:
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())

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
            add_values(values[rows[start : start + CHUNK_ROWS]])
    for m, frames in corpus.frames.items():
        add((m, *frames.names, frames.lengths[chosen].tolist()))
        for i in chosen:
            add_values(frames.values[frames.offsets[i] : frames.offsets[i + 1]])
    return digest.hexdigest()


def _shared_speakers(corpus: Corpus) -> Iterator[str]:
    for a, b in combinations(PARTITIONS, 2):
        one, other = (set(corpus.speaker[corpus.partition == p]) for p in (a, b))
        names = natural_order(x for x in one & other if x.lower() not in BLANKS)
        if names:
            yield (
                f"Speakers in both {a} and {b}: {shorten(names)}; scores may be too "
                "good."
            )


def _absent_classes(corpus: Corpus) -> Iterator[str]:
    # not in test, whose labels stay closed until it is opened
    for partition in ("train", "dev") if corpus.classes else ():
        labels = corpus.labels[row_partition(corpus) == partition]
        absent = [c for i, c in enumerate(corpus.classes) if i not in labels]
        if absent and (labels >= 0).any():
            yield f"No {partition} recording is labelled {shorten(absent)}."


def _unlabelled(corpus: Corpus) -> Iterator[str]:
    for name in ("train", "test") if corpus.hiding is None else ("test",):
        missing = unlabelled_rows(corpus)[row_partition(corpus) == name]
        if missing.any():
            yield f"{missing.sum()} of {len(missing)} {name} rows have no label."


def _same_modalities(corpus: Corpus) -> Iterator[str]:
    """Finds modalities that may be one file, or each other's, by values and names."""
    for (a, x), (b, _) in permutations(corpus.modalities.items(), 2):
        if (
            len(b) > 2
            and all(n.lower().startswith(b.lower()) for n in x.names)
            and not any(n.lower().startswith(a.lower()) for n in x.names)
        ):
            yield (
                f"all {len(x.names)} features of {a} are named after {b} "
                f"({x.names[0]}, ...): are the files exchanged?"
            )
    for (a, x), (b, y) in combinations(corpus.modalities.items(), 2):
        telling = not all(NUMBERED.fullmatch(name) for name in x.names)
        same = "values" if _same_values(x, y) else ""
        if not same and telling and set(x.names) == set(y.names):
            same = "names"
        if same:
            yield (
                f"{a} and {b} have the same {same} in all {len(x.names)} features: is "
                "one a copy of the other?"
            )


def _same_values(x: Modality, y: Modality) -> bool:
    """Returns whether all values agree; the first chunk mostly shows if they do not."""
    a, b = x.values, y.values
    return a.shape == b.shape and all(
        np.array_equal(a[i : i + CHUNK_ROWS], b[i : i + CHUNK_ROWS], equal_nan=True)
        for i in range(0, len(a), CHUNK_ROWS)
    )
