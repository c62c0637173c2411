"""A run directory to a predictor."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.corpus import JOIN
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.fold_data import FoldData, load_fold_data
from ifusion.experiment.store import (
    DATA,
    FUNCTIONALS,
    as_json,
    fit_folder,
    fold_folder,
    read_config,
    read_corpus_facts,
    read_identity,
    read_systems,
)
from ifusion.inference.predictor import Member, Predictor
from ifusion.preprocessing.standardise import Standardizer
from ifusion.systems.catalogue import find_systems
from ifusion.systems.system import Candidate


def load_predictor(
    run: Path,
    main: str,
    system: str = "implicit_fusion",
    target: str | None = None,
    alpha: float | None = None,
) -> Predictor:
    """Loads the chosen candidates of a system as a predictor, see `ifusion.load`.

    Args:
      run: directory.
      main: modality, or several joined by "+".
      system: key.
      target: one of several; all by default.
      alpha: of the candidates to load in place of the chosen ones.

    Raises:
      ValueError: the run has no such system, main or target.
    """
    config, stated = read_config(run), read_corpus_facts(run)["provenance"]
    known = {row["key"]: row["impossible"] for row in read_systems(run)}
    if system not in known:
        raise ValueError(f"{run}: no system {system!r}; it has {', '.join(known)}")
    (row,) = find_systems([system])  # refuses one that this version does not have
    members: list[Member] = []
    for fold in config["folds"]:
        folder = fit_folder(run, fold, system)
        if not folder.exists():
            reason = known[system] or f"it is not fitted on fold {fold} yet"
            raise ValueError(f"{run}: no predictor of {system}: {reason}")

        def wanted(candidate: Candidate, chosen: bool) -> bool:
            named = target is None or candidate.target == target
            right = chosen if alpha is None else candidate.setting["alpha"] == alpha
            return right and named and candidate.main == main

        identity = read_identity(run, fold)
        found = load_fitted(folder, wanted, identity=identity)
        seen = fold_folder(run, fold) / FUNCTIONALS
        if not (row.functionals and seen.exists()):
            seen = fold_folder(run, fold) / DATA
        data = load_fold_data(seen, main.split(JOIN), identity)
        shifts_back = data.delay_scoring == "original"
        members.extend(
            Member(
                fold=fold,
                target=found.candidates[i].target,
                seed=found.candidates[i].seed,
                setting=found.candidates[i].setting,
                delay=found.candidates[i].delay if shifts_back else 0,
                params=params,
                statistics={m: _arrays(s) for m, s in data.standardizers.items()},
                scale=_scale(data, found.candidates[i].target),
                adjustments=found.adjustments[i],
            )
            for i, params in found.params.items()
        )
    if not members:
        mains = dict.fromkeys(c.main for c in found.candidates)
        raise ValueError(
            f"{run}: {system} has no predictor of {main!r}"
            + (f" and {target!r}" if target else "")
            + f"; its mains are {', '.join(mains)}"
        )
    return Predictor(
        system=system,
        main=main,
        features=data.frames or data.features,
        targets=tuple(dict.fromkeys(member.target for member in members)),
        classes=data.classes,
        frame_step=data.problem.frame_step,
        sequence=data.sequence,
        problem=as_json({**asdict(data.problem), "mains": main.split(JOIN)}),
        members=tuple(members),
        frames=_frames(data),
        max_frames=data.max_frames,
        provenance={m: p for m, p in stated.items() if m in data.features},
    )


def _frames(data: FoldData) -> str:
    """Returns how frames are read, see `Predictor.frames`."""
    if not data.frames:
        return ""
    return "pooled" if data.problem.architecture.pooling else "functionals"


def _scale(data: FoldData, target: str) -> tuple[float, float]:
    scale, column = data.target_scale, data.problem.targets.index(target)
    if scale is None:
        return 0.0, 1.0
    return float(scale.mean[column]), float(scale.std[column])


def _arrays(statistics: Standardizer) -> dict[str, Any]:
    found = {f.name: getattr(statistics, f.name) for f in fields(statistics)}
    return {k: np.asarray(v) for k, v in found.items() if v is not None}
