"""What a run found, as numbers: everything a report says, before it is laid out.

Folds are pooled: the predictions of all folds, each at the alpha chosen on its own dev
partition, make one confusion matrix a seed. Every recording is held out once, so this
is one score of the whole corpus, where a mean over folds would weigh small ones as
much as large ones and, for macro-F1, miss classes.

Axes: S seeds, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.evaluation.metrics import CLASSIFICATION_METRICS, f1_per_class
from ifusion.evaluation.scores import (
    BASELINE,
    IMPLICIT_FUSION,
    count_folds,
    drop_lanes,
    failed_lanes,
    group_counts,
    keep_whole,
    label_systems,
    score_predictions,
)
from ifusion.evaluation.selection import choose_alpha
from ifusion.evaluation.significance import (
    Difference,
    cluster_counts,
    paired_difference,
    require_same_labels,
)
from ifusion.reporting.run import Run
from ifusion.reporting.tables import summarise_constants, summarise_scores
from ifusion.reporting.wording import verdict


class Findings(NamedTuple):
    """The numbers of a report.

    Attributes:
      metric: by which alpha was chosen and systems are compared.
      classes: K names in code order.
      mains: in the order of the run.
      folds: names of the folds.
      partitions: those with labels and predictions, "dev" and, once opened, "test".
      failed: a row a lane that failed.
      choices: of `choose_alpha`.
      curve: scores on dev over alpha, pooled over folds: main, alpha, seed, ...
      predictions: those of the compared systems, labelled and whole.
      summary: of the compared systems, pooled over folds.
      averaged: the same, as a mean over folds; empty where there is one.
      constants: summary of whoever always answers one class.
      majority: the class most frequent in train.
      differences: a row a partition and main: implicit fusion minus baseline.
    """

    metric: str
    classes: tuple[str, ...]
    mains: tuple[str, ...]
    folds: tuple[str, ...]
    partitions: tuple[str, ...]
    failed: pd.DataFrame
    choices: pd.DataFrame
    curve: pd.DataFrame
    predictions: pd.DataFrame
    summary: pd.DataFrame
    averaged: pd.DataFrame
    constants: pd.DataFrame
    majority: str
    differences: pd.DataFrame


def analyse(run: Run, resamples: int) -> Findings:
    """Computes all numbers of a report from the files of a run.

    Args:
      run: of `read_run`.
      resamples: of `paired_difference`.

    Returns:
      The findings.

    Raises:
      ValueError: the files contradict each other, or name an unknown metric or class.
    """
    metric = run.config["evaluation"]["metric"]
    if metric not in CLASSIFICATION_METRICS:
        raise ValueError(
            f"config.json: evaluation.metric is {metric!r}, expected one of: "
            f"{', '.join(CLASSIFICATION_METRICS)}."
        )
    classes = tuple(run.corpus["classes"])
    mains = tuple(dict.fromkeys(run.scores["main"]))
    num_folds = count_folds(run.scores)
    failed = failed_lanes(run.scores)
    choices = choose_alpha(run.scores[run.scores["partition"] == "dev"], metric)
    labelled = drop_lanes(run.predictions, failed)
    labelled = labelled[labelled["label"] != ""]
    systems = keep_whole(
        label_systems(labelled, choices), ["system", "main", "seed"], num_folds
    )
    partitions = [p for p in ("dev", "test") if p in set(labelled["partition"])]
    if "dev" not in partitions:
        raise ValueError(
            "predictions.csv: no labelled prediction on dev of any lane that finished; "
            "there is nothing to report."
        )
    by = ["system", "main", "partition", "seed"]
    return Findings(
        metric=metric,
        classes=classes,
        mains=mains,
        folds=tuple(sorted(set(run.scores["fold"]))),
        partitions=tuple(partitions),
        failed=failed,
        choices=choices,
        curve=_dev_curve(labelled, classes, num_folds),
        predictions=systems,
        summary=summarise_scores(score_predictions(systems, classes, by)),
        averaged=_average_folds(run.scores, failed, choices, num_folds),
        constants=_constants(labelled, classes, mains, partitions),
        majority=majority_class(run.corpus),
        differences=_differences(
            systems, choices, run.config["evaluation"], classes, mains, resamples
        ),
    )


def majority_class(corpus: Mapping[str, Any]) -> str:
    """Finds the class most frequent in train, over all folds.

    Args:
      corpus: summary, of corpus.json.

    Returns:
      Its name; of equally frequent classes the first in code order.

    Raises:
      ValueError: a fold gives no class counts of train.
    """
    total: Counter[str] = Counter(dict.fromkeys(corpus["classes"], 0))
    for fold, partitions in corpus["partitions"].items():
        counts = partitions.get("train", {}).get("classes")
        if counts is None:
            raise ValueError(
                f"corpus.json: the key partitions.{fold}.train.classes is missing."
            )
        total.update(counts)
    return max(corpus["classes"], key=lambda name: total[name])


def mean_counts(
    findings: Findings, partition: str
) -> dict[tuple[str, str], np.ndarray]:
    """Counts confusions of each system and main, as a mean over seeds.

    Args:
      findings: of `analyse`.
      partition: "dev" or "test".

    Returns:
      {(main, system): (K, K)}, rows labels and columns predictions.
    """
    return {key: counts.mean(0) for key, counts in _counts(findings, partition).items()}


def class_scores(findings: Findings, partition: str) -> pd.DataFrame:
    """Scores each class by its F1.

    Args:
      findings: of `analyse`.
      partition: "dev" or "test".

    Returns:
      Columns class, labels (count), main, system, mean and sd over seeds in [0, 1].
    """
    rows = []
    for (main, system), counts in _counts(findings, partition).items():
        f1 = f1_per_class(counts)
        for k, name in enumerate(findings.classes):
            sd = float(f1[:, k].std(ddof=1)) if len(f1) > 1 else float("nan")
            labels = int(counts[0, k].sum())
            rows.append((name, labels, main, system, float(f1[:, k].mean()), sd))
    columns = ["class", "labels", "main", "system", "mean", "sd"]
    return pd.DataFrame(rows, columns=columns)


def _counts(findings: Findings, partition: str) -> dict[tuple[str, str], np.ndarray]:
    """Confusion matrices of each main and system, {(main, system): (S, K, K)}."""
    chosen = findings.predictions[findings.predictions["partition"] == partition]
    groups, counts = group_counts(chosen, findings.classes, ["main", "system", "seed"])
    found = {}
    for main in findings.mains:
        for system in (BASELINE, IMPLICIT_FUSION):
            mine = (groups["main"] == main) & (groups["system"] == system)
            if mine.any():
                found[main, system] = counts[mine.to_numpy()]
    return found


def _dev_curve(
    labelled: pd.DataFrame, classes: Sequence[str], num_folds: Mapping[str, int]
) -> pd.DataFrame:
    """Scores on dev of each main, alpha and seed, pooled over folds."""
    dev = labelled[labelled["partition"] == "dev"]
    by = ["main", "alpha", "seed"]
    return score_predictions(keep_whole(dev, by, num_folds), classes, by)


def _average_folds(
    scores: pd.DataFrame,
    failed: pd.DataFrame,
    choices: pd.DataFrame,
    num_folds: Mapping[str, int],
) -> pd.DataFrame:
    """Summary of the compared systems as a mean over folds, empty for one fold."""
    systems = label_systems(drop_lanes(scores, failed), choices)
    whole = keep_whole(systems, ["system", "main", "seed"], num_folds)
    summary = summarise_scores(whole)
    return summary if max(num_folds.values()) > 1 else summary.iloc[:0]


def _constants(
    labelled: pd.DataFrame,
    classes: Sequence[str],
    mains: Sequence[str],
    partitions: Sequence[str],
) -> pd.DataFrame:
    """Summary of the constant classes on each partition, a recording counted once."""
    parts = []
    for partition in partitions:
        mine = labelled[labelled["partition"] == partition]
        labels = mine.drop_duplicates("recording")["label"]
        parts.append(summarise_constants(labels, classes, mains, partition))
    return pd.concat(parts, ignore_index=True)


def _differences(
    systems: pd.DataFrame,
    choices: pd.DataFrame,
    evaluation: Mapping[str, Any],
    classes: Sequence[str],
    mains: Sequence[str],
    resamples: int,
) -> pd.DataFrame:
    """Implicit fusion minus baseline for each partition and main."""
    rows = []
    for partition in ("dev", "test"):
        mine = systems[systems["partition"] == partition]
        for main in mains if len(mine) else ():
            alphas = choices.loc[choices["main"] == main, "alpha"]
            difference = _difference(
                mine[mine["main"] == main], evaluation, classes, resamples
            )
            rows.append(
                {
                    "partition": partition,
                    "main": main,
                    "metric": evaluation["metric"],
                    "alphas": ", ".join(f"{a:g}" for a in sorted(set(alphas))),
                    **difference,
                    "verdict": "same" if (alphas == 0).all() else verdict(difference),
                    "cluster": evaluation["cluster"],
                    "resamples": resamples,
                    "alpha_chosen_here": partition == "dev",
                }
            )
    return pd.DataFrame(rows)


def _difference(
    rows: pd.DataFrame,
    evaluation: Mapping[str, Any],
    classes: Sequence[str],
    resamples: int,
) -> dict[str, float]:
    """The difference of one partition and main over common seeds, NaN if none."""
    seeds = rows.groupby("seed")["system"].transform("nunique")
    paired = rows[seeds == 2]
    if paired.empty:
        names = ("baseline", "implicit_fusion", *Difference._fields)
        return dict.fromkeys(names, float("nan"))
    metric = CLASSIFICATION_METRICS[evaluation["metric"]]
    counts = {
        system: cluster_counts(mine, evaluation["cluster"], classes)
        for system, mine in paired.groupby("system")
    }
    chosen, baseline = counts[IMPLICIT_FUSION], counts[BASELINE]
    require_same_labels(chosen, baseline)
    return {
        "baseline": float(np.mean(metric(baseline.sum(1)))),
        "implicit_fusion": float(np.mean(metric(chosen.sum(1)))),
        **paired_difference(chosen, baseline, metric, resamples)._asdict(),
    }
