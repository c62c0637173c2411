"""Features in any form, matched to what a predictor needs.

Axes: R rows, F features of a modality, N sequences.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.columns import TIMES, is_bookkeeping, lost_face, success_column
from ifusion.corpora.corpus import JOIN, Corpus, CorpusError, Modality, shorten
from ifusion.corpora.names import normalise
from ifusion.corpora.provenance import (
    FEATURE_UNITS,
    describe_differences,
    provenance_of,
    provenance_of_table,
)
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.corpora.tables.table import Table, record_number
from ifusion.corpora.timing import other_rate
from ifusion.inference.clips import is_clip, read_clip
from ifusion.inference.predictor import Predictor
from ifusion.paths import expand_path

RECORDING = "recording"
FAR = 30.0  # [standard deviation of train] from its mean
STEP_SLACK = 0.1  # share of the frame step by which times may differ
# if one of these entries of a provenance differs, the features are others; if another
# one does, that is only doubtful
DECISIVE = {"extractor", "step", "window", "mean_shape", "model", "weights"}
DECISIVE |= {"channels", "chunk", "mean", "rectified", "scale", "side", "zoom"}
DECISIVE.add(FEATURE_UNITS)


class Inputs(NamedTuple):
    """Features of R rows.

    Attributes:
      values: {m: (R, F) float32}, in the predictor's order; NaN where OpenFace found no
        face.
      lengths: (N,) int, answers of each sequence.
      recordings: the recording of each answer; None if unknown.
      notes: what is doubtful, one sentence each.
      frames: {m: (N,) int, rows of each recording} if a recording has one answer, else
        {}.
    """

    values: dict[str, np.ndarray]
    lengths: np.ndarray
    recordings: np.ndarray | None
    notes: tuple[str, ...]
    frames: Mapping[str, np.ndarray] = {}


class _Source(NamedTuple):
    """The features of one modality as the user has them."""

    table: Any  # with named columns, or an array without
    recordings: np.ndarray | None  # (R,)
    joined: np.ndarray | None  # (R,) what joins utterances to sequences
    place: str  # messages begin with it
    surplus: tuple[str, ...] = ()  # columns of the file that were not read
    provenance: Mapping[str, Any] = {}  # of the features, if known
    notes: tuple[str, ...] = ()  # what is doubtful so far
    line: Callable[[int], int] = record_number  # 0-based row to row as the user counts


def read_inputs(
    predictor: Predictor,
    features: Any,
    recordings: Any = None,
    names: Sequence[str] | None = None,
) -> Inputs:
    """Reads features in any form, see `Predictor.predict`.

    Raises:
      ValueError: they do not fit the predictor.
    """
    known, notes = predictor.features, list[str]()
    sources = {
        m: _open_source(predictor, m, table, names)
        for m, table in _by_modality(predictor, features).items()
    }
    for m, source in sources.items():
        notes += source.notes
        notes += _compare(source, predictor.provenance.get(m, {}))
    values = {
        m: _to_array(source, known[m], names is not None, notes)
        for m, source in sources.items()
    }
    counts = {m: len(x) for m, x in values.items()}
    for m, count in counts.items():
        if not count:
            raise ValueError(f"{sources[m].place}: there are no rows")
    if predictor.frames:
        return _read_frames(sources, values, recordings, notes)
    if len(set(counts.values())) != 1:
        raise ValueError(f"modalities have different numbers of rows: {counts}")
    first = next(iter(sources.values()))
    (count,) = set(counts.values())
    for source in sources.values():
        if not _alike(source.recordings, first.recordings):
            raise ValueError(
                f"{source.place}: its recordings are not those of {first.place}"
            )
    given = None if recordings is None else _as_names(recordings, count)
    own = first.recordings if given is None else given
    joined = first.joined if given is None else given
    lengths = _lengths(predictor, first.place, count, own, joined)
    if predictor.frame_step is not None and count > 1 and lengths.max() == 1:
        notes.append(
            f"{first.place}: every recording has one row, but the model reads a frame "
            f"every {predictor.frame_step:g} s"
        )
    return Inputs(values, lengths, own, tuple(notes))


def _read_frames(
    sources: Mapping[str, _Source],
    values: dict[str, np.ndarray],
    recordings: Any,
    notes: Sequence[str],
) -> Inputs:
    """Counts the frames of each recording, which all modalities must have in order."""
    names: dict[str, np.ndarray | None] = {}
    lengths: dict[str, np.ndarray] = {}
    for m, source in sources.items():
        given = recordings.get(m) if isinstance(recordings, Mapping) else recordings
        own, count = source.recordings, len(values[m])
        own = own if given is None else _as_names(given, count)
        lengths[m] = np.array([count]) if own is None else _runs(own)
        starts = np.cumsum(lengths[m]) - lengths[m]
        names[m] = None if own is None else own[starts]
    first = next(iter(sources))
    for m, source in sources.items():
        same = len(lengths[m]) == len(lengths[first])
        if not (same and _alike(names[m], names[first])):
            raise ValueError(
                f"{source.place}: its recordings are not those of "
                f"{sources[first].place}, in the same order"
            )
    ones = np.ones(len(lengths[first]), int)
    return Inputs(values, ones, names[first], tuple(notes), lengths)


def _compare(source: _Source, trained: Mapping[str, Any]) -> list[str]:
    """Refuses features other than those of train, and says what is doubtful of them."""
    both = source.provenance.keys() & trained.keys()

    def differences(names: Iterable[str]) -> str:
        mine, theirs = (
            {name: p[name] for name in p if name in names}
            for p in (source.provenance, trained)
        )
        said = describe_differences(mine, theirs, "the model")
        return f"{source.place}: {said}" if said else ""

    wrong = differences(both & DECISIVE)
    if wrong:
        raise ValueError(wrong)
    return [*filter(None, [differences(both - DECISIVE)])]


def far_features(predictor: Predictor, values: Mapping[str, np.ndarray]) -> list[str]:
    """Finds features that seem to have other units, by their values.

    Not in the paper: half of their rows are `FAR` from the mean of train.
    """
    sentences = []
    for m, table in values.items():
        statistics = predictor.members[0].statistics[m]
        count = table.shape[1]  # means come first in functionals
        mean, std = statistics["mean"][:count], statistics["std"][:count]
        seen = ~np.isnan(table).any(1)  # where there is a face
        if not seen.any():
            continue
        middle = np.array([np.median(column[seen]) for column in table.T], np.float64)
        names = np.array(predictor.features[m])
        names = names[(std > 0) & (np.abs(middle - mean) > FAR * std)]
        if len(names):
            sentences.append(
                f"{m}: {len(names)} of {len(std)} features lie far from all that the "
                f"model was trained on ({shorten(names)}): are they in other units, or "
                "from another extractor?"
            )
    return sentences


def _by_modality(predictor: Predictor, features: Any) -> dict[str, Any]:
    """Returns {modality: table}, also if there is one table only."""
    if isinstance(features, Corpus):
        for m in predictor.features:
            if m not in features.modalities:
                found = ", ".join(features.modalities)
                raise ValueError(f"{features.name}: no modality {m!r}; it has {found}")
        return dict.fromkeys(predictor.features, features)
    if isinstance(features, Mapping) and not _is_columns(predictor, features):
        for m in features:
            if m not in predictor.features:
                expected = ", ".join(predictor.features)
                raise ValueError(f"unknown modality {m!r}; expected {expected}")
        if not features:
            raise ValueError("the dict of features is empty")
        return dict(features)
    if JOIN not in predictor.main:
        return {predictor.main: features}
    if isinstance(features, str | Path) and is_clip(features):
        return dict.fromkeys(predictor.features, features)
    names = " and ".join(predictor.features)
    raise ValueError(
        f"the model reads {names}, but this is one table: give a clip, a folder with "
        "features/ of each, or from Python a dict of tables"
    )


def _is_columns(predictor: Predictor, features: Mapping[Any, Any]) -> bool:
    """Whether the keys of a dict are columns, not modalities."""
    if JOIN in predictor.main or not features or set(features) <= {predictor.main}:
        return False
    return all(
        np.ndim(column) <= 1 and not isinstance(column, str | Path | Corpus)
        for column in features.values()
    )


def _open_source(
    predictor: Predictor, modality: str, table: Any, names: Sequence[str] | None
) -> _Source:
    """Reads files, and names columns."""
    if isinstance(table, str | Path):
        return _read_file(predictor, modality, expand_path(table))
    if isinstance(table, Corpus):
        return _of_corpus(predictor, modality, table)
    if hasattr(table, "to_pandas"):  # of pyarrow, polars
        table = table.to_pandas()
    elif isinstance(table, np.ndarray) and table.dtype.names:
        table = pd.DataFrame(table)
    elif isinstance(table, Mapping):
        try:
            table = pd.DataFrame(dict(table))
        except ValueError as error:
            raise ValueError(f"{modality}: not a table of columns ({error})") from None
    elif names is not None and not isinstance(table, pd.DataFrame):
        values = np.asarray(table)
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(
                f"{modality}: features of shape {values.shape}; expected a column for "
                f"each of {len(names)} names"
            )
        table = pd.DataFrame(values, columns=list(names))
    return _Source(table, None, None, modality)


def _of_corpus(predictor: Predictor, modality: str, corpus: Corpus) -> _Source:
    found: Modality = corpus.modalities[modality]
    lengths = np.diff(corpus.offsets)
    if predictor.frames:
        if not corpus.frames:
            raise ValueError(f"{corpus.name}: it has no frames, which the model reads")
        found, lengths = corpus.frames[modality], corpus.frames[modality].lengths
    if corpus.frame_step != predictor.frame_step:
        raise ValueError(
            f"{corpus.name}: the frame step is {corpus.frame_step}, that of the model "
            f"{predictor.frame_step} [s]"
        )
    joined = None
    if predictor.sequence:
        known = {"speaker": corpus.speaker, **corpus.attributes}
        if predictor.sequence not in known:
            raise ValueError(
                f"{corpus.name}: no {predictor.sequence!r}, which the run joined "
                "utterances by"
            )
        joined = known[predictor.sequence]
    return _Source(
        pd.DataFrame(found.values, columns=found.names),
        np.repeat(corpus.recording, lengths),
        joined,
        corpus.name,
        provenance=provenance_of(corpus).get(modality, {}),
    )


# ---- files ---------------------------------------------------------------------------


def _read_file(predictor: Predictor, modality: str, path: Path) -> _Source:
    """Reads the columns of a file, or the features of a clip, that a modality needs."""
    needed = predictor.features[modality]
    if is_clip(path):
        clip, provenance, doubts = read_clip(predictor, modality, path)
        names, place = np.repeat(path.stem, len(clip)), str(path)
        said = tuple(f"{place}: {doubt}" for doubt in doubts)
        provenance = {k: v for k, v in provenance.items() if k in DECISIVE}
        clip = clip[[name for name in clip if name in needed]]
        return _Source(clip, names, None, place, (), provenance, said)
    seen: list[str] = []

    def choose(_: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
        seen[:] = columns
        missing = [name for name in needed if name not in columns]
        if missing:
            raise CorpusError(_missing(needed, missing, seen), path)
        success = success_column(columns)
        kept = {*needed, *([success] if success else [])}
        return tuple(name for name in columns if name in kept)

    keys, times = _keys_of(path, predictor.sequence)
    table = read_table(path, keys, times, choose=choose, advice="")
    values = pd.DataFrame(table.values, columns=list(table.names))
    recordings = table.text.get(RECORDING)
    provenance = provenance_of_table(path, modality)
    step = predictor.frame_step
    if predictor.frames:
        step = predictor.provenance.get(modality, {}).get("step")
    if step is not None and times:
        _check_times(step, table, times[0])
    joined = table.text.get(predictor.sequence) if predictor.sequence else None
    surplus = tuple(name for name in seen if name not in table.names)
    return _Source(
        values, recordings, joined, str(path), surplus, provenance, line=table.line
    )


def _keys_of(path: Path, sequence: str) -> tuple[list[str], list[str]]:
    """Finds the columns of a file that name the recording and the time of a row."""
    wanted = [RECORDING, *([sequence] if sequence else [])]
    if path.suffix in (".csv", ".arff"):
        columns = read_columns(path)
        times = [name for name in columns if name.lower() in TIMES]
        return [name for name in wanted if name in columns], times[:1]
    found: list[str] = []
    for name in (*wanted, "time"):
        asked = {"numbers": [name]} if name == "time" else {"text": [name]}
        try:
            read_table(path, choose=lambda *_: (), **asked)  # type: ignore[arg-type]
        except CorpusError as error:
            if error.column != name or "is missing" not in error.reason:
                raise
        else:
            found.append(name)
    return [name for name in wanted if name in found], [n for n in found if n == "time"]


def _check_times(frame_step: float, table: Table, column: str) -> None:
    """Refuses times that are not a frame step [s] apart."""
    steps, recordings = np.diff(table.numbers[column]), table.text.get(RECORDING)
    inside = np.ones(len(steps), bool)
    if recordings is not None:
        inside = recordings[1:] == recordings[:-1]
    back = np.append(False, inside & ~(steps > 0))
    table.require_none(back, column, lambda row: "times do not increase")
    usual = float(np.median(steps[inside])) if inside.any() else frame_step
    if abs(usual / frame_step - 1) > STEP_SLACK:
        hint = other_rate(usual, frame_step)
        raise CorpusError(
            f"rows are {usual:g} s apart, but the model reads one every {frame_step:g} "
            f"s{hint}",
            table.path,
        )
    gap = np.append(False, inside & (steps > 1.5 * frame_step))
    table.require_none(
        gap, column, lambda row: f"follows a gap; expected a row every {frame_step:g} s"
    )


# ---- tables --------------------------------------------------------------------------


def _to_array(
    source: _Source, names: tuple[str, ...], named: bool, notes: list[str]
) -> np.ndarray:
    """Converts features to an array of finite values, in order: (R, F) float32."""
    table, place, lost = source.table, source.place, None
    if isinstance(table, pd.DataFrame):
        success = success_column(table.columns)
        if success is not None and success.strip() not in names:
            lost = lost_face(table[success].to_numpy())
        table, rest = _in_order(place, table, names)
        rest = [n for n in (*rest, *source.surplus) if not is_bookkeeping(n)]
        if rest:
            notes.append(f"{place}: {len(rest)} columns are not used: {shorten(rest)}")
    else:
        notes.append(
            f"{place}: features without names are taken in order, unchecked; pass a "
            "DataFrame with the names of predictor.features, or names="
        )
    try:
        values = np.asarray(table, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: not numbers ({error})") from None
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(
            f"{place}: features of shape {values.shape}; expected {len(names)} columns"
        )
    wrong = ~np.isfinite(values)
    if lost is not None:
        wrong &= ~lost[:, None]
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{place}, row {source.line(int(row))}, column {names[column]}: "
            f"{values[row, column]} is not a finite number; {wrong.any(1).sum()} of "
            f"{len(values)} rows have such values"
        )
    if lost is not None and lost.any():
        notes.append(
            f"{place}: OpenFace found no face in {lost.sum()} of {len(lost)} rows; "
            "they become the mean of train"
        )
        values = np.where(lost[:, None], np.float32(np.nan), values)
    return values


def _in_order(
    place: str, table: pd.DataFrame, names: tuple[str, ...]
) -> tuple[pd.DataFrame, list[str]]:
    """Picks columns by their normalised names, and lists the rest."""
    columns = [normalise(str(column)) for column in table.columns]
    places = {column: place for place, column in enumerate(columns)}
    counts = Counter(columns)
    missing = [name for name in names if name not in places]
    twice = [name for name in names if counts[name] > 1]
    if missing:
        raise ValueError(f"{place}: {_missing(names, missing, columns)}")
    if twice:
        raise ValueError(
            f"{place}: {len(twice)} of {len(names)} columns occur more than once: "
            f"{shorten(twice)}"
        )
    rest = sorted(places.keys() - set(names), key=places.__getitem__)
    return table.iloc[:, [places[name] for name in names]], rest


def _missing(
    names: Sequence[str], missing: Sequence[str], columns: Sequence[str]
) -> str:
    return (
        f"{len(missing)} of {len(names)} columns are missing: {shorten(missing)}; the "
        f"table has {shorten(columns)}"
    )


# ---- sequences -----------------------------------------------------------------------


def _lengths(
    predictor: Predictor,
    place: str,
    count: int,
    recordings: np.ndarray | None,
    joined: np.ndarray | None,
) -> np.ndarray:
    """Counts the rows of each sequence."""
    if not predictor.over_time:
        if recordings is not None and len(set(recordings.tolist())) < count:
            name, most = Counter(recordings.tolist()).most_common(1)[0]
            raise ValueError(
                f"{place}: recording {str(name)!r} has {most} rows, but the model "
                "reads one row per recording"
            )
        return np.ones(count, int)
    if predictor.sequence:
        if joined is None:
            raise ValueError(
                "recordings is missing: the run joined utterances by "
                f"{predictor.sequence!r}"
            )
        return _runs(joined)
    return np.array([count]) if recordings is None else _runs(recordings)


def _runs(names: np.ndarray) -> np.ndarray:
    """Counts the rows of each name, in order."""
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    if len(set(names[starts].tolist())) < len(starts):
        raise ValueError("rows of a recording must be contiguous")
    return np.diff(np.append(starts, len(names)))


def _as_names(recordings: Any, count: int) -> np.ndarray:
    names = np.asarray(recordings)
    if names.shape != (count,):
        raise ValueError(f"recordings has shape {names.shape}; expected ({count},)")
    return names


def _alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return True
    return np.array_equal(one, other)
