"""What was extracted to a folder that `read_corpus` reads.

Beside the files of the open folder format, it has `extraction.json`, which states where
every modality comes from, and `failures.csv`, which lists what is left out, and why.

Axes: N recordings, R rows, F features.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.conversion.frames import join_frames, make_corpus
from ifusion.corpora.corpus import Corpus, CorpusError, Modality, shorten
from ifusion.corpora.folder.writing import (
    whole_folder,
    write_corpus,
    write_csv,
    write_features,
)
from ifusion.corpora.gold_standard import GOLD_STANDARDS
from ifusion.features.extraction import Failure
from ifusion.features.extractors import Features
from ifusion.features.labels import Listing
from ifusion.features.traces import Traces

PROVENANCE, FAILURES = "extraction.json", "failures.csv"
Found = Mapping[str, Mapping[int, Features]]  # {modality: {place: features}}
Labels = tuple[np.ndarray, tuple[str, ...]]  # of `code_labels`


class Continuous(NamedTuple):
    """Labels over time.

    Attributes:
      traces: of the recordings.
      gold: how raters become a label, of `GOLD_STANDARDS`.
      step: [s] from frame to frame.
    """

    traces: Traces
    gold: str
    step: float


def complete_places(
    listing: Listing, found: Found, failures: Sequence[Failure]
) -> list[int]:
    """Returns the places of recordings that have every modality.

    Raises:
      CorpusError: there is none.
    """
    num = len(listing.recording)
    places = [
        i for i in range(num) if all(i in features for features in found.values())
    ]
    if not places:
        reasons = shorten({f"{f.modality}: {f.reason}" for f in failures}, 3)
        raise CorpusError(
            f"no recording has features of {' and '.join(found)} ({reasons})"
        )
    return places


def write_extracted(
    folder: Path,
    listing: Listing,
    found: Found,
    states: Mapping[str, Mapping[str, Any]],
    failures: Sequence[Failure],
    labels: Labels | Continuous | None,
    step: float | None = None,
) -> int:
    """Writes a corpus, or without labels its tables of features.

    Args:
      folder: must not exist, or be empty.
      listing: of all recordings.
      found: features of those that have every modality, by their place in the listing.
      states: {modality: what the features depend on}.
      failures: what was not extracted.
      labels: one a recording, of `code_labels`; or over time; None = nothing is to be
        predicted.
      step: [s] from frame to frame, None = a row a recording.

    Returns:
      How many recordings it has.

    Raises:
      CorpusError: the folder is not empty.
    """
    places = sorted(next(iter(found.values())))
    if labels is None:
        _write_tables(folder, listing, found, places, step)
    elif isinstance(labels, Continuous):
        _write_continuous(folder, listing, found, places, labels)
    elif step is None:
        _write_utterances(folder, listing, found, places, labels)
    else:
        _write_frames(folder, listing, found, places, labels, step)
    provenance = {m: {**states[m], **_facts(found[m])} for m in found}
    if isinstance(labels, Continuous):
        provenance["labels"] = {"gold": labels.gold, "traces": labels.traces.methods}
    text = json.dumps(provenance, indent=2, ensure_ascii=False)
    (folder / PROVENANCE).write_text(text + "\n", "utf-8")
    write_failures(folder / FAILURES, listing, failures)
    return len(places)


def write_failures(path: Path, listing: Listing, failures: Sequence[Failure]) -> None:
    """Writes a CSV file: recording, modality, file, reason."""
    sources = [
        listing.sources[f.modality][f.place] if f.modality in listing.sources else None
        for f in failures
    ]
    write_csv(
        path,
        {
            "recording": np.array([listing.recording[f.place] for f in failures]),
            "modality": np.array([f.modality for f in failures]),
            "file": np.array([str(s.path) if s else "" for s in sources]),
            "reason": np.array([f.reason for f in failures]),
        },
    )


def _facts(found: Mapping[int, Features]) -> dict[str, Any]:
    """Sums up the facts of all recordings."""
    facts = {}
    for name in next(iter(found.values())).facts:
        numbers = [features.facts[name] for features in found.values()]
        facts[name] = {
            "least": round(min(numbers), 4),
            "mean": round(float(np.mean(numbers)), 4),
            "most": round(max(numbers), 4),
        }
    return facts


def _about(listing: Listing, found: Found, places: Sequence[int]) -> dict[str, Any]:
    """What every kind of corpus says of its recordings."""
    columns = ("recording", "partition", "speaker")
    texts = {c: np.array([getattr(listing, c)[i] for i in places]) for c in columns}
    return {
        "name": listing.name,
        **texts,
        "attributes": _attributes(listing, found, places),
        "citation": listing.citation,
        "notes": listing.notes,
    }


def _attributes(
    listing: Listing, found: Found, places: Sequence[int]
) -> dict[str, np.ndarray]:
    columns = {n: [v[i] for i in places] for n, v in listing.attributes.items()}
    for features in found.values():
        for name in features[places[0]].facts:
            columns[name] = [f"{features[i].facts[name]:.5g}" for i in places]
    return {name: np.array(column, np.str_) for name, column in columns.items()}


def _write_tables(
    folder: Path,
    listing: Listing,
    found: Found,
    places: Sequence[int],
    step: float | None,
) -> None:
    with whole_folder(folder) as part:
        for name, features in found.items():
            arrays = [features[i].values for i in places]
            names = [listing.recording[i] for i in places]
            keys = {"recording": np.repeat(names, [len(a) for a in arrays])}
            if step is not None:
                times = [np.arange(len(a)) * step for a in arrays]
                keys["time"] = np.round(np.concatenate(times), 9)
            modality = Modality(features[places[0]].names, np.concatenate(arrays))
            (part / "features").mkdir(exist_ok=True)
            write_features(part / "features" / f"{name}.csv", keys, modality)


def _write_continuous(
    folder: Path,
    listing: Listing,
    found: Found,
    places: Sequence[int],
    labels: Continuous,
) -> None:
    traces, standard = labels.traces, GOLD_STANDARDS[labels.gold]
    lengths, cut = [], 0
    for i in places:
        rated = traces.ratings.get(i)  # recordings of test may have none
        counts = [len(features[i].values) for features in found.values()]
        counts += [len(next(iter(rated.values())))] if rated else []
        lengths.append(min(counts))
        cut = max(cut, max(counts) - min(counts))
    absent = {
        t: np.full((max(lengths), len(traces.raters)), np.nan) for t in traces.targets
    }
    ratings = {
        t: [
            traces.ratings.get(i, absent)[t][:n]
            for i, n in zip(places, lengths, strict=True)
        ]
        for t in traces.targets
    }
    if cut:
        note = (
            f"recordings are cut to the frames that all modalities and traces have, by "
            f"{cut * labels.step:g} s at most"
        )
        listing = replace(listing, notes=(*listing.notes, note))
    corpus = Corpus(
        **_about(listing, found, places),
        modalities={
            m: Modality(
                features[places[0]].names,
                np.concatenate(
                    [
                        features[i].values[:n]
                        for i, n in zip(places, lengths, strict=True)
                    ]
                ),
            )
            for m, features in found.items()
        },
        targets=traces.targets,
        labels=np.stack(
            [np.concatenate([standard(r) for r in ratings[t]]) for t in traces.targets],
            1,
        ),
        frame_step=labels.step,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        raters={t: np.concatenate(r) for t, r in ratings.items()},
    )
    write_corpus(corpus, folder, "npz")


def _write_utterances(
    folder: Path,
    listing: Listing,
    found: Found,
    places: Sequence[int],
    labels: Labels,
) -> None:
    values, classes = labels
    values = values[places]
    corpus = Corpus(
        **_about(listing, found, places),
        modalities={
            m: Modality(
                features[places[0]].names,
                np.concatenate([features[i].values for i in places]),
            )
            for m, features in found.items()
        },
        targets=tuple(listing.labels),
        labels=np.where(np.isnan(values), -1, values) if classes else values,
        classes=classes,
        licence=listing.licence,
    )
    write_corpus(corpus, folder)


def _write_frames(
    folder: Path,
    listing: Listing,
    found: Found,
    places: Sequence[int],
    labels: Labels,
    step: float,
) -> None:
    values, classes = labels
    if classes:
        [texts] = listing.labels.values()
        values = np.array([[texts[i]] for i in range(len(texts))], np.str_)
    corpus = make_corpus(
        path=folder,
        **_about(listing, found, places),
        modalities={
            m: join_frames(
                [features[i].values for i in places], features[places[0]].names, step
            )
            for m, features in found.items()
        },
        targets=tuple(listing.labels),
        labels=values[places],
        classes=classes,
    )
    write_corpus(corpus, folder, "npz")
