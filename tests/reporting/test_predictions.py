"""Predictions as people read them."""

import numpy as np
import pandas as pd
import pytest

from ifusion.reporting.predictions import (
    describe_predictions,
    draw_curves,
    write_predictions,
)

CLASSES = ("calm", "tense", "glad")


@pytest.fixture
def rows():
    chances = {"calm": [0.2, 0.7], "tense": [0.5, 0.1], "glad": [0.3, 0.2]}
    return pd.DataFrame({"emotion": ["tense", "calm"], **chances})


@pytest.fixture
def curves():
    time = np.tile(0.5 * np.arange(240), 2)
    values = {"arousal": np.sin(time), "valence": np.full(480, 0.25)}
    names = np.repeat(["a/b", "c"], 240)
    return pd.DataFrame({"recording": names, "time": time, **values})


def test_a_class_is_said_with_its_chances(rows):
    lines = describe_predictions(rows, ("emotion",), CLASSES)
    assert lines[0] == "row 1: tense (tense 50 %, glad 30 %, calm 20 %)"
    named = rows.assign(recording=["u1", "u2"])
    assert describe_predictions(named, ("emotion",), CLASSES)[1].startswith(
        "u2: calm (calm 70"
    )


def test_a_value_is_said_as_it_is():
    table = pd.DataFrame({"sentiment": [1.23456, 4.0]})
    assert describe_predictions(table, ("sentiment",), ()) == [
        "row 1: sentiment 1.235",
        "row 2: sentiment 4.000",
    ]


def test_a_curve_is_said_by_its_range(curves):
    lines = describe_predictions(curves, ("arousal", "valence"), ())
    assert len(lines) == 2
    assert lines[0].startswith("a/b, 2:00 min: arousal ")
    assert lines[0].endswith("valence 0.250 (0.250 to 0.250)")


def test_long_answers_are_cut_and_say_so(rows):
    table = pd.concat([rows] * 15, ignore_index=True)
    lines = describe_predictions(table, ("emotion",), CLASSES)
    assert len(lines) == 21 and lines[-1] == "... and 10 more"


def test_files_are_a_table_and_a_picture_a_recording(curves, tmp_path):
    written = write_predictions(tmp_path / "out", curves, ("arousal", "valence"))
    assert [path.name for path in written] == ["predictions.csv", "a_b.png", "c.png"]
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in written[1:])
    pd.testing.assert_frame_equal(pd.read_csv(written[0]), curves)


def test_a_picture_has_a_line_a_target(curves):
    part = curves[curves["recording"] == "c"]
    figure = draw_curves("c", part, ("arousal", "valence"))
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["arousal", "valence"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), part["arousal"])


@pytest.mark.parametrize(
    ("seconds", "step", "last"),
    [(3, 1, "0:03"), (20, 2, "0:20"), (125, 15, "2:00"), (7200, 900, "120:00")],
)
def test_ticks_are_whole_seconds_or_minutes(curves, seconds, step, last):
    part = curves[curves["recording"] == "c"]
    part = part.assign(time=np.linspace(0, seconds, len(part)))
    figure = draw_curves("c", part, ("arousal",))
    figure.canvas.draw()
    (axes,) = figure.axes
    shown = [t for t in axes.get_xticks() if 0 <= t <= seconds]
    np.testing.assert_allclose(np.diff(shown), step)
    assert last in [label.get_text() for label in axes.get_xticklabels()]


def test_classes_have_no_picture(rows, tmp_path):
    written = write_predictions(tmp_path, rows, ("emotion",))
    assert [path.name for path in written] == ["predictions.csv"]


def test_failures_of_an_earlier_call_do_not_stay(tmp_path):
    table = pd.DataFrame({"emotion": ["calm"]})
    write_predictions(tmp_path, table, ["emotion"], {"b.wav": "it is damaged"})
    assert (tmp_path / "failures.csv").exists()
    write_predictions(tmp_path, table, ["emotion"])
    assert not (tmp_path / "failures.csv").exists()
