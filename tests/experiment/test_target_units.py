"""Targets in another unit: the same training, and predictions in the user's unit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifusion.corpora.splits import FIXED, split_corpus
from ifusion.experiment import runs
from ifusion.experiment.gather import (
    fit_standardizers,
    gather_fold,
    target_scale_of,
)
from ifusion.experiment.runs import Plan, read_result
from ifusion.experiment.study import make_study
from ifusion.inference.opening import load_predictor

UNITS = [(100.0, 0.0), (100.0, 1000.0), (1e-4, 0.0)]


def in_unit(corpus, factor, offset):
    def change(values):
        return (factor * values.astype(np.float64) + offset).astype(np.float32)

    raters = {name: change(ratings) for name, ratings in corpus.raters.items()}
    return replace(corpus, labels=change(corpus.labels), raters=raters)


def with_rule(options, rule):
    return replace(options, training=replace(options.training, target_scale=rule))


def gathered(corpus, options, mesh):
    study = make_study(options, split_corpus(corpus, False), mesh)
    scale = target_scale_of(study, FIXED)
    return gather_fold(study, FIXED, fit_standardizers(study, FIXED), scale)


@pytest.mark.parametrize(("factor", "offset"), UNITS)
def test_systems_are_fitted_on_the_same_labels(
    series, time_options, mesh, factor, offset
):
    expected = gathered(series, with_rule(time_options, "always"), mesh)
    found = gathered(in_unit(series, factor, offset), time_options, mesh)
    for name in ("train", "dev", "whole"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(mine.labels, theirs.labels, atol=2e-4)
        np.testing.assert_array_equal(mine.labelled, theirs.labelled)
        spread = theirs.extras["uncertainty"]
        np.testing.assert_allclose(mine.extras["uncertainty"], spread, atol=2e-4)
    assert abs(np.asarray(found.whole.labels)[found.whole.labelled > 0]).max() < 10


def test_familiar_targets_are_untouched(series, time_options, mesh):
    auto, never = (
        gathered(series, with_rule(time_options, rule), mesh)
        for rule in ("auto", "never")
    )
    np.testing.assert_array_equal(auto.train.labels, never.train.labels)
    assert (
        target_scale_of(
            make_study(time_options, split_corpus(series, False), mesh), FIXED
        )
        is None
    )


def test_scores_and_predictions_follow_the_unit(series, time_options, mesh, tmp_path):
    systems = ("svr", "constant")  # which train no lanes
    plain, other = tmp_path / "plain", tmp_path / "other"
    scaled = in_unit(series, 100, 1000)
    runs.train(plain, Plan(series, with_rule(time_options, "always"), systems), mesh)
    runs.train(other, Plan(scaled, time_options, systems), mesh)
    scores = [read_result(run).candidates["dev_score"] for run in (plain, other)]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    assert scores[0].max() > 0.5
    audio = series.modalities["audio"]
    rows = slice(series.offsets[-2], series.offsets[-1])
    table = pd.DataFrame(audio.values[rows], columns=list(audio.names))
    for system in systems:
        answers = [
            load_predictor(run, "audio", system).predict(table)["arousal"]
            for run in (plain, other)
        ]
        np.testing.assert_allclose(answers[1], 100 * answers[0] + 1000, rtol=1e-4)
        assert abs(answers[0]).max() < 3
