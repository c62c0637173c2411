"""OMG-Emotion, from its official label files and whatever videos the user has.

A video may be whole, named as its `video` or its YouTube link, and is cut by `start`
and `end`; or it may be cut already, as `VIDEO/UTTERANCE`. Follows the public
description of the corpus, and is tested on files in its layout.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.sources.omg import (
    CITATION,
    CLASSES,
    DIMENSIONS,
    LICENCE,
    read_sheet,
)
from ifusion.features.file_index import FileIndex
from ifusion.features.labels import Listing
from ifusion.features.media import Recording

EMOTION = "emotion"
COLUMNS = {EMOTION: "EmotionMaxVote", **{name: name for name in DIMENSIONS}}


def read_omg_videos(
    folder: Path, indices: Mapping[str, FileIndex], targets: Sequence[str] = ()
) -> Listing:
    """Reads omg_TrainVideos.csv and the other label files, and finds the videos.

    `indices` are the files of each modality. Targets are "emotion", the default, or
    some of "arousal" and "valence".

    Raises:
      CorpusError: a label file is missing or wrong, or no video is found.
      ValueError: a target is unknown.
    """
    targets = tuple(targets) or (EMOTION,)
    if not set(targets) <= set(COLUMNS) or (EMOTION in targets and len(targets) > 1):
        raise ValueError(
            f"--target is {','.join(targets)}; expected emotion or arousal,valence"
        )
    sheet, notes = read_sheet(folder)
    texts = {name: sheet[name].astype(str).tolist() for name in sheet}
    columns = (sheet[n] for n in ("video", "utterance", "speaker", "start", "end"))
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    sources = {m: [_find(index, *row) for row in rows] for m, index in indices.items()}
    for modality, found in sources.items():
        if not any(found):
            example = texts["key"][0]
            reason = f"no file is named as a video of OMG-Emotion, such as {example!r}"
            raise CorpusError(reason, indices[modality].folder)
    return Listing(
        name="OMG-Emotion",
        recording=texts["key"],
        partition=texts["partition"],
        speaker=texts["speaker"],
        labels={target: _labels(target, sheet[COLUMNS[target]]) for target in targets},
        sources=sources,
        attributes={n: texts[n] for n in ("video", "utterance", "start", "end")},
        licence=LICENCE,
        citation=CITATION,
        notes=tuple(notes),
    )


def _labels(target: str, values: pd.Series) -> list[str]:
    """Writes labels as text, blank if unlabelled."""
    if target == EMOTION:
        return [CLASSES[int(v)] if v == v else "" for v in values]
    return [f"{v:.9g}" if v == v else "" for v in values]


def _find(
    index: FileIndex, video: str, utterance: str, link: str, start: float, end: float
) -> Recording | None:
    stem = utterance.rsplit(".", 1)[0]
    for name in (f"{video}/{utterance}", f"{video}/{stem}"):
        if path := index.find(name):
            return Recording(path)
    for name in (video, link):
        if path := index.find(name):
            return Recording(path, start, end)
    return None
