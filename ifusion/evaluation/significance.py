"""How far the difference of two systems on the same recordings can be trusted.

Not in the paper, which gives single numbers. Utterances of one speaker (or video) and
frames of one recording are alike, so what is resampled is the cluster, never the single
utterance or frame.

A score is a formula of statistics that add up over clusters: confusion matrices, or the
sums behind a CCC. So a resample is a weighted sum, exact and fast.

Axes: S seeds, C clusters, K classes, D sums of a measure, R resamples.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ifusion.evaluation.agreement import MOMENTS, Measure
from ifusion.evaluation.scores import group_counts

CONFIDENCE = 0.95
ROUNDING = 1e-12
CHUNK_CELLS = 2**22  # float64 cells of resampled sums held at once: 32 MiB a system


class Difference(NamedTuple):
    """System a minus system b.

    Attributes:
      estimate: the difference, mean over seeds; a score in [-1, 1].
      low: lower end of its 95 % interval.
      high: upper end of its 95 % interval.
      p_value: two-sided, of the hypothesis that there is no difference.
      clusters: C.
      seeds: S.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    clusters: int
    seeds: int


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
    _require_paired_seeds(predictions)
    num_seeds = predictions["seed"].nunique()
    _, counts = group_counts(predictions, classes, ["seed", cluster])
    return counts.reshape(num_seeds, -1, len(classes), len(classes))


def cluster_sums(moments: pd.DataFrame, cluster: str, measure: Measure) -> np.ndarray:
    """Sums what a measure needs, for each seed and cluster of one system.

    Args:
      moments: of one system, main, target, partition and processing (any folds):
        columns seed, recording, those of `MOMENTS`, and the cluster's.
      cluster: the column that says which recordings belong together.
      measure: of `agreement.make_measures`.

    Returns:
      (S, C, D), seeds and clusters in sorted order.

    Raises:
      ValueError: a seed lacks recordings that another has, or has some twice.
    """
    _require_paired_seeds(moments)
    ordered = moments.sort_values(["seed", "recording"])
    num_seeds = ordered["seed"].nunique()
    values = ordered[list(MOMENTS)].to_numpy(np.float64)
    sums = measure.sums(values.reshape(num_seeds, -1, len(MOMENTS)))
    owners = ordered[cluster].to_numpy()[: sums.shape[1]]
    names, codes = np.unique(owners, return_inverse=True)
    membership = (codes == np.arange(len(names))[:, None]).astype(np.float64)
    return np.einsum("cn,snd->scd", membership, sums)


def require_same_labels(labels_a: np.ndarray, labels_b: np.ndarray) -> None:
    """Refuses to compare two systems that were not scored on the same labels.

    Args:
      labels_a: what is known of the labels behind one system, such as class counts.
      labels_b: the same of the other.

    Raises:
      ValueError: they differ.
    """
    if not np.array_equal(labels_a, labels_b):
        raise ValueError("the two systems were not scored on the same labels.")


def paired_difference(
    sums_a: np.ndarray,
    sums_b: np.ndarray,
    formula: Callable[[np.ndarray], np.ndarray],
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compares two systems on the same recordings and seeds: a minus b.

    A system's score is the mean over seeds of the formula of all clusters together. The
    interval is a percentile bootstrap over clusters and seeds, both drawn with
    replacement and alike for both systems. The p-value is that of the same bootstrap,
    so that the two agree: twice the share of resamples on the other side of 0 (or at
    it), counting the observed one. With few clusters both are too sure of themselves.

    Args:
      sums_a: (S, C, ...) of `cluster_counts` or `cluster_sums`.
      sums_b: (S, C, ...), the same seeds and clusters.
      formula: of sums over clusters, (..., ...) -> (...): a metric of confusion
        matrices or the formula of a measure.
      resamples: R.
      seed: of the resampling, not of training.

    Returns:
      The difference, its 95 % interval and p-value.

    Raises:
      ValueError: the shapes differ or hold no seed or cluster.
    """
    if sums_a.shape != sums_b.shape or sums_a.ndim < 3 or 0 in sums_a.shape:
        raise ValueError(
            f"sums of shapes {sums_a.shape} and {sums_b.shape}, expected (seeds, "
            "clusters, ...), alike for both systems and none of them 0."
        )
    a, b = np.asarray(sums_a, np.float64), np.asarray(sums_b, np.float64)
    num_seeds, num_clusters = a.shape[:2]
    observed = float(np.mean(formula(a.sum(1)) - formula(b.sum(1))))
    values = _resample(a, b, formula, resamples, np.random.default_rng(seed))
    beyond = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [beyond, 1 - beyond])
    # Equal systems, whose sums may differ in the last bits, must come out as equal.
    tail = min(np.sum(values <= ROUNDING), np.sum(values >= -ROUNDING))
    p_value = min(1.0, 2 * (int(tail) + 1) / (resamples + 1))
    return Difference(
        observed, float(low), float(high), p_value, num_clusters, num_seeds
    )


def _require_paired_seeds(frame: pd.DataFrame) -> None:
    """Refuses rows in which not every seed has every recording once."""
    if frame.duplicated(["seed", "recording"]).any():
        raise ValueError(
            "predictions repeat a recording within a seed; expected those of one "
            "system, main and partition."
        )
    num_seeds = frame["seed"].nunique()
    if (frame.groupby("recording")["seed"].size() < num_seeds).any():
        raise ValueError("some seeds have no prediction for some recordings.")


def _resample(
    a: np.ndarray,
    b: np.ndarray,
    formula: Callable[[np.ndarray], np.ndarray],
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Differences over resampled clusters and seeds: (R,)."""
    num_seeds, num_clusters = a.shape[:2]
    values = []
    for size in _chunk_sizes(resamples, a):
        clusters = _multinomial(rng, num_clusters, size)
        seeds = _multinomial(rng, num_seeds, size) / num_seeds
        gains = formula(_weigh(clusters, a)) - formula(_weigh(clusters, b))
        values.append((seeds.T * gains).sum(0))
    return np.concatenate(values)


def _multinomial(rng: np.random.Generator, size: int, resamples: int) -> np.ndarray:
    """How often each of `size` things is drawn in `size` draws: (R, size) float64."""
    return rng.multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64)


def _weigh(weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Sums clusters with weights: (R, C), (S, C, ...) -> (S, R, ...)."""
    num_seeds, num_clusters, *rest = sums.shape
    flat = weights @ sums.reshape(num_seeds, num_clusters, -1)
    return flat.reshape(num_seeds, -1, *rest)


def _chunk_sizes(total: int, sums: np.ndarray) -> Iterator[int]:
    """Splits `total` resamples so that a chunk of resampled sums stays small."""
    num_seeds, num_clusters, *rest = sums.shape
    cells = max(num_seeds * int(np.prod(rest)), num_clusters)
    size = max(1, CHUNK_CELLS // cells)
    for start in range(0, total, size):
        yield min(size, total - start)
