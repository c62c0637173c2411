"""The splits of a corpus, its own or one per fold, and their summary in corpus.json.

Axis: N recordings.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import (
    LEFT_OUT,
    PARTITIONS,
    UNLABELLED,
    Corpus,
    CorpusError,
    has_labels,
    natural_order,
    require_file_name,
    require_partitions,
    require_printable,
    rows_of,
    shorten,
    with_partition,
)
from ifusion.corpora.description import corpus_warnings, fingerprint
from ifusion.corpora.hiding import hide_labels
from ifusion.corpora.names import BLANKS, FILE_RULE, can_name_file
from ifusion.corpora.provenance import provenance_of

FIXED = "fixed"  # the fold that is the corpus's own split
# columns of tables of predictions, which an attribute of that name would shadow
RESERVED = (
    "fold",
    "main",
    "target",
    "alpha",
    "seed",
    "partition",
    "label",
    "prediction",
    "processing",
    "frames",
    "label_mean",
    "prediction_mean",
    "label_variance",
    "prediction_variance",
    "covariance",
)


def split_corpus(corpus: Corpus, cross_validate: bool) -> dict[str, Corpus]:
    """Returns the corpus under each split: its own, called `FIXED`, or one per fold.

    Labels that the corpus says to hide are hidden. With `Hiding.adapt` there is a split
    for each fold and value of that attribute, called fold-value.

    Raises:
      CorpusError: train or dev is empty, the corpus has no folds, a recording is in
        none, or a fold cannot give its name to a folder.
    """
    if not cross_validate:
        require_partitions(corpus)
        if corpus.hiding is not None and corpus.hiding.adapt:
            raise CorpusError(
                f"corpus.adapt is {corpus.hiding.adapt!r}, which needs the folds of "
                "cross-validation; with one split, put new recordings into the "
                f"partition {UNLABELLED!r}"
            )
        return {FIXED: hide_labels(corpus)}
    names = fold_names(corpus)
    require_printable("fold", names)
    for name in names:
        require_file_name("fold", name)
    if len({name.casefold() for name in names}) < len(names):
        raise CorpusError(
            f"two of the folds {names} differ only in case; spell each fold in one way"
        )
    partitions = {name: fold_partition(corpus, name) for name in names}
    if corpus.hiding is not None and corpus.hiding.adapt:
        attribute = corpus.hiding.adapt
        partitions = _adapt(corpus, partitions, attribute)
        said = (
            f"Recordings of test speakers with another {attribute} than those that are "
            "scored are trained on without their labels (corpus.adapt)."
        )
        corpus = replace(corpus, notes=(*corpus.notes, said))
    return {
        name: hide_labels(with_partition(corpus, partition))
        for name, partition in partitions.items()
    }


def _adapt(
    corpus: Corpus, partitions: Mapping[str, np.ndarray], attribute: str
) -> dict[str, np.ndarray]:
    """Splits test of each fold: one value of an attribute is scored, others not."""
    if attribute not in corpus.attributes:
        raise CorpusError(
            f"corpus.adapt is {attribute!r}; the attributes of {corpus.name!r} are "
            f"{', '.join(corpus.attributes) or 'none'}"
        )
    column = corpus.attributes[attribute]
    values = natural_order(column)
    if len(values) < 2 or not all(map(can_name_file, values)):
        raise CorpusError(
            f"corpus.adapt is {attribute!r}, whose values are {shorten(values)}; "
            f"expected two or more, and {FILE_RULE}"
        )
    found = {}
    for fold, partition in partitions.items():
        for value in values:
            apart = (partition == "test") & (column != value)
            found[f"{fold}-{value}"] = np.where(apart, UNLABELLED, partition)
    return found


def fold_names(corpus: Corpus) -> tuple[str, ...]:
    """Lists the folds of attribute "fold" in natural order.

    Raises:
      CorpusError: the corpus has no such attribute, it is blank for a recording that is
        not of the partition `UNLABELLED`, or there are fewer than three folds.
    """
    if "fold" not in corpus.attributes:
        raise CorpusError(
            f"corpus {corpus.name!r} has no column 'fold', which cross-validation needs"
        )
    column = corpus.attributes["fold"]
    blank = _is_blank(column)
    wrong = blank & (corpus.partition != UNLABELLED)
    if wrong.any():
        raise CorpusError(
            f"{wrong.sum()} recordings have no fold "
            f"({shorten(corpus.recording[wrong])}); give each one, or leave them out",
            column="fold",
        )
    names = natural_order(column[~blank])
    if len(names) < 3:
        raise CorpusError(
            f"corpus {corpus.name!r} has the folds {names}, expected three or more "
            "(held out, dev, train)"
        )
    return names


def fold_partition(corpus: Corpus, fold: str) -> np.ndarray:
    """Splits a corpus for cross-validation: (N,) str.

    Not in the paper: the held-out fold is test, the next one (cyclic) is dev, so that
    alpha and the epoch are chosen on recordings that are neither trained on nor scored.
    Unlabelled recordings are trained on where their fold is, or always if they have
    none; otherwise they are left out, like those of dev that lack a label.

    Raises:
      CorpusError: the corpus has no folds, or none of that name.
    """
    names = fold_names(corpus)
    if fold not in names:
        raise CorpusError(f"fold {fold!r} is not one of the folds {names}")
    dev = names[(names.index(fold) + 1) % len(names)]
    column, apart = corpus.attributes["fold"], corpus.partition == UNLABELLED
    split = np.where(column == fold, "test", np.where(column == dev, "dev", "train"))
    held_out = (split != "train") & ~_is_blank(column)
    split = np.where(apart, np.where(held_out, LEFT_OUT, UNLABELLED), split)
    return np.where((split == "dev") & ~has_labels(corpus), LEFT_OUT, split)


def _is_blank(column: np.ndarray) -> np.ndarray:
    return np.array([name.lower() in BLANKS for name in column.tolist()], bool)


def warnings_of(
    folds: Mapping[str, Corpus],
    warnings: Callable[[Corpus], Iterable[str]] = corpus_warnings,
) -> list[str]:
    """Lists the warnings of all splits; similar ones only for the first split.

    Two are similar if they differ in numbers, or in what they list after a colon. A
    warning that not all splits give names its fold.
    """
    found: dict[str, list[str]] = {}
    given = {fold: list(warnings(corpus)) for fold, corpus in folds.items()}
    for fold, sentences in given.items():
        mine: dict[str, list[str]] = {}
        for sentence in sentences:
            own = [f"{m}: " for m in folds[fold].modalities]
            about = next(filter(sentence.startswith, own), "")
            kind = about + sentence.removeprefix(about).split(": ")[0]
            whole = all(sentence in others for others in given.values())
            said = sentence if whole else f"fold {fold}: {sentence}"
            mine.setdefault(re.sub(r"\d+", "", kind), []).append(said)
        found = mine | found
    return [sentence for sentences in found.values() for sentence in sentences]


def cluster_column(corpus: Corpus, name: str) -> np.ndarray:
    """Returns the column whose values count as independent draws: (N,) str.

    It is the recording, the speaker or an attribute that is not `RESERVED`.

    Raises:
      CorpusError: the corpus has no such column.
    """
    columns = {"recording": corpus.recording, "speaker": corpus.speaker}
    columns |= {k: v for k, v in corpus.attributes.items() if k not in RESERVED}
    if name not in columns:
        raise CorpusError(
            f"evaluation.cluster is {name!r}; the columns of {corpus.name!r} are "
            f"{', '.join(columns)}"
        )
    require_printable(name, columns[name])
    return columns[name]


def summarise_corpus(folds: Mapping[str, Corpus]) -> dict[str, Any]:
    """Describes a corpus and its splits for JSON; test with counts only."""
    corpus = next(iter(folds.values()))
    return {
        "name": corpus.name,
        "task": corpus.task,
        "classes": list(corpus.classes),
        "targets": list(corpus.targets),
        "frame_step": corpus.frame_step,
        **({} if corpus.neutral is None else {"neutral": corpus.neutral}),
        "licence": corpus.licence,
        "citation": corpus.citation,
        "notes": list(corpus.notes),
        "warnings": warnings_of(folds),
        "features": {m: len(x.names) for m, x in corpus.modalities.items()},
        "provenance": provenance_of(corpus),
        "fingerprints": {fold: fingerprint(split) for fold, split in folds.items()},
        "partitions": {
            fold: {
                p: _summarise(split, p)
                for p in (*PARTITIONS, UNLABELLED)
                if p != UNLABELLED or p in split.partition
            }
            for fold, split in folds.items()
        },
    }


def require_unchanged(
    known: Mapping[str, Any], folds: Mapping[str, Corpus], path: Path | str
) -> None:
    """Checks that a corpus is still the one whose `summarise_corpus` is known.

    Messages name the path of the file that it was read from.

    Raises:
      CorpusError: recordings, labels or features of train or dev have changed.
    """
    for fold, split in folds.items():
        if known["fingerprints"].get(fold) != fingerprint(split):
            raise CorpusError(
                f"recordings, labels or features of train or dev (fold {fold}) have "
                "changed since the run was started",
                path,
            )


def _summarise(corpus: Corpus, partition: str) -> dict[str, Any]:
    inside = corpus.partition == partition
    summary: dict[str, Any] = {
        "recordings": int(inside.sum()),
        "speakers": len(set(corpus.speaker[inside])),
    }
    if corpus.frame_step is not None:
        summary["frames"] = int(np.diff(corpus.offsets)[inside].sum())
    if partition in ("test", UNLABELLED):
        return summary
    labels = corpus.labels[rows_of(corpus, np.flatnonzero(inside))]
    if corpus.classes:
        summary["classes"] = {
            name: int((labels == k).sum()) for k, name in enumerate(corpus.classes)
        }
    else:
        columns = zip(corpus.targets, labels.T.astype(np.float64), strict=True)
        known = ((name, column[~np.isnan(column)]) for name, column in columns)
        summary["targets"] = {
            name: {"mean": float(column.mean()), "sd": float(column.std())}
            for name, column in known
        }
    return summary
