from itertools import product

import numpy as np
import pandas as pd
import pytest

from ifusion.evaluation.label_curve import LabelCurve, labels_worth, make_label_curve
from ifusion.evaluation.outcomes import Outcomes
from ifusion.evaluation.result import Entry, Result

SPEAKERS, CLIPS = 8, 6
LABELS = np.arange(SPEAKERS * CLIPS) % 3


def outcomes(system, right, seeds, rng):
    """Predictions of which that share is right, drawn anew for each seed."""
    wrong = (LABELS + 1) % 3
    values = [np.where(rng.random(len(LABELS)) < right, LABELS, wrong) for _ in seeds]
    predictors = pd.DataFrame(
        {
            "main": "audio",
            "target": "emotion",
            "seed": seeds,
            "setting": "",
            "alpha": np.nan,
            "given": "audio",
            "processing": "",
            "chosen": True,
            "failed": False,
        }
    )
    recordings = pd.DataFrame(
        {
            "recording": [f"r{i}" for i in range(len(LABELS))],
            "speaker": [f"s{i}" for i in np.repeat(range(SPEAKERS), CLIPS)],
        }
    )
    return Outcomes(
        fold="fixed",
        system=system,
        partition="dev",
        predictors=predictors,
        recordings=recordings,
        values=np.array(values, np.int16),
        labels=LABELS.astype(np.int16),
    )


def result(seed, right, seeds=(0, 1)):
    rng = np.random.default_rng(seed)
    return Result(
        name="run",
        config={
            "folds": ["fixed"],
            "evaluation": {
                "metric": "micro_f1",
                "cluster": "speaker",
                "convention": "population",
            },
        },
        corpus={
            "name": "mine",
            "notes": ["something", f"Labels were hidden: {seed}"],
            "task": "classification",
            "classes": ["a", "b", "c"],
            "targets": ["emotion"],
            "frame_step": None,
            "features": {"audio": 1},
        },
        systems=tuple(Entry(key, key) for key in right),
        outcomes=tuple(outcomes(k, x, list(seeds), rng) for k, x in right.items()),
    )


@pytest.fixture
def results():
    few = {"baseline": 0.4, "pseudo_labels": 0.7}
    found = {(0.1, draw): result(draw, few) for draw in range(4)}
    return found | {(1.0, 0): result(9, {"baseline": 0.8}, range(8))}


def accuracy(each, system):
    """(S, C) of the speakers, by hand."""
    (mine,) = (x for x in each.outcomes if x.system == system)
    right = (mine.values == mine.labels).reshape(-1, SPEAKERS, CLIPS)
    return right.mean(-1)


def test_scores_are_means_over_draws_and_seeds(results):
    curve = make_label_curve(results, [])
    found = curve.scores.set_index(["system", "share"])
    few = [accuracy(results[0.1, draw], "baseline") for draw in range(4)]
    assert curve.corpus == "mine"
    assert curve.notes == ("Labels were hidden: 0", "Labels were hidden: 9")
    assert found.loc[("baseline", 0.1), "mean"] == pytest.approx(np.mean(few))
    assert found.loc[("baseline", 0.1), "draws"] == 4
    # with all labels, each seed is a draw
    assert found.loc[("baseline", 1.0), "draws"] == 8
    assert ("pseudo_labels", 1.0) not in found.index
    assert (found["low"] < found["mean"]).all() and (
        found["mean"] < found["high"]
    ).all()


def test_differences_are_paired_over_speakers_and_draws(results):
    curve = make_label_curve(results, [("pseudo_labels", "baseline")])
    (row,) = curve.differences.to_dict("records")
    gains = np.stack(
        [
            accuracy(results[0.1, d], "pseudo_labels").mean(0)
            - accuracy(results[0.1, d], "baseline").mean(0)
            for d in range(4)
        ]
    )  # (draws, speakers), of which micro-F1 is the mean
    assert row["estimate"] == pytest.approx(gains.mean())
    assert (row["seeds"], row["clusters"]) == (4, SPEAKERS)
    # no narrower than the t-interval over speakers alone
    half = 2.365 * gains.mean(0).std(ddof=1) / np.sqrt(SPEAKERS)
    assert row["high"] - row["estimate"] >= half * 0.999
    assert row["low"] > 0 and row["p_value"] < 0.05


def test_a_label_is_worth_what_the_curve_of_the_baseline_says():
    frame = [
        ("baseline", 0.1, 0.4),
        ("baseline", 0.2, 0.5),
        ("baseline", 0.4, 0.6),
        ("pseudo_labels", 0.1, 0.5),
        ("pseudo_labels", 0.2, 0.55),
        ("pseudo_labels", 0.4, 0.7),
        ("pseudo_labels", 0.8, 0.3),
    ]
    scores = pd.DataFrame(frame, columns=["system", "share", "mean"])
    curve = LabelCurve(
        "micro_f1", "test", "c", (), scores.assign(main="a", target="t"), scores
    )
    worth = labels_worth(curve, "pseudo_labels").set_index("share")["worth"]
    assert worth[0.1] == pytest.approx(2)
    assert worth[0.2] == pytest.approx(np.sqrt(2))  # halfway, of logarithms
    assert np.isinf(worth[0.4]) and np.isnan(worth[0.8])


def test_a_study_without_a_run_is_refused():
    with pytest.raises(ValueError, match="there is no run"):
        make_label_curve({}, [])


def test_all_draws_must_have_a_system(results):
    some = {k: x for k, x in results.items() if k != (0.1, 3)}
    some[0.1, 3] = result(3, {"baseline": 0.4})
    found = make_label_curve(some, list(product(["pseudo_labels"], ["baseline"])))
    assert "pseudo_labels" not in set(found.scores["system"])
    assert found.differences.empty
