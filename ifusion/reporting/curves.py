"""The figures of a regression: predictions over time, delays, post-processing.

Drawn in the style of `figures`.

Axes: S seeds, A raters, T frames of a recording.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION
from ifusion.evaluation.significance import seed_intervals
from ifusion.reporting.figures import COLOURS, INK, MARKERS, RULE, STYLE, in_notation
from ifusion.reporting.wording import METRIC_TITLES

SYSTEM_COLOURS: Mapping[str, str] = {
    BASELINE: COLOURS[4],
    IMPLICIT_FUSION: COLOURS[1],
}
MOST_POINTS = 2000  # of a line: more than a figure has dots across


class Trace(NamedTuple):
    """What is drawn over time of one recording, target and main modality.

    Attributes:
      title: of the panel, for example "arousal from audio".
      gold: (T,) gold standard, NaN where there is none.
      raters: (A, T), NaN where a rater gave nothing; A may be 0.
      predictions: {system: (S, T)}.
    """

    title: str
    gold: np.ndarray
    raters: np.ndarray
    predictions: Mapping[str, np.ndarray]


def draw_traces(recording: str, frame_step: float, traces: Sequence[Trace]) -> Figure:
    """Draws gold standard, raters' range and predictions over time.

    Predictions are means over seeds; a band from the least to the largest seed lies
    behind them.

    Args:
      recording: its name.
      frame_step: [s].
      traces: a panel each, all of one recording.

    Returns:
      The figure.
    """
    height = 1.55 * len(traces) + 0.8
    with mpl.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=(9.0, height))
        panels = figure.subplots(len(traces), sharex=True, squeeze=False)[:, 0]
        for axes, trace in zip(panels, traces, strict=True):
            _draw_trace(axes, frame_step, trace)
        end = frame_step * max(len(trace.gold) for trace in traces)
        panels[-1].set_xlim(0, end)
        panels[-1].xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 3, 6, 10]))
        panels[-1].xaxis.set_major_formatter(FuncFormatter(_clock))
        panels[-1].set_xlabel("time [min:s]")
        figure.subplots_adjust(
            left=0.075, right=0.97, bottom=0.5 / height, top=1 - 0.55 / height
        )
        figure.subplots_adjust(hspace=0.3)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper right",
            ncols=len(handles),
            frameon=False,
            bbox_to_anchor=(0.98, 1.0),
            fontsize=8.5,
            handlelength=1.6,
            columnspacing=1.4,
        )
        top = 1 - 0.1 / height
        figure.suptitle(
            recording, x=0.012, y=top, ha="left", fontsize=11, fontweight="bold"
        )
    return figure


def draw_delays(
    tuning: pd.DataFrame,
    metric: str,
    mains: Sequence[str],
    targets: Sequence[str],
) -> Figure:
    """Draws the dev score of alpha = 0 over the annotation delay, a panel a target.

    Args:
      tuning: columns fold, main, target, alpha, l2, delay_seconds, seed, dev_score,
        chosen; of several penalties the chosen one is drawn, folds are averaged. A ring
        marks the delay that a fold chose.
      metric: name of the metric of `dev_score`.
      mains: the lines, in order.
      targets: the panels, in order.

    Returns:
      The figure.
    """
    with mpl.rc_context(STYLE):
        figure, panels = _target_panels(targets, metric)
        for axes, target in zip(panels, targets, strict=True):
            for i, main in enumerate(mains):
                mine = (tuning["main"] == main) & (tuning["target"] == target)
                _draw_delay(axes, tuning[mine], metric, main, i)
            axes.set_xlabel("annotation delay [s]")
            axes.margins(y=0.12)
        _name_lines(figure, 4)
    return figure


def draw_gains(
    gains: pd.DataFrame, metric: str, mains: Sequence[str], targets: Sequence[str]
) -> Figure:
    """Draws the dev score after each step of the post-processing, a panel a target.

    Args:
      gains: columns system, main, target, step ("raw" first), score: means over seeds,
        in the order of the steps.
      metric: name of the metric of `score`.
      mains: line styles, in order.
      targets: the panels, in order.

    Returns:
      The figure.
    """
    with mpl.rc_context(STYLE):
        figure, panels = _target_panels(targets, metric)
        for axes, target in zip(panels, targets, strict=True):
            for system, colour in SYSTEM_COLOURS.items():
                for i, main in enumerate(mains):
                    mine = gains[
                        (gains["system"] == system)
                        & (gains["main"] == main)
                        & (gains["target"] == target)
                    ]
                    axes.plot(
                        mine["step"],
                        mine["score"],
                        color=colour,
                        marker=MARKERS[i % len(MARKERS)],
                        ls=("-", "--", ":", "-.")[i % 4],
                        ms=5,
                        mec="white",
                        label=f"{system}, {main}",
                    )
            axes.margins(x=0.06, y=0.12)
            axes.set_xlabel("after")
        _name_lines(figure, 2)
    return figure


def _target_panels(targets: Sequence[str], metric: str) -> tuple[Figure, list[Axes]]:
    """Lays out a panel a target, the dev score of a metric upwards."""
    figure = Figure(figsize=(4.1 * len(targets) + 0.6, 3.3), layout="constrained")
    panels = list(figure.subplots(1, len(targets), squeeze=False)[0])
    for axes, target in zip(panels, targets, strict=True):
        axes.set_title(target)
        axes.grid(axis="y", color=RULE, lw=0.6)
        axes.set_axisbelow(True)
    panels[0].set_ylabel(f"{METRIC_TITLES.get(metric, metric)} on dev")
    return figure, panels


def _name_lines(figure: Figure, columns: int) -> None:
    """Puts the key of the first panel below all."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False
    )


def _draw_trace(axes: Axes, frame_step: float, trace: Trace) -> None:
    """One panel: the raters' range behind, gold standard and predictions before."""
    stride = max(1, len(trace.gold) // MOST_POINTS)
    time = frame_step * np.arange(len(trace.gold))[::stride]
    if len(trace.raters):
        low, high = _range(trace.raters[:, ::stride])
        axes.fill_between(
            time, low, high, color="#E4E4E4", lw=0, label="raters' range", zorder=1
        )
    axes.plot(time, trace.gold[::stride], color=INK, lw=1.3, label="gold standard")
    for system, values in trace.predictions.items():
        colour = SYSTEM_COLOURS[system]
        shown = values[:, ::stride]
        if len(shown) > 1:
            low, high = _range(shown)
            axes.fill_between(time, low, high, color=colour, alpha=0.18, lw=0, zorder=2)
        axes.plot(time, shown.mean(0), color=colour, lw=1.1, label=system, zorder=3)
    axes.set_title(trace.title, fontsize=9.5, pad=3)
    axes.grid(color=RULE, lw=0.5)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.margins(y=0.05)


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value over the first axis, NaN left out: (A, T) -> 2 x (T,)."""
    return np.fmin.reduce(values), np.fmax.reduce(values)


def _draw_delay(
    axes: Axes, tuning: pd.DataFrame, metric: str, main: str, i: int
) -> None:
    """One main over the delay: its mean over seeds with its 95 % interval."""
    colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    tuning = tuning[tuning["alpha"] == 0]
    chosen = tuning[tuning["chosen"]]
    penalties = chosen[["fold", "l2"]].drop_duplicates()
    drawn = tuning.merge(penalties, on=["fold", "l2"])
    seeds = drawn.groupby(["delay_seconds", "seed"])["dev_score"].mean()
    drawn = in_notation(seed_intervals(seeds.groupby("delay_seconds")), metric)
    mean, low, high = drawn["mean"], drawn["low"], drawn["high"]
    axes.fill_between(mean.index, low, high, color=colour, alpha=0.15, lw=0)
    style: Any = {"color": colour, "marker": marker, "ms": 4, "mec": "white"}
    axes.plot(mean.index, mean, lw=1.5, label=f"main: {main}", **style)
    rings = mean[mean.index.isin(chosen["delay_seconds"])]
    axes.plot(rings.index, rings, "o", ms=11, mfc="none", mec=colour, mew=1.6, zorder=5)


def _clock(seconds: float, _: Any) -> str:
    """Writes a time as min:s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:d}:{rest:02d}"
