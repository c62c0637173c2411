"""The one rule by which dev chooses: alpha, settings, candidates of any system."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

TIE = 1e-7  # scores closer than this are equal: what rounding, of float32 too, does


def choose_best(
    scores: pd.DataFrame, by: Sequence[str], settings: Sequence[str]
) -> pd.DataFrame:
    """Chooses the setting of the best mean dev score.

    Sec. 3.2: alpha is optimised on the development set for the selected modality. The
    grid includes alpha = 0 (Sec. 4.2), so "no auxiliary modality" can win. Not in the
    paper: the score is the mean over seeds; of equal ones that listed first wins, see
    `first_best`; a setting with a failed run is not eligible, since the mean of the
    seeds that survived would flatter it.

    Args:
      scores: a row a training run: the columns of `by` and `settings`, and dev_score,
        NaN where the run failed.
      by: columns for each of whose values a choice is made.
      settings: columns that are chosen.

    Returns:
      One row a group of `by`, in the order listed: the columns of both, and dev_score,
      the mean over runs. Where no setting is eligible, the first with a dev_score of
      NaN.
    """
    scores = scores.astype({"dev_score": np.float64})
    grouped = scores.groupby([*by, *settings], sort=False)["dev_score"]
    means = grouped.mean().where(grouped.count() == grouped.size()).reset_index()
    groups = means.groupby(list(by), sort=False)["dev_score"]
    best = [mine.index[first_best(mine)] for _, mine in groups]
    return means.loc[best].reset_index(drop=True)


def first_best(scores: Sequence[float] | pd.Series) -> int:
    """Finds the best score, of equal ones the first; NaN only where all are NaN."""
    values = np.asarray(scores, np.float64)
    values = np.where(np.isnan(values), -np.inf, values)
    return int(np.argmax(values >= values.max() - TIE))
