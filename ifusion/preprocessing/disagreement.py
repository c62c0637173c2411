"""How far raters disagree: the perception uncertainty of a label.

Axes: R rows, K targets, A raters, C classes.
"""

import numpy as np
from scipy.special import entr

from ifusion.corpora.corpus import Corpus

UNCERTAINTY = "uncertainty"  # its name among the extras of a batch


def rater_disagreement(corpus: Corpus) -> np.ndarray | None:
    """Measures how far the raters of each label disagree.

    Not in the paper: for a regression the standard deviation over raters (ddof 1) [unit
    of the target], for a classification the entropy of their votes [nat]. Missing
    ratings (NaN) are ignored.

    Args:
      corpus: any corpus.

    Returns:
      (R, K) float32, NaN where fewer than two raters rated, or None if a target has no
      raters.
    """
    if not all(target in corpus.raters for target in corpus.targets):
        return None
    columns = [corpus.raters[target] for target in corpus.targets]
    if corpus.classes:
        spread = [_vote_entropy(ratings, len(corpus.classes)) for ratings in columns]
    else:
        spread = [_deviation(ratings) for ratings in columns]
    alone = [(~np.isnan(ratings)).sum(1) < 2 for ratings in columns]
    known = np.where(np.stack(alone, axis=1), np.nan, np.stack(spread, axis=1))
    return known.astype(np.float32)


def _vote_entropy(ratings: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the entropy of the votes of each row: (R, A) class indices -> (R,)."""
    votes = (ratings[..., None] == np.arange(num_classes)).sum(1)
    votes[votes.sum(1) == 0] = 1
    return np.asarray(entr(votes / votes.sum(1, keepdims=True)).sum(1))


def _deviation(ratings: np.ndarray) -> np.ndarray:
    """Returns the standard deviation over raters of each row: (R, A) -> (R,)."""
    known = ~np.isnan(ratings)
    count = known.sum(1)
    values = np.where(known, ratings, 0).astype(np.float64)
    mean = values.sum(1) / np.maximum(count, 1)
    squares = np.square(np.where(known, values - mean[:, None], 0)).sum(1)
    return np.sqrt(squares / np.maximum(count - 1, 1))
