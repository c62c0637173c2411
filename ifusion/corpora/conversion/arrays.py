"""Padded numpy arrays: one npz file, or npy files with one array each.

    <modality>              (N, T, F) numbers, each modality with its own T and F
    <modality>_lengths      (N,) steps that are real, optional
    <modality>_names        (F,) feature names, optional
    labels                  (N,) or (N, K) numbers, or (N,) names of classes
    targets                 (K,) names of the labels, optional
    classes                 (C,) names of classes, of which labels are then the indices
    recording               (N,) names, optional: r0, r1, ...
    partition               (N,) train, dev (or valid) and test; or the option `split`
    speaker                 (N,) names, optional: the recording

An npy file is the array of its own name, or of NAME in NAME=PATH. Not in the paper.

Axes: N recordings, T steps as the file pads them, F features, K targets, C classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ifusion.corpora.conversion.frames import (
    are_feature_names,
    join_frames,
    make_corpus,
    number_features,
)
from ifusion.corpora.conversion.options import (
    PARTITION_NAMES,
    ConversionOptions,
    choose_modalities,
    name_inputs,
    read_split,
    refuse,
)
from ifusion.corpora.conversion.padding import remove_padding
from ifusion.corpora.conversion.values import (
    lengths_within,
    numbers,
    row_count,
    split_steps,
    texts,
    whole_numbers,
)
from ifusion.corpora.corpus import Corpus, CorpusError, natural_order, shorten
from ifusion.corpora.tables.arrays import (
    MAX_HEADER_SIZE,
    load_arrays,
    reading,
    require_file,
)

OWN = ("labels", "targets", "classes", "recording", "partition", "speaker")
LENGTHS, NAMES = "_lengths", "_names"  # endings
TARGET = "label"  # without a name


def read_padded(inputs: Sequence[str], options: ConversionOptions) -> Corpus:
    """Reads padded arrays, (N, T, F) for each modality.

    Args:
      inputs: an npz file, or npy files, each PATH or NAME=PATH.
      options: targets names the K columns of labels.

    Raises:
      CorpusError: a file or an array is missing or wrong, or shapes disagree.
    """
    refuse(options, "npz and npy", "labels")
    files, arrays = _load(inputs)
    path = files["labels"] if "labels" in files else next(iter(files.values()))
    if "labels" not in arrays:
        reason = f"is missing, found {shorten(arrays)}"
        raise CorpusError(reason, path, column="labels")
    found = [n for n in arrays if n not in OWN and not n.endswith((LENGTHS, NAMES))]
    chosen = choose_modalities(path, found, options)
    steps = {m: split_steps(files[m], m, arrays[m]) for m in chosen}
    num = row_count(path, {m: len(s) for m, s in steps.items()})
    columns = {"recording": np.array([f"r{i}" for i in range(num)])}
    for key in ("recording", "partition", "speaker"):
        if key in arrays:
            columns[key] = texts(files[key], key, arrays[key])
            row_count(files[key], {chosen[0]: num, key: len(columns[key])})
    partition, notes = _partition(files, columns, options)
    kept = np.flatnonzero(partition != "")
    targets, classes, labels = _labels(path, arrays, num, options)
    modalities = {}
    for m in chosen:
        lengths = arrays.get(m + LENGTHS)
        if lengths is not None:
            place = files[m + LENGTHS]
            lengths = lengths_within(place, m + LENGTHS, lengths, steps[m])
        names = columns["recording"].tolist()
        real, said = remove_padding(m, steps[m], lengths, names)
        features = _feature_names(files, arrays, m, steps[m][0].shape[1])
        step = options.frame_steps.get(m)
        modalities[m] = join_frames([real[i] for i in kept], features, step)
        notes += said
    return make_corpus(
        path=path,
        name=options.name or path.stem,
        recording=columns["recording"][kept],
        partition=partition[kept],
        speaker=columns.get("speaker", columns["recording"])[kept],
        modalities=modalities,
        targets=targets,
        labels=labels[kept],
        classes=classes,
        notes=tuple(notes),
    )


def _load(inputs: Sequence[str]) -> tuple[dict[str, Path], dict[str, np.ndarray]]:
    """Loads all arrays, and the file that each is from."""
    files: dict[str, Path] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, path in name_inputs(inputs):
        loaded = _load_file(name or path.stem, path)
        for key in loaded:
            if key in arrays:
                reason = f"the array is in {files[key].name}, too"
                raise CorpusError(reason, path, column=key)
        arrays |= loaded
        files |= dict.fromkeys(loaded, path)
    return files, arrays


def _load_file(name: str, path: Path) -> dict[str, np.ndarray]:
    """Loads the arrays of an npz file, or that of an npy file under this name."""
    kind = path.suffix.removeprefix(".")
    if kind not in ("npz", "npy"):
        raise CorpusError("expected a file ending in .npz or .npy", path)
    with reading(require_file(path), kind):
        found = np.load(path, "r", allow_pickle=False, max_header_size=MAX_HEADER_SIZE)
        if isinstance(found, np.ndarray):
            if kind == "npz":
                raise CorpusError("holds a single array; name it .npy", path)
            return {name: found}
        with found:
            if kind == "npy":
                raise CorpusError("holds several arrays; name it .npz", path)
            names = list(dict.fromkeys(found.files))
    return load_arrays(path, names)


def _partition(
    files: Mapping[str, Path],
    columns: Mapping[str, np.ndarray],
    options: ConversionOptions,
) -> tuple[np.ndarray, list[str]]:
    """Returns (N,) partitions, "" where `options.split` names none, and notes."""
    path, recording = next(iter(files.values())), columns["recording"].tolist()
    if ("partition" in columns) == (options.split is not None):
        reason = "expected an array `partition`, or else --split"
        raise CorpusError(reason, path)
    if options.split is not None:
        videos = columns.get("speaker", columns["recording"]).tolist()
        return read_split(options.split, recording, videos)
    named = columns["partition"].tolist()
    for row, name in enumerate(named):
        if name not in PARTITION_NAMES:
            reason = f"{name!r}, expected one of {(*PARTITION_NAMES,)}"
            raise CorpusError(reason, files["partition"], row + 1, "partition")
    return np.array([PARTITION_NAMES[name] for name in named]), []


def _labels(
    path: Path, arrays: Mapping[str, np.ndarray], num: int, options: ConversionOptions
) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Returns targets, classes (() for a regression) and labels (N, K)."""
    labels = arrays["labels"]
    if labels.ndim not in (1, 2) or len(labels) != num:
        reason = f"has shape {labels.shape}, expected ({num},) or ({num}, targets)"
        raise CorpusError(reason, path, column="labels")
    labels = labels[:, None] if labels.ndim == 1 else labels
    targets = options.targets
    if not targets and "targets" in arrays:
        targets = tuple(texts(path, "targets", arrays["targets"]).tolist())
    targets = targets or ((TARGET,) if labels.shape[1] == 1 else ())
    if len(targets) != labels.shape[1] or len(set(targets)) < len(targets):
        reason = (
            f"has {labels.shape[1]} columns, and the targets are {targets}; name each "
            "by the array `targets` or --target"
        )
        raise CorpusError(reason, path, column="labels")
    is_text = labels.dtype.kind in "US"
    if "classes" not in arrays and not is_text:
        return targets, (), numbers(path, "labels", labels).astype(np.float32)
    if len(targets) != 1:
        reason = "a classification has one target"
        raise CorpusError(reason, path, column="labels")
    named = texts(path, "labels", labels[:, 0]) if is_text else np.empty(0, np.str_)
    if "classes" not in arrays:
        return targets, natural_order(filter(None, named.tolist())), named[:, None]
    classes = tuple(texts(path, "classes", arrays["classes"]).tolist())
    if not is_text:
        codes = whole_numbers(path, "labels", labels[:, 0], num)
        if codes.min() < -1 or codes.max() >= len(classes):
            reason = f"expected indices of {len(classes)} classes, or -1 without label"
            raise CorpusError(reason, path, column="labels")
        named = np.array([*classes, ""])[codes]
    unknown = sorted({*named.tolist()} - {*classes, ""})
    if unknown or len(set(classes)) < len(classes):
        what = f"unknown class {unknown[0]!r}" if unknown else "a class occurs twice"
        raise CorpusError(f"{what}, classes are {classes}", path, column="labels")
    return targets, classes, named[:, None]


def _feature_names(
    files: Mapping[str, Path],
    arrays: Mapping[str, np.ndarray],
    modality: str,
    count: int,
) -> list[str]:
    key = modality + NAMES
    if key not in arrays:
        return number_features(modality, count)
    names: list[str] = texts(files[key], key, arrays[key]).tolist()
    if not are_feature_names(names, count):
        reason = f"expected {count} distinct names of features, found {shorten(names)}"
        raise CorpusError(reason, files[key], column=key)
    return names
