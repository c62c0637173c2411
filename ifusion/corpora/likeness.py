"""Names and recordings that may be duplicates.

Axes: N recordings, R rows.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from ifusion.corpora.corpus import Corpus, Frames, natural_order, shorten
from ifusion.corpora.names import ALIKE, BLANKS, FORMULA_SIGNS, likeness

ENOUGH = 20  # frames of a recording that should not all be equal
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing


def likeness_warnings(corpus: Corpus) -> Iterator[str]:
    """Yields names and recordings that are too similar, one sentence each."""
    for kind, names in _named(corpus).items():
        yield from spellings(kind, names)
    yield from _same_recordings(corpus)
    yield from _same_frames(corpus)
    yield from _without_speaker(corpus)
    yield from _formula_signs(corpus)


def _named(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    """Lists the names of each kind, each once."""
    columns = {"recordings": corpus.recording, "speakers": corpus.speaker}
    if "fold" in corpus.attributes:
        columns["folds"] = corpus.attributes["fold"]
    named = {kind: tuple(dict.fromkeys(x.tolist())) for kind, x in columns.items()}
    return {**named, "classes": corpus.classes}


def spellings(kind: str, names: Iterable[str]) -> list[str]:
    """Warns about distinct names that may mean the same: one sentence, or none.

    `kind` says what is named, in the plural.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(likeness(name), []).append(name)
    alike = [" = ".join(map(repr, group)) for group in groups.values() if group[1:]]
    if not alike:
        return []
    return [
        f"{kind.capitalize()} whose names differ only in {ALIKE} count as different: "
        f"{shorten(alike)}."
    ]


def _same_recordings(corpus: Corpus) -> Iterator[str]:
    hashes = recording_hashes(corpus)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(np.diff(hashes[order]) == 0)
    one, other = order[same], order[same + 1]
    apart = corpus.partition[one] != corpus.partition[other]
    pairs = [
        f"{corpus.recording[j]} ({corpus.partition[j]}) = {corpus.recording[i]} "
        f"({corpus.partition[i]})"
        for i, j in sorted(zip(one[apart].tolist(), other[apart].tolist(), strict=True))
    ]
    if pairs:
        yield (
            f"Recordings with exactly the features of one in another partition "
            f"({len(pairs)}): {shorten(pairs)}; scores may be too good."
        )


def _same_frames(corpus: Corpus) -> Iterator[str]:
    """Says in which recordings, but not most, all frames of a modality are equal."""
    for name, modality in (corpus.frames or corpus.modalities).items():
        offsets = modality.offsets if isinstance(modality, Frames) else corpus.offsets
        lengths = np.diff(offsets)
        long, some = lengths >= ENOUGH, lengths > 0
        if not long.any():
            continue
        hashes = modality.row_hashes
        same = np.append(False, hashes[1:] == hashes[:-1])
        starts = offsets[:-1][some]
        same[starts] = True
        stuck = long.copy()
        stuck[some] &= np.logical_and.reduceat(same, starts)
        if 0 < stuck.sum() <= long.sum() / 2:
            yield (
                f"{name} is the same in all frames of {stuck.sum()} of {long.sum()} "
                f"recordings: {shorten(corpus.recording[stuck])}."
            )


def recording_hashes(corpus: Corpus) -> np.ndarray:
    """(N,) uint64, equal where recordings agree in all features of all frames."""
    rows = np.zeros(corpus.num_rows, np.uint64)
    for modality in corpus.modalities.values():
        rows = (rows ^ modality.row_hashes) * _MIX
        rows ^= rows >> np.uint64(29)
    lengths = np.diff(corpus.offsets)
    place = np.arange(corpus.num_rows) - np.repeat(corpus.offsets[:-1], lengths)
    odd = (place.astype(np.uint64) * _MIX) | np.uint64(1)
    return np.add.reduceat(rows * odd, corpus.offsets[:-1])


def _without_speaker(corpus: Corpus) -> Iterator[str]:
    blank = [name for name in corpus.speaker.tolist() if name.lower() in BLANKS]
    if blank:
        yield (
            f"Recordings without a speaker ({len(blank)}: "
            f"{shorten(set(map(repr, blank)))}) count as one speaker's."
        )


def _formula_signs(corpus: Corpus) -> Iterator[str]:
    names = [name for names in _named(corpus).values() for name in names]
    names += [*corpus.targets, *corpus.modalities]
    odd = [n for n in names if n[:1] in FORMULA_SIGNS and not _is_number(n)]
    if odd:
        yield (
            f"Names that begin with =, +, - or @ are formulas to a spreadsheet: "
            f"{shorten(natural_order(odd))}; import the run's CSV files as text."
        )


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return len(name) == 1  # a sign alone is not a formula
    return True
