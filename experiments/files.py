"""The files of a run directory that the programs write: tables and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifusion.reporting.run import write_atomically

CONFIG, CORPUS, CHECKPOINTS = "config.json", "corpus.json", "checkpoints"
SCORES, PREDICTIONS, HISTORY = "scores.csv", "predictions.csv", "history.csv"
TUNING = "tuning.csv"  # what settings were chosen by
EVALUATIONS = "evaluations.jsonl"  # who opened which partition when


def replace_rows(path: Path, frame: pd.DataFrame, keys: Mapping[str, str]) -> None:
    """Puts rows into a CSV file, in place of those that `keys` picks out.

    Args:
      path: of the file, which need not exist.
      frame: the new rows.
      keys: {column: value}, for example the fold and partition of the new rows.
    """
    if path.is_file():
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        replaced = np.logical_and.reduce([old[c] == v for c, v in keys.items()])
        frame = pd.concat([old[~replaced], frame.astype(object)], ignore_index=True)
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n").encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run directory.

    Raises:
      ValueError: there is none, or it is no JSON.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; is {path.parent} a run directory?")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error})") from None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
