"""What there is to know of a corpus before anything is trained on it.

Axes: N recordings, R rows, F features of a modality.
"""

import hashlib
from weakref import WeakKeyDictionary

import numpy as np

from ifusion.corpora.corpus import (
    CHUNK_ROWS,
    PARTITIONS,
    Corpus,
    natural_order,
    row_partition,
    rows_of,
    shorten,
    unlabelled_rows,
)
from ifusion.corpora.likeness import likeness_warnings
from ifusion.corpora.plausibility import implausible_features, implausible_labels
from ifusion.corpora.timing import step_warnings

# of corpora that are still in use: reading large ones takes seconds
_KNOWN: WeakKeyDictionary[Corpus, tuple[str, ...]] = WeakKeyDictionary()


def corpus_warnings(corpus: Corpus) -> tuple[str, ...]:
    """Lists what is suspicious but allowed, one sentence each.

    Names and recordings that may be one and the same, a frame step that may not be in
    seconds, partitions that share speakers, classes without a recording, unlabelled
    test rows, and features and labels that cannot be right, see `plausibility`.
    """
    if corpus not in _KNOWN:
        _KNOWN[corpus] = _list_warnings(corpus)
    return _KNOWN[corpus]


def _list_warnings(corpus: Corpus) -> tuple[str, ...]:
    return (
        *likeness_warnings(corpus),
        *step_warnings(corpus),
        *_shared_speakers(corpus),
        *_absent_classes(corpus),
        *_unlabelled(corpus),
        *implausible_features(corpus),
        *implausible_labels(corpus),
    )


def opened_warnings(corpus: Corpus) -> tuple[str, ...]:
    """Lists what is suspicious about the labels of test, once test is opened."""
    return tuple(implausible_labels(corpus, test=True))


def fingerprint(corpus: Corpus) -> str:
    """Identifies what lanes are trained and chosen on: a SHA-256 in hexadecimal.

    It covers recordings, attributes, labels, raters and features of train and dev, not
    those of test, so that test labels may arrive later.
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
