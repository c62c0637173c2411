"""One lane of a run trained again, alone, and compared with what is stored of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from data import open_corpus, require_unchanged, split_corpus
from directory import changes_since, provenance
from files import CHECKPOINTS, CORPUS, SNAPSHOTS, locked, read_config
from fold import (
    GRID,
    SETTINGS,
    describe_lane,
    dev_scores,
    is_finished,
    make_data,
    outcomes_of,
    untrained_lanes,
)
from jax.sharding import Mesh
from ml_collections import ConfigDict
from settings import tune_lanes
from snapshots import Found, newest_snapshot
from study import Plan, make_plan

from ifusion.corpora.corpus import Corpus
from ifusion.training.checkpoint import flatten, load_checkpoint
from ifusion.training.lanes import Lane, lane_arrays
from ifusion.training.loop import Snapshot, train_lanes
from ifusion.training.snapshot import STATE, snapshot_arrays

SYNTAX = "main=audio,alpha=0.3,seed=2[,target=arousal][,fold=1]"


@dataclass(frozen=True)
class Wanted:
    """Which lane is to be trained again.

    Attributes:
      main: modality.
      alpha: of the joint loss.
      seed: of the run.
      target: name; "" where there is one only.
      fold: name; "" where there is one only.
    """

    main: str
    alpha: float
    seed: int
    target: str = ""
    fold: str = ""


@dataclass(frozen=True, eq=False)
class Stored:
    """What a run has stored of a lane.

    Attributes:
      path: where.
      lanes: of its stage, under their settings.
      index: of the lane among them.
      arrays: {name: array} of its state, to compare with.
      epochs: how many it had behind it at most.
    """

    path: Path
    lanes: tuple[Lane, ...]
    index: int
    arrays: Mapping[str, np.ndarray]
    epochs: int


def parse_lane(text: str) -> Wanted:
    """Reads "main=audio,alpha=0.3,seed=2", with target= and fold= where needed.

    Raises:
      ValueError: it reads otherwise.
    """
    entries = [entry.partition("=") for entry in text.split(",")]
    known = {name.strip(): value.strip() for name, _, value in entries}
    try:
        alpha, seed = float(known.pop("alpha")), int(known.pop("seed"))
        return Wanted(alpha=alpha, seed=seed, **known)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"--replay-lane={text}: expected {SYNTAX}") from None


def replay_lane(workdir: Path, text: str, mesh: Mesh) -> str:
    """Trains a lane of a run again, in its place of the same program, and compares.

    Args:
      workdir: of the run, finished or not.
      text: the lane, see `parse_lane`.
      mesh: devices, as the run had them.

    Returns:
      A sentence that says that nothing differs.

    Raises:
      ValueError: something differs, or there is no such lane.
    """
    wanted, known = parse_lane(text), read_config(workdir)
    config = ConfigDict(known)
    folds = split_corpus(open_corpus(config.corpus), len(config.folds) > 1)
    require_unchanged(workdir / CORPUS, folds)
    fold = _only("fold", wanted.fold, tuple(folds))
    plan = make_plan(config, folds, mesh)
    for sentence in changes_since(known.get("provenance", {}), provenance()):
        print(f"note: {sentence}", file=sys.stderr)
    targets = tuple(dict.fromkeys(lane.target for lane in plan.lanes))
    wanted = replace(wanted, target=_only("target", wanted.target, targets), fold=fold)
    with locked(workdir):
        find = _find_finished if is_finished(workdir, fold) else _find_unfinished
        stored = find(workdir, plan, wanted)
    own, epochs = _train_again(plan, folds[fold], stored)
    lane = describe_lane(stored.lanes[stored.index])
    differing = [
        name
        for name, array in stored.arrays.items()
        if own[name].tobytes() != array.tobytes()
    ]
    if differing:
        largest = max(np.max(np.abs(own[n] - stored.arrays[n])) for n in differing)
        raise ValueError(
            f"{lane}: {len(differing)} of {len(stored.arrays)} arrays differ from "
            f"those in {stored.path}, by {largest:g} at most; one is {differing[0]}"
        )
    numbers = sum(array.size for array in stored.arrays.values())
    return (
        f"{lane}: trained again for {epochs} epochs; all {numbers} numbers are those "
        f"in {stored.path}, bit for bit"
    )


def _only(name: str, value: str, there: tuple[str, ...]) -> str:
    """Checks a value against those there are; "" is the only one.

    Raises:
      ValueError: it is none of them, or there are several to choose from.
    """
    if not value and len(there) == 1:
        return there[0]
    if value not in there:
        raise ValueError(
            f"--replay-lane: {name} is {value!r}; expected one of {', '.join(there)}"
        )
    return value


def _pick(lanes: tuple[Lane, ...], wanted: Wanted) -> Lane:
    for lane in lanes:
        named = Wanted(lane.main, lane.alpha, lane.seed, lane.target, wanted.fold)
        if named == wanted:
            return lane
    raise ValueError(
        f"--replay-lane: no lane of main {wanted.main!r}, alpha {wanted.alpha:g} and "
        f"seed {wanted.seed} in this run"
    )


def _find_finished(workdir: Path, plan: Plan, wanted: Wanted) -> Stored:
    """Finds a lane in the checkpoint of its fold: its best parameters, and its end."""
    path = workdir / CHECKPOINTS / wanted.fold
    checkpoint = load_checkpoint(path)
    lane = _pick(checkpoint.lanes, wanted)
    position = checkpoint.lanes.index(lane)
    outcome = checkpoint.outcomes[position]
    params = flatten({"best_params": checkpoint.params}, STATE)
    arrays = {name: array[position] for name, array in params.items()}
    arrays[STATE + "best_epoch"] = np.int32(outcome.best_epoch)
    arrays[STATE + "train/failed_step"] = np.int32(outcome.failed_step)
    if outcome.best_score is not None:
        arrays[STATE + "best_score"] = np.float32(outcome.best_score)
    tuned = lane in plan.tuning
    lanes = plan.tuning if tuned else untrained_lanes(plan, checkpoint.lanes)
    return Stored(path, lanes, lanes.index(lane), arrays, plan.options.epochs)


def _find_unfinished(workdir: Path, plan: Plan, wanted: Wanted) -> Stored:
    """Finds a lane in the newest snapshot of its stage: its whole state."""
    folder = workdir / SNAPSHOTS / wanted.fold

    def newest(stage: str, lanes: tuple[Lane, ...]) -> Found | None:
        arrays = lane_arrays(lanes, plan.modalities, plan.targets)
        return newest_snapshot(folder / stage, lanes, plan.sweep, arrays)

    lanes, found = plan.lanes, None
    if plan.tuning:
        found = newest(SETTINGS, plan.tuning)
        if found is None or found.snapshot.finished < len(plan.tuning):
            raise ValueError(
                f"{workdir}: the settings of lanes are not chosen yet in fold "
                f"{wanted.fold}; go on by --resume first"
            )
        scores = dev_scores(outcomes_of(found.snapshot.state))
        lanes, _ = tune_lanes(plan.lanes, plan.tuning, scores, wanted.fold)
    lane = _pick(lanes, wanted)
    if lane in plan.tuning:
        lanes = plan.tuning
    else:
        lanes = untrained_lanes(plan, lanes)
        found = newest(GRID, lanes)
    index = lanes.index(lane)
    if found is None or index >= len(found.snapshot.state.best_epoch):
        raise ValueError(f"{folder}: nothing is saved of {describe_lane(lane)} yet")
    snapshot = found.snapshot
    state = snapshot_arrays(snapshot._replace(history={}))
    return Stored(
        found.path,
        lanes,
        index,
        {name: array[index] for name, array in state.items()},
        plan.options.epochs if index < snapshot.finished else snapshot.epoch,
    )


def _train_again(
    plan: Plan, corpus: Corpus, stored: Stored
) -> tuple[dict[str, np.ndarray], int]:
    """Trains one lane; returns {name: array} of its state, and its epochs."""
    data = make_data(plan, corpus)
    state, history = train_lanes(
        plan.sweep,
        lane_arrays(stored.lanes, plan.modalities, plan.targets),
        data.train,
        data.dev,
        replace(plan.options, epochs=stored.epochs),
        num_sequences=data.num_sequences,
        only=[stored.index],
    )
    arrays = snapshot_arrays(Snapshot(0, 0, state, {}))
    own = {name: array[stored.index] for name, array in arrays.items()}
    return own, len(history["joint"])
