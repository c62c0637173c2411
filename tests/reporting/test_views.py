from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from results import ALL, make_result

from ifusion.evaluation.chance import best_of_many
from ifusion.reporting import paper, views
from ifusion.reporting.figures import figure2
from ifusion.reporting.wording import notation, p_value


def cell(table, column, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table[column].item()


def score_of(result, partition="test", **wanted):
    frame = result.scores.query("partition == @partition and given == main")
    frame = frame[frame["metric"] == result.scorer.metric]
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    row = frame.iloc[0]
    return notation(row["metric"]).score(row["mean"], row["sd"])


def test_table1_lists_the_systems_and_the_paper(many):
    table = views.table1(many).set_index("UAR [%]")
    names = [entry.name for entry in many.systems]
    assert list(table.index) == ["constant class (tense)", *names]
    fused = table.loc["RNN (implicit fusion)"]
    expected = score_of(many, system="implicit_fusion", main="audio")
    assert fused["audio, test"] == expected
    assert fused["audio (paper, OMG-Emotion dev)"] == "40.2"
    assert fused["audio+video, dev"] == "—"
    assert table.loc["constant class (tense)", "video, dev"] == "33.3"
    assert table.loc["CNN [23]", "remark"] == "needs frames"
    assert table.loc["CNN [23]", "video (paper, OMG-Emotion dev)"] == "37.0"
    assert table.loc["SVM [23]", "remark"] == "deterministic"
    assert "SVM [23]" in set(views.table1(make_result())["UAR [%]"])


def test_table2_puts_the_run_below_the_paper(regression):
    table = views.table2(regression).set_index("CCC")
    assert table.index[0] == "paper: SVR [11]"
    assert table.loc["paper: RNN (implicit fusion)", "arousal, audio, dev"] == ".769"
    for processing in ("raw", "post-processed"):
        expected = score_of(
            regression,
            system="implicit_fusion",
            main="video",
            target="valence",
            processing=processing,
        )
        name = f"RNN (implicit fusion), {processing}"
        assert table.loc[name, "valence, video, test"] == expected
    assert "SVM [23], raw" not in table.index
    assert "paper: SVR [11]" not in set(views.table2(regression, "rmse").iloc[:, 0])


def test_each_table_is_of_its_task(many, regression):
    with pytest.raises(ValueError, match="use table2"):
        views.table1(regression)
    with pytest.raises(ValueError, match="use table1"):
        views.table2(many)


def test_the_paper_is_quoted_right():
    assert len(paper.SCORES1) == 6
    assert len(paper.SCORES2) == 64
    found = {x[:4]: x.value for x in paper.SCORES2}
    assert found["ddat_re", "video", "arousal", "test"] == 0.400
    assert found["mtl_pu", "audio", "valence", "dev"] == 0.506


def test_comparison_shows_scores_evidence_and_cost(many):
    table = views.comparison(many)
    place = {"system": "RNN (implicit fusion)", "main": "audio"}
    found = many.differences.query(
        "system == 'implicit_fusion' and reference == 'baseline' and main == 'audio'"
        " and partition == 'test'"
    ).iloc[0]
    style = notation("uar")
    expected = {
        "test [%]": score_of(many, system="implicit_fusion", main="audio"),
        "to baseline [points]": style.difference(found["estimate"]),
        "p": p_value(found["p_value"]),
        "p (Holm)": p_value(found["p_holm"]),
        "speakers": "16",
        "parameters": "1,234",
        "training": "3.0 min",
        "setting": "alpha = 0.5",
    }
    for column, text in expected.items():
        assert cell(table, column, **place) == text
    joint = cell(table, "to baseline [points]", main="audio+video")
    assert joint.endswith((" (to audio)", " (to video)"))
    assert cell(table, "test [%]", system="CNN [23]") == "—"
    assert cell(table, "remark", system="CNN [23]") == "needs frames"
    assert list(dict.fromkeys(table["system"])) == [e.name for e in many.systems]


def test_missing_modality_says_what_each_set_gives(many):
    table = views.missing_modality(many)
    row = table[table["system"] == "Early fusion"].iloc[0]
    found = many.scores.query(
        "system == 'early_fusion' and given == 'audio' and partition == 'test'"
        " and metric == 'uar'"
    ).iloc[0]
    assert row["given audio"] == notation("uar").score(found["mean"], found["sd"])
    assert cell(table, "given video", system="SVM [23]", main="audio") == "—"


def test_controls_say_what_a_gain_means(many):
    table = views.controls(many)
    assert list(table["a gain says"]) == ["information"] * 2
    assert list(table["main"]) == ["audio", "video"]
    assert views.controls(make_result()).empty


def test_a_control_may_be_of_another_system(many):
    entries = [
        replace(e, control_of="svm") if e.key == "control_noise" else e
        for e in many.systems
    ]
    result = replace(many, systems=tuple(entries))
    table = views.controls(result)
    assert set(table["gain of"]) == {"SVM [23]"}
    found = result.differences.query("reference == 'control_noise'")
    assert set(found["system"]) == {"svm"}


def test_what_choosing_alone_gives_stands_beside_the_gain():
    result = make_result(folds=("0", "1"))
    assert "by choosing alone" not in views.choice_table(result)
    rng = np.random.default_rng(0)
    first = result.candidates.query("system == 'baseline'")
    extra = [
        first.assign(
            system="control_choice",
            setting=f"baseline = {k}",
            dev_score=0.5 + 0.02 * rng.standard_normal(len(first)),
        )
        for k in range(11)
    ]
    run = replace(result, candidates=pd.concat([result.candidates, *extra]))
    gains = views.choice_gains(run)
    assert len(gains) == 4  # folds x mains
    # two seeds: 1.586 deviations of a mean of two
    assert gains["mean"].between(0.01, 0.035).all() and (gains["low"] >= 0).all()
    table = views.choice_table(run)
    said = table.set_index("system")["by choosing alone"]
    fused = said.index == "RNN (implicit fusion)"
    assert said[fused].str.match(r"\+\d\.\d \(.* to \+").all()
    assert set(said[~fused]) == {"—"}
    assert len(views.choice_gains(run, folds=False)) == 2
    assert set(views.choice_gains(run)["baselines"]) == {22}
    assert figure2(run).get_suptitle() != figure2(result).get_suptitle()


def test_seeds_of_the_baseline_tell_what_choosing_gives():
    result = make_result()
    assert views.choice_gains(result).empty  # of two seeds
    more = [result.candidates.assign(seed=seed) for seed in (0, 1, 2)]
    frame = pd.concat([x[result.candidates["seed"] == 0] for x in more])
    scores = np.random.default_rng(0).standard_normal(len(frame))
    run = replace(result, candidates=frame.assign(dev_score=0.5 + 0.02 * scores))
    gains = views.choice_gains(run)
    assert set(gains["baselines"]) == {3}
    own = run.candidates.query("system == 'baseline' and main == 'audio'")
    expected = best_of_many(own["dev_score"].to_numpy(), 3, 3)  # alphas, seeds
    assert gains.query("main == 'audio'")["mean"].item() == expected.mean
    assert "by choosing alone" in views.choice_table(run)


def test_choices_are_numbers(regression):
    frame = views.choices(regression).query("system == 'implicit_fusion'")
    assert list(frame["alpha"]) == [0.5] * 4
    assert list(frame["setting"]) == ["alpha = 0.5"] * 4
    np.testing.assert_allclose(frame["dev_score"], 0.555)
    np.testing.assert_allclose(frame["baseline_dev_score"], 0.505)
    np.testing.assert_allclose(frame["delay_seconds"], 0.4)
    assert "l2" not in frame


def test_settings_that_were_tried_are_laid_out(regression):
    table = views.tuning_table(regression)
    assert len(table) == 4
    row = table.iloc[0]
    assert (row["main"], row["target"]) == ("audio", "arousal")
    assert row["delay [s] = 0.4"] == ".500 (chosen)"
    assert row["delay [s] = 0.8"] == ".300"
    assert views.tuning_table(make_result()).empty


def test_where_nothing_could_be_chosen_there_is_no_score():
    result = make_result(systems=("baseline", "implicit_fusion"))
    lost = result.candidates["system"] == "implicit_fusion"
    candidates = result.candidates.assign(chosen=result.candidates["chosen"] & ~lost)
    outcomes = [
        replace(each, predictors=each.predictors.assign(chosen=False))
        if each.system == "implicit_fusion"
        else each
        for each in result.outcomes
    ]
    result = replace(result, candidates=candidates, outcomes=tuple(outcomes))
    frame = views.choices(result).query("system == 'implicit_fusion'")
    assert frame["dev_score"].isna().all()
    assert views.remarks(result)["implicit_fusion"] == "diverged at every setting"
    chosen = views.choice_table(result)
    assert set(chosen.loc[chosen["system"] == "RNN (implicit fusion)", "chosen"]) == {
        "none"
    }


def test_differences_name_the_cluster(many):
    frame = views.differences(many)
    assert set(frame["cluster"]) == {"speaker"}
    assert len(frame) == len(many.differences)


def test_unfinished_and_unopened_systems_are_remarked_on(many):
    kept = [
        each
        for each in many.outcomes
        if (each.system, each.fold) != ("svm", "1")
        and (each.system, each.partition) != ("control_noise", "test")
    ]
    said = views.remarks(replace(many, outcomes=tuple(kept)))
    assert said["svm"] == "deterministic; 1 of 2 folds finished"
    assert said["control_noise"] == "test not opened"
    assert said["baseline"] == ""


def test_gains_are_means_over_seeds(regression):
    steps = views.gain_steps(regression)
    assert list(steps["step"][:3]) == ["raw", "median", "centre"]
    np.testing.assert_allclose(steps["score"][:3], [0.5, 0.6, 0.6])
    assert list(steps["kept"][:3]) == [1, 1, 0]
    row = views.gain_table(regression).iloc[0]
    assert row["median (kept)"] == "+.100 (100 %)"
    assert row["centre (kept)"] == ".000 (0 %)"


def test_classes_are_scored_alone(many):
    table = views.class_table(many, "test").set_index("class")
    counts = views.confusions(many, "test")["audio", "baseline"]
    labels = sum((x.labels == 0).sum() for x in many.outcomes if x.partition == "test")
    assert table.loc["calm", "labels"] * 5 == labels  # of five systems with outcomes
    f1 = [2 * c[0, 0] / (c[0].sum() + c[:, 0].sum()) for c in counts]
    found = table.loc["calm", "audio, baseline [%]"]
    assert found == notation("uar").score(np.mean(f1), np.std(f1, ddof=1))


def test_markdown_escapes_bars():
    table = views.controls(make_result(systems=ALL)).iloc[:1, :3]
    table.iloc[0, 0] = "a|b"
    lines = views.to_markdown(table, ["main"]).splitlines()
    assert lines[1] == "| --- | --- | ---: |"
    assert lines[2].startswith("| a\\|b | audio | ")
