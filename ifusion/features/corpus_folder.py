"""What was extracted, written as a folder that `read_corpus` reads.

Besides the files of the open folder format it holds `extraction.json`, which states
where each modality comes from, and `failures.csv`, which lists what is left out and
why.

Axes: N recordings, R rows, F features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.corpus import Corpus, CorpusError, Frames, Modality, shorten
from ifusion.corpora.folder.writing import (
    whole_folder,
    write_columns,
    write_corpus,
    write_features,
)
from ifusion.corpora.functionals import pool_frames
from ifusion.corpora.gold_standard import GOLD_STANDARDS
from ifusion.corpora.provenance import Provenance, write_provenance
from ifusion.features.extraction import Failure
from ifusion.features.extractors import Features
from ifusion.features.labels import Listing
from ifusion.features.traces import Annotations

FAILURES = "failures.csv"
Found = Mapping[str, Mapping[int, Features]]  # {modality: {place in the listing: ...}}
Labels = tuple[np.ndarray, tuple[str, ...]]  # of `code_labels`


class Continuous(NamedTuple):
    """Labels over time."""

    traces: Annotations
    gold: str  # how the ratings become one label, a key of `GOLD_STANDARDS`


def complete_places(
    listing: Listing, found: Found, failures: Sequence[Failure]
) -> list[int]:
    """Returns the places of the recordings that have every modality.

    Raises:
      CorpusError: no recording has.
    """
    everyone = range(len(listing.recording))
    places = [i for i in everyone if all(i in features for features in found.values())]
    if not places:
        reasons = dict.fromkeys(f"{f.modality}: {f.reason}" for f in failures)
        absent = [m for m, features in found.items() if not features]
        hint = f"; --{absent[0]}= leaves it out" if len(found) > len(absent) > 0 else ""
        raise CorpusError(
            f"no recording has features of {' and '.join(found)} "
            f"({shorten(reasons, 3)}){hint}"
        )
    return places


def write_extracted(
    folder: Path,
    listing: Listing,
    found: Found,
    provenance: Mapping[str, Provenance],
    failures: Sequence[Failure],
    labels: Labels | Continuous | None,
    step: float | None = None,
) -> int:
    """Writes a corpus or, without labels, its tables of features.

    Args:
      folder: must not exist, or be empty; it appears whole or not at all.
      listing: all recordings.
      found: features of the recordings that have every modality.
      provenance: {modality: where its features come from}.
      failures: what could not be extracted.
      labels: one per recording, of `code_labels`; over time; or None.
      step: time between frames [s]; None for one row per recording.

    Returns:
      How many recordings it holds.

    Raises:
      CorpusError: the folder is not empty.
    """
    places = sorted(next(iter(found.values())))
    stated = dict(provenance)
    with whole_folder(folder) as part:
        if labels is None:
            _write_tables(part, listing, found, places, step)
        elif isinstance(labels, Continuous):
            write_corpus(_continuous(listing, found, places, labels, step), part, "npz")
            methods = labels.traces.methods
            stated["labels"] = {"gold": labels.gold, "traces": methods}
        else:
            corpus = _labelled(listing, found, places, labels, step)
            write_corpus(corpus, part, "npz" if step else "csv")
        write_provenance(part, stated)
        write_failures(part / FAILURES, listing, failures)
    return len(places)


def write_failures(path: Path, listing: Listing, failures: Sequence[Failure]) -> None:
    """Writes a CSV file: recording, modality, file, reason."""
    sources = [
        listing.sources[f.modality][f.place] if f.modality in listing.sources else None
        for f in failures
    ]
    write_columns(
        path,
        {
            "recording": np.array([listing.recording[f.place] for f in failures]),
            "modality": np.array([f.modality for f in failures]),
            "file": np.array([str(s.path) if s else "" for s in sources]),
            "reason": np.array([f.reason for f in failures]),
        },
    )


def _write_tables(
    part: Path,
    listing: Listing,
    found: Found,
    places: Sequence[int],
    step: float | None,
) -> None:
    names = [listing.recording[i] for i in places]
    for m, frames in _join(found, places).items():
        keys = {"recording": np.repeat(names, frames.lengths)}
        if step is not None:
            times = [np.arange(length) * step for length in frames.lengths]
            keys["time"] = np.round(np.concatenate(times), 9)
        write_features(part / "features" / f"{m}.csv", keys, frames)


def _labelled(
    listing: Listing,
    found: Found,
    places: Sequence[int],
    labels: Labels,
    step: float | None,
) -> Corpus:
    """Makes a corpus with one label per recording."""
    values, classes = labels
    values = values[places]
    rows = _join(found, places)
    pooled = pool_frames if step else _plain
    frames = {m: replace(r, step=step) for m, r in rows.items()} if step else {}
    return Corpus(
        **_about(listing, found, places),
        modalities={m: pooled(r) for m, r in rows.items()},
        frames=frames,
        targets=tuple(listing.labels),
        labels=np.where(np.isnan(values), -1, values) if classes else values,
        classes=classes,
    )


def _continuous(
    listing: Listing,
    found: Found,
    places: Sequence[int],
    labels: Continuous,
    step: float | None,
) -> Corpus:
    """Makes a corpus with labels over time, cut to the frames that all have."""
    traces, standard = labels.traces, GOLD_STANDARDS[labels.gold]
    lengths, cut = [], 0.0
    for i in places:
        rated = traces.ratings.get(i)  # recordings of test may have none
        counts = [len(features[i].values) for features in found.values()]
        counts += [len(next(iter(rated.values())))] if rated else []
        lengths.append(min(counts))
        cut = max(cut, (max(counts) - min(counts)) * (step or 0))
    ratings: dict[str, list[np.ndarray]] = {t: [] for t in traces.targets}
    for i, n in zip(places, lengths, strict=True):
        absent = dict.fromkeys(traces.targets, np.full((n, len(traces.raters)), np.nan))
        for target, values in traces.ratings.get(i, absent).items():
            ratings[target].append(values[:n])
    golds = [np.concatenate([standard(r) for r in parts]) for parts in ratings.values()]
    about = _about(listing, found, places)
    if cut:
        about["notes"] += (
            "recordings are cut to the frames that all modalities and traces have, by "
            f"up to {cut:g} s",
        )
    return Corpus(
        **about,
        modalities={m: _plain(r) for m, r in _join(found, places, lengths).items()},
        targets=traces.targets,
        labels=np.stack(golds, 1),
        frame_step=step,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        raters={t: np.concatenate(parts) for t, parts in ratings.items()},
    )


def _join(
    found: Found, places: Sequence[int], lengths: Sequence[int] | None = None
) -> dict[str, Frames]:
    """Joins the rows of all recordings, or the first so many of each."""
    joined = {}
    for m, features in found.items():
        ends = lengths or [len(features[i].values) for i in places]
        rows = [features[i].values[:n] for i, n in zip(places, ends, strict=True)]
        offsets = np.concatenate([[0], np.cumsum(ends)])
        names = features[places[0]].names
        joined[m] = Frames(names, np.concatenate(rows), offsets)
    return joined


def _plain(rows: Frames) -> Modality:
    return Modality(rows.names, rows.values)


def _about(listing: Listing, found: Found, places: Sequence[int]) -> dict[str, Any]:
    """Collects what every kind of corpus says of its recordings."""
    columns = ("recording", "partition", "speaker")
    texts = {c: np.array([getattr(listing, c)[i] for i in places]) for c in columns}
    attributes = {n: [v[i] for i in places] for n, v in listing.attributes.items()}
    for features in found.values():
        for name in features[places[0]].facts:
            attributes[name] = [f"{features[i].facts[name]:.5g}" for i in places]
    return {
        "name": listing.name,
        **texts,
        "attributes": {n: np.array(c, np.str_) for n, c in attributes.items()},
        "licence": listing.licence,
        "citation": listing.citation,
        "notes": listing.notes,
    }
