"""The report of a run: its figures, tables and one self-contained HTML page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION
from ifusion.reporting.figures import (
    draw_confusion,
    draw_figure2,
    draw_training_curves,
    save_figure,
)
from ifusion.reporting.findings import Findings, analyse, class_scores, mean_counts
from ifusion.reporting.page import (
    SHORT_NAMES,
    background,
    choice_table,
    comparison,
    data_uri,
    draw_uri,
    render,
    with_settings,
)
from ifusion.reporting.regression_report import write_regression_report
from ifusion.reporting.run import Run, read_run, write_csv
from ifusion.reporting.tables import (
    constant_system,
    metrics_table,
    paper_summary,
    table1,
    to_markdown,
)
from ifusion.reporting.wording import METRIC_TITLES, score
from ifusion.storage import write_atomically

TABLES: Mapping[str, str] = {"classification": "table1.md", "regression": "table2.md"}


def write_report(run: Path, resamples: int = 10_000) -> Path:
    """Writes the report of a run, from the files of its directory alone.

    Writes figure2.png and .svg, table1.md and .csv, differences.csv and report.html, a
    page that needs neither script nor network; of a regression the files that
    `write_regression_report` names. Those that exist are replaced; the test partition
    is in them once scores.csv holds it.

    Args:
      run: the run directory, see `ifusion.reporting.run`.
      resamples: of the bootstrap.

    Returns:
      The path of report.html.

    Raises:
      ValueError: a file, key or column is missing, or the files contradict each other.
    """
    data = read_run(run)
    if data.corpus["task"] == "regression":
        return write_regression_report(run, data, resamples)
    findings = analyse(data, resamples)
    figure2 = draw_figure2(
        findings.curve, findings.metric, findings.mains, findings.choices
    )
    _, svg = save_figure(figure2, run / "figure2")
    table = _table1(findings)
    caption = _table1_caption(findings)
    markdown = f"{to_markdown(table)}\n{caption}\n"
    write_atomically(run / "table1.md", markdown.encode())
    write_csv(run / "table1.csv", _tidy_table1(findings))
    write_csv(run / "differences.csv", findings.differences)
    html = render(
        "report.html",
        {
            "run": data,
            "path": run,
            "findings": findings,
            "metric": METRIC_TITLES[findings.metric],
            "table1": table,
            "table1_caption": caption,
            "figure2": data_uri(svg.read_bytes(), "svg+xml"),
            "test_unlabelled": "test" in set(data.predictions["partition"]),
            **comparison(findings.differences, findings.partitions[-1]),
            **_details(data, findings),
            **background(data),
        },
    )
    write_atomically(run / "report.html", html.encode())
    return run / "report.html"


def _table1(findings: Findings) -> pd.DataFrame:
    """Table 1, with the class most frequent in train as the floor."""
    floor = constant_system(findings.majority)
    summary = pd.concat([findings.constants, findings.summary])
    systems = (floor, BASELINE, IMPLICIT_FUSION)
    return table1(summary, findings.metric, findings.mains, systems)


def _tidy_table1(findings: Findings) -> pd.DataFrame:
    """All numbers of the tables, one a row, and where they are from."""
    parts = {
        "this run": findings.summary,
        "this run, mean over folds": findings.averaged,
        "this run, constant class": findings.constants,
        "paper": paper_summary(),
    }
    filled = [part.assign(source=name) for name, part in parts.items() if len(part)]
    tidy = pd.concat(filled, ignore_index=True)
    return tidy[["source", *(c for c in tidy.columns if c != "source")]]


def _table1_caption(findings: Findings) -> str:
    """What Table 1 shows, and how to read it."""
    sentences = [
        f"{METRIC_TITLES[findings.metric]} in %, mean ± standard deviation over seeds; "
        f"alpha chosen on dev."
    ]
    if len(findings.folds) > 1:
        sentences.append(
            f"The {len(findings.folds)} folds are pooled: every recording is held out "
            "once, and all of them make one confusion matrix a seed, each fold at the "
            "alpha chosen on its own dev partition."
        )
    sentences.append(
        "On dev, implicit fusion is flattered, since alpha was chosen there. The "
        "paper's F1, most likely micro-F1, is of OMG-Emotion's dev partition; it is "
        "comparable where this run's corpus is OMG-Emotion. The constant class is the "
        "one most frequent in train."
    )
    return " ".join(sentences)


def _details(run: Run, findings: Findings) -> dict[str, Any]:
    """Confusions, class and metric tables, choices, failures and training curves."""
    last = findings.partitions[-1]
    confusions = [
        (f"{main}, {SHORT_NAMES[system]}", counts)
        for (main, system), counts in mean_counts(findings, last).items()
    ]
    curves = draw_training_curves(run.history, findings.metric, findings.mains)
    return {
        "confusions": [
            (title, draw_uri(draw_confusion(counts, findings.classes, title), "svg"))
            for title, counts in confusions
        ],
        "class_table": _class_table(findings, last),
        "metric_tables": [
            (partition, _metric_table(findings, partition))
            for partition in findings.partitions
        ],
        "averaged": _averaged_table(findings),
        "choices": choice_table(
            with_settings(findings.choices, run.tuning), findings.metric
        ),
        "curves": draw_uri(curves, "png"),  # hundreds of lanes would bloat an SVG
    }


def _class_table(findings: Findings, partition: str) -> pd.DataFrame:
    """F1 of each class, a column a main and system."""
    rows: dict[str, dict[str, Any]] = {}
    for record in class_scores(findings, partition).to_dict("records"):
        row = rows.setdefault(record["class"], {"class": record["class"]})
        row["labels"] = record["labels"]
        column = f"{record['main']}, {SHORT_NAMES[record['system']]} [%]"
        row[column] = score(record["mean"], record["sd"])
    return pd.DataFrame(rows.values())


def _metric_table(findings: Findings, partition: str) -> pd.DataFrame:
    """All metrics of the systems, then of the constant classes, once for all mains."""
    floor = findings.constants
    floor = floor[floor["main"] == findings.mains[0]].assign(main="any")
    by_main = findings.summary.sort_values(
        "main", key=lambda column: column.map(findings.mains.index), kind="stable"
    )
    return metrics_table(pd.concat([by_main, floor]), partition)


def _averaged_table(findings: Findings) -> pd.DataFrame:
    """Table 1 of this run as a mean over folds, empty where there is one."""
    if findings.averaged.empty:
        return pd.DataFrame()
    systems = (BASELINE, IMPLICIT_FUSION)
    table = table1(findings.averaged, findings.metric, findings.mains, systems)
    own = [c for c in table.columns if "paper" not in c]
    return table.loc[table[table.columns[0]].isin(systems), own]
