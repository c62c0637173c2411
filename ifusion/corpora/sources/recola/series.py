"""Gold standards or predictions of one target in AVEC's layout.

Axis: T frames of one recording.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.sources.recola.layout import FORMATS, FRAME_STEP, Source
from ifusion.corpora.sources.recola.tracks import read_track
from ifusion.corpora.tables.checks import require_values

VALUES = Source("one target", "gold standard")  # predictions have the same form


class Series(NamedTuple):
    """The gold standard or the predictions of one recording, one value per frame."""

    path: Path
    start: int  # number of the first frame
    values: np.ndarray  # (T,) float32, NaN where missing
    column: str  # its name


def read_series(
    folder: Path | str, frame_step: float = FRAME_STEP
) -> dict[str, Series]:
    """Reads a folder of gold standards or predictions of one target.

    Args:
      folder: with one file per recording, in the format of the gold standard.
      frame_step: [s].

    Returns:
      {recording: its values}, recordings by number.

    Raises:
      CorpusError: there is no file, or one is wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError("no such folder", folder)
    paths = [p for p in folder.iterdir() if p.suffix in FORMATS]
    if not paths:
        raise CorpusError(f"no file ends in one of {FORMATS}", folder)
    series: dict[str, Series] = {}
    for path in sorted(paths, key=lambda p: (len(p.stem), p.name)):
        if path.stem in series:
            other = series[path.stem].path.name
            raise CorpusError(f"{other} exists too, expected one", path)
        table, start = read_track(
            path, VALUES, frame_step, impute=False, columns=Columns()
        )
        require_values(table, allow_nan=True)
        series[path.stem] = Series(path, start or 0, table.values[:, 0], table.names[0])
    return series
