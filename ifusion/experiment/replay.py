"""Trains one lane of a run again, and compares it with the stored one."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from ifusion.corpora.corpus import Corpus
from ifusion.experiment.engine import FoldWork, find_settings
from ifusion.experiment.fitted import FittedSystem, load_fitted
from ifusion.experiment.runs import CURVES, restore_study
from ifusion.experiment.store import (
    changes_since,
    fit_folder,
    provenance,
    read_config,
    read_identity,
    read_systems,
)
from ifusion.experiment.study import lane_mesh
from ifusion.experiment.trainer import Work
from ifusion.storage import flatten
from ifusion.systems.catalogue import find_systems
from ifusion.systems.neural import Trainer, train_plainly
from ifusion.systems.system import Candidate, Params
from ifusion.terminal import note

SYNTAX = "main=audio,alpha=0.3,seed=2[,target=arousal][,fold=1][,system=baseline]"


@dataclass(frozen=True)
class LaneName:
    """The lane to train again.

    Attributes:
      main: modality.
      alpha: weight in the joint loss.
      seed: seed of the lane.
      target: what it predicts; "" if there is only one target.
      fold: name; "" if there is only one fold.
      system: "implicit_fusion" or "baseline".
    """

    main: str
    alpha: float
    seed: int
    target: str = ""
    fold: str = ""
    system: str = "implicit_fusion"


def parse_lane(text: str) -> LaneName:
    """Reads "main=audio,alpha=0.3,seed=2" and optional entries, see `SYNTAX`.

    Raises:
      ValueError: if the text has another form.
    """
    entries = [entry.partition("=") for entry in text.split(",")]
    known = {name.strip(): value.strip() for name, _, value in entries}
    try:
        alpha, seed = float(known.pop("alpha")), int(known.pop("seed"))
        return LaneName(alpha=alpha, seed=seed, **known)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"--lane={text}: expected {SYNTAX}") from None


def replay_lane(run: Path, text: str, corpus: Corpus, mesh: Mesh | None = None) -> str:
    """Trains a lane of a finished fold again and compares it bit for bit.

    `text` names the lane, see `parse_lane`; the devices must be those of the run.

    Returns:
      A sentence to print.

    Raises:
      ValueError: if something differs, or there is no such lane.
    """
    wanted = parse_lane(text)
    study = restore_study(run, corpus, mesh or lane_mesh())
    fold = _only("fold", wanted.fold, tuple(study.folds))
    target = _only("target", wanted.target, study.protocol.targets)
    wanted = replace(wanted, fold=fold, target=target)
    for sentence in changes_since(read_config(run)["provenance"], provenance()):
        note(sentence)
    known = [row["key"] for row in read_systems(run) if row["key"] in CURVES]
    if wanted.system not in known:
        raise ValueError(
            f"--lane: the run has no system {wanted.system!r}; expected one of "
            f"{', '.join(known)}"
        )
    path = fit_folder(run, fold, wanted.system)
    if not path.exists():
        raise ValueError(
            f"{run}: {wanted.system} is not fitted on fold {fold}; finish the run with "
            "--resume first"
        )
    found = load_fitted(path, identity=read_identity(run, fold))
    position = _find(found, wanted)
    here = FoldWork(Work(run, study), fold)
    (system,) = find_systems([wanted.system])
    data = replace(here.fold, settings=find_settings(here, None, [system]))
    # alone, but in its place in the program
    fit = system.make_fit(study.protocol)
    fitted = fit(data, Trainer(partial(train_plainly, only=[position])))
    own = _numbers(fitted.params[position], fitted.candidates[position])
    stored = _numbers(found.params[position], found.candidates[position])
    differing = [k for k, x in stored.items() if own[k].tobytes() != x.tobytes()]
    if differing:
        largest = max(float(np.max(np.abs(own[k] - stored[k]))) for k in differing)
        raise ValueError(
            f"{text}: {len(differing)} of {len(stored)} arrays differ from those in "
            f"{path}, by at most {largest:g}; one is {differing[0]}"
        )
    count = sum(array.size for array in stored.values())
    return f"{text}: trained again; all {count} numbers equal those in {path}"


def _numbers(params: Params, candidate: Candidate) -> dict[str, np.ndarray]:
    """Names every number that training a lane produces."""
    counts = {
        "best_epoch": np.array(candidate.best_epoch, np.int32),
        "failed_step": np.array(candidate.failed_step, np.int32),
    }
    return flatten(params) | counts


def _find(found: FittedSystem, wanted: LaneName) -> int:
    for position, c in enumerate(found.candidates):
        lane = (c.main, c.setting.get("alpha"), c.seed, c.target)
        if lane == (wanted.main, wanted.alpha, wanted.seed, wanted.target):
            return position
    raise ValueError(
        f"--lane: {wanted.system} has no lane of main {wanted.main!r}, alpha "
        f"{wanted.alpha:g} and seed {wanted.seed}"
    )


def _only(name: str, value: str, there: tuple[str, ...]) -> str:
    """Checks a value against the known ones; "" stands for the only one."""
    if not value and len(there) == 1:
        return there[0]
    if value not in there:
        raise ValueError(
            f"--lane: {name} is {value!r}; expected one of {', '.join(there)}"
        )
    return value
