"""The figures of a run, drawn without pyplot's global state.

Colours are those of Okabe and Ito, told apart by the colour-blind; markers differ too,
so that a grey print can be read.

Axes: K classes.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ifusion.evaluation.scores import LANE
from ifusion.evaluation.significance import seed_intervals
from ifusion.reporting.wording import METRIC_TITLES, axis_title, bounds, notation
from ifusion.storage import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, GREY, RULE = "#222222", "#666666", "#DDDDDD"
STYLE: Any = {  # matplotlib types the keys of an rc mapping one by one
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
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
    "svg.hashsalt": "ifusion",  # the same figure is the same file
}
SMALL_PRINT: Any = {"fontsize": 7.5, "color": GREY, "ha": "center"}
LETTER = 0.08  # [inch], mean width of a letter of 10 points
RESOLUTION = 200  # [dots per inch]


def draw_figure2(
    scores: pd.DataFrame, metric: str, mains: Sequence[str], choices: pd.DataFrame
) -> Figure:
    """Draws the score over alpha, a line a main, as Fig. 2 of the paper.

    The band is the 95 % t-interval of the mean over seeds. The point at alpha = 0, the
    baseline, stands apart, since it is no limit of the others: without any loss of its
    own the auxiliary branch does not move at all.

    Args:
      scores: tidy scores of one partition; several folds are averaged for each seed.
        Seeds with a failed lane (NaN) are left out of their point.
      metric: name of the metric to draw.
      mains: the lines, in order.
      choices: of `choose_alpha`, marked by rings; with several folds a ring says how
        many of them chose it.

    Returns:
      The figure, scores in the notation of the metric.
    """
    curves = _curves(scores, metric)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        ends = {}
        for i, main in enumerate(mains):
            curve = curves[curves["main"] == main].dropna(subset="mean")
            if curve.empty:
                continue
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            _draw_line(axes, curve[curve["alpha"] > 0], colour, marker)
            side_step = 0.006 * (2 * i + 1 - len(mains))  # bars of two mains overlap
            baseline = curve[curve["alpha"] == 0].assign(alpha=side_step)
            _draw_baseline(axes, baseline, colour, marker)
            _ring_choices(axes, curve, choices[choices["main"] == main], colour)
            ends[main] = (float(curve["mean"].iloc[-1]), colour)
        num_seeds = scores["seed"].nunique()
        _finish_figure2(axes, metric, sorted(set(curves["alpha"])), num_seeds)
        _label_lines(axes, ends, float(curves["alpha"].max()))
    return figure


def draw_confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Draws a confusion matrix, each row in % of the labels of its class.

    Args:
      counts: (K, K), rows labels and columns predictions; means over seeds are fine.
      classes: K names in code order.
      title: above the matrix.

    Returns:
      The figure.
    """
    counts = np.asarray(counts, np.float64)
    support = counts.sum(1, keepdims=True)
    shares = 100 * counts / np.where(support > 0, support, 1)
    rows = [f"{c} ({n:.0f})" for c, n in zip(classes, support[:, 0], strict=True)]
    left = 0.45 + LETTER * max(map(len, rows))
    bottom = 0.5 + 0.75 * LETTER * max(map(len, classes))  # slanting by 45 degrees
    cells = 0.42 * len(classes)
    with mpl.rc_context(STYLE):
        width = max(left + cells + 0.1, 1.2 * LETTER * len(title))
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
        top = 1 - 0.08 / figure.get_figheight()
        figure.suptitle(title, x=0, y=top, ha="left", fontsize=11, fontweight="bold")
    return figure


def draw_training_curves(
    history: pd.DataFrame, metric: str, mains: Sequence[str]
) -> Figure:
    """Draws losses and dev score over epochs, a thin line a lane, coloured by alpha.

    A row a main; a column a modality's training loss, then the dev score, on which a
    dot marks the epoch whose parameters were kept.

    Args:
      history: a row a lane and epoch: main, alpha, seed, epoch, loss_<modality>...,
        dev_score, best.
      metric: name of the metric that dev_score holds.
      mains: the rows, in order.

    Returns:
      The figure, dev scores in the notation of the metric.
    """
    losses = [c for c in history.columns if c.startswith("loss_")]
    columns = [*losses, "dev_score"]
    shape = (len(mains), len(columns))
    size = (2.9 * shape[1] + 1.2, 2.2 * shape[0] + 0.7)
    keys = [c for c in LANE if c in history.columns]
    dev_score = notation(metric).factor * history["dev_score"]
    history = history.assign(dev_score=dev_score).sort_values("epoch")
    colours = _alpha_colours(history["alpha"])
    with mpl.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=size)
        grid = figure.subplots(*shape, sharex=True, sharey="col", squeeze=False)
        _set_margins(figure, 0.65, 0.9, 0.45, 0.3)
        figure.subplots_adjust(wspace=0.2, hspace=0.12)
        for row, main in enumerate(mains):
            lanes = [lane for _, lane in history[history["main"] == main].groupby(keys)]
            for column, name in enumerate(columns):
                _draw_lanes(grid[row, column], lanes, name, colours)
            grid[row, 0].set_ylabel(f"main: {main}", fontweight="bold")
        for column, name in enumerate(columns):
            modality = name.removeprefix("loss_")
            dev = f"{METRIC_TITLES.get(metric, metric)} on dev{notation(metric).unit}"
            grid[0, column].set_title(
                dev if name == "dev_score" else f"training loss of {modality}",
                fontsize=10,
                fontweight="normal",
            )
            grid[-1, column].set_xlabel("epoch")
            grid[-1, column].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        place = (1 - 0.72 / size[0], 0.45 / size[1], 0.16 / size[0], 1 - 0.75 / size[1])
        bar = figure.colorbar(colours, cax=figure.add_axes(place), extend="min")
        bar.set_label(r"$\alpha$ (the tip: $\alpha$ = 0)")
    return figure


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Writes a figure as PNG and SVG, each whole or not at all.

    Args:
      figure: to be written.
      stem: path without an ending.

    Returns:
      The paths of the PNG and the SVG.
    """
    paths = (stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg"))
    write_atomically(paths[0], render_figure(figure, "png"))
    write_atomically(paths[1], render_figure(figure, "svg"))
    return paths


def in_notation(means: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Brings means and their intervals into the notation of a metric.

    Args:
      means: with the columns mean, low and high, as of `seed_intervals`.
      metric: what they are means of.

    Returns:
      The same rows; no interval reaches beyond the scores that there can be.
    """
    factor, reach = notation(metric).factor, bounds(metric)
    drawn = {name: factor * means[name].clip(*reach) for name in ("low", "high")}
    return means.assign(mean=factor * means["mean"], **drawn)


def interval_arms(mean: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """How far intervals reach below and above their means: 3 x (N,) -> (2, N)."""
    middle = np.asarray(mean)
    return np.maximum([middle - np.asarray(low), np.asarray(high) - middle], 0)


def render_figure(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Renders a figure as a file without date, so that a figure is the same bytes.

    Args:
      figure: to be rendered.
      form: "png" or "svg".

    Returns:
      The contents of the file.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=form, dpi=RESOLUTION, metadata=metadata)
    return buffer.getvalue()


def _set_margins(
    figure: Figure, left: float, right: float, bottom: float, top: float
) -> None:
    """Leaves room [inch] round the axes; a layout engine takes longer than drawing."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
    )


def _curves(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Means over seeds as they are drawn: main, alpha, mean, low, high."""
    chosen = scores[scores["metric"] == metric]
    folds = chosen.groupby(["main", "alpha", "seed"])["value"]
    seeds = folds.mean().where(folds.count() == folds.size())
    means = seed_intervals(seeds.groupby(["main", "alpha"]))
    return in_notation(means, metric).reset_index()


def _draw_line(axes: Axes, line: pd.DataFrame, colour: str, marker: str) -> None:
    """One main over alpha > 0: its line and band, or bar where there is one alpha."""
    alphas, mean, low, high = (line[name] for name in ("alpha", "mean", "low", "high"))
    axes.fill_between(alphas, low, high, color=colour, alpha=0.15, lw=0)
    if len(line) == 1:
        error = interval_arms(mean, low, high)
        axes.errorbar(alphas, mean, yerr=error, color=colour, capsize=3, elinewidth=1.2)
    axes.plot(alphas, mean, color=colour, lw=1.8, zorder=3)
    axes.plot(alphas, mean, marker, color=colour, ms=5, mec="white", zorder=4)


def _draw_baseline(
    axes: Axes, baseline: pd.DataFrame, colour: str, marker: str
) -> None:
    """One main at alpha = 0: an open point, and its level all the way."""
    columns = ["alpha", "mean", "low", "high"]
    for place, mean, low, high in baseline[columns].to_numpy():
        axes.axhline(mean, color=colour, lw=1.0, ls=(0, (5, 3)), alpha=0.8, zorder=2)
        axes.errorbar(
            [place],
            [mean],
            yerr=interval_arms([mean], [low], [high]),
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
    axes: Axes, curve: pd.DataFrame, choices: pd.DataFrame, colour: str
) -> None:
    """Rings the chosen alphas of one main."""
    num_folds = len(choices)
    times_chosen = choices["alpha"].value_counts().rename("times")
    marked = curve.merge(times_chosen, on="alpha")
    for alpha, mean, times in marked[["alpha", "mean", "times"]].to_numpy():
        point = (alpha, mean)
        axes.plot(*point, "o", ms=12, mfc="none", mec=colour, mew=1.6, zorder=6)
        text = (
            rf"$\boldsymbol{{\alpha}}$ = {alpha:g}"
            if num_folds == 1
            else f"{times:.0f} of {num_folds}"
        )
        axes.annotate(
            text,
            point,
            (0, 10),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontsize=9,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=7,
        )


def _finish_figure2(
    axes: Axes, metric: str, alphas: Sequence[float], num_seeds: int
) -> None:
    """Ticks, labels and the key of Fig. 2."""
    step = min(np.diff(alphas), default=0.1)
    left = min(alphas) - 0.6 * step
    axes.set_xlim(left, max(alphas) + 0.6 * step)
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
    best = notation(metric).factor  # beyond which there is room, but no score
    heights = np.asarray(MaxNLocator(6).tick_values(bottom, min(top, best)))
    axes.set_yticks(heights[(heights >= bottom) & (heights <= min(top, best))].tolist())
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(r"weight $\alpha$ of the auxiliary modality in the joint loss")
    axes.set_ylabel(axis_title(metric))
    over = (
        "one seed" if num_seeds == 1 else f"mean and 95 % interval, {num_seeds} seeds"
    )
    axes.set_title(
        rf"{over} · ring: chosen on dev · dashed, open: baseline $\alpha$ = 0",
        fontsize=8.5,
        fontweight="normal",
        color=GREY,
    )


def _label_lines(
    axes: Axes, ends: Mapping[str, tuple[float, str]], last_alpha: float
) -> None:
    """Names each line at its right end, moved apart where two would overlap."""
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
    """One panel of the training curves: a line a lane, drawn as one collection."""
    alphas = np.array([lane["alpha"].iloc[0] for lane in lanes])
    lines = LineCollection(
        [np.stack([lane["epoch"], lane[column]], axis=1) for lane in lanes],
        colors=colours.to_rgba(alphas),
        linewidths=0.5,
        alpha=0.7,
    )
    axes.add_collection(lines)
    if column == "dev_score":
        kept = pd.concat([lane[lane["best"]].tail(1) for lane in lanes])
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
    axes.set_axisbelow(True)


def _alpha_colours(alphas: pd.Series) -> ScalarMappable:
    """Colours of alpha > 0 in order of size, and one of its own for alpha = 0."""
    positive = alphas[alphas > 0]
    smallest, largest = (positive.min(), positive.max()) if len(positive) else (1, 1)
    shades = mpl.colormaps["viridis"](np.linspace(0.9, 0, 256))
    colours = ListedColormap(shades).with_extremes(under=COLOURS[1])
    return ScalarMappable(Normalize(smallest / 2, largest), colours)
