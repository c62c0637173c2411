"""The tables of a run: Tables 1 and 2 with the paper's figures, and all metrics.

A summary is a tidy frame with the columns system, main, partition, metric, mean, sd
(over seeds, NaN for a single one) and seeds; scores in [0, 1], or CCC and its like of a
regression as they are. Wide tables hold text: scores of a classification in %, those of
a regression as coefficients.

Axes: K classes.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from ifusion.evaluation.metrics import constant_class_scores
from ifusion.evaluation.scores import (
    BASELINE,
    IMPLICIT_FUSION,
    PROCESSED,
    RAW,
    class_codes,
)
from ifusion.reporting.wording import METRIC_TITLES, coefficient, score

PAPER = "paper, OMG-Emotion dev"
PAPER_TABLE1: Mapping[str, Mapping[str, float]] = {  # F1, most likely micro-F1
    "SVM [23]": {"audio": 0.330},
    "CNN [23]": {"video": 0.370},
    BASELINE: {"audio": 0.365, "video": 0.379},
    IMPLICIT_FUSION: {"audio": 0.402, "video": 0.421},
}
PAPER_TABLE2: Mapping[str, Sequence[float]] = {  # CCC on RECOLA; columns as below
    "SVR [11]": (0.796, 0.648, 0.379, 0.272, 0.455, 0.375, 0.612, 0.507),
    "DNN + curriculum learning [29]": (
        *(0.687, 0.591, 0.394, 0.267, 0.159, 0.174, 0.300, 0.269),
    ),
    "MTL (RE based) [30]": (0.788, 0.629, 0.502, 0.324, 0.519, 0.331, 0.632, 0.488),
    "MTL (PU based) [12]": (0.803, 0.654, 0.508, 0.327, 0.506, 0.416, 0.643, 0.452),
    "DDAT (RE based) [22]": (0.807, 0.694, 0.544, 0.400, 0.508, 0.422, 0.639, 0.471),
    "DDAT (PU based) [22]": (0.811, 0.664, 0.513, 0.397, 0.498, 0.407, 0.632, 0.501),
    BASELINE: (0.766, 0.605, 0.499, 0.399, 0.504, 0.381, 0.619, 0.529),
    IMPLICIT_FUSION: (0.769, 0.611, 0.515, 0.413, 0.513, 0.395, 0.622, 0.527),
}
PAPER_COLUMNS = tuple(
    (target, main, partition)
    for target in ("arousal", "valence")
    for main in ("audio", "video")
    for partition in ("dev", "test")
)
CCC = ("ccc_pooled", "ccc_recordings")  # the paper does not say which its own is
NOTHING = "—"


def summarise_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Takes mean and standard deviation (ddof 1) over seeds.

    Args:
      scores: columns system, main, partition, seed, metric, value; several folds of a
        seed are averaged first. A seed with a failed lane (NaN) is left out.

    Returns:
      A summary.
    """
    keys = ["system", "main", "partition", "metric"]
    folds = scores.groupby([*keys, "seed"], sort=False)["value"]
    seeds = folds.mean().where(folds.count() == folds.size())
    grouped = seeds.groupby(keys, sort=False)
    summary = pd.DataFrame(
        {"mean": grouped.mean(), "sd": grouped.std(ddof=1), "seeds": grouped.count()}
    )
    return summary.reset_index()


def summarise_constants(
    labels: pd.Series, classes: Sequence[str], mains: Sequence[str], partition: str
) -> pd.DataFrame:
    """Scores whoever always answers one class: the floor under every system.

    Args:
      labels: (N,) class names, each recording once.
      classes: K names in code order.
      mains: for which the rows are repeated, as the labels are those of all.
      partition: of the labels.

    Returns:
      A summary, of the systems "constant class (<name>)".

    Raises:
      ValueError: a label is none of the classes.
    """
    scores = constant_class_scores(class_codes(labels, classes), len(classes))
    rows = [
        (constant_system(classes[c]), main, partition, metric, value, np.nan, 0)
        for c, values in scores.items()
        for main in mains
        for metric, value in values.items()
    ]
    columns = ["system", "main", "partition", "metric", "mean", "sd", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def constant_system(name: str) -> str:
    """Names the system that always answers a class."""
    return f"constant class ({name})"


def table1(
    summary: pd.DataFrame, metric: str, mains: Sequence[str], systems: Sequence[str]
) -> pd.DataFrame:
    """Lays out Table 1: this run, and what the paper reports beside it.

    Args:
      summary: of the systems; a partition that is not in it has no column.
      metric: name of the metric of this run's columns.
      mains: of this run, in order.
      systems: rows of this run, in order; those of the paper alone come first.

    Returns:
      The table as text, mean and standard deviation over seeds in %.
    """
    partitions = [p for p in ("dev", "test") if p in set(summary["partition"])]
    chosen = summary[summary["metric"] == metric]
    cells = {
        (row["system"], row["main"], row["partition"]): score(row["mean"], row["sd"])
        for row in chosen.to_dict("records")
    }
    only_paper = [name for name in PAPER_TABLE1 if name not in systems]
    rows = []
    for name in [*only_paper, *systems]:
        row = {f"{METRIC_TITLES.get(metric, metric)} [%]": name}
        for main in mains:
            for partition in partitions:
                cell = cells.get((name, main, partition), NOTHING)
                row[f"{main}, {partition}"] = cell
        for main in ("audio", "video"):
            value = PAPER_TABLE1.get(name, {}).get(main, float("nan"))
            row[f"{main} ({PAPER})"] = score(value)
        rows.append(row)
    return pd.DataFrame(rows)


def paper_summary() -> pd.DataFrame:
    """Table 1 of the paper as a summary; its partition column says whose dev it is."""
    rows = [
        (system, main, PAPER, "f1", value, np.nan, 0)
        for system, values in PAPER_TABLE1.items()
        for main, value in values.items()
    ]
    columns = ["system", "main", "partition", "metric", "mean", "sd", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def table2(
    summary: pd.DataFrame,
    metric: str,
    targets: Sequence[str],
    mains: Sequence[str],
) -> pd.DataFrame:
    """Lays out Table 2: what the paper reports on RECOLA, and this run below.

    The paper's rows are beside a CCC alone, be it pooled or a mean over recordings.

    Args:
      summary: of the systems, with the columns target and processing beside; a row a
        system and processing.
      metric: name of the metric of this run's rows.
      targets: of this run, in order.
      mains: of this run, in order.

    Returns:
      The table as text, mean and standard deviation over seeds.
    """
    columns = [(t, m, p) for t in targets for m in mains for p in ("dev", "test")]
    names = {c: f"{c[0]}, {c[1]}, {c[2]}" for c in columns}
    rows = []
    for system, values in PAPER_TABLE2.items() if metric in CCC else ():
        known = dict(zip(PAPER_COLUMNS, values, strict=True))
        cells = {
            names[c]: coefficient(known[c]) if c in known else NOTHING for c in columns
        }
        rows.append({METRIC_TITLES[metric]: f"paper: {system}", **cells})
    chosen = summary[summary["metric"] == metric]
    for processing, system in product((RAW, PROCESSED), (BASELINE, IMPLICIT_FUSION)):
        mine = chosen[
            (chosen["system"] == system) & (chosen["processing"] == processing)
        ]
        found = {
            (row["target"], row["main"], row["partition"]): coefficient(
                row["mean"], row["sd"]
            )
            for row in mine.to_dict("records")
        }
        cells = {names[c]: found.get(c, NOTHING) for c in columns}
        if found:
            rows.append({METRIC_TITLES[metric]: f"{system}, {processing}", **cells})
    return pd.DataFrame(rows)


def paper_summary2() -> pd.DataFrame:
    """Table 2 of the paper as a summary; it does not say how its CCC aggregates."""
    rows = [
        (system, *column, "paper", "ccc", value, np.nan, 0)
        for system, values in PAPER_TABLE2.items()
        for column, value in zip(PAPER_COLUMNS, values, strict=True)
    ]
    keys = ["system", "target", "main", "partition", "processing", "metric"]
    return pd.DataFrame(rows, columns=[*keys, "mean", "sd", "seeds"])


def metrics_table(summary: pd.DataFrame, partition: str) -> pd.DataFrame:
    """Lays out all metrics of one partition side by side.

    Args:
      summary: of systems and constant classes, of all metrics.
      partition: "dev" or "test".

    Returns:
      The table as text, a row a main and system, a column a metric, in %.
    """
    chosen = summary[summary["partition"] == partition]
    rows = []
    for (main, system), values in chosen.groupby(["main", "system"], sort=False):
        cells = {
            f"{METRIC_TITLES[row['metric']]} [%]": score(row["mean"], row["sd"])
            for row in values.to_dict("records")
        }
        rows.append({"main": main, "system": system, **cells})
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame, left: Sequence[str] = ()) -> str:
    """Writes a table of text as Markdown, numbers to the right.

    Args:
      table: cells that print in one line.
      left: columns of text, beside the first.

    Returns:
      The table, with a newline at its end.
    """
    texts = {table.columns[0], *left} if table.shape[1] else set()
    lines = [
        [str(c) for c in table.columns],
        ["---" if c in texts else "---:" for c in table.columns],
        *([str(cell) for cell in row] for row in table.itertuples(index=False)),
    ]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)
