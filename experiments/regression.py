"""The task of following continuous targets, such as arousal, in time (Sec. 4.3.2).

Axes: L lanes, N recordings, R frames of all recordings, A raters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from data import cluster_column
from files import (
    GAINS,
    MOMENTS,
    SCORES,
    TRACES,
    read_rows,
    replace_rows,
)
from ml_collections import ConfigDict
from task import Task, finish_scores

from ifusion.adjustments import adjust_lanes
from ifusion.core import TaskLoss
from ifusion.corpora.corpus import Corpus, frame_extents, row_partition, rows_of
from ifusion.evaluation.agreement import (
    Measure,
    make_measures,
    measure,
    recording_moments,
)
from ifusion.evaluation.postprocessing import (
    PostProcessingOptions,
    Trial,
    fit_postprocessing,
    kept_adjustments,
)
from ifusion.evaluation.scores import (
    PROCESSED,
    RAW,
    SUFFIXES,
    moments_frame,
    score_moments,
)
from ifusion.evaluation.selection import choose_alpha
from ifusion.evaluation.traces import Traces, encode_traces, select_lanes
from ifusion.inference.predictor import make_predictor, predict_recordings
from ifusion.losses import (
    concordance_loss,
    sequence_concordance_loss,
    squared_error,
)
from ifusion.storage import write_atomically
from ifusion.training.checkpoint import Checkpoint
from ifusion.training.dev_score import CONCORDANCE_SCORES

LOSSES: Mapping[str, TaskLoss] = {
    "squared_error": squared_error,
    "ccc": concordance_loss,
    "ccc_sequences": sequence_concordance_loss,
}


class Scoring(NamedTuple):
    """How predictions are scored.

    Attributes:
      metric: of dev, by which alpha and post-processing are chosen.
      measures: {metric: measure}.
      cluster: column of the recordings that significance resamples.
      postprocessing: what is tried on dev.
    """

    metric: str
    measures: Mapping[str, Measure]
    cluster: str
    postprocessing: PostProcessingOptions


class Predicted(NamedTuple):
    """What the lanes of a fold predict for a partition.

    Attributes:
      traces: of all lanes, without post-processing.
      clusters: (N,) str, of each recording.
    """

    traces: Traces
    clusters: np.ndarray


def make_regression(config: ConfigDict, corpus: Corpus) -> Task:
    """Builds the task.

    Raises:
      ValueError: the config is not one of a regression, an entry is none of its
        choices, or recordings are no sequences of frames.
    """
    if "postprocessing" not in config:
        raise ValueError(
            f"corpus {corpus.name!r} is a regression, but this config has no section "
            "postprocessing; use a config of a regression, such as "
            "configs/folder.py:continuous"
        )
    if corpus.frame_step is None:
        raise ValueError(
            f"corpus {corpus.name!r} is a regression of single utterances; expected "
            "recordings of frames, with a frame_step"
        )
    section = config.evaluation
    for part, name in (("training", "loss"), ("evaluation", "convention")):
        if name not in config[part]:
            raise ValueError(
                f"corpus {corpus.name!r} is a regression, but this config has no entry "
                f"{part}.{name}"
            )
    choices = {
        "evaluation.metric": (section.metric, CONCORDANCE_SCORES),
        "training.loss": (config.training.loss, LOSSES),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    scoring = read_scoring(config)

    def predict(
        checkpoint: Checkpoint, corpus: Corpus, fold: str, partition: str
    ) -> Predicted:
        return _predict(checkpoint, corpus, fold, partition, scoring)

    def freeze(
        workdir: Path, checkpoint: Checkpoint, predicted: Predicted, corpus: Corpus
    ) -> Checkpoint:
        return _freeze(workdir, checkpoint, predicted, corpus, scoring)

    def record(workdir: Path, checkpoint: Checkpoint, predicted: Predicted) -> None:
        _record(workdir, checkpoint, predicted, scoring)

    return Task(
        num_outputs=1,  # every lane has a target of its own
        loss=LOSSES[config.training.loss],
        dev_score=partial(
            CONCORDANCE_SCORES[section.metric], convention=section.convention
        ),
        predict=predict,
        freeze=freeze,
        record=record,
    )


def read_scoring(config: ConfigDict) -> Scoring:
    """Reads how predictions are scored, from the config of a regression."""
    section = config.evaluation
    return Scoring(
        section.metric,
        make_measures(section.convention),
        section.cluster,
        PostProcessingOptions(**config.postprocessing.to_dict()),
    )


def _predict(
    checkpoint: Checkpoint, corpus: Corpus, fold: str, partition: str, scoring: Scoring
) -> Predicted:
    """Predicts all lanes, compensated for their annotation delay."""
    assert checkpoint.continuous is not None
    inside = np.flatnonzero(corpus.partition == partition)
    frames = rows_of(corpus, inside)
    offsets = np.concatenate([[0], np.cumsum(np.diff(corpus.offsets)[inside])])
    listed = pd.DataFrame([asdict(lane) for lane in checkpoint.lanes])
    shifted = checkpoint.continuous.delay_scoring == "shifted"
    listed["ahead"] = listed.pop("delay") if shifted else 0
    raw = np.empty((len(listed), len(frames)), np.float32)
    for main in dict.fromkeys(listed["main"]):
        raw[listed["main"] == main] = predict_recordings(
            make_predictor(checkpoint, main),
            corpus.modalities[main].values,
            corpus.offsets,
            inside,
            raw=True,
        )
    gold, raters = {}, {}
    for target, read_ahead in dict.fromkeys(
        zip(listed["target"], listed["ahead"], strict=True)
    ):
        column = corpus.labels[frames, corpus.targets.index(target)]
        gold[target, read_ahead] = _look_ahead(column, offsets, read_ahead)
        if target in corpus.raters:
            ratings = corpus.raters[target][frames].T
            raters[target, read_ahead] = _look_ahead(ratings, offsets, read_ahead)
    traces = Traces(
        fold=fold,
        partition=partition,
        frame_step=float(corpus.frame_step or 0),
        recording=corpus.recording[inside],
        offsets=offsets,
        lanes=listed[["main", "target", "alpha", "seed", "ahead"]],
        raw=raw,
        processed=raw,
        gold=gold,
        raters=raters,
        extents=frame_extents(corpus)[inside],
        left_out=tuple(corpus.left_out.get(partition, ())),
    )
    return Predicted(traces, cluster_column(corpus, scoring.cluster)[inside])


def _look_ahead(values: np.ndarray, offsets: np.ndarray, frames: int) -> np.ndarray:
    """Reads (..., R) some frames later in each recording, NaN past its end."""
    found = np.full(values.shape, np.nan, np.float32)
    for start, stop in pairwise(offsets):
        found[..., start : max(stop - frames, start)] = values[
            ..., min(start + frames, stop) : stop
        ]
    return found


def _freeze(
    workdir: Path,
    checkpoint: Checkpoint,
    predicted: Predicted,
    corpus: Corpus,
    scoring: Scoring,
) -> Checkpoint:
    """Learns the post-processing of each lane on dev, and writes what it brought."""
    assert checkpoint.continuous is not None
    traces, options = predicted.traces, scoring.postprocessing
    learnt = [
        learn_postprocessing(
            *(values, traces.gold[lane["target"], lane["ahead"]], traces.offsets),
            *(gold_statistics(corpus, lane["target"], options.gold), scoring),
            traces.frame_step,
        )
        for lane, values in zip(
            traces.lanes.to_dict("records"), traces.raw, strict=True
        )
    ]
    if options.steps:
        replace_rows(workdir / GAINS, _gains(traces, learnt), {"fold": traces.fold})
    adjustments = tuple(kept_adjustments(trials) for trials in learnt)
    continuous = replace(checkpoint.continuous, adjustments=adjustments)
    return replace(checkpoint, continuous=continuous)


def gold_statistics(corpus: Corpus, target: str, partition: str) -> tuple[float, float]:
    """Mean and standard deviation of a target in a partition."""
    column = corpus.targets.index(target)
    gold = corpus.labels[row_partition(corpus) == partition, column]
    return float(gold.mean(dtype=np.float64)), float(gold.std(dtype=np.float64))


def learn_postprocessing(
    values: np.ndarray,
    labels: np.ndarray,
    offsets: np.ndarray,
    gold: tuple[float, float],
    scoring: Scoring,
    frame_step: float,
) -> tuple[Trial, ...]:
    """Tries on dev what improves the predictions of a lane.

    Args:
      values: (R,), predictions on dev.
      labels: (R,), NaN where there is none.
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].
      gold: of `gold_statistics`.
      scoring: the metric, and what is tried.
      frame_step: [s].
    """
    score = scoring.measures[scoring.metric]

    def on_dev(values: np.ndarray) -> float:
        return float(measure(recording_moments(values, labels, offsets), score))

    return fit_postprocessing(
        values, offsets, on_dev, gold, frame_step, scoring.postprocessing
    )


def _record(
    workdir: Path, checkpoint: Checkpoint, predicted: Predicted, scoring: Scoring
) -> None:
    """Applies what was frozen, scores, and writes the files of a fold and partition."""
    traces = predicted.traces
    keys = {"fold": traces.fold, "partition": traces.partition}
    assert checkpoint.continuous is not None
    processed = adjust_lanes(
        traces.raw, traces.offsets, checkpoint.continuous.adjustments
    )
    traces = replace(traces, processed=processed)
    kinds = {RAW: traces.raw}
    if scoring.postprocessing.steps:
        kinds[PROCESSED] = traces.processed
    parts = [
        _moments(traces, values, predicted.clusters, scoring.cluster, kind)
        for kind, values in kinds.items()
    ]
    moments = pd.concat(parts, ignore_index=True)
    moments = moments[moments["frames"] > 0]
    if len(moments):
        replace_rows(workdir / MOMENTS, moments, keys)
        scores = score_moments(moments, scoring.measures)
        scores["metric"] += scores.pop("processing").map(dict(SUFFIXES))
        replace_rows(workdir / SCORES, finish_scores(scores, checkpoint), keys)
    dev_scores = read_rows(
        workdir / SCORES, {"fold": traces.fold, "partition": "dev"}, ("alpha", "value")
    )
    chosen = choose_alpha(dev_scores, scoring.metric)
    lanes = traces.lanes.merge(chosen, on=["main", "target"], suffixes=("", "_chosen"))
    compared = (lanes["alpha"] == 0) | (lanes["alpha"] == lanes["alpha_chosen"])
    path = workdir / TRACES / f"{traces.fold}-{traces.partition}.safetensors"
    path.parent.mkdir(exist_ok=True)
    kept = select_lanes(traces, compared.to_numpy())
    write_atomically(path, encode_traces(kept))


def _moments(
    traces: Traces, values: np.ndarray, clusters: np.ndarray, cluster: str, kind: str
) -> pd.DataFrame:
    """Rows of moments.csv for predictions of one kind."""
    lanes = traces.lanes.drop(columns="ahead").assign(
        fold=traces.fold, partition=traces.partition, processing=kind
    )
    columns = {"recording": traces.recording, cluster: clusters}
    moments = [
        recording_moments(predictions, traces.gold[target, ahead], traces.offsets)
        for target, ahead, predictions in zip(
            traces.lanes["target"], traces.lanes["ahead"], values, strict=True
        )
    ]
    return moments_frame(np.stack(moments), lanes, columns)


def _gains(traces: Traces, learnt: Sequence[Sequence[Trial]]) -> pd.DataFrame:
    """Rows of postprocessing.csv: what each step brought each lane on dev.

    Value is the window [s] of a median, the shift [s], the offset in the unit of the
    target, or the factor.
    """
    rows = []
    lanes = traces.lanes.drop(columns="ahead").to_dict("records")
    for lane, trials in zip(lanes, learnt, strict=True):
        for trial in trials:
            step, value, _ = trial.adjustment
            timed = step in ("median", "shift")
            rows.append(
                {
                    "fold": traces.fold,
                    **lane,
                    "step": step,
                    "value": value * traces.frame_step if timed else value,
                    "before": trial.before,
                    "after": trial.after,
                    "kept": trial.kept,
                }
            )
    return pd.DataFrame(rows)
