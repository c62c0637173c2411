"""Reduces a predictor's outputs to classes, or to moments of values.

A classification keeps the class of each row. A regression undoes the annotation delay,
learns post-processing on dev, and keeps moments of each recording, from which every
score follows.

Axes: N sequences, T time, O outputs, R rows, P recordings, l candidates.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from ifusion.adjustments import Adjustment, adjust
from ifusion.corpora.corpus import (
    Corpus,
    frame_extents,
    missing_recordings,
    row_partition,
)
from ifusion.evaluation.agreement import (
    Measure,
    make_measures,
    measure,
    recording_moments,
)
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS, confusion_matrix
from ifusion.evaluation.outcomes import PROCESSED, RAW
from ifusion.evaluation.postprocessing import Trial, fit_postprocessing
from ifusion.evaluation.traces import Traces
from ifusion.experiment.fitted import FittedSystem
from ifusion.experiment.gather import Partition
from ifusion.experiment.options import Options
from ifusion.preprocessing.standardise import Standardizer, put_back
from ifusion.systems.system import Candidate


class Scoring(NamedTuple):
    """How the predictions of a fold are reduced and scored.

    Attributes:
      options: options of the experiment.
      corpus: the corpus under the split of the fold.
      target_scale: how targets are scaled in training; None for the user's units.
    """

    options: Options
    corpus: Corpus
    target_scale: Standardizer | None = None

    @property
    def classifies(self) -> bool:
        """Whether classes are predicted, rather than values."""
        return bool(self.corpus.classes)

    @property
    def over_time(self) -> bool:
        """Whether values are predicted frame by frame."""
        return not self.classifies and self.corpus.frame_step is not None

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The measures of a regression."""
        convention, corpus = self.options.evaluation.convention, self.corpus
        return make_measures(convention, corpus.frame_step is None, corpus.neutral)

    def ahead(self, candidate: Candidate) -> int:
        """How much later than its predictions a candidate's labels are read [frame]."""
        shifted = self.options.training.delay_scoring == "shifted"
        return candidate.delay if shifted else 0


def reduce_outputs(
    scoring: Scoring, candidate: Candidate, outputs: np.ndarray, partition: Partition
) -> np.ndarray:
    """Reduces outputs (N, T, O) to classes (R,) int16 or values (R,) float32.

    Values are in the unit of the target, and shifted back by the candidate's annotation
    delay unless scores are taken in shifted time. The class of an output that is not
    finite is -1.
    """
    found = outputs[partition.mask > 0]
    if scoring.classifies:
        finite = np.isfinite(found).all(-1)
        return np.where(finite, found.argmax(-1), -1).astype(np.int16)
    column = scoring.corpus.targets.index(candidate.target)
    values = put_back(scoring.target_scale, found[:, 0], column)
    shift = Adjustment("shift", candidate.delay - scoring.ahead(candidate))
    return process(values, [shift], partition.offsets)


def labels_for(
    scoring: Scoring, candidate: Candidate, partition: Partition
) -> np.ndarray:
    """Returns the labels that a candidate's predictions are scored against, (R,)."""
    labels = partition.labels[:, scoring.corpus.targets.index(candidate.target)]
    return look_ahead(labels, partition.offsets, scoring.ahead(candidate))


def look_ahead(values: np.ndarray, offsets: np.ndarray, frames: int) -> np.ndarray:
    """Reads (..., R) some frames later in each recording, NaN past its end."""
    if not frames:
        return values
    found = np.full(values.shape, np.nan, np.float32)
    for start, stop in pairwise(offsets):
        later = values[..., min(start + frames, stop) : stop]
        found[..., start : start + later.shape[-1]] = later
    return found


def score_values(
    scoring: Scoring, candidate: Candidate, values: np.ndarray, partition: Partition
) -> float:
    """Scores reduced predictions by the metric of the experiment, in float64.

    Returns:
      NaN if the candidate diverged, or a prediction is not finite.
    """
    if candidate.failed:
        return float("nan")
    metric = scoring.options.evaluation.metric
    labels = labels_for(scoring, candidate, partition)
    if scoring.classifies:
        known = labels >= 0
        if (values < 0).any():
            return float("nan")
        count = len(scoring.corpus.classes)
        counts = confusion_matrix(labels[known], values[known], count)
        return float(CLASSIFICATION_METRICS[metric](counts))
    if not np.isfinite(values).all():
        return float("nan")
    moments = recording_moments(values, labels, partition.offsets)
    return float(measure(moments, scoring.measures[metric]))


def learn_postprocessing(
    scoring: Scoring, candidate: Candidate, values: np.ndarray, dev: Partition
) -> tuple[Trial, ...]:
    """Tries steps of post-processing on dev; () for a classification."""
    if scoring.classifies or not np.isfinite(values).all():
        return ()
    options, labels = scoring.options, labels_for(scoring, candidate, dev)
    score = scoring.measures[options.evaluation.metric]

    def on_dev(values: np.ndarray) -> float:
        return float(measure(recording_moments(values, labels, dev.offsets), score))

    return fit_postprocessing(
        values,
        dev.offsets,
        on_dev,
        _gold_statistics(scoring, candidate.target),
        float(scoring.corpus.frame_step or 0),
        options.postprocessing,
    )


def _gold_statistics(scoring: Scoring, target: str) -> tuple[float, float]:
    """Mean and standard deviation that predictions of a target are fitted to."""
    inside = row_partition(scoring.corpus) == scoring.options.postprocessing.gold
    gold = scoring.corpus.labels[inside, scoring.corpus.targets.index(target)]
    gold = gold[~np.isnan(gold)]
    return float(gold.mean(dtype=np.float64)), float(gold.std(dtype=np.float64))


def summarise(
    scoring: Scoring,
    candidate: Candidate,
    values: np.ndarray,
    adjustments: Sequence[Adjustment],
    partition: Partition,
) -> Mapping[str, np.ndarray]:
    """Reduces predictions to what every score follows from.

    Returns:
      {processing: (R,) int16 classes or (P, 6) moments}.
    """
    if scoring.classifies:
        return {"": values}
    labels = labels_for(scoring, candidate, partition)
    kept = {RAW: values}
    if scoring.options.postprocessing.steps:
        kept[PROCESSED] = process(values, adjustments, partition.offsets)
    return {
        name: recording_moments(x, labels, partition.offsets)
        for name, x in kept.items()
    }


def process(
    values: np.ndarray, adjustments: Sequence[Adjustment], offsets: np.ndarray
) -> np.ndarray:
    """Post-processes the predictions of a partition: (R,) -> (R,) float32."""
    return adjust(values, offsets, adjustments).astype(np.float32)


def make_traces(
    scoring: Scoring,
    found: FittedSystem,
    values: Mapping[int, np.ndarray],
    partition: Partition,
) -> Traces:
    """Collects predictions over time and the labels they are scored against.

    `values` are {position of a candidate: (R,)}, before post-processing.
    """
    corpus = scoring.corpus
    candidates = [found.candidates[position] for position in values]
    lanes = pd.DataFrame(
        {
            "system": found.system,
            "main": [c.main for c in candidates],
            "target": [c.target for c in candidates],
            "alpha": [c.setting.get("alpha", np.nan) for c in candidates],
            "seed": [c.seed for c in candidates],
            "ahead": [scoring.ahead(c) for c in candidates],
        }
    )
    gold, raters = {}, {}
    for candidate in candidates:
        target, ahead = candidate.target, scoring.ahead(candidate)
        gold[target, ahead] = labels_for(scoring, candidate, partition)
        if target in corpus.raters:
            ratings = corpus.raters[target][partition.rows].T
            raters[target, ahead] = look_ahead(ratings, partition.offsets, ahead)
    processed = [
        process(raw, found.adjustments[position], partition.offsets)
        for position, raw in values.items()
    ]
    return Traces(
        fold=partition.fold,
        partition=partition.name,
        frame_step=float(corpus.frame_step or 0),
        recording=partition.recordings["recording"].to_numpy(),
        offsets=partition.offsets,
        lanes=lanes,
        raw=np.stack(list(values.values())),
        processed=np.stack(processed),
        gold=gold,
        raters=raters,
        extents=frame_extents(corpus)[corpus.partition == partition.name],
        left_out=missing_recordings(corpus, partition.name),
    )
