"""Predicts a file, or all files of a folder."""

from pathlib import Path

import pandas as pd

from ifusion.corpora.tables.reading import SUFFIXES, find_table
from ifusion.inference.clips import is_clip
from ifusion.inference.predictor import Answer, Predictor

RECORDING, TIME = "recording", "time"


def answer_path(predictor: Predictor, path: Path) -> Answer:
    """Predicts a file, or each file in a folder.

    Args:
      predictor: any.
      path: a table or a clip; a folder of these, each a recording named like its file
        unless it has a column `recording`; or a folder of a corpus, of which the
        features of the predictor's modalities are read.

    Raises:
      ValueError: there is nothing to read, or it does not fit the predictor.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if not path.is_dir():
        answer = predictor.answer(path)
        return _name(answer, path.stem) if TIME in answer.table else answer
    if (path / "features").is_dir():
        own = {m: find_table(path / "features", m) for m in predictor.features}
        for modality, found in own.items():
            if found is None:
                raise ValueError(f"{path / 'features'}: no table of {modality}")
        return predictor.answer(own)
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES or is_clip(p))
    if not files:
        kinds = ", ".join(SUFFIXES)
        raise ValueError(f"{path}: no table ({kinds}) and no clip in it")
    answers = [_name(predictor.answer(file), file.stem) for file in files]
    table = pd.concat([answer.table for answer in answers], ignore_index=True)
    return Answer(table, tuple(note for answer in answers for note in answer.notes))


def _name(answer: Answer, recording: str) -> Answer:
    if RECORDING in answer.table:
        return answer
    table = answer.table
    table.insert(0, RECORDING, recording)
    return Answer(table, answer.notes)
