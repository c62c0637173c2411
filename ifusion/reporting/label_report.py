"""A study of few labels as a table, a figure and a page."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ifusion.evaluation.label_curve import CELL, LabelCurve, labels_worth
from ifusion.evaluation.result import BASELINE_KEY
from ifusion.reporting.figures import (
    COLOURS,
    DASHED,
    GREY,
    INK,
    RULE,
    STYLE,
    arms,
    in_notation,
    joined,
    save_figure,
)
from ifusion.reporting.page import data_url, render_page
from ifusion.reporting.views import to_markdown
from ifusion.reporting.wording import (
    METRIC_TITLES,
    MINUS,
    NOTHING,
    axis_title,
    difference_interval,
    notation,
)
from ifusion.storage import make_folder, write_atomically, write_csv

LEFT = ("main", "target", "what")  # columns of text
STUDENT = "pseudo_labels"
REFERENCES = ("baseline", "self_training")  # what its gains are drawn over
ASIDE = 1.06  # factor of the share between the bars of the two
NAMES = {
    "baseline": "baseline",
    "implicit_fusion": "implicit fusion",
    "self_training": "self-training",
    "pseudo_labels_shuffled": "shuffled pairs",
    "pseudo_labels_other": "taught by the other modality",
    "pseudo_labels_implicit_fusion": "implicit fusion, taught by the fusion",
    "pseudo_labels": "taught by the fusion",
    "matching": "matching the fusion",
    "matching_own": "matching itself",
    "generalised_distillation": "generalised distillation",
}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "baseline": {"color": COLOURS[4], "marker": "o"},
    "implicit_fusion": {"color": COLOURS[1], "marker": "s"},
    "self_training": {"color": COLOURS[3], "marker": "^"},
    "pseudo_labels_shuffled": {"color": GREY, "marker": "v"},
    "pseudo_labels": {"color": COLOURS[2], "marker": "D", "lw": 2.4},
}


def write_label_report(curve: LabelCurve, teachers: pd.DataFrame, folder: Path) -> Path:
    """Writes report.html and the files that it is made from.

    These are labels.md and .csv, label_differences.csv, teachers.csv, labels.png and
    .svg.

    Args:
      curve: scores of the study.
      teachers: from `label_study.score_teachers`.
      folder: folder of the study.

    Returns:
      The path of labels.md.
    """
    make_folder(folder)
    write_csv(folder / "labels.csv", curve.scores)
    write_csv(folder / "label_differences.csv", curve.differences)
    write_csv(folder / "teachers.csv", teachers)
    picture = save_figure(draw_label_curve(curve), folder / "labels")
    table = label_table(curve, teachers)
    path = folder / "labels.md"
    write_atomically(path, to_markdown(table, left=LEFT).encode())
    html = render_page(
        "labels.html",
        curve=curve,
        metric=METRIC_TITLES[curve.metric],
        table=table,
        names=sum(name in LEFT for name in table.columns),
        picture=data_url(picture, "svg+xml"),
        draws=curve.scores["draws"].max(),
        verdict=describe_gains(curve),
    )
    write_atomically(folder / "report.html", html.encode())
    return path


def describe_gains(curve: LabelCurve) -> list[tuple[str, str]]:
    """Says, for each main, at which shares the student gains over both references.

    Returns:
      Pairs of words: the main, with the target if there are several; and the shares.
    """
    found = curve.differences
    found = found[(found["system"] == STUDENT) & found["reference"].isin(REFERENCES)]
    several, said = found["target"].nunique() > 1, []
    for (main, target), mine in _cells(found, ["main", "target"]):
        least = mine.groupby("share")["low"].agg(["min", "size"])
        clear = least.index[(least["min"] > 0) & (least["size"] == len(REFERENCES))]
        shares = ", ".join(f"{100 * share:g} %" for share in clear)
        where = f"at {shares} of the labels" if shares else "at no share of the labels"
        said.append((f"{target} from {main}" if several else f"from {main}", where))
    return said


def label_table(curve: LabelCurve, teachers: pd.DataFrame) -> pd.DataFrame:
    """Lays out scores, differences, teachers and what a label is worth, by share.

    Returns:
      One row per main (and target) and system or difference, one column per share of
      the labels.
    """
    style, worth = notation(curve.metric), labels_worth(curve, STUDENT)
    told = teachers.groupby([*CELL, "share"], sort=False)["score"].mean().reset_index()
    several = curve.scores["target"].nunique() > 1
    shares = sorted(curve.scores["share"].unique())
    rows: list[dict[str, str]] = []

    def add(
        what: str, mine: pd.DataFrame, write: Callable[[Mapping[Any, Any]], str]
    ) -> None:
        """Adds a row, of which each share is written from its row in `mine`."""
        place = ["main", "target"] if several else ["main"]
        texts = {row["share"]: write(row) for row in mine.to_dict("records")}
        columns = {f"{100 * share:g} %": texts.get(share, NOTHING) for share in shares}
        rows.append({**mine.iloc[0][place], "what": what, **columns})

    alone = curve.scores[~joined(curve.scores["main"])]
    for (main, target), scores in _cells(alone, ["main", "target"]):
        for (system,), mine in _cells(scores, ["system"]):
            name = f"{NAMES.get(system, system)}{style.unit}"
            add(name, mine, lambda row: style.score(row["mean"]))
        differences = _of(curve.differences, main, target)
        for pair, mine in _cells(differences, ["system", "reference"]):
            what = f" {MINUS} ".join(NAMES.get(key, key) for key in pair)
            add(what + style.difference_unit, mine, partial(_difference, curve.metric))
        found = _of(worth, main, target)
        if len(found):
            what = "labels of the baseline that a label is worth"
            add(what, found, partial(_worth, max(shares)))
    for (system, *_), mine in _cells(told, CELL):
        name = f"{system.replace('_', ' ')}, where labels are hidden{style.unit}"
        add(name, mine, lambda row: style.score(row["score"]))
    return pd.DataFrame(rows)


def _cells(
    frame: pd.DataFrame, keys: list[str]
) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Splits a frame by columns of text, in order of first appearance."""
    groups = frame.groupby(keys, sort=False)
    return [(tuple(map(str, key)), mine) for key, mine in groups]


def _of(frame: pd.DataFrame, main: str, target: str) -> pd.DataFrame:
    return frame[(frame["main"] == main) & (frame["target"] == target)]


def _difference(metric: str, row: Mapping[Any, Any]) -> str:
    said, interval = notation(metric).difference(row["estimate"]), ""
    if not pd.isna(row["low"]):
        interval = f" ({difference_interval(row, metric)})"
    return said + interval


def _worth(most: float, row: Mapping[Any, Any]) -> str:
    """Writes what a label is worth; `most` is the largest share tried."""
    worth = row["worth"]
    if np.isinf(worth):
        return f"> {most / row['share']:.1f}"
    return NOTHING if np.isnan(worth) else f"{worth:.1f}"


def draw_label_curve(curve: LabelCurve) -> Figure:
    """Draws scores over the share of labels and, below, the gains of the student.

    There is one column per main and target. Dashed: the baseline with the most labels.
    Bars: 95 % intervals of the differences, over clusters and draws.
    """
    alone = curve.scores[~joined(curve.scores["main"])]
    drawn = in_notation(alone, curve.metric)
    cells, style = _cells(drawn, ["main", "target"]), notation(curve.metric)
    several = drawn["target"].nunique() > 1
    size = (4.3 * len(cells) + 0.4, 5.6)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(
            2,
            len(cells),
            sharex=True,
            sharey="row",
            squeeze=False,
            height_ratios=(3, 2),
        )
        for (above, below), ((main, target), scores) in zip(grid.T, cells, strict=True):
            _draw_scores(above, scores)
            _draw_gains(below, _of(curve.differences, main, target), style.factor)
            above.set_title(f"{target} from {main}" if several else f"from {main}")
            below.set_xlabel("labels of train that are kept [%]")
        grid[0, 0].set_ylabel(f"{axis_title(curve.metric)}, {curve.partition}")
        grid[1, 0].set_ylabel(f"gain of the student{style.difference_unit}")
        above, below = (axes.get_legend_handles_labels() for axes in grid[:, 0])
        handles, labels = above[0] + below[0], above[1] + below[1]
        place: Any = {"loc": "outside lower center", "ncols": 4}
        figure.legend(handles, labels, fontsize=8.5, **place)
    return figure


def _draw_scores(axes: Axes, scores: pd.DataFrame) -> None:
    for system, look in LOOKS.items():
        mine = scores[scores["system"] == system].sort_values("share")
        if mine.empty:
            continue
        style: Any = {"lw": 1.6, "ms": 5, "mec": "white", **look}
        axes.plot(mine["share"], mine["mean"], label=NAMES[system], **style)
        if system == BASELINE_KEY:
            axes.axhline(mine["mean"].iloc[-1], color=GREY, lw=0.8, ls=DASHED, zorder=1)
    shares = sorted(scores["share"].unique())
    axes.set_xscale("log")
    if len(shares) == 1:  # as wide as between two shares
        axes.set_xlim(shares[0] / 2, shares[0] * 2)
    axes.xaxis.set_major_locator(FixedLocator(shares))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}"))
    axes.grid(axis="y", color=RULE, lw=0.6)


def _draw_gains(axes: Axes, differences: pd.DataFrame, factor: float) -> None:
    axes.axhline(0, color=INK, lw=1, zorder=1)
    axes.grid(axis="y", color=RULE, lw=0.6)
    for i, reference in enumerate(REFERENCES):
        mine = differences.query("system == @STUDENT and reference == @reference")
        mine = mine.sort_values("share")
        if mine.empty:
            continue
        middle, low, high = (factor * mine[k] for k in ("estimate", "low", "high"))
        look: Any = {**LOOKS[reference], "ls": "", "ms": 5, "capsize": 2}
        places = mine["share"] * ASIDE ** (i - 0.5)
        name, lengths = f"over {NAMES[reference]}", arms(middle, low, high)
        axes.errorbar(places, middle, yerr=lengths, label=name, **look)
