"""Trains lanes with progress, snapshots and shares, and no lane twice.

A system's fit is a deterministic function of what its training stages return, so an
unfinished run keeps only the lanes of each stage: a fit that runs again reads finished
stages from disk and continues the interrupted one. A share of a run trains some lanes
of every stage; merging runs the fits again and finds every lane trained.

Lanes of equal programs train side by side: those of several runs that differ in labels
and seeds, or of one that differ in what they leave out of train.

Axes: L lanes of a stage.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.experiment.snapshots import Snapshots
from ifusion.experiment.stages import (
    ONLY,
    STAGES,
    LaneRecord,
    TrainedStage,
    describe_lane,
    lane_key,
    read_stage,
    require_same,
    stack_lanes,
    trained_folders,
    write_stage,
)
from ifusion.experiment.study import Study
from ifusion.systems.neural import (
    ONLY_STAGE,
    NeuralLane,
    Program,
    Request,
    Stage,
    Trained,
    lane_arrays,
)
from ifusion.systems.system import Fold
from ifusion.terminal import note
from ifusion.training.loop import Progress, train_lanes
from ifusion.training.schedule import MemoryLimitError
from ifusion.training.sets import join_sets, shapes_of
from ifusion.training.stream import Blocks
from ifusion.training.sweep import LaneState

Watch = Callable[
    [Sequence["Missing"]], AbstractContextManager[Callable[[Progress], None]]
]


class Share(NamedTuple):
    """Part `number`, counted from 1, of `total` parts of the lanes of every stage."""

    number: int
    total: int

    def cut(self, count: int) -> range:
        """Returns the positions of this share among `count` lanes."""
        begin, end = ((i * count) // self.total for i in (self.number - 1, self.number))
        return range(begin, end)


WHOLE = Share(1, 1)


class Work(NamedTuple):
    """What to train, and where to keep it.

    Attributes:
      run: directory of the run or share.
      study: study of the run.
      share: which part of the lanes to train.
      sources: directories of shares whose lanes are already trained.
      complete: whether every lane must be trained already, as in a merge.
      tensorboard: folder to write TensorBoard files to, or None.
    """

    run: Path
    study: Study
    share: Share = WHOLE
    sources: tuple[Path, ...] = ()
    complete: bool = False
    tensorboard: Path | None = None


class Missing(NamedTuple):
    """Lanes of a stage that are to be trained and kept.

    Attributes:
      keeper: keeps them.
      request: what to train; its stage has a name, and only these lanes.
    """

    keeper: "LaneTrainer"
    request: Request


@dataclass(eq=False, kw_only=True)
class LaneTrainer:
    """Trains the lanes of a fit's stages; a `Trainer`.

    Attributes:
      work: what to train; lanes of other shares are returned as failed.
      fold: name of the fold.
      system: key.
      identity: identity of run and fold, see `ifusion.storage.read_facts`.
      data: unchanged train of the fold; other stages reuse only lanes trained on it.
      watch: opens the progress line of parts whose lanes train side by side.
      cache: trained lanes, shared by the fits of a fold.
      picks: which lanes to train, instead of a share, or None.
      train: trains parts, such as `train_missing`.
      took: {folder: how long lanes of this system that were found trained took [s]}.
    """

    work: Work
    fold: str
    system: str
    identity: Mapping[str, str]
    data: Any
    watch: Watch
    cache: dict[Path, TrainedStage]
    picks: Callable[[NeuralLane], bool] | None
    train: Callable[[Sequence[Missing]], Any]
    took: dict[Path, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took to train what was found trained of this system [s]."""
        return sum(self.took.values())

    def folder(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.work.run / STAGES / self.fold / self.system / stage

    def __call__(
        self,
        program: Program,
        lanes: Sequence[NeuralLane],
        fold: Fold,
        stage: Stage = ONLY_STAGE,
    ) -> Trained:
        """Trains the lanes of a stage, see `together`."""
        (trained,) = self.together([Request(program, lanes, fold, stage)])
        return trained

    def together(self, requests: Sequence[Request]) -> list[Trained]:
        """Trains the lanes of some stages that are not trained yet, see `Trainer`.

        Raises:
          ValueError: if the run must be complete, but a lane is not trained.
        """
        named = [_with_name(request) for request in requests]
        parts = [part for part in map(self._missing, named) if part]
        if parts:
            self.train(parts)
        return [self._collect(request) for request in named]

    def _missing(self, request: Request) -> Missing | None:
        """Finds the lanes of a stage that are to be trained."""
        lanes, stage = request.lanes, request.stage
        known, reads, share = self._find(request), stage.reads, self.work.share
        wanted = set(range(len(lanes)))
        if self.picks is not None:
            wanted = {i for i, lane in enumerate(lanes) if self.picks(lane)}
        elif share != WHOLE:
            wanted = set(share.cut(len(lanes if reads is None else reads)))
            if reads is not None:
                wanted = {int(i) for j in wanted for i in np.atleast_1d(reads[j])}
        missing = sorted(i for i in wanted if lane_key(lanes[i]) not in known)
        if missing and self.work.complete:
            raise ValueError(
                f"fold {self.fold}, {self.system}, {stage.name}: {len(missing)} lanes "
                "are not trained, among them "
                f"{describe_lane(lanes[missing[0]])}; finish every share with --resume"
            )
        if not missing:
            return None
        given = stage._replace(
            frozen=_take(stage.frozen, missing),
            init_data=_take(stage.init_data, missing),
        )
        mine = [lanes[i] for i in missing]
        return Missing(self, request._replace(lanes=mine, stage=given))

    def _collect(self, request: Request) -> Trained:
        """Stacks the lanes of a stage; those that nobody trains count as failed."""
        known = self._find(request)
        keys, blank = [lane_key(lane) for lane in request.lanes], None
        if any(key not in known for key in keys):
            one = jax.tree.map(lambda x: x[0], request.stage.init_data)
            learner = request.program.learner
            shapes = jax.eval_shape(learner.init, jax.random.key(0), one)
            zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
            blank = LaneRecord(zeros, 0, float("-inf"), 0, {})
        return stack_lanes([known.get(key, blank) for key in keys])

    def _is_own(self, request: Request) -> bool:
        """Returns whether lanes read more than the unchanged fold.

        Lanes of a program that reads only the fold are the same in every stage; other
        lanes are reused only within their own stage.
        """
        stage = request.stage
        plain = stage.frozen is None and stage.init_data is None
        return request.fold.train is not self.data or not plain

    def keep_lanes(
        self,
        part: Missing,
        state: LaneState,
        history: Any,
        seconds: float,
        before: float,
    ) -> None:
        """Keeps the trained lanes of a part.

        Args:
          part: the lanes.
          state: (L, ...), theirs.
          history: {metric: (epochs, L)}.
          seconds: how long they took to train [s].
          before: how much of that earlier starts took [s].
        """
        folder = self.folder(part.request.stage.name)
        facts = {
            "own": self._is_own(part.request),
            "identity": dict(self.identity),
            **_contents(part.request),
            "seconds": seconds,
        }
        path, kept = write_stage(folder, state, history, facts)
        self.cache[path] = kept
        self.took[path] = before  # the fit has waited for the rest
        for lane in part.request.lanes:
            step = kept.lanes[lane_key(lane)].failed_step
            if step >= 0:
                note(
                    f"the lane of {describe_lane(lane)} diverged at update {step} and "
                    "counts as failed"
                )

    def _find(self, request: Request) -> dict[str, LaneRecord]:
        """Finds lanes trained earlier, in this run or another share."""
        found: dict[str, LaneRecord] = {}
        asked, own = {lane_key(lane) for lane in request.lanes}, self._is_own(request)
        pattern = f"{self.system}/{request.stage.name}" if own else "*/*"
        for source in (self.work.run, *self.work.sources):
            for folder in sorted((source / STAGES / self.fold).glob(pattern)):
                for path in trained_folders(folder):
                    if path not in self.cache:
                        self.cache[path] = read_stage(path, self.identity)
                    stage = self.cache[path]
                    if stage.program != request.program.key or stage.own != own:
                        continue
                    for key, record in stage.lanes.items():
                        require_same(found.setdefault(key, record), record, path)
                    mine = folder.parent.name == self.system
                    if mine and asked & stage.lanes.keys():
                        self.took.setdefault(path, stage.seconds)
        return found


# ---- training what is missing --------------------------------------------------------


def train_missing(parts: Sequence[Missing]) -> None:
    """Trains and keeps what is missing; lanes of equal programs train side by side."""
    groups: dict[Any, list[Missing]] = {}
    for part in parts:
        groups.setdefault(_joins(part.request) or id(part), []).append(part)
    for group in groups.values():
        try:
            _train_group(group)
        except MemoryLimitError:
            if len(group) == 1:
                raise
            for part in group:
                _train_group([part])


def _joins(request: Request) -> str:
    """Describes what must be equal for lanes of requests to train as one program.

    Programs of one name differ only in the data of runs with equal options. Lanes that
    carry state, or read train in blocks, train alone: "".
    """
    program, fold, stage = request.program, request.fold, request.stage
    if program.problem.windows > 1 or isinstance(fold.train, Blocks):
        return ""
    room, scored = len(fold.train_batch.mask), fold.dev

    def shape(x: np.ndarray) -> tuple[Any, ...]:
        of_sequences = x.ndim > 1 and x.shape[1] == room
        return x.dtype.name, of_sequences, x.shape[1 + of_sequences :]

    return repr(
        (
            program.name,
            program.training,
            program.kept_by,
            program.problem.buckets,
            shapes_of(fold.train),
            (len(scored.mask), shapes_of(scored)),
            scored.lengths and [len(group) for group in scored.lengths.groups],
            jax.tree.map(shape, (stage.frozen, stage.init_data)),
        )
    )


def _train_group(parts: Sequence[Missing]) -> None:
    """Trains the lanes of parts as one program; snapshots lie with the first part."""
    first, requests = parts[0].keeper, [part.request for part in parts]
    program, lanes = requests[0].program, [x for r in requests for x in r.lanes]
    problem = program.problem
    given = [(r.stage.frozen, r.stage.init_data) for r in requests]
    frozen, init_data = jax.tree.map(_concatenate, *given)
    arrays = lane_arrays(lanes, problem.modalities, problem.targets, frozen)
    fold, sets = requests[0].fold, None
    train, dev = fold.train, fold.dev
    if len(requests) > 1:
        train, dev, sets = join_sets(
            [(r.fold.train_batch, r.fold.dev) for r in requests],
            [r.fold.num_sequences for r in requests],
            [len(r.lanes) for r in requests],
        )
    folder = first.folder(requests[0].stage.name)
    trains = _contents(requests[0])
    if len(parts) > 1:
        trains["beside"] = [
            {**_contents(part.request), "identity": dict(part.keeper.identity)}
            for part in parts[1:]
        ]
    sweep = first.work.study.options.sweep
    every, keep = sweep.save_every_seconds, sweep.keep_snapshots
    with Snapshots(folder, first.identity, trains, every, keep) as snapshots:
        resume_from = snapshots.newest(program.sweep, arrays, init_data)
        with first.watch(parts) as on_epoch:
            state, history = train_lanes(
                program.sweep,
                arrays,
                train,
                dev,
                program.training,
                on_epoch=on_epoch,
                num_sequences=fold.num_sequences,
                init_data=init_data,
                resume_from=resume_from,
                save=snapshots.offer,
                sets=sets,
            )
        seconds, before = snapshots.seconds, snapshots.before
        for part, here in zip(parts, cut_lanes(parts), strict=True):
            mine = jax.tree.map(lambda x, here=here: x[here], state)
            own = {name: values[:, here] for name, values in history.items()}
            if len(parts) > 1:
                own = _without_end(own)
            portion = len(part.request.lanes) / len(lanes)
            part.keeper.keep_lanes(part, mine, own, portion * seconds, portion * before)
        snapshots.clear()


def cut_lanes(parts: Sequence[Missing]) -> list[slice]:
    """Finds the lanes of each part among those of all."""
    ends = np.cumsum([len(part.request.lanes) for part in parts]).tolist()
    return [slice(begin, end) for begin, end in pairwise([0, *ends])]


def _concatenate(*arrays: np.ndarray) -> np.ndarray:
    """Joins what lanes are given; those of fewer sequences are padded with zeros."""
    shape = np.max([x.shape for x in arrays], axis=0)

    def pad(x: np.ndarray) -> np.ndarray:
        room = np.subtract(shape, x.shape)
        room[0] = 0
        return np.pad(x, [(0, n) for n in room.tolist()]) if room.any() else x

    return np.concatenate([pad(x) for x in arrays])


def _without_end(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leaves out the last epochs, in which only others trained."""
    trained = np.any([~np.isnan(x).all(1) for x in history.values()], axis=0)
    epochs = int(np.flatnonzero(trained).max(initial=-1)) + 1
    return {name: values[:epochs] for name, values in history.items()}


def _contents(request: Request) -> dict[str, Any]:
    """Names program and lanes, for JSON."""
    keys = [lane_key(lane) for lane in request.lanes]
    return {"program": request.program.key, "lanes": keys}


def _with_name(request: Request) -> Request:
    """Gives a stage the name of its folder."""
    name = "-".join(request.stage.name.split()) or ONLY
    return request._replace(stage=request.stage._replace(name=name))


def _take(tree: Any, positions: Sequence[int]) -> Any:
    """Picks lanes from a tree of arrays with L in front; None stays None."""
    index = np.asarray(positions, int)
    return jax.tree.map(lambda x: np.asarray(x)[index], tree)
