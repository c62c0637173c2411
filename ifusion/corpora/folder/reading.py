"""A folder to a `Corpus`."""

from pathlib import Path

from ifusion.corpora.corpus import Corpus, CorpusError, require_partitions
from ifusion.corpora.folder.header import read_header
from ifusion.corpora.folder.labels import place_labels, read_labels, read_raters
from ifusion.corpora.folder.rows import read_features, read_recordings, take
from ifusion.corpora.folder.timeline import (
    common_frames,
    make_timeline,
    place_features,
)
from ifusion.corpora.source import keeps_source


@keeps_source("folder")
def read_corpus(path: Path | str, impute: bool = False, tolerance: int = 0) -> Corpus:
    """Reads and checks a folder in the open format, see `ifusion.corpora.folder`.

    Args:
      path: the folder that corpus.json is in.
      impute: whether features may lack values (NaN), which become the train mean.
      tolerance: [frame] that the features and labels of a recording may begin or end
        apart; it is then cut to the frames that all of them have, and a note says so.

    Raises:
      CorpusError: anything is wrong; it names file, row and column.

    Example:
      >>> import tempfile
      >>> import ifusion.corpora
      >>> from ifusion.corpora.folder import write_corpus
      >>> folder = tempfile.mkdtemp()
      >>> write_corpus(ifusion.corpora.synthetic(recordings=(40, 20, 20)), folder)
      >>> ifusion.corpora.read_corpus(folder).num_recordings
      80
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CorpusError("no such folder", folder)
    if tolerance < 0:
        raise CorpusError(f"tolerance is {tolerance} frames, expected 0 or more")
    header = read_header(folder / "corpus.json")
    recordings = read_recordings(folder / "recordings.csv")
    features = read_features(folder, header, recordings, impute)
    targets, labelled, labels = read_labels(folder, header, recordings)
    notes = [note for rows in features.values() for note in rows.table.notes]
    if header.frame_step is not None and tolerance:
        rows = {**features, "labels": labelled}
        keep, cuts = common_frames(rows, recordings, header.frame_step, tolerance)
        notes += cuts
        features = {name: take(features[name], keep[name]) for name in features}
        labelled, labels = take(labelled, keep["labels"]), labels[keep["labels"]]
    timeline = make_timeline(
        next(iter(features.values())), recordings, header.frame_step
    )
    text = dict(recordings.text)
    corpus = Corpus(
        name=header.name,
        recording=text.pop("recording"),
        partition=text.pop("partition"),
        speaker=text.pop("speaker"),
        modalities={
            name: place_features(rows, timeline) for name, rows in features.items()
        },
        targets=targets,
        labels=place_labels(labelled, labels, timeline),
        classes=header.classes,
        frame_step=header.frame_step,
        offsets=timeline.offsets,
        attributes=text,
        raters=read_raters(folder, header, targets, timeline, tolerance),
        licence=header.licence,
        citation=header.citation,
        notes=(*header.notes, *notes),
    )
    require_partitions(corpus)
    return corpus
