"""Targets in another unit: the same training, and predictions in the user's unit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifusion.corpora.splits import FIXED, split_corpus
from ifusion.evaluation.traces import load_traces
from ifusion.experiment import runs
from ifusion.experiment.gather import fit_standardizers, gather_fold, target_scale_of
from ifusion.experiment.runs import Plan, read_result
from ifusion.experiment.study import make_study
from ifusion.inference.predictor import load_predictor
from ifusion.models.architecture import Architecture
from ifusion.training.options import TrainingOptions

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


@pytest.fixture(scope="module")
def tiny(time_options):
    """Options of one lane a target, and of a few machines."""
    return replace(
        time_options,
        model=Architecture(hidden_size=4),
        training=TrainingOptions(epochs=2, batch_size=8),
        sweep=replace(
            time_options.sweep,
            mains=("audio",),
            alphas=(0.0,),
            seeds=(0,),
            delays=(0.0,),
        ),
    )


def test_scores_do_not_depend_on_the_unit(series, tiny, mesh, tmp_path, unoptimised):
    systems = ("baseline", "svr", "constant")
    plain, other = tmp_path / "plain", tmp_path / "other"
    runs.train(plain, Plan(series, with_rule(tiny, "always"), systems), mesh)
    scaled = in_unit(series, 100, 1000)
    runs.train(other, Plan(scaled, tiny, systems), mesh)
    expected, found = (read_result(folder) for folder in (plain, other))
    np.testing.assert_allclose(
        found.candidates["dev_score"], expected.candidates["dev_score"], atol=1e-4
    )
    traces = []
    for result in (expected, found):
        (path,) = (p for p in result.traces if p.name.startswith("baseline-d"))
        traces.append(load_traces(path))
    np.testing.assert_allclose(
        traces[1].processed, 100 * traces[0].processed + 1000, rtol=1e-4
    )
    predictor = load_predictor(other, "audio", "baseline")
    assert predictor.members[0].data.target_scale is not None
    dev = np.repeat(series.partition == "dev", np.diff(series.offsets))
    audio = series.modalities["audio"]
    table = pd.DataFrame(audio.values[dev], columns=list(audio.names))
    names = np.repeat(series.recording, np.diff(series.offsets))[dev]
    answers = predictor.predict(table, names)
    lane = (traces[1].lanes["target"] == "arousal").to_numpy()
    np.testing.assert_allclose(
        answers["arousal"], traces[1].processed[lane][0], rtol=1e-5
    )
