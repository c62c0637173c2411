"""A fitted system of a fold: chosen on dev, saved, and read again as predictors.

Arrays are in safetensors, facts in JSON; nothing is pickled. The arrays of each main
have their own names, so a predictor reads nothing of another main.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from ifusion.adjustments import Adjustment, adjustments_from_json, adjustments_to_json
from ifusion.storage import flatten, read_arrays, read_facts, unflatten, write_folder
from ifusion.systems.system import Candidate

FORMAT = 1


@dataclass(frozen=True, eq=False)
class FittedSystem:
    """A system fitted on a fold, with what dev chose.

    Attributes:
      system: key.
      fold: name of the fold.
      candidates: C candidates.
      dev_scores: (C,) float64, NaN for failed ones.
      chosen: (C,) bool, whether each has the best setting on dev.
      params: {position: nested dict of arrays} of the candidates kept.
      adjustments: {position: post-processing} of the same.
      gains: gains on dev, one row per step of post-processing and kept candidate:
        position, step, value, before, after, kept.
      history: {metric: (epochs, C)}; empty unless lanes were trained.
      auxiliary: {position: parameters that only training needs}, for candidates on a
        curve; empty unless read.
      seconds: how long fitting took [s], with the training that an earlier start did or
        that other runs shared, see `ifusion.experiment.stages.TrainedStage`.
    """

    system: str
    fold: str
    candidates: tuple[Candidate, ...]
    dev_scores: np.ndarray
    chosen: np.ndarray
    params: Mapping[int, Any]
    adjustments: Mapping[int, tuple[Adjustment, ...]]
    gains: Sequence[Mapping[str, Any]]
    history: Mapping[str, np.ndarray]
    seconds: float
    auxiliary: Mapping[int, Any] = field(default_factory=dict)


def describe_setting(candidate: Candidate) -> str:
    """Describes a setting, as in "alpha = 0.5"."""
    return ", ".join(f"{name} = {value:g}" for name, value in candidate.setting.items())


def describe_candidate(candidate: Candidate) -> dict[str, Any]:
    """Describes a candidate: main, target, seed, setting and alpha, NaN if none."""
    return {
        "main": candidate.main,
        "target": candidate.target,
        "seed": candidate.seed,
        "setting": describe_setting(candidate),
        "alpha": candidate.setting.get("alpha", np.nan),
    }


def candidate_frame(fit: FittedSystem) -> pd.DataFrame:
    """Lists the candidates of a fit.

    Returns:
      Columns fold, system, main, target, seed, setting, alpha, delay, parameters,
      best_epoch, failed_step, dev_score, chosen.
    """
    place = {"fold": fit.fold, "system": fit.system}
    names = ("delay", "parameters", "best_epoch", "failed_step")
    rows = [
        {**place, **describe_candidate(c), **{name: getattr(c, name) for name in names}}
        for c in fit.candidates
    ]
    return pd.DataFrame(rows).assign(dev_score=fit.dev_scores, chosen=fit.chosen)


def history_frame(fit: FittedSystem) -> pd.DataFrame:
    """Lists the epochs of every lane; losses of untrained branches are NaN.

    Returns:
      Columns fold, system, main, target, setting, alpha, seed, epoch, loss, dev_score,
      best, and loss_<name> for each other loss.
    """
    if not fit.history:
        return pd.DataFrame()
    frame = candidate_frame(fit).drop(
        columns=["delay", "parameters", "failed_step", "dev_score", "chosen"]
    )
    epochs = len(fit.history["joint"])
    frame = frame.loc[frame.index.repeat(epochs)].reset_index(drop=True)
    frame["epoch"] = np.tile(np.arange(1, epochs + 1), len(fit.candidates))
    for name, values in fit.history.items():
        column = {"joint": "loss", "dev_score": "dev_score"}.get(name, f"loss_{name}")
        frame[column] = values.T.ravel()
        auxiliary = (frame["alpha"] == 0) & (frame["main"] != name)
        if column == f"loss_{name}":
            frame[column] = frame[column].mask(auxiliary)
    frame["best"] = frame["epoch"] == frame.pop("best_epoch")
    return frame[frame["dev_score"].notna()].reset_index(drop=True)


def gains_frame(fit: FittedSystem, frame_step: float) -> pd.DataFrame:
    """Lists the gain on dev of each step of post-processing.

    Returns:
      Columns fold, system, main, target, setting, alpha, seed, step, value, before,
      after, kept; values of median and shift in [s].
    """
    if not fit.gains:
        return pd.DataFrame()
    gains = pd.DataFrame(fit.gains)
    lanes = candidate_frame(fit)[
        ["fold", "system", "main", "target", "setting", "alpha", "seed"]
    ]
    lanes = lanes.iloc[gains.pop("position")].reset_index(drop=True)
    timed = gains["step"].isin(["median", "shift"])
    gains["value"] = gains["value"].where(~timed, gains["value"] * frame_step)
    return pd.concat([lanes, gains], axis=1)


def save_fitted(
    folder: Path,
    fit: FittedSystem,
    identity: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> None:
    """Writes a fit, whole or not at all, into a new folder whose parent exists.

    The identity is that of the run, see `ifusion.storage.read_facts`; the provenance is
    kept as it is.

    Raises:
      OSError: if it cannot be written, or exists already.
    """
    groups = _group(fit)

    def stack(kept: Mapping[int, Any]) -> dict[str, Any]:
        return {
            str(number): jax.tree.map(lambda *x: np.stack(x), *(kept[i] for i in group))
            for number, group in enumerate(groups if kept else [])
        }

    parts = {"params": stack(fit.params), "auxiliary": stack(fit.auxiliary)}
    facts = {
        "format": FORMAT,
        "identity": dict(identity),
        "system": fit.system,
        "fold": fit.fold,
        "candidates": [
            {
                **asdict(candidate),
                "dev_score": None if np.isnan(score) else score,
                "chosen": bool(chosen),
            }
            for candidate, score, chosen in zip(
                fit.candidates, fit.dev_scores.tolist(), fit.chosen, strict=True
            )
        ],
        "groups": groups,
        "adjustments": {
            str(i): adjustments_to_json(steps) for i, steps in fit.adjustments.items()
        },
        "gains": list(fit.gains),
        "provenance": {**provenance, "seconds": fit.seconds},
    }
    write_folder(folder, flatten({"history": fit.history, **parts}), facts)


def load_fitted(
    folder: Path,
    wanted: Callable[[Candidate, bool], bool] = lambda *_: True,
    auxiliary: bool = False,
    identity: Mapping[str, str] | None = None,
) -> FittedSystem:
    """Reads a fit.

    Args:
      folder: from `save_fitted`.
      wanted: (candidate, whether it is chosen) -> whether to read its parameters;
        arrays of others are not looked at.
      auxiliary: whether to read auxiliary parameters, too.
      identity: identity of the run, see `ifusion.storage.read_facts`.

    Raises:
      ValueError: if there is no fit, or it is damaged or of another run.
    """
    facts = read_facts(folder, identity)
    if facts.get("format") != FORMAT or not isinstance(facts.get("candidates"), list):
        raise ValueError(f"{folder}: not a fitted system of format {FORMAT}")
    try:
        return _read_fit(folder, facts, wanted, auxiliary)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{folder}: incomplete fit ({error!r})") from None


def _read_fit(
    folder: Path,
    facts: Mapping[str, Any],
    wanted: Callable[[Candidate, bool], bool],
    auxiliary: bool,
) -> FittedSystem:
    rows = [dict(row) for row in facts["candidates"]]
    scores = [row.pop("dev_score") for row in rows]
    chosen = [row.pop("chosen") for row in rows]
    candidates = tuple(Candidate(**row) for row in rows)
    asked = {i for i, c in enumerate(candidates) if wanted(c, chosen[i])}
    groups = {
        str(number): positions
        for number, positions in enumerate(facts["groups"])
        if asked & set(positions)
    }
    kinds = ("params", "auxiliary") if auxiliary else ("params",)
    parts = [f"{kind}/{number}/" for kind in kinds for number in groups]
    prefixes = ("history/", *parts)
    tree = unflatten(read_arrays(folder, lambda name: name.startswith(prefixes)))
    history = tree.get("history", {})
    if any(x.ndim != 2 or x.shape[1] != len(rows) for x in history.values()):
        raise ValueError(f"{folder}: histories of other than {len(rows)} lanes")
    return FittedSystem(
        system=facts["system"],
        fold=facts["fold"],
        candidates=candidates,
        dev_scores=np.array(scores, np.float64),
        chosen=np.array(chosen, bool),
        params=_unstack(tree.get("params", {}), groups, asked),
        adjustments={
            int(i): adjustments_from_json(steps)
            for i, steps in facts["adjustments"].items()
        },
        gains=facts["gains"],
        history=history,
        seconds=float(facts["provenance"]["seconds"]),
        auxiliary=_unstack(tree.get("auxiliary", {}), groups, asked),
    )


def _unstack(
    trees: Mapping[str, Any],
    groups: Mapping[str, Sequence[int]],
    asked: Collection[int],
) -> dict[int, Any]:
    """Splits the parameters of each group, stacked over its candidates, by candidate.

    Only those of the positions `asked` for are returned.
    """
    return {
        position: jax.tree.map(lambda x, k=k: x[k], trees[number])
        for number, positions in groups.items()
        if number in trees
        for k, position in enumerate(positions)
        if position in asked
    }


def _group(fit: FittedSystem) -> list[list[int]]:
    """Groups the positions of candidates of one main whose parameters stack."""
    groups: dict[Any, list[int]] = {}
    for position, tree in fit.params.items():
        shapes = {k: (v.shape, v.dtype.str) for k, v in flatten(tree).items()}
        key = (fit.candidates[position].main, repr(sorted(shapes.items())))
        groups.setdefault(key, []).append(position)
    return list(groups.values())
