"""A study: the lanes of a config, trained and scored on every fold of a corpus."""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from data import cluster_column, require_unchanged, summarise_corpus
from files import (
    CHECKPOINTS,
    CONFIG,
    CORPUS,
    HISTORY,
    PREDICTIONS,
    SCORES,
    TUNING,
    read_json,
    replace_rows,
    write_json,
)
from ml_collections import ConfigDict

from ifusion import __version__
from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS
from ifusion.evaluation.predictions import prediction_frame
from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION, score_predictions
from ifusion.evaluation.selection import choose_settings
from ifusion.inference.predictor import make_predictor, predict_rows
from ifusion.losses import cross_entropy
from ifusion.models.architecture import Architecture
from ifusion.models.implicit import ImplicitFusion
from ifusion.preprocessing.sequences import Batch, make_batch, pad_rows, sequence_rows
from ifusion.preprocessing.standardise import fit_standardizer, iterate_rows
from ifusion.training.checkpoint import Checkpoint, Outcome, save_checkpoint
from ifusion.training.dev_score import make_dev_score
from ifusion.training.lanes import Lane, lane_arrays, make_grid
from ifusion.training.memory import choose_group
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import LaneState, Progress, Sweep, make_sweep, train_lanes

Watch = Callable[
    [str, Sequence[Lane]], AbstractContextManager[Callable[[Progress], None]]
]

VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")


class Plan(NamedTuple):
    """What is the same for every fold.

    Attributes:
      lanes: all training runs.
      tuning: those at alpha = 0 that choose the settings of the others; () where there
        is one setting only.
      modalities: names, in the order of the loss weights.
      targets: names, in the order of the labels.
      model: the network.
      options: how lanes are trained.
      sequence: attribute that joins utterances, or "".
      sweep: the program.
      capacity: {partition: (sequences, steps)} that the arrays of a fold have room for.
    """

    lanes: tuple[Lane, ...]
    tuning: tuple[Lane, ...]
    modalities: tuple[str, ...]
    targets: tuple[str, ...]
    model: ImplicitFusion
    options: TrainingOptions
    sequence: str
    sweep: Sweep
    capacity: Mapping[str, tuple[int, int]]


def make_plan(config: ConfigDict, folds: Mapping[str, Corpus]) -> Plan:
    """Checks a config against the corpus and builds the program.

    Raises:
      ValueError: an entry does not fit the corpus or makes no sense.
    """
    corpus = next(iter(folds.values()))
    _check_evaluation(config.evaluation, corpus)
    modalities = _modalities(config.sweep, corpus)
    lanes, tuning = _lanes(config.sweep, modalities, corpus)
    lane_arrays(lanes, modalities, corpus.targets)  # refuses unknown names
    entries = config.training.to_dict()
    sequence = entries.pop("sequence")
    options = TrainingOptions(**entries)
    capacity = _capacity(folds, sequence)
    recurrent = any(steps > 1 for _, steps in capacity.values())
    model = ImplicitFusion(
        modalities,
        len(corpus.classes),
        Architecture(**config.model, recurrent=recurrent),
    )
    sizes = {m: len(corpus.modalities[m].names) for m in modalities}
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lanes",))
    budget = config.sweep.memory_gib * 2**30 or None
    count = max(len(lanes), len(tuning))
    group = choose_group(model, sizes, options, capacity, count, mesh, budget)
    metric = CLASSIFICATION_METRICS[config.evaluation.metric]
    dev_score = make_dev_score(metric, len(corpus.classes))
    sweep = make_sweep(model, sizes, cross_entropy, dev_score, options, mesh, group)
    return Plan(
        lanes=lanes,
        tuning=tuning,
        modalities=modalities,
        targets=corpus.targets,
        model=model,
        options=options,
        sequence=sequence,
        sweep=sweep,
        capacity=capacity,
    )


def _lanes(
    section: ConfigDict, modalities: tuple[str, ...], corpus: Corpus
) -> tuple[tuple[Lane, ...], tuple[Lane, ...]]:
    """Lists the lanes of the sweep, and those that choose their settings before it."""
    if 0 not in section.alphas:
        raise ValueError("sweep.alphas lacks 0.0, the baseline that is compared with")
    mains = tuple(section.mains) or modalities
    targets = tuple(section.targets) or corpus.targets
    seeds = tuple(section.tuning_seeds) or section.seeds
    tuning = make_grid(mains, targets, (0.0,), seeds, section.l2)
    lanes = make_grid(mains, targets, section.alphas, section.seeds, section.l2[:1])
    return lanes, tuning if len(section.l2) > 1 else ()


def _check_evaluation(section: ConfigDict, corpus: Corpus) -> None:
    if corpus.task != "classification":
        raise ValueError(
            f"corpus {corpus.name!r} is a regression; this program trains classifiers"
        )
    if section.metric not in CLASSIFICATION_METRICS:
        raise ValueError(
            f"evaluation.metric is {section.metric!r}; expected one of "
            f"{', '.join(CLASSIFICATION_METRICS)}"
        )
    if section.resamples < 1:
        raise ValueError(f"evaluation.resamples is {section.resamples}; expected > 0")
    cluster_column(corpus, section.cluster)


def _modalities(section: ConfigDict, corpus: Corpus) -> tuple[str, ...]:
    taken = {"joint", "dev_score"} & set(corpus.modalities)  # names of the history
    if taken:
        raise ValueError(f"a modality may not be called {taken.pop()!r}")
    for name in section.modalities:
        if name not in corpus.modalities:
            raise ValueError(
                f"sweep.modalities holds {name!r}; the modalities of {corpus.name!r} "
                f"are {', '.join(corpus.modalities)}"
            )
    if len(set(section.modalities)) < len(section.modalities):
        raise ValueError(f"sweep.modalities repeats a name: {section.modalities}")
    return tuple(section.modalities) or tuple(corpus.modalities)


def _capacity(folds: Mapping[str, Corpus], by: str) -> dict[str, tuple[int, int]]:
    """Finds the room that suits every fold, so that all share one compilation."""
    shapes = {
        p: np.array([sequence_rows(c, p, by).shape for c in folds.values()])
        for p in ("train", "dev")
    }
    return {p: (int(s[:, 0].max()), int(s[:, 1].max())) for p, s in shapes.items()}


def prepare_run(
    workdir: Path, config: ConfigDict, folds: Mapping[str, Corpus], plan: Plan
) -> None:
    """Makes the run directory, or checks that it is that of the run to resume.

    Raises:
      ValueError: the run there was started with another configuration.
    """
    settings = {**_plain(config.to_dict()), "folds": list(folds)}
    path = workdir / CONFIG
    if path.exists():
        known = read_json(path)
        known.pop("provenance", None)
        if known != settings:
            differing = [k for k in settings if settings[k] != known.get(k)]
            raise ValueError(
                f"{path}: the run was started with other entries in "
                f"{', '.join(differing)}; --resume needs the same flags"
            )
        require_unchanged(workdir / CORPUS, folds)
        return
    (workdir / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    write_json(workdir / CORPUS, summarise_corpus(folds))
    write_json(path, {**settings, "provenance": _provenance(plan)})


def _plain(value: Any) -> Any:
    """Turns tuples into lists, as JSON has them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _provenance(plan: Plan) -> dict[str, Any]:
    return {
        "ifusion": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
        "devices": [d.device_kind for d in jax.devices()],
        "lanes": len(plan.lanes),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def train_fold(
    plan: Plan, corpus: Corpus, fold: str, watch: Watch
) -> tuple[Checkpoint, dict[str, np.ndarray], pd.DataFrame]:
    """Trains all lanes on one split of the corpus, after choosing their settings.

    Args:
      plan: of the study.
      corpus: under this split.
      fold: its name.
      watch: opens the progress line of a stage and its lanes.

    Returns:
      The checkpoint, the history {metric: (epochs, L)} and the scores that settings
      were chosen by, empty where there was no choice.
    """
    rows = {p: sequence_rows(corpus, p, plan.sequence) for p in ("train", "dev")}
    seen = rows["train"][rows["train"] >= 0]
    standardizers = {
        m: fit_standardizer(iterate_rows(corpus.modalities[m], seen))
        for m in plan.modalities
    }
    train, dev = (
        make_batch(corpus, pad_rows(rows[p], *plan.capacity[p]), standardizers)
        for p in ("train", "dev")
    )
    count = len(rows["train"])
    lanes, tuning = _tune(plan, train, dev, count, fold, watch)
    with watch("", lanes) as on_epoch:
        state, history = _train(plan, lanes, train, dev, count, on_epoch)
    checkpoint = Checkpoint(
        lanes,
        _outcomes(state),
        state.best_params,
        standardizers,
        {m: corpus.modalities[m].names for m in plan.modalities},
        plan.model.architecture,
        corpus.targets,
        corpus.classes,
        plan.sequence,
    )
    return checkpoint, history, tuning


def _train(
    plan: Plan,
    lanes: Sequence[Lane],
    train: Batch,
    dev: Batch,
    num_sequences: int,
    on_epoch: Callable[[Progress], None],
) -> tuple[LaneState, dict[str, np.ndarray]]:
    arrays = lane_arrays(lanes, plan.modalities, plan.targets)
    return train_lanes(
        plan.sweep, arrays, train, dev, plan.options, on_epoch, num_sequences
    )


def _tune(
    plan: Plan, train: Batch, dev: Batch, num_sequences: int, fold: str, watch: Watch
) -> tuple[tuple[Lane, ...], pd.DataFrame]:
    """Chooses the settings of the lanes by training the baseline under each."""
    if not plan.tuning:
        return plan.lanes, pd.DataFrame()
    with watch("settings  ", plan.tuning) as on_epoch:
        state, _ = _train(plan, plan.tuning, train, dev, num_sequences, on_epoch)
    scores = np.where(state.train.failed_step < 0, state.best_score, np.nan)
    tuning = pd.DataFrame([asdict(lane) for lane in plan.tuning])
    tuning = tuning.assign(fold=fold, dev_score=scores)
    chosen = {
        (row["main"], row["target"]): (float(row["l2"]), int(row["delay"]))
        for row in choose_settings(tuning).to_dict("records")
    }
    lanes = tuple(
        replace(lane, l2=l2, delay=delay)
        for lane in plan.lanes
        for l2, delay in [chosen[lane.main, lane.target]]
    )
    picked = [chosen[x.main, x.target] == (x.l2, x.delay) for x in plan.tuning]
    return lanes, tuning.assign(chosen=picked)


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
    checkpoint: Checkpoint,
    history: Mapping[str, np.ndarray],
    tuning: pd.DataFrame,
    cluster: str,
) -> None:
    """Writes what came out of a fold: its rows of the tables, then its checkpoint.

    The checkpoint makes a fold finished: a run that dies in between does it again.
    """
    frame = _history_frame(checkpoint, history, fold)
    replace_rows(workdir / HISTORY, frame, {"fold": fold})
    if len(tuning):
        replace_rows(workdir / TUNING, tuning, {"fold": fold})
    add_scores(workdir, fold, corpus, checkpoint, "dev", cluster)
    config = read_json(workdir / CONFIG)
    save_checkpoint(workdir / CHECKPOINTS / fold, checkpoint, config)


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


def add_scores(
    workdir: Path,
    fold: str,
    corpus: Corpus,
    checkpoint: Checkpoint,
    partition: str,
    cluster: str,
) -> None:
    """Scores every lane of a fold on a partition and adds the rows to the run.

    Each main modality is predicted by a predictor that holds nothing of the others.
    """
    mains = dict.fromkeys(lane.main for lane in checkpoint.lanes)
    parts = [
        _predict_main(checkpoint, fold, corpus, partition, cluster, m) for m in mains
    ]
    predictions = pd.concat(parts, ignore_index=True)
    keys = {"fold": fold, "partition": partition}
    replace_rows(workdir / PREDICTIONS, predictions, keys)
    labelled = predictions[predictions["label"] != ""]
    if len(labelled):
        scores = _scores(labelled, checkpoint, corpus.classes)
        replace_rows(workdir / SCORES, scores, keys)


def _predict_main(
    checkpoint: Checkpoint,
    fold: str,
    corpus: Corpus,
    partition: str,
    cluster: str,
    main: str,
) -> pd.DataFrame:
    predictor = make_predictor(checkpoint, main)
    modality = corpus.modalities[main]
    rows = sequence_rows(corpus, partition, checkpoint.sequence)
    inside = np.sort(rows[rows >= 0])
    local = np.where(rows >= 0, np.searchsorted(inside, rows), -1)
    probabilities = predict_rows(predictor, modality.values[inside], local)
    lanes = pd.DataFrame(
        {"fold": fold, "main": main}
        | {"target": [lane.target for lane in predictor.lanes]}
        | {"alpha": [lane.alpha for lane in predictor.lanes]}
        | {"seed": [lane.seed for lane in predictor.lanes], "partition": partition}
    )
    columns = {"recording": corpus.recording, cluster: cluster_column(corpus, cluster)}
    return prediction_frame(
        probabilities,
        lanes,
        corpus.labels[inside, 0],
        corpus.classes,
        {name: column[inside] for name, column in columns.items()},
    )


def _scores(
    predictions: pd.DataFrame, checkpoint: Checkpoint, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Scores predictions; every score of a lane that failed is NaN."""
    scores = score_predictions(predictions, classes)
    failed = {
        (lane.main, lane.alpha, lane.seed)
        for lane, outcome in zip(checkpoint.lanes, checkpoint.outcomes, strict=True)
        if outcome.failed_step >= 0
    }
    lanes = zip(scores["main"], scores["alpha"], scores["seed"], strict=True)
    scores.loc[[lane in failed for lane in lanes], "value"] = np.nan
    scores["system"] = np.where(scores["alpha"] == 0, BASELINE, IMPLICIT_FUSION)
    return scores
