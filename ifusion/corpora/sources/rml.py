"""RML: acted clips of eight people in six languages, six emotions, as features.

287 clips, 48 per emotion. Audio features are prosody, mel-cepstra and formants, video
features Gabor filters of the face. Not in the paper.

The file does not say who speaks. Its clips are sorted by emotion, and eight contiguous
blocks of each are a guess at the eight people: they stand for the speakers, and the
folds are made of them. Where the guess is wrong, scores are too good.
"""

from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import Corpus, Modality
from ifusion.corpora.source import keeps_source
from ifusion.corpora.sources.data_folder import find_folder
from ifusion.corpora.tables.arrays import load_checked, refuse_first

FOLDER, FILE = "rml", "rml.npz"
LICENCE = "research use"
CITATION = (
    "Y. Wang, L. Guan (2008). Recognizing Human Emotional State from Audiovisual "
    "Signals. IEEE Transactions on Multimedia 10(5)."
)
MODALITIES = ("audio", "video")
LAYOUT = {
    "label": ("iu", ("clips",)),
    "class_names": ("U", ("classes",)),
    "audio": ("fiu", ("clips", "audio features")),
    "video": ("fiu", ("clips", "video features")),
}
BLOCKS = 8  # per class
PARTITIONS = ("train",) * 5 + ("dev",) + ("test",) * 2  # of the blocks
CAUTION = (
    "the file names no speakers: eight contiguous blocks of each class, a guess, stand "
    "for them, so scores may be too good"
)


@keeps_source("rml")
def read_rml(path: Path | str | None = None) -> Corpus:
    """Reads the feature file of RML.

    Args:
      path: folder of rml.npz; None or "" = $IFUSION_DATA/rml.

    Returns:
      Utterance-level classification of target "emotion" with modalities "audio" (105)
      and "video" (40). Speakers and the attribute "fold" are blocks, see above; blocks
      0 to 4 are train, 5 dev, 6 and 7 test.

    Raises:
      CorpusError: the file is missing or broken.
      ValueError: the folder is unknown.

    Example:
      >>> import ifusion.corpora
      >>> ifusion.corpora.rml()  # doctest: +SKIP
    """
    path = find_folder(path, FOLDER) / FILE
    arrays = load_checked(path, LAYOUT)
    label, classes = arrays["label"], arrays["class_names"]
    for m in MODALITIES:
        refuse_first(path, m, arrays[m], ~np.isfinite(arrays[m]))
    wrong = (label < 0) | (label >= len(classes))
    refuse_first(path, "label", label, wrong, f"0 to {len(classes) - 1}")
    block = np.empty(len(label), int)
    for c in range(len(classes)):
        members = np.flatnonzero(label == c)
        for number, part in enumerate(np.array_split(members, BLOCKS)):
            block[part] = number
    return Corpus(
        name="RML",
        recording=np.array([f"clip {i:03d}" for i in range(len(label))]),
        partition=np.array(PARTITIONS)[block],
        speaker=np.array([f"block {b}" for b in block.tolist()]),
        modalities={
            m: Modality(
                tuple(f"{m}_{k:03d}" for k in range(arrays[m].shape[1])),
                arrays[m].astype(np.float32),
            )
            for m in MODALITIES
        },
        targets=("emotion",),
        labels=label[:, None],
        classes=tuple(classes),
        attributes={"fold": block},
        licence=LICENCE,
        citation=CITATION,
        notes=(CAUTION,),
    )
