"""Prediction files in the layout of AVEC, since RECOLA's test labels are not public.

    <folder>/<target>/test_1.csv    name;frameTime;prediction

Whoever has the labels scores such files; `ifusion.evaluation.submission` does so too.
Axes: T frames of a recording.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import CorpusError


def write_submission(
    folder: Path,
    predictions: Mapping[str, np.ndarray],
    frame_step: float,
    extents: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Writes a file a recording; the folder appears whole or not at all.

    Args:
      folder: of the target; must not exist, or be empty.
      predictions: {recording: (T,)}, in the unit of the target.
      frame_step: [s].
      extents: {recording: (first, begin, end)} [frame]: the first prediction is of
        frame `first`, the file holds begin, ..., end - 1, where the first and the last
        prediction go on; None = 0, ..., T - 1 of each.

    Raises:
      CorpusError: the folder is not empty, a prediction is no finite number, or a
        recording's name cannot be a file or a cell.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CorpusError(f"{folder}: already exists and is not an empty folder")
    whole = {name: (0, 0, len(values)) for name, values in predictions.items()}
    extents = whole if extents is None else extents
    for name, values in predictions.items():
        if not name or set(name) & set("/\\;,\"'\n\r") or name.startswith("."):
            raise CorpusError(f"recording {name!r} cannot name a file and fill a cell")
        wrong = ~np.isfinite(values)
        if wrong.any():
            time = frame_step * (extents[name][0] + int(wrong.argmax()))
            raise CorpusError(
                f"recording {name!r}: the prediction at {time:g} s is "
                f"{values[wrong.argmax()]}, expected a finite number"
            )
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        for name, values in predictions.items():
            first, begin, end = extents[name]
            frames = np.arange(begin, end)
            held = values[np.clip(frames - first, 0, len(values) - 1)]
            rows = "".join(
                f"{name};{frame_step * frame:.9g};{value:.9g}\n"
                for frame, value in zip(frames.tolist(), held.tolist(), strict=True)
            )
            text = f"name;frameTime;prediction\n{rows}"
            (part / f"{name}.csv").write_text(text, "utf-8", newline="\n")
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
