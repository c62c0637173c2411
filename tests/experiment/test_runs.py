"""Whole runs: one path for every system, resumable at any moment, chosen on dev."""

import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from ifusion.concordance import concordance
from ifusion.experiment import runs
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.options import with_sweep
from ifusion.experiment.runs import Plan, read_result
from ifusion.experiment.signals import Stopped
from ifusion.experiment.snapshots import Snapshots
from ifusion.experiment.store import fit_folder, read_openings
from ifusion.reporting.report import write_report
from ifusion.storage import read_json
from ifusion.systems.system import System

BOTH = ("baseline", "implicit_fusion")
EXACT = ("fold", "system", "main", "target", "alpha", "seed", "partition", "metric")


def test_scores_are_tidy(trained):
    scores = read_result(trained).scores
    table = np.genfromtxt(trained / "scores.csv", delimiter=",", dtype=str)
    assert table[0, :9].tolist() == [*EXACT, "value"]
    assert set(table[1:, 1]) == set(BOTH) and set(table[1:, 6]) == {"dev"}
    assert len(scores)


def test_baseline_lanes_are_those_of_alpha_0(trained):
    baseline, fusion = (load_fitted(fit_folder(trained, "fixed", key)) for key in BOTH)
    pairs = 0
    for i, one in enumerate(baseline.candidates):
        for k, other in enumerate(fusion.candidates):
            if other.setting["alpha"] == 0 and (one.main, one.seed) == (
                other.main,
                other.seed,
            ):
                pairs += 1
                mine, theirs = baseline.params[i], fusion.params[k]
                for name in ("shared", "output"):
                    assert str(mine[name]) == str(theirs[name])
    assert pairs == len(baseline.candidates) == 4


def test_dev_chooses_the_setting_of_the_best_mean_score(trained):
    found = read_result(trained).candidates
    fusion = found[found["system"] == "implicit_fusion"]
    for _, mine in fusion.groupby(["main", "target"]):
        means = mine.groupby("alpha")["dev_score"].mean()
        assert set(mine.loc[mine["chosen"], "alpha"]) == {means.idxmax()}


def test_a_run_that_was_stopped_ends_as_if_it_was_not(
    small, options, mesh, trained, tmp_path, monkeypatch, assert_same_runs
):
    """Stopped once in each of the first stages, after its second epoch."""
    plan, offer = Plan(small, options, BOTH), Snapshots.offer
    stages = []

    def stop(self, take):
        offer(self, take)
        if self._folder not in stages and take().epoch == 2:
            stages.append(self._folder)
            self._write(take())
            raise Stopped(2)

    monkeypatch.setattr(Snapshots, "offer", stop)
    ends = 0
    while True:
        try:
            runs.train(tmp_path / "run", plan, mesh, resume=True)
            break
        except Stopped:
            ends += 1
    assert ends == len(stages) == 2  # the settings, and the grid
    assert_same_runs(tmp_path / "run", trained)


def test_what_is_finished_is_not_fitted_again(
    small, options, mesh, trained, tmp_path, monkeypatch, capsys
):
    copy = shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setattr("ifusion.experiment.engine._fit_one", None)
    runs.train(copy, Plan(small, options, BOTH), mesh, resume=True)
    assert capsys.readouterr().err.count("already finished") == 2


def test_systems_can_be_added(small, options, mesh, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    plan = Plan(small, options, ("constant", "baseline", "late_fusion"))
    runs.train(copy, plan, mesh, resume=True)
    result = read_result(copy)
    keys = ["constant", "baseline", "implicit_fusion", "late_fusion"]
    assert [entry.key for entry in result.systems] == keys
    before, after = read_result(trained).candidates, result.candidates
    kept = after[after["system"].isin(BOTH)].reset_index(drop=True)
    assert kept.equals(before.reset_index(drop=True))


def test_opening_test_fits_nothing(
    small, options, mesh, trained, tmp_path, monkeypatch
):
    copy = shutil.copytree(trained, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in copy.glob("folds/*/fits/**/*")}

    def forbidden(*_):
        raise AssertionError("opening test must not fit")

    for name in (
        "ifusion.training.loop.train_lanes",
        "ifusion.experiment.engine.choose",
    ):
        monkeypatch.setattr(name, forbidden)
    runs.open_test(copy, small, mesh=mesh)
    runs.open_test(copy, small, mesh=mesh)
    assert {p: p.stat().st_mtime_ns for p in copy.glob("folds/*/fits/**/*")} == before
    assert [row["opened_before"] for row in read_openings(copy)] == [0, 1]
    assert set(read_result(copy).scores["partition"]) == {"dev", "test"}


def test_test_labels_of_one_class_are_told_once_test_is_opened(
    trained, small, mesh, tmp_path, capsys
):
    run = shutil.copytree(trained, tmp_path / "run")
    test = (small.partition == "test")[:, None]
    one = replace(small, labels=np.where(test, 1, small.labels))
    runs.open_test(run, one, mesh=mesh)
    told = "All test labels of emotion are tense: scores mean little."
    assert told in capsys.readouterr().err
    assert read_result(run).corpus["warnings"].count(told) == 1


def test_test_labels_change_nothing_that_is_chosen(
    small, options, mesh, trained, tmp_path
):
    labels = np.array(small.labels)
    inside = small.partition == "test"
    labels[inside] = (labels[inside] + 1) % len(small.classes)
    runs.train(
        tmp_path / "run", Plan(replace(small, labels=labels), options, BOTH), mesh
    )
    mine, theirs = read_result(tmp_path / "run"), read_result(trained)
    assert mine.candidates.equals(theirs.candidates)


def test_folds_are_trained_each(small, options, mesh, tmp_path):
    few = with_sweep(options, seeds=(0,), l2=(0.0,), mains=("audio",))
    runs.train(tmp_path / "run", Plan(small, few, BOTH, folds=True), mesh)
    result = read_result(tmp_path / "run")
    assert result.candidates.groupby("fold").size().tolist() == [3, 3, 3]
    assert not (tmp_path / "run" / "stages").exists()


def test_what_does_not_suit_a_fold_lets_others_go_on(
    small, options, mesh, tmp_path, monkeypatch
):
    from ifusion.systems import catalogue
    from ifusion.systems.system import UnsuitedError

    def fail(fold, trainer):
        raise UnsuitedError("there is too little of it")

    broken = System("svm", "SVM", lambda protocol: fail, lambda *_: None)
    kept = [s if s.key != "svm" else broken for s in catalogue.SYSTEMS]
    monkeypatch.setattr(
        runs, "find_systems", lambda keys: [s for s in kept if s.key in keys]
    )
    few = with_sweep(options, seeds=(0,), l2=(0.0,))
    runs.train(tmp_path / "run", Plan(small, few, ("svm", "baseline")), mesh)
    rows = {
        entry.key: entry.impossible for entry in read_result(tmp_path / "run").systems
    }
    assert rows == {"svm": "there is too little of it", "baseline": ""}


def test_settings_that_all_diverge_are_told(small, options, mesh, tmp_path):
    wild = with_sweep(options, l2=(1e38, 2e38))
    with pytest.raises(ValueError, match="diverged at every setting"):
        runs.train(tmp_path / "run", Plan(small, wild, BOTH), mesh)


def test_a_regression_over_time_is_processed_and_traced(trained_series, series):
    result = read_result(trained_series)
    assert {p.name for p in result.traces} == {
        f"{key}-{part}.safetensors" for key in BOTH for part in ("dev", "test")
    }
    gains = result.gains
    kept = gains[gains["kept"]]
    assert (kept["after"] > kept["before"]).all()
    assert set(gains["step"]) == {"median", "centre", "scale", "shift"}
    assert set(result.tuning["delay_seconds"]) == {0.0, 0.4}


def test_single_values_are_scored_over_recordings(value_run, sentiments, tmp_path):
    """Scores against scikit-learn, of the predictions that the report lists."""
    result = read_result(value_run)
    page = write_report(result, tmp_path).read_text("utf-8")
    for words in ("sentiment of a recording", "accuracy of 7 classes", 'id="values"'):
        assert words in page
    assert "Table 2" not in page and "RECOLA" not in page
    listed = pd.read_csv(tmp_path / "predictions.csv")
    assert not list(value_run.rglob("traces/*.safetensors"))
    scores = result.scores
    for system, main in product(("svr", "implicit_fusion"), ("audio", "video")):
        mine = listed[
            (listed["system"] == system)
            & (listed["main"] == main)
            & (listed["partition"] == "test")
        ]
        found = scores[
            (scores["system"] == system)
            & (scores["main"] == scores["given"])
            & (scores["main"] == main)
            & (scores["partition"] == "test")
        ].set_index("metric")["mean"]
        seeds = [seed for _, seed in mine.groupby("seed")]
        label, guess = (
            np.stack([s.sort_values("recording")[c] for s in seeds])
            for c in ("label", "prediction")
        )
        assert label.shape[1] == 20
        expected = {
            "mae": np.abs(guess - label).mean(),
            "rmse": np.sqrt(np.square(guess - label).mean(1)).mean(),
            "ccc_pooled": np.mean(
                [concordance(x, y) for x, y in zip(guess, label, strict=True)]
            ),
            "acc2": ((guess >= 3) == (label >= 3)).mean(),
        }
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-6), name
    best = scores[(scores["metric"] == "ccc_pooled") & (scores["main"] == "audio")]
    assert best["mean"].max() > 0.5  # audio shows the sentiment


@pytest.mark.parametrize("key", ["config", "corpus"])
def test_another_run_is_refused(small, series, options, mesh, trained, tmp_path, key):
    copy = shutil.copytree(trained, tmp_path / "run")
    changed = replace(options, training=replace(options.training, epochs=5))
    corpus = small
    if key == "corpus":
        changed, values = options, np.array(small.modalities["audio"].values)
        values[0, 0] += 1
        modality = replace(small.modalities["audio"], values=values)
        corpus = replace(small, modalities={**small.modalities, "audio": modality})
    words = r"training.epochs is \d+ there" if key == "config" else "have changed"
    with pytest.raises(ValueError, match=words):
        runs.train(copy, Plan(corpus, changed, BOTH), mesh, resume=True)


def test_a_full_directory_is_not_written_over(small, options, mesh, trained, tmp_path):
    plan = Plan(small, options, BOTH)
    with pytest.raises(ValueError, match="is not empty; pass --resume"):
        runs.train(trained, plan, mesh)
    (tmp_path / "note.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(ValueError, match="is not empty, and holds no run"):
            runs.train(tmp_path, plan, mesh, resume=resume)


def test_a_damaged_fit_is_named(small, options, mesh, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    path = fit_folder(copy, "fixed", "baseline") / "arrays.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"baseline: .*damaged.*--resume fits"):
        runs.train(copy, Plan(small, options, BOTH), mesh, resume=True)


@pytest.mark.slow
def test_blocks_and_carried_state(series, time_options, mesh, tmp_path):
    """Train read in blocks gives the run that holds it; other systems refuse."""
    few = with_sweep(time_options, seeds=(0,), delays=(0.0,), targets=("arousal",))
    few = replace(few, sequences=replace(few.sequences, hop=0, carry=True))
    blocks = with_sweep(few, block_mib=0.5)
    for name, chosen in (("held", few), ("blocks", blocks)):
        plan = Plan(series, chosen, ("baseline", "implicit_fusion", "mtl_re"))
        runs.train(tmp_path / name, plan, mesh)
    held, read = (read_result(tmp_path / name) for name in ("held", "blocks"))
    assert held.candidates.equals(read.candidates)
    reasons = {entry.key: entry.impossible for entry in held.systems}
    assert "cannot carry state" in reasons["mtl_re"] and not reasons["baseline"]


def test_what_may_change_between_starts(small, options, mesh, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    other = with_sweep(options, memory_gib=2.0, save_every_seconds=5.0)
    runs.train(copy, Plan(small, other, BOTH), mesh, resume=True)


def test_utterances_in_order_of_letters_are_told(
    small, options, mesh, tmp_path, monkeypatch, capsys
):
    """What is doubted is said before anything is trained, and kept for the report."""
    monkeypatch.setattr(runs, "fit_all", lambda *_: None)
    monkeypatch.setattr(runs, "write_scores", lambda _: None)
    sequences = replace(options.sequences, sequence="video")
    asked = replace(options, sequences=sequences)

    def said(run, **changes):
        corpus = replace(small, notes=("a\x1b[2J",), **changes)
        runs.train(tmp_path / run, Plan(corpus, asked, BOTH), mesh)
        told = capsys.readouterr().err
        assert "note: a\\x1b[2J\n" in told
        notes = read_json(tmp_path / run / "corpus.json")["notes"]
        assert all(f"note: {note}\n" in told for note in notes[1:])
        return " ".join(notes[1:])

    video = np.arange(80) // 20
    letters = np.array([f"u{k}" for k in sorted(map(str, range(1, 81)))])
    assert said("numbers", attributes={"video": video}) == ""
    assert said("letters", recording=letters, attributes={"video": video}).startswith(
        "training.sequence joins utterances in the order of the corpus, but those of 4 "
        "of 4 values of 'video' are in order of letters (0: u1, u10, u11, u12 and 16 "
        "more); put rows in order of time"
    )
    timed = {"video": video, "start": np.arange(80) / 2}
    assert said("timed", recording=letters, attributes=timed) == ""
    back = timed | {"start": np.arange(80)[::-1]}
    assert "not in order of their start (0:" in said("back", attributes=back)
