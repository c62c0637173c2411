"""labels.csv and raters.csv.

Axes: N recordings, R rows of the corpus, r rows of a file, K targets, A raters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ifusion.corpora.columns import Columns, is_index
from ifusion.corpora.corpus import UNLABELLED, CorpusError, is_unlabelled, natural_order
from ifusion.corpora.folder.header import Header
from ifusion.corpora.folder.rows import Rows, codes_of, read_rows, take
from ifusion.corpora.folder.timeline import Timeline, align
from ifusion.corpora.likeness import spellings
from ifusion.corpora.tables.checks import class_column, positions, require_float32
from ifusion.corpora.tables.reading import SPREADSHEETS, find_table, read_columns
from ifusion.corpora.tables.table import Table
from ifusion.corpora.timing import (
    SLACK,
    nearest_frame,
    other_rate,
    stamp_notes,
    usual_offset,
)

UNRATED = 0.05  # share of rows without a rating that is worth a note
KEYS = {"recording", "time", "rater"}  # columns that are neither feature nor target


def read_labels(
    folder: Path, header: Header, recordings: Table, features: Rows
) -> tuple[tuple[str, ...], Rows, np.ndarray]:
    """Reads labels.csv: the targets, its rows, and their labels (r, K).

    If all recordings are of the partition `UNLABELLED` it may be absent: then there are
    no rows, of those of features.
    """
    found = find_table(folder, "labels", SPREADSHEETS)
    if found is None and set(recordings.text["partition"].tolist()) == {UNLABELLED}:
        targets = header.targets or ("label",)
        nothing = np.empty(
            (0, len(targets)), np.int32 if header.classes else np.float32
        )
        return targets, take(features, np.zeros(len(features.codes), bool)), nothing
    path = found or folder / "labels.csv"
    targets = header.targets or _only_target(path)
    if header.classes:
        table = read_rows(path, header.frame_step, targets, rest="ignore")
        labels = class_column(table, targets[0], header.classes)[:, None]
    else:
        table = read_rows(path, header.frame_step, (), targets, rest="ignore")
        columns = [require_float32(table, name, allow_nan=True) for name in targets]
        labels = np.stack(columns, 1)
    codes = codes_of(table, recordings)
    _require_labelled(table, targets, labels, recordings.text["partition"][codes])
    return targets, Rows(table, codes), labels


def place_labels(rows: Rows, labels: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Puts labels (r, K) into the order of the corpus: (R, K)."""
    source, places = align(rows, timeline, timeline.table.text["partition"] == "dev")
    missing = -1 if labels.dtype == np.int32 else np.nan
    placed = np.full((timeline.offsets[-1], labels.shape[1]), missing, labels.dtype)
    placed[places] = labels[source]
    return placed


def read_raters(
    folder: Path,
    header: Header,
    targets: tuple[str, ...],
    timeline: Timeline,
    tolerance: int,
    columns: Columns,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads raters.csv: {target: (R, A)}, {} if there is no such file; and notes."""
    path = find_table(folder, "raters", SPREADSHEETS)
    if path is None:
        return {}, []
    votes = targets if header.classes and targets[0] in read_columns(path) else ()
    keys, choose = ("rater", *votes), columns.choose_rated
    table = read_rows(path, header.frame_step, keys, choose=choose)
    rows = Rows(table, codes_of(table, timeline.table))
    if timeline.step is not None and tolerance:
        outside = _frames_outside(rows, timeline)
        rows = take(rows, (outside == 0) | (outside > tolerance))
    table = rows.table
    names = np.asarray(natural_order(table.text["rater"]))
    raters = positions(table, "rater", names, str(path))
    other = _other_rate(rows, timeline)
    starts = _first_times(rows, timeline)
    places = _rated_rows(rows, raters, timeline, _ask_times(other, starts, timeline))
    rated = {name: table.values[:, i] for i, name in enumerate(table.names)}
    for name in votes:
        found = class_column(table, name, header.classes).astype(np.float32)
        rated[name] = np.where(found < 0, np.nan, found)
    ratings = {}
    for name, column in sorted(rated.items()):
        table.require_none(np.isinf(column), name, lambda row: "the value is infinite")
        ratings[name] = np.full((timeline.offsets[-1], len(names)), np.nan, np.float32)
        ratings[name][places, raters] = column
    notes = spellings("raters", names.tolist())
    if other:
        notes.append(f"{path} has ratings{other}; frames between them have none")
        return ratings, notes
    notes += _list_stamps(path, ratings, starts, timeline)
    return ratings, [*notes, *_list_unrated(path, ratings)]


def _first_times(rows: Rows, timeline: Timeline) -> np.ndarray:
    """Returns when the ratings of each recording begin [s]: (N,), NaN without any."""
    starts = np.full(len(timeline.recording), np.inf)
    if timeline.step is not None:
        np.minimum.at(starts, rows.codes, rows.table.numbers["time"])
    return np.where(np.isinf(starts), np.nan, starts)


def _list_stamps(
    path: Path,
    ratings: Mapping[str, np.ndarray],
    starts: np.ndarray,
    timeline: Timeline,
) -> list[str]:
    """Notes that ratings usually begin later than features, where most were rated."""
    if timeline.step is None:
        return []
    rated = np.any([~np.isnan(x).all(1) for x in ratings.values()], axis=0)
    counts = np.add.reduceat(rated.astype(np.int64), timeline.offsets[:-1])
    most = counts > np.diff(timeline.offsets) / 2
    return stamp_notes(
        (timeline.source.name, path.name),
        np.stack([timeline.starts, np.where(most, starts, np.nan)]),
        timeline.recording.tolist(),
        timeline.step,
    )


def _ask_times(other: str, starts: np.ndarray, timeline: Timeline) -> str:
    """Says, for the end of a message, how the times of ratings differ from frames'."""
    if other:
        return f" (ratings come{other})"
    if timeline.step is None:
        return ""
    later = usual_offset(starts - timeline.starts, timeline.step) * timeline.step
    when = f"{abs(later):.3g} s {'after' if later > 0 else 'before'}"
    return f" (ratings begin {when} {timeline.source.name})" if later else ""


def _list_unrated(path: Path, ratings: Mapping[str, np.ndarray]) -> list[str]:
    """Notes how many rows nobody rated, if they are more than a few."""
    shares = {name: np.isnan(x).all(1).mean() for name, x in ratings.items()}
    return [
        f"{path}: nobody rated {name} in {share:.0%} of all rows"
        for name, share in shares.items()
        if share > UNRATED
    ]


def _other_rate(rows: Rows, timeline: Timeline) -> str:
    """Says at which rate ratings come, "" if it is that of the frames."""
    if timeline.step is None:
        return ""
    steps = np.diff(rows.table.numbers["time"])[np.diff(rows.codes) == 0]
    steps = steps[steps > 0]  # also where the raters of a frame follow each other
    usual = float(np.median(steps)) if len(steps) else timeline.step
    if abs(usual / timeline.step - 1) < SLACK:
        return ""
    return (
        f" every {usual:g} s, while frames come every {timeline.step:g} s"
        f"{other_rate(usual, timeline.step)}"
    )


def _only_target(path: Path) -> tuple[str, ...]:
    targets = tuple(n for n in read_columns(path) if n not in KEYS and not is_index(n))
    if len(targets) != 1:
        reason = (
            f"found the columns {targets[:8]}, expected one besides 'recording', or "
            "the key 'targets' in corpus.json"
        )
        raise CorpusError(reason, path, row=1)
    return targets


def _require_labelled(
    table: Table, targets: Sequence[str], labels: np.ndarray, partition: np.ndarray
) -> None:
    missing = is_unlabelled(labels)
    for name, wrong, what in (
        ("dev", missing, "no label; recordings of dev need them, to choose by"),
        (UNLABELLED, ~missing, "a label; leave it blank, or move it to 'train'"),
    ):
        cells = np.argwhere(wrong & (partition == name)[:, None])
        if len(cells):
            row, column = cells[0]
            recording = str(table.text["recording"][row])
            reason = f"recording {recording!r} of partition {name!r} has {what}"
            raise table.error(row, targets[column], reason)


def _rated_rows(
    rows: Rows, raters: np.ndarray, timeline: Timeline, hint: str
) -> np.ndarray:
    """Finds the corpus row of each rating; a rater may skip recordings and frames."""
    table, codes = rows
    names = [repr(name) for name in timeline.recording.tolist()]
    table.require_none(
        _frames_outside(rows, timeline) > 0,
        "time",
        lambda row: (
            f"time {table.numbers['time'][row]:g} s is outside recording "
            f"{names[codes[row]]}{hint}"
        ),
    )
    places = timeline.offsets[codes] + _frames(rows, timeline)
    table.require_none(
        pd.DataFrame({"row": places, "rater": raters}).duplicated().to_numpy(),
        "rater",
        lambda row: (
            f"rater {str(table.text['rater'][row])!r} rates recording "
            f"{names[codes[row]]} more than once at the same time{hint}"
        ),
    )
    return places


def _frames(rows: Rows, timeline: Timeline) -> np.ndarray:
    """Returns the frame within its recording of each row: (r,) int64."""
    if timeline.step is None:
        return np.zeros(len(rows.table), np.int64)
    times = rows.table.numbers["time"] - timeline.starts[rows.codes]
    return nearest_frame(times / timeline.step).astype(np.int64)


def _frames_outside(rows: Rows, timeline: Timeline) -> np.ndarray:
    """Returns how many frames each row is before or after its recording: (r,) int64."""
    frame = _frames(rows, timeline)
    after = frame - np.diff(timeline.offsets)[rows.codes] + 1
    return np.maximum(np.maximum(-frame, after), 0)
