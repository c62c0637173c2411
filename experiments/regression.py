"""The task of following continuous targets, such as arousal, in time (Sec. 4.3.2).

Axes: L lanes, N recordings, R frames of all recordings, A raters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

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
from task import Task, finish_scores, lane_rows

from ifusion.corpora.corpus import Corpus, row_partition, rows_of
from ifusion.evaluation.agreement import (
    Measure,
    make_measures,
    measure,
    recording_moments,
)
from ifusion.evaluation.postprocessing import (
    Adjustment,
    PostProcessingOptions,
    adjust,
    adjustments_from_json,
    adjustments_to_json,
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
from ifusion.inference.predictor import make_predictor, predict_sequences
from ifusion.losses import (
    concordance_loss,
    sequence_concordance_loss,
    squared_error,
)
from ifusion.preprocessing.sequences import sequence_rows
from ifusion.reporting.run import write_atomically
from ifusion.training.checkpoint import Checkpoint
from ifusion.training.dev_score import CONCORDANCE_SCORES
from ifusion.training.step import TaskLoss

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
      shifted: whether scores are taken in shifted time, labels earlier by the delay,
        instead of shifting predictions back.
      postprocessing: what is tried on dev.
    """

    metric: str
    measures: Mapping[str, Measure]
    cluster: str
    shifted: bool
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
    scoring = Scoring(
        section.metric,
        make_measures(section.convention),
        section.cluster,
        config.training.delay_scoring == "shifted",
        PostProcessingOptions(**config.postprocessing.to_dict()),
    )

    def predict(
        checkpoint: Checkpoint, corpus: Corpus, fold: str, partition: str
    ) -> Predicted:
        return _predict(checkpoint, corpus, fold, partition, scoring)

    def freeze(predicted: Predicted, corpus: Corpus) -> list[dict[str, Any]]:
        return _freeze(predicted, corpus, scoring)

    def record(
        workdir: Path,
        checkpoint: Checkpoint,
        predicted: Predicted,
        frozen: Sequence[Mapping[str, Any]],
    ) -> None:
        _record(workdir, checkpoint, predicted, frozen, scoring)

    return Task(
        num_outputs=1,  # every lane has a target of its own
        loss=LOSSES[config.training.loss],
        dev_score=CONCORDANCE_SCORES[section.metric],
        predict=predict,
        freeze=freeze,
        record=record,
    )


def _predict(
    checkpoint: Checkpoint, corpus: Corpus, fold: str, partition: str, scoring: Scoring
) -> Predicted:
    """Predicts all lanes, compensated for their annotation delay."""
    inside = np.flatnonzero(corpus.partition == partition)
    offsets = np.concatenate([[0], np.cumsum(np.diff(corpus.offsets)[inside])])
    rows = sequence_rows(corpus, partition)
    lanes, values = [], []
    for main in dict.fromkeys(lane.main for lane in checkpoint.lanes):
        predictor = make_predictor(checkpoint, main)
        outputs = predict_sequences(predictor, corpus.modalities[main].values, rows)
        delays = [lane.delay for lane in predictor.lanes]
        ahead = delays if scoring.shifted else [0] * len(delays)
        lanes.append(lane_rows(checkpoint, main).assign(ahead=ahead))
        for delay, read_ahead, output in zip(
            delays, ahead, outputs[..., 0], strict=True
        ):
            back = Adjustment("shift", delay - read_ahead)
            values.append(adjust(output[rows >= 0], offsets, [back]))
    listed = pd.concat(lanes, ignore_index=True)
    raw = np.stack(values).astype(np.float32)
    frames = rows_of(corpus, inside)
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
        lanes=listed,
        raw=raw,
        processed=raw,
        gold=gold,
        raters=raters,
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
    predicted: Predicted, corpus: Corpus, scoring: Scoring
) -> list[dict[str, Any]]:
    """Learns the post-processing of each lane on dev."""
    traces, options = predicted.traces, scoring.postprocessing
    score = scoring.measures[scoring.metric]
    frozen = []
    for row, values in zip(traces.lanes.to_dict("records"), traces.raw, strict=True):
        lane = {str(name): value for name, value in row.items()}
        labels = traces.gold[lane["target"], lane["ahead"]]
        column = corpus.targets.index(lane["target"])
        gold = corpus.labels[row_partition(corpus) == options.gold, column]

        def on_dev(values: np.ndarray, labels: np.ndarray = labels) -> float:
            moments = recording_moments(values, labels, traces.offsets)
            return float(measure(moments, score))

        trials = fit_postprocessing(
            values,
            traces.offsets,
            on_dev,
            (float(gold.mean(dtype=np.float64)), float(gold.std(dtype=np.float64))),
            traces.frame_step,
            options,
        )
        frozen.append(
            {
                **lane,
                "adjustments": adjustments_to_json(kept_adjustments(trials)),
                "trials": [
                    {**trial._asdict(), "adjustment": trial.adjustment._asdict()}
                    for trial in trials
                ],
            }
        )
    return frozen


def _record(
    workdir: Path,
    checkpoint: Checkpoint,
    predicted: Predicted,
    frozen: Sequence[Mapping[str, Any]],
    scoring: Scoring,
) -> None:
    """Applies what was frozen, scores, and writes the files of a fold and partition."""
    traces = predicted.traces
    keys = {"fold": traces.fold, "partition": traces.partition}
    processed = [
        adjust(values, traces.offsets, adjustments_from_json(entry["adjustments"]))
        for values, entry in zip(traces.raw, frozen, strict=True)
    ]
    traces = replace(traces, processed=np.stack(processed).astype(np.float32))
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
    if traces.partition == "dev" and scoring.postprocessing.steps:
        replace_rows(workdir / GAINS, _gains(traces, frozen), {"fold": traces.fold})
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


def _gains(traces: Traces, frozen: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of postprocessing.csv: what each step brought each lane on dev.

    Value is the window [s] of a median, the shift [s], the offset in the unit of the
    target, or the factor.
    """
    rows = []
    for entry in frozen:
        lane = {name: entry[name] for name in ("main", "target", "alpha", "seed")}
        for trial in entry["trials"]:
            step, value = trial["adjustment"]["step"], trial["adjustment"]["value"]
            timed = step in ("median", "shift")
            rows.append(
                {
                    "fold": traces.fold,
                    **lane,
                    "step": step,
                    "value": value * traces.frame_step if timed else value,
                    "before": trial["before"],
                    "after": trial["after"],
                    "kept": trial["kept"],
                }
            )
    return pd.DataFrame(rows)
