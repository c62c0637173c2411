"""Trains lanes with progress, snapshots and shares, and no lane twice.

A system's fit is a deterministic function of what its training stages return, so an
unfinished run keeps only the lanes of each stage: a fit that runs again reads finished
stages from disk and continues the interrupted one. A share of a run trains some lanes
of every stage; merging runs the fits again and finds every lane trained.

Stages are kept in `stages/<fold>/<system>/<stage>` of a run or share: numbered
snapshots during training, then a folder `trained-<i>`.

Axes: L lanes of a stage.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.experiment.snapshots import Snapshots
from ifusion.storage import (
    flatten,
    read_arrays,
    read_facts,
    remove_folder,
    unflatten,
    write_folder,
)
from ifusion.systems.neural import (
    ONLY_STAGE,
    NeuralLane,
    Program,
    Stage,
    Trained,
    lane_arrays,
)
from ifusion.systems.system import Fold
from ifusion.terminal import note
from ifusion.training.loop import Progress, train_lanes

FORMAT = 1
STAGES, TRAINED = "stages", "trained"
Watch = Callable[..., AbstractContextManager[Callable[[Progress], None]]]


class Share(NamedTuple):
    """One of n parts of the lanes of every stage.

    Attributes:
      number: i, counted from 1.
      total: n.
    """

    number: int
    total: int

    def cut(self, count: int) -> range:
        """Returns the positions of this share among `count` lanes."""
        begin, end = ((i * count) // self.total for i in (self.number - 1, self.number))
        return range(begin, end)


WHOLE = Share(1, 1)


class Place(NamedTuple):
    """Where the stages of a fit are kept, and the identity of their run.

    Attributes:
      folder: run or share that is being trained.
      sources: runs or shares to look for trained lanes in, `folder` first.
      fold: name of the fold.
      system: key.
      identity: identity of run and fold, see `ifusion.storage.read_facts`.
    """

    folder: Path
    sources: tuple[Path, ...]
    fold: str
    system: str
    identity: Mapping[str, str]

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.folder / STAGES / self.fold / self.system / name


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
    """

    program: str
    own: bool
    lanes: dict[str, LaneRecord]


class LaneTrainer:
    """Trains the lanes of a fit's stages; a `Trainer`."""

    def __init__(
        self,
        place: Place,
        data: Any,
        watch: Watch,
        *,
        every: float,
        keep: int,
        share: Share = WHOLE,
        complete: bool = False,
        cache: dict[Path, TrainedStage] | None = None,
        picks: Callable[[NeuralLane], bool] | None = None,
    ) -> None:
        """Prepares to train.

        Args:
          place: where stages are kept.
          data: unchanged train of the fold; other stages reuse only lanes trained on
            it.
          watch: (stage, lanes, kept_by) -> opens the progress line.
          every: time between snapshots [s].
          keep: how many snapshots to keep.
          share: which lanes to train; others are returned as failed.
          complete: whether every lane must be trained already, as in a merge.
          cache: trained lanes, shared by the fits of a fold.
          picks: which lanes to train, instead of a share.
        """
        self._place, self._data = place, data
        self._watch, self._every, self._keep = watch, every, keep
        self._share, self._complete = share, complete
        self._cache = {} if cache is None else cache
        self._picks = picks

    def __call__(
        self,
        program: Program,
        lanes: Sequence[NeuralLane],
        fold: Fold,
        stage: Stage = ONLY_STAGE,
    ) -> Trained:
        """Trains the lanes of a stage that are not trained yet, see `Trainer`.

        Raises:
          ValueError: if the run must be complete, but a lane is not trained.
        """
        name, reads = "-".join(stage.name.split()) or "lanes", stage.reads
        # Lanes of a program that reads only the fold are the same in every stage; other
        # lanes are reused only within their own stage.
        plain = stage.frozen is None and stage.init_data is None
        own = fold.train is not self._data or not plain
        keys = [lane_key(lane) for lane in lanes]
        known = self._find(program.key, name if own else "")
        wanted = set(range(len(lanes)))
        if self._picks is not None:
            wanted = {i for i, lane in enumerate(lanes) if self._picks(lane)}
        elif self._share != WHOLE:
            wanted = set(self._share.cut(len(lanes if reads is None else reads)))
            if reads is not None:
                wanted = {int(i) for j in wanted for i in np.atleast_1d(reads[j])}
        missing = sorted(i for i in wanted if keys[i] not in known)
        if missing and self._complete:
            raise ValueError(
                f"fold {self._place.fold}, {self._place.system}, {name}: "
                f"{len(missing)} lanes are not trained, among them "
                f"{describe_lane(lanes[missing[0]])}; finish every share with --resume"
            )
        if missing:
            given = Stage(
                name, _take(stage.frozen, missing), _take(stage.init_data, missing)
            )
            mine = [lanes[i] for i in missing]
            known |= self._train(program, mine, fold, given, own).lanes
        blank = None
        if any(key not in known for key in keys):
            one = jax.tree.map(lambda x: x[0], stage.init_data)
            shapes = jax.eval_shape(program.learner.init, jax.random.key(0), one)
            zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
            blank = LaneRecord(zeros, 0, float("-inf"), 0, {})
        return _collect([known.get(key, blank) for key in keys])

    def _train(
        self,
        program: Program,
        lanes: Sequence[NeuralLane],
        fold: Fold,
        stage: Stage,
        own: bool,
    ) -> TrainedStage:
        """Trains lanes and keeps them."""
        folder = self._place.stage(stage.name)
        identity = self._place.identity
        trains = {"program": program.key, "lanes": [lane_key(lane) for lane in lanes]}
        problem = program.problem
        arrays = lane_arrays(lanes, problem.modalities, problem.targets, stage.frozen)
        label = "" if stage.name == "lanes" else stage.name
        with Snapshots(folder, identity, trains, self._every, self._keep) as snapshots:
            resume_from = snapshots.newest(program.sweep, arrays, stage.init_data)
            with self._watch(label, lanes, program.kept_by) as on_epoch:
                state, history = train_lanes(
                    program.sweep,
                    arrays,
                    fold.train,
                    fold.dev,
                    program.training,
                    on_epoch=on_epoch,
                    num_sequences=fold.num_sequences,
                    init_data=stage.init_data,
                    resume_from=resume_from,
                    save=snapshots.offer,
                )
            outcomes = zip(
                state.best_epoch.tolist(),
                state.best_score.tolist(),
                state.train.failed_step.tolist(),
                strict=True,
            )
            facts = {
                "format": FORMAT,
                "own": own,
                "identity": dict(identity),
                **trains,
                "outcomes": [
                    [epoch, score if epoch else None, step]
                    for epoch, score, step in outcomes
                ],
            }
            found = flatten({"params": state.best_params, "history": history})
            path = folder / f"{TRAINED}-{len(_trained_folders(folder))}"
            write_folder(path, found, facts)
            snapshots.clear()
        kept = self._cache[path] = _make_stage(path, facts, found)
        for lane in lanes:
            step = kept.lanes[lane_key(lane)].failed_step
            if step >= 0:
                note(
                    f"the lane of {describe_lane(lane)} diverged at update {step} and "
                    "counts as failed"
                )
        return kept

    def _find(self, program: str, name: str) -> dict[str, LaneRecord]:
        """Finds lanes trained earlier, in this run or another share.

        `name` is the stage that they belong to, "" for any.
        """
        found: dict[str, LaneRecord] = {}
        place = self._place
        pattern = f"{place.system}/{name}" if name else "*/*"
        for source in place.sources:
            for folder in sorted((source / STAGES / place.fold).glob(pattern)):
                for path in _trained_folders(folder):
                    stage = self._read(path)
                    if stage.program != program or stage.own != bool(name):
                        continue
                    for key, record in stage.lanes.items():
                        _require_same(found.setdefault(key, record), record, path)
        return found

    def _read(self, path: Path) -> TrainedStage:
        """Reads a stage, once."""
        if path not in self._cache:
            try:
                facts = read_facts(path, self._place.identity)
                if facts.get("format") != FORMAT:
                    raise ValueError(f"{path}: not trained lanes of format {FORMAT}")
                self._cache[path] = _make_stage(path, facts, read_arrays(path))
            except ValueError as error:
                raise ValueError(
                    f"{error}; remove that folder, and --resume trains these lanes "
                    "again"
                ) from None
        return self._cache[path]


def _make_stage(
    path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> TrainedStage:
    """Splits a stage into its lanes."""
    try:
        return _take_lanes(facts, unflatten(arrays))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: incomplete ({error!r})") from None


def _take_lanes(facts: Mapping[str, Any], tree: Mapping[str, Any]) -> TrainedStage:
    lanes = {}
    for i, (key, (epoch, score, step)) in enumerate(
        zip(facts["lanes"], facts["outcomes"], strict=True)
    ):
        lanes[key] = LaneRecord(
            params=jax.tree.map(lambda x, i=i: x[i], tree["params"]),
            best_epoch=epoch,
            best_score=float("-inf") if score is None else score,
            failed_step=step,
            history={name: values[:, i] for name, values in tree["history"].items()},
        )
    return TrainedStage(facts["program"], facts["own"], lanes)


def lane_key(lane: NeuralLane) -> str:
    """Names a lane by all that training depends on besides fold and program."""
    return json.dumps(lane.identity)


def describe_lane(lane: NeuralLane) -> str:
    """Names a lane for the terminal."""
    setting = "".join(f"{name}={value:g}," for name, value in lane.setting.items())
    return f"main={lane.main},{setting}seed={lane.seed},target={lane.target}"


def _trained_folders(stage: Path) -> list[Path]:
    return sorted(stage.glob(f"{TRAINED}-*"))


def _require_same(known: LaneRecord, record: LaneRecord, path: Path) -> None:
    """Refuses a lane that two shares trained to different results."""
    if known is record:
        return
    mine, theirs = flatten(known.params), flatten(record.params)
    if any(mine[name].tobytes() != theirs[name].tobytes() for name in mine):
        raise ValueError(
            f"{path}: two shares trained the same lane to different results; use the "
            "same kind of device for all"
        )


def _take(tree: Any, positions: Sequence[int]) -> Any:
    """Picks lanes from a tree of arrays with L in front; None stays None."""
    index = np.asarray(positions, int)
    return jax.tree.map(lambda x: np.asarray(x)[index], tree)


def _collect(records: Sequence[Any]) -> Trained:
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
