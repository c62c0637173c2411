"""A predictor in one file: arrays in safetensors, all else in JSON, nothing pickled.

The library `safetensors` reads it in any language; its metadata has `format`,
`version`, `facts` (JSON) and the `sha256` of the facts and of every named array.
Reading it loads numpy and safetensors only; the first prediction loads the rest.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ifusion import __version__
from ifusion.adjustments import STEPS, Adjustment, adjustments_to_json
from ifusion.inference.predictor import Member, Predictor
from ifusion.models.shapes import Shapes
from ifusion.paths import expand_path
from ifusion.storage import flatten, require_kinds, unflatten, write_atomically
from ifusion.systems.problem import make_problem
from ifusion.systems.shapes import parameter_shapes

FORMAT, VERSION = "ifusion.bundle", 1
STATISTICS, PARAMS = "statistics", "params"
FACTS = {
    "ifusion": str,
    "system": str,
    "main": str,
    "features": dict,
    "targets": list,
    "classes": list,
    "frame_step": (int, float, type(None)),
    "sequence": str,
    "frames": str,
    "max_frames": int,
    "provenance": dict,
    "problem": dict,
    "folds": list,
    "members": list,
    "about": dict,
}
MEMBER = {
    "fold": str,
    "target": str,
    "seed": int,
    "setting": dict,
    "delay": int,
    "scale": list,
    "adjustments": list,
}


def write_bundle(predictor: Predictor, path: str | Path) -> None:
    """Writes a predictor, whole or not at all.

    Args:
      predictor: of any system.
      path: of the file, which is replaced if it exists.

    Raises:
      OSError: if it cannot be written.
    """
    folds = list(dict.fromkeys(member.fold for member in predictor.members))
    arrays: dict[str, np.ndarray] = {}
    for i, member in enumerate(predictor.members):
        place = f"{STATISTICS}/{folds.index(member.fold)}/"
        arrays |= flatten(member.statistics, place)
        arrays |= flatten(member.params, f"{PARAMS}/{i}/")
    arrays = {name: np.array(a, order="C") for name, a in arrays.items()}
    members = [
        {name: getattr(member, name) for name in MEMBER}
        | {"adjustments": adjustments_to_json(member.adjustments)}
        for member in predictor.members
    ]
    own = {"ifusion": __version__, "folds": folds, "members": members}
    facts = {n: own[n] if n in own else getattr(predictor, n) for n in FACTS}
    text = json.dumps(facts, default=dict)  # of other mappings
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "facts": text,
        "sha256": _digest(text, arrays),
    }
    write_atomically(expand_path(path), save(arrays, metadata))


def read_bundle(path: str | Path) -> Predictor:
    """Reads a predictor and checks it.

    Example:
      >>> predictor = ifn.read_bundle("model.ifusion")

    Args:
      path: of a file that `write_bundle` wrote.

    Raises:
      ValueError: if the file is missing, damaged, not a bundle, or of a newer version.
    """
    path = expand_path(path)
    metadata, arrays = _read_file(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: a safetensors file, but not a model of ifusion")
    if metadata.get("version") != str(VERSION):
        raise ValueError(
            f"{path}: a model of format {metadata.get('version')}, but this version of "
            f"ifusion ({__version__}) reads format {VERSION}; install the one that "
            "wrote it, or export it again"
        )
    text = metadata.get("facts", "")
    if metadata.get("sha256") != _digest(text, arrays):
        raise ValueError(f"{path}: damaged (its SHA-256 differs)")
    try:
        return _build(path, json.loads(text), arrays)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path}: incomplete ({error!r})") from None


def _read_file(path: Path) -> tuple[Mapping[str, str], dict[str, np.ndarray]]:
    if path.is_dir():
        raise ValueError(f"{path}: a folder; expected a file that export.py wrote")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path}: not a model of ifusion, or cut off or damaged ({error})"
        ) from None


def _build(
    path: Path, facts: dict[str, Any], arrays: Mapping[str, np.ndarray]
) -> Predictor:
    facts.setdefault("provenance", {})  # the first files lack it
    require_kinds(str(path), facts, FACTS)
    stated = facts["provenance"]
    require_kinds(str(path), stated, dict.fromkeys(stated, dict))
    for number, entry in enumerate(facts["members"], 1):
        require_kinds(f"{path}, member {number}", entry, MEMBER)
    if facts["problem"].get("num_classes") != len(facts["classes"]):
        _refuse(path, "the number of its classes is not that of its outputs")
    features = {m: tuple(names) for m, names in facts["features"].items()}
    each = 2 if facts["frames"] == "functionals" else 1
    sizes = {m: each * len(names) for m, names in features.items()}
    _require_arrays(path, arrays, _expected_shapes(path, facts, sizes, arrays))
    tree = unflatten(arrays)
    members = tuple(
        Member(
            fold=entry["fold"],
            target=entry["target"],
            seed=entry["seed"],
            setting=entry["setting"],
            delay=entry["delay"],
            params=tree[PARAMS][str(i)],
            statistics=tree[STATISTICS][str(facts["folds"].index(entry["fold"]))],
            scale=(float(entry["scale"][0]), float(entry["scale"][1])),
            adjustments=tuple(Adjustment(**step) for step in entry["adjustments"]),
        )
        for i, entry in enumerate(facts["members"])
    )
    if {member.target for member in members} != {*facts["targets"]}:
        _refuse(path, "its members are not of its targets")
    for number, member in enumerate(members, 1):
        _check(path, number, member)
    return Predictor(
        system=facts["system"],
        main=facts["main"],
        features=features,
        targets=tuple(facts["targets"]),
        classes=tuple(facts["classes"]),
        frame_step=facts["frame_step"],
        sequence=facts["sequence"],
        frames=facts["frames"],
        max_frames=facts["max_frames"],
        provenance=stated,
        problem=facts["problem"],
        members=members,
        about=facts["about"],
    )


def _expected_shapes(
    path: Path,
    facts: Mapping[str, Any],
    sizes: Mapping[str, int],
    arrays: Mapping[str, np.ndarray],
) -> Shapes:
    """Lists the arrays that the members need; `sizes` is {m: F}."""
    try:
        problem = make_problem(facts["problem"])
    except ValueError as error:
        _refuse(path, str(error))
    if problem.num_features != sizes:
        _refuse(path, "its features are not those of its problem")
    expected: Shapes = {}
    for fold in range(len(facts["folds"])):
        for m, size in sizes.items():
            place = f"{STATISTICS}/{fold}/{m}"
            clipped = {"low", "high"} if f"{place}/low" in arrays else set()
            for name in sorted({"mean", "std"} | clipped):
                expected[f"{place}/{name}"] = (size,)
    for i in range(len(facts["members"])):
        place = f"{PARAMS}/{i}/"
        own = {
            k.removeprefix(place): a for k, a in arrays.items() if k.startswith(place)
        }
        shapes = parameter_shapes(facts["system"], problem, facts["main"], own)
        if shapes is None:
            shapes = {name: array.shape for name, array in own.items()}
        expected |= {place + name: shape for name, shape in shapes.items()}
    return expected


def _require_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], expected: Shapes
) -> None:
    """Refuses arrays that are missing, of another shape, or of no use."""
    for name in expected:
        if name not in arrays:
            _refuse(path, f"the array {name} is missing")
    for name, array in arrays.items():
        if name not in expected:
            _refuse(path, f"the array {name} of shape {array.shape} has no use")
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            own = arrays[name].shape
            _refuse(path, f"the array {name} has shape {own}; expected {shape}")


def _check(path: Path, number: int, member: Member) -> None:
    """Refuses values that are not finite, and unknown steps."""
    for m, found in member.statistics.items():
        if not (np.isfinite(found["mean"]).all() and (found["std"] >= 0).all()):
            _refuse(path, f"the statistics of {m} are not finite means and deviations")
    for name, array in flatten(member.params).items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            _refuse(path, f"{name} of member {number} holds values that are not finite")
    for step in member.adjustments:
        if step.step not in STEPS or not np.isfinite(step.value):
            _refuse(path, f"member {number} has the step {step}")


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ValueError(f"{path}: {reason}")


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
