"""The choices, of alpha and before it, which see dev and nothing else."""

from collections.abc import Sequence

import pandas as pd


def choose_alpha(dev_scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Chooses the alpha of best mean dev score for each fold, main and target.

    Sec. 3.2: alpha is optimised on the development set for the selected modality. The
    grid includes alpha = 0 (Sec. 4.2), so "no auxiliary modality" can be the choice.
    Not in the paper: the score is the mean over seeds; of equal ones the smallest
    alpha wins; an alpha with a failed lane (NaN) is not eligible, since the mean of
    the seeds that survived would flatter it.

    Args:
      dev_scores: tidy scores (fold, main, target, alpha, seed, partition, metric,
        value) of the dev partition alone.
      metric: name of the metric to choose by.

    Returns:
      One row a (fold, main, target), with alpha (NaN where none is eligible), dev_score
      and baseline_dev_score (mean over seeds, in [0, 1], the latter at alpha = 0; NaN
      where there is none).

    Raises:
      ValueError: the scores hold another partition than dev, or not that metric.
    """
    others = sorted(set(dev_scores["partition"]) - {"dev"})
    if others:
        raise ValueError(
            f"alpha is chosen on dev alone, but the scores hold {', '.join(others)}."
        )
    scores = dev_scores[dev_scores["metric"] == metric]
    if scores.empty:
        raise ValueError(f"the scores hold no dev value of the metric {metric!r}.")
    keys = ["fold", "main", "target"]
    grouped = scores.groupby([*keys, "alpha"], sort=True)["value"]
    means = grouped.mean().where(grouped.count() == grouped.size()).reset_index()
    rows = [
        {**dict(zip(keys, group, strict=True)), **_best(curve)}
        for group, curve in means.groupby(keys, sort=True)
    ]
    return pd.DataFrame(rows)


def choose_settings(tuning: pd.DataFrame) -> pd.DataFrame:
    """Chooses penalty and annotation delay for each fold, main, target and alpha.

    Not in the paper: the best mean dev score over seeds wins, of equal ones that listed
    first; a setting with a failed lane (NaN) is not eligible. Where the lanes are those
    of alpha = 0 alone, the baseline is the best that its modality gives alone, and the
    choice can be kept along the grid of alphas, so that lanes differ in alpha only.

    Args:
      tuning: columns fold, main, target, alpha, l2, delay, seed, dev_score.

    Returns:
      One row a (fold, main, target, alpha), with the columns l2, delay and dev_score,
      the mean over seeds.

    Raises:
      ValueError: every setting has a failed lane.
    """
    keys = ["fold", "main", "target", "alpha"]
    best = choose_listed(tuning, keys, ["l2", "delay"])
    lost = best[best["dev_score"].isna()].to_dict("records")
    if lost:
        raise ValueError(
            "fold {fold}, {main}, {target}, alpha {alpha:g}: training diverged at "
            "every setting of sweep.l2 and sweep.delays; try a smaller "
            "training.learning_rate".format_map({str(k): v for k, v in lost[0].items()})
        )
    return best


def choose_listed(
    scores: pd.DataFrame, keys: Sequence[str], settings: Sequence[str]
) -> pd.DataFrame:
    """Chooses the setting of best mean dev score, of equal ones that listed first.

    Args:
      scores: a row a training run: columns of `keys`, of `settings`, and dev_score, NaN
        where it failed.
      keys: columns for whose values a choice is made each.
      settings: columns that are chosen.

    Returns:
      One row a group of `keys`, in order: the columns of both and dev_score, the mean
      over runs. A setting with a failed run is not eligible; where none is, the first
      is named with a dev_score of NaN.
    """
    both = [*keys, *settings]
    grouped = scores.groupby(both, sort=False)["dev_score"]
    means = grouped.mean().where(grouped.count() == grouped.size()).reset_index()
    rows = []
    for _, listed in means.groupby(list(keys), sort=False):
        ranked = listed["dev_score"].round(12)
        best = listed if ranked.isna().all() else listed[ranked == ranked.max()]
        rows.append(best.iloc[0])
    return pd.DataFrame(rows).reset_index(drop=True)


def _best(curve: pd.DataFrame) -> dict[str, float]:
    """The choice on one curve: columns alpha, ascending, and value, the mean score."""
    # Means of the same scores in another order differ in the last bits: still a tie.
    ranked = curve.dropna().assign(rounded=lambda frame: frame["value"].round(12))
    chosen = ranked[ranked["rounded"] == ranked["rounded"].max()]
    baseline = curve[curve["alpha"] == 0]
    return {
        "alpha": _first(chosen["alpha"]),
        "dev_score": _first(chosen["value"]),
        "baseline_dev_score": _first(baseline["value"]),
    }


def _first(values: pd.Series) -> float:
    """The first value, NaN where there is none."""
    return float(values.iloc[0]) if len(values) else float("nan")
