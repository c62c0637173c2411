import pandas as pd
import pytest

from ifusion.reporting.page import with_settings

KEYS = {"fold": "0", "main": "audio", "target": "emotion"}


def tuning_frame(rows):
    columns = ["alpha", "l2", "delay_seconds", "chosen"]
    return pd.DataFrame([KEYS | dict(zip(columns, row, strict=True)) for row in rows])


@pytest.fixture
def choices():
    return pd.DataFrame([KEYS | {"alpha": 0.5, "dev_score": 0.6}])


def test_settings_of_the_baseline_are_those_of_all(choices):
    tuning = tuning_frame([(0, 0.1, 0, False), (0, 0.2, 0, True), (0, 0.2, 0, True)])
    (row,) = with_settings(choices, tuning).to_dict("records")
    assert row == choices.iloc[0].to_dict() | {"l2": "0.2"}


def test_settings_of_an_alpha_stand_beside_those_of_the_baseline(choices):
    tuning = tuning_frame(
        [
            *[(0, 0.1, 2.4, True), (0, 0.2, 0.4, False)],
            *[(0.5, 0.1, 2.4, False), (0.5, 0.2, 0.4, True)],
        ]
    )
    (row,) = with_settings(choices, tuning).to_dict("records")
    assert (row["l2"], row["l2 at alpha = 0"]) == ("0.2", "0.1")
    assert (row["delay [s]"], row["delay [s] at alpha = 0"]) == ("0.4", "2.4")


def test_without_a_choice_nothing_is_added(choices):
    empty = tuning_frame([(0, 0.1, 0.0, True)]).iloc[:0]
    pd.testing.assert_frame_equal(with_settings(choices, empty), choices)
