"""OMG-Emotion from its official label files and whatever videos the user has.

A video may be whole, named as its `video` or as its YouTube link, and is then cut by
`start` and `end`; or already cut, `VIDEO/UTTERANCE`. Written from the public
description of the corpus, and tested on files made in its layout.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.sources.omg import (
    CITATION,
    CLASSES,
    DIMENSIONS,
    LICENCE,
    label_files,
)
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.corpora.tables.table import Table
from ifusion.features.file_index import FileIndex
from ifusion.features.labels import Listing
from ifusion.features.media import Recording

EMOTION = "emotion"
TEXT = ("link", "video", "utterance")
COLUMNS = {EMOTION: "EmotionMaxVote", **{name: name for name in DIMENSIONS}}


def read_omg_videos(
    folder: Path, indices: Mapping[str, FileIndex], targets: Sequence[str] = ()
) -> Listing:
    """Reads the label files.

    Args:
      folder: of omg_TrainVideos.csv and the others.
      indices: {modality: the files}.
      targets: "emotion", the default, or some of "arousal" and "valence".

    Raises:
      CorpusError: a file is missing or wrong, or no video is there.
      ValueError: a target is unknown.
    """
    targets = tuple(targets) or (EMOTION,)
    if not set(targets) <= set(COLUMNS) or (EMOTION in targets and len(targets) > 1):
        raise ValueError(
            f"--target is {','.join(targets)}; expected emotion or arousal,valence"
        )
    rows: dict[str, list] = {
        k: [] for k in (*TEXT, "partition", "start", "end", *targets)
    }
    for partition, path in label_files(folder).items():
        _add(rows, path, partition, targets)
    keys = list(zip(rows["video"], rows["utterance"], strict=True))
    names = [f"{video}/{utterance}" for video, utterance in keys]
    links = [link.split("v=")[-1] for link in rows["link"]]
    spans = list(zip(rows["start"], rows["end"], strict=True))
    sources = {
        m: [
            _find(index, *key, link, *span)
            for key, link, span in zip(keys, links, spans, strict=True)
        ]
        for m, index in indices.items()
    }
    for modality, found in sources.items():
        if not any(found):
            reason = f"no file is named as a video of OMG-Emotion, such as {names[0]!r}"
            raise CorpusError(reason, indices[modality].folder)
    return Listing(
        name="OMG-Emotion",
        recording=names,
        partition=rows["partition"],
        speaker=links,
        labels={target: rows[target] for target in targets},
        sources=sources,
        attributes={
            "video": rows["video"],
            "utterance": rows["utterance"],
            **{n: [f"{x:g}" for x in rows[n]] for n in ("start", "end")},
        },
        licence=LICENCE,
        citation=CITATION,
    )


def _add(
    rows: dict[str, list], path: Path, partition: str, targets: Sequence[str]
) -> None:
    """Adds the rows of a label file; test may have no labels."""
    known = read_columns(path)
    labels = [COLUMNS[t] for t in targets]
    labelled = partition != "test" or set(labels) <= set(known)
    numbers = ["start", "end", *(labels if labelled else ())]
    table = read_table(path, TEXT, numbers, rest="ignore")
    start, end = table.numbers["start"], table.numbers["end"]
    table.require_none(
        ~((start >= 0) & (start < end)),
        "start",
        lambda row: f"start {start[row]:g} s and end {end[row]:g} s are no part",
    )
    for name in TEXT:
        rows[name] += table.text[name].tolist()
    for name in ("start", "end"):
        rows[name] += table.numbers[name].tolist()
    rows["partition"] += [partition] * len(table)
    for target in targets:
        if not labelled:
            rows[target] += [""] * len(table)
            continue
        values = table.numbers[COLUMNS[target]]
        if target == EMOTION:
            rows[target] += _class_names(table, values)
        else:
            rows[target] += [f"{v:.9g}" for v in values]


def _class_names(table: Table, codes: np.ndarray) -> list[str]:
    table.require_none(
        ~np.isin(codes, range(len(CLASSES))),
        COLUMNS[EMOTION],
        lambda row: f"unknown class {codes[row]:g}, expected 0 to {len(CLASSES) - 1}",
    )
    return [CLASSES[int(code)] for code in codes]


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
