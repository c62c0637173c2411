"""Standardisation with the statistics of the train partition (Sec. 4.2).

Axes: R rows, F features.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ifusion.corpora.corpus import CHUNK_ROWS, Modality

# A feature whose deviation is below the rounding of its own float32 values is constant.
CONSTANT = np.finfo(np.float32).eps


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Mean and standard deviation of each feature of one modality.

    Attributes:
      mean: (F,) float64.
      std: (F,) float64, of the population; 0 where a feature is constant.
    """

    mean: np.ndarray
    std: np.ndarray


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
    std = standardizer.std
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    scaled = (np.asarray(values, np.float64) - standardizer.mean) * scale
    return np.nan_to_num(scaled, nan=0.0).astype(np.float32)


def iterate_rows(
    modality: Modality, rows: np.ndarray, size: int = CHUNK_ROWS
) -> Iterator[np.ndarray]:
    """Yields the rows (r,) of a modality in chunks of at most `size`."""
    for start in range(0, len(rows), size):
        yield modality.values[rows[start : start + size]]
