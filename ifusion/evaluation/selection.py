"""The rule by which dev chooses alpha, settings and candidates of any system."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ifusion.ties import first_best


def choose_best(
    scores: pd.DataFrame, by: Sequence[str], settings: Sequence[str]
) -> pd.DataFrame:
    """Chooses the setting of the best mean dev score.

    Sec. 3.2: alpha is optimised on the development set for the selected modality. The
    grid includes alpha = 0 (Sec. 4.2), so "no auxiliary modality" can win. Not in the
    paper: the score is the mean over seeds; among equal ones the first listed wins, see
    `ifusion.ties`; a setting with a failed run is not eligible, since the mean over the
    surviving seeds would flatter it.

    Args:
      scores: one row per training run: the columns of `by` and `settings`, and
        dev_score, NaN if the run failed.
      by: columns; each combination of their values gets its own choice.
      settings: columns that are chosen.

    Returns:
      One row per combination, in the order listed: the columns `by` and `settings`, and
      dev_score, the mean over runs. If no setting is eligible, the first one, with
      dev_score NaN.
    """
    scores = scores.astype({"dev_score": np.float64})
    grouped = scores.groupby([*by, *settings], sort=False)["dev_score"]
    means = grouped.mean().where(grouped.count() == grouped.size()).reset_index()
    groups = means.groupby(list(by), sort=False)["dev_score"]
    best = [mine.index[first_best(mine)] for _, mine in groups]
    return means.loc[best].reset_index(drop=True)
