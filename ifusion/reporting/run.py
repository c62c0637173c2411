"""The files of a run directory: read with a check of what they must hold.

A run directory holds, each written by the shell or by `write_report`:

- config.json: {"evaluation": {"metric", "cluster", ...}, ...}, any further sections;
  a section "provenance" (versions, device, command ...) is shown on its own.
- corpus.json: {"name", "task", "classes": [...], "licence", "citation", "notes": [...],
  "warnings": [...], "features": {modality: count}, "partitions": {fold: {partition:
  {"recordings": count, "speakers": count, "classes": {class: count}}}}}; a partition's
  "classes" may be absent, but not that of train.
- scores.csv, predictions.csv, history.csv: tidy frames, see `COLUMNS`.

Of a regression, corpus.json also holds "targets", "frame_step" and, a partition,
"frames" and {target: {"mean", "sd"}}; moments.csv is in place of predictions.csv; and
there may be postprocessing.csv, tuning.csv and the folder predictions, whose files
`ifusion.evaluation.traces` describes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ifusion.evaluation.agreement import MOMENTS
from ifusion.evaluation.scores import LANE
from ifusion.storage import write_atomically

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "scores.csv": ("system", *LANE, "partition", "metric", "value"),
    "predictions.csv": (
        *LANE,
        "partition",
        "recording",
        "label",
        "prediction",
    ),
    "moments.csv": (*LANE, "partition", "recording", "processing", *MOMENTS),
    "history.csv": (*LANE, "epoch", "loss", "dev_score", "best"),
    "postprocessing.csv": (*LANE, "step", "value", "before", "after", "kept"),
    "tuning.csv": (
        *LANE,
        *("l2", "delay_seconds", "dev_score", "chosen"),
    ),
}
REGRESSION_CORPUS_KEYS = ("targets", "frame_step")
CONFIG_KEYS = ("evaluation.metric", "evaluation.cluster")
CORPUS_KEYS = (
    "name",
    "task",
    "classes",
    "licence",
    "citation",
    "notes",
    "warnings",
    "features",
    "partitions",
)
NUMERIC = (
    *("alpha", "value", "loss", "dev_score", "l2", "delay_seconds"),
    *("before", "after", *MOMENTS),
)
WHOLE = ("seed", "epoch")
Kinds = Mapping[str, type | tuple[type, ...]]  # {key of an object: type of its value}
NUMBER = (int, float)
YES_OR_NO = ("best", "kept", "chosen")


class Run(NamedTuple):
    """What a run directory holds.

    Attributes:
      name: of the directory.
      config: nested, of config.json.
      corpus: summary, of corpus.json.
      scores: tidy, values in [0, 1], NaN for a lane that failed.
      predictions: one row a lane, partition and recording; label "" if unlabelled. Of a
        regression the rows of moments.csv.
      history: one row a lane and epoch.
      postprocessing: one row a lane and step; empty where there is none.
      tuning: one row a lane that settings were chosen by; empty where there was no
        choice.
    """

    name: str
    config: dict[str, Any]
    corpus: dict[str, Any]
    scores: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    postprocessing: pd.DataFrame
    tuning: pd.DataFrame


def read_run(run: Path) -> Run:
    """Reads a run directory.

    Args:
      run: the directory.

    Returns:
      Its contents. Of the predictions, class probabilities (p_...) are left out.

    Raises:
      ValueError: a file, a key of a JSON file or a column is missing, or a number is
        none.
    """
    config = read_json(run / "config.json", CONFIG_KEYS)
    corpus = read_json(run / "corpus.json", CORPUS_KEYS)
    regression = corpus["task"] == "regression"
    for key in REGRESSION_CORPUS_KEYS if regression else ():
        if key not in corpus:
            raise ValueError(f"{run / 'corpus.json'}: the key {key} is missing.")
    cluster = config["evaluation"]["cluster"]
    rows = "moments.csv" if regression else "predictions.csv"
    return Run(
        run.resolve().name,
        config,
        corpus,
        _read_table(run / "scores.csv"),
        _read_table(run / rows, [cluster]),
        _read_table(run / "history.csv"),
        _read_optional(run / "postprocessing.csv"),
        _read_optional(run / "tuning.csv"),
    )


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Writes a frame as CSV, whole or not at all."""
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n").encode())


def read_json(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Reads a JSON object that must hold keys, given as "outer.inner".

    Raises:
      ValueError: there is no such file, it is no JSON object, or a key is missing.
    """
    content = _parse_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object, {{...}}.")
    for key in keys:
        inner = content
        for part in key.split("."):
            if not isinstance(inner, dict) or part not in inner:
                raise ValueError(f"{path}: the key {key} is missing.")
            inner = inner[part]
    return content


def read_objects(path: Path, kinds: Kinds) -> list[dict[str, Any]]:
    """Reads a JSON list of objects, each of which must hold keys.

    Args:
      path: of the file.
      kinds: {key: type of its value}.

    Raises:
      ValueError: there is no such file, or it is no such list.
    """
    content = _parse_json(path)
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list, [...].")
    for number, row in enumerate(content, 1):
        require_kinds(f"{path}, entry {number}", row, kinds)
    return content


def require_kinds(place: str, found: Any, kinds: Kinds) -> None:
    """Refuses what is no object or lacks a key of its kind.

    Raises:
      ValueError: that begins with the place.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{place}: expected an object, {{...}}.")
    for key, kind in kinds.items():
        if key not in found:
            raise ValueError(f"{place}: the key {key} is missing.")
        if not isinstance(found[key], kind):
            raise ValueError(f"{place}: the key {key} is {found[key]!r}.")


def _parse_json(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; is {path.parent} a run directory?")
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, row {error.lineno}: no JSON: {error.msg}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no text in UTF-8 ({error}).") from None


def read_cells(
    path: Path, columns: Sequence[str], further: bool = False
) -> pd.DataFrame:
    """Reads columns of a CSV; cells stay text, so a class may be called None or 1.

    Args:
      path: of the file.
      columns: that must be there.
      further: whether others are read, too.

    Raises:
      ValueError: there is no such file, it is no whole table, or a column is missing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; is {path.parent} a run directory?")
    try:
        header = pd.read_csv(path, nrows=0).columns
        wanted = list(header if further else columns)
        missing = [column for column in columns if column not in header]
        table = pd.read_csv(
            path,
            usecols=[column for column in wanted if column not in missing],
            dtype=str,
            keep_default_na=False,
        )
    except ValueError as error:  # empty, ragged, binary
        raise ValueError(f"{path}: no table ({error}).") from None
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing.")
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            raise ValueError(f"{path}: cut short in row {len(table) + 1}.")
    return table[wanted]


def _read_optional(path: Path) -> pd.DataFrame:
    """Reads a tidy CSV, an empty frame where there is none."""
    if path.is_file():
        return _read_table(path)
    return pd.DataFrame(columns=list(COLUMNS[path.name]))


def _read_table(path: Path, further: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a tidy CSV; names stay text."""
    expected = list(dict.fromkeys([*COLUMNS[path.name], *further]))
    table = read_cells(path, expected, further=path.name == "history.csv")
    losses = [c for c in table if str(c).startswith("loss_")]
    columns = [*expected, *losses]
    for column in {*NUMERIC, *losses} & set(columns):
        table[column] = to_numbers(path, table[column])
    for column in {*WHOLE} & set(columns):
        table[column] = to_whole_numbers(path, table[column])
    for column in {*YES_OR_NO} & set(columns):
        table[column] = table[column].isin(["True", "true", "1"])
    return table[columns]


def to_whole_numbers(path: Path, text: pd.Series) -> pd.Series:
    """Parses a column of whole numbers of a file.

    Raises:
      ValueError: a cell is none.
    """
    numbers = to_numbers(path, text)
    wrong = ~(numbers % 1 == 0).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{path}, row {row + 2}, column {text.name}: {text.iloc[row]!r} is no "
            "whole number."
        )
    return numbers.astype("int64")


def to_numbers(path: Path, text: pd.Series) -> pd.Series:
    """Parses a column of numbers of a file, where an empty cell or nan is NaN.

    Raises:
      ValueError: a cell is no number.
    """
    # Not by to_numeric alone, whose last bit may be off: an alpha is a key of joins.
    blank = text.isin(["", "nan", "NaN"])
    text = text.mask(blank, "nan") if blank.any() else text
    try:
        return text.astype("float64")
    except ValueError:
        wrong = pd.to_numeric(text, errors="coerce").isna() & ~blank
        row = int(wrong.to_numpy().argmax())
        raise ValueError(
            f"{path}, row {row + 2}, column {text.name}: {text.iloc[row]!r} is no "
            "number."
        ) from None
