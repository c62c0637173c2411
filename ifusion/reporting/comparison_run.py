"""The files of a run that compares systems, read with a check of what they must hold.

Such a run directory holds config.json and corpus.json as `ifusion.reporting.run` has
them, and

- systems.json: [{"key", "title", "source", "explicit", "seeded", "impossible"}], the
  systems in the order of the tables; impossible says in words why one has no score.
- systems/<key>/<fold>/candidates.csv: a row a candidate, see `COLUMNS`.
- systems/<key>/<fold>/predictions.csv or, of a regression, moments.csv: rows of the
  chosen candidates, given all modalities and each alone.
- systems/<key>/<fold>/fit.json: {"seconds", "partitions"}; it makes a fold finished.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ifusion.evaluation.agreement import MOMENTS
from ifusion.reporting.run import (
    CONFIG_KEYS,
    CORPUS_KEYS,
    REGRESSION_CORPUS_KEYS,
    read_json,
    to_numbers,
)

ROW = ("fold", "partition", "main", "target", "seed", "given", "recording")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "candidates.csv": (
        *("main", "target", "seed", "setting", "parameters"),
        *("dev_score", "chosen"),
    ),
    "predictions.csv": (*ROW, "label", "prediction"),
    "moments.csv": (*ROW, "processing", *MOMENTS),
}
NUMERIC = ("dev_score", "parameters", *MOMENTS)
ENTRY = ("key", "title", "source", "explicit", "seeded", "impossible")


class Entry(NamedTuple):
    """A row of the tables, whether or not it has scores.

    Attributes:
      key: of the system.
      title: what tables call it.
      source: put behind the title: the paper it comes from, "" = this one.
      explicit: whether it needs several modalities at test time.
      seeded: whether its seeds differ.
      impossible: why it has no score, in words; "" where it may have.
    """

    key: str
    title: str
    source: str
    explicit: bool
    seeded: bool
    impossible: str

    @property
    def name(self) -> str:
        """The title with its source, as the paper's tables have it."""
        return f"{self.title} {self.source}".strip()


class ComparisonRun(NamedTuple):
    """What a run directory says of itself.

    Attributes:
      folder: the directory.
      name: of the directory.
      config: nested, of config.json.
      corpus: summary, of corpus.json.
      systems: in the order of the tables.
    """

    folder: Path
    name: str
    config: dict[str, Any]
    corpus: dict[str, Any]
    systems: tuple[Entry, ...]

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(self.config["folds"])


class SystemRows(NamedTuple):
    """What came out of a system.

    Attributes:
      folds: that are finished.
      seconds: of fitting, all finished folds together.
      candidates: a row a candidate and fold.
      rows: predictions or moments of the chosen candidates; empty where there are none.
    """

    folds: tuple[str, ...]
    seconds: float
    candidates: pd.DataFrame
    rows: pd.DataFrame


def read_comparison(folder: Path) -> ComparisonRun:
    """Reads what a run directory says of itself.

    Raises:
      ValueError: a file or a key of it is missing.
    """
    config = read_json(folder / "config.json", [*CONFIG_KEYS, "folds"])
    corpus = read_json(folder / "corpus.json", CORPUS_KEYS)
    for key in REGRESSION_CORPUS_KEYS if corpus["task"] == "regression" else ():
        if key not in corpus:
            raise ValueError(f"{folder / 'corpus.json'}: the key {key} is missing.")
    path = folder / "systems.json"
    systems = []
    for row in read_json(path, []):
        for key in ENTRY:
            if key not in row:
                raise ValueError(f"{path}: the key {key} of a system is missing.")
        systems.append(Entry(*(row[key] for key in ENTRY)))
    return ComparisonRun(folder, folder.resolve().name, config, corpus, tuple(systems))


def read_system(run: ComparisonRun, key: str) -> SystemRows:
    """Reads what came out of a system on the folds that are finished.

    Raises:
      ValueError: a file, a key or a column is missing, or a number is none.
    """
    regression = run.corpus["task"] == "regression"
    table = "moments.csv" if regression else "predictions.csv"
    cluster = run.config["evaluation"]["cluster"]
    folds, seconds, candidates, rows = [], 0.0, [], []
    for fold in run.folds:
        folder = run.folder / "systems" / key / fold
        if not (folder / "fit.json").is_file():
            continue
        folds.append(fold)
        seconds += float(read_json(folder / "fit.json", ["seconds"])["seconds"])
        listed = _read_table(folder / "candidates.csv", ())
        candidates.append(listed.assign(fold=fold))
        if listed["chosen"].any():
            rows.append(_read_table(folder / table, (cluster,)))
    return SystemRows(
        tuple(folds),
        seconds,
        pd.concat(candidates) if candidates else pd.DataFrame(),
        pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(),
    )


def _read_table(path: Path, further: tuple[str, ...]) -> pd.DataFrame:
    """Reads a tidy CSV; names stay text."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = list(dict.fromkeys([*COLUMNS[path.name], *further]))
    for column in columns:
        if column not in table:
            raise ValueError(f"{path}: the column {column!r} is missing.")
    for column in {"seed", *NUMERIC} & set(columns):
        table[column] = to_numbers(path, table[column])
    table["seed"] = table["seed"].astype("int64")
    if "chosen" in columns:
        table["chosen"] = table["chosen"] == "True"
    return table[columns]
