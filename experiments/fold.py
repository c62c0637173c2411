"""One split of a corpus: its lanes trained and scored, and what is kept of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from files import CHECKPOINTS, CONFIG, HISTORY, TUNING, replace_rows
from partitions import fit_standardizers
from settings import Trained, collect_lanes, tune_lanes
from snapshots import Snapshots
from study import Plan
from task import Task

from ifusion.corpora.corpus import Corpus
from ifusion.preprocessing.sequences import (
    Batch,
    make_batch,
    pad_rows,
    sequence_rows,
    training_rows,
)
from ifusion.preprocessing.standardise import Standardizer
from ifusion.reporting.run import read_json
from ifusion.systems.system import Watch
from ifusion.training.checkpoint import (
    Checkpoint,
    Continuous,
    Outcome,
    load_checkpoint,
    save_checkpoint,
)
from ifusion.training.lanes import Lane, lane_arrays
from ifusion.training.loop import Snapshot, train_lanes
from ifusion.training.stream import Stream
from ifusion.training.sweep import LaneState

SETTINGS, GRID = "settings", "grid"  # the stages of a fold
LABELS = {SETTINGS: "settings", GRID: ""}

Keep = Callable[[str, Sequence[Lane]], Snapshots]


class TrainedFold(NamedTuple):
    """What comes out of the training of a fold, or of a share of its lanes.

    Attributes:
      trained: the lanes, under their settings.
      tuning: the scores that settings were chosen by; empty where there was no choice.
      standardizers: {m: train statistics}.
    """

    trained: Trained
    tuning: pd.DataFrame
    standardizers: Mapping[str, Standardizer]


class FoldData(NamedTuple):
    """What the lanes of a fold are trained on.

    Attributes:
      train: sequences of the train partition, in the room of all folds; or where they
        are read from.
      dev: those of the dev partition.
      num_sequences: how many of train exist.
      standardizers: {m: train statistics}.
    """

    train: Batch | Stream
    dev: Batch
    num_sequences: int
    standardizers: Mapping[str, Standardizer]


def make_data(plan: Plan, corpus: Corpus) -> FoldData:
    """Makes arrays of one split of the corpus, standardised by its train partition."""
    standardizers = fit_standardizers(corpus, plan.modalities)
    rows = {
        "train": training_rows(corpus, plan.sequences),
        "dev": sequence_rows(corpus, "dev", plan.sequences.sequence),
    }
    ahead = max(lane.delay for lane in (*plan.lanes, *plan.tuning))
    padded = {
        p: pad_rows(rows[p], *shape).reshape(-1, shape[-1])
        for p, shape in plan.capacity.items()
    }

    def batch_of(rows: np.ndarray) -> Batch:
        return make_batch(corpus, rows, standardizers, ahead)

    def take(numbers: np.ndarray) -> Batch:
        exists = (numbers >= 0)[:, None]
        return batch_of(np.where(exists, padded["train"][numbers], -1))

    train: Batch | Stream
    if plan.block_bytes:
        one = sum(x.nbytes for x in jax.tree.leaves(take(np.zeros(1, np.int64))))
        _require_room(plan, one)
        train = Stream(take, len(padded["train"]), one, plan.block_bytes)
    else:
        train = batch_of(padded["train"])
    dev = batch_of(padded["dev"])
    return FoldData(train, dev, len(rows["train"]), standardizers)


def _require_room(plan: Plan, sequence_bytes: int) -> None:
    """Refuses blocks that do not hold one minibatch of every seed."""
    seeds = len({lane.seed for lane in (*plan.lanes, *plan.tuning)})
    least = seeds * plan.options.batch_size * sequence_bytes / 2**20
    most = plan.block_bytes / 2**20
    if least > most:
        raise ValueError(
            f"sweep.block_mib is {most:.3g}; a minibatch of each of {seeds} seeds has "
            f"{least:.3g} MiB: give that much, or lower training.batch_size or "
            "training.window"
        )


def train_fold(
    plan: Plan, corpus: Corpus, fold: str, watch: Watch, keep: Keep
) -> TrainedFold:
    """Trains all lanes on one split of the corpus, after choosing their settings.

    Args:
      plan: of the study.
      corpus: under this split.
      fold: its name.
      watch: opens the progress line of a stage and the mains of its lanes.
      keep: opens the snapshots of a stage and its lanes, from which it goes on.
    """
    data = make_data(plan, corpus)
    lanes, tuning, parts = plan.lanes, pd.DataFrame(), []
    if plan.tuning:
        known = _train(plan, plan.tuning, data, watch, keep, SETTINGS)
        lanes, tuning = tune_lanes(
            plan.lanes, known.lanes, dev_scores(known.outcomes), fold
        )
        tuning["delay_seconds"] = tuning["delay"] * (corpus.frame_step or 0.0)
        parts.append(known)
    missing = untrained_lanes(plan, lanes)
    if missing:
        parts.append(_train(plan, missing, data, watch, keep, GRID))
    return TrainedFold(collect_lanes(parts, lanes), tuning, data.standardizers)


def make_checkpoint(plan: Plan, corpus: Corpus, result: TrainedFold) -> Checkpoint:
    """Puts with trained lanes what is needed to predict with them."""
    trained = result.trained
    continuous = None
    if corpus.frame_step is not None and corpus.task == "regression":
        unadjusted = ((),) * len(trained.lanes)  # until something is learnt on dev
        continuous = Continuous(
            corpus.frame_step, plan.options.delay_scoring, unadjusted
        )
    return Checkpoint(
        trained.lanes,
        trained.outcomes,
        trained.params,
        result.standardizers,
        {m: corpus.modalities[m].names for m in plan.modalities},
        plan.model.architecture,
        corpus.targets,
        corpus.classes,
        plan.sequences.sequence,
        continuous,
    )


def untrained_lanes(plan: Plan, lanes: Sequence[Lane]) -> tuple[Lane, ...]:
    """Picks the lanes that the choice of settings has not trained already."""
    return tuple(lane for lane in lanes if lane not in plan.tuning)


def _train(
    plan: Plan,
    lanes: tuple[Lane, ...],
    data: FoldData,
    watch: Watch,
    keep: Keep,
    stage: str,
) -> Trained:
    arrays = lane_arrays(lanes, plan.modalities, plan.targets)
    mains = [lane.main for lane in lanes]
    with keep(stage, lanes) as snapshots:
        resume_from = snapshots.newest(plan.sweep, arrays)
        with watch(LABELS[stage], mains, "") as on_epoch:
            state, history = train_lanes(
                *(plan.sweep, arrays, data.train, data.dev, plan.options),
                *(on_epoch, data.num_sequences),
                resume_from=resume_from,
                save=snapshots.offer,
            )
        if stage == SETTINGS:  # the grid builds on it
            snapshots.save(Snapshot(len(lanes), 0, state, history))
    return Trained(lanes, outcomes_of(state), state.best_params, history)


def outcomes_of(state: LaneState) -> tuple[Outcome, ...]:
    """Tells how the training of each lane ended."""
    columns = (state.best_epoch, state.best_score, state.train.failed_step)
    rows = zip(*(np.asarray(c).tolist() for c in columns), strict=True)
    return tuple(
        Outcome(epoch, score if epoch else None, step) for epoch, score, step in rows
    )


def dev_scores(outcomes: Sequence[Outcome]) -> list[float | None]:
    """Returns the best dev score of each lane; None for one that failed."""
    return [x.best_score if x.failed_step < 0 else None for x in outcomes]


def failures_of(trained: Trained) -> list[str]:
    """Tells of each lane that was frozen, and when."""
    return [
        f"the lane of {describe_lane(lane)} was not finite any more at update "
        f"{outcome.failed_step}; it keeps the parameters it had, and counts as failed"
        for lane, outcome in zip(trained.lanes, trained.outcomes, strict=True)
        if outcome.failed_step >= 0
    ]


def describe_lane(lane: Lane) -> str:
    """Names a lane as --replay-lane does."""
    return f"main={lane.main},alpha={lane.alpha},seed={lane.seed},target={lane.target}"


def is_finished(
    workdir: Path,
    fold: str,
    kept: str = CHECKPOINTS,
    load: Callable[[Path], object] = load_checkpoint,
) -> bool:
    """Tells whether a fold has a checkpoint.

    Args:
      workdir: of the run, or of a share of it.
      fold: name.
      kept: folder of what makes folds finished.
      load: reads that of a fold, raising ValueError where it is damaged.

    Raises:
      ValueError: it has, but that is damaged.
    """
    folder = workdir / kept / fold
    if not folder.exists():
        return False
    try:
        load(folder)
    except ValueError as error:
        raise ValueError(
            f"{error}; without that folder, sweep.py --resume trains the fold again"
        ) from None
    return True


def save_fold(
    plan: Plan,
    workdir: Path,
    fold: str,
    corpus: Corpus,
    result: TrainedFold,
) -> None:
    """Writes what came out of a fold: its rows of the tables, then its checkpoint.

    The checkpoint makes a fold finished: a run that dies in between does it again.
    """
    checkpoint = make_checkpoint(plan, corpus, result)
    frame = _history_frame(checkpoint, result.trained.history, fold)
    replace_rows(workdir / HISTORY, frame, {"fold": fold})
    if len(result.tuning):
        replace_rows(workdir / TUNING, result.tuning, {"fold": fold})
    predictions = plan.task.predict(checkpoint, corpus, fold, "dev")
    checkpoint = plan.task.freeze(workdir, checkpoint, predictions, corpus)
    plan.task.record(workdir, checkpoint, predictions)
    config = read_json(workdir / CONFIG, [])
    save_checkpoint(workdir / CHECKPOINTS / fold, checkpoint, config)


def score_fold(
    workdir: Path,
    fold: str,
    corpus: Corpus,
    task: Task,
    checkpoint: Checkpoint,
    partition: str,
) -> None:
    """Scores every lane of a finished fold on a partition, adding to the run's rows."""
    predictions = task.predict(checkpoint, corpus, fold, partition)
    task.record(workdir, checkpoint, predictions)


def _history_frame(
    checkpoint: Checkpoint, history: Mapping[str, np.ndarray], fold: str
) -> pd.DataFrame:
    """One row a lane and epoch that it was trained for.

    The loss of a modality of weight 0 is left blank: its branch never learns.
    """
    epoch = np.arange(1, len(history["joint"]) + 1)
    parts = []
    for i, (lane, outcome) in enumerate(
        zip(checkpoint.lanes, checkpoint.outcomes, strict=True)
    ):
        losses = {
            f"loss_{m}": np.where(
                m == lane.main or lane.alpha > 0, history[m][:, i], np.nan
            )
            for m in checkpoint.features
        }
        part = pd.DataFrame(
            {"fold": fold, "main": lane.main, "target": lane.target}
            | {"alpha": lane.alpha}
            | {"seed": lane.seed, "epoch": epoch, "loss": history["joint"][:, i]}
            | {**losses, "dev_score": history["dev_score"][:, i]}
            | {"best": epoch == outcome.best_epoch}
        )
        trained = ~np.isnan(history["dev_score"][:, i])
        parts.append(part[trained])
    return pd.concat(parts, ignore_index=True)


def require_evaluable(
    checkpoint: Checkpoint, corpus: Corpus, fold: str, partition: str
) -> None:
    """Refuses what cannot be scored, before anything is opened.

    Raises:
      ValueError: the partition is empty, or the corpus has other features than the
        lanes were trained on.
    """
    if partition not in corpus.partition:
        raise ValueError(f"corpus {corpus.name!r} has no recording in {partition!r}")
    for main in dict.fromkeys(lane.main for lane in checkpoint.lanes):
        modality = corpus.modalities.get(main)
        if modality is None or modality.names != checkpoint.features[main]:
            raise ValueError(
                f"fold {fold}: the features of {main!r} in {corpus.name!r} are not "
                "those that the lanes were trained on"
            )
