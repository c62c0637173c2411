import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ifusion.reporting import figures
from ifusion.reporting.figures import (
    draw_confusion,
    draw_figure2,
    draw_training_curves,
    render_figure,
    save_figure,
)

ALPHAS = (0.0, 0.1, 0.5, 1.0)


def score_frame(folds=("fixed",), mains=("audio", "video"), alphas=ALPHAS, seeds=4):
    rng = np.random.default_rng(0)
    rows = [
        (fold, main, "emotion", alpha, seed, "dev", "micro_f1", rng.uniform(0.4, 0.6))
        for fold in folds
        for main in mains
        for alpha in alphas
        for seed in range(seeds)
    ]
    columns = [
        "fold",
        "main",
        "target",
        "alpha",
        "seed",
        "partition",
        "metric",
        "value",
    ]
    return pd.DataFrame(rows, columns=columns)


def choice_frame(alphas_of_folds, main="audio"):
    return pd.DataFrame({"main": main, "alpha": alphas_of_folds})


def line_at(axes, alpha):
    """The mean that a curve shows at an alpha."""
    for line in axes.lines:
        x, y = line.get_data()
        if len(x) > 1 and alpha in x and len(set(y)) > 1:
            return y[list(x).index(alpha)]
    raise AssertionError("no curve")


def test_figure2_shows_mean_and_t_interval():
    scores = score_frame(mains=("audio",))
    axes = draw_figure2(scores, "micro_f1", ("audio",), choice_frame([0.5])).axes[0]
    values = 100 * scores.loc[scores["alpha"] == 0.5, "value"]
    assert line_at(axes, 0.5) == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    band = axes.collections[0].get_paths()[0].vertices
    at_half = band[np.isclose(band[:, 0], 0.5), 1]
    assert at_half.min() == pytest.approx(low)
    assert at_half.max() == pytest.approx(high)


def test_figure2_draws_no_score_above_100_percent():
    scores = score_frame(mains=("audio",), seeds=2)
    scores["value"] = np.where(scores["seed"] == 0, 0.99, 0.9)  # ends at 151.7
    axes = draw_figure2(scores, "micro_f1", ("audio",), choice_frame([0.5])).axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(94.5 - 57.18, abs=0.01)
    assert band[:, 1].max() == 100
    (bar,) = (bars for bars in axes.containers if hasattr(bars, "has_yerr"))
    (segment,) = bar.lines[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 1], [94.5 - 57.18, 100], atol=0.01)


def test_figure2_keeps_alpha_0_apart():
    axes = draw_figure2(
        score_frame(mains=("audio",)), "micro_f1", ("audio",), choice_frame([0.5])
    ).axes[0]
    curve = next(line for line in axes.lines if len(line.get_xdata()) == 3)
    np.testing.assert_array_equal(curve.get_xdata(), [0.1, 0.5, 1.0])


def test_figure2_averages_folds_and_leaves_failed_seeds_out():
    scores = score_frame(folds=("0", "1"), mains=("audio",))
    lost = (scores["fold"] == "1") & (scores["alpha"] == 0.5) & (scores["seed"] == 2)
    scores.loc[lost, "value"] = np.nan
    axes = draw_figure2(scores, "micro_f1", ("audio",), choice_frame([0.5, 1])).axes[0]
    kept = scores[(scores["alpha"] == 0.5) & (scores["seed"] != 2)]
    assert line_at(axes, 0.5) == pytest.approx(100 * kept["value"].mean())


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [([0.5], {" = 0.5"}), ([0.5, 0.5, 1.0], {"2 of 3", "1 of 3"}), ([np.nan], set())],
)
def test_figure2_rings_the_choices(chosen, expected):
    axes = draw_figure2(
        score_frame(mains=("audio",)), "micro_f1", ("audio",), choice_frame(chosen)
    ).axes[0]
    texts = {text.get_text().split("$")[-1] for text in axes.texts}
    assert texts - {"baseline", "audio"} == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"alphas": (0.0, 1.0)},
        {"alphas": (0.5,)},
        {"alphas": (0.0,)},
        {"seeds": 1},
        {"mains": ("audio", "video", "face", "pose", "text", "eda", "ecg")},
        {"alphas": tuple(np.linspace(0, 1, 21))},
    ],
)
def test_figure2_of_any_sweep(changes):
    scores = score_frame(**changes)
    mains = tuple(dict.fromkeys(scores["main"]))
    figure = draw_figure2(scores, "micro_f1", mains, choice_frame([0.5]))
    assert len(render_figure(figure, "svg")) > 1000


def test_figure2_labels_do_not_overlap():
    scores = score_frame(mains=("a", "b", "c"))
    scores["value"] = 0.5 + 0.001 * scores["seed"]
    axes = draw_figure2(scores, "micro_f1", ("a", "b", "c"), choice_frame([0.5])).axes[
        0
    ]
    heights = sorted(t.xy[1] for t in axes.texts if t.get_text() in {"a", "b", "c"})
    bottom, top = axes.get_ylim()
    assert min(np.diff(heights)) > 0.05 * (top - bottom)


def test_confusion_rows_are_shares_of_labels():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    axes = draw_confusion(counts, ("a", "b", "c"), "title").axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown, [[75, 25, 0], [0, 0, 0], [25, 25, 50]])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a (4)", "b (0)", "c (8)"]


def history_frame(alphas=ALPHAS):
    rows = [
        ("fixed", main, "emotion", alpha, seed, epoch, 2 / epoch, 1.0, 0.1 * epoch)
        for main in ("audio", "video")
        for alpha in alphas
        for seed in (0, 1)
        for epoch in (2, 1, 3)
    ]
    columns = "fold main target alpha seed epoch loss_audio loss_video dev_score"
    frame = pd.DataFrame(rows, columns=columns.split())
    return frame.assign(best=frame["epoch"] < 3)


def test_training_curves_draw_every_lane_and_its_kept_epoch():
    history = history_frame()
    figure = draw_training_curves(history, "micro_f1", ("audio", "video"))
    panels = figure.axes[:6]
    for panel in panels:
        assert len(panel.collections[0].get_segments()) == 8
    first = panels[0].collections[0].get_segments()[0]
    np.testing.assert_allclose(first, [[1, 2], [2, 1], [3, 2 / 3]])
    dots = panels[2].collections[1].get_offsets()
    np.testing.assert_allclose(dots, [[2, 20]] * 8)


@pytest.mark.parametrize("alphas", [(0.0,), (0.0, 1.0), (0.5,)])
def test_training_curves_of_any_sweep(alphas):
    history = history_frame(alphas)
    history.loc[history["epoch"] == 3, ["loss_audio", "dev_score"]] = np.nan
    figure = draw_training_curves(history, "micro_f1", ("audio", "video"))
    assert len(render_figure(figure, "svg")) > 1000


def test_save_figure_writes_both_files_alike_each_time(tmp_path):
    for stem in ("fig.v1", "fig.v2"):
        figure = draw_confusion(np.eye(2), ("a", "b"), "title")
        png, svg = save_figure(figure, tmp_path / stem)
    assert (png.name, svg.name) == ("fig.v2.png", "fig.v2.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg.read_bytes()).tag.endswith("svg")
    assert png.read_bytes() == (tmp_path / "fig.v1.png").read_bytes()
    assert svg.read_bytes() == (tmp_path / "fig.v1.svg").read_bytes()


def test_needs_no_pyplot():
    code = (
        f"import sys, {figures.__name__}\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
