"""The report of a regression: Table 2, predictions over time, delays, post-processing.

Axes: N recordings, R frames of all of them, S seeds, L lanes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION, PROCESSED, RAW
from ifusion.evaluation.traces import Traces, load_traces
from ifusion.reporting.curves import Trace, draw_delays, draw_gains, draw_traces
from ifusion.reporting.figures import (
    draw_figure2,
    draw_training_curves,
    render_figure,
    save_figure,
)
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
from ifusion.reporting.regression import RegressionFindings, analyse_regression
from ifusion.reporting.run import Run, write_csv
from ifusion.reporting.tables import CCC, paper_summary2, table2, to_markdown
from ifusion.reporting.wording import METRIC_TITLES, coefficient, signed_coefficient
from ifusion.storage import write_atomically

PREDICTIONS, PICTURES = "predictions", "traces"


def write_regression_report(folder: Path, run: Run, resamples: int) -> Path:
    """Writes the report of a regression, from the files of its run directory alone.

    Writes figure2_<target>.png and .svg, delays.png and .svg where delays were
    searched, table2.md and .csv, differences.csv, traces/<partition>/<recording>.png
    and report.html.

    Args:
      folder: the run directory.
      run: its contents.
      resamples: of the bootstrap.

    Returns:
      The path of report.html.

    Raises:
      ValueError: the files contradict each other.
    """
    findings = analyse_regression(run, resamples)
    tables, caption = _tables2(findings), _caption(findings)
    blocks = [f"**{title}**\n\n{to_markdown(t)}\n" for title, t in tables.items()]
    write_atomically(folder / "table2.md", f"{''.join(blocks)}{caption}\n".encode())
    write_csv(folder / "table2.csv", _tidy(findings))
    write_csv(folder / "differences.csv", findings.differences)
    html = render(
        "regression.html",
        {
            "run": run,
            "path": folder,
            "findings": findings,
            "metric": METRIC_TITLES[findings.metric],
            "tables2": tables,
            "table2_caption": caption,
            "figures2": list(_figures2(folder, findings)),
            "delays": _delays(folder, run, findings),
            "gains": _gains(findings),
            "traces": _write_traces(folder, findings, run),
            "metric_tables": [(p, _metrics(findings, p)) for p in findings.partitions],
            "choices": _choices(run, findings),
            "curves": list(_training(run, findings)),
            "test_unlabelled": any(folder.glob(f"{PREDICTIONS}/*-test.safetensors")),
            **_comparison(findings),
            **background(run),
        },
    )
    write_atomically(folder / "report.html", html.encode())
    return folder / "report.html"


def _tables2(findings: RegressionFindings) -> dict[str, pd.DataFrame]:
    """Table 2 of the metric that alpha was chosen by, then of each other CCC."""
    return {
        _title(metric): table2(
            findings.summary, metric, findings.targets, findings.mains
        )
        for metric in dict.fromkeys([findings.metric, *CCC])
    }


def _title(metric: str) -> str:
    """Names a metric where both kinds of CCC stand."""
    pooled = "CCC of the frames of all recordings together"
    return pooled if metric == "ccc_pooled" else METRIC_TITLES[metric]


def _caption(findings: RegressionFindings) -> str:
    """What Table 2 shows, and how to read it."""
    sentences = [
        "Mean ± standard deviation over seeds; alpha chosen on dev by "
        f"{_title(findings.metric)}. The paper does not say which CCC its figures are."
    ]
    if findings.processing == PROCESSED:
        sentences.append(
            "Post-processing was learnt on dev, lane by lane, and frozen for test: its "
            "dev columns are optimistic."
        )
    if len(findings.folds) > 1:
        sentences.append(
            f"The {len(findings.folds)} folds are pooled, each predicted by the lanes "
            "chosen on its own dev partition."
        )
    sentences.append(
        "On dev, implicit fusion is flattered, since alpha was chosen there. The "
        "paper's figures are of RECOLA, post-processed; they are comparable where this "
        "run's corpus is RECOLA."
    )
    return " ".join(sentences)


def _tidy(findings: RegressionFindings) -> pd.DataFrame:
    """All numbers of Table 2 and of the other metrics, one a row."""
    parts = {"this run": findings.summary, "paper": paper_summary2()}
    tidy = pd.concat([part.assign(source=name) for name, part in parts.items()])
    return tidy[["source", *(c for c in tidy.columns if c != "source")]]


def _figures2(folder: Path, findings: RegressionFindings) -> Iterator[tuple[str, str]]:
    """Fig. 2 of each target: its name, and the figure as an address."""
    for target in findings.targets:
        curve = findings.curve[findings.curve["target"] == target]
        choices = findings.choices[findings.choices["target"] == target]
        figure = draw_figure2(curve, findings.metric, findings.mains, choices)
        _, svg = save_figure(figure, folder / f"figure2_{file_name(target)}")
        yield target, data_uri(svg.read_bytes(), "svg+xml")


def _delays(folder: Path, run: Run, findings: RegressionFindings) -> str:
    """The figure of the delays, "" where none were searched."""
    if run.tuning.empty or run.tuning["delay_seconds"].nunique() < 2:
        return ""
    figure = draw_delays(run.tuning, findings.metric, findings.mains, findings.targets)
    _, svg = save_figure(figure, folder / "delays")
    return data_uri(svg.read_bytes(), "svg+xml")


def _gains(findings: RegressionFindings) -> dict[str, Any]:
    """Table and figure of what the post-processing brought on dev, {} without any."""
    gains = findings.gains
    if gains.empty:
        return {}
    rows = []
    for (system, main, target), mine in gains.groupby(
        ["system", "main", "target"], sort=False
    ):
        scores = mine.set_index("step")
        row = {"target": target, "main": main, "system": SHORT_NAMES[str(system)]}
        row["raw"] = coefficient(scores["score"][RAW])
        gained = scores["score"].diff()
        for step in scores.index[1:]:
            kept = f"{100 * scores['kept'][step]:.0f} %"
            row[f"{step} (kept)"] = f"{signed_coefficient(gained[step])} ({kept})"
        row["post-processed"] = coefficient(scores["score"].iloc[-1])
        rows.append(row)
    order = ["target", "main"]
    table = pd.DataFrame(rows).sort_values(order, kind="stable")
    figure = draw_gains(gains, findings.metric, findings.mains, findings.targets)
    return {"table": table, "figure": draw_uri(figure, "svg")}


def _metrics(findings: RegressionFindings, partition: str) -> pd.DataFrame:
    """All metrics of a partition, a row a target, main, system and processing."""
    chosen = findings.summary[findings.summary["partition"] == partition]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for target in findings.targets:
        for main in findings.mains:
            mine = chosen[(chosen["target"] == target) & (chosen["main"] == main)]
            for row in mine.to_dict("records"):
                key = (target, main, row["system"], row["processing"])
                names = ("target", "main", "system", "predictions")
                cells = rows.setdefault(key, dict(zip(names, key, strict=True)))
                cells[METRIC_TITLES[row["metric"]]] = coefficient(
                    row["mean"], row["sd"]
                )
    return pd.DataFrame(list(rows.values()))


def _choices(run: Run, findings: RegressionFindings) -> pd.DataFrame:
    """The alpha chosen for each fold, main and target, and the settings."""
    return choice_table(with_settings(findings.choices, run.tuning), findings.metric)


def _training(run: Run, findings: RegressionFindings) -> Iterator[tuple[str, str]]:
    """Training curves of each target."""
    for target in findings.targets:
        history = run.history[run.history["target"] == target]
        figure = draw_training_curves(history, findings.metric, findings.mains)
        yield target, draw_uri(figure, "png")  # hundreds of lanes would bloat an SVG


def _comparison(findings: RegressionFindings) -> dict[str, Any]:
    """What the report says of chosen alpha against alpha = 0."""
    last = findings.partitions[-1]
    named = findings.differences.assign(
        main=findings.differences["target"] + " from " + findings.differences["main"]
    )
    headline = named[named["processing"] == findings.processing]
    return {
        **comparison(headline, last),
        "differences": comparison(named, last)["differences"],
    }


def _write_traces(
    folder: Path, findings: RegressionFindings, run: Run
) -> list[tuple[str, str]]:
    """Draws every recording into a file; returns those that the page shows.

    Those are of the last partition the recordings with the least, the median and the
    largest mean CCC of implicit fusion.
    """
    last = findings.partitions[-1]
    shown = _spread(findings.recordings[findings.recordings["partition"] == last])
    pictures: dict[str, str] = {}
    for path in sorted((folder / PREDICTIONS).glob("*.safetensors")):
        traces = load_traces(path)
        if traces.fold not in findings.folds:
            continue
        target_folder = folder / PICTURES / traces.partition
        target_folder.mkdir(parents=True, exist_ok=True)
        for i, recording in enumerate(traces.recording):
            panels = list(_panels(traces, i, findings))
            if not panels:
                continue
            figure = draw_traces(str(recording), traces.frame_step, panels)
            picture = render_figure(figure, "png")
            write_atomically(
                target_folder / f"{file_name(str(recording))}.png", picture
            )
            if traces.partition == last and recording in shown:
                pictures[str(recording)] = data_uri(picture, "png")
    return [(said, pictures[name]) for name, said in shown.items() if name in pictures]


def _spread(recordings: pd.DataFrame) -> dict[str, str]:
    """Names the recordings of least, median and largest score, {name: what it is}."""
    ranked = recordings.groupby("recording")["score"].mean().sort_values()
    places = {0: "least", len(ranked) // 2: "median", len(ranked) - 1: "largest"}
    return {
        str(ranked.index[place]): f"{ranked.index[place]}: {said} CCC, "
        f"{coefficient(ranked.iloc[place])}"
        for place, said in places.items()
        if len(ranked)
    }


def _panels(traces: Traces, i: int, findings: RegressionFindings) -> Iterator[Trace]:
    """The panels of recording i: a target and main each."""
    inside = slice(traces.offsets[i], traces.offsets[i + 1])
    choices = findings.choices[findings.choices["fold"] == traces.fold]
    lost = findings.failed[findings.failed["fold"] == traces.fold]
    keys = ["main", "target", "alpha", "seed"]
    failed = pd.MultiIndex.from_frame(lost[keys])
    sound = ~pd.MultiIndex.from_frame(traces.lanes[keys]).isin(failed)
    for target in findings.targets:
        for main in findings.mains:
            mine = (traces.lanes["main"] == main) & (traces.lanes["target"] == target)
            choice = choices[(choices["main"] == main) & (choices["target"] == target)]
            alphas = {BASELINE: 0.0, IMPLICIT_FUSION: float(choice["alpha"].iloc[0])}
            systems = {
                system: (mine & sound & (traces.lanes["alpha"] == alpha)).to_numpy()
                for system, alpha in alphas.items()
            }
            predictions = {
                system: traces.processed[lanes, inside]
                for system, lanes in systems.items()
                if lanes.any()
            }
            if not predictions:
                continue
            lanes = systems[list(predictions)[-1]]
            scored = (target, int(traces.lanes.loc[lanes, "ahead"].iloc[0]))
            yield Trace(
                f"{target} from {main} (alpha = {alphas[IMPLICIT_FUSION]:g})",
                traces.gold[scored][inside],
                traces.raters.get(scored, np.empty((0, 0)))[:, inside],
                predictions,
            )


def file_name(name: str) -> str:
    """Turns any name into one for a file: letters, digits, ".", "_" and "-" stay."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"
