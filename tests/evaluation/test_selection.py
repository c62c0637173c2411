import numpy as np
import pandas as pd
import pytest

from ifusion.evaluation.selection import choose_alpha, choose_listed, choose_settings


def dev_frame(curves, main="audio", fold="fixed"):
    """Tidy dev scores from {alpha: [value of seed 0, of seed 1, ...]}."""
    rows = [
        (fold, main, "emotion", alpha, seed, "dev", "micro_f1", value)
        for alpha, values in curves.items()
        for seed, value in enumerate(values)
    ]
    columns = ["fold", "main", "target", "alpha", "seed", "partition", "metric"]
    return pd.DataFrame(rows, columns=[*columns, "value"])


def test_best_mean_over_seeds_wins():
    frame = dev_frame({0.0: [0.5, 0.5], 0.1: [0.9, 0.2], 0.2: [0.6, 0.6]})
    (choice,) = choose_alpha(frame, "micro_f1").to_dict("records")
    assert choice == {
        "fold": "fixed",
        "main": "audio",
        "target": "emotion",
        "alpha": 0.2,
        "dev_score": pytest.approx(0.6),
        "baseline_dev_score": pytest.approx(0.5),
    }


def test_of_equal_means_the_smallest_alpha_wins():
    curves = {0.0: [0.0, 0.0], 0.3: [1 / 30, 5 / 30], 0.6: [3 / 30, 3 / 30]}
    frame = dev_frame(curves)
    means = frame.groupby("alpha")["value"].mean()
    assert means[0.3] < means[0.6]  # in the last bit only
    assert choose_alpha(frame, "micro_f1")["alpha"].item() == 0.3


def test_zero_can_be_the_choice():
    frame = dev_frame({0.0: [0.5], 0.1: [0.5]})
    assert choose_alpha(frame, "micro_f1")["alpha"].item() == 0.0


def test_other_folds_mains_and_metrics_have_no_say():
    quiet = dev_frame({0.0: [0.2], 0.1: [0.3], 0.2: [0.1]}, fold="0")
    loud = dev_frame({0.0: [0.2], 0.1: [0.9], 0.2: [1.0]}, fold="1")
    video = dev_frame({0.0: [0.2], 0.1: [0.1], 0.2: [0.1]}, "video", fold="0")
    other = loud.assign(fold="0", metric="uar")
    choices = choose_alpha(pd.concat([loud, quiet, other, video]), "micro_f1")
    found = choices.set_index(["fold", "main"])["alpha"].to_dict()
    expected = {("0", "audio"): 0.1, ("0", "video"): 0.0, ("1", "audio"): 0.2}
    assert found == expected


def test_an_alpha_with_a_failed_seed_is_not_eligible():
    frame = dev_frame({0.0: [0.5, np.nan], 0.1: [0.9, np.nan], 0.2: [0.6, 0.6]})
    (choice,) = choose_alpha(frame, "micro_f1").to_dict("records")
    assert choice["alpha"] == 0.2
    assert np.isnan(choice["baseline_dev_score"])


def test_nothing_eligible_is_no_choice():
    frame = dev_frame({0.0: [np.nan], 0.1: [np.nan]})
    assert np.isnan(choose_alpha(frame, "micro_f1")["alpha"].item())


def test_sees_dev_only():
    frame = dev_frame({0.0: [0.5], 0.1: [0.6]})
    mixed = pd.concat([frame, frame.assign(partition="test")])
    with pytest.raises(ValueError, match="on dev alone, but the scores hold test"):
        choose_alpha(mixed, "micro_f1")


def test_unknown_metric():
    with pytest.raises(ValueError, match="no dev value of the metric 'ccc'"):
        choose_alpha(dev_frame({0.0: [0.5]}), "ccc")


def settings_frame(scores, main="audio", alpha=0.0, fold="0"):
    """Dev scores from {(l2, delay): [value of seed 0, of seed 1, ...]}."""
    rows = [
        (fold, main, "arousal", alpha, l2, delay, seed, value)
        for (l2, delay), values in scores.items()
        for seed, value in enumerate(values)
    ]
    columns = ["fold", "main", "target", "alpha", "l2", "delay", "seed", "dev_score"]
    return pd.DataFrame(rows, columns=columns)


def test_the_setting_of_best_mean_is_chosen_for_each_main():
    audio = {(0.0, 0): [0.9, 0.1], (0.1, 0): [0.6, 0.6], (0.0, 10): [0.5, 0.5]}
    video = {(0.0, 0): [0.1, 0.1], (0.1, 0): [0.3, 0.3], (0.0, 10): [0.4, 0.4]}
    frame = pd.concat([settings_frame(audio), settings_frame(video, "video")])
    chosen = choose_settings(frame).set_index("main")
    assert chosen.loc["audio", ["l2", "delay"]].tolist() == [0.1, 0]
    assert chosen.loc["video", ["l2", "delay"]].tolist() == [0.0, 10]
    assert chosen.loc["audio", "dev_score"] == pytest.approx(0.6)


def test_each_alpha_has_its_own_setting():
    scores = {(0.0, 0): [0.5, 0.5], (0.1, 0): [0.4, 0.4]}
    turned = {(0.0, 0): [0.4, 0.4], (0.1, 0): [0.5, 0.5]}
    frame = pd.concat([settings_frame(scores), settings_frame(turned, alpha=0.5)])
    chosen = choose_settings(frame).set_index("alpha")["l2"]
    assert chosen.to_dict() == {0.0: 0.0, 0.5: 0.1}


def test_of_equal_settings_the_first_and_of_failed_ones_none_is_chosen():
    nan = float("nan")
    frame = settings_frame(
        {(0.2, 0): [nan, 0.9], (0.1, 0): [0.5, 0.5], (0.0, 0): [0.5] * 2}
    )
    assert choose_settings(frame)["l2"].item() == 0.1
    with pytest.raises(ValueError, match="fold 0, audio, arousal, alpha 0: training d"):
        choose_settings(settings_frame({(0.2, 0): [nan, 0.9]}))


def test_of_listed_settings_the_best_without_a_failure_is_chosen():
    rows = [
        ("audio", "b", 0, 0.5),
        ("audio", "b", 1, 0.7),
        ("audio", "a", 0, 0.9),
        ("audio", "a", 1, np.nan),
        ("audio", "c", 0, 0.7),
        ("audio", "c", 1, 0.5),
        ("video", "a", 0, np.nan),
        ("video", "b", 0, np.nan),
    ]
    frame = pd.DataFrame(rows, columns=["main", "setting", "seed", "dev_score"])
    found = choose_listed(frame, ["main"], ["setting"])
    assert found["main"].tolist() == ["audio", "video"]
    assert found["setting"].tolist() == ["b", "a"]  # b and c tie; of video none may
    assert found["dev_score"][0] == pytest.approx(0.6)
    assert np.isnan(found["dev_score"][1])
