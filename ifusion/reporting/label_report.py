"""A study of few labels as a table and a picture."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.label_curve import CELL, LabelCurve, labels_worth
from ifusion.evaluation.result import BASELINE_KEY
from ifusion.reporting.figures import (
    COLOURS,
    DASHED,
    GREY,
    RULE,
    STYLE,
    in_notation,
    save_figure,
)
from ifusion.reporting.views import to_markdown
from ifusion.reporting.wording import (
    MINUS,
    NOTHING,
    axis_title,
    difference_interval,
    notation,
)
from ifusion.storage import make_folder, write_atomically, write_csv

STUDENT = "pseudo_labels"
NAMES = {
    "baseline": "baseline",
    "implicit_fusion": "implicit fusion",
    "self_training": "self-training",
    "pseudo_labels_shuffled": "shuffled pairs",
    "pseudo_labels_other": "taught by the other modality",
    "pseudo_labels_implicit_fusion": "implicit fusion, taught by the fusion",
    "pseudo_labels": "taught by the fusion",
}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "baseline": {"color": COLOURS[4], "marker": "o"},
    "implicit_fusion": {"color": COLOURS[1], "marker": "s"},
    "self_training": {"color": COLOURS[3], "marker": "^"},
    "pseudo_labels_shuffled": {"color": GREY, "marker": "v"},
    "pseudo_labels": {"color": COLOURS[2], "marker": "D", "lw": 2.4},
}


def write_label_report(curve: LabelCurve, teachers: pd.DataFrame, folder: Path) -> Path:
    """Writes labels.md and .csv, label_differences.csv, teachers.csv, labels.png, .svg.

    Args:
      curve: of a study.
      teachers: of `label_study.score_teachers`.
      folder: of the study.

    Returns:
      The path of labels.md.
    """
    make_folder(folder)
    write_csv(folder / "labels.csv", curve.scores)
    write_csv(folder / "label_differences.csv", curve.differences)
    write_csv(folder / "teachers.csv", teachers)
    save_figure(draw_label_curve(curve), folder / "labels")
    table = label_table(curve, teachers)
    path = folder / "labels.md"
    write_atomically(path, to_markdown(table, left=("main", "target", "what")).encode())
    return path


def label_table(curve: LabelCurve, teachers: pd.DataFrame) -> pd.DataFrame:
    """Lays out scores, differences, teachers and what a label is worth, by share.

    Returns:
      A row a main (and target) and system or difference, a column a share of the
      labels.
    """
    style, worth = notation(curve.metric), labels_worth(curve, STUDENT)
    told = teachers.groupby([*CELL, "share"], sort=False)["score"].mean().reset_index()
    several = curve.scores["target"].nunique() > 1
    shares = sorted(curve.scores["share"].unique())
    rows: list[dict[str, str]] = []

    def add(main: str, target: str, what: str, cells: Mapping[float, str]) -> None:
        named = {"main": main, **({"target": target} if several else {}), "what": what}
        columns = {f"{100 * share:g} %": cells.get(share, NOTHING) for share in shares}
        rows.append({**named, **columns})

    def score(column: str) -> Callable[[Mapping[Any, Any]], str]:
        return lambda row: style.score(row[column])

    for (main, target), scores in _cells(_mono(curve.scores), ["main", "target"]):
        for (system,), mine in _cells(scores, ["system"]):
            name = f"{NAMES.get(system, system)}{style.unit}"
            add(main, target, name, _by_share(mine, score("mean")))
        differences = _of(curve.differences, main, target)
        for pair, mine in _cells(differences, ["system", "reference"]):
            what = f" {MINUS} ".join(NAMES.get(key, key) for key in pair)
            cells = _by_share(mine, partial(_difference, curve.metric))
            add(main, target, what + style.difference_unit, cells)
        found = _of(worth, main, target)
        if len(found):
            cells = _by_share(found, partial(_worth, max(shares)))
            add(main, target, "labels of the baseline that a label is worth", cells)
    for (system, main, target), mine in _cells(told, CELL):
        name = f"{system.replace('_', ' ')}, where labels are hidden{style.unit}"
        add(main, target, name, _by_share(mine, score("score")))
    return pd.DataFrame(rows).fillna(NOTHING)


def _cells(
    frame: pd.DataFrame, keys: list[str]
) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Splits a frame by columns of text, in order of their first row."""
    groups = frame.groupby(keys, sort=False)
    return [(tuple(map(str, key)), mine) for key, mine in groups]


def _by_share(
    frame: pd.DataFrame, write: Callable[[Mapping[Any, Any]], str]
) -> dict[float, str]:
    """Writes a row of each share: {share: text}."""
    return {row["share"]: write(row) for row in frame.to_dict("records")}


def _mono(scores: pd.DataFrame) -> pd.DataFrame:
    """Leaves out systems that need several modalities."""
    return scores[~scores["main"].str.contains(JOIN, regex=False)]


def _of(frame: pd.DataFrame, main: str, target: str) -> pd.DataFrame:
    return frame[(frame["main"] == main) & (frame["target"] == target)]


def _difference(metric: str, row: Mapping[Any, Any]) -> str:
    said, interval = notation(metric).difference(row["estimate"]), ""
    if not pd.isna(row["low"]):
        interval = f" ({difference_interval(row, metric)})"
    return said + interval


def _worth(most: float, row: Mapping[Any, Any]) -> str:
    """Writes what a label is worth, of shares up to `most`."""
    if pd.isna(row["worth"]):
        return f"> {most / row['share']:.1f}"
    return f"{row['worth']:.1f}"


def draw_label_curve(curve: LabelCurve) -> Figure:
    """Draws the score over the share of labels, a panel a main and target.

    Bands are 95 % intervals over clusters and draws, of the baseline and the student.
    Dashed: the baseline with all labels that were tried.
    """
    drawn = in_notation(_mono(curve.scores), curve.metric)
    cells = _cells(drawn, ["main", "target"])
    several = drawn["target"].nunique() > 1
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.3 * len(cells) + 0.4, 3.9), layout="constrained")
        panels = figure.subplots(1, len(cells), squeeze=False)[0]
        for axes, ((main, target), scores) in zip(panels, cells, strict=True):
            _draw_panel(axes, scores)
            axes.set_title(f"{target} from {main}" if several else f"from {main}")
        panels[0].set_ylabel(f"{axis_title(curve.metric)}, {curve.partition}")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=5,
            frameon=False,
            fontsize=8.5,
        )
    return figure


def _draw_panel(axes: Axes, scores: pd.DataFrame) -> None:
    shares = sorted(scores["share"].unique())
    for system, look in LOOKS.items():
        mine = scores[scores["system"] == system].sort_values("share")
        if mine.empty:
            continue
        style: Any = {"lw": 1.6, "ms": 5, "mec": "white", **look}
        axes.plot(mine["share"], mine["mean"], label=NAMES[system], **style)
        if system in (BASELINE_KEY, STUDENT):
            low, high, colour = mine["low"], mine["high"], look["color"]
            axes.fill_between(mine["share"], low, high, color=colour, alpha=0.15, lw=0)
        if system == BASELINE_KEY:
            axes.axhline(mine["mean"].iloc[-1], color=GREY, lw=0.8, ls=DASHED, zorder=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(shares))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}"))
    axes.set_xlabel("labels of train that are kept [%]")
    axes.grid(axis="y", color=RULE, lw=0.6)
