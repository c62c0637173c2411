"""Where the rows of a recording lie in its own files, whose ends a reader may cut.

Prediction files that are sent to the organisers of a challenge need every frame of a
recording's own files, and its own recordings, whatever the corpus could use of them.
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
      frames: (N, 3) int64 [frame] of each recording: its first row, the first frame of
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
    """Names the recordings of a partition that lack a file and so are not in it."""
    return () if corpus.files is None else corpus.files.missing.get(partition, ())
