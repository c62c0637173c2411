"""ICT-MMMO: 340 web videos in which people review films, the sentiment of each.

Every video is 20 steps of COVAREP (audio, 74) and FACET (video, 36) descriptors, with
one label, 1 (very negative) to 5. A step of zeros is padding, or has no voice or face.
Not in the paper.
"""

from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import Corpus, Modality
from ifusion.corpora.folder.pooling import name_functionals, pool
from ifusion.corpora.source import keeps_source
from ifusion.corpora.sources.data_folder import find_folder
from ifusion.corpora.tables.arrays import load_arrays, refuse_first, require_array

FOLDER, FILE = "ict_mmmo", "ict_mmmo.npz"
LICENCE = "research use"
CITATION = (
    "M. Woellmer, F. Weninger, T. Knaup, B. Schuller, C. Sun, K. Sagae, L.-P. Morency "
    "(2013). YouTube Movie Reviews: Sentiment Analysis in an Audio-Visual Context. "
    "IEEE Intelligent Systems 28(3)."
)
NEUTRAL, FOLDS = 3.0, 5


@keeps_source("ict_mmmo")
def read_ict_mmmo(path: Path | str | None = None) -> Corpus:
    """Reads the feature file of ICT-MMMO, pooled over the steps of each video.

    Args:
      path: folder of ict_mmmo.npz; None or "" = $IFUSION_DATA/ict_mmmo.

    Returns:
      Regression of one value per recording, target "sentiment", modalities "audio"
      (148) and "video" (72): mean and standard deviation of each descriptor over the
      steps that are not all zero, NaN where there is none. The partition is the
      official split; attribute "fold" assigns the videos at random. Speakers are not
      named, so a video stands for its speaker.

    Raises:
      CorpusError: the file is missing or broken.
      ValueError: the folder is unknown.

    Example:
      >>> import ifusion.corpora
      >>> ifusion.corpora.ict_mmmo()  # doctest: +SKIP
    """
    path = find_folder(path, FOLDER) / FILE
    arrays = load_arrays(path, ("audio", "video", "sentiment", "split"))
    rows = arrays["sentiment"].size
    require_array(path, "split", arrays["split"], "U", (rows,))
    for name, shape in (
        ("audio", (rows, None, None)),
        ("video", (rows, None, None)),
        ("sentiment", (rows,)),
    ):
        require_array(path, name, arrays[name], "fiu", shape)
        refuse_first(path, name, arrays[name], ~np.isfinite(arrays[name]))
    names = np.array([f"video {i:03d}" for i in range(rows)])
    order = np.random.default_rng(0).permutation(rows)
    return Corpus(
        name="ICT-MMMO",
        recording=names,
        partition=arrays["split"],
        speaker=names,
        modalities={
            m: Modality(
                name_functionals([f"{m}{k}" for k in range(arrays[m].shape[2])]),
                np.stack([pool(steps[steps.any(1)]) for steps in arrays[m]]),
            )
            for m in ("audio", "video")
        },
        targets=("sentiment",),
        labels=arrays["sentiment"][:, None],
        attributes={"fold": order % FOLDS},
        licence=LICENCE,
        citation=CITATION,
        notes=(
            "each descriptor is pooled to its mean and standard deviation over the "
            "steps of a video",
        ),
        neutral=NEUTRAL,
    )
