"""What predictors of a fold need besides parameters: the problem, and statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.experiment.store import as_json
from ifusion.experiment.study import Study
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.standardise import Standardizer
from ifusion.storage import flatten, read_arrays, read_facts, unflatten, write_folder
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import Problem

FORMAT = 1
STANDARDIZER, TARGETS = "standardizer", "targets"


@dataclass(frozen=True, eq=False)
class FoldData:
    """What predictors of a fold need besides parameters.

    Attributes:
      problem: problem of the study; num_features holds only the modalities read.
      features: {m: F_m names} of these.
      standardizers: {m: train statistics} of these.
      target_scale: how targets are scaled in training; None for the user's units.
      classes: names in code order; () for a regression.
      delay_scoring: "original" or "shifted", see `TrainingOptions`.
      sequence: attribute that joins utterances to sequences, or "".
      frames: {m: column names} of frames with one label per recording; {} if none.
      max_frames: number of frames that longer recordings are thinned to; 0 for never.
    """

    problem: Problem
    features: Mapping[str, tuple[str, ...]]
    standardizers: Mapping[str, Standardizer]
    target_scale: Standardizer | None
    classes: tuple[str, ...]
    delay_scoring: str
    sequence: str
    frames: Mapping[str, tuple[str, ...]]
    max_frames: int


def save_fold_data(
    folder: Path,
    study: Study,
    fold: str,
    *,
    standardizers: Mapping[str, Standardizer],
    target_scale: Standardizer | None,
    identity: Mapping[str, str],
) -> None:
    """Writes what predictors of a fold need, whole or not at all."""
    corpus, protocol = study.folds[fold], study.protocol
    facts = {
        "format": FORMAT,
        "identity": dict(identity),
        "mains": protocol.mains,
        "targets": protocol.targets,
        "classes": corpus.classes,
        "frame_step": protocol.frame_step,
        "architecture": asdict(protocol.architecture),
        "systems": asdict(protocol.systems),
        "features": {m: study.features(fold)[m].names for m in protocol.modalities},
        "frames": {m: x.names for m, x in corpus.frames.items()},
        "max_frames": study.options.sequences.max_frames,
        "delay_scoring": study.options.training.delay_scoring,
        "sequence": study.options.sequences.sequence,
    }
    statistics = {f"{STANDARDIZER}/{m}": s for m, s in standardizers.items()}
    if target_scale is not None:
        statistics[TARGETS] = target_scale
    arrays = {name: _to_arrays(s) for name, s in statistics.items()}
    write_folder(folder, flatten(arrays), as_json(facts))


def load_fold_data(
    folder: Path,
    modalities: Sequence[str] | None = None,
    identity: Mapping[str, str] | None = None,
) -> FoldData:
    """Reads what predictors of a fold need.

    Args:
      folder: from `save_fold_data`.
      modalities: those to read, all by default.
      identity: identity of the run, see `ifusion.storage.read_facts`.

    Raises:
      ValueError: if the folder is missing, damaged or of another run, or lacks a
        modality.
    """
    facts = read_facts(folder, identity)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{folder}: expected format {FORMAT}")
    try:
        wanted = tuple(facts["features"] if modalities is None else modalities)
        for m in wanted:
            if m not in facts["features"]:
                known = ", ".join(facts["features"])
                raise ValueError(f"no modality {m!r}; expected one of {known}")
        prefixes = (f"{TARGETS}/", *(f"{STANDARDIZER}/{m}/" for m in wanted))
        arrays = read_arrays(folder, lambda name: name.startswith(prefixes))
        return _read(facts, arrays, wanted)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: incomplete ({error!r})") from None
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _read(
    facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], wanted: Sequence[str]
) -> FoldData:
    features, frames = facts["features"], facts.get("frames", {})
    statistics = unflatten(arrays)
    own, targets = statistics.get(STANDARDIZER, {}), statistics.get(TARGETS)
    systems: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in facts["systems"].items()
    }
    return FoldData(
        problem=Problem(
            num_features={m: len(features[m]) for m in wanted},
            mains=tuple(facts["mains"]),
            targets=tuple(facts["targets"]),
            num_classes=len(facts["classes"]),
            frame_step=facts["frame_step"],
            architecture=Architecture(**facts["architecture"]),
            systems=SystemOptions(**systems),
        ),
        features={m: tuple(features[m]) for m in wanted},
        standardizers={
            m: _from_arrays(m, own.get(m, {}), len(features[m])) for m in wanted
        },
        target_scale=targets and _from_arrays(TARGETS, targets, len(facts["targets"])),
        classes=tuple(facts["classes"]),
        delay_scoring=facts["delay_scoring"],
        sequence=facts["sequence"],
        frames={m: tuple(frames[m]) for m in wanted if m in frames},
        max_frames=facts.get("max_frames", 0),
    )


def _to_arrays(s: Standardizer) -> dict[str, np.ndarray]:
    return {name: value for name, value in asdict(s).items() if value is not None}


def _from_arrays(
    name: str, arrays: Mapping[str, np.ndarray], count: int
) -> Standardizer:
    """Takes the statistics of `count` columns."""
    found = Standardizer(**arrays)
    sound = np.isfinite(found.mean).all() and np.isfinite(found.std).all()
    if not (
        sound
        and (found.std >= 0).all()
        and found.mean.shape == found.std.shape == (count,)
    ):
        raise ValueError(
            f"the statistics of {name} are not finite means and deviations of {count} "
            "columns"
        )
    return found
