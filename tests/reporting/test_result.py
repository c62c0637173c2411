"""`ifusion.evaluation.result`, on whole results."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results import make_result
from scipy import stats
from sklearn.metrics import recall_score

from ifusion.concordance import concordance_of_moments
from ifusion.evaluation.significance import holm, paired_difference


def values_of(result, system, partition="test", **wanted):
    """(S, N) classes or (S, N, 6) moments, labels and speakers, folds in a row."""
    values, labels, speakers = [], [], []
    for each in result.outcomes:
        if (each.system, each.partition) == (system, partition):
            frame = each.predictors
            rows = frame["chosen"] | ("alpha" in wanted)
            for name, value in wanted.items():
                rows &= frame[name] == value
            known = slice(None) if each.labels is None else each.labels >= 0
            values.append(each.values[rows.to_numpy()][:, known])
            speakers.append(each.recordings["speaker"].to_numpy()[known])
            labels.append(None if each.labels is None else each.labels[known])
    labels = None if labels[0] is None else np.concatenate(labels)
    return np.concatenate(values, axis=1), labels, np.concatenate(speakers)


def uars(result, system, **wanted):
    values, labels, _ = values_of(result, system, **wanted)
    return [recall_score(labels, mine, average="macro") for mine in values]


def row_of(frame, **wanted):
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_its_parts_are_named_in_order(many, regression):
    assert many.partitions == ("dev", "test")
    assert many.mains == ("audio", "video", "audio+video")
    assert many.targets == ("emotion",)
    assert regression.targets == ("arousal", "valence")
    assert many.folds == ("0", "1")


@pytest.mark.parametrize(
    ("system", "main", "given"),
    [
        ("baseline", "audio", "audio"),
        ("implicit_fusion", "video", "video"),
        ("early_fusion", "audio+video", "video"),
    ],
)
def test_scores_are_means_over_seeds_of_pooled_folds(many, system, main, given):
    expected = np.array(uars(many, system, main=main, given=given))
    wanted = {"system": system, "main": main, "given": given, "partition": "test"}
    found = row_of(many.scores, metric="uar", **wanted)
    low, high = stats.t.interval(0.95, 1, expected.mean(), stats.sem(expected))
    numbers = [expected.mean(), expected.std(ddof=1), low, high, 2]
    assert list(found[["mean", "sd", "low", "high", "seeds"]]) == pytest.approx(numbers)


def test_the_curve_joins_baseline_and_implicit_fusion(many):
    curve = many.curve[many.curve["metric"] == "uar"]
    assert sorted(set(curve["alpha"])) == [0.0, 0.5, 1.0]
    assert len(curve) == 2 * 3 * 2  # mains, alphas, seeds
    for alpha, system in ((0.0, "baseline"), (1.0, "implicit_fusion")):
        wanted = {"main": "video", "alpha": alpha}
        expected = uars(many, system, partition="dev", **wanted)
        found = curve[(curve["main"] == "video") & (curve["alpha"] == alpha)]
        assert list(found["value"]) == pytest.approx(expected)


def test_systems_are_compared_with_the_baseline_and_fusion_with_controls(many):
    pairs = many.differences[["system", "reference"]].drop_duplicates()
    assert set(pairs.itertuples(index=False, name=None)) == {
        ("svm", "baseline"),
        ("early_fusion", "baseline"),
        ("implicit_fusion", "baseline"),
        ("control_noise", "baseline"),
        ("implicit_fusion", "control_noise"),
    }
    found = row_of(
        many.differences,
        system="implicit_fusion",
        reference="control_noise",
        main="audio",
        partition="test",
    )
    scores = [
        np.mean(uars(many, system, main="audio"))
        for system in ("implicit_fusion", "control_noise")
    ]
    assert [found["score"], found["reference_score"]] == pytest.approx(scores)
    assert found["estimate"] == pytest.approx(scores[0] - scores[1])
    assert (found["clusters"], found["seeds"]) == (16, 2)
    assert found["setting"] == "alpha = 0.5"


def test_p_values_are_corrected_for_their_table(many):
    """Those of all systems and mains against the baseline; controls have their own."""
    frame = many.differences[many.differences["partition"] == "test"]
    first = frame["reference"] == "baseline"
    assert (first.sum(), (~first).sum()) == (7, 2)
    for mine in (frame[first], frame[~first]):
        np.testing.assert_allclose(mine["p_holm"], holm(mine["p_value"]))
        least = mine["p_value"].idxmin()
        expected = min(1, mine["p_value"][least] * len(mine))
        assert mine["p_holm"][least] == pytest.approx(expected)


def test_several_modalities_are_compared_with_their_better_one_on_dev(many):
    dev = {
        main: np.mean(uars(many, "baseline", main=main, partition="dev"))
        for main in ("audio", "video")
    }
    found = many.differences[many.differences["system"] == "early_fusion"]
    assert set(found["against"]) == {max(dev, key=dev.get)}


def test_differences_of_a_regression_are_those_of_moments(regression):
    """Speakers' frames are put together, here by the moments of plain sums."""
    wanted = {"main": "audio", "target": "valence", "processing": "raw"}
    sums = []
    for system in ("implicit_fusion", "baseline"):
        moments, _, speakers = values_of(regression, system, **wanted)
        n, y, x, yy, xx, xy = np.moveaxis(moments, -1, 0)
        added = np.stack([n, n * y, n * x, n * (yy + y * y), n * (xx + x * x)], -1)
        added = np.concatenate([added, (n * (xy + x * y))[..., None]], -1)
        names = np.unique(speakers)
        sums.append(
            np.stack([added[:, speakers == name].sum(1) for name in names], axis=1)
        )

    def ccc(total):
        n, y, x, yy, xx, xy = np.moveaxis(total, -1, 0)
        y, x, yy, xx, xy = y / n, x / n, yy / n, xx / n, xy / n
        return concordance_of_moments(xy - x * y, xx - x * x, yy - y * y, x - y)

    expected = paired_difference(*sums, ccc)
    pair = {"system": "implicit_fusion", "reference": "baseline", "partition": "test"}
    found = row_of(regression.differences, **pair, **wanted)
    names = list(expected._fields)
    assert list(found[names]) == pytest.approx(list(expected))
    assert set(regression.differences["processing"]) == {"raw", "post-processed"}


def test_choosing_alpha_0_is_no_difference():
    result = make_result(chosen=0.0)
    assert set(result.differences["verdict"]) == {"same"}


def test_a_closed_test_has_no_scores():
    result = make_result(partitions=("dev",))
    assert result.partitions == ("dev",)
    assert set(result.differences["partition"]) == {"dev"}


def test_a_system_without_a_fold_has_no_scores(many):
    kept = [x for x in many.outcomes if (x.system, x.fold) != ("svm", "1")]
    result = replace(many, outcomes=tuple(kept))
    assert "svm" not in set(result.scores["system"])
    whole = result.scores[result.scores["system"] == "baseline"].reset_index(drop=True)
    before = many.scores[many.scores["system"] == "baseline"].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole, before)
