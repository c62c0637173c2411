"""Scores over the share of labels, and how far to trust their differences.

The score of a share is the mean over draws of the recordings that keep their label.
Draws take the place of seeds in `significance`: intervals are paired over clusters and
draws, and scores are first averaged over the seeds of a draw. Not in the paper.

Axes: D draws, C clusters, S seeds of a draw; ... axes of a statistic.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.hiding import HIDDEN
from ifusion.evaluation.metrics import Metric
from ifusion.evaluation.result import BASELINE_KEY, Result, take_cell
from ifusion.evaluation.significance import (
    Difference,
    half_width,
    paired_difference,
    pseudo_values,
    variances,
)

LEVEL = 0.05
Results = Mapping[tuple[float, int], Result]  # {(share, draw): result of the run}
CELL = ["system", "main", "target"]


class LabelCurve(NamedTuple):
    """What a study of few labels found on one partition.

    Attributes:
      metric: metric of the scores.
      partition: "dev" or "test".
      corpus: name of the corpus.
      notes: what was hidden in the first draw of each share.
      scores: one row per system, main, target and share: mean, low, high (95 %, over
        clusters and draws), draws.
      differences: one row per pair of systems, main, target and share: reference, and
        the fields of a `Difference`, whose seeds are draws.
    """

    metric: str
    partition: str
    corpus: str
    notes: tuple[str, ...]
    scores: pd.DataFrame
    differences: pd.DataFrame


def make_label_curve(results: Results, pairs: Sequence[tuple[str, str]]) -> LabelCurve:
    """Scores every system at every share, and compares pairs (system, reference).

    Test must be opened in all results or in none. With a single draw, each seed counts
    as a draw.

    Raises:
      ValueError: if there is no result.
    """
    if not results:
        raise ValueError("there is no run to make a curve of")
    first = next(iter(results.values()))
    partition, scorer = first.partitions[-1], first.scorer
    formula = scorer.statistics[scorer.metric].formula

    def metric(sums: np.ndarray) -> np.ndarray:  # (..., S, sums) -> (...)
        return np.asarray(formula(sums)).mean(-1)

    scores: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for share in sorted({share for share, _ in results}):
        mine = [result for (own, _), result in results.items() if own == share]
        found = _statistics(mine, partition)
        for cell, statistics in found.items():
            place = {**dict(zip(CELL, cell, strict=True)), "share": share}
            interval = _interval(statistics, metric)
            scores.append({**place, **interval, "draws": len(statistics)})
        for (system, main, target), (key, reference) in product(found, pairs):
            other = found.get((reference, main, target))
            if system != key or other is None:
                continue
            difference = paired_difference(found[system, main, target], other, metric)
            place = {"system": system, "main": main, "target": target}
            row = {**place, "reference": reference, "share": share}
            differences.append({**row, **difference._asdict()})
    columns = [*CELL, "reference", "share", *Difference._fields]
    return LabelCurve(
        scorer.metric,
        partition,
        first.corpus["name"],
        _notes(results),
        pd.DataFrame(scores),
        pd.DataFrame(differences, columns=columns),
    )


def _notes(results: Results) -> tuple[str, ...]:
    """Lists what was hidden in the first draw of each share."""
    shares = {share: result for (share, draw), result in results.items() if draw == 0}
    said = (note for share in sorted(shares) for note in shares[share].corpus["notes"])
    return tuple(note for note in said if note.startswith(HIDDEN))


def _statistics(
    results: Sequence[Result], partition: str
) -> dict[tuple[str, str, str], np.ndarray]:
    """Sums the outcomes of a share: {(system, main, target): (D, C, S, ...)}.

    Systems that a draw lacks are left out.
    """
    found: dict[tuple[str, str, str], list[np.ndarray]] = {}
    for result in results:
        scorer = result.scorer
        sums = scorer.statistics[scorer.metric].sums
        for (system, where), pooled in result.own.items():
            if where != partition:
                continue
            _, owners = np.unique(
                pooled.recordings[scorer.cluster], return_inverse=True
            )
            for main, target in product(result.mains, result.targets):
                cell = take_cell(pooled, main, target, scorer.processing)
                if len(cell.predictors):
                    added = sums(cell.values, cell.labels, owners)  # (S, C, ...)
                    key = (system, main, target)
                    found.setdefault(key, []).append(np.swapaxes(added, 0, 1))
    whole = {k: np.stack(x) for k, x in found.items() if len(x) == len(results)}
    if len(results) > 1:
        return whole
    return {k: np.moveaxis(x[0], 1, 0)[:, :, None] for k, x in whole.items()}


def _interval(statistics: np.ndarray, metric: Metric) -> dict[str, float]:
    """Mean over draws, and its 95 % interval over clusters and draws."""
    mean = float(np.mean(metric(statistics.sum(1))))
    if statistics.shape[1] < 2:
        return {"mean": mean, "low": np.nan, "high": np.nan}
    values = pseudo_values(np.asarray(statistics, np.float64), metric)
    half = float(half_width(variances(values), LEVEL))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def labels_worth(curve: LabelCurve, system: str) -> pd.DataFrame:
    """Computes how many labels of the baseline one label of a system is worth.

    The baseline's curve is interpolated linearly over the logarithm of the share, up to
    the score of the system.

    Returns:
      One row per main, target and share, if the baseline has two shares or more. Its
      worth is infinite if the baseline does not reach that score with the most labels
      tried, and NaN if it exceeds it with the fewest.
    """
    rows = []
    scores = curve.scores
    for (main, target), mine in scores.groupby(["main", "target"], sort=False):
        base = mine[mine["system"] == BASELINE_KEY].sort_values("share")
        own = mine[mine["system"] == system].sort_values("share")
        if len(base) < 2:
            continue
        for share, score in zip(own["share"], own["mean"], strict=True):
            reached = _share_at(
                base["share"].to_numpy(), base["mean"].to_numpy(), score
            )
            row = {"main": main, "target": target, "share": share}
            rows.append({**row, "worth": reached / share})
    return pd.DataFrame(rows, columns=["main", "target", "share", "worth"])


def _share_at(shares: np.ndarray, scores: np.ndarray, score: float) -> float:
    """The smallest share at which a curve of means reaches a score.

    Infinite if it never does; NaN for a score below the curve.
    """
    above = np.flatnonzero(scores >= score)
    if score < scores[0] or not len(above):
        return float("nan") if score < scores[0] else float("inf")
    i = int(above[0])
    if i == 0:
        return float(shares[0])
    part = (score - scores[i - 1]) / (scores[i] - scores[i - 1])
    logs = np.log(shares)
    return float(np.exp(logs[i - 1] + part * (logs[i] - logs[i - 1])))
