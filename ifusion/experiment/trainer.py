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
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.experiment.snapshots import Snapshots
from ifusion.preprocessing.sequences import Batch
from ifusion.storage import (
    flatten,
    make_folder,
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
    Request,
    Stage,
    Trained,
    lane_arrays,
)
from ifusion.systems.system import Fold
from ifusion.terminal import note
from ifusion.training.loop import Progress, train_lanes
from ifusion.training.schedule import MemoryLimitError
from ifusion.training.sets import Sets, join_sets, one_set, shapes_of
from ifusion.training.stream import Blocks
from ifusion.training.sweep import LaneState

FORMAT = 1
STAGES, TRAINED = "stages", "trained"
ONLY = "lanes"  # the stage of a fit that has no others
Watch = Callable[[Sequence["Job"]], AbstractContextManager[Callable[[Progress], None]]]


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
      tensorboard: folder of the fit's TensorBoard files, or None.
    """

    folder: Path
    sources: tuple[Path, ...]
    fold: str
    system: str
    identity: Mapping[str, str]
    tensorboard: Path | None = None

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
      seconds: how long training took [s]; of lanes that trained beside others, their
        part of that time.
    """

    program: str
    own: bool
    lanes: dict[str, LaneRecord]
    seconds: float


class Job(NamedTuple):
    """Lanes of a stage that are to be trained and kept.

    Attributes:
      keeper: keeps them.
      request: what to train; its stage has a name, and only these lanes.
      own: of the stage, see `TrainedStage`.
    """

    keeper: "LaneTrainer"
    request: Request
    own: bool


class LaneTrainer:
    """Trains the lanes of a fit's stages; a `Trainer`.

    Attributes:
      place: where stages are kept.
      seconds: how long the lanes of this system took that were found trained [s].
    """

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
        train: Callable[[Sequence[Job]], Any] | None = None,
    ) -> None:
        """Prepares to train.

        Args:
          place: where stages are kept.
          data: unchanged train of the fold; other stages reuse only lanes trained on
            it.
          watch: opens the progress line of jobs whose lanes train side by side.
          every: time between snapshots [s].
          keep: how many snapshots to keep.
          share: which lanes to train; others are returned as failed.
          complete: whether every lane must be trained already, as in a merge.
          cache: trained lanes, shared by the fits of a fold.
          picks: which lanes to train, instead of a share.
          train: trains jobs, `train_jobs` by default.
        """
        self.place, self._data = place, data
        self.watch, self.every, self.keep = watch, every, keep
        self._share, self._complete = share, complete
        self._cache = {} if cache is None else cache
        self._picks, self._train = picks, train or train_jobs
        self._took: dict[Path, float] = {}

    @property
    def seconds(self) -> float:
        """How long the lanes of this system took that were found trained [s]."""
        return sum(self._took.values())

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
        jobs = [job for job in map(self._missing, named) if job]
        if jobs:
            self._train(jobs)
        return [self._collect(request) for request in named]

    def _missing(self, request: Request) -> Job | None:
        """Finds the lanes of a stage that are to be trained."""
        lanes, stage = request.lanes, request.stage
        known, reads = self._find(request), stage.reads
        wanted = set(range(len(lanes)))
        if self._picks is not None:
            wanted = {i for i, lane in enumerate(lanes) if self._picks(lane)}
        elif self._share != WHOLE:
            wanted = set(self._share.cut(len(lanes if reads is None else reads)))
            if reads is not None:
                wanted = {int(i) for j in wanted for i in np.atleast_1d(reads[j])}
        missing = sorted(i for i in wanted if lane_key(lanes[i]) not in known)
        if missing and self._complete:
            raise ValueError(
                f"fold {self.place.fold}, {self.place.system}, {stage.name}: "
                f"{len(missing)} lanes are not trained, among them "
                f"{describe_lane(lanes[missing[0]])}; finish every share with --resume"
            )
        if not missing:
            return None
        given = stage._replace(
            frozen=_take(stage.frozen, missing),
            init_data=_take(stage.init_data, missing),
        )
        mine = [lanes[i] for i in missing]
        return Job(
            self, request._replace(lanes=mine, stage=given), self._is_own(request)
        )

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
        return _collect([known.get(key, blank) for key in keys])

    def _is_own(self, request: Request) -> bool:
        """Returns whether lanes read more than the unchanged fold.

        Lanes of a program that reads only the fold are the same in every stage; other
        lanes are reused only within their own stage.
        """
        stage = request.stage
        plain = stage.frozen is None and stage.init_data is None
        return request.fold.train is not self._data or not plain

    def store(self, job: Job, lanes: LaneState, history: Any, seconds: float) -> None:
        """Keeps the lanes of a job, which took so long [s]."""
        request = job.request
        folder = self.place.stage(request.stage.name)
        outcomes = zip(
            lanes.best_epoch.tolist(),
            lanes.best_score.tolist(),
            lanes.train.failed_step.tolist(),
            strict=True,
        )
        facts = {
            "format": FORMAT,
            "own": job.own,
            "identity": dict(self.place.identity),
            **_contents(request),
            "outcomes": [
                [epoch, score if epoch else None, step]
                for epoch, score, step in outcomes
            ],
            "seconds": seconds,
        }
        found = flatten({"params": lanes.best_params, "history": history})
        make_folder(folder)
        path = folder / f"{TRAINED}-{len(_trained_folders(folder))}"
        write_folder(path, found, facts)
        kept = self._cache[path] = _make_stage(path, facts, found)
        self._took[path] = 0.0  # the fit waited for them
        for lane in request.lanes:
            step = kept.lanes[lane_key(lane)].failed_step
            if step >= 0:
                note(
                    f"the lane of {describe_lane(lane)} diverged at update {step} and "
                    "counts as failed"
                )

    def _find(self, request: Request) -> dict[str, LaneRecord]:
        """Finds lanes trained earlier, in this run or another share."""
        found: dict[str, LaneRecord] = {}
        place, own = self.place, self._is_own(request)
        asked = {lane_key(lane) for lane in request.lanes}
        pattern = f"{place.system}/{request.stage.name}" if own else "*/*"
        for source in place.sources:
            for folder in sorted((source / STAGES / place.fold).glob(pattern)):
                for path in _trained_folders(folder):
                    stage = self._read(path)
                    if stage.program != request.program.key or stage.own != own:
                        continue
                    for key, record in stage.lanes.items():
                        _require_same(found.setdefault(key, record), record, path)
                    if (
                        folder.parent.name == place.system
                        and asked & stage.lanes.keys()
                    ):
                        self._took.setdefault(path, stage.seconds)
        return found

    def _read(self, path: Path) -> TrainedStage:
        """Reads a stage, once."""
        if path not in self._cache:
            try:
                facts = read_facts(path, self.place.identity)
                if facts.get("format") != FORMAT:
                    raise ValueError(f"{path}: not trained lanes of format {FORMAT}")
                self._cache[path] = _make_stage(path, facts, read_arrays(path))
            except ValueError as error:
                raise ValueError(
                    f"{error}; remove that folder, and --resume trains these lanes "
                    "again"
                ) from None
        return self._cache[path]


# ---- training jobs -------------------------------------------------------------------


def train_jobs(jobs: Sequence[Job]) -> None:
    """Trains the lanes of jobs and keeps them; those of equal programs side by side."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(_joins(job.request) or id(job), []).append(job)
    for group in groups.values():
        try:
            _train_group(group)
        except MemoryLimitError:
            if len(group) == 1:
                raise
            for job in group:
                _train_group([job])


def _joins(request: Request) -> str:
    """Describes what must be equal for lanes of requests to train as one program.

    Programs of one name differ only in the data of runs with equal options. Lanes that
    carry state, or read train in blocks, train alone: "".
    """
    program, fold, stage = request.program, request.fold, request.stage
    if program.problem.windows > 1 or isinstance(fold.train, Blocks):
        return ""
    given = (stage.frozen, stage.init_data)
    return repr(
        (
            program.name,
            program.training,
            program.kept_by,
            program.problem.buckets,
            shapes_of(fold.train),
            shapes_of(fold.dev),
            jax.tree.map(lambda x: (x.shape[1:], x.dtype.name), given),
        )
    )


def _train_group(jobs: Sequence[Job]) -> None:
    """Trains the lanes of jobs as one program; snapshots lie with the first job."""
    first, requests = jobs[0].keeper, [job.request for job in jobs]
    program, lanes = requests[0].program, [x for r in requests for x in r.lanes]
    problem = program.problem
    given = [(r.stage.frozen, r.stage.init_data) for r in requests]
    frozen, init_data = jax.tree.map(lambda *x: np.concatenate(x), *given)
    arrays = lane_arrays(lanes, problem.modalities, problem.targets, frozen)
    train, dev, sets = _join_data(requests)
    folder = first.place.stage(requests[0].stage.name)
    trains = _contents(requests[0])
    if len(jobs) > 1:
        trains["beside"] = [
            {**_contents(job.request), "identity": dict(job.keeper.place.identity)}
            for job in jobs[1:]
        ]
    with Snapshots(
        folder, first.place.identity, trains, first.every, first.keep
    ) as snapshots:
        resume_from = snapshots.newest(program.sweep, arrays, init_data)
        with first.watch(jobs) as on_epoch:
            state, history = train_lanes(
                program.sweep,
                arrays,
                train,
                dev,
                program.training,
                on_epoch=on_epoch,
                init_data=init_data,
                resume_from=resume_from,
                save=snapshots.offer,
                sets=sets,
            )
        each = snapshots.seconds / len(lanes)
        for job, here in zip(jobs, cut_lanes(jobs), strict=True):
            mine = jax.tree.map(lambda x, here=here: x[here], state)
            own = {name: values[:, here] for name, values in history.items()}
            if len(jobs) > 1:
                own = _without_end(own)
            job.keeper.store(job, mine, own, each * len(job.request.lanes))
        snapshots.clear()


def _join_data(requests: Sequence[Request]) -> tuple[Any, Batch, Sets]:
    """Joins the data of requests, and says which lanes read what."""
    counts = [len(r.lanes) for r in requests]
    first = requests[0].fold
    if len(requests) == 1:
        return first.train, first.dev, one_set(counts[0], first.num_sequences)
    parts = [(r.fold.train_batch, r.fold.dev) for r in requests]
    return join_sets(parts, [r.fold.num_sequences for r in requests], counts)


def cut_lanes(jobs: Sequence[Job]) -> list[slice]:
    """Finds the lanes of each job among those of all."""
    ends = np.cumsum([len(job.request.lanes) for job in jobs]).tolist()
    return [slice(begin, end) for begin, end in pairwise([0, *ends])]


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


# ---- trained lanes -------------------------------------------------------------------


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
    seconds = float(facts.get("seconds", 0))  # which earlier versions did not write
    return TrainedStage(facts["program"], facts["own"], lanes, seconds)


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
