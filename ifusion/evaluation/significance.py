"""How far to trust the difference of two systems on the same recordings.

Not in the paper, which gives single numbers. Utterances of one speaker (or video), and
frames of one recording, are alike, so the unit of sampling is the cluster, never the
single utterance or frame; seeds are a second unit. docs/statistics.md explains the
procedure and measures its level and coverage.

Axes: S seeds, C clusters, K classes; ... axes of a statistic, or leading axes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.typing import SeriesGroupBy
from scipy.special import stdtrit

from ifusion.evaluation.agreement import MOMENTS
from ifusion.evaluation.metrics import Metric
from ifusion.evaluation.outcomes import Pooled, Scorer, counted

CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2  # quantile of the upper end of a two-sided interval
SIGNIFICANCE_LEVEL = 1 - CONFIDENCE
ROUNDING = 1e-12  # of differences in float64; smaller ones are 0
LEAST_CLUSTERS = 6  # with fewer, no sign test reaches p < .05 (2 / 2^5 = .06)
LEAST_SEEDS = 2  # one says nothing about other seeds
HALVINGS = 40  # of the range of p-values


class Difference(NamedTuple):
    """System a minus system b.

    Attributes:
      estimate: the difference, mean over seeds; a score in [-1, 1].
      low: lower end of its 95 % interval. Both ends are NaN if there is none, as with a
        single cluster; with a single seed, it holds for these models alone.
      high: upper end of its 95 % interval.
      p_value: two-sided p-value of no difference; NaN with fewer than `LEAST_CLUSTERS`
        or `LEAST_SEEDS`.
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
      scores: one score per seed, grouped; NaN are left out.

    Returns:
      One row per group: mean, sd (ddof 1), low and high (the 95 % t-interval of the
      mean, possibly beyond the range of the score), seeds. sd, low and high are NaN
      with a single seed; with none, so is the mean.
    """
    mean, sd, seeds = scores.mean(), scores.std(ddof=1), scores.count()
    half = sd / np.sqrt(seeds.clip(lower=1)) * stdtrit((seeds - 1).clip(lower=1), UPPER)
    ends = {"low": mean - half, "high": mean + half}
    return pd.DataFrame({"mean": mean, "sd": sd, **ends, "seeds": seeds})


def compare(a: Pooled, b: Pooled, scorer: Scorer) -> tuple[float, float, Difference]:
    """Compares two systems on the same recordings, over the seeds that both have.

    A system with a single seed, one without randomness, is paired with every seed of
    the other.

    Args:
      a: predictors of one system, main, target and partition, one row per seed.
      b: the same of another system.
      scorer: scorer of the run.

    Returns:
      The scores of a and b (means over those seeds), and a minus b; NaN if they share
      no seed.

    Raises:
      ValueError: if they were not scored on the same recordings and labels.
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
    return score_a, score_b, paired_difference(first, second, formula)


def _take_seeds(pooled: Pooled, seeds: Sequence[int]) -> Pooled:
    """Puts seeds in order and leaves out recordings without a label or an answer."""
    rows = [list(pooled.predictors["seed"]).index(seed) for seed in seeds]
    values, labels = pooled.values[rows], pooled.labels
    # A recording may have labels for some targets only, or lack the main.
    known = np.any(counted(values, labels), axis=0)
    own = pooled._replace(predictors=pooled.predictors.iloc[rows], values=values)
    return _keep(own, known)


def in_common(a: Pooled, b: Pooled) -> tuple[Pooled, Pooled]:
    """Keeps the recordings that both systems answer.

    One of several modalities answers recordings that another, alone, may not.
    """
    answered = [
        x.recordings["recording"][np.any(counted(x.values, x.labels), axis=0)]
        for x in (a, b)
    ]
    both = np.intersect1d(*answered)
    first, second = (_keep(x, np.isin(x.recordings["recording"], both)) for x in (a, b))
    return first, second


def _keep(pooled: Pooled, kept: np.ndarray) -> Pooled:
    """Keeps some recordings, (N,) bool."""
    return pooled._replace(
        recordings=pooled.recordings[kept],
        values=pooled.values[:, kept],
        labels=None if pooled.labels is None else pooled.labels[kept],
    )


def _same_labels(a: Pooled, b: Pooled) -> bool:
    if a.labels is not None and b.labels is not None:
        return np.array_equal(a.labels, b.labels)
    means = [x.values[..., MOMENTS.index("label_mean")] for x in (a, b)]
    return bool((means[0][0] == np.concatenate(means)).all())


def verdict(difference: Difference) -> str:
    """Says what a difference amounts to.

    Returns:
      "gain" or "loss" if p is below .05, so that the interval excludes 0, else "no
      clear difference"; "inconclusive" without a p-value.
    """
    if np.isnan(difference.p_value):
        return "inconclusive"
    if difference.p_value >= SIGNIFICANCE_LEVEL:
        return "no clear difference"
    return "gain" if difference.estimate > 0 else "loss"


def holm(p_values: pd.Series | np.ndarray) -> np.ndarray:
    """Corrects the p-values of one table for their number (Holm, 1979).

    Args:
      p_values: (N,); NaN are not tests, and stay.

    Returns:
      (N,), at most 1. At .05, at most 5 % of tables without any difference have a row
      that is called different.
    """
    p_values = np.asarray(p_values, np.float64)
    corrected = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def paired_difference(
    statistics_a: np.ndarray, statistics_b: np.ndarray, metric: Metric
) -> Difference:
    """Compares two systems on the same recordings and seeds: a minus b.

    A system's score is the mean over seeds of the metric over all clusters. Its
    statistics must add up over clusters, as confusion matrices do. Clusters and seeds
    are both random effects, so the conclusion holds for other speakers and other seeds:
    see `half_width`. The p-value is the level at which the interval ends at 0, so it is
    below .05 where the 95 % interval excludes 0.

    Args:
      statistics_a: (S, C, ...), for example confusion matrices.
      statistics_b: (S, C, ...), the same seeds and clusters.
      metric: sums over clusters (..., sums) -> scores (...).

    Returns:
      The difference, its 95 % interval and p-value.

    Raises:
      ValueError: if the shapes differ or have no seed or cluster.
    """
    a, b = np.asarray(statistics_a, np.float64), np.asarray(statistics_b, np.float64)
    if a.shape != b.shape or a.ndim < 2 or 0 in a.shape:
        raise ValueError(
            f"statistics of shapes {a.shape} and {b.shape}, expected (seeds, clusters, "
            "...), the same for both systems and none of them 0."
        )
    seeds, clusters = a.shape[:2]
    estimate = _exactly(np.mean(metric(a.sum(1)) - metric(b.sum(1))))
    if clusters < 2:
        nothing = float("nan")
        return Difference(float(estimate), nothing, nothing, nothing, clusters, seeds)
    gains = _exactly(pseudo_values(a, metric) - pseudo_values(b, metric))
    found = variances(gains)
    half = half_width(found, SIGNIFICANCE_LEVEL)
    tested = clusters >= LEAST_CLUSTERS and seeds >= LEAST_SEEDS
    p_value = level_of(found, estimate) if tested else np.nan
    return Difference(
        float(estimate),
        float(estimate - half),
        float(estimate + half),
        float(p_value),
        clusters,
        seeds,
    )


def pseudo_values(statistics: np.ndarray, metric: Metric) -> np.ndarray:
    """Splits a score into what each cluster contributes (jackknife; Tukey, 1958).

    C times the score of all clusters minus C - 1 times that without the cluster. For a
    metric that is a mean over clusters, this is the value of the cluster.

    Args:
      statistics: (S, C, ...), C at least 2.
      metric: as in `paired_difference`.

    Returns:
      (S, C).
    """
    clusters = statistics.shape[1]
    total = statistics.sum(1, keepdims=True)
    without = metric(total - statistics)
    return np.asarray(clusters * metric(total) - (clusters - 1) * without)


class Variances(NamedTuple):
    """Variances of a mean over seeds and clusters: a two-way analysis of variance.

    Attributes:
      clusters: (...), due to clusters and the interaction.
      seeds: (...), due to seeds and the interaction; 0 with a single seed.
      both: (...), due to the interaction alone.
      shape: S and C.
    """

    clusters: np.ndarray
    seeds: np.ndarray
    both: np.ndarray
    shape: tuple[int, int]


def variances(gains: np.ndarray) -> Variances:
    """Estimates the variances of the mean of gains (..., S, C), C at least 2."""
    seeds, clusters = gains.shape[-2:]
    of_cluster = gains.mean(-2, keepdims=True)
    of_seed = gains.mean(-1, keepdims=True)
    rest = gains - of_cluster - of_seed + gains.mean((-2, -1), keepdims=True)
    freedom = max(seeds - 1, 1) * (clusters - 1)
    from_both = np.square(rest).sum((-2, -1)) / freedom / (seeds * clusters)
    from_clusters = of_cluster.var((-2, -1), ddof=1) / clusters
    from_seeds = of_seed.var((-2, -1)) / max(seeds - 1, 1)
    return Variances(
        np.maximum(from_clusters, from_both), from_seeds, from_both, (seeds, clusters)
    )


def half_width(found: Variances, level: float | np.ndarray) -> np.ndarray:
    """Half the width of the interval of a mean over random clusters and seeds.

    With the variances V_c of clusters, V_s of seeds and V_i of their interaction, which
    the first two include, and t quantiles of C - 1 and S - 1 degrees of freedom,

        h^2 = max(t_c^2 V_c,  t_c^2 (V_c - V_i) + t_s^2 V_s).

    So each part is as wide as its own degrees of freedom demand (after Graybill and
    Wang, 1980). With a single seed h = t_c sqrt(V_c), for these trained models alone.
    If the gains of few clusters happen to be equal, their spread is unknown, and there
    is no interval.

    Args:
      found: from `variances`.
      level: (...) or (), 0.05 for an interval of 95 %.

    Returns:
      (...), NaN if there is none.
    """
    seeds, clusters = found.shape
    t_clusters = stdtrit(clusters - 1, np.asarray(level) / 2) ** 2
    squared = t_clusters * found.clusters
    if seeds >= LEAST_SEEDS:
        t_seeds = stdtrit(seeds - 1, np.asarray(level) / 2) ** 2
        apart = t_clusters * (found.clusters - found.both) + t_seeds * found.seeds
        squared = np.maximum(squared, apart)
    nothing = np.nan if clusters < LEAST_CLUSTERS else 0.0
    return np.where(squared > ROUNDING**2, np.sqrt(squared), nothing)


def level_of(found: Variances, estimate: np.ndarray) -> np.ndarray:
    """Finds the level at which the interval of an estimate ends at 0, its p-value.

    Args:
      found: from `variances`.
      estimate: (...).

    Returns:
      (...). If gains do not vary, so that their spread is unknown, at least 2 / 2^C,
      the p-value of C equal signs.
    """
    low, high = np.zeros(np.shape(estimate)), np.ones(np.shape(estimate))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = np.abs(estimate) <= half_width(found, middle)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    same = (half_width(found, SIGNIFICANCE_LEVEL) <= ROUNDING) & (estimate != 0)
    return np.where(same, 2.0 ** (1 - found.shape[1]), high)


def _exactly(values: np.ndarray) -> np.ndarray:
    """Sets differences that are rounding errors to 0."""
    return np.where(np.abs(values) > ROUNDING, values, 0.0)
