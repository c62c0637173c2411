"""A comparison as tables of text, and as one tidy frame with the paper's figures."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ifusion.evaluation.scores import BASELINE as RNN_BASELINE
from ifusion.evaluation.scores import IMPLICIT_FUSION as RNN_FUSION
from ifusion.evaluation.scores import PROCESSED
from ifusion.reporting.comparison import (
    BASELINE,
    FUSION,
    JOIN,
    Comparison,
    headline_scores,
)
from ifusion.reporting.tables import (
    NOTHING,
    PAPER,
    PAPER_COLUMNS,
    PAPER_TABLE1,
    PAPER_TABLE2,
)
from ifusion.reporting.wording import (
    Notation,
    axis_title,
    bounds,
    count,
    few_clusters,
    interval,
    notation,
    p_cell,
)

PAPER2 = "paper, RECOLA"
PAPER_ROWS: Mapping[str, str] = {  # {key of a system: its row in Tables 1 and 2}
    "svm": "SVM [23]",
    "cnn": "CNN [23]",
    "svr": "SVR [11]",
    "curriculum": "DNN + curriculum learning [29]",
    "mtl_re": "MTL (RE based) [30]",
    "mtl_pu": "MTL (PU based) [12]",
    "ddat_re": "DDAT (RE based) [22]",
    "ddat_pu": "DDAT (PU based) [22]",
    BASELINE: RNN_BASELINE,
    FUSION: RNN_FUSION,
}
CELL = ["system", "main", "target", "partition"]


def overview(comparison: Comparison, target: str) -> pd.DataFrame:
    """Lays out the scores of one target as the paper does, and the paper's beside.

    Returns:
      The table as text, mean and standard deviation over seeds: a row a system, a
      column a main and partition, then the paper's, then a remark.
    """
    style = notation(comparison.metric)
    scores = headline_scores(comparison)
    cells = {
        (row["system"], row["main"], row["partition"]): style.score(
            row["mean"], row["sd"]
        )
        for row in scores[scores["target"] == target].to_dict("records")
    }
    ours = [(m, p) for m in comparison.mains for p in comparison.partitions]
    known = paper_scores(comparison)
    theirs = [(m, p) for t, m, p in _paper_cells(known) if t == target]
    source = PAPER if "".join({p for _, p in theirs}) == "dev" else PAPER2
    rows = []
    for entry in comparison.entries:
        row = {"system": entry.name}
        for main, partition in ours:
            cell = cells.get((entry.key, main, partition), NOTHING)
            row[f"{main}, {partition}"] = cell
        for main, partition in theirs:
            value = known.get((entry.key, target, main, partition), math.nan)
            name = main if source == PAPER else f"{main}, {partition}"
            row[f"{name} ({source})"] = style.score(value, math.nan)
        rows.append({**row, "remark": comparison.remarks[entry.key]})
    return pd.DataFrame(rows)


def paper_scores(
    comparison: Comparison,
) -> Mapping[tuple[str, str, str, str], float]:
    """The paper's figures: {(key, target, main, partition): score}.

    Of a classification those of Table 1, whatever the target is called; of a regression
    those of Table 2.
    """
    if not comparison.processing:
        target = comparison.targets[0]
        return {
            (key, target, main, "dev"): value
            for key, row in PAPER_ROWS.items()
            for main, value in PAPER_TABLE1.get(row, {}).items()
        }
    return {
        (key, *column): value
        for key, row in PAPER_ROWS.items()
        if row in PAPER_TABLE2
        for column, value in zip(PAPER_COLUMNS, PAPER_TABLE2[row], strict=True)
    }


def _paper_cells(
    known: Mapping[tuple[str, str, str, str], float],
) -> list[tuple[str, str, str]]:
    """The columns of the paper's table, in order."""
    return sorted({(target, main, partition) for _, target, main, partition in known})


def details(comparison: Comparison) -> pd.DataFrame:
    """Lays out each score of the last partition, its evidence and its price.

    Returns:
      The table as text, a row a system, main and target.
    """
    last = comparison.partitions[-1]
    style = notation(comparison.metric)
    frame = _with_evidence(comparison)
    several = len(comparison.targets) > 1
    rows = []
    for entry in comparison.entries:
        mine = frame[(frame["system"] == entry.key) & (frame["partition"] == last)]
        for row in mine.to_dict("records"):
            rows.append(
                {
                    "system": entry.name,
                    "main": row["main"],
                    **({"target": row["target"]} if several else {}),
                    f"{last}{style.unit}": style.score(row["mean"], row["sd"]),
                    "95 % over seeds": _score_interval(row, comparison.metric),
                    **_difference_cells(row, style, comparison.cluster),
                    "parameters": f"{row['parameters']:,.0f}",
                    "training": in_time(row["training_seconds"]),
                    "setting": row["setting"] or NOTHING,
                }
            )
    return pd.DataFrame(rows)


def _score_interval(row: Mapping[Any, Any], metric: str) -> str:
    """The interval of a mean over seeds, as far as scores of the metric reach."""
    low, high = np.clip([row["low"], row["high"]], *bounds(metric))
    return interval(low, high, lambda end: notation(metric).score(end, math.nan))


def _difference_cells(
    row: Mapping[Any, Any], style: Notation, cluster: str
) -> dict[str, str]:
    against = row["against"] if isinstance(row["against"], str) else ""
    value = style.difference(row["estimate"])
    if JOIN in row["main"] and against:
        value += f" (to {against})"
    ends = (row["low_difference"], row["high_difference"])
    return {
        f"to baseline{style.difference_unit}": value,
        "95 % interval": interval(*ends, style.difference),
        "p": p_cell(row["p_value"]),
        f"{cluster}s": count(row["clusters"]),
        "seeds": count(row["paired_seeds"]),
    }


def in_time(seconds: float) -> str:
    """A duration, "12 s", "3.4 min" or "1.2 h"."""
    if math.isnan(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def all_metrics(comparison: Comparison) -> pd.DataFrame:
    """Lays out every metric of each system on the last partition, side by side.

    Returns:
      The table as text, mean and standard deviation over seeds: a row a system, target
      and main, a column a metric.
    """
    scores = comparison.scores
    scores = scores[
        (scores["partition"] == comparison.partitions[-1])
        & (scores["given"] == scores["main"])
        & (scores["processing"] == comparison.processing)
    ]
    several = len(comparison.targets) > 1
    rows = []
    for entry in comparison.entries:
        mine = scores[scores["system"] == entry.key]
        for (target, main), cells in mine.groupby(["target", "main"], sort=False):
            found = {
                axis_title(row["metric"]): notation(row["metric"]).score(
                    row["mean"], row["sd"]
                )
                for row in cells.to_dict("records")
            }
            rows.append(
                {
                    "system": entry.name,
                    "main": main,
                    **({"target": target} if several else {}),
                    **found,
                }
            )
    return pd.DataFrame(rows)


def missing_modality(comparison: Comparison) -> pd.DataFrame:
    """Lays out what each system reaches on the last partition, given what.

    Returns:
      The table as text, a row a system, target and main, a column a given.
    """
    last = comparison.partitions[-1]
    style = notation(comparison.metric)
    scores = headline_scores(comparison, own=False)
    scores = scores[scores["partition"] == last]
    given = sorted(set(scores["given"]), key=lambda g: (-g.count(JOIN), g))
    several = len(comparison.targets) > 1
    rows = []
    for entry in comparison.entries:
        mine = scores[scores["system"] == entry.key]
        for (target, main), cells in mine.groupby(["target", "main"], sort=False):
            found = {
                row["given"]: style.score(row["mean"], row["sd"])
                for row in cells.to_dict("records")
            }
            rows.append(
                {
                    "system": entry.name,
                    "main": main,
                    **({"target": target} if several else {}),
                    **{f"given {g}": found.get(g, NOTHING) for g in given},
                }
            )
    return pd.DataFrame(rows)


def tidy(comparison: Comparison) -> pd.DataFrame:
    """All numbers of a comparison, a row a score.

    Returns:
      The columns system, title, main, target, partition, given, processing, metric,
      mean, sd, low, high, seeds; for the scores that systems are compared by, the
      difference to the baseline, its interval, p-value and clusters; parameters,
      training_seconds, setting, paper.
    """
    titles = {entry.key: entry.name for entry in comparison.entries}
    own = ["given", "processing", "metric"]
    keys = [*CELL, *own]
    evidence = _with_evidence(comparison)
    named = {
        "estimate": "difference",
        "low_difference": "difference_low",
        "high_difference": "difference_high",
    }
    columns = [
        *named,
        "p_value",
        "clusters",
        "against",
        "parameters",
        "training_seconds",
    ]
    frame = comparison.scores.merge(
        evidence[[*keys, *columns, "setting", "paper"]], on=keys, how="left"
    ).rename(columns=named)
    frame.insert(1, "title", frame["system"].map(titles))
    order = frame["system"].map(list(titles).index)
    frame = frame.iloc[order.argsort(kind="stable")]
    first = ["system", "title", *CELL[1:], *own]
    return frame[[*first, *(c for c in frame.columns if c not in first)]]


def _with_evidence(comparison: Comparison) -> pd.DataFrame:
    """The scores that systems are compared by, with differences, price and paper."""
    frame = headline_scores(comparison).merge(
        comparison.facts, on=["system", "main", "target"], how="left"
    )
    fields = ["estimate", "low", "high", "p_value", "clusters", "against", "verdict"]
    if len(comparison.differences):
        differences = comparison.differences[[*CELL, *fields, "seeds"]].rename(
            columns={
                **{"low": "low_difference", "high": "high_difference"},
                "seeds": "paired_seeds",
            }
        )
        frame = frame.merge(differences, on=CELL, how="left")
    else:
        nothing = (
            *("estimate", "low_difference", "high_difference", "p_value"),
            *("clusters", "paired_seeds"),
        )
        frame = frame.assign(**dict.fromkeys(nothing, math.nan), against="", verdict="")
    known = paper_scores(comparison)
    paper = [
        known.get((system, target, main, partition), math.nan)
        for system, main, target, partition in frame[CELL].itertuples(index=False)
    ]
    return frame.assign(
        training_seconds=frame["system"].map(comparison.seconds), paper=paper
    )


def caption(comparison: Comparison) -> str:
    """What the tables show, and how to read them."""
    processed = comparison.processing == PROCESSED
    kind = ", of post-processed predictions" if processed else ""
    sentences = [
        f"Mean ± standard deviation over seeds{kind}. Each system was chosen among its "
        "candidates on dev, by the same rule, so its dev score is optimistic; dev also "
        "chose weight penalty and annotation delay, once for the mono-modal baseline, "
        "and all systems that are lanes keep them."
    ]
    if len(comparison.folds) > 1:
        sentences.append(
            f"The {len(comparison.folds)} folds are pooled, each predicted by what was "
            "chosen on its own dev partition."
        )
    sentences.append(
        "A main of several modalities needs all of them at test time and is compared "
        "with the better of their baselines on dev."
    )
    return " ".join(sentences)


def caveat(comparison: Comparison) -> str:
    """What few clusters make of the differences on the last partition; "" if many."""
    frame = comparison.differences
    if len(frame):
        frame = frame[frame["partition"] == comparison.partitions[-1]]
    return few_clusters(frame, comparison.cluster)


def details_caption(comparison: Comparison) -> str:
    """What the columns of `details` mean, and what they are worth."""
    sentences = [
        "Differences: interval and p-value from resampling "
        f"{comparison.cluster}s and seeds, not corrected for the number of systems.",
        caveat(comparison),
        "Parameters are those that predicting needs. Training is the time of fitting, "
        "compilation included: all mains, targets, seeds, candidates and folds of a "
        "system together. Settings: delays and windows in seconds.",
    ]
    return " ".join(filter(None, sentences))
