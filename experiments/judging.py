"""How candidates of a system are scored on dev, and what is kept of the chosen ones.

Axes: l candidates, N sequences, T time, O outputs, R rows of all sequences.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from data import cluster_column
from ml_collections import ConfigDict
from regression import gold_statistics, learn_postprocessing, read_scoring

from ifusion.adjustments import Adjustment, adjust_lanes
from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.agreement import measure, recording_moments
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS, confusion_matrix
from ifusion.evaluation.postprocessing import kept_adjustments
from ifusion.evaluation.predictions import answer_frame
from ifusion.evaluation.scores import PROCESSED, RAW, moments_frame
from ifusion.preprocessing.sequences import (
    Batch,
    make_batch,
    pad_rows,
    sequence_rows,
)
from ifusion.preprocessing.standardise import Standardizer
from ifusion.systems.system import Candidate

Adjustments = tuple[Adjustment, ...]


class Sheet(NamedTuple):
    """A partition of a fold, and what is true of it.

    Attributes:
      fold: name.
      partition: "dev" or "test".
      features: {m: (N, T, F_m)}, standardised, padded to the room of every fold.
      mask: (N, T), 1 where a step exists.
      labels: (R, K), of the steps that exist; -1 or NaN = unlabelled.
      offsets: (recordings + 1,), recording i owns rows offsets[i]:offsets[i + 1].
      columns: {"recording" and the cluster column: (recordings,)}.
    """

    fold: str
    partition: str
    features: Mapping[str, np.ndarray]
    mask: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    columns: Mapping[str, np.ndarray]


class Judge(NamedTuple):
    """What classification and regression do differently with candidates.

    Attributes:
      table: name of the file that `rows` go to.
      score: (sheet, candidate, outputs (N, T, O)) -> metric in float64, the higher the
        better; NaN where an output is not finite.
      learn: (sheet of dev, candidate, outputs (N, T, O)) -> what is done to predictions
        from then on.
      rows: (sheet, candidates, outputs (l, N, T, O), l adjustments, columns of each) ->
        rows of the table.
    """

    table: str
    score: Callable[[Sheet, Candidate, np.ndarray], float]
    learn: Callable[[Sheet, Candidate, np.ndarray], Adjustments]
    rows: Callable[
        [Sheet, Sequence[Candidate], np.ndarray, Sequence[Adjustments], pd.DataFrame],
        pd.DataFrame,
    ]


def make_sheet(
    corpus: Corpus,
    fold: str,
    partition: str,
    room: tuple[int, ...],
    standardizers: Mapping[str, Standardizer],
    sequence: str,
    cluster: str,
) -> Sheet:
    """Gathers a partition as whole sequences.

    Args:
      corpus: under the split of the fold.
      fold: its name.
      partition: "dev" or "test".
      room: (N, T).
      standardizers: {m: statistics of train}.
      sequence: attribute that joins the utterances of one sequence, "" = none.
      cluster: column of the recordings that significance resamples.
    """
    rows = pad_rows(sequence_rows(corpus, partition, sequence), *room)
    batch: Batch = make_batch(corpus, rows, standardizers)
    there = rows[rows >= 0]
    first = np.isin(there, corpus.offsets[:-1])  # where a recording begins
    recordings = np.searchsorted(corpus.offsets, there[first])
    return Sheet(
        *(fold, partition, batch.features, batch.mask),
        labels=corpus.labels[there],
        offsets=np.append(np.flatnonzero(first), len(there)),
        columns={
            "recording": corpus.recording[recordings],
            cluster: cluster_column(corpus, cluster)[recordings],
        },
    )


def make_judge(config: ConfigDict, corpus: Corpus) -> Judge:
    """Builds the judge of a corpus; the config has been checked by `make_task`.

    Args:
      config: of the run.
      corpus: under the split of a fold, by whose labels of dev or train predictions are
        post-processed.
    """
    makers = {"classification": _judge_classes, "regression": _judge_values}
    return makers[corpus.task](config, corpus)


def _judge_classes(config: ConfigDict, corpus: Corpus) -> Judge:
    metric = CLASSIFICATION_METRICS[config.evaluation.metric]

    def score(sheet: Sheet, candidate: Candidate, outputs: np.ndarray) -> float:
        found = outputs[sheet.mask > 0]
        labels = sheet.labels[:, 0]
        known = labels >= 0
        counts = confusion_matrix(
            labels[known], found[known].argmax(-1), len(corpus.classes)
        )
        return float(metric(counts)) if np.isfinite(found).all() else float("nan")

    def rows(
        sheet: Sheet,
        candidates: Sequence[Candidate],
        outputs: np.ndarray,
        adjustments: Sequence[Adjustments],
        columns: pd.DataFrame,
    ) -> pd.DataFrame:
        guesses = outputs[:, sheet.mask > 0].argmax(-1)
        per_row = np.repeat(np.arange(len(sheet.offsets) - 1), np.diff(sheet.offsets))
        named = {name: column[per_row] for name, column in sheet.columns.items()}
        return answer_frame(guesses, columns, sheet.labels[:, 0], corpus.classes, named)

    return Judge("predictions.csv", score, lambda sheet, candidate, outputs: (), rows)


def _judge_values(config: ConfigDict, corpus: Corpus) -> Judge:
    scoring = read_scoring(config)
    metric = scoring.measures[scoring.metric]
    gold = {
        target: gold_statistics(corpus, target, scoring.postprocessing.gold)
        for target in corpus.targets
    }

    def values_of(
        sheet: Sheet, candidates: Sequence[Candidate], outputs: np.ndarray
    ) -> np.ndarray:
        """Puts predictions back by the delay: (l, N, T, 1) -> (l, R) float32."""
        shifts = [(Adjustment("shift", c.delay),) for c in candidates]
        return adjust_lanes(outputs[:, sheet.mask > 0, 0], sheet.offsets, shifts)

    def labels_of(sheet: Sheet, candidate: Candidate) -> np.ndarray:
        return sheet.labels[:, corpus.targets.index(candidate.target)]

    def score(sheet: Sheet, candidate: Candidate, outputs: np.ndarray) -> float:
        values = values_of(sheet, [candidate], outputs[None])[0]
        labels = labels_of(sheet, candidate)
        if not np.isfinite(values).all():
            return float("nan")
        return float(measure(recording_moments(values, labels, sheet.offsets), metric))

    def learn(sheet: Sheet, candidate: Candidate, outputs: np.ndarray) -> Adjustments:
        trials = learn_postprocessing(
            values_of(sheet, [candidate], outputs[None])[0],
            labels_of(sheet, candidate),
            sheet.offsets,
            gold[candidate.target],
            scoring,
            float(corpus.frame_step or 0),
        )
        return kept_adjustments(trials)

    def rows(
        sheet: Sheet,
        candidates: Sequence[Candidate],
        outputs: np.ndarray,
        adjustments: Sequence[Adjustments],
        columns: pd.DataFrame,
    ) -> pd.DataFrame:
        raw = values_of(sheet, candidates, outputs)
        kinds = {RAW: raw}
        if scoring.postprocessing.steps:
            kinds[PROCESSED] = adjust_lanes(raw, sheet.offsets, adjustments)
        parts = []
        for kind, values in kinds.items():
            moments = [
                recording_moments(mine, labels_of(sheet, candidate), sheet.offsets)
                for mine, candidate in zip(values, candidates, strict=True)
            ]
            named = columns.assign(processing=kind)
            parts.append(moments_frame(np.stack(moments), named, sheet.columns))
        frame = pd.concat(parts, ignore_index=True)
        return frame[frame["frames"] > 0]

    return Judge("moments.csv", score, learn, rows)
