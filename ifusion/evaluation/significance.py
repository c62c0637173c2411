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

from ifusion.evaluation.agreement import MOMENTS
from ifusion.evaluation.metrics import Metric
from ifusion.evaluation.outcomes import Pooled, Scorer

CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2  # quantile at the upper end of a two-sided interval
TIE = 1e-12  # scores closer than this are equal
SIGNIFICANCE_LEVEL = 0.05
LEAST_CLUSTERS = 6  # with fewer, no test of signs reaches p < .05: 2 / 2^5 = .06
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


def compare(
    a: Pooled, b: Pooled, scorer: Scorer, resamples: int
) -> tuple[float, float, Difference]:
    """Compares two systems on the same recordings, over the seeds that both have.

    A system of a single seed, which none changes, is paired with every seed of the
    other.

    Args:
      a: predictors of one system, main, target and partition, a row a seed.
      b: likewise.
      scorer: of the run.
      resamples: of `paired_difference`.

    Returns:
      The scores of a and b (mean over those seeds), and a minus b; NaN where they share
      no seed.

    Raises:
      ValueError: the two were not scored on the same recordings and labels.
    """
    seeds = [sorted(x.predictors["seed"]) for x in (a, b)]
    if min(map(len, seeds)) > 1:
        seeds = [sorted({*seeds[0]} & {*seeds[1]})] * 2
    if not all(seeds):
        nothing = float("nan")
        return nothing, nothing, Difference(nothing, nothing, nothing, nothing, 0, 0)
    a, b = (_take_seeds(x, mine) for x, mine in zip((a, b), seeds, strict=True))
    if list(a.recordings["recording"]) != list(b.recordings["recording"]):
        raise ValueError("the two systems were not scored on the same recordings.")
    if not _same_labels(a, b):
        raise ValueError("the two systems were not scored on the same labels.")
    sums, formula = scorer.statistics[scorer.metric]
    _, owners = np.unique(a.recordings[scorer.cluster], return_inverse=True)
    added = [sums(x.values, x.labels, owners) for x in (a, b)]
    shape = (max(map(len, seeds)), *added[0].shape[1:])
    first, second = (np.broadcast_to(x, shape) for x in added)
    score_a, score_b = (float(np.mean(formula(x.sum(1)))) for x in (first, second))
    return score_a, score_b, paired_difference(first, second, formula, resamples)


def _take_seeds(pooled: Pooled, seeds: Sequence[int]) -> Pooled:
    """Puts seeds in order, and leaves out recordings without a label."""
    rows = [list(pooled.predictors["seed"]).index(seed) for seed in seeds]
    values = pooled.values[rows]
    # Of a regression, a recording may have labels of some targets alone.
    known = np.ones(len(pooled.recordings), bool)
    if pooled.labels is None:
        known = np.any(values[..., 0] > 0, axis=0)
    return pooled._replace(
        predictors=pooled.predictors.iloc[rows],
        recordings=pooled.recordings[known],
        values=values[:, known],
    )


def _same_labels(a: Pooled, b: Pooled) -> bool:
    if a.labels is not None and b.labels is not None:
        return np.array_equal(a.labels, b.labels)
    means = [x.values[..., MOMENTS.index("label_mean")] for x in (a, b)]
    return bool((means[0][0] == np.concatenate(means)).all())


def verdict(difference: Difference) -> str:
    """Says what a difference amounts to.

    Returns:
      "gain" or "loss" where the interval leaves 0 out and p is below .05, else "no
      clear difference"; "inconclusive" with fewer clusters than `LEAST_CLUSTERS`.
    """
    if difference.clusters < LEAST_CLUSTERS or np.isnan(difference.p_value):
        return "inconclusive"
    if difference.p_value < SIGNIFICANCE_LEVEL and difference.low > 0:
        return "gain"
    if difference.p_value < SIGNIFICANCE_LEVEL and difference.high < 0:
        return "loss"
    return "no clear difference"


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
    where the interval leaves 0 out. With few clusters both are over-confident; with a
    single one, which is the same in every resample, there are none.

    Args:
      statistics_a: (S, C, ...), for example confusion matrices.
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
