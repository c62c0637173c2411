import signal
from dataclasses import replace
from itertools import count

import numpy as np
import pandas as pd
import pytest

from ifusion.corpora.corpus import UNLABELLED, Hiding
from ifusion.corpora.hiding import with_few_labels
from ifusion.corpora.splits import split_corpus
from ifusion.evaluation.label_curve import make_label_curve
from ifusion.experiment import label_study, runs, trainer
from ifusion.experiment.engine import FoldWork
from ifusion.experiment.gather import fit_standardizers, gather_fold
from ifusion.experiment.options import with_sweep
from ifusion.experiment.signals import Stopped
from ifusion.experiment.snapshots import Snapshots
from ifusion.experiment.study import make_study
from ifusion.experiment.trainer import Share, Work
from ifusion.inference.bundle import read_bundle, write_bundle
from ifusion.inference.opening import load_predictor
from ifusion.reporting.label_report import write_label_report

pytestmark = pytest.mark.slow
SYSTEMS = ("baseline", "early_fusion", "pseudo_labels", "self_training")


@pytest.fixture(scope="module")
def plan(small, options):
    options = with_sweep(options, l2=(0.0,), alphas=(0.0,), seeds=(0,))
    return runs.Plan(small, options, SYSTEMS)


@pytest.fixture(scope="module")
def study(plan, mesh, tmp_path_factory):
    """Two draws of half the labels, and all of them; test opened."""
    folder = tmp_path_factory.mktemp("study")
    label_study.run_study(folder, plan, [0.5, 1.0], 2, mesh=mesh, test=True)
    return folder


def test_draws_have_seeds_and_labels_of_their_own(study, plan):
    found = label_study.read_study(study, [0.5, 1.0], 2)
    assert list(found) == [(0.5, 0), (0.5, 1), (1.0, 0)]
    seeds = [each.config["sweep"]["seeds"] for each in found.values()]
    assert seeds == [[0], [1], [0, 1]]
    prints = {each.corpus["fingerprints"]["fixed"] for each in found.values()}
    assert len(prints) == 3
    (reason,) = (
        e.impossible for e in found[1.0, 0].systems if e.key == "pseudo_labels"
    )
    assert "every recording of train has a label" in reason


def test_a_study_is_written_as_table_and_picture(study, plan):
    shares, draws = [0.5, 1.0], 2
    results = label_study.read_study(study, shares, draws)
    curve = make_label_curve(results, label_study.PAIRS)
    assert curve.partition == "test"
    teachers = label_study.score_teachers(study, plan.corpus, shares, draws)
    fusions = {"early_fusion", "early_fusion_of_shuffled_pairs"}
    assert set(teachers["system"]) == {"baseline", *fusions}
    assert teachers["score"].between(0, 1).all()
    text = write_label_report(curve, teachers, study).read_text("utf-8")
    assert "taught by the fusion [%]" in text and "| 50 % | 100 % |" in text
    assert (study / "labels.svg").stat().st_size > 10_000
    page = (study / "report.html").read_text("utf-8")
    assert "data:image/svg+xml;base64," in page and "<script" not in page
    assert "taught by the fusion [%]" in page
    assert "20 of 40 recordings of train keep theirs" in page
    for name in ("labels.csv", "label_differences.csv", "teachers.csv"):
        assert (study / name).is_file()


def test_a_teacher_is_scored_on_hidden_labels_alone(study, plan):
    run = label_study.run_folder(study, 0.5, 0)
    few = with_few_labels(plan.corpus, Hiding(0.5, 0))
    hidden = runs.restore_study(run, few).folds["fixed"].partition == "unlabelled"
    predictor = load_predictor(run, "audio", "baseline")
    corpus = plan.corpus
    audio = corpus.modalities["audio"]
    features = pd.DataFrame(audio.values[hidden], columns=list(audio.names))
    guesses = predictor.predict(features).iloc[:, 0]
    right = np.array(corpus.classes)[corpus.labels[hidden, 0]] == guesses
    found = label_study.score_teachers(study, corpus, [0.5], 1)
    row = found.query("system == 'baseline' and main == 'audio'")
    assert row["score"].item() == pytest.approx(right.mean())


@pytest.mark.parametrize("rule", ["labelled", "all"])
def test_features_are_standardised_by_what_is_asked_for(plan, mesh, rule):
    corpus = with_few_labels(plan.corpus, Hiding(0.5))
    options = plan.options
    training = replace(options.training, standardise=rule)
    folds = split_corpus(corpus, False)
    study = make_study(replace(options, training=training), folds, mesh)
    found = fit_standardizers(study, "fixed")["audio"]
    part = folds["fixed"].partition
    seen = (
        part == "train" if rule == "labelled" else np.isin(part, ["train", UNLABELLED])
    )
    assert seen.sum() == (20 if rule == "labelled" else 40)
    values = corpus.modalities["audio"].values[seen].astype(np.float64)
    np.testing.assert_allclose(found.mean, values.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std, values.std(0), rtol=1e-5)


def test_unlabelled_recordings_train_nothing_but_students(plan, mesh):
    corpus = with_few_labels(plan.corpus, Hiding(0.5))
    folds = split_corpus(corpus, False)
    study = make_study(plan.options, folds, mesh)
    fold = gather_fold(study, "fixed", fit_standardizers(study, "fixed"), None)
    assert fold.num_sequences == fold.train.mask.sum() == len(fold.whole.mask) == 20
    assert fold.train.labelled.sum() == 20
    assert fold.num_unlabelled == fold.unlabelled.mask.sum() == 20
    assert not fold.unlabelled.labelled.any() and not fold.unlabelled.labels.any()


def test_shuffled_pairs_tell_a_teacher_less(study, plan):
    found = label_study.score_teachers(study, plan.corpus, [0.5], 2)
    mean = found.groupby("system")["score"].mean()
    assert mean["early_fusion_of_shuffled_pairs"] < mean["early_fusion"]


def test_of_recordings_over_time_hidden_minutes_are_scored(
    series, time_options, mesh, tmp_path
):
    slow = replace(series, frame_step=20.0)  # three frames a minute
    few = with_few_labels(slow, Hiding(0.3))
    known, split = (split_corpus(x, False)["fixed"] for x in (slow, few))
    options = with_sweep(time_options, delays=(0.0,))
    work = Work(tmp_path, make_study(options, {"fixed": split}, mesh))
    here = FoldWork(work, "fixed")
    hidden = label_study.gather_hidden(here, known)
    there, labels = ~np.isnan(hidden.labels), known.labels[hidden.rows]
    expected = np.isnan(split.labels[hidden.rows])
    np.testing.assert_array_equal(there, expected)
    np.testing.assert_array_equal(hidden.labels[there], labels[there])
    theirs = np.isin(known.recording, hidden.recordings["recording"])
    assert theirs.sum() == 4 and set(known.partition[theirs]) == {"train"}
    assert there.any(1).sum() == 4 * 90 - 3 * round(0.3 * 4 * 30)
    audio = known.modalities["audio"].values[hidden.rows]
    seen = known.modalities["audio"].values[: 4 * 90]  # labelled or not
    scaled = (audio - seen.mean(0)) / seen.std(0)
    found = hidden.features["audio"][hidden.mask > 0]
    np.testing.assert_allclose(found, scaled, atol=1e-4)


def test_systems_that_are_added_predict_test_too(study, plan, mesh):
    more = plan._replace(systems=("baseline", "pseudo_labels_shuffled"))
    label_study.run_study(study, more, [0.5], 1, mesh=mesh, resume=True, test=True)
    results = label_study.read_study(study, [0.5], 1)
    curve = make_label_curve(results, label_study.PAIRS)
    assert curve.partition == "test"
    assert "pseudo_labels_shuffled" in set(curve.scores["system"])


def test_a_student_is_deployed_like_any_other(study, plan, tmp_path):
    run = label_study.run_folder(study, 0.5, 1)
    predictor = load_predictor(run, "audio", "pseudo_labels")
    assert list(predictor.features) == ["audio"]
    place, alone = tmp_path / "student", tmp_path / "baseline"
    write_bundle(predictor, place)
    write_bundle(load_predictor(run, "audio", "baseline"), alone)
    data = place.read_bytes()
    assert b"video" not in data and b"early_fusion" not in data
    # as large as the baseline, but for the names of the systems
    assert abs(len(data) - alone.stat().st_size) < 200
    audio = plan.corpus.modalities["audio"]
    features = pd.DataFrame(audio.values, columns=list(audio.names))
    expected = predictor.predict(features)
    pd.testing.assert_frame_equal(read_bundle(place).predict(features), expected)


def test_shares_make_the_same_run(study, plan, mesh, tmp_path, assert_same_runs):
    few = plan._replace(corpus=with_few_labels(plan.corpus, Hiding(0.5, 0)))
    run = tmp_path / "run"
    runs.train_shares(run, few, [Share(1, 2), Share(2, 2)], mesh)
    runs.merge(run, [run], few.corpus, mesh)
    whole = tmp_path / "whole"
    runs.train(whole, few, mesh)
    assert_same_runs(run, whole)


# ---- draws train side by side --------------------------------------------------------

STUDENTS = (*SYSTEMS, "implicit_fusion", "matching", "pseudo_labels_implicit_fusion")


def plan_of(kind, request):
    """A plan of utterances in folds, of recordings of frames, or over time."""
    if kind == "series":
        corpus, options = map(request.getfixturevalue, ("series", "time_options"))
        corpus = replace(corpus, frame_step=20.0)  # three frames a minute
        options = with_sweep(options, delays=(0.0,), seeds=(0,))
        windows = replace(options.sequences, window=3, hop=0)  # a minute each
        return runs.Plan(corpus, replace(options, sequences=windows), STUDENTS)
    corpus, options = request.getfixturevalue(kind), request.getfixturevalue("options")
    options = with_sweep(options, l2=(0.0, 0.05)[: 2 if kind == "small" else 1])
    options = replace(options, systems=replace(options.systems, out_of_fold=2))
    systems = (*STUDENTS, "generalised_distillation")
    return runs.Plan(corpus, options, systems, folds=kind == "small")


@pytest.fixture(scope="module", params=["small", "clips", "series"])
def alone(request, mesh, tmp_path_factory):
    """A plan, and two draws of half the labels that are trained one after another."""
    plan, folder = plan_of(request.param, request), tmp_path_factory.mktemp("alone")
    for draw in range(2):
        seeds = label_study.draw_seeds(plan.options.sweep.seeds, 2, draw)
        own = plan._replace(
            corpus=with_few_labels(plan.corpus, Hiding(0.5, draw)),
            options=with_sweep(plan.options, seeds=seeds),
        )
        runs.train(label_study.run_folder(folder, 0.5, draw), own, mesh)
    return plan, folder


def count_together(monkeypatch):
    """Counts the runs of each program that is trained."""
    original, counts = trainer._train_group, []

    def train(parts):
        counts.append(len({part.keeper.work.run for part in parts}))
        original(parts)

    monkeypatch.setattr(trainer, "_train_group", train)
    return counts


def test_draws_are_the_runs_that_train_alone(
    alone, mesh, tmp_path, monkeypatch, assert_same_runs
):
    plan, folder = alone
    counts = count_together(monkeypatch)
    label_study.run_study(tmp_path, plan, [0.5], 2, mesh=mesh)
    assert counts and set(counts) == {2}
    assert_same_runs(tmp_path, folder)


def test_a_study_that_is_stopped_ends_the_same(
    alone, mesh, tmp_path, monkeypatch, assert_same_runs
):
    plan, folder = alone
    original, offers = Snapshots.offer, []

    def offer(self, take):
        offers.append(take)
        if len(offers) % 5 == 0:
            self._signals.received = signal.SIGTERM
        original(self, take)

    monkeypatch.setattr(Snapshots, "offer", offer)
    for stops in count():
        try:
            label_study.run_study(tmp_path, plan, [0.5], 2, mesh=mesh, resume=True)
            break
        except Stopped:
            assert len(offers) == 5 * (stops + 1)
    assert stops > 1
    assert_same_runs(tmp_path, folder)


def test_a_study_hides_labels_itself(plan, tmp_path):
    few = plan._replace(corpus=with_few_labels(plan.corpus, Hiding(0.5)))
    with pytest.raises(ValueError, match=r"corpus.labelled is 0.5; expected 1"):
        label_study.run_study(tmp_path, few, [0.5], 1)
