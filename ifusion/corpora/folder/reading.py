"""Reads a folder into a `Corpus`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import Corpus, CorpusError, Frames, require_partitions
from ifusion.corpora.description import unlabelled_notes
from ifusion.corpora.folder.frames import place_frames
from ifusion.corpora.folder.header import read_header
from ifusion.corpora.folder.labels import place_labels, read_labels, read_raters
from ifusion.corpora.folder.rows import (
    frame_column,
    read_features,
    read_recordings,
    take,
)
from ifusion.corpora.folder.timeline import (
    common_frames,
    make_timeline,
    measure_extents,
    place_features,
    require_rows,
)
from ifusion.corpora.functionals import pool_frames
from ifusion.corpora.source import keeps_source
from ifusion.corpora.timing import drift_notes, stamp_notes

LABELS = "labels.csv"  # listed with modalities, none of which has this name


@keeps_source("folder")
def read_corpus(
    path: Path | str,
    impute: bool = False,
    tolerance: int = 0,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> Corpus:
    """Reads and checks a folder in the open format, see `ifusion.corpora.folder`.

    Args:
      path: the folder that corpus.json is in.
      impute: whether features may lack values (NaN), which become the train mean.
      tolerance: [frame] by which beginnings and ends of the features and labels of a
        recording may differ; they are cut to their common frames, and a note says so.
      ignore: names or patterns of columns that are not features, see `Columns`.
      keep: of columns that are features whatever their name.

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
    corpus = read_folder(path, impute, tolerance, ignore, keep)
    require_partitions(corpus)
    return corpus


def read_folder(
    path: Path | str,
    impute: bool = False,
    tolerance: int = 0,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> Corpus:
    """Reads a folder likewise, even if there is nothing to train or select on."""
    folder = Path(path)
    if not folder.is_dir():
        raise CorpusError("no such folder", folder)
    if tolerance < 0:
        raise CorpusError(f"tolerance is {tolerance} frames, expected 0 or more")
    columns = Columns(ignore, keep)
    header = read_header(folder / "corpus.json")
    recordings = read_recordings(folder / "recordings.csv")
    features = read_features(folder, header, recordings, impute, columns)
    first = next(iter(features.values()))
    targets, labelled, labels = read_labels(folder, header, recordings, first)
    notes = [note for rows in features.values() for note in rows.table.notes]
    frames: dict[str, Frames] = {}
    for name, duration in header.frame_steps.items():
        column = frame_column(header, name)
        if not impute:
            require_rows(features[name], recordings)
        frames[name], found = place_frames(
            features[name], recordings.text["recording"], column, duration
        )
        notes += found
    step, files = header.frame_step, {**features, LABELS: labelled}
    if step is not None:
        extents = measure_extents(files, recordings)
        named = recordings.text["recording"].tolist()
        notes += stamp_notes([*files], extents.starts, named, step)
        if tolerance:
            notes += drift_notes([*files], *extents, step)
            common, cut = common_frames(files, extents, recordings, step, tolerance)
            features = {name: take(features[name], common[name]) for name in features}
            labelled, labels = take(labelled, common[LABELS]), labels[common[LABELS]]
            notes += cut
    timeline = make_timeline(next(iter(features.values())), recordings, step)
    modalities = {
        m: pool_frames(frames[m]) if frames else place_features(rows, timeline)
        for m, rows in features.items()
    }
    placed = place_labels(labelled, labels, timeline)
    raters, rated = read_raters(folder, header, targets, timeline, tolerance)
    text = dict(recordings.text)
    corpus = Corpus(
        name=header.name,
        recording=text.pop("recording"),
        partition=text.pop("partition"),
        speaker=text.pop("speaker"),
        modalities=modalities,
        frames=frames,
        targets=targets,
        labels=placed,
        classes=header.classes,
        frame_step=header.frame_step,
        offsets=timeline.offsets,
        attributes=text,
        raters=raters,
        licence=header.licence,
        citation=header.citation,
        notes=(*header.notes, *notes, *rated),
        neutral=header.neutral,
    )
    unlabelled = unlabelled_notes(corpus, recordings.text["partition"])
    said = columns.finish((*targets, *corpus.raters), corpus.attributes)
    return replace(corpus, notes=(*corpus.notes, *unlabelled, *said))
