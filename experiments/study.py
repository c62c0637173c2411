"""A study: the lanes of a config, trained and scored on every fold of a corpus."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from classification import make_classification
from data import cluster_column
from files import CHECKPOINTS, CONFIG, HISTORY, TUNING, read_json, replace_rows
from ml_collections import ConfigDict
from partitions import (
    chosen_modalities,
    find_capacity,
    fit_standardizers,
    read_training,
)
from regression import make_regression
from settings import Trained, collect_lanes, list_lanes, tune_lanes
from task import Task

from ifusion.corpora.corpus import Corpus
from ifusion.models.architecture import Architecture
from ifusion.models.gru import gru
from ifusion.models.gru_kernel import KernelOptions, make_fused_gru
from ifusion.models.implicit import ImplicitFusion
from ifusion.preprocessing.sequences import (
    Batch,
    SequenceOptions,
    make_batch,
    pad_rows,
    sequence_rows,
    training_rows,
)
from ifusion.systems.system import Watch
from ifusion.training.checkpoint import (
    Checkpoint,
    Continuous,
    Outcome,
    save_checkpoint,
)
from ifusion.training.lanes import Lane, lane_arrays
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.memory import choose_schedule
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import LaneState, Sweep, make_sweep, train_lanes


class Plan(NamedTuple):
    """What is the same for every fold.

    Attributes:
      lanes: all training runs.
      tuning: those that settings are chosen by; () where there is one setting only.
      modalities: names, in the order of the loss weights.
      targets: names, in the order of the labels.
      model: the network.
      options: how lanes are trained.
      sequences: what the GRU runs over.
      task: what is predicted, and how that is scored.
      sweep: the program.
      capacity: {"train": (N, W, T), "dev": (N, T)}, sequences, windows whose state is
        carried, and steps that the arrays of a fold have room for.
    """

    lanes: tuple[Lane, ...]
    tuning: tuple[Lane, ...]
    modalities: tuple[str, ...]
    targets: tuple[str, ...]
    model: ImplicitFusion
    options: TrainingOptions
    sequences: SequenceOptions
    task: Task
    sweep: Sweep
    capacity: Mapping[str, tuple[int, ...]]


def make_plan(config: ConfigDict, folds: Mapping[str, Corpus]) -> Plan:
    """Checks a config against the corpus and builds the program.

    Raises:
      ValueError: an entry does not fit the corpus or makes no sense.
    """
    corpus = next(iter(folds.values()))
    check_evaluation(config.evaluation, corpus)
    task = make_task(config, corpus)
    modalities = chosen_modalities(config.sweep, corpus)
    lanes, tuning = list_lanes(config, modalities, corpus)
    lane_arrays(lanes, modalities, corpus.targets)  # refuses unknown names
    options, sequences = read_training(config.training)
    capacity = find_capacity(folds, sequences)
    room, windows, _ = capacity["train"]
    if windows > 1:  # no more recordings side by side than there are
        options = replace(options, batch_size=min(options.batch_size, room))
    recurrent = any(shape[-1] > 1 for shape in capacity.values())
    kernel = config.sweep.kernel
    model = ImplicitFusion(
        modalities,
        task.num_outputs,
        Architecture(**config.model, recurrent=recurrent),
        make_fused_gru(KernelOptions(kernel)) if kernel else gru,
    )
    sizes = {m: len(corpus.modalities[m].names) for m in modalities}
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lanes",))
    budget = config.sweep.memory_gib * 2**30 or None
    count = max(len(lanes), len(tuning))
    schedule = choose_schedule(model, sizes, options, capacity, count, mesh, budget)
    sweep = make_sweep(
        make_implicit_fusion(model, sizes, task.loss),
        *(task.dev_score, options, mesh),
        group=schedule.group,
        windows=windows,
        chunk=schedule.chunk,
    )
    return Plan(
        lanes=lanes,
        tuning=tuning,
        modalities=modalities,
        targets=corpus.targets,
        model=model,
        options=options,
        sequences=sequences,
        task=task,
        sweep=sweep,
        capacity=capacity,
    )


def steps_of(plan: Plan) -> int:
    """Counts the updates of an epoch."""
    sequences, windows, _ = plan.capacity["train"]
    return -(-sequences // plan.options.batch_size) * windows


def make_task(config: ConfigDict, corpus: Corpus) -> Task:
    """Builds the task of a corpus.

    Raises:
      ValueError: an entry of the config does not fit it.
    """
    makers = {"classification": make_classification, "regression": make_regression}
    return makers[corpus.task](config, corpus)


def check_evaluation(section: ConfigDict, corpus: Corpus) -> None:
    """Checks the section `evaluation` of a config against the corpus.

    Raises:
      ValueError: an entry makes no sense.
    """
    if section.resamples < 1:
        raise ValueError(f"evaluation.resamples is {section.resamples}; expected > 0")
    cluster_column(corpus, section.cluster)


def train_fold(
    plan: Plan, corpus: Corpus, fold: str, watch: Watch
) -> tuple[Checkpoint, dict[str, np.ndarray], pd.DataFrame]:
    """Trains all lanes on one split of the corpus, after choosing their settings.

    Args:
      plan: of the study.
      corpus: under this split.
      fold: its name.
      watch: opens the progress line of a stage and the mains of its lanes.

    Returns:
      The checkpoint, the history {metric: (epochs, L)} and the scores that settings
      were chosen by, empty where there was no choice.
    """
    standardizers = fit_standardizers(corpus, plan.modalities)
    rows = {
        "train": training_rows(corpus, plan.sequences),
        "dev": sequence_rows(corpus, "dev", plan.sequences.sequence),
    }
    ahead = max(lane.delay for lane in (*plan.lanes, *plan.tuning))
    train, dev = (
        make_batch(
            corpus,
            pad_rows(rows[p], *shape).reshape(-1, shape[-1]),
            standardizers,
            ahead,
        )
        for p, shape in plan.capacity.items()
    )
    count = len(rows["train"])
    trained, tuning = _train_under_settings(plan, train, dev, count, fold, watch)
    continuous = None
    if corpus.frame_step is not None and corpus.task == "regression":
        unadjusted = ((),) * len(trained.lanes)  # until something is learnt on dev
        continuous = Continuous(
            corpus.frame_step, plan.options.delay_scoring, unadjusted
        )
    checkpoint = Checkpoint(
        trained.lanes,
        trained.outcomes,
        trained.params,
        standardizers,
        {m: corpus.modalities[m].names for m in plan.modalities},
        plan.model.architecture,
        corpus.targets,
        corpus.classes,
        plan.sequences.sequence,
        continuous,
    )
    if len(tuning):
        tuning["delay_seconds"] = tuning["delay"] * (corpus.frame_step or 0.0)
    return checkpoint, trained.history, tuning


def _train(
    plan: Plan,
    lanes: tuple[Lane, ...],
    train: Batch,
    dev: Batch,
    num_sequences: int,
    watch: Watch,
    stage: str,
) -> Trained:
    arrays = lane_arrays(lanes, plan.modalities, plan.targets)
    with watch(stage, [lane.main for lane in lanes]) as on_epoch:
        state, history = train_lanes(
            plan.sweep, arrays, train, dev, plan.options, on_epoch, num_sequences
        )
    return Trained(lanes, _outcomes(state), state.best_params, history)


def _train_under_settings(
    plan: Plan, train: Batch, dev: Batch, num_sequences: int, fold: str, watch: Watch
) -> tuple[Trained, pd.DataFrame]:
    """Chooses the settings of the lanes, then trains those that are not trained yet."""
    if not plan.tuning:
        lanes, tuning = plan.lanes, pd.DataFrame()
        known = None
    else:
        known = _train(plan, plan.tuning, train, dev, num_sequences, watch, "settings")
        scores = [x.best_score if x.failed_step < 0 else None for x in known.outcomes]
        lanes, tuning = tune_lanes(plan.lanes, known.lanes, scores, fold)
    there = () if known is None else known.lanes
    missing = tuple(lane for lane in lanes if lane not in there)
    parts = [] if known is None else [known]
    if missing:
        parts.append(_train(plan, missing, train, dev, num_sequences, watch, ""))
    return collect_lanes(parts, lanes), tuning


def _outcomes(state: LaneState) -> tuple[Outcome, ...]:
    columns = (state.best_epoch, state.best_score, state.train.failed_step)
    rows = zip(*(np.asarray(c).tolist() for c in columns), strict=True)
    return tuple(
        Outcome(epoch, score if epoch else None, step) for epoch, score, step in rows
    )


def save_fold(
    workdir: Path,
    fold: str,
    corpus: Corpus,
    task: Task,
    checkpoint: Checkpoint,
    history: Mapping[str, np.ndarray],
    tuning: pd.DataFrame,
) -> None:
    """Writes what came out of a fold: its rows of the tables, then its checkpoint.

    The checkpoint makes a fold finished: a run that dies in between does it again.
    """
    frame = _history_frame(checkpoint, history, fold)
    replace_rows(workdir / HISTORY, frame, {"fold": fold})
    if len(tuning):
        replace_rows(workdir / TUNING, tuning, {"fold": fold})
    predictions = task.predict(checkpoint, corpus, fold, "dev")
    checkpoint = task.freeze(workdir, checkpoint, predictions, corpus)
    task.record(workdir, checkpoint, predictions)
    config = read_json(workdir / CONFIG)
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
