from dataclasses import replace

import pytest

from ifusion.corpora.splits import split_corpus
from ifusion.evaluation.postprocessing import PostProcessingOptions
from ifusion.experiment.options import EvaluationOptions, value_options, with_sweep
from ifusion.experiment.study import count_grid, make_fits, make_study
from ifusion.systems.catalogue import SYSTEMS


def test_lanes_are_mains_x_targets_x_alphas_x_seeds(series, time_options, mesh):
    study = make_study(time_options, split_corpus(series, False), mesh)
    assert len(study.grid) == 2 * 2 * 2 * 2 == count_grid(time_options, series)
    assert len(study.tuning) == 2 * 2 * 2 * 2  # mains, targets, seeds, delays
    assert {lane.delay for lane in study.tuning} == {0, 10} and study.ahead == 10
    assert {lane.alpha for lane in study.tuning} == {0.0}


def test_settings_of_each_alpha_take_the_whole_grid(small, options, mesh):
    chosen = with_sweep(options, tune="alpha")
    study = make_study(chosen, split_corpus(small, False), mesh)
    assert {lane.alpha for lane in study.tuning} == {0.0, 0.5}


def test_one_setting_needs_no_search(small, options, mesh):
    study = make_study(with_sweep(options, l2=(0.1,)), split_corpus(small, False), mesh)
    assert study.tuning == ()
    assert {lane.l2 for lane in study.grid} == {0.1}


def test_all_folds_share_one_shape(small, options, mesh):
    study = make_study(options, split_corpus(small, True), mesh)
    assert len(study.folds) == 3
    largest = max((c.partition == "train").sum() for c in study.folds.values())
    assert study.protocol.capacity["train"] == (largest, 1, 1)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"modalities": ("audio", "text")}, "sweep.modalities holds 'text'"),
        ({"modalities": ("audio", "audio")}, "repeats a name"),
        ({"mains": ("text",)}, "sweep.mains holds 'text'"),
        ({"targets": ("joy",)}, "sweep.targets holds 'joy'"),
        ({"delays": (0.4,)}, "no frames"),
        ({"seeds": (1, 1)}, "sweep.seeds repeats"),
        ({"alphas": (0.0, 2.0)}, "sweep.alphas holds 2.0"),
    ],
)
def test_lanes_that_make_no_sense_are_refused(small, options, mesh, entries, words):
    with pytest.raises(ValueError, match=words):
        make_study(with_sweep(options, **entries), split_corpus(small, False), mesh)


def test_options_of_the_other_task_are_named(
    small, series, options, time_options, mesh
):
    with pytest.raises(ValueError, match=r"is a regression, but .* 'micro_f1'"):
        make_study(options, split_corpus(series, False), mesh)
    omg = replace(series, source={"kind": "omg"})  # with --config.corpus.target=arousal
    with pytest.raises(ValueError, match=r"such as configs/omg\.py:dimensions$"):
        make_study(options, split_corpus(omg, False), mesh)
    with pytest.raises(ValueError, match=r"is a classification, but .* 'ccc_pooled'"):
        make_study(time_options, split_corpus(small, False), mesh)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": "hinge"}, "training.loss is 'hinge'"),
        ({"evaluation": {"metric": "f2"}}, "evaluation.metric is 'f2'"),
        ({"evaluation": {"cluster": "city"}}, "evaluation.cluster is 'city'"),
    ],
)
def test_what_does_not_fit_the_corpus_is_refused(
    series, time_options, mesh, change, words
):
    entries = {
        name: replace(time_options.evaluation, **value)
        if isinstance(value, dict)
        else value
        for name, value in change.items()
    }
    with pytest.raises(ValueError, match=words):
        make_study(replace(time_options, **entries), split_corpus(series, False), mesh)


def test_systems_that_do_not_suit_say_why(small, options, mesh):
    study = make_study(options, split_corpus(small, False), mesh)
    fits, impossible = make_fits(study, SYSTEMS)
    assert set(impossible) == {
        "svr",
        "late_fusion_ridge",
        "multi_task_targets",
        "implicit_fusion_weights",
        "self_training",
        *(s.key for s in SYSTEMS if s.key.startswith("pseudo_labels")),
    }
    assert impossible["svr"] == "needs regression"
    assert "every recording of train has a label" in impossible["pseudo_labels"]
    assert len(fits) + len(impossible) == len(SYSTEMS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"evaluation": EvaluationOptions("ccc_recordings")}, "evaluation.metric is"),
        ({"loss": "ccc_sequences"}, "training.loss is"),
        (
            {"postprocessing": PostProcessingOptions(steps=("scale", "median"))},
            "postprocessing.steps is",
        ),
    ],
)
def test_what_needs_frames_is_refused_for_single_values(
    sentiments, mesh, change, words
):
    options = replace(value_options(), **change)
    with pytest.raises(ValueError, match=rf"^{words} .* one value per recording"):
        make_study(options, split_corpus(sentiments, False), mesh)


def test_single_values_suit_what_needs_no_classes(sentiments, mesh):
    study = make_study(value_options(), split_corpus(sentiments, False), mesh)
    fits, impossible = make_fits(study, SYSTEMS)
    assert {x.key for x in fits} >= {"svr", "cnn", "late_fusion_ridge", "re_two_stage"}
    assert impossible["svm"] == "needs classes"


def test_delays_that_all_fall_on_one_frame_are_refused(series, time_options, mesh):
    slow = split_corpus(replace(series, frame_step=40.0), False)
    with pytest.raises(ValueError, match=r"up to 0.4 s, all fall on frame 0.* 40 s"):
        make_study(time_options, slow, mesh)
    make_study(with_sweep(time_options, delays=(0.0,)), slow, mesh)
