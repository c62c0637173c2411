"""ICT-MMMO: 340 web videos in which people review films, the sentiment of each.

Every video is 20 steps of COVAREP (audio, 74) and FACET (video, 36) descriptors, with
one label, 1 (very negative) to 5. A step of zeros is padding, or has no voice or face.
Not in the paper.
"""

from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import Corpus, Frames
from ifusion.corpora.functionals import pool_frames
from ifusion.corpora.source import keeps_source
from ifusion.corpora.sources.data_folder import find_folder
from ifusion.corpora.tables.arrays import load_checked, refuse_first

FOLDER, FILE = "ict_mmmo", "ict_mmmo.npz"
LICENCE = "research use"
CITATION = (
    "M. Woellmer, F. Weninger, T. Knaup, B. Schuller, C. Sun, K. Sagae, L.-P. Morency "
    "(2013). YouTube Movie Reviews: Sentiment Analysis in an Audio-Visual Context. "
    "IEEE Intelligent Systems 28(3)."
)
MODALITIES = ("audio", "video")
LAYOUT = {
    "sentiment": ("fiu", ("videos",)),
    "split": ("U", ("videos",)),
    "audio": ("fiu", ("videos", "steps", "audio features")),
    "video": ("fiu", ("videos", "steps of video", "video features")),
}
PROVENANCE = {"audio": {"extractor": "COVAREP"}, "video": {"extractor": "FACET"}}
NEUTRAL, FOLDS = 3.0, 5


@keeps_source("ict_mmmo")
def read_ict_mmmo(path: Path | str | None = None, deal: int = 0) -> Corpus:
    """Reads the feature file of ICT-MMMO.

    Args:
      path: folder of ict_mmmo.npz; None or "" = $IFUSION_DATA/ict_mmmo.
      deal: number of the random deal of the videos into five folds; several deals make
        repeated folds.

    Returns:
      Regression of one value per recording, target "sentiment", modalities "audio" (74)
      and "video" (36) whose frames are the steps that are not all zero. The partition
      is the official split; attribute "fold" is the deal. Nobody is named: a video
      stands for its speaker.

    Raises:
      CorpusError: the file is missing or broken.
      ValueError: the folder is unknown, or deal is not 0, 1, ...

    Example:
      >>> import ifusion.corpora
      >>> ifusion.corpora.ict_mmmo()  # doctest: +SKIP
    """
    if not isinstance(deal, int) or deal < 0:
        raise ValueError(f"deal is {deal!r}, expected 0, 1, ...")
    path = find_folder(path, FOLDER) / FILE
    arrays = load_checked(path, LAYOUT)
    for name in ("sentiment", *MODALITIES):
        refuse_first(path, name, arrays[name], ~np.isfinite(arrays[name]))
    rows = len(arrays["sentiment"])
    names = np.array([f"video {i:03d}" for i in range(rows)])
    frames = {m: _take_steps(m, arrays[m]) for m in MODALITIES}
    order = np.random.default_rng(deal).permutation(rows)
    return Corpus(
        name="ICT-MMMO",
        recording=names,
        partition=arrays["split"],
        speaker=names,
        modalities={m: pool_frames(x) for m, x in frames.items()},
        frames=frames,
        targets=("sentiment",),
        labels=arrays["sentiment"][:, None],
        attributes={"fold": order % FOLDS},
        licence=LICENCE,
        citation=CITATION,
        neutral=NEUTRAL,
        provenance=PROVENANCE,
    )


def _take_steps(modality: str, steps: np.ndarray) -> Frames:
    """Leaves out steps that are all zero: (N, T, F)."""
    exists = np.any(steps != 0, axis=2)
    return Frames(
        names=tuple(f"{modality}{k}" for k in range(steps.shape[2])),
        values=steps[exists],
        offsets=np.concatenate([[0], np.cumsum(exists.sum(1))]),
    )
