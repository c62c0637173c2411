"""What a run on a regression found, as numbers, before it is laid out.

Folds are pooled: the recordings of all folds, each predicted by the lanes that were
chosen on its own fold's dev partition, are scored as one partition. Everything follows
from the moments of the recordings, see `ifusion.evaluation.agreement`.

Axes: S seeds, C clusters of recordings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.evaluation.agreement import Measure, make_measures
from ifusion.evaluation.scores import (
    BASELINE,
    IMPLICIT_FUSION,
    PROCESSED,
    RAW,
    count_folds,
    drop_lanes,
    failed_lanes,
    keep_whole,
    label_systems,
    score_moments,
)
from ifusion.evaluation.selection import choose_alpha
from ifusion.evaluation.significance import (
    Difference,
    cluster_sums,
    paired_difference,
)
from ifusion.reporting.run import Run
from ifusion.reporting.tables import summarise_scores
from ifusion.reporting.wording import verdict

GROUP = ("main", "target")


class RegressionFindings(NamedTuple):
    """The numbers of a report.

    Attributes:
      metric: by which alpha was chosen and systems are compared.
      targets: in the order of the run.
      mains: in the order of the run.
      folds: names of the folds.
      partitions: those with labels and predictions, "dev" and, once opened, "test".
      processing: what the headline is about: "post-processed" where there is any.
      failed: a row a lane that failed.
      choices: of `choose_alpha`.
      curve: raw scores on dev over alpha, pooled over folds: main, target, alpha, ...
      summary: of the compared systems, pooled over folds; with target and processing.
      differences: a row a partition, target, main and processing: implicit fusion
        minus baseline.
      gains: dev score of the compared systems after each step of the post-processing:
        system, main, target, step, kept (share of lanes), score; mean over folds and
        seeds.
      recordings: CCC of each recording by implicit fusion: partition, recording, main,
        target, score; mean over seeds, of the headline's predictions.
    """

    metric: str
    targets: tuple[str, ...]
    mains: tuple[str, ...]
    folds: tuple[str, ...]
    partitions: tuple[str, ...]
    processing: str
    failed: pd.DataFrame
    choices: pd.DataFrame
    curve: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    gains: pd.DataFrame
    recordings: pd.DataFrame


def analyse_regression(run: Run, resamples: int) -> RegressionFindings:
    """Computes all numbers of a report from the files of a run.

    Args:
      run: of `read_run`, on a regression.
      resamples: of `paired_difference`.

    Returns:
      The findings.

    Raises:
      ValueError: the files contradict each other, or name an unknown metric.
    """
    evaluation = run.config["evaluation"]
    measures = make_measures(evaluation["convention"])
    metric = evaluation["metric"]
    if metric not in measures:
        raise ValueError(
            f"config.json: evaluation.metric is {metric!r}, expected one of: "
            f"{', '.join(measures)}."
        )
    num_folds = count_folds(run.scores)
    failed = failed_lanes(run.scores)
    choices = choose_alpha(run.scores[run.scores["partition"] == "dev"], metric)
    moments = drop_lanes(run.predictions, failed)
    partitions = [p for p in ("dev", "test") if p in set(moments["partition"])]
    if "dev" not in partitions:
        raise ValueError(
            "moments.csv: no labelled recording on dev of any lane that finished; "
            "there is nothing to report."
        )
    kept = ["system", *GROUP, "seed", "processing"]
    systems = keep_whole(label_systems(moments, choices), kept, num_folds)
    by = ["system", *GROUP, "partition", "seed"]
    processing = PROCESSED if PROCESSED in set(moments["processing"]) else RAW
    return RegressionFindings(
        metric=metric,
        targets=tuple(dict.fromkeys(run.scores["target"])),
        mains=tuple(dict.fromkeys(run.scores["main"])),
        folds=tuple(sorted(set(run.scores["fold"]))),
        partitions=tuple(partitions),
        processing=processing,
        failed=failed,
        choices=choices,
        curve=_dev_curve(moments, measures, num_folds),
        summary=_summarise(score_moments(systems, measures, by)),
        differences=_differences(systems, choices, evaluation, measures, resamples),
        gains=_gains(drop_lanes(run.postprocessing, failed), choices),
        recordings=_recordings(systems, processing, measures),
    )


def _dev_curve(
    moments: pd.DataFrame,
    measures: Mapping[str, Measure],
    num_folds: Mapping[str, int],
) -> pd.DataFrame:
    """Raw scores on dev of each main, target, alpha and seed, pooled over folds."""
    raw = moments["processing"] == RAW
    dev = moments[raw & (moments["partition"] == "dev")]
    by = [*GROUP, "alpha", "seed"]
    return score_moments(keep_whole(dev, by, num_folds), measures, by)


def _summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and deviation over seeds of each target and processing."""
    parts = []
    for _, mine in scores.groupby(["target", "processing"], sort=False):
        named = {name: mine[name].iloc[0] for name in ("target", "processing")}
        parts.append(summarise_scores(mine).assign(**named))
    return pd.concat(parts, ignore_index=True)


def _differences(
    systems: pd.DataFrame,
    choices: pd.DataFrame,
    evaluation: Mapping[str, Any],
    measures: Mapping[str, Measure],
    resamples: int,
) -> pd.DataFrame:
    """Implicit fusion minus baseline for each partition, target, main, processing."""
    rows = []
    keys = ["partition", "target", "main", "processing"]
    for group, mine in systems.groupby(keys, sort=False):
        named: dict[str, Any] = dict(zip(keys, group, strict=True))
        picked = (choices["main"] == named["main"]) & (
            choices["target"] == named["target"]
        )
        alphas = choices.loc[picked, "alpha"]
        measure = measures[evaluation["metric"]]
        difference = _difference(mine, evaluation["cluster"], measure, resamples)
        rows.append(
            {
                **named,
                "metric": evaluation["metric"],
                "alphas": ", ".join(f"{a:g}" for a in sorted(set(alphas))),
                **difference,
                "verdict": "same" if (alphas == 0).all() else verdict(difference),
                "cluster": evaluation["cluster"],
                "resamples": resamples,
                "alpha_chosen_here": named["partition"] == "dev",
            }
        )
    return pd.DataFrame(rows)


def _difference(
    rows: pd.DataFrame, cluster: str, measure: Measure, resamples: int
) -> dict[str, float]:
    """The difference of one group over common seeds, NaN if there are none."""
    seeds = rows.groupby("seed")["system"].transform("nunique")
    paired = rows[seeds == 2]
    if (paired.groupby("recording")["label_mean"].nunique() > 1).any():
        raise ValueError("the two systems were not scored on the same labels.")
    if paired.empty:
        names = ("baseline", "implicit_fusion", *Difference._fields)
        return dict.fromkeys(names, float("nan"))
    sums = {
        system: cluster_sums(mine, cluster, measure)
        for system, mine in paired.groupby("system")
    }
    chosen, baseline = sums[IMPLICIT_FUSION], sums[BASELINE]
    formula = measure.formula
    return {
        "baseline": float(np.mean(formula(baseline.sum(1)))),
        "implicit_fusion": float(np.mean(formula(chosen.sum(1)))),
        **paired_difference(chosen, baseline, formula, resamples)._asdict(),
    }


def _recordings(
    systems: pd.DataFrame, processing: str, measures: Mapping[str, Measure]
) -> pd.DataFrame:
    """CCC of each recording by implicit fusion, mean over seeds."""
    fused = systems["system"] == IMPLICIT_FUSION
    mine = systems[fused & (systems["processing"] == processing)]
    keys = ["partition", "recording", *GROUP]
    each = {"score": measures["ccc_recordings"]}
    scores = score_moments(mine, each, [*keys, "seed"])
    return scores.groupby(keys)["value"].mean().rename("score").reset_index()


def _gains(trials: pd.DataFrame, choices: pd.DataFrame) -> pd.DataFrame:
    """Dev scores of the compared systems before and after each step."""
    columns = ["system", *GROUP, "step", "kept", "score"]
    if trials.empty:
        return pd.DataFrame(columns=columns)
    systems = label_systems(trials, choices)
    rows: list[Sequence[Any]] = []
    for group, mine in systems.groupby(["system", *GROUP], sort=False):
        steps = mine.groupby("step", sort=False)
        first = mine[mine["step"] == mine["step"].iloc[0]]
        rows.append((*group, RAW, 1.0, first["before"].mean()))
        reached = mine["after"].where(mine["kept"], mine["before"])
        rows.extend(
            (*group, step, trial["kept"].mean(), reached[trial.index].mean())
            for step, trial in steps
        )
    return pd.DataFrame(rows, columns=columns)
