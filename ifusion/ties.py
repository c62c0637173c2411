"""Which scores are equal, and which of equal ones wins: one rule for all modules.

Not in the paper. A share of hits that is rounded to float32, or summed in another
order, is still the same score; the first listed wins, so that choices do not depend on
rounding.
"""

import numpy as np
from numpy.typing import ArrayLike

TIE = 1e-7  # closer scores are equal; even float32 rounding is smaller


def first_best(scores: ArrayLike) -> int:
    """Finds the best score, the first if equal; NaN only if all are NaN."""
    values = np.asarray(scores, np.float64)
    values = np.where(np.isnan(values), -np.inf, values)
    return int(np.argmax(values >= values.max() - TIE))


def rank(scores: ArrayLike) -> list[int]:
    """Ranks scores from the best to the worst, of equal ones the first listed first."""
    values = np.asarray(scores, np.float64)
    left = [*range(len(values))]
    return [left.pop(first_best(values[left])) for _ in values]
