"""Where the rows of a recording are in its files, whose ends a reader may cut.

Prediction files for the organisers of a challenge need every recording, and every frame
of its files, however much of them the corpus could use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ifusion.corpora.corpus import Corpus


@dataclass(frozen=True, eq=False)
class FileExtents:
    """What the files of a corpus hold beyond its rows.

    Attributes:
      frames: (N, 3) int64 [frame] for each recording: its first row, the first frame of
        its files, and the frame after their last.
      missing: {partition: recordings} that are not in the corpus because they lack a
        file.
    """

    frames: np.ndarray
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def frame_extents(corpus: Corpus) -> np.ndarray:
    """Returns `FileExtents.frames` of a corpus, (N, 3); its own rows if it has none."""
    if corpus.files is not None:
        return corpus.files.frames
    lengths = np.diff(corpus.offsets)
    return np.stack([np.zeros_like(lengths), np.zeros_like(lengths), lengths], axis=1)


def missing_recordings(corpus: Corpus, partition: str) -> tuple[str, ...]:
    """Names the recordings of a partition that are left out for lack of a file."""
    return () if corpus.files is None else corpus.files.missing.get(partition, ())
