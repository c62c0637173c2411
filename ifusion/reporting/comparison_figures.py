"""The figures of a comparison: a missing modality, and the gain over controls."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ifusion.reporting.comparison import (
    BASELINE,
    CONTROL,
    JOIN,
    Comparison,
    headline_scores,
)
from ifusion.reporting.figures import COLOURS, GREY, INK, MARKERS, RULE, STYLE
from ifusion.reporting.wording import METRIC_TITLES, axis_title, notation

ROW = 0.32  # [inch] of a system
LETTER = 0.075  # [inch] of a name


def draw_missing_modality(comparison: Comparison) -> Figure:
    """Draws what each system reaches on the last partition, given what.

    A row a system, a panel a target. Of a mono-modal system a point for each main,
    given that modality alone; of an explicit fusion one given all, and one given each
    alone, the missing ones at their train mean. Dashed: the mono-modal baseline.

    Returns:
      The figure, scores in the notation of the metric.
    """
    scores = headline_scores(comparison, own=False)
    scores = scores[scores["partition"] == comparison.partitions[-1]]
    entries = [
        entry
        for entry in comparison.entries
        if entry.key in set(scores["system"]) and not entry.key.startswith(CONTROL)
    ]
    alone = list(dict.fromkeys(g for g in scores["given"] if JOIN not in g))
    titles = [entry.name for entry in entries]
    left = 0.4 + LETTER * max(map(len, titles))
    panels = len(comparison.targets)
    size = (left + 3.9 * panels, 1.35 + ROW * len(entries))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size)
        grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        figure.subplots_adjust(
            left=left / size[0],
            right=1 - 0.2 / size[0],
            bottom=0.55 / size[1],
            top=1 - 0.75 / size[1],
            wspace=0.08,
        )
        for axes, target in zip(grid, comparison.targets, strict=True):
            mine = scores[scores["target"] == target]
            _draw_levels(axes, mine, alone)
            for height, entry in enumerate(entries):
                rows = mine[mine["system"] == entry.key]
                _draw_system(axes, rows, height, alone, comparison.metric)
            _finish(axes, titles, comparison)
            if panels > 1:
                axes.set_title(target)
        _key(figure, alone, [g for g in scores["given"] if JOIN in g])
    return figure


def _draw_levels(axes: Axes, scores: pd.DataFrame, alone: Sequence[str]) -> None:
    """The baseline of each modality, all the way up."""
    for i, main in enumerate(alone):
        level = scores[
            (scores["system"] == BASELINE)
            & (scores["main"] == main)
            & (scores["given"] == main)
        ]
        for row in level.to_dict("records"):
            place = notation(row["metric"]).factor * row["mean"]
            axes.axvline(place, color=COLOURS[i % len(COLOURS)], lw=1, ls=(0, (5, 3)))


def _draw_system(
    axes: Axes, rows: pd.DataFrame, height: int, alone: Sequence[str], metric: str
) -> None:
    """The points of one system, those of one main joined by a line."""
    factor = notation(metric).factor
    for main, mine in rows.groupby("main", sort=False):
        joined = JOIN in str(main)
        shown = mine if joined else mine[mine["given"] == main]
        if joined:
            ends = factor * np.array([shown["mean"].min(), shown["mean"].max()])
            axes.plot(ends, [height, height], color=GREY, lw=1, zorder=1)
        for row in shown.to_dict("records"):
            colour, marker = INK, "X"
            if row["given"] in alone:
                i = alone.index(row["given"])
                colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            error = factor * np.nan_to_num(row["high"] - row["mean"])
            point: Any = {"color": colour, "fmt": marker, "ms": 6, "capsize": 2.5}
            axes.errorbar(
                *(factor * row["mean"], height), xerr=error, elinewidth=1, **point
            )


def _finish(axes: Axes, titles: Sequence[str], comparison: Comparison) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{axis_title(comparison.metric)}, {comparison.partitions[-1]}")


def _key(figure: Figure, alone: Sequence[str], joined: Sequence[str]) -> None:
    handles = [
        mpl.lines.Line2D(
            *([], []),
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            ls="",
            label=f"given {main} alone",
        )
        for i, main in enumerate(alone)
    ]
    for given in dict.fromkeys(joined):
        handles.append(
            mpl.lines.Line2D(
                [], [], color=INK, marker="X", ls="", label=f"given {given}"
            )
        )
    handles.append(
        mpl.lines.Line2D([], [], color=GREY, ls=(0, (5, 3)), label="baseline")
    )
    figure.legend(
        handles=handles,
        loc="upper left",
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handletextpad=0.4,
        columnspacing=1.2,
    )


def draw_controls(comparison: Comparison) -> Figure:
    """Draws the gain of true pairing over each control, on the last partition.

    Returns:
      The figure: a row a control, a panel a target, a point a main with its interval.
    """
    last = comparison.partitions[-1]
    frame = comparison.controls
    frame = frame[frame["partition"] == last]
    entries = [e for e in comparison.entries if e.key in set(frame["system"])]
    titles = [entry.name for entry in entries]
    mains = [m for m in comparison.mains if JOIN not in m]
    style = notation(comparison.metric)
    left = 0.4 + LETTER * max(map(len, titles))
    panels = len(comparison.targets)
    size = (left + 3.6 * panels, 1.35 + 1.6 * ROW * len(entries))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size)
        grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        figure.subplots_adjust(
            left=left / size[0],
            right=1 - 0.2 / size[0],
            bottom=0.6 / size[1],
            top=1 - 0.7 / size[1],
            wspace=0.08,
        )
        heights = {entry.key: height for height, entry in enumerate(entries)}
        for axes, target in zip(grid, comparison.targets, strict=True):
            axes.axvline(0, color=INK, lw=1)
            for i, main in enumerate(mains):
                mine = frame[(frame["main"] == main) & (frame["target"] == target)]
                for row in mine.to_dict("records"):
                    height = heights[row["system"]]
                    shift = 0.22 * (i - (len(mains) - 1) / 2)
                    middle = row["estimate"]
                    error = [[middle - row["low"]], [row["high"] - middle]]
                    point: Any = {
                        "color": COLOURS[i % len(COLOURS)],
                        "fmt": MARKERS[i % len(MARKERS)],
                        "capsize": 2.5,
                    }
                    axes.errorbar(
                        *(style.factor * middle, height + shift),
                        xerr=style.factor * np.maximum(error, 0),
                        elinewidth=1.2,
                        **point,
                    )
            _finish(axes, titles, comparison)
            name = METRIC_TITLES.get(comparison.metric, comparison.metric)
            axes.set_xlabel(f"gain in {name}{style.difference_unit}, {last}")
            if panels > 1:
                axes.set_title(target)
        _key(figure, mains, [])
    return figure
