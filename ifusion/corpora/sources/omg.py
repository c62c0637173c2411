"""OMG-Emotion (Sec. 4.1.1) from its official label files and your feature tables.

The corpus may not be redistributed, and many of its videos are gone, so you bring the
features: one table per modality, keyed by the columns `video` and `utterance`.
Utterances that lack a modality are left out, and listed in `Corpus.notes`.

The folder holds, named as in the public repository, omg_TrainVideos.csv,
omg_ValidationVideos.csv, optionally a test file with or without labels, and optionally
DetailedAnnotation/{train,validation}/<video>/<utterance>/<k>.txt, the ratings of
annotator k (header `arousal,valence,emotion`; 0 to 100, -100 to 100, a class name).

Axes: N recordings (= utterances), F features, K targets, A raters.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import (
    PARTITIONS,
    Corpus,
    CorpusError,
    Frames,
    Modality,
    require_partitions,
    shorten,
)
from ifusion.corpora.description import missing_notes, unlabelled_notes
from ifusion.corpora.folder.frames import place_frames
from ifusion.corpora.folder.rows import Rows, take
from ifusion.corpora.functionals import pool_frames
from ifusion.corpora.names import MEDIA
from ifusion.corpora.tables import delimited
from ifusion.corpora.tables.checks import (
    require_float32,
    require_numbers,
    require_times,
    require_unique,
    require_values,
)
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.corpora.tables.table import Table
from ifusion.paths import expand_path

CLASSES = ("anger", "disgust", "fear", "happy", "neutral", "sad", "surprise")
DIMENSIONS = ("arousal", "valence")
LABELS = (*DIMENSIONS, "EmotionMaxVote")
# of the public repository; the first file of test that exists is read
LABEL_FILES = {"train": "omg_TrainVideos.csv", "dev": "omg_ValidationVideos.csv"}
TEST_FILES = (
    "omg_TestVideos_WithLabels.csv",
    "omg_TestVideos.csv",
    "omg_TestVideos_WithoutLabels.csv",
)
ANNOTATIONS = "DetailedAnnotation"  # folder of the raters' files, which need not exist
FOLDERS = {"train": "train", "dev": "validation", "test": "test"}
MAX_RATERS = 1000  # so that a stray file cannot exhaust the memory
NOTABLE_LOSS = 0.05  # share of a partition; losing more suggests wrong ids
RATING_SCALE = 100.0  # annotators used 0 to 100, the gold standard 0 to 1
LICENCE = "CC BY-NC-SA 3.0 DE; research only, not to be passed on to any second party"
CITATION = (
    "P. Barros, N. Churamani, E. Lakomkin, H. Siqueira, A. Sutherland, S. Wermter "
    "(2018). The OMG-Emotion Behavior Dataset. Proc. IJCNN."
)


def read_omg(
    path: Path | str,
    features: Mapping[str, Path | str],
    target: str | tuple[str, ...] = "emotion",
    impute: bool = False,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
    max_missing: float = 0.5,
    links: Literal["official", "unseen"] = "official",
    frame_steps: Mapping[str, float | None] | None = None,
    missing: Literal["leave_out", "mask"] = "leave_out",
) -> Corpus:
    """Reads OMG-Emotion.

    Args:
      path: folder of the official CSV files.
      features: {modality: file}, relative to `path`: CSV, ARFF, Parquet, npz, npy or
        HDF5 with the columns `video`, `utterance` and one column per feature.
        "utterance_1.mp4", "utterance_1.WAV" and "utterance_1" are the same.
      target: "emotion" (seven classes), or dimensions such as ("arousal", "valence").
      impute: whether features may lack values (NaN), which become the train mean.
      ignore: names or patterns of columns that are not features, see `Columns`.
      keep: of columns that are features whatever their name.
      max_missing: share of a partition, 0 to 1, that may lack features of a modality.
      links: "official" keeps the partitions, in which most dev utterances are cut from
        a link that is also in train; "unseen" leaves out utterances of train whose link
        is in dev or test, and of dev whose link is in test, so that scores are for
        unseen people. Not in the paper.
      frame_steps: {modality: [s]} of those whose file has a row per frame, with a
        column `time` [s], or `step` where the step is None; None or {} = every file has
        a row per utterance.
      missing: "leave_out" drops utterances that lack a modality; "mask", with
        frame_steps, keeps them for the modalities they have.

    Returns:
      Corpus of utterances, with or without frames, in the order train, dev, test; the
      utterances of a video are in order of time. A recording is "video/utterance". OMG
      names no speakers: the YouTube link stands in for the speaker, since several
      videos (e3b57cfd8_5, e3b57cfd8_7) are cut from one link. Attributes: "video",
      "utterance", "start", "end" [s], "arousal", "valence" (empty where unlabelled).
      Raters: "emotion", "arousal" in [0, 1], "valence" in [-1, 1]; annotator k of one
      video need not be annotator k of another.

    Raises:
      CorpusError: a file is missing or wrong, or too many utterances lack features.
      ValueError: target, links or missing is unknown or does not suit, or there is no
        modality.

    Example:
      >>> import ifusion.corpora
      >>> features = {"audio": "egemaps.csv", "video": "vggface.parquet"}
      >>> ifusion.corpora.omg("OMGEmotionChallenge", features)  # doctest: +SKIP
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    steps = dict(frame_steps or {})
    _check_options(features, targets, links, steps, missing)
    folder, columns = expand_path(path), Columns(ignore, keep)
    sheet, notes = read_sheet(folder)
    tables = {
        m: _read_features(folder / expand_path(p), impute, columns, _order_of(m, steps))
        for m, p in features.items()
    }
    notes += [note for table in tables.values() for note in table.notes]
    notes += columns.finish(("emotion", *LABELS, "start", "end"))
    if links == "unseen":
        sheet, apart = _keep_unseen(sheet)
        notes += apart
    sheet, dropped = _drop_incomplete(sheet, tables, max_missing, missing == "mask")
    raters, absent = _read_raters(folder / ANNOTATIONS, sheet)
    frames: dict[str, Frames] = {}
    for m, table in tables.items() if steps else ():
        frames[m], said = _select_frames(
            table, sheet, _order_of(m, steps), steps.get(m)
        )
        notes += said
    corpus = Corpus(
        name="OMG-Emotion",
        recording=_column(sheet, "key"),
        partition=_column(sheet, "partition"),
        speaker=_column(sheet, "speaker"),
        modalities={
            m: pool_frames(frames[m]) if m in steps else _select(t, sheet)
            for m, t in tables.items()
        },
        frames=frames,
        targets=targets,
        labels=_labels(sheet, targets),
        classes=CLASSES if targets == ("emotion",) else (),
        attributes={
            name: _column(sheet, name)
            for name in ("video", "utterance", "start", "end", *DIMENSIONS)
        },
        raters=raters,
        licence=LICENCE,
        citation=CITATION,
        notes=(*notes, *dropped, *absent),
    )
    require_partitions(corpus)
    said = unlabelled_notes(corpus, _column(sheet, "partition"))
    said += missing_notes(corpus)
    return replace(corpus, notes=(*corpus.notes, *said)) if said else corpus


def _check_options(
    features: Mapping[str, Path | str],
    targets: Sequence[str],
    links: str,
    steps: Mapping[str, float | None],
    missing: str,
) -> None:
    if targets != ("emotion",) and not (targets and set(targets) <= set(DIMENSIONS)):
        raise ValueError(
            f"target is {targets}, expected 'emotion' or some of {DIMENSIONS}"
        )
    if links not in ("official", "unseen"):
        raise ValueError(f"links is {links!r}, expected 'official' or 'unseen'")
    if missing not in ("leave_out", "mask"):
        raise ValueError(f"missing is {missing!r}, expected 'leave_out' or 'mask'")
    if missing == "mask" and not steps:
        raise ValueError("missing is 'mask', which needs frames: set frame_steps")
    if not features:
        raise ValueError("features is empty, expected a file for each modality")
    for m, step in steps.items():
        if m not in features or not (step is None or step > 0):
            raise ValueError(
                f"frame_steps has {m!r}: {step}, expected None or a positive number "
                f"[s] for some of {', '.join(features)}"
            )


def read_sheet(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Reads the label files: one row per utterance, and notes of what was done."""
    files, notes = dict(LABEL_FILES), []
    tests = [name for name in TEST_FILES if (folder / name).is_file()]
    if tests:
        files["test"] = tests[0]
    else:
        notes.append(f"no test partition: none of {shorten(TEST_FILES)} exists")
    sheets = [_read_labels(folder / name, p) for p, name in files.items()]
    sheet = pd.concat(sheets, ignore_index=True)
    # a repeated utterance stays in test, else in dev, else in train
    later_first = sheet.sort_values("rank", ascending=False, kind="stable")
    again = later_first[later_first.duplicated("same")]
    if len(again):
        keys = shorten(again["key"], len(again))
        notes.append(f"{len(again)} repeated utterances were dropped: {keys}")
    sheet = sheet.drop(index=again.index)
    return sheet.sort_values(["rank", "video rank", "start"], kind="stable"), notes


def _keep_unseen(sheet: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leaves out utterances whose link is in a later partition, and notes how many."""
    last = sheet.groupby("speaker")["rank"].transform("max")
    seen = sheet[sheet["rank"] < last]
    counts = seen["partition"].value_counts(sort=False)
    said = ", ".join(
        f"{count} of {int((sheet['partition'] == name).sum())} {name}"
        for name, count in counts.items()
    )
    notes = [f"utterances of links that a later partition has were left out: {said}"]
    return sheet.drop(index=seen.index), notes if len(seen) else []


def _read_labels(path: Path, partition: str) -> pd.DataFrame:
    """Reads one official file, in which labels may be missing except in dev."""
    has_labels = partition != "test" or set(LABELS) <= set(read_columns(path))
    labels = LABELS if has_labels else ()
    numbers = ("start", "end", *labels)
    table = read_table(path, ("link", "video", "utterance"), numbers, rest="ignore")
    sheet = pd.DataFrame({**table.text, "partition": partition})
    for name in ("start", "end"):
        sheet[name] = require_numbers(table, name)
    for name in labels:
        require_float32(table, name, allow_nan=partition != "dev")
    for name in LABELS:
        sheet[name] = table.numbers.get(name, np.nan)
    codes, last = sheet["EmotionMaxVote"], len(CLASSES) - 1
    table.require_none(
        (codes.notna() & ~codes.isin(range(len(CLASSES)))).to_numpy(),
        "EmotionMaxVote",
        lambda row: f"unknown class {codes[row]:g}, expected 0 to {last}",
    )
    sheet["speaker"] = sheet["link"].str.split("v=").str[-1]
    sheet["key"] = sheet["video"] + "/" + sheet["utterance"]
    sheet["same"] = _keys(table)
    sheet["rank"] = PARTITIONS.index(partition)
    sheet["video rank"] = pd.factorize(sheet["video"])[0]
    return sheet


def _order_of(modality: str, steps: Mapping[str, float | None]) -> str:
    """Names the column that orders the frames of a modality; "" = it has none."""
    if modality not in steps:
        return ""
    return "step" if steps[modality] is None else "time"


def _read_features(path: Path, impute: bool, columns: Columns, order: str) -> Table:
    numbers = (order,) if order else ()
    table = read_table(path, ("video", "utterance"), numbers, choose=columns.choose)
    table = columns.settle(table, impute)
    table = replace(table, text={**table.text, "video/utterance": _keys(table)})
    require_values(table, allow_nan=impute)
    if order:
        require_times(table, order)
    else:
        require_unique(table, "video/utterance")
    return table


def _keys(table: Table) -> np.ndarray:
    """Joins video and utterance without the endings of media files."""
    names = (pd.Series(table.text[c]) for c in ("video", "utterance"))
    video, utterance = (x.str.replace(MEDIA, "", regex=True) for x in names)
    return np.asarray(video + "/" + utterance, np.str_)


def _drop_incomplete(
    sheet: pd.DataFrame, tables: Mapping[str, Table], max_missing: float, mask: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Drops utterances that lack a modality or, with `mask`, all; notes how many."""
    counts, notes = pd.Series(0, sheet.index), []
    dropped = "" if mask else " and were dropped"
    for modality, table in tables.items():
        keys = table.text["video/utterance"]
        there = sheet["same"].isin(keys)
        unknown = keys[~np.isin(keys, sheet["same"])].tolist()
        for partition, group in sheet[~there].groupby("partition", sort=False):
            total = int((sheet["partition"] == partition).sum())
            share = len(group) / total
            what = f"{len(group)} of {total} {partition} utterances have no {modality}"
            if share > max_missing:
                hint = f", while the file has {unknown[0]!r}" if unknown else ""
                raise CorpusError(
                    f"{what} features, such as {group['key'].iloc[0]!r}{hint}; "
                    f"corpus.max_missing ({max_missing:g}) allows more",
                    table.path,
                )
            hint = f"{share:.0%}, are the ids right? " if share > NOTABLE_LOSS else ""
            notes.append(
                f"{what} features{dropped}: {hint}" + shorten(group["key"], len(group))
            )
        if unknown:
            said = f"{len(unknown)} rows of {table.path} have no labelled utterance"
            notes.append(said)
        counts += there
    kept = sheet[counts >= (1 if mask else len(tables))]
    if kept.empty:
        paths = [str(table.path) for table in tables.values()]
        raise CorpusError(
            f"no utterance has features in each of {paths}; the columns 'video' and "
            "'utterance' must name them as the label files do"
        )
    if mask and len(kept) < len(sheet):
        lost = sheet["key"][counts == 0]
        notes.append(
            f"{len(lost)} utterances have no features at all and were dropped: "
            + shorten(lost, len(lost))
        )
    return kept, notes


def _select(table: Table, sheet: pd.DataFrame) -> Modality:
    rows = pd.Index(table.text["video/utterance"]).get_indexer(pd.Index(sheet["same"]))
    values = table.values[rows]
    return Modality(table.names, np.where(rows[:, None] < 0, np.nan, values))


def _select_frames(
    table: Table, sheet: pd.DataFrame, order: str, step: float | None
) -> tuple[Frames, list[str]]:
    """Takes the frames of each utterance; of a table without frames one."""
    own = pd.Index(sheet["same"]).get_indexer(pd.Index(table.text["video/utterance"]))
    numbers = table.numbers if order else {"step": np.zeros(len(table))}
    named = replace(
        table, text={"recording": table.text["video/utterance"]}, numbers=numbers
    )
    rows = take(Rows(named, own), own >= 0)
    frames, notes = place_frames(rows, _column(sheet, "key"), order or "step", step)
    return frames, notes if order else []


def _labels(sheet: pd.DataFrame, targets: Sequence[str]) -> np.ndarray:
    if targets == ("emotion",):
        return sheet[["EmotionMaxVote"]].fillna(-1).to_numpy(np.int32)
    return sheet[list(targets)].to_numpy(np.float32)


def _column(sheet: pd.DataFrame, name: str) -> np.ndarray:
    values = sheet[name]
    if values.dtype == np.float64:
        values = values.map(lambda v: "" if np.isnan(v) else repr(float(v)))
    return np.asarray(values, np.str_)


def _read_raters(
    folder: Path, sheet: pd.DataFrame
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads the annotators' files of all utterances: {target: (N, A)}."""
    if not folder.is_dir():
        return {}, [f"no raters: there is no folder {folder}"]
    keys = zip(sheet["partition"], sheet["video"], sheet["utterance"], strict=True)
    ratings_of = [
        _read_utterance(folder / FOLDERS[partition] / video, utterance)
        for partition, video, utterance in keys
    ]
    num_raters = max((k + 1 for j in ratings_of for k in j), default=0)
    if not num_raters:
        return {}, [f"no raters: {folder} has no file for any utterance"]
    ratings = np.full((len(sheet), num_raters, 3), np.nan, np.float32)
    for i, rating in enumerate(ratings_of):
        for k, values in rating.items():
            ratings[i, k] = values
    names = (*DIMENSIONS, "emotion")
    return {name: ratings[..., k] for k, name in enumerate(names)}, []


def _read_utterance(video: Path, utterance: str) -> dict[int, tuple[float, ...]]:
    """Reads {k: (arousal, valence, class index)} of one utterance."""
    folder = video / utterance
    # one public state of the repository nests a copy of the video in every utterance
    nested = folder / utterance
    folder = nested if os.path.isdir(nested) else folder
    if not os.path.isdir(folder):  # False also if its name is too long
        return {}
    files = [p for p in folder.glob("*.txt") if p.stem.isdecimal()]
    for path in files:
        if int(path.stem) >= MAX_RATERS:
            reason = f"expected the number of an annotator below {MAX_RATERS}"
            raise CorpusError(reason, path)
    found = {int(path.stem): _read_rating(path) for path in files}
    return {k: values for k, values in found.items() if values}


def _read_rating(path: Path) -> tuple[float, ...]:
    """Reads one annotator's file: its last row, () if there is none."""
    with delimited.open_rows(path, ",") as lines:
        rows = list(lines)
    if rows and not delimited.is_number(rows[0][1][0], ()):
        rows = rows[1:]  # the header
    if not rows:
        return ()
    line, cells = rows[-1]
    if len(cells) != 3:
        raise CorpusError("expected the fields arousal,valence,emotion", path, line)
    *numbers, emotion = cells
    for column, cell in zip(DIMENSIONS, numbers, strict=True):
        if not (delimited.is_number(cell, ()) and math.isfinite(float(cell))):
            reason = f"{cell!r} is not a finite number"
            raise CorpusError(reason, path, line, column)
    if emotion.strip().lower() not in CLASSES:
        reason = f"unknown class {emotion!r}, expected one of {CLASSES}"
        raise CorpusError(reason, path, line, "emotion")
    arousal, valence = (float(cell) / RATING_SCALE for cell in numbers)
    return arousal, valence, float(CLASSES.index(emotion.strip().lower()))
