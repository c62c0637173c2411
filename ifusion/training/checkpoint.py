"""What training leaves behind: safetensors for arrays, JSON for the rest.

A checkpoint is a folder that `ifusion.storage` writes and checks. It holds the best
parameters of every lane, stacked, and the train statistics that its inputs need. The
arrays of a modality have its name in theirs, so a reader that wants audio opens audio
alone.

Axes: L lanes, F features of a modality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.adjustments import (
    Adjustment,
    adjustments_from_json,
    adjustments_to_json,
)
from ifusion.models.architecture import Architecture
from ifusion.models.network import branch_name
from ifusion.preprocessing.standardise import Standardizer
from ifusion.storage import read_arrays, read_facts, write_folder
from ifusion.training.lanes import Lane

FORMAT = 3


@dataclass(frozen=True)
class Outcome:
    """How the training of a lane ended.

    Attributes:
      best_epoch: epoch of the parameters kept, counted from 1; 0 if none was better
        than nothing.
      best_score: dev score there; None if there is none.
      failed_step: update at which the lane was frozen for not being finite, or -1.
    """

    best_epoch: int
    best_score: float | None
    failed_step: int


@dataclass(frozen=True)
class Continuous:
    """What makes predictions over time of the outputs of a regression.

    Attributes:
      frame_step: [s].
      delay_scoring: "original": outputs are shifted back by the annotation delay of
        their lane; "shifted": they stay ahead by it, as they were scored.
      adjustments: L times the post-processing of a lane, learnt on dev.
    """

    frame_step: float
    delay_scoring: str
    adjustments: tuple[tuple[Adjustment, ...], ...]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Trained lanes and all that is needed to predict with them.

    Attributes:
      lanes: the training runs.
      outcomes: how each ended.
      params: nested dict of arrays, L in front.
      standardizers: {m: train statistics}.
      features: {m: F feature names}.
      architecture: sizes of the network.
      targets: names of what is predicted.
      classes: class names in code order; () = regression.
      sequence: attribute that joins utterances to sequences, or "".
      continuous: of a regression over time; None = there is no such thing.
    """

    lanes: tuple[Lane, ...]
    outcomes: tuple[Outcome, ...]
    params: Any
    standardizers: Mapping[str, Standardizer]
    features: Mapping[str, tuple[str, ...]]
    architecture: Architecture
    targets: tuple[str, ...]
    classes: tuple[str, ...]
    sequence: str = ""
    continuous: Continuous | None = None


def save_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
      folder: must not exist; its parent must.
      checkpoint: what to write.
      provenance: versions and configuration, kept as they are.

    Raises:
      OSError: it cannot be written, or is there already.
    """
    arrays = flatten({"params": checkpoint.params})
    for m, s in checkpoint.standardizers.items():
        arrays |= {f"standardizer/{m}/mean": s.mean, f"standardizer/{m}/std": s.std}
    facts = {
        "format": FORMAT,
        "lanes": [asdict(lane) for lane in checkpoint.lanes],
        "outcomes": [asdict(outcome) for outcome in checkpoint.outcomes],
        "features": {m: list(names) for m, names in checkpoint.features.items()},
        "architecture": asdict(checkpoint.architecture),
        "targets": list(checkpoint.targets),
        "classes": list(checkpoint.classes),
        "sequence": checkpoint.sequence,
        **_continuous_facts(checkpoint.continuous),
        "provenance": dict(provenance),
    }
    write_folder(folder, arrays, facts)


def load_checkpoint(
    folder: Path, modalities: Sequence[str] | None = None
) -> Checkpoint:
    """Reads a checkpoint.

    Args:
      folder: of `save_checkpoint`.
      modalities: those whose branches and statistics are wanted, all by default. What
        belongs to others is not looked at and may be missing from the file.

    Raises:
      ValueError: the folder holds no checkpoint, a damaged one, or lacks a modality.
    """
    facts = read_facts(folder)
    if facts.get("format") != FORMAT or not isinstance(facts.get("features"), dict):
        raise ValueError(f"{folder}: expected a checkpoint of format {FORMAT}")
    for m in modalities or ():
        if m not in facts["features"]:
            raise ValueError(
                f"{folder}: no modality {m!r}; there are {', '.join(facts['features'])}"
            )
    wanted = tuple(facts["features"] if modalities is None else modalities)
    unwanted = [m for m in facts["features"] if m not in wanted]
    prefixes = tuple(
        prefix
        for m in unwanted
        for prefix in (f"params/{branch_name(m)}/", f"standardizer/{m}/")
    )
    arrays = read_arrays(folder, lambda name: not name.startswith(prefixes))
    try:
        tree = unflatten(arrays)["params"]
        parts = (*map(branch_name, wanted), "shared", "output")
        return Checkpoint(
            tuple(Lane(**lane) for lane in facts["lanes"]),
            tuple(Outcome(**outcome) for outcome in facts["outcomes"]),
            {part: tree[part] for part in parts},
            {
                m: Standardizer(
                    arrays[f"standardizer/{m}/mean"], arrays[f"standardizer/{m}/std"]
                )
                for m in wanted
            },
            {m: tuple(facts["features"][m]) for m in wanted},
            Architecture(**facts["architecture"]),
            tuple(facts["targets"]),
            tuple(facts["classes"]),
            facts["sequence"],
            _read_continuous(facts.get("continuous")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a whole checkpoint ({error})") from None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Names the leaves of a nested dict by their path: {"a/b/c": array}."""
    flat: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{name}/") if nested else {prefix + name: value}
    return flat


def unflatten(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Undoes `flatten`."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    return tree


def _continuous_facts(continuous: Continuous | None) -> dict[str, Any]:
    if continuous is None:
        return {}
    adjustments = [adjustments_to_json(mine) for mine in continuous.adjustments]
    return {"continuous": {**asdict(continuous), "adjustments": adjustments}}


def _read_continuous(facts: Mapping[str, Any] | None) -> Continuous | None:
    if facts is None:
        return None
    adjustments = tuple(map(adjustments_from_json, facts["adjustments"]))
    return Continuous(**{**facts, "adjustments": adjustments})
