"""The trained lanes of a stage, on disk and back.

Stages are kept in `stages/<fold>/<system>/<stage>` of a run or share: numbered
snapshots during training, then a folder `trained-<i>`.

Axes: L lanes of a stage.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.storage import (
    flatten,
    make_folder,
    read_arrays,
    read_facts,
    remove_folder,
    unflatten,
    write_folder,
)
from ifusion.systems.neural import NeuralLane, Trained
from ifusion.training.sweep import LaneState

FORMAT = 1
STAGES, TRAINED = "stages", "trained"
ONLY = "lanes"  # the stage of a fit that has no others


class LaneRecord(NamedTuple):
    """The stored result of training a lane.

    Attributes:
      params: nested dict, from the best epoch.
      best_epoch: counted from 1; 0 if no epoch was scored.
      best_score: dev score of that epoch.
      failed_step: the update at which the lane diverged, or -1.
      history: {metric: (epochs,)}.
    """

    params: Any
    best_epoch: int
    best_score: float
    failed_step: int
    history: Mapping[str, np.ndarray]


class TrainedStage(NamedTuple):
    """The trained lanes of a stage.

    Attributes:
      program: key of the program that trained them.
      own: whether the program read more than the fold; other stages cannot reuse them.
      lanes: {lane_key(lane): lane}.
      seconds: how long training took [s]; of lanes that trained beside others, their
        part of that time.
    """

    program: str
    own: bool
    lanes: dict[str, LaneRecord]
    seconds: float


def write_stage(
    folder: Path, state: LaneState, history: Any, facts: Mapping[str, Any]
) -> tuple[Path, TrainedStage]:
    """Writes trained lanes into the folder of their stage.

    Args:
      folder: of the stage; created if missing.
      state: (L, ...), on the host.
      history: {metric: (epochs, L)}.
      facts: the other entries of `TrainedStage`, and the identity of run and fold.

    Returns:
      The new folder, and what it holds.
    """
    rows = zip(
        state.best_epoch.tolist(),
        state.best_score.tolist(),
        state.train.failed_step.tolist(),
        strict=True,
    )
    outcomes = [[epoch, score if epoch else None, step] for epoch, score, step in rows]
    content = {"format": FORMAT, **facts, "outcomes": outcomes}
    found = flatten({"params": state.best_params, "history": history})
    make_folder(folder)
    path = folder / f"{TRAINED}-{len(trained_folders(folder))}"
    write_folder(path, found, content)
    return path, _make_stage(path, content, found)


def read_stage(path: Path, identity: Mapping[str, str]) -> TrainedStage:
    """Reads trained lanes.

    Raises:
      ValueError: if they are damaged, or those of another run.
    """
    try:
        facts = read_facts(path, identity)
        if facts.get("format") != FORMAT:
            raise ValueError(f"{path}: not trained lanes of format {FORMAT}")
        return _make_stage(path, facts, read_arrays(path))
    except ValueError as error:
        raise ValueError(
            f"{error}; remove that folder, and --resume trains these lanes again"
        ) from None


def _make_stage(
    path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> TrainedStage:
    """Splits a stage into its lanes."""
    lanes = {}
    try:
        tree = unflatten(arrays)
        for i, (key, (epoch, score, step)) in enumerate(
            zip(facts["lanes"], facts["outcomes"], strict=True)
        ):
            lanes[key] = LaneRecord(
                params=jax.tree.map(lambda x, i=i: x[i], tree["params"]),
                best_epoch=epoch,
                best_score=float("-inf") if score is None else score,
                failed_step=step,
                history={name: x[:, i] for name, x in tree["history"].items()},
            )
        seconds = float(facts.get("seconds", 0))  # which earlier versions did not write
        return TrainedStage(facts["program"], facts["own"], lanes, seconds)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: incomplete ({error!r})") from None


def lane_key(lane: NeuralLane) -> str:
    """Names a lane by all that training depends on besides fold and program."""
    return json.dumps(lane.identity)


def describe_lane(lane: NeuralLane) -> str:
    """Names a lane for the terminal."""
    setting = "".join(f"{name}={value:g}," for name, value in lane.setting.items())
    return f"main={lane.main},{setting}seed={lane.seed},target={lane.target}"


def trained_folders(stage: Path) -> list[Path]:
    """Lists the folders of trained lanes of a stage."""
    return sorted(stage.glob(f"{TRAINED}-*"))


def require_same(known: LaneRecord, record: LaneRecord, path: Path) -> None:
    """Refuses a lane that two shares trained to different results."""
    if known is record:
        return
    mine, theirs = flatten(known.params), flatten(record.params)
    if any(mine[name].tobytes() != theirs[name].tobytes() for name in mine):
        raise ValueError(
            f"{path}: two shares trained the same lane to different results; use the "
            "same kind of device for all"
        )


def stack_lanes(records: Sequence[Any]) -> Trained:
    """Stacks lanes."""
    names = max((record.history for record in records), key=len)
    epochs = max(len(record.history.get("joint", ())) for record in records)
    history = {n: np.full((epochs, len(records)), np.nan, np.float32) for n in names}
    for i, record in enumerate(records):
        for name, values in record.history.items():
            history[name][: len(values), i] = values
    return Trained(
        params=jax.tree.map(lambda *x: np.stack(x), *(r.params for r in records)),
        best_epoch=np.array([r.best_epoch for r in records], np.int32),
        best_score=np.array([r.best_score for r in records], np.float32),
        failed_step=np.array([r.failed_step for r in records], np.int32),
        history=history,
    )


def forget_stages(folder: Path, fold: str) -> None:
    """Removes the stages of a fold whose systems are all finished."""
    root = folder / STAGES
    if (root / fold).exists():
        remove_folder(root / fold)
    if root.exists() and not root.is_symlink() and not any(root.iterdir()):
        root.rmdir()
