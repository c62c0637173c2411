"""The task of naming one of several classes (Sec. 4.3.1)."""

from pathlib import Path

import numpy as np
import pandas as pd
from data import cluster_column
from files import PREDICTIONS, SCORES, replace_rows
from ml_collections import ConfigDict
from task import Task, finish_scores, lane_rows

from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS
from ifusion.evaluation.predictions import prediction_frame
from ifusion.evaluation.scores import score_predictions
from ifusion.inference.predictor import make_predictor, predict_rows
from ifusion.losses import cross_entropy
from ifusion.preprocessing.sequences import sequence_rows
from ifusion.training.checkpoint import Checkpoint
from ifusion.training.dev_score import make_dev_score


def make_classification(config: ConfigDict, corpus: Corpus) -> Task:
    """Builds the task.

    Raises:
      ValueError: evaluation.metric is no metric of a classification, or recordings are
        sequences of frames.
    """
    if corpus.frame_step is not None:
        raise ValueError(
            f"corpus {corpus.name!r} is a classification of frames (frame_step "
            f"{corpus.frame_step} s); expected a classification of single utterances, "
            "without a frame_step"
        )
    section = config.evaluation
    if section.metric not in CLASSIFICATION_METRICS:
        raise ValueError(
            f"evaluation.metric is {section.metric!r}; expected one of "
            f"{', '.join(CLASSIFICATION_METRICS)}"
        )
    cluster = section.cluster

    def predict(
        checkpoint: Checkpoint, corpus: Corpus, fold: str, partition: str
    ) -> pd.DataFrame:
        mains = dict.fromkeys(lane.main for lane in checkpoint.lanes)
        parts = [
            _predict_main(checkpoint, fold, corpus, partition, cluster, main)
            for main in mains
        ]
        return pd.concat(parts, ignore_index=True)

    return Task(
        num_outputs=len(corpus.classes),
        loss=cross_entropy,
        dev_score=make_dev_score(
            CLASSIFICATION_METRICS[section.metric], len(corpus.classes)
        ),
        predict=predict,
        freeze=lambda workdir, checkpoint, predictions, corpus: checkpoint,
        record=_record,
    )


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
    columns = {"recording": corpus.recording, cluster: cluster_column(corpus, cluster)}
    return prediction_frame(
        probabilities,
        lane_rows(checkpoint, main, fold=fold, partition=partition),
        corpus.labels[inside, 0],
        corpus.classes,
        {name: column[inside] for name, column in columns.items()},
    )


def _record(workdir: Path, checkpoint: Checkpoint, predictions: pd.DataFrame) -> None:
    keys = {name: predictions[name].iloc[0] for name in ("fold", "partition")}
    replace_rows(workdir / PREDICTIONS, predictions, keys)
    labelled = predictions[predictions["label"] != ""]
    if len(labelled):
        scores = score_predictions(labelled, checkpoint.classes)
        replace_rows(workdir / SCORES, finish_scores(scores, checkpoint), keys)
