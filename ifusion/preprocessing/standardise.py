"""Standardisation with the statistics of the train partition (Sec. 4.2).

Not in the paper: targets far from the scale of a network's initial outputs are
standardised too, and predictions converted back, so that training does not depend on
the unit of a target; and features may be clipped.

Axes: R rows, F features, K targets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ifusion.corpora.corpus import CHUNK_ROWS, Modality
from ifusion.corpora.plausibility import robust_statistics

# A feature whose deviation is below the rounding of its own float32 values is constant.
CONSTANT = np.finfo(np.float32).eps
# Targets whose largest magnitude in train lies between these are trained as they are:
# those of RECOLA, studyforrest and the embedded corpus.
FAMILIAR = (0.1, 2.0)


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Mean and standard deviation of each feature of one modality.

    Attributes:
      mean: (F,) float64.
      std: (F,) float64, of the population; 0 where a feature is constant.
      low: (F,) float64, lower bound to clip to; None = no clipping.
      high: (F,) float64, upper bound likewise.
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def fit_standardizer(chunks: Iterable[np.ndarray]) -> Standardizer:
    """Learns the statistics in one pass, holding one chunk at a time.

    Means and sums of squared deviations of the chunks are merged in float64 (Chan,
    Golub and LeVeque, 1983). NaN counts as not observed.

    Args:
      chunks: (r, F) each, at least one.

    Raises:
      ValueError: there are no rows.
    """
    count, mean, squares = np.zeros(()), np.zeros(()), np.zeros(())
    for chunk in chunks:
        values = np.asarray(chunk, np.float64)
        seen = ~np.isnan(values)
        size = seen.sum(0)
        center = np.where(seen, values, 0).sum(0) / np.maximum(size, 1)
        deviations = np.where(seen, values - center, 0)
        total = count + size
        delta = np.where(size > 0, center - mean, 0)
        share = size / np.maximum(total, 1)
        squares = squares + np.square(deviations).sum(0) + delta**2 * count * share
        mean, count = mean + delta * share, total
    if not count.size or not count.any():
        raise ValueError("there are no rows to compute statistics of")
    std = np.sqrt(squares / np.maximum(count, 1))
    return Standardizer(mean, np.where(std > CONSTANT * np.abs(mean), std, 0.0))


def standardise(standardizer: Standardizer, values: np.ndarray) -> np.ndarray:
    """Centres and scales: (R, F) -> (R, F) float32.

    Constant features and NaN become 0, the train mean.
    """
    std, low, high = standardizer.std, standardizer.low, standardizer.high
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    scaled = np.empty(values.shape, np.float32)
    for start in range(0, len(values), CHUNK_ROWS):  # float64 takes twice the memory
        rows = slice(start, start + CHUNK_ROWS)
        chunk = np.asarray(values[rows], np.float64)
        if low is not None and high is not None:
            chunk = np.clip(chunk, low, high)
        scaled[rows] = np.nan_to_num((chunk - standardizer.mean) * scale, nan=0.0)
    return scaled


def fit_clipped(modality: Modality, rows: np.ndarray, clip: float) -> Standardizer:
    """Learns the statistics of features that are clipped; not in the paper.

    Args:
      modality: any.
      rows: (r,), of train.
      clip: largest distance from the median [standard deviations, estimated from the
        quartiles]; a feature is left as it is if half of its rows agree.
    """
    median, deviation = robust_statistics(modality, rows)
    reach = np.where(deviation > 0, clip * deviation, np.inf)
    low, high = median - reach, median + reach
    chunks = (np.clip(chunk, low, high) for chunk in iterate_rows(modality, rows))
    return replace(fit_standardizer(chunks), low=low, high=high)


def fit_target_scale(labels: np.ndarray, rule: str) -> Standardizer | None:
    """Learns how targets are scaled while systems are trained; not in the paper.

    Args:
      labels: (R, K) of train, in the user's units; NaN = unlabelled.
      rule: `TrainingOptions.target_scale`.

    Returns:
      Mean 0 and deviation 1 of a target that stays as it is; None if all do.
    """
    if rule == "never":
        return None
    own = fit_standardizer([labels])
    low, high = FAMILIAR
    reach = np.nanmax(np.abs(labels), axis=0)
    stays = (low <= reach) & (reach <= high) & (rule == "auto")
    if stays.all():
        return None
    std = np.where(stays | (own.std == 0), 1.0, own.std)
    return Standardizer(np.where(stays, 0.0, own.mean), std)


def put_back(scale: Standardizer | None, values: np.ndarray, column: int) -> np.ndarray:
    """Converts predictions of the target `column` to the user's unit: (R,) -> (R,)."""
    if scale is None:
        return values
    back = values * scale.std[column] + scale.mean[column]
    return np.asarray(back)


def iterate_rows(
    modality: Modality, rows: np.ndarray, size: int = CHUNK_ROWS
) -> Iterator[np.ndarray]:
    """Yields the rows (r,) of a modality in chunks of at most `size`."""
    for start in range(0, len(rows), size):
        yield modality.values[rows[start : start + size]]
