"""Numbers as text: how scores, differences and p-values are written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ifusion.evaluation.significance import LEAST_CLUSTERS, LEAST_SEEDS

METRIC_TITLES: Mapping[str, str] = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "uar": "UAR",
    "accuracy": "accuracy",
    "ccc_pooled": "CCC",
    "ccc_recordings": "CCC, mean over recordings",
    "pearson": "Pearson's r",
    "rmse": "RMSE",
    "mae": "MAE",
    "acc2": "accuracy of 2 classes",
    "f1_2": "F1 of 2 classes",
    "acc2_polar": "accuracy of 2 classes without neutral",
    "f1_2_polar": "F1 of 2 classes without neutral",
    "acc5": "accuracy of 5 classes",
    "acc7": "accuracy of 7 classes",
}
COEFFICIENTS = ("ccc_pooled", "ccc_recordings", "pearson", "rmse", "mae")
ENOUGH_SEEDS = 3  # with fewer, intervals are several times as wide
MINUS = "\N{MINUS SIGN}"
NOTHING = "—"


@dataclass(frozen=True)
class Notation:
    """How scores of a metric are written.

    Attributes:
      percent: in % if true, else as coefficients.
    """

    percent: bool

    @property
    def factor(self) -> float:
        """What figures multiply scores by."""
        return 100.0 if self.percent else 1.0

    @property
    def unit(self) -> str:
        """Unit of a score, to follow a title."""
        return " [%]" if self.percent else ""

    @property
    def difference_unit(self) -> str:
        """Unit of a difference, to follow a title."""
        return " [points]" if self.percent else ""

    def score(self, mean: float, sd: float = math.nan) -> str:
        """Writes a score, "51.2 ± 0.8" or ".611 ± .004"; a dash for NaN."""
        if math.isnan(mean):
            return NOTHING
        number = self._write(mean)
        return number if math.isnan(sd) else f"{number} ± {self._write(sd)}"

    def difference(self, value: float) -> str:
        """Writes a signed difference, "+1.2" or "+.012"; a dash for NaN."""
        return NOTHING if math.isnan(value) else self._write(value, "+")

    def _write(self, value: float, sign: str = "") -> str:
        digits = 1 if self.percent else 3
        text = f"{self.factor * value:{sign}.{digits}f}"
        mark = text[0] if text[0] in "+-" and float(text) else ""
        rest = text.lstrip("+-")
        if not self.percent and rest.startswith("0."):
            rest = rest[1:]  # as the paper prints coefficients
        return mark.replace("-", MINUS) + rest


def notation(metric: str) -> Notation:
    """Returns the notation of a metric."""
    return Notation(metric not in COEFFICIENTS)


def bounds(metric: str) -> tuple[float, float]:
    """The smallest and the largest score of a metric."""
    if metric in ("rmse", "mae"):
        return 0.0, math.inf
    return (-1.0, 1.0) if metric in COEFFICIENTS else (0.0, 1.0)


def axis_title(metric: str) -> str:
    """Titles an axis: "micro-F1 [%]", "CCC"."""
    return METRIC_TITLES.get(metric, metric) + notation(metric).unit


def p_value(p: float) -> str:
    """Writes a p-value for a table, ".012" or "< .001"; a dash for NaN."""
    if math.isnan(p):
        return NOTHING
    if p < 0.001:
        return "< .001"
    return f"{p:.3f}".removeprefix("0") if p < 0.9995 else "1"


def count(number: float) -> str:
    """Writes a whole number; a dash for NaN."""
    return NOTHING if math.isnan(number) else f"{number:.0f}"


def duration(seconds: float) -> str:
    """Writes a duration, "12 s", "3.4 min" or "1.2 h"; a dash for NaN."""
    if math.isnan(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def difference_interval(row: Mapping[Any, Any], metric: str) -> str:
    """Writes the interval of a difference, "-0.3 to +2.7"; a dash for NaN."""
    style = notation(metric)
    if math.isnan(row["low"]):
        return NOTHING
    return f"{style.difference(row['low'])} to {style.difference(row['high'])}"


def score_interval(row: Mapping[Any, Any], metric: str) -> str:
    """Writes the interval of a mean score, clipped to the range of scores."""
    if math.isnan(row["low"]):
        return NOTHING
    least, most = bounds(metric)
    low, high = max(row["low"], least), min(row["high"], most)
    return f"{notation(metric).score(low)} to {notation(metric).score(high)}"


def caution(differences: pd.DataFrame, cluster: str) -> str:
    """Says what too few clusters or seeds leave open; "" if there are enough.

    `cluster` is what counts as an independent draw, such as "speaker".
    """
    compared = differences[differences["clusters"] > 0]
    clusters, seeds = compared["clusters"].min(), compared["seeds"].min()
    said = []
    if clusters < 2:
        said.append(
            f"With a single {cluster} there is no interval, no p-value and no verdict."
        )
    elif clusters < LEAST_CLUSTERS:
        said.append(
            f"With {clusters:.0f} {cluster}s there is no p-value and no verdict; they "
            f"need {LEAST_CLUSTERS}."
        )
    if seeds < LEAST_SEEDS:
        said.append(
            "With a single seed there is no p-value and no verdict: intervals are for "
            f"these trained models on other {cluster}s, and say nothing about other "
            "seeds."
        )
    elif seeds < ENOUGH_SEEDS:
        said.append(
            f"With {seeds:.0f} seeds, intervals are wide, since little is known about "
            "other seeds. Five are better."
        )
    return " ".join(said)


def evidence(difference: Mapping[Any, Any]) -> str:
    """Writes a row of `Result.differences` with interval and p-value, for a sentence.

    Returns:
      "+1.2 points, 95 % interval -0.3 to +2.7, p = .120 (.240 by Holm)".
    """
    metric, p = difference["metric"], p_value(difference["p_value"])
    style = notation(metric)
    said = style.difference(difference["estimate"])
    said += " points" if style.percent else ""
    if not math.isnan(difference["low"]):
        said += f", 95 % interval {difference_interval(difference, metric)}"
    if p == NOTHING:
        return f"{said}, no p-value"
    said += f", p {p}" if p.startswith("<") else f", p = {p}"
    holm = p_value(difference["p_holm"])
    return said if holm == p else f"{said} ({holm} by Holm)"


def headline(differences: pd.DataFrame, partition: str) -> str:
    """Says in a sentence what training with an auxiliary modality gained.

    Args:
      differences: implicit fusion minus the baseline on a partition, with the columns
        name (of the main, or of target and main) and verdict.
      partition: "dev" or "test".

    Returns:
      For example "On test, implicit fusion gains for audio; no clear difference for
      video."
    """
    phrases = {
        "gain": "implicit fusion gains for {}",
        "loss": "implicit fusion loses for {}",
        "no clear difference": "no clear difference for {}",
        "same": "alpha = 0, the baseline itself, was chosen for {}",
        "inconclusive": "inconclusive for {}",
    }
    said = []
    for verdict, phrase in phrases.items():
        names = list(differences.loc[differences["verdict"] == verdict, "name"])
        if names:
            said.append(phrase.format(listed(names)))
    where = "dev, where alpha was chosen" if partition == "dev" else partition
    return f"On {where}, {'; '.join(said)}."


def listed(words: Sequence[str]) -> str:
    """Joins words as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
