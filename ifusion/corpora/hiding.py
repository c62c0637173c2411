"""Hides labels of train, to study a corpus as if few of its recordings had one.

Not in the paper. It is as if hidden labels had never been read: labels and ratings are
blank, and recordings that keep no label become unlabelled ones.

Axes: N recordings, R rows, U units that keep their labels or lose them.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ifusion.corpora.corpus import (
    Corpus,
    CorpusError,
    Hiding,
    row_partition,
    unlabelled_rows,
)

MINUTE = 60.0  # [s]
HIDDEN = "Labels were hidden"  # begins the note that says which
# {entry of a config's section `corpus`: field of `Hiding`}
ENTRIES = {"labelled": "share", "draw": "draw", "labelled_by": "by", "adapt": "adapt"}


def with_few_labels(corpus: Corpus, hiding: Hiding) -> Corpus:
    """Returns a corpus whose labels of train are partly hidden once it is split.

    An earlier `Hiding` is replaced.

    Example:
      >>> import ifusion.corpora
      >>> few = with_few_labels(ifusion.corpora.synthetic(), Hiding(0.1))
      >>> few.hiding.share
      0.1
    """
    hides = hiding.share < 1 or hiding.adapt
    entries = {entry: getattr(hiding, name) for entry, name in ENTRIES.items()}
    kept = {k: value for k, value in corpus.source.items() if k not in ENTRIES}
    source = kept | entries if kept and hides else kept
    return replace(corpus, hiding=hiding if hides else None, source=source)


def hide_labels(corpus: Corpus) -> Corpus:
    """Hides labels of train as `Corpus.hiding` asks, of one split, with a note.

    The draw of a unit (a recording, or over time a minute of it) depends on its place
    in the corpus and the number of the draw alone. Of clips, each speaker of train
    keeps the share, rounded such that the total is the share of all; of speakers, the
    first ones by their draw.

    Raises:
      CorpusError: no label would be left.
    """
    hiding = corpus.hiding
    if hiding is None or hiding.share == 1:
        return corpus
    units = _units_of_rows(corpus)
    known = (row_partition(corpus) == "train") & ~unlabelled_rows(corpus)
    labelled = np.unique(units[known])
    owner = np.zeros(units[-1] + 1, np.int64)
    owner[units] = np.repeat(np.arange(corpus.num_recordings), np.diff(corpus.offsets))
    rng = np.random.default_rng(hiding.draw)
    order = rng.random(len(owner))[labelled]
    speaker = np.unique(corpus.speaker, return_inverse=True)[1]
    rank = rng.random(len(owner))[speaker[owner[labelled]]]
    if hiding.by == "speaker":
        count = round(hiding.share * len(np.unique(rank)))
        kept = labelled[np.isin(rank, np.unique(rank)[:count])]
    else:
        kept = labelled[_stratified(rank, order, hiding.share)]
    if not len(kept):
        raise CorpusError(
            f"corpus.labelled is {hiding.share:g}, which keeps none of the labels of "
            f"{len(np.unique(rank))} speakers; expected a larger share"
        )
    hidden = ((row_partition(corpus) == "train") & ~np.isin(units, kept))[:, None]
    what = "recordings" if corpus.frame_step is None else "minutes"
    said = (
        f"{HIDDEN}: {len(kept)} of {len(labelled)} {what} of train keep "
        f"theirs, of {len(np.unique(rank[np.isin(labelled, kept)]))} of "
        f"{len(np.unique(rank))} speakers (corpus.labelled = {hiding.share:g}, by "
        f"{hiding.by}, draw {hiding.draw})."
    )
    return replace(
        corpus,
        labels=np.where(hidden, -1 if corpus.classes else np.nan, corpus.labels),
        raters={t: np.where(hidden, np.nan, x) for t, x in corpus.raters.items()},
        notes=(*corpus.notes, said),
    )


def _units_of_rows(corpus: Corpus) -> np.ndarray:
    """Numbers recordings or, over time, their minutes: (R,) int64, ascending."""
    if corpus.frame_step is None:
        return np.arange(corpus.num_rows)
    frames = max(round(MINUTE / corpus.frame_step), 1)
    units = np.zeros(corpus.num_rows, np.int64)
    first = 0
    for start, stop in pairwise(corpus.offsets.tolist()):
        units[start:stop] = first + np.arange(stop - start) // frames
        first = units[stop - 1] + 1
    return units


def _stratified(rank: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Keeps a share of each speaker's units, first ones by their order: (U,) bool.

    Units of one speaker have one rank.
    """
    kept = np.zeros(len(rank), bool)
    total = 0
    for value in np.unique(rank):
        mine = np.flatnonzero(rank == value)
        begin, total = total, total + len(mine)
        count = round(share * total) - round(share * begin)
        kept[mine[np.argsort(order[mine])[:count]]] = True
    return kept
