"""Reads a folder into a `Corpus`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import (
    LEFT_OUT,
    Corpus,
    CorpusError,
    Frames,
    require_partitions,
    shorten,
    with_recordings,
)
from ifusion.corpora.description import missing_notes, unlabelled_notes
from ifusion.corpora.folder.frames import place_frames
from ifusion.corpora.folder.header import Header, read_header
from ifusion.corpora.folder.labels import place_labels, read_labels, read_raters
from ifusion.corpora.folder.rows import (
    Rows,
    frame_column,
    list_unread,
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
from ifusion.corpora.provenance import read_provenance
from ifusion.corpora.source import keeps_source
from ifusion.corpora.tables.table import Table
from ifusion.corpora.timing import drift_notes, stamp_notes

MISSING = ("refuse", "leave_out", "mask")  # recordings that lack a modality
LEAVE_OUT = "; corpus.missing=leave_out leaves such recordings out"
LACKING = f"{LEAVE_OUT}, =mask learns from and scores what they have"
LABELS = "labels.csv"  # listed with modalities, none of which has this name


@keeps_source("folder")
def read_corpus(
    path: Path | str,
    impute: bool = False,
    tolerance: int = 0,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
    missing: str = "refuse",
) -> Corpus:
    """Reads and checks a folder in the open format, see `ifusion.corpora.folder`.

    Args:
      path: the folder that corpus.json is in.
      impute: whether features may lack values (NaN), which become the train mean.
      tolerance: [frame] by which beginnings and ends of the features and labels of a
        recording may differ; they are cut to their common frames, and a note says so.
      ignore: names or patterns of columns that are not features, see `Columns`.
      keep: of columns that are features whatever their name.
      missing: what to do with recordings that lack a modality: "refuse"; "leave_out",
        and name them; or "mask", where recordings have frames and one label: each
        counts for the modalities it has, of which it needs one. Labels over time need
        every file of a recording.

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
    columns = Columns(ignore, keep)
    corpus = read_folder(Path(path), columns, impute, tolerance, missing)
    require_partitions(corpus)
    return corpus


def read_folder(
    folder: Path, columns: Columns, impute: bool, tolerance: int, missing: str
) -> Corpus:
    """Reads a folder as `read_corpus` does, but lets train and dev be empty."""
    if missing not in MISSING:
        expected = ", ".join(MISSING)
        raise CorpusError(f"corpus.missing is {missing!r}, expected one of {expected}")
    if not folder.is_dir():
        raise CorpusError("no such folder", folder)
    if tolerance < 0:
        raise CorpusError(f"tolerance is {tolerance} frames, expected 0 or more")
    header = read_header(folder / "corpus.json")
    leave_out, mask = missing == "leave_out", missing == "mask"
    if mask and not header.frame_steps:
        reason = (
            "corpus.missing is 'mask', which needs frames with one label per recording "
            "('frame_steps'); expected 'refuse' or 'leave_out'"
        )
        raise CorpusError(reason, folder / "corpus.json")
    recordings = read_recordings(folder / "recordings.csv")
    features = read_features(folder, header, recordings, impute, columns)
    first = next(iter(features.values()))
    targets, labelled, labels = read_labels(folder, header, recordings, first)
    notes = list_unread(folder, header)
    notes += [note for rows in features.values() for note in rows.table.notes]
    _require_modalities(features, header, recordings, missing)
    frames, said = _read_frames(features, header, recordings)
    step = header.frame_step
    kept, cut = _keep_common(
        {**features, LABELS: labelled}, recordings, step, tolerance
    )
    notes += [*said, *cut]
    if kept:
        features = {name: take(rows, kept[name]) for name, rows in features.items()}
        labelled, labels = take(labelled, kept[LABELS]), labels[kept[LABELS]]
    present = [
        np.bincount(codes, minlength=len(recordings)) > 0
        for _, codes in features.values()
    ]
    whole = np.all(present, axis=0)
    stays = whole | mask
    timeline = make_timeline(next(iter(features.values())), recordings, step)
    modalities = {
        m: pool_frames(frames[m])
        if frames
        else place_features(rows, timeline, whole | (not leave_out or step is not None))
        for m, rows in features.items()
    }
    placed = place_labels(labelled, labels, timeline)
    raters, rated = read_raters(folder, header, targets, timeline, tolerance, columns)
    text = dict(recordings.text)
    corpus = Corpus(
        name=header.name,
        recording=text.pop("recording"),
        partition=np.where(stays, text.pop("partition"), LEFT_OUT),
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
        provenance={
            m: p for m, p in read_provenance(folder).items() if m in modalities
        },
    )
    if not stays.all():
        lost = shorten(corpus.recording[~stays].tolist(), int((~stays).sum()))
        notes = [*corpus.notes, f"left out, since they lack a modality: {lost}"]
        corpus = with_recordings(replace(corpus, notes=tuple(notes)), stays)
    unlabelled = unlabelled_notes(corpus, recordings.text["partition"][stays])
    said = columns.finish((*targets, *corpus.raters), corpus.attributes)
    said += missing_notes(corpus)
    return replace(corpus, notes=(*corpus.notes, *unlabelled, *said))


def _require_modalities(
    features: Mapping[str, Rows], header: Header, recordings: Table, missing: str
) -> None:
    """Checks that recordings have what they may not lack; `missing` of `read_corpus`.

    Labels over time need more, see `align`.
    """
    if missing == "refuse" and header.frame_step is None:
        hint = LACKING if header.frame_steps else LEAVE_OUT
        for rows in features.values():
            require_rows(rows, recordings, hint=hint)
    owners = np.concatenate([codes for _, codes in features.values()])
    lost = np.flatnonzero(np.bincount(owners, minlength=len(recordings)) == 0)
    if missing == "mask" and len(lost):
        name = str(recordings.text["recording"][lost[0]])
        reason = f"{name!r} has no row in any table of features; expected one or more"
        raise recordings.error(int(lost[0]), "recording", reason)


def _read_frames(
    features: Mapping[str, Rows], header: Header, recordings: Table
) -> tuple[dict[str, Frames], list[str]]:
    """Puts frames of recordings with one label in order, {} if there are none."""
    frames: dict[str, Frames] = {}
    notes = []
    for name, step in header.frame_steps.items():
        frames[name], said = place_frames(
            features[name],
            recordings.text["recording"],
            frame_column(header, name),
            step,
        )
        notes += said
    return frames, notes


def _keep_common(
    files: Mapping[str, Rows], recordings: Table, step: float | None, tolerance: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Finds the rows over time that all files have, and notes when files begin.

    Rows are {file: (r,) bool}, or {} where nothing may be cut.
    """
    if step is None:
        return {}, []
    extents = measure_extents(files, recordings)
    named = recordings.text["recording"].tolist()
    notes = stamp_notes([*files], extents.starts, named, step)
    if not tolerance:
        return {}, notes
    notes += drift_notes([*files], extents.starts, extents.counts, step)
    common, cut = common_frames(files, extents, recordings, step, tolerance)
    return common, [*notes, *cut]
