"""Feature files of MMSA (MOSI, MOSEI, CH-SIMS) and of its extraction tool.

A pickled dict of `train`, `valid` and `test`, each a dict of

    audio, vision, text      (N, T, F) numbers, each with its own T; any of them
    audio_lengths, ...       (N,) steps that are real; "aligned" files have none
    id                       (N,) video$_$segment
    regression_labels        (N,) sentiment, for example from -3 to 3
    classification_labels    (N,) codes of classes
    annotations              (N,) names of these classes, optional

and other entries, which are left out: `text_bert` holds indices of words, `raw_text`
the words. The duration of the steps is not known. The layout follows MMSA's
`load_data.py` and the description of its extraction tool (github.com/thuiar/MMSA,
MMSA-FET); what these leave open is stated where it is decided.

Axes: N recordings, T steps as the file pads them, F features.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.conversion.frames import join_frames, make_corpus, number_features
from ifusion.corpora.conversion.options import (
    PARTITION_NAMES,
    ConversionOptions,
    choose_modalities,
    name_inputs,
    refuse,
)
from ifusion.corpora.conversion.padding import remove_padding
from ifusion.corpora.conversion.unpickling import read_plain
from ifusion.corpora.conversion.values import (
    JOINT,
    lengths_within,
    row_count,
    split_steps,
    texts,
    vector,
    whole_numbers,
)
from ifusion.corpora.corpus import Corpus, CorpusError, natural_order, shorten

PARTS = ("train", "valid", "test")
MODALITIES = ("audio", "vision", "text")
SENTIMENT, CLASS = "sentiment", "class"  # targets
VALUES, CODES = "regression_labels", "classification_labels"
ANNOTATIONS = "annotations"

Parts = Mapping[str, Mapping[str, Any]]


def read_mmsa(inputs: Sequence[str], options: ConversionOptions) -> Corpus:
    """Reads one feature file.

    Not in the paper: `valid` becomes dev. The video is taken for the speaker, whom the
    file does not name. A class is named by its annotation, or else by its code.

    Args:
      inputs: one path.
      options: targets is ("sentiment",), the default, or ("class",).

    Raises:
      CorpusError: the file is something else, or asks for anything but plain values;
        it names the part and its entry.
    """
    refuse(options, "MMSA's", "labels", "split")
    named = name_inputs(inputs)
    if len(named) != 1:
        raise CorpusError(f"found {len(named)} input files, expected one of MMSA")
    path = named[0][1]
    target = options.targets or (SENTIMENT,)
    if target not in ((SENTIMENT,), (CLASS,)):
        raise CorpusError(f"target {', '.join(target)}; expected sentiment or class")
    data, notes = _read_parts(path)
    found = [m for m in MODALITIES if all(m in part for part in data.values())]
    chosen = choose_modalities(path, found, options)
    names = {p: texts(path, f"{p}/id", _entry(path, data, p, "id")) for p in data}
    recording = np.concatenate(list(names.values()))
    counts = {part: len(ids) for part, ids in names.items()}
    classes, labels = _labels(path, data, counts, target[0])
    modalities = {}
    for modality in chosen:
        steps, said = _steps(path, data, names, modality)
        numbered = number_features(modality, steps[0].shape[1])
        step = options.frame_steps.get(modality)
        modalities[modality] = join_frames(steps, numbered, step)
        notes += said
    return make_corpus(
        path=path,
        name=options.name or path.stem,
        recording=recording,
        partition=np.repeat([PARTITION_NAMES[p] for p in counts], [*counts.values()]),
        speaker=np.array([name.split(JOINT)[0] for name in recording.tolist()]),
        modalities=modalities,
        targets=target,
        labels=labels,
        classes=classes,
        notes=("Speakers are the videos that recordings are cut from.", *notes),
    )


def _read_parts(path: Path) -> tuple[Parts, list[str]]:
    """Reads the file, and notes what is left out."""
    data = read_plain(path)
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise CorpusError(f"holds a {kind}, expected a dict of {PARTS}", path)
    for part in PARTS[:2]:
        if part not in data:
            reason = f"there is no part {part!r}, found {shorten(map(str, data))}"
            raise CorpusError(reason, path)
    parts = {part: data[part] for part in PARTS if part in data}
    for part, entries in parts.items():
        if not isinstance(entries, dict):
            reason = f"holds a {type(entries).__name__}, expected a dict of arrays"
            raise CorpusError(reason, path, column=part)
    notes = []
    others = [str(part) for part in data if part not in parts]
    if others:
        notes.append(f"parts that are left out: {shorten(others)}")
    for modality in MODALITIES:
        lacking = [part for part in parts if modality not in parts[part]]
        if 0 < len(lacking) < len(parts):
            notes.append(f"{modality} is left out: {shorten(lacking)} has none")
    return parts, notes


def _entry(path: Path, data: Parts, part: str, key: str) -> Any:
    if key not in data[part]:
        reason = f"is missing, found {shorten(map(str, data[part]))}"
        raise CorpusError(reason, path, column=f"{part}/{key}")
    return data[part][key]


def _steps(
    path: Path, data: Parts, names: Mapping[str, np.ndarray], modality: str
) -> tuple[list[np.ndarray], list[str]]:
    """Returns the real steps of each recording of all parts, and notes."""
    found: list[np.ndarray] = []
    notes: dict[str, None] = {}  # each once, in order
    for part, ids in names.items():
        key = f"{part}/{modality}"
        steps = split_steps(path, key, data[part][modality])
        row_count(path, {f"{part}/id": len(ids), key: len(steps)})
        if found and steps and steps[0].shape[1] != found[0].shape[1]:
            reason = f"has {steps[0].shape[1]} features, train {found[0].shape[1]}"
            raise CorpusError(reason, path, column=key)
        lengths = data[part].get(f"{modality}_lengths")
        if lengths is not None:
            lengths = lengths_within(path, f"{key}_lengths", lengths, steps)
        real, said = remove_padding(modality, steps, lengths, ids.tolist())
        found += real
        notes |= dict.fromkeys(said)
    if not found:
        raise CorpusError("has no recordings", path, column=f"train/{modality}")
    return found, list(notes)


def _labels(
    path: Path, data: Parts, counts: Mapping[str, int], target: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the classes, () for sentiment, and the labels (N, 1)."""
    if target == SENTIMENT:
        values = [
            vector(path, f"{part}/{VALUES}", _entry(path, data, part, VALUES), count)
            for part, count in counts.items()
        ]
        return (), np.concatenate(values).astype(np.float32)[:, None]
    codes = np.concatenate(
        [
            whole_numbers(path, f"{p}/{CODES}", _entry(path, data, p, CODES), count)
            for p, count in counts.items()
        ]
    )
    if not all(ANNOTATIONS in entries for entries in data.values()):
        named = codes.astype(np.str_)
        return natural_order(named.tolist()), named[:, None]
    key = f"train/{ANNOTATIONS}"
    named = np.concatenate(
        [texts(path, f"{p}/{ANNOTATIONS}", data[p][ANNOTATIONS]) for p in counts]
    )
    row_count(path, {f"all {CODES}": len(codes), key: len(named)})
    pairs = sorted(set(zip(codes.tolist(), named.tolist(), strict=True)))
    classes = tuple(name for _, name in pairs)
    if len({code for code, _ in pairs}) < len(pairs) or len(set(classes)) < len(pairs):
        reason = f"names and codes of classes contradict each other: {pairs[:8]}"
        raise CorpusError(reason, path, column=key)
    return classes, named[:, None]
