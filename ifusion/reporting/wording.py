"""Numbers in words: how scores, differences and p-values are written in a report."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

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
}
SIGNIFICANCE_LEVEL = 0.05
FEW_CLUSTERS = 10  # below, captions warn of what resampling them is worth
LEAST_CLUSTERS = 6  # below, no test of signs reaches p < .05: 2 / 2^5 = .06
MINUS = "\N{MINUS SIGN}"


def score(mean: float, sd: float = float("nan")) -> str:
    """A score [%] with its standard deviation, "51.2 ± 0.8"; values in [0, 1]."""
    if math.isnan(mean):
        return "—"
    number = f"{100 * mean:.1f}".replace("-", MINUS)
    return number if math.isnan(sd) else f"{number} ± {100 * sd:.1f}"


def coefficient(mean: float, sd: float = float("nan")) -> str:
    """A coefficient as the paper prints it, ".611 ± .004"."""
    if math.isnan(mean):
        return "—"
    number = _without_zero(f"{mean:.3f}")
    return number if math.isnan(sd) else f"{number} ± {_without_zero(f'{sd:.3f}')}"


def signed_coefficient(difference: float) -> str:
    """A signed difference of coefficients, "+.012"."""
    if math.isnan(difference):
        return "—"
    return _without_zero(f"{difference:+.3f}")


def _without_zero(number: str) -> str:
    """Drops the zero before the point: "-0.012" is "-.012", "10.2" stays.

    Zero has no sign.
    """
    sign = number[:1] if number[:1] in "+-" and float(number) else ""
    rest = number.lstrip("+-")
    return sign.replace("-", MINUS) + (rest[1:] if rest.startswith("0.") else rest)


def points(difference: float) -> str:
    """A signed difference of scores in points, "+1.2"; the value in [-1, 1]."""
    if math.isnan(difference):
        return "—"
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


class Notation(NamedTuple):
    """How scores of a metric and their differences are written.

    Attributes:
      factor: that a score is multiplied by in figures.
      unit: of a score, put behind a title.
      difference_unit: of a difference, put behind a title.
      points: of a difference, put behind the number in a sentence.
      score: (mean, sd) -> text.
      difference: signed difference -> text.
    """

    factor: float
    unit: str
    difference_unit: str
    points: str
    score: Callable[[float, float], str]
    difference: Callable[[float], str]


PERCENT = Notation(100.0, " [%]", " [points]", " points", score, points)
COEFFICIENT = Notation(1.0, "", "", "", coefficient, signed_coefficient)
COEFFICIENTS = ("ccc_pooled", "ccc_recordings", "pearson", "rmse")


def notation(metric: str) -> Notation:
    """Finds how scores of a metric are written: in %, or as coefficients."""
    return COEFFICIENT if metric in COEFFICIENTS else PERCENT


def bounds(metric: str) -> tuple[float, float]:
    """The least and the greatest score of a metric."""
    if metric == "rmse":
        return 0.0, math.inf
    return (-1.0, 1.0) if metric in COEFFICIENTS else (0.0, 1.0)


def axis_title(metric: str) -> str:
    """Titles an axis: "micro-F1 [%]", "CCC"."""
    return METRIC_TITLES.get(metric, metric) + notation(metric).unit


def p_value(p: float) -> str:
    """A p-value, "p = .012" or "p < .001"."""
    if math.isnan(p):
        return "—"
    if p < 0.001:
        return "p < .001"
    return f"p = {p:.3f}".replace("0.", ".", 1) if p < 0.9995 else "p = 1"


def p_cell(p: float) -> str:
    """A p-value in a column of its own, ".012" or "< .001"."""
    return p_value(p).removeprefix("p = ").removeprefix("p ")


def count(number: float) -> str:
    """A whole number, a dash where it is NaN."""
    return "—" if math.isnan(number) else f"{number:.0f}"


def interval(low: float, high: float, in_words: Callable[[float], str]) -> str:
    """An interval, "-0.3 to +2.7"; a dash where there is none.

    Args:
      low: its lower end.
      high: its upper end.
      in_words: writes one of them.
    """
    return "—" if math.isnan(low) else f"{in_words(low)} to {in_words(high)}"


def few_clusters(differences: pd.DataFrame, cluster: str) -> str:
    """Says what interval and p-value are worth where there are few clusters.

    Args:
      differences: with the column clusters, NaN where nothing was compared.
      cluster: what one of them is, such as "speaker".

    Returns:
      A sentence, "" where there are enough.
    """
    few = differences["clusters"].min() if len(differences) else math.nan
    if few < 2:
        return f"With a single {cluster} there is no interval or p-value."
    if few < LEAST_CLUSTERS:
        return (
            f"With {few:.0f} {cluster}s alone, interval and p are too sure to tell a "
            f"gain from chance, which takes {LEAST_CLUSTERS} or more."
        )
    if few < FEW_CLUSTERS:
        return f"With {few:.0f} {cluster}s alone, interval and p are rather too sure."
    return ""


def verdict(difference: Mapping[Any, Any]) -> str:
    """What a difference amounts to: "gain", "loss", "no clear difference", "nothing".

    Args:
      difference: with low, high, p_value and clusters.

    Returns:
      A gain or loss only where the interval leaves 0 out and p is below .05; "nothing"
      can be told of fewer clusters than `LEAST_CLUSTERS`.
    """
    if difference["clusters"] < LEAST_CLUSTERS or math.isnan(difference["p_value"]):
        return "nothing"
    low, high = difference["low"], difference["high"]
    if difference["p_value"] < SIGNIFICANCE_LEVEL and low > 0:
        return "gain"
    if difference["p_value"] < SIGNIFICANCE_LEVEL and high < 0:
        return "loss"
    return "no clear difference"


def evidence(difference: Mapping[Any, Any]) -> str:
    """A difference with its interval and p-value, in words.

    Args:
      difference: with metric, estimate, low, high in [-1, 1] and p_value.

    Returns:
      "+1.2 points, 95 % interval -0.3 to +2.7, p = .120".
    """
    style = notation(difference["metric"])
    around = interval(difference["low"], difference["high"], style.difference)
    return (
        f"{style.difference(difference['estimate'])}{style.points}, 95 % interval "
        f"{around}, {p_value(difference['p_value'])}"
    )


def headline(differences: pd.DataFrame, partition: str) -> str:
    """Says in a sentence what training with an auxiliary modality gained.

    Args:
      differences: a row a main, with main and verdict (of `verdict`, or "same" where
        alpha = 0 was chosen).
      partition: "dev" or "test".

    Returns:
      For example "On test, implicit fusion gains for audio; there is no clear
      difference for video."
    """
    phrases = {
        "gain": "implicit fusion gains for {}",
        "loss": "implicit fusion loses for {}",
        "no clear difference": "there is no clear difference for {}",
        "same": "the baseline itself (alpha = 0) was chosen for {}",
        "nothing": "nothing can be told for {}",
    }
    said = []
    for kind, phrase in phrases.items():
        mains = differences.loc[differences["verdict"] == kind, "main"].tolist()
        if mains:
            said.append(phrase.format(listed(mains)))
    where = "dev, where alpha was chosen" if partition == "dev" else partition
    return f"On {where}, {'; '.join(said)}."


def listed(words: Sequence[str]) -> str:
    """Joins words as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
