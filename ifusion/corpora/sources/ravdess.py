"""RAVDESS speech as features, the stand-in for OMG-Emotion (Sec. 4.1.1).

24 actors speak 60 sentences each: 1440 utterances, 8 acted emotions. Audio features are
the 88 eGeMAPS functionals of the paper; video features are 35 facial action units
averaged over the frames of a clip. Not in the paper: it uses OMG-Emotion and VGG-Face.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from ifusion.corpora.corpus import PARTITIONS, Corpus, CorpusError, Modality
from ifusion.corpora.source import keeps_source
from ifusion.corpora.sources.data_folder import find_folder
from ifusion.corpora.tables.arrays import load_checked, refuse_first
from ifusion.corpora.tables.checks import as_float32

FOLDER, FILE = "ravdess_av", "ravdess_av.npz"
LICENCE = "CC BY-NC-SA 4.0 (non-commercial, share-alike, attribution)"
CITATION = (
    "S. R. Livingstone, F. A. Russo (2018). The Ryerson Audio-Visual Database of "
    "Emotional Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391. Action units and "
    "folds: C. Luna-Jimenez et al. (2021). A Proposal for Multimodal Emotion "
    "Recognition Using Aural Transformers and Action Units on RAVDESS Dataset. Applied "
    "Sciences 12(1): 327. eGeMAPS: F. Eyben et al. (2016)."
)
# see `ifusion.corpora.provenance`; the sound files have 48 kHz
EGEMAPS = {
    "asked": "egemaps",
    "extractor": "openSMILE eGeMAPSv02 functionals",
    "opensmile": "2.6.0",
    "rate": None,
    "step": None,
    "sound_rate": {"least": 48000, "mean": 48000, "most": 48000},
}
UNITS_OF_FACES = {"extractor": "action units of OpenFace 2, their means over a clip"}
MEASURED = ("audio", "video", "duration")
LAYOUT = {
    **dict.fromkeys(("label", "label7", "split", "fold", "actor"), ("iu", ("clips",))),
    **dict.fromkeys(
        ("male", "intensity", "statement", "repetition"), ("iu", ("clips",))
    ),
    "ids": ("U", ("clips",)),
    "duration": ("fiu", ("clips",)),
    "class_names": ("U", ("classes",)),
    "class_names7": ("U", ("seven classes",)),
    "audio_names": ("U", ("audio features",)),
    "video_names": ("U", ("video features",)),
    "audio": ("fiu", ("clips", "audio features")),
    "video": ("fiu", ("clips", "video features")),
}
COLUMNS = [name for name, (_, axes) in LAYOUT.items() if axes[0] == "clips"]
# {units: {modality: (array, how its names end)}}, action units in one or in two
UNITS = {
    "joined": {"audio": ("audio", ""), "video": ("video", "")},
    "split": {
        "audio": ("audio", ""),
        "au_intensity": ("video", "_r"),
        "au_presence": ("video", "_c"),
    },
}


@keeps_source("ravdess")
def read_ravdess(
    path: Path | str | None = None,
    classes: Literal[7, 8] = 7,
    impute: bool = False,
    units: str = "joined",
) -> Corpus:
    """Reads the feature file of RAVDESS speech.

    Args:
      path: folder of ravdess_av.npz; None or "" = $IFUSION_DATA/ravdess_av.
      classes: 7 = the classes of OMG-Emotion in its code order, without calm (1248
        utterances); 8 = all (1440).
      impute: whether features may lack values (NaN), which become the train mean.
      units: "joined" makes all action units the modality "video"; "split" makes their
        intensities and presences two modalities.

    Returns:
      Utterance-level classification of target "emotion" with modalities "audio" (88)
      and "video" (35), or "audio", "au_intensity" (17) and "au_presence" (18). The
      partition is the fixed split; no actor is in two parts.
      Attributes: "fold" (5 folds by actor), "sex", "intensity", "statement",
      "repetition", "duration" [s].

    Raises:
      CorpusError: the file is missing or broken.
      ValueError: classes or units is invalid, or the folder unknown.

    Example:
      >>> import ifusion.corpora
      >>> ifusion.corpora.ravdess(units="split")  # doctest: +SKIP
    """
    if classes not in (7, 8):
        raise ValueError(f"classes is {classes}, expected 7 or 8")
    if units not in UNITS:
        raise ValueError(f"units is {units!r}, expected one of {', '.join(UNITS)}")
    path = find_folder(path, FOLDER) / FILE
    arrays = load_checked(path, LAYOUT)
    suffix = "7" if classes == 7 else ""
    code, names = f"label{suffix}", f"class_names{suffix}"
    label = arrays[code]
    for name in MEASURED:
        arrays[name] = values = as_float32(arrays[name])
        gaps = impute and name != "duration"
        wrong = np.isinf(values) if gaps else ~np.isfinite(values)
        refuse_first(path, name, values, wrong)
    for name, least, count in ((code, -1, len(arrays[names])), ("split", 0, 3)):
        wrong = (arrays[name] < least) | (arrays[name] >= count)
        refuse_first(path, name, arrays[name], wrong, f"{least} to {count - 1}")
    data = {name: arrays[name][label >= 0] for name in COLUMNS}
    return Corpus(
        name=f"RAVDESS speech, {classes} classes",
        recording=data["ids"],
        partition=np.array(PARTITIONS)[data["split"]],
        speaker=_texts(data["actor"], "actor {:02d}"),
        modalities={
            m: _modality(path, arrays[f"{array}_names"], data[array], array, ending)
            for m, (array, ending) in UNITS[units].items()
        },
        targets=("emotion",),
        labels=label[label >= 0, None],
        classes=tuple(arrays[names]),
        attributes={
            "fold": data["fold"],
            "sex": np.where(data["male"] == 1, "male", "female"),
            "intensity": np.where(data["intensity"] == 2, "strong", "normal"),
            "statement": data["statement"],
            "repetition": data["repetition"],
            "duration": _texts(data["duration"], "{:.3f}"),
        },
        licence=LICENCE,
        citation=CITATION,
        provenance={
            m: EGEMAPS if m == "audio" else UNITS_OF_FACES for m in UNITS[units]
        },
    )


def _modality(
    path: Path, names: np.ndarray, values: np.ndarray, array: str, ending: str
) -> Modality:
    """Returns the features whose names have that ending."""
    mine = np.char.endswith(names.astype(str), ending)
    if not mine.any():
        reason = f"no name ends in {ending!r}"
        raise CorpusError(reason, path, column=f"{array}_names")
    return Modality(tuple(names[mine].tolist()), values[:, mine])


def _texts(values: np.ndarray, form: str) -> np.ndarray:
    return np.array([form.format(value) for value in values.tolist()])
