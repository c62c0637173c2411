"""RAVDESS speech, as its file names describe it.

A name has seven numbers: modality (01 sound and picture, 02 picture, 03 sound), channel
(01 speech), emotion, intensity, statement, repetition, actor.
"""

from collections.abc import Sequence
from pathlib import Path

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.sources.ravdess import LICENCE
from ifusion.features.file_index import FileIndex
from ifusion.features.labels import Listing
from ifusion.features.media import Recording

EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
FOLDS = (  # held-out actors; C. Luna-Jimenez et al. (2021), Applied Sciences
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)
PARTITIONS = ("train", "train", "train", "dev", "test")  # of the folds
KINDS = {"audio": ("03", "01"), "video": ("01", "02")}  # the preferred file first
CITATION = (
    "S. R. Livingstone, F. A. Russo (2018). The Ryerson Audio-Visual Database of "
    "Emotional Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391."
)


def list_ravdess(media: FileIndex, modalities: Sequence[str]) -> Listing:
    """Lists the files of "audio", "video" or both, of any of the 24 actors.

    They may be in folders by actor or not.

    Raises:
      CorpusError: no file is named like that, or two are the same recording.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in media.paths:
        kind, _, name = path.stem.partition("-")
        if kind not in ("01", "02", "03") or not _is_speech(name.split("-")):
            continue
        files = found.setdefault(name, {})
        if kind in files:
            raise CorpusError(f"the same recording as {files[kind]}", path)
        files[kind] = path
    if not found:
        raise CorpusError(
            "no file is named as RAVDESS speech, 01-01-03-...", media.folder
        )
    names = sorted(found)
    parts = [name.split("-") for name in names]
    actors = [int(part[5]) for part in parts]
    folds = [next(i for i, held in enumerate(FOLDS) if a in held) for a in actors]
    partition = [PARTITIONS[fold] for fold in folds]
    return Listing(
        name="RAVDESS speech, 8 classes",
        recording=names,
        partition=partition,
        speaker=[f"actor {actor:02d}" for actor in actors],
        labels={"emotion": [EMOTIONS[part[1]] for part in parts]},
        sources={
            m: [
                next((Recording(found[n][k]) for k in KINDS[m] if k in found[n]), None)
                for n in names
            ]
            for m in modalities
        },
        attributes={
            "fold": [str(fold) for fold in folds],
            "sex": ["female" if actor % 2 == 0 else "male" for actor in actors],
            "intensity": ["strong" if part[2] == "02" else "normal" for part in parts],
            "statement": [str(int(part[3])) for part in parts],
            "repetition": [str(int(part[4])) for part in parts],
        },
        licence=LICENCE,
        citation=CITATION,
        notes=tuple(
            f"nothing can be trained: none of the actors of {name} is there, "
            f"{_actors_of(name)}"
            for name in ("train", "dev")
            if name not in partition
        ),
    )


def _actors_of(partition: str) -> str:
    folds = zip(FOLDS, PARTITIONS, strict=True)
    return ", ".join(str(a) for held, p in folds if p == partition for a in held)


def _is_speech(parts: Sequence[str]) -> bool:
    """Returns whether the last six numbers of a name are those of speech."""
    speech = len(parts) == 6 and parts[0] == "01" and parts[1] in EMOTIONS
    return speech and parts[5].isdecimal() and 1 <= int(parts[5]) <= 24
