"""From predictions to the tidy scores of a run, over folds or pooled.

The frames are those of a run directory: predictions with the columns fold, partition,
main, target, alpha, seed, recording, label, prediction (class names) and more; scores
with fold, system, main, target, alpha, seed, partition, metric, value.

Of a regression the rows of a run are moments of recordings instead of predictions:
fold, partition, main, target, alpha, seed, recording, processing ("raw" or
"post-processed") and the columns of `agreement.MOMENTS`.

Axes: G groups of rows, K classes, L lanes, N recordings.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ifusion.evaluation.agreement import MOMENTS, Measure, measure
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS

LANE = ("fold", "main", "target", "alpha", "seed")
BASELINE = "RNN (baseline)"
IMPLICIT_FUSION = "RNN (implicit fusion)"
RAW, PROCESSED = "raw", "post-processed"
# what is added to the name of a metric where scores.csv has one row for each
SUFFIXES: Mapping[str, str] = {RAW: "", PROCESSED: "_post"}


def group_counts(
    predictions: pd.DataFrame, classes: Sequence[str], by: Sequence[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Counts one confusion matrix for each group of predictions.

    Args:
      predictions: columns label and prediction (class names) and those of `by`.
      classes: K class names in code order.
      by: columns whose distinct values make a group.

    Returns:
      The G groups, sorted, one row each with the columns `by`; and their confusion
      matrices (G, K, K) int64, rows labels and columns predictions.

    Raises:
      ValueError: a label or prediction is none of the classes.
    """
    num_classes = len(classes)
    labels = class_codes(predictions["label"], classes)
    guesses = class_codes(predictions["prediction"], classes)
    grouped = predictions.groupby(list(by), sort=True, dropna=False)
    cells = (grouped.ngroup().to_numpy() * num_classes + labels) * num_classes + guesses
    groups = grouped.size().reset_index()[list(by)]
    shape = (len(groups), num_classes, num_classes)
    return groups, np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


def score_predictions(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    by: Sequence[str] = (*LANE, "partition"),
) -> pd.DataFrame:
    """Scores each group of predictions by every metric, in float64.

    Predictions of several folds are pooled, not averaged, where `by` has no fold.

    Args:
      predictions: columns label and prediction (class names) and those of `by`.
      classes: K class names in code order.
      by: columns whose distinct values make a group; a lane and partition by default.

    Returns:
      The columns `by`, metric, value in [0, 1]; a row a group and metric.

    Raises:
      ValueError: a label or prediction is none of the classes.
    """
    groups, counts = group_counts(predictions, classes, by)
    parts = [
        groups.assign(metric=name, value=metric(counts))
        for name, metric in CLASSIFICATION_METRICS.items()
    ]
    return pd.concat(parts, ignore_index=True)


def moments_frame(
    moments: np.ndarray, lanes: pd.DataFrame, columns: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Lists the moments of every lane and recording.

    Args:
      moments: (L, N, 6), of `agreement.recording_moments`.
      lanes: L rows: fold, main, target, alpha, seed, partition, processing.
      columns: {name: (N,)}: recording, the cluster column, ...

    Returns:
      L x N rows: the columns of lanes, `columns`, and those of `MOMENTS`.
    """
    num_lanes, num_recordings, _ = moments.shape
    frame = lanes.loc[lanes.index.repeat(num_recordings)].reset_index(drop=True)
    for name, column in columns.items():
        frame[name] = np.tile(column, num_lanes)
    for k, name in enumerate(MOMENTS):
        frame[name] = moments[..., k].ravel()
    return frame


def score_moments(
    moments: pd.DataFrame,
    measures: Mapping[str, Measure],
    by: Sequence[str] = (*LANE, "partition"),
) -> pd.DataFrame:
    """Scores each group of recordings by every measure.

    Recordings of several folds are pooled, not averaged, where `by` has no fold.

    Args:
      moments: columns processing, those of `MOMENTS` and of `by`.
      measures: {metric: measure}, of `agreement.make_measures`.
      by: columns whose distinct values make a group; a lane and partition by default.

    Returns:
      The columns `by`, processing, metric and value.
    """
    rows = []
    for group, mine in moments.groupby([*by, "processing"], sort=True, dropna=False):
        values = mine[list(MOMENTS)].to_numpy(np.float64)
        for name, score in measures.items():
            rows.append((*group, name, float(measure(values, score))))
    return pd.DataFrame(rows, columns=[*by, "processing", "metric", "value"])


def failed_lanes(scores: pd.DataFrame) -> pd.DataFrame:
    """Lists the lanes without a score (NaN), because their training diverged.

    Args:
      scores: tidy scores.

    Returns:
      The columns of `LANE`, a row a failed lane, sorted.
    """
    lanes = scores.loc[scores["value"].isna(), list(LANE)]
    return lanes.drop_duplicates().sort_values(list(LANE), ignore_index=True)


def drop_lanes(frame: pd.DataFrame, lanes: pd.DataFrame) -> pd.DataFrame:
    """Drops the rows of some lanes.

    Args:
      frame: scores or predictions, with the columns of `LANE`.
      lanes: the columns of `LANE`, as of `failed_lanes`.

    Returns:
      The other rows, in order.
    """
    dropped = pd.MultiIndex.from_frame(lanes[list(LANE)])
    return frame[~pd.MultiIndex.from_frame(frame[list(LANE)]).isin(dropped)]


def count_folds(scores: pd.DataFrame) -> dict[str, int]:
    """Counts the folds of each partition, from tidy scores."""
    folds = scores.groupby("partition")["fold"].nunique()
    return {str(partition): int(count) for partition, count in folds.items()}


def keep_whole(
    frame: pd.DataFrame, by: Sequence[str], num_folds: Mapping[str, int]
) -> pd.DataFrame:
    """Keeps the groups that cover every fold, so that what is pooled compares.

    Args:
      frame: scores or predictions, with the columns fold, partition and those of `by`.
      by: columns whose distinct values make a group within a partition, such as a
        system's seed.
      num_folds: {partition: folds a whole group has}.

    Returns:
      The rows of whole groups, in order.
    """
    groups = frame.groupby(["partition", *by], dropna=False)
    found = groups["fold"].transform("nunique")
    return frame[found == frame["partition"].map(num_folds)]


def label_systems(frame: pd.DataFrame, choices: pd.DataFrame) -> pd.DataFrame:
    """Keeps what Table 1 compares: alpha = 0 and the alpha chosen for each fold.

    Args:
      frame: scores or predictions, with the columns fold, main, target, alpha.
      choices: of `choose_alpha`.

    Returns:
      The rows of both systems, named in the column system; rows at alpha = 0 appear
      twice where 0 was chosen.
    """
    baseline = frame[frame["alpha"] == 0].assign(system=BASELINE)
    keys = ["fold", "main", "target", "alpha"]
    chosen = frame.merge(choices[keys], on=keys).assign(system=IMPLICIT_FUSION)
    return pd.concat([baseline, chosen], ignore_index=True)


def class_codes(names: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Looks up class indices: (N,) class names -> (N,) int64 in [0, K).

    Args:
      names: (N,) class names.
      classes: K class names in code order.

    Returns:
      (N,) class indices.

    Raises:
      ValueError: a name is none of the classes.
    """
    codes = pd.Index(classes).get_indexer(pd.Index(names))
    if (codes < 0).any():
        unknown = names.iloc[int(np.flatnonzero(codes < 0)[0])]
        raise ValueError(
            f"{names.name} {unknown!r} is no class, expected one of: "
            f"{', '.join(classes)}."
        )
    return codes.astype(np.int64)
