import math

import pandas as pd
import pytest

from ifusion.reporting.wording import (
    MINUS,
    axis_title,
    coefficient,
    evidence,
    headline,
    listed,
    p_value,
    points,
    score,
    signed_coefficient,
    verdict,
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (score(0.5123, 0.008), "51.2 ± 0.8"),
        (score(0.5123), "51.2"),
        (score(math.nan), "—"),
        (points(0.0123), "+1.2"),
        (points(-0.0123), f"{MINUS}1.2"),
        (points(-0.0001), "0.0"),
        (points(math.nan), "—"),
        (p_value(0.0123), "p = .012"),
        (p_value(0.0001), "p < .001"),
        (p_value(1.0), "p = 1"),
        (p_value(math.nan), "—"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_in_words(found, expected):
    assert found == expected


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (0.01, 0.03, 0.01, "gain"),
        (-0.03, -0.01, 0.01, "loss"),
        (-0.01, 0.03, 0.01, "no clear difference"),
        (0.01, 0.03, 0.06, "no clear difference"),
        (0.0, 0.0, 1.0, "no clear difference"),
        (math.nan, math.nan, math.nan, "nothing"),
    ],
)
def test_verdict_needs_interval_and_p_value(low, high, p, expected):
    difference = {"low": low, "high": high, "p_value": p}
    assert verdict({**difference, "clusters": 6}) == expected
    assert verdict({**difference, "clusters": 5}) == "nothing"


def test_evidence():
    numbers = {"estimate": 0.012, "low": -0.003, "high": 0.027, "p_value": 0.12}
    expected = f"+1.2 points, 95 % interval {MINUS}0.3 to +2.7, p = .120"
    assert evidence({"metric": "micro_f1", **numbers}) == expected
    expected = f"+.012, 95 % interval {MINUS}.003 to +.027, p = .120"
    assert evidence({"metric": "ccc_pooled", **numbers}) == expected


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.6114, 0.0042, ".611 ± .004"),
        (-0.0123, math.nan, f"{MINUS}.012"),
        (-0.0004, math.nan, ".000"),
        (1.0, math.nan, "1.000"),
        (10.25, 0.5, "10.250 ± .500"),
        (math.nan, math.nan, "—"),
    ],
)
def test_a_coefficient_is_written_as_the_paper_does(mean, sd, text):
    assert coefficient(mean, sd) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0123, "+.012"), (-0.3, f"{MINUS}.300"), (-1e-5, ".000"), (math.nan, "—")],
)
def test_a_difference_of_coefficients_has_a_sign(difference, text):
    assert signed_coefficient(difference) == text


def test_titles_say_the_unit():
    assert axis_title("uar") == "UAR [%]"
    assert axis_title("ccc_pooled") == "CCC"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["gain", "gain"], "On test, implicit fusion gains for audio and video."),
        (
            ["no clear difference", "loss"],
            "On test, implicit fusion loses for video; there is no clear difference "
            "for audio.",
        ),
        (
            ["same", "nothing"],
            "On test, the baseline itself (alpha = 0) was chosen for audio; nothing "
            "can be told for video.",
        ),
    ],
)
def test_headline(verdicts, expected):
    frame = pd.DataFrame({"main": ["audio", "video"], "verdict": verdicts})
    assert headline(frame, "test") == expected
    assert headline(frame, "dev").startswith("On dev, where alpha was chosen, ")
