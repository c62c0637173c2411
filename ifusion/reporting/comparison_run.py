"""The files of a run that compares systems, read with a check of what they must hold.

Such a run directory holds config.json and corpus.json as `ifusion.reporting.run` has
them, and

- systems.json: [{"key", "title", "source", "explicit", "seeded", "control",
  "impossible"}], the systems in the order of the tables; control says in words what a
  gain over it is, impossible why one has no score.
- systems/<key>/<fold>/candidates.csv: a row a candidate, see `COLUMNS`.
- systems/<key>/<fold>/predictions.csv or, of a regression, moments.csv: rows of the
  chosen candidates, given all modalities, their main, all of it but one, and each
  alone.
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
    NUMBER,
    REGRESSION_CORPUS_KEYS,
    Kinds,
    read_cells,
    read_json,
    read_objects,
    require_kinds,
    to_numbers,
    to_whole_numbers,
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
ENTRY: Kinds = {
    **{"key": str, "title": str, "source": str},
    **{"explicit": bool, "seeded": bool, "control": str, "impossible": str},
}
FACTS: Kinds = {"seconds": NUMBER, "partitions": list}


class Entry(NamedTuple):
    """A row of the tables, whether or not it has scores.

    Attributes:
      key: of the system.
      title: what tables call it.
      source: put behind the title: the paper it comes from, "" = this one.
      explicit: whether it needs several modalities at test time.
      seeded: whether its seeds differ.
      control: of a control, what a gain of implicit fusion over it says; "" = it is
        none.
      impossible: why it has no score, in words; "" where it may have.
    """

    key: str
    title: str
    source: str
    explicit: bool
    seeded: bool
    control: str
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
    config = read_json(folder / "config.json", CONFIG_KEYS)
    require_kinds(str(folder / "config.json"), config, {"folds": list})
    corpus = read_json(folder / "corpus.json", CORPUS_KEYS)
    for key in REGRESSION_CORPUS_KEYS if corpus["task"] == "regression" else ():
        if key not in corpus:
            raise ValueError(f"{folder / 'corpus.json'}: the key {key} is missing.")
    systems = tuple(
        Entry(*(row[key] for key in ENTRY))
        for row in read_objects(folder / "systems.json", ENTRY)
    )
    return ComparisonRun(folder, folder.resolve().name, config, corpus, systems)


def read_facts(path: Path) -> dict[str, Any]:
    """Reads fit.json of a system and fold.

    Raises:
      ValueError: a key is missing or wrong.
    """
    facts = read_json(path, [])
    require_kinds(str(path), facts, FACTS)
    return facts


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
        seconds += read_facts(folder / "fit.json")["seconds"]
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
    columns = list(dict.fromkeys([*COLUMNS[path.name], *further]))
    table = read_cells(path, columns)
    for column in {*NUMERIC} & set(columns):
        table[column] = to_numbers(path, table[column])
    table["seed"] = to_whole_numbers(path, table["seed"])
    if "chosen" in columns:
        table["chosen"] = table["chosen"] == "True"
    return table
