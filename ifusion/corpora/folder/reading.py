"""The open folder format: a corpus as files that any tool can write.

Axes: N recordings, R rows (utterances or frames), F features, K targets, A raters.

    corpus.json       {"name", "task": "classification" | "regression",
                       "classes": [...] in code order (classification only),
                       "targets": [...] (a classification may leave it to labels.csv),
                       "frame_step": [s] (time-continuous only),
                       "modalities": {"audio": 88, ...} with the number of features,
                       or a list of names,
                       "licence", "citation", "notes": [...] (all three optional)}
    recordings.csv    recording, partition, speaker, any further columns (kept as text)
    labels.csv        recording, [time], one column a target; class names, not codes;
                      a test recording may be absent or blank
    raters.csv        recording, [time], rater, one column a rated target; optional
    features/<modality>.csv   recording, [time], one column a feature

`time` [s] is there where `frame_step` is. Labels, raters and features may be Parquet
instead (needs pyarrow); features also npz or HDF5 (.h5 or .hdf5, needs h5py; arrays or
datasets `recording`, `time`, `names` (F,), `values` (R, F)) or npy (a structured array,
a field a column), which is memory-mapped if its features are neighbouring float32
fields in the order of recordings.csv, so that it may exceed the memory. Nothing is ever
unpickled. Not in the paper.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.arrays import require_file, save_datasets
from ifusion.corpora.corpus import (
    PARTITIONS,
    Corpus,
    CorpusError,
    Modality,
    concatenated_ranges,
    natural_order,
    require_partitions,
)
from ifusion.corpora.tabular import (
    SUFFIXES,
    Rest,
    Table,
    class_column,
    find_table,
    positions,
    read_columns,
    read_table,
    require_float32,
    require_steps,
    require_times,
    require_unique,
    require_values,
)

KEYS = {"recording", "time", "rater"}  # columns that are no feature and no target
SHEETS = (".csv", ".parquet")
FRAME_STEPS = (1e-6, 1e6)  # [s], least and greatest
Format = Literal["csv", "parquet", "npz", "npy", "h5"]


@dataclass(frozen=True)
class Header:
    """What corpus.json says; fields as in `Corpus`.

    Attributes:
      widths: {modality: number of features}, None where it is not stated.
      targets: () where labels.csv decides.
    """

    name: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    widths: Mapping[str, int | None]
    frame_step: float | None
    licence: str
    citation: str
    notes: tuple[str, ...]


class Rows(NamedTuple):
    """The rows of a file, and whose they are.

    Attributes:
      table: the file.
      codes: (r,) int64, recording of each row.
    """

    table: Table
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class Timeline:
    """Which rows of the corpus belong to which recording, and when they are.

    Attributes:
      table: recordings.csv.
      source: the file that lengths come from.
      offsets: (N + 1,) as in `Corpus`.
      starts: (N,) time of the first frame [s], 0 without a frame step.
      step: frame step [s] or None.
    """

    table: Table
    source: Path
    offsets: np.ndarray
    starts: np.ndarray
    step: float | None

    @property
    def recording(self) -> np.ndarray:
        """(N,) str."""
        return self.table.text["recording"]


def read_corpus(
    folder: Path | str, allow_nan: bool = False, tolerance: int = 0
) -> Corpus:
    """Reads and checks a folder in the open format.

    Args:
      folder: where corpus.json is.
      allow_nan: whether features may lack values; set it where gaps will be imputed.
      tolerance: [frame] that the features and labels of a recording may begin or end
        apart; it is then cut to the frames that all of them have, and a note says so.

    Raises:
      CorpusError: anything is wrong; the sentence names file, row and column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder}: there is no such folder")
    if tolerance < 0:
        raise CorpusError(f"tolerance is {tolerance} frames, expected 0 or more")
    header = read_header(folder / "corpus.json")
    recordings = _read_recordings(folder / "recordings.csv")
    features = _read_features(folder, header, recordings, allow_nan)
    labelling, labels = _read_labels(folder, header, recordings)
    notes: list[str] = []
    if header.frame_step is not None and tolerance:
        rows = {**features, "labels": labelling}
        keep, notes = _common_frames(rows, recordings, header.frame_step, tolerance)
        features = {name: _take(features[name], keep[name]) for name in features}
        labelling, labels = _take(labelling, keep["labels"]), labels[keep["labels"]]
    timeline = _timeline(next(iter(features.values())), recordings, header.frame_step)
    modalities = {name: _place(rows, timeline) for name, rows in features.items()}
    targets = header.targets or _only_target(labelling.table.path)
    text = dict(recordings.text)
    corpus = Corpus(
        name=header.name,
        recording=text.pop("recording"),
        partition=text.pop("partition"),
        speaker=text.pop("speaker"),
        modalities=modalities,
        targets=targets,
        labels=_place_labels(labelling, labels, timeline),
        classes=header.classes,
        frame_step=header.frame_step,
        offsets=timeline.offsets,
        attributes=text,
        raters=_read_raters(folder, header, targets, timeline, tolerance),
        licence=header.licence,
        citation=header.citation,
        notes=(*header.notes, *notes),
    )
    require_partitions(corpus)
    return corpus


def read_header(path: Path) -> Header:
    """Reads and checks corpus.json.

    Raises:
      CorpusError: it is missing, no JSON, or a key is missing, unknown or wrong.
    """
    data = _read_json(path)
    allowed = {"name", "task", "classes", "targets", "modalities", "frame_step"}
    allowed |= {"licence", "citation", "notes"}
    for key in data:
        if key not in allowed:
            raise CorpusError(
                f"{path}, key {key!r} is unknown, expected some of {sorted(allowed)}"
            )
    task = _text(path, data, "task")
    if task not in ("classification", "regression"):
        raise CorpusError(
            f"{path}, key 'task' is {task!r}, expected 'classification' or 'regression'"
        )
    classes = _names(path, data, "classes") if task == "classification" else ()
    targets = () if classes and "targets" not in data else _names(path, data, "targets")
    if classes and len(targets) > 1:
        raise CorpusError(f"{path}, key 'targets': a classification has one target")
    if task == "regression" and "classes" in data:
        raise CorpusError(f"{path}, key 'classes' does not go with a regression")
    return Header(
        name=_text(path, data, "name"),
        classes=classes,
        targets=targets,
        widths=_widths(path, data),
        frame_step=_frame_step(path, data),
        licence=_text(path, {"licence": "", **data}, "licence"),
        citation=_text(path, {"citation": "", **data}, "citation"),
        notes=_texts(path, {"notes": [], **data}, "notes"),
    )


def write_corpus(corpus: Corpus, folder: Path | str, features: Format = "csv") -> None:
    """Writes a folder that `read_corpus` reads back exactly.

    The folder appears whole or not at all. Times of a recording are counted from 0.

    Args:
      corpus: any corpus.
      folder: must not exist, or be empty.
      features: format of the feature files.

    Raises:
      CorpusError: the folder is not empty, or a name cannot be a column.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CorpusError(f"{folder}: already exists and is not an empty folder")
    _check_names(corpus)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    (partial / "features").mkdir(parents=True)
    try:
        _write_files(corpus, partial, features)
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# ---- corpus.json -------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise CorpusError(f"{path}, key {key!r} occurs more than once")
        return dict(pairs)

    try:
        text = require_file(path).read_text("utf-8-sig")
        data = json.loads(text, object_pairs_hook=distinct)
        json.dumps(data, ensure_ascii=False).encode("utf-8")  # half characters
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{path}, row {error.lineno}, column {error.colno}: not JSON ({error.msg})"
        ) from error
    except UnicodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text ({error})") from error
    except CorpusError:
        raise
    except (ValueError, RecursionError) as error:  # endless digits or brackets
        raise CorpusError(f"{path}: not JSON ({error})") from error
    if not isinstance(data, dict):
        raise CorpusError(f"{path}: expected an object {{...}} with keys")
    return data


def _value(path: Path, data: Mapping[str, Any], key: str) -> Any:
    if key not in data:
        raise CorpusError(f"{path}: key {key!r} is missing")
    return data[key]


def _text(path: Path, data: Mapping[str, Any], key: str) -> str:
    value = _value(path, data, key)
    if not isinstance(value, str):
        raise CorpusError(f"{path}, key {key!r} is {value!r}, expected a text")
    return value


def _texts(path: Path, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = _value(path, data, key)
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise CorpusError(f"{path}, key {key!r} is {value!r}, expected a list of texts")
    return tuple(value)


def _names(path: Path, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = _texts(path, data, key)
    if not names or len(set(names)) < len(names):
        raise CorpusError(
            f"{path}, key {key!r} is {list(names)!r}, expected one or more distinct "
            "names"
        )
    return names


def _widths(path: Path, data: Mapping[str, Any]) -> dict[str, int | None]:
    value = _value(path, data, "modalities")
    if isinstance(value, list):
        return dict.fromkeys(_names(path, data, "modalities"))
    whole = isinstance(value, dict) and all(
        isinstance(v, int) and v > 0 and v is not True for v in value.values()
    )
    if not value or not whole:
        raise CorpusError(
            f"{path}, key 'modalities' is {value!r}, expected a list of names or an "
            "object of names with their number of features"
        )
    return dict(value)


def _frame_step(path: Path, data: Mapping[str, Any]) -> float | None:
    step = data.get("frame_step")
    number = isinstance(step, int | float) and not isinstance(step, bool)
    if step is not None and not (number and FRAME_STEPS[0] <= step <= FRAME_STEPS[1]):
        raise CorpusError(
            f"{path}, key 'frame_step' is {step!r}, expected a number from "
            f"{FRAME_STEPS[0]:g} to {FRAME_STEPS[1]:g} [s]"
        )
    return None if step is None else float(step)


# ---- recordings, features ----------------------------------------------------------


def _read_recordings(path: Path) -> Table:
    table = read_table(path, ("recording", "partition", "speaker"), rest="text")
    require_unique(table, "recording")
    for column, allowed in (("recording", None), ("partition", PARTITIONS)):
        for row, value in enumerate(table.text[column].tolist()):
            if not value or (allowed and value not in allowed):
                expected = f"one of {allowed}" if allowed else "a name"
                raise table.error(row, column, f"{value!r} found, expected {expected}")
    for partition in ("train", "dev"):
        if partition not in table.text["partition"]:
            raise CorpusError(
                f"{path}, column 'partition': no recording is in {partition!r}, "
                "expected at least one"
            )
    return table


def _read_features(
    folder: Path, header: Header, recordings: Table, allow_nan: bool
) -> dict[str, Rows]:
    features: dict[str, Rows] = {}
    for name, width in header.widths.items():
        path = find_table(folder / "features", name)
        if path is None:
            raise CorpusError(
                f"{folder / 'features' / name}.csv: there is no such file, in none of "
                f"the formats {SUFFIXES}, but corpus.json names modality {name!r}"
            )
        table = _read_rows(path, header.frame_step)
        if width not in (None, len(table.names)):
            raise CorpusError(
                f"{path}, row 1: found {len(table.names)} feature columns, expected "
                f"{width} as corpus.json says for modality {name!r}"
            )
        require_values(table, allow_nan)
        codes = positions(
            table, "recording", recordings.text["recording"], "recordings.csv"
        )
        features[name] = Rows(table, codes)
    return features


def _place(rows: Rows, timeline: Timeline) -> Modality:
    """Brings features into the order of the corpus."""
    table = rows.table
    everywhere = np.full(len(timeline.table), True)
    source, _ = align(table, rows.codes, timeline, everywhere)
    ordered = np.array_equal(source, np.arange(len(table)))
    # a table in order stays as it is, so that a memory map stays on disk
    values = table.values if ordered else table.values[source]
    return Modality(table.names, values)


def _common_frames(
    files: Mapping[str, Rows], recordings: Table, step: float, tolerance: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Finds the frames of each recording that all files have.

    Returns:
      {file: (r,) bool, rows to keep}, and a note for each recording that is cut.

    Raises:
      CorpusError: files begin or end more frames apart than is tolerated, or the times
        of one have a gap, repeat, or go back.
    """
    num = len(recordings)
    starts, counts = (np.full((len(files), num), np.nan) for _ in range(2))
    orders = []
    for k, (table, codes) in enumerate(files.values()):
        order = np.argsort(codes, kind="stable")
        owner = codes[order]
        require_steps(table, "time", step, order, owner)
        present, first, lengths = np.unique(
            owner, return_index=True, return_counts=True
        )
        starts[k, present] = table.numbers["time"][order[first]]
        counts[k, present] = lengths
        orders.append((order, np.arange(len(order)) - np.searchsorted(owner, owner)))
    begins = np.rint((starts - np.fmin.reduce(starts)) / step)
    stops = begins + counts
    low, high = np.fmax.reduce(begins), np.fmin.reduce(stops)
    apart = np.fmax(low - np.fmin.reduce(begins), np.fmax.reduce(stops) - high)

    def describe(i: Any) -> str:
        there = zip(files, counts[:, i], strict=True)
        return ", ".join(f"{name} {n:.0f}" for name, n in there if not np.isnan(n))

    wrong = np.flatnonzero((apart > tolerance) | (high <= low))
    if len(wrong):
        i = int(wrong[0])
        name = str(recordings.text["recording"][i])
        raise recordings.error(
            i,
            "recording",
            f"the files of {name!r} begin or end {apart[i]:.0f} frames apart "
            f"({describe(i)}), expected at most {tolerance} (the tolerance)",
        )
    keep = {}
    for k, (name, rows) in enumerate(files.items()):
        order, place = orders[k]
        frame = np.empty(len(order))
        frame[order] = begins[k, rows.codes[order]] + place
        keep[name] = (frame >= low[rows.codes]) & (frame < high[rows.codes])
    notes = [
        f"{recordings.text['recording'][i]} was cut to {high[i] - low[i]:.0f} common "
        f"frames ({describe(i)})"
        for i in np.flatnonzero(apart > 0)
    ]
    return keep, notes


def _take(rows: Rows, keep: np.ndarray) -> Rows:
    """Keeps some rows of a table, given by (r,) bool; a memory map only if all."""
    table, kept = rows.table, np.flatnonzero(keep)
    if len(kept) == len(table):
        return rows
    part = replace(
        table,
        text={name: column[kept] for name, column in table.text.items()},
        numbers={name: column[kept] for name, column in table.numbers.items()},
        values=table.values[kept],
        line=lambda row: table.line(int(kept[row])),
    )
    return Rows(part, rows.codes[kept])


def _read_rows(
    path: Path,
    step: float | None,
    text: Sequence[str] = (),
    numbers: Sequence[str] = (),
    rest: Rest = "numeric",
) -> Table:
    """Reads a table with a row a recording, or a row a frame where there is a step."""
    time = () if step is None else ("time",)
    table = read_table(path, ("recording", *text), (*time, *numbers), rest)
    if step is None and "time" in table.names:
        raise CorpusError(
            f"{path}, row 1, column 'time': corpus.json has no 'frame_step', which "
            "time-continuous corpora need"
        )
    if step is not None:
        require_times(table, "time")
    return table


def _timeline(rows: Rows, recordings: Table, step: float | None) -> Timeline:
    """Takes lengths and first times of the recordings from a modality."""
    table, codes = rows
    num = len(recordings)
    counts = np.bincount(codes, minlength=num) if step else np.ones(num, np.int64)
    starts = np.zeros(num)
    if step:
        first = np.full(num, -1)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        starts = np.where(first >= 0, table.numbers["time"][first], 0.0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Timeline(recordings, table.path, offsets, starts, step)


def align(
    table: Table, codes: np.ndarray, timeline: Timeline, required: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Matches the rows of a table to the rows of the corpus.

    Args:
      table: any table with "recording" and, where there is a step, "time".
      codes: (r,) recording of each row.
      timeline: of the corpus.
      required: (N,) bool, recordings that must be in the table.

    Returns:
      (r,), (r,) int64: row of the table, row of the corpus; the latter ascending.

    Raises:
      CorpusError: a required recording is absent, one is there twice, its times have a
        gap, repeat, or go back, or its length or start is another one.
    """
    counts = np.bincount(codes, minlength=len(required))
    absent = np.flatnonzero(required & (counts == 0))
    if len(absent):
        row = int(absent[0])
        name = str(timeline.recording[row])
        raise timeline.table.error(
            row, "recording", f"{name!r} has no row in {table.path}"
        )
    if timeline.step is None:
        require_unique(table, "recording")
    source = np.argsort(codes, kind="stable")
    if timeline.step is not None:
        require_steps(table, "time", timeline.step, source, codes[source])
        _check_extent(table, codes, counts, timeline, timeline.step)
    present = np.flatnonzero(counts)
    return source, concatenated_ranges(timeline.offsets[present], counts[present])


def _check_extent(
    table: Table,
    codes: np.ndarray,
    counts: np.ndarray,
    timeline: Timeline,
    step: float,
) -> None:
    """Refuses recordings longer, shorter or earlier than in the first modality."""
    expected = np.diff(timeline.offsets)
    wrong = np.flatnonzero((counts > 0) & (counts != expected))
    if len(wrong):
        last = int(np.flatnonzero(codes == wrong[0])[-1])
        raise table.error(
            last,
            "time",
            f"recording {str(timeline.recording[wrong[0]])!r} ends after "
            f"{counts[wrong[0]]} frames, expected {expected[wrong[0]]} as in "
            f"{timeline.source}",
        )
    _, first = np.unique(codes, return_index=True)
    starts = timeline.starts[codes[first]]
    shifted = np.abs(table.numbers["time"][first] - starts) > step / 2
    if shifted.any():
        row = int(first[shifted.argmax()])
        raise table.error(
            row,
            "time",
            f"recording {str(table.text['recording'][row])!r} starts at "
            f"{table.numbers['time'][row]:g} s, expected "
            f"{starts[shifted.argmax()]:g} s as in {timeline.source}",
        )


# ---- labels, raters ----------------------------------------------------------------


def _read_labels(
    folder: Path, header: Header, recordings: Table
) -> tuple[Rows, np.ndarray]:
    """Reads labels.csv, and the labels (r, K) of its rows."""
    path = find_table(folder, "labels", SHEETS) or folder / "labels.csv"
    targets = header.targets or _only_target(path)
    if header.classes:
        table = _read_rows(path, header.frame_step, targets, rest="ignore")
        found = class_column(table, targets[0], header.classes)[:, None]
    else:
        table = _read_rows(path, header.frame_step, (), targets, rest="ignore")
        columns = [require_float32(table, name, allow_nan=True) for name in targets]
        found = np.stack(columns, 1)
    names, partition = (recordings.text[name] for name in ("recording", "partition"))
    codes = positions(table, "recording", names, "recordings.csv")
    _require_labelled(table, targets, found, partition[codes])
    return Rows(table, codes), found


def _place_labels(rows: Rows, found: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Brings labels into the order of the corpus: (R, K)."""
    required = timeline.table.text["partition"] != "test"
    source, places = align(*rows, timeline, required)
    missing = -1 if found.dtype == np.int32 else np.nan
    labels = np.full((timeline.offsets[-1], found.shape[1]), missing, found.dtype)
    labels[places] = found[source]
    return labels


def _only_target(path: Path) -> tuple[str, ...]:
    columns = _column_names(path)
    targets = tuple(column for column in columns if column not in KEYS)
    if len(targets) != 1:
        raise CorpusError(
            f"{path}, row 1: found the columns {targets} beside 'recording', expected "
            "one; corpus.json may choose it by 'targets'"
        )
    return targets


def _require_labelled(
    table: Table, targets: Sequence[str], labels: np.ndarray, partition: np.ndarray
) -> None:
    blank = (labels < 0) if labels.dtype == np.int32 else np.isnan(labels)
    wrong = np.argwhere(blank & (partition != "test")[:, None])
    if len(wrong):
        row, column = wrong[0]
        name, part = str(table.text["recording"][row]), str(partition[row])
        raise table.error(
            int(row),
            targets[column],
            f"recording {name!r} of partition {part!r} has no label; only test may "
            "lack labels",
        )


def _read_raters(
    folder: Path,
    header: Header,
    targets: tuple[str, ...],
    timeline: Timeline,
    tolerance: int,
) -> dict[str, np.ndarray]:
    path = find_table(folder, "raters", SHEETS)
    if path is None:
        return {}
    votes = targets if header.classes and targets[0] in _column_names(path) else ()
    table = _read_rows(path, header.frame_step, ("rater", *votes))
    codes = positions(table, "recording", timeline.recording, "recordings.csv")
    if timeline.step is not None and tolerance:
        outside = _frames_outside(
            _rated_frames(table, codes, timeline), timeline, codes
        )
        cut = (outside > 0) & (outside <= tolerance)
        table, codes = _take(Rows(table, codes), ~cut)
    names = np.asarray(natural_order(table.text["rater"]))
    raters = positions(table, "rater", names, str(path))
    rows = _rater_rows(table, codes, raters, timeline)
    columns = {name: table.values[:, i] for i, name in enumerate(table.names)}
    for name in votes:
        found = class_column(table, name, header.classes).astype(np.float32)
        columns[name] = np.where(found < 0, np.nan, found)
    ratings = {}
    for name, column in sorted(columns.items()):
        if np.isinf(column).any():
            row = int(np.isinf(column).argmax())
            raise table.error(row, name, "value is infinite, expected a finite number")
        ratings[name] = np.full((timeline.offsets[-1], len(names)), np.nan, np.float32)
        ratings[name][rows, raters] = column
    return ratings


def _column_names(path: Path) -> tuple[str, ...]:
    if path.suffix == ".csv":
        return read_columns(path)
    return tuple(read_table(path, ("recording",), rest="text").text)


def _rater_rows(
    table: Table, codes: np.ndarray, raters: np.ndarray, timeline: Timeline
) -> np.ndarray:
    """Finds the corpus row of each rating; a rater may skip recordings and frames."""
    frame = np.zeros(len(table), np.int64)
    if timeline.step:
        frame = _rated_frames(table, codes, timeline)
        outside = _frames_outside(frame, timeline, codes) > 0
        if outside.any():
            row = int(outside.argmax())
            time, name = table.numbers["time"][row], str(table.text["recording"][row])
            problem = f"time {time:g} s is outside recording {name!r}"
            raise table.error(row, "time", problem)
    rows = timeline.offsets[codes] + frame
    again = pd.DataFrame({"row": rows, "rater": raters}).duplicated().to_numpy()
    if again.any():
        row = int(again.argmax())
        rater, name = table.text["rater"][row], table.text["recording"][row]
        problem = f"rater {str(rater)!r} rates recording {str(name)!r} more than once"
        raise table.error(row, "rater", f"{problem} at the same time")
    return rows


def _rated_frames(table: Table, codes: np.ndarray, timeline: Timeline) -> np.ndarray:
    """Counts frames from the first of a recording to each time: (r,) int64."""
    exact = (table.numbers["time"] - timeline.starts[codes]) / (timeline.step or 1.0)
    return np.rint(exact).astype(np.int64)


def _frames_outside(
    frame: np.ndarray, timeline: Timeline, codes: np.ndarray
) -> np.ndarray:
    """Says by how many frames each is before or behind its recording: (r,) int64."""
    behind = frame - np.diff(timeline.offsets)[codes] + 1
    return np.maximum(np.maximum(-frame, behind), 0)


# ---- writing -----------------------------------------------------------------------


def _check_names(corpus: Corpus) -> None:
    columns = {
        "feature": [n for m in corpus.modalities.values() for n in m.names],
        "target": [*corpus.targets, *corpus.raters],
        "attribute": list(corpus.attributes),
    }
    for kind, names in columns.items():
        for name in names:
            if name in KEYS or name != name.strip():
                raise CorpusError(
                    f"{kind} {name!r} cannot be a column: {sorted(KEYS)} and outer "
                    "blanks are taken"
                )


def _write_files(corpus: Corpus, folder: Path, features: Format) -> None:
    header = {
        "name": corpus.name,
        "task": corpus.task,
        **({"classes": list(corpus.classes)} if corpus.classes else {}),
        "targets": list(corpus.targets),
        **({"frame_step": corpus.frame_step} if corpus.frame_step else {}),
        "modalities": {name: len(m.names) for name, m in corpus.modalities.items()},
        "licence": corpus.licence,
        "citation": corpus.citation,
        "notes": list(corpus.notes),
    }
    text = json.dumps(header, indent=2, ensure_ascii=False)
    (folder / "corpus.json").write_text(text + "\n", "utf-8")
    columns = {"partition": corpus.partition, "speaker": corpus.speaker}
    recordings = {"recording": corpus.recording, **columns, **corpus.attributes}
    _write_csv(folder / "recordings.csv", recordings)
    keys = _key_columns(corpus)
    labels = {
        t: _named(corpus, t, corpus.labels[:, k]) for k, t in enumerate(corpus.targets)
    }
    _write_csv(folder / "labels.csv", {**keys, **labels})
    if corpus.raters:
        _write_csv(folder / "raters.csv", _rater_columns(corpus, keys))
    for name, modality in corpus.modalities.items():
        path = folder / "features" / f"{name}.{features}"
        _write_features(path, keys, modality)


def _key_columns(corpus: Corpus) -> dict[str, np.ndarray]:
    lengths = np.diff(corpus.offsets)
    keys = {"recording": np.repeat(corpus.recording, lengths)}
    if corpus.frame_step:
        frames = concatenated_ranges(np.zeros_like(lengths), lengths)
        # rounded to the nanosecond: 0.12 reads better than 0.12000000000000001
        keys["time"] = np.round(frames * corpus.frame_step, 9)
    return keys


def _named(corpus: Corpus, target: str, column: np.ndarray) -> np.ndarray:
    """Writes class indices as names, blank where there is none."""
    if not corpus.classes or target not in corpus.targets:
        return column
    codes = np.where(np.isnan(column), -1, column).astype(np.int64)
    return np.array([*corpus.classes, ""])[codes]


def _rater_columns(
    corpus: Corpus, keys: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    num = corpus.num_raters
    columns = {name: np.repeat(column, num) for name, column in keys.items()}
    columns["rater"] = np.tile(np.arange(num), corpus.num_rows)
    for target, ratings in corpus.raters.items():
        columns[target] = _named(corpus, target, ratings.reshape(-1))
    return columns


def _write_csv(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n")


def _write_features(
    path: Path, keys: Mapping[str, np.ndarray], modality: Modality
) -> None:
    names = np.array(modality.names)
    arrays = {**keys, "names": names, "values": modality.values}
    if path.suffix == ".npz":
        np.savez(path, allow_pickle=False, **arrays)
        return
    if path.suffix == ".h5":
        save_datasets(path, arrays)
        return
    if path.suffix == ".npy":
        _write_records(path, keys, modality)
        return
    frame = pd.concat(
        [
            pd.DataFrame(dict(keys)),
            pd.DataFrame(modality.values, columns=list(modality.names)),
        ],
        axis=1,
    )
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, lineterminator="\n")
    else:
        frame.to_parquet(path, index=False)


def _write_records(
    path: Path, keys: Mapping[str, np.ndarray], modality: Modality
) -> None:
    fields = [(name, column.dtype) for name, column in keys.items()]
    fields += [(name, np.dtype(np.float32)) for name in modality.names]
    records = np.empty(len(modality.values), fields)
    for name, column in keys.items():
        records[name] = column
    for i, name in enumerate(modality.names):
        records[name] = modality.values[:, i]
    with path.open("wb") as file:
        # stated, since numpy warns where it must choose 2.0 for a long list of names
        np.lib.format.write_array(file, records, (2, 0), allow_pickle=False)
