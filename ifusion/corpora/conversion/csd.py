"""Computational sequences of the CMU MultimodalSDK: MOSI, MOSEI, POM, ...

An HDF5 file (`.csd`) is one modality, or the labels. Below a group named after the
sequence it has

    data/<video>/features    (T, F); for labels (S, K)
    data/<video>/intervals   (T, 2); for labels (S, 2): beginning and end [s]
    metadata/...             text, optional

A sequence aligned by the SDK has `<video>[<segment>]` in place of a video; all segments
of a video are joined. A recording is one segment of the labels, called `<video>[0]`,
`<video>[1]`, ... in the order of the file, as in the SDK's `align`. A frame belongs to
it if the two overlap by more than 10 microseconds, as in `align`, so a frame across a
boundary belongs to both segments; frames of length 0 belong to none. Each modality
keeps its own frames, in order of their beginning. Layout and rule follow the SDK's
`file_ops.py` and `dataset.py` (github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).

Axes: T frames of a video, S segments, F features, K targets.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.conversion.frames import (
    Joined,
    are_feature_names,
    join_frames,
    make_corpus,
    number_features,
)
from ifusion.corpora.conversion.options import (
    ConversionOptions,
    choose_modalities,
    name_inputs,
    read_split,
    refuse,
)
from ifusion.corpora.corpus import Corpus, CorpusError, shorten
from ifusion.corpora.tables.arrays import (
    import_h5py,
    load_datasets,
    reading,
    require_file,
)

OVERLAP = 1e-5  # [s], the least that a frame and its segment share
TARGET = "sentiment"  # of labels with one column and no name
NAMES, CITATION = "dimension names", "dataset bib citation"  # metadata


class SequenceFile(NamedTuple):
    """The contents of a file: root group, entries by video, metadata."""

    path: Path
    root: str
    entries: Mapping[str, Sequence[str]]
    metadata: Mapping[str, Any]


class Segment(NamedTuple):
    """A labelled part of a video: its ends [s] and its labels (K,)."""

    name: str
    video: str
    start: float
    end: float
    labels: np.ndarray


def read_csd(inputs: Sequence[str], options: ConversionOptions) -> Corpus:
    """Reads the sequences of some modalities, cut to the segments of the labels.

    Not in the paper: the video is taken for the speaker, whom the files do not name. A
    modality has a frame step if all its frames keep it within half a step; times count
    from the first frame.

    Args:
      inputs: one path per modality, PATH or NAME=PATH; named after the sequence
        otherwise.
      options: `labels` and `split` (by video or recording) are required; `targets`
        names the K columns of the labels, if their metadata do not.

    Raises:
      CorpusError: a file is missing or not a sequence, or its arrays disagree.
    """
    refuse(options, "the CMU MultimodalSDK's", "frame_steps")
    if options.labels is None or options.split is None:
        need = "labels" if options.labels is None else "split"
        raise CorpusError(f"sequences of the CMU MultimodalSDK need --{need}")
    files: dict[str, SequenceFile] = {}
    for name, path in name_inputs(inputs):
        file = _open(path)
        name = name or file.root
        if name in files:
            raise CorpusError(f"modality {name!r} occurs more than once", path)
        files[name] = file
    chosen = choose_modalities(next(iter(files.values())).path, list(files), options)
    labelled = _open(options.labels)
    segments = _read_segments(labelled)
    partition, notes = read_split(
        options.split, [s.name for s in segments], [s.video for s in segments]
    )
    kept = np.flatnonzero(partition != "")
    segments = [segments[i] for i in kept]
    labels = np.stack([segment.labels for segment in segments])
    modalities = {}
    for modality in chosen:
        modalities[modality], said = _cut(files[modality], modality, segments)
        notes += said
    citation = labelled.metadata.get(CITATION)
    return make_corpus(
        path=labelled.path,
        name=options.name or labelled.root,
        recording=np.array([segment.name for segment in segments]),
        partition=partition[kept],
        speaker=np.array([segment.video for segment in segments]),
        modalities=modalities,
        targets=_targets(labelled, labels.shape[1], options),
        labels=labels,
        attributes={
            "start": np.array([f"{segment.start:g}" for segment in segments]),
            "end": np.array([f"{segment.end:g}" for segment in segments]),
        },
        citation=citation if isinstance(citation, str) else "",
        notes=("Speakers are the videos that recordings are cut from.", *notes),
    )


def _open(path: Path) -> SequenceFile:
    """Looks into a file, without following links out of it."""
    h5py = import_h5py(require_file(path))

    def inside(group: Any, name: str) -> Any:
        own = isinstance(group.get(name, getlink=True), h5py.HardLink)
        found = group[name] if own else None
        return found if isinstance(found, h5py.Group) else None

    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        roots = [name for name in file if inside(file, name) is not None]
        data = inside(file[roots[0]], "data") if len(roots) == 1 else None
        if data is None:
            reason = (
                "expected one group, named after the sequence, with the group data; "
                f"found {shorten(roots) or 'no group'}"
            )
            raise CorpusError(reason, path)
        entries: dict[str, list[str]] = {}
        for name in data:
            if inside(data, name) is None:
                raise CorpusError(f"data/{name} is not a group of this file", path)
            entries.setdefault(name.split("[")[0], []).append(name)
        if not entries:
            raise CorpusError("there is no video", path)
        facts = inside(file[roots[0]], "metadata")
        known = [name for name in (NAMES, CITATION) if name in (facts or ())]
    metadata = {name: _read_fact(path, f"{roots[0]}/metadata/{name}") for name in known}
    return SequenceFile(path, roots[0], entries, metadata)


def _read_fact(path: Path, name: str) -> Any:
    """Reads JSON text; None if it is anything else."""
    try:
        text = load_datasets(path, [name])[name]
        return json.loads(str(text.reshape(-1)[0]))
    except (ValueError, IndexError, RecursionError):  # not worth a CorpusError
        return None


def _read_entry(file: SequenceFile, entry: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads features (T, F), and intervals (T, 2) float64 [s]."""
    prefix = f"{file.root}/data/{entry}"
    names = (f"{prefix}/features", f"{prefix}/intervals")
    arrays = load_datasets(file.path, names)
    for name in names:
        if arrays[name].dtype.kind not in "fiub":
            reason = f"holds {arrays[name].dtype} values, expected numbers"
            raise CorpusError(reason, file.path, column=name)
    features, intervals = (np.atleast_2d(arrays[name]) for name in names)
    if features.ndim != 2 or intervals.shape != (len(features), 2):
        reason = (
            f"has shape {intervals.shape}, features {features.shape}; expected "
            "(frames, 2) and (frames, features)"
        )
        raise CorpusError(reason, file.path, column=names[1])
    intervals = intervals.astype(np.float64)
    wrong = ~np.isfinite(intervals).all(1) | (intervals[:, 0] > intervals[:, 1])
    if wrong.any():
        row = int(wrong.argmax())
        reason = f"{intervals[row].tolist()} is not a beginning and an end [s]"
        raise CorpusError(reason, file.path, row + 1, names[1])
    return features, intervals


def _read_video(file: SequenceFile, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Joins the entries of a video, in order of their beginning."""
    read = [_read_entry(file, entry) for entry in file.entries[video]]
    if len({features.shape[1] for features, _ in read}) > 1:
        raise CorpusError(f"video {video!r} changes its number of features", file.path)
    features, intervals = (np.concatenate(parts) for parts in zip(*read, strict=True))
    order = np.argsort(intervals[:, 0], kind="stable")
    return features[order], intervals[order]


def _read_segments(file: SequenceFile) -> list[Segment]:
    """Reads the labelled segments, those of a video in order of their beginning."""
    found = []
    for video, entries in file.entries.items():
        own = []
        for entry in entries:
            labels, intervals = _read_entry(file, entry)
            for i, (start, end) in enumerate(intervals.tolist()):
                single = "[" in entry and len(labels) == 1
                name = entry if single else f"{entry}[{i}]"
                if end - start > OVERLAP:
                    own.append(Segment(name, video, start, end, labels[i]))
        found += sorted(own, key=lambda segment: segment.start)
    if not found:
        raise CorpusError("no segment has a length", file.path)
    width = len(found[0].labels)
    for segment in found:
        if len(segment.labels) != width:
            reason = f"{segment.name} has {len(segment.labels)} labels, others {width}"
            raise CorpusError(reason, file.path)
    return [s._replace(labels=s.labels.astype(np.float32)) for s in found]


def _cut(
    file: SequenceFile, modality: str, segments: Sequence[Segment]
) -> tuple[Joined, list[str]]:
    """Cuts a sequence to segments, and finds its frame step."""
    steps: list[np.ndarray] = []
    times: list[np.ndarray] = []
    width, video = None, None
    for segment in segments:
        if segment.video != video and segment.video in file.entries:
            video = segment.video
            features, intervals = _read_video(file, video)
            width = features.shape[1] if width is None else width
            if features.shape[1] != width:
                reason = f"has {features.shape[1]} features, others {width}"
                raise CorpusError(f"video {video!r} {reason}", file.path)
        if segment.video != video:
            steps.append(np.empty((0, 0)))
            times.append(np.empty(0))
            continue
        shared = np.minimum(intervals[:, 1], segment.end)
        shared -= np.maximum(intervals[:, 0], segment.start)
        rows = shared > OVERLAP
        steps.append(features[rows])
        times.append(intervals[rows, 0] - segment.start)
    if not width:
        reason = "has no video of the labels" if width is None else "has no features"
        raise CorpusError(f"the sequence {file.root!r} {reason}", file.path)
    steps = [values if len(values) else np.empty((0, width)) for values in steps]
    names: Any = file.metadata.get(NAMES)
    if not are_feature_names(names, width):
        names = number_features(modality, width)
    step = common_step(times)
    if step is None:
        said = f"{modality}: frames have no constant step, so their times are left out"
        return join_frames(steps, names), [said]
    return join_frames(steps, names, step), []


def common_step(times: Sequence[np.ndarray]) -> float | None:
    """Finds the step that the frames of all recordings keep within half a step.

    Args:
      times: beginnings of the frames of each recording [s], in order.

    Returns:
      The step [s], the mean of the longest recording; None if there is none.
    """
    longest = max(times, key=len)
    if len(longest) < 2:
        return None
    step = round(float(longest[-1] - longest[0]) / (len(longest) - 1), 9)
    if step <= 0:
        return None
    for found in times:
        expected = found[:1] + step * np.arange(len(found))
        if (np.abs(found - expected) > step / 2).any():
            return None
    return step


def _targets(
    file: SequenceFile, count: int, options: ConversionOptions
) -> tuple[str, ...]:
    said: Any = file.metadata.get(NAMES)
    targets = options.targets
    if not targets and count == 1:
        targets = (TARGET,)
    elif not targets and are_feature_names(said, count):
        targets = tuple(said)
    if len(targets) != count or len(set(targets)) < count:
        reason = (
            f"the labels have {count} columns, and the targets are {targets}; name "
            "each by --target"
        )
        raise CorpusError(reason, file.path)
    return targets
