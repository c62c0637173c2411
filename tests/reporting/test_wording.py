import math

import pandas as pd
import pytest

from ifusion.reporting.wording import (
    MINUS,
    axis_title,
    caution,
    duration,
    evidence,
    headline,
    listed,
    notation,
    p_value,
    score_interval,
)

PERCENT, COEFFICIENT = notation("uar"), notation("ccc_pooled")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (PERCENT.score(0.5123, 0.008), "51.2 ± 0.8"),
        (PERCENT.score(0.5123), "51.2"),
        (PERCENT.score(math.nan), "—"),
        (PERCENT.difference(0.0123), "+1.2"),
        (PERCENT.difference(-0.0123), f"{MINUS}1.2"),
        (PERCENT.difference(-0.0001), "0.0"),
        (PERCENT.difference(math.nan), "—"),
        (COEFFICIENT.score(0.6114, 0.0042), ".611 ± .004"),
        (COEFFICIENT.score(-0.0123), f"{MINUS}.012"),
        (COEFFICIENT.score(-0.0004), ".000"),
        (COEFFICIENT.score(1.0), "1.000"),
        (COEFFICIENT.score(10.25, 0.5), "10.250 ± .500"),
        (COEFFICIENT.difference(0.0123), "+.012"),
        (COEFFICIENT.difference(-1e-5), ".000"),
        (p_value(0.0123), ".012"),
        (p_value(0.0001), "< .001"),
        (p_value(1.0), "1"),
        (p_value(math.nan), "—"),
        (score_interval({"low": 0.9, "high": 1.2}, "uar"), "90.0 to 100.0"),
        (duration(12.3), "12 s"),
        (duration(200), "3.3 min"),
        (duration(4320), "1.2 h"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (axis_title("uar"), "UAR [%]"),
        (axis_title("ccc_pooled"), "CCC"),
    ],
)
def test_numbers_in_words(found, expected):
    assert found == expected


def test_evidence():
    numbers = {"estimate": 0.012, "low": -0.003, "high": 0.027}
    found = {"metric": "micro_f1", **numbers, "p_value": 0.12, "p_holm": 0.24}
    expected = f"+1.2 points, 95 % interval {MINUS}0.3 to +2.7, p = .120 (.240 by Holm)"
    assert evidence(found) == expected
    found = {"metric": "ccc_pooled", **numbers, "p_value": 1e-4, "p_holm": 2e-4}
    expected = f"+.012, 95 % interval {MINUS}.003 to +.027, p < .001"
    assert evidence(found) == expected
    nothing = {"p_value": math.nan, "p_holm": math.nan}
    expected = f"+.012, 95 % interval {MINUS}.003 to +.027, no p-value"
    assert evidence({**found, **nothing}) == expected
    alone = {**found, **nothing, "low": math.nan, "high": math.nan}
    assert evidence(alone) == "+.012, no p-value"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["gain", "gain"], "On test, implicit fusion gains for audio and video."),
        (
            ["no clear difference", "loss"],
            "On test, implicit fusion loses for video; no clear difference for audio.",
        ),
        (
            ["same", "inconclusive"],
            "On test, alpha = 0, the baseline itself, was chosen for audio; "
            "inconclusive for video.",
        ),
    ],
)
def test_headline(verdicts, expected):
    frame = pd.DataFrame({"name": ["audio", "video"], "verdict": verdicts})
    assert headline(frame, "test") == expected
    assert headline(frame, "dev").startswith("On dev, where alpha was chosen, ")


@pytest.mark.parametrize(
    ("clusters", "seeds", "expected"),
    [
        (
            1,
            5,
            "With a single speaker there is no interval, no p-value and no verdict.",
        ),
        (5, 5, "With 5 speakers there is no p-value and no verdict; they need 6."),
        (9, 1, "With a single seed there is no p-value and no verdict"),
        (9, 2, "With 2 seeds, intervals are wide"),
        (6, 3, ""),
    ],
)
def test_few_clusters_and_seeds_are_told(clusters, seeds, expected):
    frame = pd.DataFrame(
        {"clusters": [math.nan, 0, clusters, 50], "seeds": [math.nan, 0, seeds, 5]}
    )
    said = caution(frame, "speaker")
    assert said.startswith(expected)
    assert bool(said) == bool(expected)
