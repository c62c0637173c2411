"""The figures of a comparison: a missing modality, and the gains over controls."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ifusion.reporting.comparison import (
    BASELINE,
    JOIN,
    Comparison,
    headline_scores,
)
from ifusion.reporting.figures import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    RULE,
    STYLE,
    in_notation,
    interval_arms,
)
from ifusion.reporting.wording import METRIC_TITLES, axis_title, notation

LETTER = 0.075  # [inch] of a name
WITHOUT = ("P", "d", "*", "h", "p")  # markers of some modalities, but not all
APART = 0.24  # between the points of two modalities in a row, whose height is 1
Look = Mapping[str, Any]


def draw_missing_modality(comparison: Comparison) -> Figure:
    """Draws what each system reaches on the last partition, given what.

    A row a system, a panel a target. Of a mono-modal system a point for each main,
    given that modality alone; of an explicit fusion one given all, one given all but
    one, whichever it is, and one given each alone, the missing ones at their train
    mean. Dashed: the mono-modal baseline. Bars,
    the 95 % t-interval over seeds, end with the panel.

    Returns:
      The figure, scores in the notation of the metric.
    """
    scores = headline_scores(comparison, own=False)
    scores = scores[scores["partition"] == comparison.partitions[-1]]
    scores = in_notation(scores, comparison.metric)
    scores = scores[(scores["given"] == scores["main"]) | _joined(scores["main"])]
    entries = [
        entry
        for entry in comparison.entries
        if entry.key in set(scores["system"]) and not entry.control
    ]
    scores = scores[scores["system"].isin([entry.key for entry in entries])]
    looks = _looks(sorted(set(scores["given"]), key=_by_number))
    titles = [entry.name for entry in entries]
    with mpl.rc_context(STYLE):
        figure, panels = _make_panels(titles, comparison.targets, 0.36)
        for target, axes in panels.items():
            mine = scores[scores["target"] == target]
            for height, entry in enumerate(entries):
                rows = mine[mine["system"] == entry.key]
                _draw_system(axes, rows, height, looks)
            baseline = mine[mine["system"] == BASELINE]
            for place, given in zip(baseline["mean"], baseline["given"], strict=True):
                colour = looks[given]["color"]
                axes.axvline(place, color=colour, lw=1, ls=(0, (5, 3)), zorder=1)
            low, high = mine["mean"].min(), mine["mean"].max()
            room = max(0.12 * (high - low), 0.01 * notation(comparison.metric).factor)
            axes.set_xlim(low - room, high + room)
            title = axis_title(comparison.metric)
            axes.set_xlabel(f"{title}, {comparison.partitions[-1]}")
        named = {f"given {given}": look for given, look in looks.items()}
        named["baseline"] = {"color": GREY, "ls": (0, (5, 3))}
        _draw_key(figure, named)
    return figure


def draw_controls(comparison: Comparison) -> Figure:
    """Draws the gain of implicit fusion over each control, on the last partition.

    What a gain says depends on the control: see `Entry.control`.

    Returns:
      The figure: a row a control, a panel a target, a point a main with its interval.
    """
    last = comparison.partitions[-1]
    frame = comparison.controls
    frame = frame[frame["partition"] == last]
    entries = [e for e in comparison.entries if e.key in set(frame["system"])]
    style = notation(comparison.metric)
    factor = style.factor
    looks = _looks(sorted(set(frame["main"]), key=_by_number))
    with mpl.rc_context(STYLE):
        names = [entry.name for entry in entries]
        figure, panels = _make_panels(names, comparison.targets, 0.5)
        for target, axes in panels.items():
            axes.axvline(0, color=INK, lw=1, zorder=1)
            mine = frame[frame["target"] == target]
            for height, entry in enumerate(entries):
                for row in mine[mine["system"] == entry.key].to_dict("records"):
                    middle = row["estimate"]
                    error = interval_arms([middle], [row["low"]], [row["high"]])
                    axes.errorbar(
                        factor * middle,
                        height + _aside(row["main"], looks),
                        xerr=factor * error,
                        **{**looks[row["main"]], "ls": ""},
                    )
            name = METRIC_TITLES[comparison.metric]
            axes.set_xlabel(f"gain in {name}{style.difference_unit}, {last}")
        _draw_key(figure, looks)
    return figure


def _joined(names: pd.Series) -> pd.Series:
    return names.str.contains(JOIN, regex=False)


def _by_number(given: str) -> tuple[int, str]:
    """Single modalities come before several."""
    return given.count(JOIN), given


def _looks(names: Sequence[str]) -> dict[str, Look]:
    """How the points of each modality, or of several, look."""
    alone = [name for name in names if JOIN not in name]
    looks: dict[str, Look] = {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "ls": "",
        }
        for i, name in enumerate(alone)
    }
    most = max(name.count(JOIN) for name in names)
    without = cycle(WITHOUT)
    for name in names:
        if JOIN in name:
            marker = "X" if name.count(JOIN) == most else next(without)
            looks[name] = {"color": INK, "marker": marker, "ls": ""}
    return looks


def _aside(name: str, looks: Mapping[str, Look]) -> float:
    """How far the points of a modality lie from the middle of their row."""
    alone = [key for key in looks if JOIN not in key]
    return APART * (alone.index(name) - (len(alone) - 1) / 2) if name in alone else 0.0


def _draw_system(
    axes: Axes, rows: pd.DataFrame, height: int, looks: Mapping[str, Look]
) -> None:
    """The points of one system; a line joins those of an explicit fusion."""
    several = rows[_joined(rows["main"])].sort_values("mean")
    heights = [height + _aside(given, looks) for given in several["given"]]
    axes.plot(several["mean"], heights, color=GREY, lw=1, zorder=2)
    for row in rows.to_dict("records"):
        axes.errorbar(
            row["mean"],
            height + _aside(row["given"], looks),
            xerr=interval_arms([row["mean"]], [row["low"]], [row["high"]]),
            elinewidth=1,
            capsize=2,
            **looks[row["given"]],
        )


def _make_panels(
    titles: Sequence[str], targets: Sequence[str], row: float
) -> tuple[Figure, dict[str, Axes]]:
    """Makes a panel a target side by side, with a row of `row` [inch] a title."""
    left, top = 0.4 + LETTER * max(map(len, titles)), 0.7 if len(targets) > 1 else 0.45
    size = (max(left + 3.6 * len(targets), 6.4), top + 0.65 + row * len(titles))
    figure = Figure(figsize=size)
    grid = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(
        left=left / size[0],
        right=1 - 0.2 / size[0],
        bottom=0.55 / size[1],
        top=1 - top / size[1],
        wspace=0.08,
    )
    for axes, target in zip(grid, targets, strict=True):
        axes.set_yticks(range(len(titles)), titles)
        axes.set_ylim(len(titles) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
        if len(targets) > 1:
            axes.set_title(target)
    return figure, dict(zip(targets, grid, strict=True))


def _draw_key(figure: Figure, looks: Mapping[str, Look]) -> None:
    """Names the points above the panels."""
    figure.legend(
        handles=[Line2D([], [], label=name, **look) for name, look in looks.items()],
        loc="upper left",
        ncols=min(len(looks), 5),
        frameon=False,
        fontsize=8.5,
        handletextpad=0.4,
        columnspacing=1.2,
    )
