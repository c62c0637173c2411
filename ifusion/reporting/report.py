"""The report of a run: its figures, tables and one self-contained HTML page."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from ifusion import __version__
from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION
from ifusion.reporting.figures import (
    draw_confusion,
    draw_figure2,
    draw_training_curves,
    render_figure,
    save_figure,
)
from ifusion.reporting.findings import Findings, analyse, class_scores, mean_counts
from ifusion.reporting.run import Run, read_run, write_atomically
from ifusion.reporting.tables import (
    constant_system,
    metrics_table,
    paper_summary,
    table1,
    to_markdown,
)
from ifusion.reporting.wording import (
    METRIC_TITLES,
    evidence,
    headline,
    p_value,
    points,
    score,
)

FEW_CLUSTERS = 10  # below, the caption warns of what resampling them is worth
OPTIMISTIC: Mapping[str, str] = {"dev": "dev (optimistic)"}
SHORT_NAMES: Mapping[str, str] = {
    BASELINE: "baseline",
    IMPLICIT_FUSION: "implicit fusion",
}


def write_report(run: Path, resamples: int = 10_000) -> Path:
    """Writes the report of a run, from the files of its directory alone.

    Writes figure2.png and .svg, table1.md and .csv, differences.csv and report.html, a
    page that needs neither script nor network. Those that exist are replaced; the test
    partition is in them once scores.csv and predictions.csv hold it.

    Args:
      run: the run directory, see `ifusion.reporting.run`.
      resamples: of the bootstrap.

    Returns:
      The path of report.html.

    Raises:
      ValueError: a file, key or column is missing, or the files contradict each other.
    """
    data = read_run(run)
    findings = analyse(data, resamples)
    figure2 = draw_figure2(
        findings.curve, findings.metric, findings.mains, findings.choices
    )
    _, svg = save_figure(figure2, run / "figure2")
    table = _table1(findings)
    caption = _table1_caption(findings)
    markdown = f"{to_markdown(table)}\n{caption}\n"
    write_atomically(run / "table1.md", markdown.encode())
    _write_csv(run / "table1.csv", _tidy_table1(findings))
    _write_csv(run / "differences.csv", findings.differences)
    html = _render(
        {
            "run": data,
            "path": run,
            "findings": findings,
            "metric": METRIC_TITLES[findings.metric],
            "version": __version__,
            "table1": table,
            "table1_caption": caption,
            "figure2": _data_uri(svg.read_bytes(), "svg+xml"),
            "test_unlabelled": "test" in set(data.predictions["partition"]),
            **_comparison(findings),
            **_details(data, findings),
            **_background(data),
        }
    )
    write_atomically(run / "report.html", html.encode())
    return run / "report.html"


def _render(context: Mapping[str, Any]) -> str:
    """Fills the template report.html, which escapes all it is given."""
    template = files("ifusion.reporting").joinpath("report.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(template).render(context)


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


def _comparison(findings: Findings) -> dict[str, Any]:
    """What the report says of chosen alpha against alpha = 0."""
    last = findings.partitions[-1]
    differences = findings.differences
    shown = pd.DataFrame(
        [
            {
                "partition": OPTIMISTIC.get(row["partition"], row["partition"]),
                "main": row["main"],
                "alpha": row["alphas"],
                "baseline [%]": score(row["baseline"]),
                "implicit fusion [%]": score(row["implicit_fusion"]),
                "difference [points]": points(row["estimate"]),
                "95 % interval": f"{points(row['low'])} to {points(row['high'])}",
                "p": p_value(row["p_value"]).removeprefix("p = ").removeprefix("p "),
                f"{row['cluster']}s": f"{row['clusters']:.0f}",
                "seeds": f"{row['seeds']:.0f}",
                "verdict": row["verdict"],
            }
            for row in differences.to_dict("records")
        ]
    )
    newest = differences[differences["partition"] == last]
    few = differences["clusters"].min()
    return {
        "last": last,
        "headline": headline(newest, last),
        "evidence": [
            (row["main"], row["verdict"], evidence(row))
            for row in newest.to_dict("records")
        ],
        "differences": shown,
        "few_clusters": int(few) if few < FEW_CLUSTERS else None,
    }


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
            (title, _draw_uri(draw_confusion(counts, findings.classes, title), "svg"))
            for title, counts in confusions
        ],
        "class_table": _class_table(findings, last),
        "metric_tables": [
            (partition, _metric_table(findings, partition))
            for partition in findings.partitions
        ],
        "averaged": _averaged_table(findings),
        "choices": _choice_table(findings),
        "curves": _draw_uri(curves, "png"),  # hundreds of lanes would bloat an SVG
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


def _choice_table(findings: Findings) -> pd.DataFrame:
    """The alpha chosen for each fold and main, and its dev score."""
    rows = [
        {
            "fold": row["fold"],
            "main": row["main"],
            "alpha": "none" if pd.isna(row["alpha"]) else f"{row['alpha']:g}",
            "dev score [%]": score(row["dev_score"]),
            "dev score at alpha = 0 [%]": score(row["baseline_dev_score"]),
            "gain on dev [points]": points(
                row["dev_score"] - row["baseline_dev_score"]
            ),
        }
        for row in findings.choices.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _background(run: Run) -> dict[str, Any]:
    """The corpus, the configuration and where the run comes from."""
    settings = {k: v for k, v in run.config.items() if k != "provenance"}
    partitions = [
        {
            "fold": fold,
            "partition": partition,
            "recordings": counts["recordings"],
            "speakers": counts["speakers"],
            "classes": ", ".join(
                f"{name} {count}" for name, count in counts.get("classes", {}).items()
            ),
        }
        for fold, parts in run.corpus["partitions"].items()
        for partition, counts in parts.items()
    ]
    return {
        "partitions": pd.DataFrame(partitions),
        "config": pd.DataFrame(_flatten(settings), columns=["entry", "value"]),
        "provenance": pd.DataFrame(
            _flatten(run.config.get("provenance", {})), columns=["what", "value"]
        ),
    }


def _flatten(
    nested: Mapping[str, Any], path: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Walks a nested mapping: ("training.epochs", "50"), ..."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, key))
        elif isinstance(value, list):
            yield ".".join((*path, key)), ", ".join(map(str, value))
        else:
            yield ".".join((*path, key)), str(value)


def _draw_uri(figure: Figure, form: Literal["png", "svg"]) -> str:
    """A figure as an address that holds it."""
    kind = "svg+xml" if form == "svg" else form
    return _data_uri(render_figure(figure, form), kind)


def _data_uri(picture: bytes, kind: str) -> str:
    """A picture as an address that holds it, so that the page stands alone."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Writes a frame as CSV, whole or not at all."""
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n").encode())
