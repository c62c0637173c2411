"""Predicts a file, or all files of a folder."""

from collections import Counter
from pathlib import Path

import pandas as pd

from ifusion.corpora.corpus import shorten
from ifusion.corpora.tables.reading import SUFFIXES, find_table
from ifusion.inference.clips import is_clip
from ifusion.inference.predictor import PredictedTable, Predictor
from ifusion.terminal import Tally

RECORDING, TIME = "recording", "time"


def predict_path(predictor: Predictor, path: Path) -> PredictedTable:
    """Predicts a file, or each file in a folder.

    Args:
      predictor: any.
      path: a table or a clip; a folder of these, each a recording named like its file
        unless it has a column `recording`; or a folder of a corpus, of which the
        features of the predictor's modalities are read.

    Returns:
      The predictions. A file of a folder that cannot be predicted is one of its
      failures, as are those that are left when the user stops it.

    Raises:
      ValueError: there is nothing to read, or nothing fits the predictor.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if not path.is_dir():
        predicted = predictor.predict_table(path)
        return _name(predicted, path.stem) if TIME in predicted.table else predicted
    if (path / "features").is_dir():
        own = {m: find_table(path / "features", m) for m in predictor.features}
        for modality, found in own.items():
            if found is None:
                raise ValueError(f"{path / 'features'}: no table of {modality}")
        return predictor.predict_table(own)
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES or is_clip(p))
    if not files:
        kinds = ", ".join(SUFFIXES)
        raise ValueError(f"{path}: no table ({kinds}) and no clip in it")
    stems = Counter(file.stem for file in files)
    parts, failures = list[PredictedTable](), dict[str, str]()
    tally = Tally(len(files), "files")
    for i, file in enumerate(files):
        try:
            name = file.stem if stems[file.stem] == 1 else file.name
            parts.append(_name(predictor.predict_table(file), name))
        except KeyboardInterrupt:  # what is predicted is not lost
            if not parts:
                raise
            failures |= {x.name: "stopped before it was predicted" for x in files[i:]}
            break
        except Exception as error:  # a damaged file may cause any
            failures[file.name] = _reason_of(error, file)
        tally.count(file.name in failures)
    if not parts:
        told = [f"{file} ({reason})" for file, reason in failures.items()]
        reasons = shorten(told, 3)
        raise ValueError(f"{path}: none of its files can be predicted: {reasons}")
    table = pd.concat([predicted.table for predicted in parts], ignore_index=True)
    notes = [note for predicted in parts for note in predicted.notes]
    notes += [f"{file} is left out: {reason}" for file, reason in failures.items()]
    return PredictedTable(table, tuple(notes), failures)


def _reason_of(error: Exception, file: Path) -> str:
    """Says in one line why a file cannot be predicted."""
    reason = " ".join(str(error).split()).removeprefix(str(file)).lstrip(":, ")
    told = isinstance(error, ValueError | OSError)
    return reason if told else f"{type(error).__name__}: {reason}"


def _name(predicted: PredictedTable, recording: str) -> PredictedTable:
    if RECORDING not in predicted.table:
        predicted.table.insert(0, RECORDING, recording)
    return predicted
