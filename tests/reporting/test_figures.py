from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from results import make_result

from ifusion.reporting import figures
from ifusion.reporting.figures import (
    Trace,
    draw_confusion,
    draw_controls,
    draw_delays,
    draw_gains,
    draw_missing_modality,
    draw_traces,
    draw_training_curves,
    figure2,
    render_figure,
    save_figure,
)


def points(axes):
    """Positions of single points, as `errorbar` draws them."""
    return [
        tuple(float(x[0]) for x in bar.lines[0].get_data()) for bar in axes.containers
    ]


def test_figure2_shows_means_and_intervals(many):
    axes = figure2(many).axes[0]
    curve = many.curve.query("metric == 'uar' and main == 'audio'")
    means = 100 * curve.groupby("alpha")["value"].mean()
    line = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    np.testing.assert_array_equal(line.get_xdata(), [0.5, 1.0])  # alpha = 0 apart
    np.testing.assert_allclose(line.get_ydata(), means[[0.5, 1.0]])
    assert points(axes)[0][1] == pytest.approx(means[0.0])
    bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert max(band.max() for band in bands) <= 100  # no score reaches beyond
    texts = {text.get_text() for text in axes.texts}
    assert texts == {"baseline", "audio", "video", "2 of 2"}


def test_figure2_has_a_panel_a_target(regression):
    panels = figure2(regression).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["arousal", "valence"]
    texts = {text.get_text() for text in panels[0].texts}
    assert f"{figures.ALPHA} = 0.5" in texts


def test_a_chosen_alpha_is_named_below_where_a_line_is_closely_above():
    axes = Figure().add_subplot()
    line = pd.DataFrame({"alpha": [0.0, 1.0], "place": [0.0, 1.0], "mean": [3.0, 4.0]})
    chosen = pd.Series([0.0, 1.0], name="alpha")
    figures._ring_choices(axes, line, chosen, {1.0}, "blue")
    assert [text.get_va() for text in axes.texts] == ["bottom", "top"]


def test_a_baseline_shows_under_an_equal_line(regression):
    lines = figures.draw_gains(regression).axes[0].lines
    widths = {line.get_label().split(",")[0]: line.get_linewidth() for line in lines}
    assert widths["baseline"] > widths["implicit fusion"]


def test_figure2_needs_implicit_fusion():
    with pytest.raises(ValueError, match="no scores of implicit fusion"):
        figure2(make_result(systems=("baseline", "svm")))


def test_labels_of_lines_do_not_overlap(many):
    axes = figure2(many).axes[0]
    heights = [t.xy[1] for t in axes.texts if t.get_text() in ("audio", "video")]
    bottom, top = axes.get_ylim()
    assert abs(np.diff(heights)) > 0.05 * (top - bottom)


def test_a_missing_modality_is_drawn_beside_the_baseline(many):
    axes = draw_missing_modality(many).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "Implicit fusion, $noise$" not in labels  # a control
    scores = many.scores.query(
        "system == 'early_fusion' and partition == 'test' and metric == 'uar'"
    )
    row = labels.index("Early fusion")
    found = sorted(x for x, y in points(axes) if round(y) == row)
    assert found == pytest.approx(sorted(100 * scores["mean"]))


def test_controls_are_drawn_with_their_intervals(many):
    axes = draw_controls(many).axes[0]
    frame = many.differences.query("reference == 'control_noise'")
    frame = frame[frame["partition"] == "test"]
    assert sorted(x for x, _ in points(axes)) == pytest.approx(
        sorted(100 * frame["estimate"])
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "RNN (implicit fusion)\nminus implicit fusion, $noise$"
    ]


def test_confusion_rows_are_shares_of_labels():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    axes = draw_confusion(counts, ("a", "b", "$c"), "title").axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown, [[75, 25, 0], [0, 0, 0], [25, 25, 50]])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a (4)", "b (0)", "$c (8)"]


def test_training_curves_draw_every_run_and_its_kept_epoch(many):
    panels = draw_training_curves(many, "emotion").axes[:6]
    for panel in panels:
        assert len(panel.collections[0].get_segments()) == 2 * 2 * 4  # folds, seeds
    segment = panels[0].collections[0].get_segments()[0]
    np.testing.assert_allclose(segment, [[1, 1], [2, 1 / 2], [3, 1 / 3]])
    dots = panels[2].collections[1].get_offsets()
    np.testing.assert_allclose(dots[:, 0], 2)


def test_delays_ring_what_was_chosen(regression):
    axes = draw_delays(regression).axes[0]
    line, ring = axes.lines[:2]
    np.testing.assert_allclose(line.get_xdata(), [0, 0.4, 0.8])
    np.testing.assert_allclose(line.get_ydata(), [0.3, 0.5, 0.3])
    assert list(ring.get_xdata()) == [0.4]


def test_gains_are_drawn_step_by_step(regression):
    line = draw_gains(regression).axes[0].lines[0]
    assert list(line.get_xdata()) == ["raw", "median", "centre"]
    np.testing.assert_allclose(line.get_ydata(), [0.5, 0.6, 0.6])


def test_traces_are_means_over_seeds():
    gold = np.array([0.0, 1.0, np.nan, 3.0])
    predictions = {"baseline": np.array([[1.0, 1, 1, 1], [3, 3, 3, 3]])}
    trace = Trace("$a$ from b", gold, np.stack([gold - 1, gold + 1]), predictions)
    axes = draw_traces("r $1", 0.04, [trace]).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), gold)
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [2, 2, 2, 2])
    assert len(axes.collections) == 2  # raters and seeds


def test_save_figure_writes_both_files_alike_each_time(tmp_path):
    for stem in ("fig.v1", "fig.v2"):
        figure = draw_confusion(np.eye(2), ("a", "b"), "title")
        svg = save_figure(figure, tmp_path / stem)
    assert (tmp_path / "fig.v2.svg").read_bytes() == svg
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    png = (tmp_path / "fig.v2.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert png == (tmp_path / "fig.v1.png").read_bytes()
    assert svg == (tmp_path / "fig.v1.svg").read_bytes()


@pytest.mark.parametrize("name", ["$\\frac{$", "$x_1$", "^_{\\", "<b>&", "w" * 5000])
def test_any_name_is_drawn_as_text(name):
    drawn = draw_confusion(np.eye(2), [name, "q"], f"{name[:40]}, baseline")
    assert len(render_figure(drawn, "svg")) > 0
    assert drawn.get_figwidth() < 10
    labels = [text.get_text() for text in drawn.axes[0].get_xticklabels()]
    assert labels == [name if len(name) < 40 else f"{name[:39]}…", "q"]
    trace = Trace(f"{name[:40]} from audio", np.zeros(9), np.zeros((0, 9)), {})
    assert render_figure(draw_traces(name, 0.04, [trace]), "svg")


def test_titles_of_systems_are_text_never_mathematics(many):
    entries = [replace(x, title="broken $\\frac{$", control="") for x in many.systems]
    figure = draw_missing_modality(replace(many, systems=tuple(entries)))
    assert len(render_figure(figure, "svg")) > 1000
