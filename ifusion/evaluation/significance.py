"""How far the difference of two systems on the same recordings can be trusted.

Not in the paper, which gives single numbers. Utterances of one speaker (or video), and
frames of one recording, are alike, so what is resampled is the cluster, never the
single utterance or frame.

Axes: S seeds, C clusters, K classes, R resamples.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy
from scipy.special import stdtrit

from ifusion.evaluation.agreement import MOMENTS, Measure
from ifusion.evaluation.metrics import Metric
from ifusion.evaluation.scores import group_counts

CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2  # quantile at the upper end of a two-sided interval
TIE = 1e-12  # scores closer than this are equal
CHUNK_CELLS = 2**22  # float64 cells of resampled counts held at once: 32 MiB a system


class Difference(NamedTuple):
    """System a minus system b.

    Attributes:
      estimate: the difference, mean over seeds; a score in [-1, 1].
      low: lower end of its 95 % interval; NaN, as high and p_value, of a single
        cluster.
      high: upper end of its 95 % interval.
      p_value: of no difference, two-sided.
      clusters: C.
      seeds: S.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    clusters: int
    seeds: int


def seed_intervals(scores: SeriesGroupBy) -> pd.DataFrame:
    """Means over seeds, each with its t-interval.

    Args:
      scores: a score a seed, grouped by what is averaged; NaN are left out.

    Returns:
      A row a group: mean, sd (ddof 1), low and high (ends of the 95 % t-interval of the
      mean, which may lie beyond what the score can reach), seeds. Of a single seed sd,
      low and high are NaN, of none the mean too.
    """
    mean, sd, seeds = scores.mean(), scores.std(ddof=1), scores.count()
    half = sd / np.sqrt(seeds.clip(lower=1)) * stdtrit((seeds - 1).clip(lower=1), UPPER)
    ends = {"low": mean - half, "high": mean + half}
    return pd.DataFrame({"mean": mean, "sd": sd, **ends, "seeds": seeds})


def cluster_counts(
    predictions: pd.DataFrame, cluster: str, classes: Sequence[str]
) -> np.ndarray:
    """Counts a confusion matrix for each seed and cluster of one system.

    Args:
      predictions: of one system, main, target and partition (any folds): columns seed,
        recording, label, prediction, and the cluster's.
      cluster: the column that says which recordings belong together, such as speaker.
      classes: K class names in code order.

    Returns:
      (S, C, K, K) int64, seeds and clusters in sorted order.

    Raises:
      ValueError: a seed lacks recordings that another has, or has some twice, or a
        class is unknown.
    """
    num_seeds = _count_seeds(predictions)
    _, counts = group_counts(predictions, classes, ["seed", cluster])
    return counts.reshape(num_seeds, -1, len(classes), len(classes))


def cluster_sums(moments: pd.DataFrame, cluster: str, measure: Measure) -> np.ndarray:
    """Sums what a measure needs, for each seed and cluster of one system.

    Args:
      moments: of one system, main, target, partition and processing (any folds):
        columns seed, recording, those of `MOMENTS`, and the cluster's.
      cluster: the column that says which recordings belong together.
      measure: of `agreement.make_measures`, whose formula is the metric.

    Returns:
      (S, C, D), seeds and clusters in sorted order.

    Raises:
      ValueError: a seed lacks recordings that another has, or has some twice.
    """
    num_seeds = _count_seeds(moments)
    ordered = moments.sort_values(["seed", "recording"])
    values = ordered[list(MOMENTS)].to_numpy(np.float64)
    sums = measure.sums(values.reshape(num_seeds, -1, len(MOMENTS)))
    owners = ordered[cluster].to_numpy()[: sums.shape[1]]
    names, codes = np.unique(owners, return_inverse=True)
    membership = (codes == np.arange(len(names))[:, None]).astype(np.float64)
    return np.einsum("cn,snd->scd", membership, sums)


def _count_seeds(frame: pd.DataFrame) -> int:
    """Counts seeds, and refuses rows in which not each has every recording once."""
    if frame.duplicated(["seed", "recording"]).any():
        raise ValueError(
            "predictions repeat a recording within a seed; expected those of one "
            "system, main and partition."
        )
    num_seeds = int(frame["seed"].nunique())
    if (frame.groupby("recording")["seed"].size() < num_seeds).any():
        raise ValueError("some seeds have no prediction for some recordings.")
    return num_seeds


def require_same_labels(counts_a: np.ndarray, counts_b: np.ndarray) -> None:
    """Refuses confusion matrices (..., K, K) that are not of the same labels."""
    if not np.array_equal(counts_a.sum(-1), counts_b.sum(-1)):
        raise ValueError("the two systems were not scored on the same labels.")


def paired_difference(
    statistics_a: np.ndarray,
    statistics_b: np.ndarray,
    metric: Metric,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compares two systems on the same recordings and seeds: a minus b.

    A system's score is the mean over seeds of the metric of all clusters together. Its
    statistics must add up over clusters, as confusion matrices do. Clusters and seeds
    are both drawn with replacement, independently and alike for both systems (the
    pigeonhole bootstrap of Owen, 2007), so that the conclusion holds for other speakers
    and other seeds. The interval is that of the percentiles; the p-value is twice the
    smaller share of resamples on either side of 0, the observed one counted, so p < .05
    where the interval leaves 0 out. With few clusters both are too sure; of one alone,
    which is the same in every resample, there are none.

    Args:
      statistics_a: (S, C, ...), for example the confusion matrices of `cluster_counts`.
      statistics_b: (S, C, ...), the same seeds and clusters.
      metric: sums over clusters (S, R, ...) -> scores (S, R).
      resamples: R.
      seed: of the resampling, not of training.

    Returns:
      The difference, its 95 % interval and p-value.

    Raises:
      ValueError: the shapes differ or hold no seed or cluster.
    """
    a, b = np.asarray(statistics_a, np.float64), np.asarray(statistics_b, np.float64)
    if a.shape != b.shape or a.ndim < 2 or 0 in a.shape:
        raise ValueError(
            f"statistics of shapes {a.shape} and {b.shape}, expected (seeds, clusters, "
            "...), alike for both systems and none of them 0."
        )
    num_seeds, num_clusters = a.shape[:2]
    everything = np.ones((1, num_clusters))
    gain = metric(_weigh(everything, a)) - metric(_weigh(everything, b))
    if num_clusters < 2:
        nothing = float("nan")
        return Difference(
            float(gain.mean()), nothing, nothing, nothing, num_clusters, num_seeds
        )
    drawn = _resampled(a, b, metric, resamples, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [1 - UPPER, UPPER])
    # Equal scores summed in another order must still count as equal.
    sides = [int((drawn <= TIE).sum()), int((drawn >= -TIE).sum())]
    p_value = min(1.0, 2 * (min(sides) + 1) / (resamples + 1))
    return Difference(
        float(gain.mean()), float(low), float(high), p_value, num_clusters, num_seeds
    )


def _resampled(
    a: np.ndarray,
    b: np.ndarray,
    metric: Metric,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Differences over resampled clusters and seeds: (R,)."""
    num_seeds, num_clusters = a.shape[:2]
    values = []
    for size in _chunk_sizes(resamples, a):
        clusters = _multinomial(rng, num_clusters, size)
        seeds = _multinomial(rng, num_seeds, size) / num_seeds
        gains = metric(_weigh(clusters, a)) - metric(_weigh(clusters, b))
        values.append((seeds.T * gains).sum(0))
    return np.concatenate(values)


def _multinomial(rng: np.random.Generator, size: int, resamples: int) -> np.ndarray:
    """How often each of `size` things is drawn in `size` draws: (R, size) float64."""
    return rng.multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64)


def _weigh(weights: np.ndarray, statistics: np.ndarray) -> np.ndarray:
    """Sums clusters with weights: (R, C), (S, C, ...) -> (S, R, ...)."""
    num_seeds, num_clusters, *rest = statistics.shape
    flat = weights @ statistics.reshape(num_seeds, num_clusters, -1)
    return flat.reshape(num_seeds, -1, *rest)


def _chunk_sizes(total: int, statistics: np.ndarray) -> Iterator[int]:
    """Splits `total` resamples so that a chunk of resampled sums stays small."""
    num_seeds, num_clusters, *rest = statistics.shape
    cells = max(num_seeds * int(np.prod(rest)), num_clusters)
    size = max(1, CHUNK_CELLS // cells)
    for start in range(0, total, size):
        yield min(size, total - start)
