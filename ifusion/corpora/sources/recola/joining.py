"""The common frames of each recording, joined over recordings.

Axes: T frames of one recording, R rows (frames of all recordings), F features of a
modality, K targets, A raters.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ifusion.corpora.corpus import CorpusError, Modality, natural_order, shorten
from ifusion.corpora.gold_standard import GOLD_STANDARDS, Gold, rater_weights
from ifusion.corpora.sources.recola.layout import (
    LABELLED,
    Kind,
    Source,
    made_of,
    partition_of,
)
from ifusion.corpora.sources.recola.tracks import Track, Tracks
from ifusion.corpora.tables.table import Table
from ifusion.corpora.timing import drift_notes, stamp_notes


def common_span(
    name: str, tracks: Tracks, tolerance: int, step: float
) -> tuple[range, str]:
    """Finds the common frames of a recording, and describes the cut, "" if none.

    Raises:
      CorpusError: two files begin or end more frames apart than is tolerated.
    """
    starts = sorted(tracks.values(), key=lambda track: track.start)
    stops = sorted(tracks.values(), key=lambda track: track.stop)
    span = range(starts[-1].start, stops[0].stop)
    apart = {
        "begin": (span.start - starts[0].start, starts[0], starts[-1]),
        "end": (stops[-1].stop - span.stop, stops[0], stops[-1]),
    }
    verb = max(apart, key=lambda v: apart[v][0])
    gap, one, other = apart[verb]
    if gap > tolerance or not span:
        raise CorpusError(
            f"recording {name!r}: {_describe(one, step)} and {_describe(other, step)} "
            f"{verb} {gap} frames apart, more than the tolerance of {tolerance}",
            one.table.path,
        )
    counts = ", ".join(
        f"{s} {len(t.table)} from {step * t.start:g} s" for s, t in tracks.items()
    )
    return span, f"{name} to {len(span)} ({counts})" if gap else ""


def list_timing(found: Mapping[str, Tracks], kind: Kind, step: float) -> list[str]:
    """Notes features and labels whose stamps or lengths differ throughout."""
    sources = list(dict.fromkeys(s for tracks in found.values() for s in tracks))
    sources = [s for s in sources if s.kind in ("features", kind)]

    def measured(of: Callable[[Track], float]) -> np.ndarray:
        rows = [
            [of(tracks[s]) if s in tracks else np.nan for tracks in found.values()]
            for s in sources
        ]
        return np.array(rows, np.float64)

    names, starts = [str(s) for s in sources], measured(lambda t: step * t.start)
    return [
        *stamp_notes(names, starts, [*found], step),
        *drift_notes(names, starts, measured(lambda t: len(t.table)), step),
    ]


def whole_span(tracks: Tracks, made_of: Kind) -> range:
    """Returns all frames of the files that make the labels, or else of all files."""
    labels = [track for source, track in tracks.items() if source.kind == made_of]
    reach = labels or [*tracks.values()]
    return range(min(t.start for t in reach), max(t.stop for t in reach))


def _overlap(track: Track, span: range) -> range:
    """Returns the frames of a span that a file has."""
    start = min(max(span.start, track.start), span.stop)
    return range(start, max(min(span.stop, track.stop), start))


def list_unrated(found: Mapping[str, Tracks], spans: Mapping[str, range]) -> list[str]:
    """Notes ratings that begin after or end before the recording."""
    gaps: dict[Source, list[str]] = {}
    for name, span in spans.items():
        for source, track in found[name].items():
            missing = len(span) - len(_overlap(track, span))
            if missing:
                said = f"{missing} of {len(span)} of {name}"
                gaps.setdefault(source, []).append(said)
    return [
        f"{source} do not cover all frames of {len(said)} recordings, and are NaN in "
        f"the others: {shorten(said)}"
        for source, said in gaps.items()
    ]


def _describe(track: Track, step: float) -> str:
    return (
        f"{track.table.path} ({len(track.table)} frames, {step * track.start:g} to "
        f"{step * (track.stop - 1):g} s)"
    )


def _cut(track: Track, values: np.ndarray, span: range) -> np.ndarray:
    """Takes the common frames of (T, ...) values of a file."""
    return values[span.start - track.start : span.stop - track.start]


def _names(found: Mapping[str, Tracks], source: Source) -> tuple[str, ...]:
    """Returns the columns that all recordings have; () if none has the source."""
    first: Table | None = None
    for tracks in found.values():
        if source not in tracks:
            continue
        table = tracks[source].table
        first = first or table
        odd = sorted(set(table.names) ^ set(first.names))
        if odd:
            reason = (
                f"the {len(table.names)} columns of {source} are not the "
                f"{len(first.names)} of {first.path}: {shorten(odd)}"
            )
            raise CorpusError(reason, table.path)
    return first.names if first else ()


def _in_order(table: Table, names: Sequence[str]) -> np.ndarray:
    """Returns the values (T, F) of columns that a file may have in any order."""
    if table.names == tuple(names):
        return table.values
    places = {name: place for place, name in enumerate(table.names)}
    return table.values[:, [places[name] for name in names]]


def join_features(
    found: Mapping[str, Tracks], spans: Mapping[str, range], source: Source
) -> Modality:
    """Joins a modality, and frees each recording after copying it."""
    names = _names(found, source)
    num_rows = sum(map(len, spans.values()))
    values, row = np.empty((num_rows, len(names)), np.float32), 0
    for name, tracks in found.items():
        track = tracks.pop(source)
        part = _cut(track, _in_order(track.table, names), spans[name])
        values[row : row + len(part)] = part
        row += len(part)
    return Modality(names, values)


def join_raters(
    found: Mapping[str, Tracks], spans: Mapping[str, range], source: Source
) -> np.ndarray:
    """Joins the ratings of a target: (R, A), NaN where not rated."""
    names = _names(found, source)
    parts = []
    for name, span in spans.items():
        track = found[name].get(source)
        ratings = np.full((len(span), len(names)), np.nan)
        if track is not None:
            rated = _overlap(track, span)
            place = slice(rated.start - span.start, rated.stop - span.start)
            ratings[place] = _cut(track, _in_order(track.table, names), rated)
        parts.append(ratings)
    return np.concatenate(parts)


def rater_names(found: Mapping[str, Tracks], targets: Sequence[str]) -> tuple[str, ...]:
    """Lists the raters of all targets, each once."""
    names = (name for t in targets for name in _names(found, Source(t, "ratings")))
    return natural_order(set(names))


def same_width(raters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drops targets without ratings, and pads those with fewer raters with NaN."""
    num = max(ratings.shape[1] for ratings in raters.values())
    return {
        target: np.pad(r, ((0, 0), (0, num - r.shape[1])), constant_values=np.nan)
        for target, r in raters.items()
        if r.shape[1]
    }


def join_labels(
    found: Mapping[str, Tracks],
    spans: Mapping[str, range],
    targets: Sequence[str],
    gold: Gold,
) -> tuple[np.ndarray, list[str]]:
    """Joins the labels, (R, K) float32, and notes where raters did not agree."""
    kind = made_of(gold)
    notes, parts = [], []
    for name, span in spans.items():
        labels = np.full((len(span), len(targets)), np.nan, np.float32)
        for k, target in enumerate(targets):
            track = found[name].get(Source(target, kind))
            if track is None:
                continue
            table, values = track.table, track.table.values
            if gold != "given":
                if partition_of(name) == LABELLED:
                    unrated = np.isnan(values).all(1)
                    table.require_none(
                        unrated, table.names[0], lambda row: "no rater rated this"
                    )
                values = GOLD_STANDARDS[gold](values)[:, None]
            labels[:, k] = _cut(track, values[:, 0], span)
            if gold == "avec" and not rater_weights(table.values).sum() > 0:
                notes.append(
                    f"{name}: the raters of {target} do not agree; all weigh the same"
                )
        parts.append(labels)
    return np.concatenate(parts), notes
