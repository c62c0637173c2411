"""The figures of a result, drawn without pyplot's global state.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish; markers
differ too, for print in grey.

Axes: S seeds, K classes, A raters, T frames of a recording.
"""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import ArrayLike

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.result import BASELINE_KEY, CONSTANT_KEY, FUSION_KEY, Result
from ifusion.evaluation.significance import seed_intervals
from ifusion.reporting.views import (
    choice_gains,
    choices,
    control_differences,
    gain_steps,
)
from ifusion.reporting.wording import METRIC_TITLES, axis_title, bounds, notation
from ifusion.storage import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
WITHOUT = ("P", "d", "*", "h", "p")  # markers for several modalities, but not all
CURVES: Mapping[str, tuple[str, str]] = {
    BASELINE_KEY: ("baseline", COLOURS[4]),
    FUSION_KEY: ("implicit fusion", COLOURS[1]),
}
WIDER = 1.0  # [points] of the baseline, so that it shows under an equal line
ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
INK, GREY, RULE = "#222222", "#666666", "#DDDDDD"
STYLE: Any = {  # matplotlib types the keys of an rc mapping one by one
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a $
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.hashsalt": "ifusion",  # the same figure is the same file
}
SMALL_PRINT: Any = {"fontsize": 7.5, "color": GREY, "ha": "center"}
DASHED: Any = (0, (5, 3))
LETTER = 0.078  # [inch], mean width of a letter of 10 points
RESOLUTION = 200  # [dots per inch]
APART = 0.24  # between the points of two modalities, as a share of a row's height
MOST_POINTS = 2000  # of a line; more would exceed the dots across a figure
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # [s]
MOST_LETTERS = 40  # of the name of a class or recording
Look = Mapping[str, Any]


class Trace(NamedTuple):
    """A recording over time, for one target and main.

    Attributes:
      title: title of the panel, for example "arousal from audio".
      gold: (T,) gold standard, NaN where unknown.
      raters: (A, T), NaN where a rater gave nothing; A may be 0.
      predictions: {system: (S, T)}.
    """

    title: str
    gold: np.ndarray
    raters: np.ndarray
    predictions: Mapping[str, np.ndarray]


def figure2(result: Result) -> Figure:
    """Draws the dev score over alpha as in Fig. 2 of the paper, one line per main.

    The band is the 95 % t-interval of the mean over seeds, all folds pooled. The point
    at alpha = 0, the baseline, is set apart because it is not the limit of the others:
    without a loss of its own, the auxiliary branch does not move at all. Rings mark
    what dev chose; with several folds they say how many chose it. A bar at the right
    edge shows what choosing alone gives: mean and 95 % of the gains of the best of as
    many baselines over one; with fewer than three seeds there is none.

    Example:
      >>> figure2(result).savefig("figure2.pdf")

    Args:
      result: result with implicit fusion.

    Returns:
      The figure, one panel per target.

    Raises:
      ValueError: if there are no scores of implicit fusion.
    """
    metric, curve = result.scorer.metric, result.curve
    curve = curve[curve["metric"] == metric]
    if curve["alpha"].nunique() < 2:
        raise ValueError("the result has no scores of implicit fusion over alpha")
    scores = curve.groupby(["target", "main", "alpha"])["value"]
    means = in_notation(seed_intervals(scores), metric).reset_index()
    chosen = choices(result).query("system == @FUSION_KEY")
    chance, style = choice_gains(result, folds=False), notation(metric)
    size = (6.4 * len(result.targets), 4.0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(result.targets), squeeze=False)[0]
        for axes, target in zip(panels, result.targets, strict=True):
            lines = means[means["target"] == target]
            mains = [m for m in result.mains if m in set(lines["main"])]
            near = 0.2 * (lines["high"].max() - lines["low"].min())
            ends = {}
            for i, main in enumerate(mains):
                side_step = 0.006 * (2 * i + 1 - len(mains))  # bars of mains overlap
                line = lines[lines["main"] == main].dropna(subset="mean")
                line = line.assign(place=line["alpha"].replace(0.0, side_step))
                mine = (chosen["main"] == main) & (chosen["target"] == target)
                look = (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
                _draw_line(axes, line[line["alpha"] > 0], *look)
                _draw_baseline(axes, line[line["alpha"] == 0], *look)
                above = lines[lines["main"] != main].merge(line, on="alpha")
                gaps = above["mean_x"] - above["mean_y"]
                crowded = set(above.loc[(gaps > 0) & (gaps < near), "alpha"])
                _ring_choices(axes, line, chosen.loc[mine, "alpha"], crowded, look[0])
                here = (chance["main"] == main) & (chance["target"] == target)
                _draw_chance(axes, line, chance[here], style.factor, look[0], i)
                ends[main] = (float(line["mean"].iloc[-1]), look[0])
            _finish_figure2(axes, metric, sorted(set(lines["alpha"])))
            _label_lines(axes, ends)
            if len(result.targets) > 1:
                axes.set_title(target)
        seeds = int(means["seeds"].max())
        over = "one seed" if seeds == 1 else f"mean and 95 % interval, {seeds} seeds"
        said = f"{over} · ring: chosen on dev · dashed, open: baseline {ALPHA} = 0"
        if len(chance):
            said += "\nbar at the right: what choosing alone gives, 95 %"
        figure.suptitle(said, fontsize=8.5, color=GREY)
    return figure


def draw_missing_modality(result: Result) -> Figure:
    """Draws each system's score on the last partition by the modalities it is given.

    One row per system but the constant, one panel per target. A mono-modal system has
    one point per main; an explicit fusion has points for all modalities, for all but
    one, and for each alone, with the train mean for missing ones. Dashed: the
    mono-modal baseline.
    Bars: the 95 % t-interval over seeds, clipped by the panel.
    """
    metric, last = result.scorer.metric, result.partitions[-1]
    scores = in_notation(result.compared(result.scores, last), metric)
    scores = scores[(scores["given"] == scores["main"]) | joined(scores["main"])]
    found = set(scores["system"])
    entries = [
        e
        for e in result.systems
        if e.key in found and not e.control and e.key != CONSTANT_KEY
    ]
    scores = scores[scores["system"].isin([entry.key for entry in entries])]
    looks = _looks(sorted(set(scores["given"]), key=_by_number))
    with mpl.rc_context(STYLE):
        names = [entry.name for entry in entries]
        figure, panels = _make_rows(names, result.targets, 0.36)
        for target, axes in panels.items():
            mine = scores[scores["target"] == target]
            for height, entry in enumerate(entries):
                rows = mine[mine["system"] == entry.key]
                several = rows[joined(rows["main"])].sort_values("mean")
                heights = [height + _aside(given, looks) for given in several["given"]]
                axes.plot(several["mean"], heights, color=GREY, lw=1, zorder=2)
                _draw_points(axes, rows.to_dict("records"), "given", height, looks)
            baseline = mine[mine["system"] == BASELINE_KEY]
            for place, given in zip(baseline["mean"], baseline["given"], strict=True):
                colour = looks[given]["color"]
                axes.axvline(place, color=colour, lw=1, ls=DASHED, zorder=1)
            low, high = mine["mean"].min(), mine["mean"].max()
            room = max(0.12 * (high - low), 0.01 * notation(metric).factor)
            axes.set_xlim(low - room, high + room)
            axes.set_xlabel(f"{axis_title(metric)}, {last}")
        named = {f"given {given}": look for given, look in looks.items()}
        if BASELINE_KEY in found:
            named["baseline"] = {"color": GREY, "ls": DASHED}
        _draw_key(figure, named)
    return figure


def draw_controls(result: Result) -> Figure:
    """Draws each system's gain over its control on the last partition.

    One row per pair, one panel per target, one point per main with its interval.
    `Entry.control` says what a gain means.
    """
    metric, frame = result.scorer.metric, control_differences(result)
    pairs = dict(zip(frame["reference"], frame["system"], strict=True))
    entries = [entry for entry in result.systems if entry.key in pairs]
    style = notation(metric)
    ends = ["estimate", "low", "high"]
    drawn = frame.assign(**{name: style.factor * frame[name] for name in ends})
    drawn = drawn.rename(columns={"estimate": "mean"})
    looks = _looks(sorted(set(frame["main"]), key=_by_number))
    with mpl.rc_context(STYLE):
        names = [
            f"{result.names[pairs[e.key]]}\nminus {e.name[0].lower()}{e.name[1:]}"
            for e in entries
        ]
        figure, panels = _make_rows(names, result.targets, 0.6)
        for target, axes in panels.items():
            axes.axvline(0, color=INK, lw=1, zorder=1)
            mine = drawn[drawn["target"] == target]
            for height, entry in enumerate(entries):
                rows = mine[mine["reference"] == entry.key].to_dict("records")
                _draw_points(axes, rows, "main", height, looks)
            name = METRIC_TITLES[metric]
            unit, last = style.difference_unit, result.partitions[-1]
            axes.set_xlabel(f"gain in {name}{unit}, {last}")
        _draw_key(figure, looks)
    return figure


def draw_confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Draws a confusion matrix (K, K), each row in % of the labels of that class.

    Rows are labels, columns predictions; means over seeds are fine.
    """
    counts, classes = np.asarray(counts, np.float64), [_cut(name) for name in classes]
    support = counts.sum(1, keepdims=True)
    shares = 100 * counts / np.where(support > 0, support, 1)
    rows = [f"{c} ({n:.0f})" for c, n in zip(classes, support[:, 0], strict=True)]
    left = 0.45 + LETTER * max(map(len, rows))
    bottom = 0.5 + 0.75 * LETTER * max(map(len, classes))  # slanting by 45 degrees
    cells = 0.42 * len(classes)
    width = max(left + cells + 0.1, 1.2 * LETTER * len(title))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, bottom + cells + 0.4))
        axes = figure.add_subplot()
        _set_margins(figure, left, width - left - cells, bottom, 0.4)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                colour = "white" if share > 55 else INK
                place: Any = {"ha": "center", "va": "center", "color": colour}
                axes.text(column, row, f"{share:.0f}", **place)
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="prediction", ylabel="label (count)")
        _set_title(figure, title, 0.0, 0.08)
    return figure


def draw_training_curves(result: Result, target: str) -> Figure:
    """Draws losses and dev score over epochs, one thin line per candidate.

    One row per main; one column per modality's training loss, then the dev score, where
    a dot marks the epoch whose parameters were kept. Colours show alpha.
    """
    metric, history = result.scorer.metric, result.history
    history = history[history["target"] == target].sort_values("epoch")
    mains = [m for m in result.mains if m in set(history["main"])]
    found = map(str, history.dropna(axis=1, how="all"))
    columns = [*(c for c in found if c.startswith("loss_")), "dev_score"]
    shape = (len(mains), len(columns))
    size = (2.9 * shape[1] + 1.2, 2.2 * shape[0] + 0.7)
    keys = ["fold", "system", "main", "setting", "seed"]
    dev_score = notation(metric).factor * history["dev_score"]
    history = history.assign(dev_score=dev_score)
    colours = _alpha_colours(history["alpha"])
    with mpl.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=size)
        grid = figure.subplots(*shape, sharex=True, sharey="col", squeeze=False)
        _set_margins(figure, 0.65, 0.9, 0.45, 0.3)
        figure.subplots_adjust(wspace=0.2, hspace=0.12)
        for row, main in enumerate(mains):
            mine = history[history["main"] == main]
            lanes = [lane for _, lane in mine.groupby(keys)]
            for column, name in enumerate(columns):
                _draw_lanes(grid[row, column], lanes, name, colours)
            grid[row, 0].set_ylabel(f"main: {main}", fontweight="bold")
        for column, name in enumerate(columns):
            title = f"training loss of {name.removeprefix('loss_')}"
            if name == "dev_score":
                unit = notation(metric).unit
                title = f"{METRIC_TITLES.get(metric, metric)} on dev{unit}"
            grid[0, column].set_title(title, fontsize=10, fontweight="normal")
            grid[-1, column].set_xlabel("epoch")
            grid[-1, column].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        place = (1 - 0.72 / size[0], 0.45 / size[1], 0.16 / size[0], 1 - 0.75 / size[1])
        bar = figure.colorbar(colours, cax=figure.add_axes(place), extend="min")
        bar.set_label(f"{ALPHA} (the tip: {ALPHA} = 0)")
    return figure


def draw_traces(recording: str, frame_step: float, traces: Sequence[Trace]) -> Figure:
    """Draws gold standard, raters' range and predictions over time.

    Predictions are means over seeds, in a band from the smallest to the largest seed.
    There is one panel per trace, all of one recording; `frame_step` is in [s].
    """
    height = 1.55 * len(traces) + 0.8
    with mpl.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=(9.0, height))
        panels = figure.subplots(len(traces), sharex=True, squeeze=False)[:, 0]
        for axes, trace in zip(panels, traces, strict=True):
            _draw_trace(axes, frame_step, trace)
        end = frame_step * max(len(trace.gold) for trace in traces)
        panels[-1].set_xlim(0, end)
        label_minutes(panels[-1], end)
        _set_margins(figure, 0.675, 0.27, 0.5, 0.55)
        figure.subplots_adjust(hspace=0.3)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper right",
            ncols=len(handles),
            bbox_to_anchor=(0.98, 1.0),
            fontsize=8.5,
            handlelength=1.6,
            columnspacing=1.4,
        )
        _set_title(figure, _cut(recording), 0.012, 0.1)
    return figure


def draw_values(result: Result, target: str) -> Figure:
    """Draws predictions over labels on the last partition, one dot per recording.

    One panel per main; predictions are means over seeds, and correct on the diagonal.
    `result` is of a regression with one value per recording.
    """
    last = result.partitions[-1]
    found = {key: result.own[key, last] for key in CURVES if (key, last) in result.own}
    mains = [main for main in result.mains if JOIN not in main]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(mains) + 0.4, 3.9), layout="constrained")
        panels = figure.subplots(
            1, len(mains), sharex=True, sharey=True, squeeze=False
        )[0]
        for axes, main in zip(panels, mains, strict=True):
            for system, pooled in found.items():
                rows = pooled.predictors
                mine = (rows["main"] == main) & (rows["target"] == target)
                mine &= rows["processing"] == result.scorer.processing
                if not mine.any():
                    continue
                _, label, prediction = np.moveaxis(pooled.values[mine][..., :3], -1, 0)
                name, colour = CURVES[system]
                style: Any = {"color": colour, "ms": 3.5, "alpha": 0.7, "mew": 0}
                axes.plot(label[0], prediction.mean(0), "o", label=name, **style)
            axes.set(title=main, xlabel=f"{target}, label")
        ends = [*panels[0].get_xlim(), *panels[0].get_ylim()]
        limits = min(ends), max(ends)
        for axes in panels:
            axes.plot(limits, limits, color=GREY, lw=0.8, ls=DASHED, zorder=0)
            axes.set(xlim=limits, ylim=limits, aspect="equal")
        panels[0].set_ylabel(f"{target}, prediction")
        _name_lines(figure, len(CURVES))
    return figure


def draw_delays(result: Result) -> Figure:
    """Draws the dev score of alpha = 0 over the annotation delay, one panel per target.

    Of several penalties, the chosen one is drawn; folds are averaged. A ring marks a
    delay that a fold chose.
    """
    tuning = result.tuning[result.tuning["alpha"] == 0]
    with mpl.rc_context(STYLE):
        figure, panels = _make_panels(result)
        for target, axes in panels.items():
            mine = tuning[tuning["target"] == target]
            for i, main in enumerate(result.mains):
                if main in set(mine["main"]):
                    line = mine[mine["main"] == main]
                    _draw_delay(axes, line, result.scorer.metric, main, i)
            axes.set_xlabel("annotation delay [s]")
            axes.margins(y=0.12)
        _name_lines(figure, 4)
    return figure


def draw_gains(result: Result) -> Figure:
    """Draws the dev score after each step of post-processing, one panel per target."""
    gains = gain_steps(result)
    with mpl.rc_context(STYLE):
        figure, panels = _make_panels(result)
        for target, axes in panels.items():
            mine = gains[gains["target"] == target]
            for system, (name, colour) in CURVES.items():
                wider = WIDER * (system == BASELINE_KEY)
                for i, main in enumerate(result.mains):
                    line = mine[(mine["system"] == system) & (mine["main"] == main)]
                    if line.empty:
                        continue
                    axes.plot(
                        line["step"],
                        line["score"],
                        color=colour,
                        marker=MARKERS[i % len(MARKERS)],
                        ls=("-", "--", ":", "-.")[i % 4],
                        lw=1.5 + wider,
                        ms=5 + 2 * wider,
                        mec="white",
                        label=f"{name}, {main}",
                    )
            axes.margins(x=0.06, y=0.12)
            axes.set_xlabel("after")
        _name_lines(figure, 2)
    return figure


def save_figure(figure: Figure, stem: Path) -> bytes:
    """Writes a figure as `stem`.png and .svg, each whole or not at all.

    Returns:
      The SVG.
    """
    svg = render_figure(figure, "svg")
    write_atomically(stem.with_name(f"{stem.name}.svg"), svg)
    write_atomically(stem.with_name(f"{stem.name}.png"), render_figure(figure, "png"))
    return svg


def render_figure(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Renders a figure without a date, so that equal figures have equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=form, dpi=RESOLUTION, metadata=metadata)
    return buffer.getvalue()


def in_notation(means: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Converts mean, low and high to the notation of a metric, clipped to its range."""
    factor, reach = notation(metric).factor, bounds(metric)
    drawn = {name: factor * means[name].clip(*reach) for name in ("low", "high")}
    return means.assign(mean=factor * means["mean"], **drawn)


def arms(mean: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Lengths of intervals below and above their means: 3 x (N,) -> (2, N)."""
    middle = np.asarray(mean)
    return np.maximum([middle - np.asarray(low), np.asarray(high) - middle], 0)


def _cut(name: str) -> str:
    """Shortens a long name, so that figures do not grow with it."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _set_margins(
    figure: Figure, left: float, right: float, bottom: float, top: float
) -> None:
    """Sets the margins [inch]; a layout engine would take longer than drawing."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
    )


def _set_title(figure: Figure, title: str, x: float, below: float) -> None:
    """Puts a title at the top left, `below` [inch] the edge."""
    top = 1 - below / figure.get_figheight()
    figure.suptitle(title, x=x, y=top, ha="left", fontsize=11, fontweight="bold")


def _draw_line(axes: Axes, line: pd.DataFrame, colour: str, marker: str) -> None:
    """Draws one main over alpha > 0: line and band, or a bar for a single alpha."""
    alphas, mean, low, high = (line[name] for name in ("alpha", "mean", "low", "high"))
    axes.fill_between(alphas, low, high, color=colour, alpha=0.15, lw=0)
    if len(line) == 1:
        error = arms(mean, low, high)
        axes.errorbar(alphas, mean, yerr=error, color=colour, capsize=3, elinewidth=1.2)
    axes.plot(alphas, mean, color=colour, lw=1.8, zorder=3)
    axes.plot(alphas, mean, marker, color=colour, ms=5, mec="white", zorder=4)


def _draw_chance(
    axes: Axes,
    line: pd.DataFrame,
    chance: pd.DataFrame,
    factor: float,
    colour: str,
    number: int,
) -> None:
    """Draws what choosing alone gives above the baseline: mean and 95 % range."""
    baseline = line.loc[line["alpha"] == 0, "mean"]
    if chance.empty or baseline.empty:
        return
    place = line["alpha"].max() + 0.06 + 0.03 * number
    gains = factor * chance[["mean", "low", "high"]].to_numpy()[0]
    mean, low, high = float(baseline.iloc[0]) + gains
    axes.plot([place, place], [low, high], color=colour, lw=3.5, alpha=0.4)
    axes.plot([place], [mean], "_", color=colour, ms=9, mew=2)


def _draw_baseline(
    axes: Axes, baseline: pd.DataFrame, colour: str, marker: str
) -> None:
    """Draws one main at alpha = 0: an open point, and a line at its level."""
    columns = ["place", "mean", "low", "high"]
    for place, mean, low, high in baseline[columns].to_numpy():
        axes.axhline(mean, color=colour, lw=1.0, ls=DASHED, alpha=0.8, zorder=2)
        axes.errorbar(
            [place],
            [mean],
            yerr=arms([mean], [low], [high]),
            fmt=marker,
            color=colour,
            mfc="white",
            mew=1.5,
            ms=6,
            capsize=3,
            elinewidth=1.2,
            zorder=5,
        )


def _ring_choices(
    axes: Axes, line: pd.DataFrame, alphas: pd.Series, crowded: set[float], colour: str
) -> None:
    """Rings the chosen alphas of one main, one per fold, and names them.

    Those in `crowded`, with another line closely above, are named below.
    """
    times_chosen = alphas.value_counts().rename("times")
    marked = line.merge(times_chosen, on="alpha")
    columns = ["alpha", "place", "mean", "times"]
    for alpha, place, mean, times in marked[columns].to_numpy():
        point = (place, mean)
        axes.plot(*point, "o", ms=12, mfc="none", mec=colour, mew=1.6, zorder=6)
        single, above = len(alphas) == 1, alpha not in crowded
        axes.annotate(
            f"{ALPHA} = {alpha:g}" if single else f"{times:.0f} of {len(alphas)}",
            point,
            (0, 10 if above else -10),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            color=colour,
            fontsize=9,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=7,
        )


def _finish_figure2(axes: Axes, metric: str, alphas: Sequence[float]) -> None:
    step = min(np.diff(alphas), default=0.1)
    left = min(alphas) - 0.6 * step
    axes.set_xlim(left, max(alphas) + max(0.6 * step, 0.13))  # bars of chance
    if 0.0 in alphas:
        axes.axvspan(left, 0.5 * step, color="#F4F4F4", lw=0, zorder=0)
        axes.text(
            0.0, 0.02, "baseline", transform=axes.get_xaxis_transform(), **SMALL_PRINT
        )
    ticks = alphas if len(alphas) <= 11 else alphas[:: len(alphas) // 10]
    decimals = max(len(f"{alpha:g}".partition(".")[2]) for alpha in ticks)
    axes.set_xticks(ticks, [f"{alpha:.{decimals}f}" for alpha in ticks])
    axes.margins(y=0.12)
    bottom, top = axes.get_ylim()
    best = notation(metric).factor  # no tick beyond the best possible score
    heights = np.asarray(MaxNLocator(6).tick_values(bottom, min(top, best)))
    axes.set_yticks(heights[(heights >= bottom) & (heights <= min(top, best))].tolist())
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_xlabel(f"weight {ALPHA} of the auxiliary modality in the joint loss")
    axes.set_ylabel(axis_title(metric))


def _label_lines(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Names each line at its right end, moving names that would overlap."""
    bottom, top = axes.get_ylim()
    gap = 0.055 * (top - bottom)
    height = -np.inf
    for main, (mean, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        height = max(mean, height + gap)
        axes.annotate(
            main,
            (1.0, height),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )


def _draw_lanes(
    axes: Axes, lanes: Sequence[pd.DataFrame], column: str, colours: ScalarMappable
) -> None:
    """Draws a panel of training curves, one line per lane, as one collection."""
    alphas = np.array([lane["alpha"].iloc[0] for lane in lanes])
    lines = LineCollection(
        [np.stack([lane["epoch"], lane[column]], axis=1) for lane in lanes],
        colors=colours.to_rgba(alphas),
        linewidths=0.5,
        alpha=0.7,
    )
    axes.add_collection(lines)
    if column == "dev_score":
        kept = pd.concat([lane[lane["best"].astype(bool)].tail(1) for lane in lanes])
        axes.scatter(
            kept["epoch"],
            kept[column],
            color=colours.to_rgba(kept["alpha"].to_numpy()),
            s=9,
            lw=0.3,
            edgecolors="white",
            zorder=3,
        )
    axes.autoscale_view()
    axes.grid(color=RULE, lw=0.5)


def _alpha_colours(alphas: pd.Series) -> ScalarMappable:
    """Maps alpha > 0 to a scale of colours, and alpha = 0 to one of its own."""
    positive = alphas[alphas > 0]
    smallest, largest = (positive.min(), positive.max()) if len(positive) else (1, 1)
    shades = mpl.colormaps["viridis"](np.linspace(0.9, 0, 256))
    colours = ListedColormap(shades).with_extremes(under=COLOURS[1])
    return ScalarMappable(Normalize(smallest / 2, largest), colours)


def joined(names: pd.Series) -> pd.Series:
    """Whether names are of several modalities."""
    return names.str.contains(JOIN, regex=False)


def _by_number(given: str) -> tuple[int, str]:
    """Sorts single modalities before joined ones."""
    return given.count(JOIN), given


def _looks(names: Sequence[str]) -> dict[str, Look]:
    """Chooses the look of the points of each modality, or of several joined."""
    alone = [name for name in names if JOIN not in name]
    looks: dict[str, Look] = {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "ls": "",
        }
        for i, name in enumerate(alone)
    }
    most = max((name.count(JOIN) for name in names), default=0)
    without = cycle(WITHOUT)
    for name in names:
        if JOIN in name:
            marker = "X" if name.count(JOIN) == most else next(without)
            looks[name] = {"color": INK, "marker": marker, "ls": ""}
    return looks


def _aside(name: str, looks: Mapping[str, Look]) -> float:
    """Returns how far a modality's points lie from the middle of their row."""
    alone = [key for key in looks if JOIN not in key]
    return APART * (alone.index(name) - (len(alone) - 1) / 2) if name in alone else 0.0


def _draw_points(
    axes: Axes,
    rows: Sequence[Mapping[Any, Any]],
    column: str,
    height: int,
    looks: Mapping[str, Look],
) -> None:
    """Draws means with their intervals in a row, spread by the value of `column`."""
    for row in rows:
        axes.errorbar(
            row["mean"],
            height + _aside(row[column], looks),
            xerr=arms([row["mean"]], [row["low"]], [row["high"]]),
            elinewidth=1,
            capsize=2,
            **looks[row[column]],
        )


def _make_rows(
    titles: Sequence[str], targets: Sequence[str], row: float
) -> tuple[Figure, dict[str, Axes]]:
    """Makes one panel per target, side by side, with rows of height `row` [inch]."""
    letters = max(len(line) for title in titles for line in title.splitlines())
    left, top = 0.4 + LETTER * letters, 0.7 if len(targets) > 1 else 0.45
    size = (max(left + 3.6 * len(targets), 6.4), top + 0.65 + row * len(titles))
    figure = Figure(figsize=size)
    grid = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    _set_margins(figure, left, 0.2, 0.55, top)
    figure.subplots_adjust(wspace=0.08)
    for axes, target in zip(grid, targets, strict=True):
        axes.set_yticks(range(len(titles)), titles)
        axes.set_ylim(len(titles) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=RULE, lw=0.6)
        axes.locator_params(axis="x", nbins=6)
        if len(targets) > 1:
            axes.set_title(target)
    return figure, dict(zip(targets, grid, strict=True))


def _draw_key(figure: Figure, looks: Mapping[str, Look]) -> None:
    figure.legend(
        handles=[Line2D([], [], label=name, **look) for name, look in looks.items()],
        loc="upper left",
        ncols=min(len(looks), 5),
        fontsize=8.5,
        handletextpad=0.4,
        columnspacing=1.2,
    )


def _make_panels(result: Result) -> tuple[Figure, dict[str, Axes]]:
    """Makes one panel per target, with the dev score as y axis."""
    targets, metric = result.targets, result.scorer.metric
    figure = Figure(figsize=(4.1 * len(targets) + 0.6, 3.3), layout="constrained")
    panels = dict(
        zip(targets, figure.subplots(1, len(targets), squeeze=False)[0], strict=True)
    )
    for target, axes in panels.items():
        axes.set_title(target)
        axes.grid(axis="y", color=RULE, lw=0.6)
    panels[targets[0]].set_ylabel(f"{axis_title(metric)} on dev")
    return figure, panels


def _name_lines(figure: Figure, columns: int) -> None:
    """Puts the legend of the first panel below all panels."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _draw_trace(axes: Axes, frame_step: float, trace: Trace) -> None:
    """Draws a panel: gold standard and predictions over the range of the raters."""
    stride = max(1, len(trace.gold) // MOST_POINTS)
    time = frame_step * np.arange(len(trace.gold))[::stride]
    if len(trace.raters):
        low, high = _range(trace.raters[:, ::stride])
        axes.fill_between(
            time, low, high, color="#E4E4E4", lw=0, label="raters' range", zorder=1
        )
    axes.plot(time, trace.gold[::stride], color=INK, lw=1.3, label="gold standard")
    for system, values in trace.predictions.items():
        name, colour = CURVES[system]
        shown = values[:, ::stride]
        if len(shown) > 1:
            low, high = _range(shown)
            axes.fill_between(time, low, high, color=colour, alpha=0.18, lw=0, zorder=2)
        width = 1.1 + WIDER * (system == BASELINE_KEY)
        axes.plot(time, shown.mean(0), color=colour, lw=width, label=name, zorder=3)
    axes.set_title(trace.title, fontsize=9.5, pad=3)
    axes.grid(color=RULE, lw=0.5)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.margins(y=0.05)


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value over the first axis, without NaN."""
    return np.fmin.reduce(values), np.fmax.reduce(values)


def _draw_delay(
    axes: Axes, tuning: pd.DataFrame, metric: str, main: str, i: int
) -> None:
    """Draws one main over the delay: mean and 95 % interval over seeds."""
    colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    chosen = tuning[tuning["chosen"].astype(bool)]
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


def label_minutes(axes: Axes, seconds: float) -> None:
    """Labels a time axis of so many seconds at full seconds or minutes, as min:s."""
    step = next((s for s in TIME_STEPS if seconds <= 10 * s), TIME_STEPS[-1])
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(clock))
    axes.set_xlabel("time [min:s]")


def clock(seconds: float, _: Any = None) -> str:
    """Writes a time as min:s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:d}:{rest:02d}"
