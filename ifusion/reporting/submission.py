"""Prediction files in the layout of AVEC, since RECOLA's test labels are not public.

    <folder>/<target>/test_1.csv    name;frameTime;prediction

Whoever has the labels scores such files; `ifusion.evaluation.submission` does so too.
Axes: T frames of a recording.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import CorpusError


def write_submission(
    folder: Path, predictions: Mapping[str, np.ndarray], frame_step: float
) -> None:
    """Writes a file a recording; the folder appears whole or not at all.

    Args:
      folder: of the target; must not exist, or be empty.
      predictions: {recording: (T,)}, in the unit of the target.
      frame_step: [s].

    Raises:
      CorpusError: the folder is not empty, a prediction is no finite number, or a
        recording's name cannot be a file or a cell.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CorpusError(f"{folder}: already exists and is not an empty folder")
    for name, values in predictions.items():
        if not name or set(name) & set("/\\;,\"'\n\r") or name.startswith("."):
            raise CorpusError(f"recording {name!r} cannot name a file and fill a cell")
        wrong = ~np.isfinite(values)
        if wrong.any():
            time = frame_step * int(wrong.argmax())
            raise CorpusError(
                f"recording {name!r}: the prediction at {time:g} s is "
                f"{values[wrong.argmax()]}, expected a finite number"
            )
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        for name, values in predictions.items():
            rows = "".join(
                f"{name};{frame_step * t:.9g};{value:.9g}\n"
                for t, value in enumerate(values.tolist())
            )
            text = f"name;frameTime;prediction\n{rows}"
            (part / f"{name}.csv").write_text(text, "utf-8", newline="\n")
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
