"""The comparison of systems as a user runs it: whole, stopped, resumed, mistaken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from scipy.stats import t as student
from sklearn.metrics import f1_score

from ifusion.concordance import concordance
from ifusion.evaluation.traces import load_traces
from ifusion.systems.catalogue import SYSTEMS

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("unoptimised")
# need another target, or a third modality
NOT_ALWAYS = ("multi_task_targets", "implicit_fusion_weights")
KEYS = ("main", "target", "partition", "given")
SMALL = (
    "--config=configs/synthetic.py",
    "--config.corpus.recordings=(60,30,30)",
    "--config.corpus.speakers=12",
    "--config.corpus.folds=3",
    "--config.training.epochs=3",
    "--config.model.hidden_size=8",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.l2=(0.0,0.05)",
    "--config.evaluation.resamples=50",
    "--folds",
)
OVER_TIME = (
    "--config=configs/synthetic_continuous.py",
    "--config.corpus.recordings=(4,3,3)",
    "--config.corpus.speakers=10",
    "--config.corpus.frames=300",
    "--config.corpus.annotation_delay=0.4",
    "--config.training.epochs=2",
    "--config.training.window=64",
    "--config.training.hop=32",
    "--config.model.hidden_size=8",
    "--config.sweep.delays=(0.0,0.4)",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.targets=('valence',)",
    "--config.evaluation.resamples=50",
    "--config.systems.svr_windows=(1.0,)",
    "--config.systems.svr_delays=(0.0,0.4)",
    "--config.systems.svr_complexities=(0.01,0.1)",
)


def program(name, *arguments):
    return subprocess.run(
        [sys.executable, f"experiments/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def rows_of(workdir, key, table="predictions.csv"):
    """What the chosen candidates of a system predicted, on all folds."""
    paths = sorted((workdir / "systems" / key).glob(f"*/{table}"))
    text = {"fold": str, "label": str, "prediction": str, "recording": str}
    return pd.concat([pd.read_csv(p, dtype=text, na_filter=False) for p in paths])


@pytest.fixture(scope="module")
def dev_only(tmp_path_factory):
    """Two systems over folds, test still closed."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    done = program("tables", *SMALL, "--systems=baseline,svm", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert str(workdir / "comparison.html") in done.stdout
    return workdir


@pytest.fixture(scope="module")
def opened(dev_only, tmp_path_factory):
    """The same run, a system added and test opened for all of them."""
    workdir = tmp_path_factory.mktemp("runs") / "opened"
    shutil.copytree(dev_only, workdir)
    done = program(
        *("tables", *SMALL, "--resume", "--test", f"--workdir={workdir}"),
        "--systems=svm,svr,baseline,implicit_fusion",
    )
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture
def run(dev_only, tmp_path):
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(dev_only, tmp_path / "copy"))


def test_a_run_holds_what_the_documentation_says(opened):
    files = {path.name for path in opened.iterdir()}
    assert files >= {
        *("comparison.csv", "comparison.md", "comparison.html", "systems"),
        *("missing_modality.png", "missing_modality.svg", "settings", "tuning.csv"),
        *("config.json", "corpus.json", "systems.json", "evaluations.jsonl"),
    }
    assert not [p for p in opened.rglob("*") if p.name.endswith(".part")]
    for fold in "012":
        made = {p.name for p in (opened / "systems" / "svm" / fold).iterdir()}
        assert made == {"candidates.csv", "predictions.csv", "fit.json"}


def test_scores_are_those_of_scikit_learn(opened):
    scores = pd.read_csv(opened / "comparison.csv")
    assert set(scores["system"]) == {"svm", "baseline", "implicit_fusion"}
    assert set(scores["partition"]) == {"dev", "test"}
    for key in ("svm", "implicit_fusion"):
        seeds = rows_of(opened, key).groupby([*KEYS, "seed"])
        values = seeds[["label", "prediction"]].apply(
            lambda x: f1_score(x["label"], x["prediction"], average="macro")
        )
        for cell, mine in values.groupby(list(KEYS)):
            found = scores[
                np.logical_and.reduce(
                    [scores[k] == v for k, v in zip(KEYS, cell, strict=True)]
                )
                & (scores["system"] == key)
                & (scores["metric"] == "macro_f1")
            ].iloc[0]
            assert found["mean"] == pytest.approx(mine.mean(), abs=1e-12)
            if key == "svm":
                assert len(mine) == found["seeds"] == 1 and np.isnan(found["sd"])
                continue
            assert found["sd"] == pytest.approx(mine.std(ddof=1), abs=1e-12)
            if mine.std() > 0:
                interval = student.interval(
                    0.95, 1, mine.mean(), mine.std(ddof=1) / np.sqrt(2)
                )
                assert (found["low"], found["high"]) == pytest.approx(interval)


def test_differences_are_paired_with_the_baseline(opened):
    scores = pd.read_csv(opened / "comparison.csv")
    headline = scores[
        (scores["metric"] == "micro_f1") & (scores["given"] == scores["main"])
    ].set_index(["system", "main", "partition"])
    for system in ("svm", "implicit_fusion"):
        for main in ("audio", "video"):
            for partition in ("dev", "test"):
                row = headline.loc[system, main, partition]
                reference = headline.loc["baseline", main, partition]["mean"]
                assert row["difference"] == pytest.approx(row["mean"] - reference)
                assert row["against"] == main and 0 < row["p_value"] <= 1
    assert headline.loc["baseline"]["difference"].isna().all()
    paper = headline["paper"].xs("dev", level="partition")
    assert paper["svm", "audio"] == 0.33 and paper["implicit_fusion", "video"] == 0.421


def test_a_mono_modal_system_answers_from_its_main_alone(opened):
    for key in ("svm", "baseline", "implicit_fusion"):
        rows = rows_of(opened, key)
        assert set(zip(rows["main"], rows["given"], strict=True)) == {
            *(("audio", "audio"), ("audio", "audio+video")),
            *(("video", "video"), ("video", "audio+video")),
        }
        keys = ["fold", "partition", "main", "seed", "recording"]
        alone = rows[rows["given"] == rows["main"]].set_index(keys)["prediction"]
        all_given = rows[rows["given"] == "audio+video"].set_index(keys)
        pd.testing.assert_series_equal(
            alone.sort_index(), all_given["prediction"].sort_index()
        )


def test_the_setting_of_best_dev_score_predicts(opened):
    for fold in "012":
        folder = opened / "systems" / "implicit_fusion" / fold
        candidates = pd.read_csv(folder / "candidates.csv")
        assert len(candidates) == 2 * 2 * 2  # mains, seeds, alphas
        rows = rows_of(opened, "implicit_fusion")
        rows = rows[(rows["fold"] == fold) & (rows["partition"] == "dev")]
        for main, mine in candidates.groupby("main"):
            means = mine.groupby("setting", sort=False)["dev_score"].mean()
            chosen = mine[mine["chosen"]]
            assert set(chosen["setting"]) == {means.idxmax()}
            for one in chosen.to_dict("records"):
                own = rows[
                    (rows["main"] == main)
                    & (rows["given"] == main)
                    & (rows["seed"] == one["seed"])
                ]
                score = f1_score(own["label"], own["prediction"], average="micro")
                assert one["dev_score"] == pytest.approx(score, abs=1e-12)


def test_a_sweep_under_the_same_config_finds_the_same(opened, tmp_path):
    """Settings, alpha = 0 and every alpha: the other program, the same numbers."""
    sweep = tmp_path / "sweep"
    done = program("sweep", *SMALL, f"--workdir={sweep}")
    assert done.returncode == 0, done.stderr
    keys = ["fold", "main", "target", "l2", "delay", "seed"]
    tuned, expected = (
        pd.read_csv(folder / "tuning.csv").set_index(keys).sort_index()
        for folder in (opened, sweep)
    )
    assert (tuned["chosen"] == expected["chosen"]).all()
    np.testing.assert_allclose(tuned["dev_score"], expected["dev_score"], atol=1e-6)
    scores = pd.read_csv(sweep / "scores.csv", dtype={"fold": str})
    scores = scores[scores["metric"] == "micro_f1"]
    for fold in "012":
        folder = opened / "systems" / "implicit_fusion" / fold
        found = pd.read_csv(folder / "candidates.csv")
        found["alpha"] = found["setting"].str.removeprefix("alpha = ").astype(float)
        both = found.merge(
            scores[scores["fold"] == fold], on=["main", "target", "alpha", "seed"]
        )
        assert len(both) == 8
        np.testing.assert_allclose(both["dev_score"], both["value"], atol=1e-12)


def test_test_stays_closed_until_it_is_opened(dev_only, opened):
    assert set(rows_of(dev_only, "svm")["partition"]) == {"dev"}
    assert set(pd.read_csv(dev_only / "comparison.csv")["partition"]) == {"dev"}
    assert not (dev_only / "evaluations.jsonl").exists()
    log = (opened / "evaluations.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["opened_before"] for line in log] == [0]
    for key in ("svm", "baseline"):  # fitted anew, to the same predictions
        again = rows_of(opened, key)
        again = again[again["partition"] == "dev"]
        keys = ["fold", "main", "given", "seed", "recording"]
        first = rows_of(dev_only, key).sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(
            again.sort_values(keys, ignore_index=True)[first.columns], first
        )
    recordings = rows_of(opened, "svm")
    recordings = recordings[
        (recordings["partition"] == "test")
        & (recordings["main"] == "audio")
        & (recordings["given"] == "audio")
    ]["recording"]
    assert len(recordings) == recordings.nunique() == 120  # held out once


def test_resume_makes_what_is_missing_and_adds_systems(run, dev_only):
    """As after a stop in the second fold, before its predictions were written."""
    (run / "systems" / "svm" / "1" / "fit.json").unlink()
    (run / "systems" / "svm" / "1" / "predictions.csv").unlink()
    shutil.rmtree(run / "systems" / "svm" / "2")
    done = program(
        "tables", *SMALL, "--resume", "--systems=svm,constant", f"--workdir={run}"
    )
    assert done.returncode == 0, done.stderr
    assert "fold 1/3  svm  was finished before" in done.stderr
    for fold in ("2/3", "3/3"):
        assert f"fold {fold}  svm  fitted in" in done.stderr
    assert "baseline  begins" not in done.stderr
    for fold in "012":
        place = Path("systems") / "svm" / fold / "predictions.csv"
        assert (run / place).read_bytes() == (dev_only / place).read_bytes()
    table = (run / "comparison.md").read_text("utf-8")
    order = [table.index(name) for name in ("Constant", "SVM [23]", "RNN (baseline)")]
    assert order == sorted(order)


def test_an_unfinished_system_is_said_to_be_so(run):
    (run / "systems" / "svm" / "1" / "fit.json").unlink()
    from ifusion.reporting.comparison_report import write_comparison

    write_comparison(run, 20)
    line = next(
        x
        for x in (run / "comparison.md").read_text("utf-8").splitlines()
        if x.startswith("| SVM [23]")
    )
    assert "2 of 3 folds are finished" in line
    assert "svm" not in set(pd.read_csv(run / "comparison.csv")["system"])


def test_what_the_corpus_lacks_is_said_in_the_row(opened):
    table = (opened / "comparison.md").read_text("utf-8")
    line = next(x for x in table.splitlines() if x.startswith("| SVR [11]"))
    assert "needs frames" in line
    assert not (opened / "systems" / "svr").exists()


def test_what_a_fold_does_not_suit_is_said_in_the_row(tmp_path):
    """One speaker in train: no cross-validation for the SVM, all else goes on."""
    run = tmp_path / "run"
    done = program(
        *("tables", "--config=configs/synthetic.py", f"--workdir={run}"),
        *("--config.corpus.recordings=(60,60,60)", "--config.corpus.speakers=3"),
        *("--config.corpus.raters=0", "--systems=constant,svm,curriculum"),
    )
    assert done.returncode == 0, done.stderr
    reason = "over the speakers of train, but there is 1; expected at least 2"
    assert reason in done.stderr
    assert "note: baseline has no score on dev" in done.stderr
    systems = json.loads((run / "systems.json").read_text("utf-8"))
    assert {row["key"]: row["impossible"] for row in systems} == {
        "constant": "",
        "svm": f"the SVM chooses its complexity by cross-validation {reason}",
        "curriculum": "needs raters",
    }
    lines = (run / "comparison.md").read_text("utf-8").splitlines()
    assert reason in next(x for x in lines if x.startswith("| SVM [23]"))


def test_a_run_without_any_score_says_why_of_each(tmp_path):
    place = f"--workdir={tmp_path / 'run'}"
    rows = ("--config.corpus.raters=0", "--systems=curriculum,svr")
    done = program("tables", *SMALL, *rows, place)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    notes = [x for x in done.stderr.splitlines() if x.startswith("note: curriculum")]
    assert notes == ["note: curriculum has no score: needs raters"]
    error = next(x for x in done.stderr.splitlines() if x.startswith("error:"))
    assert "curriculum: needs raters" in error and "svr: needs frames" in error


MISTAKES = {
    "--config.sweep.memory_gib=0.00001": (1, "sweep.memory_gib: data and one lane"),
    "--systems=svm,cnm": (1, "--systems names 'cnm'; expected some of constant, "),
    "--config.sweep.tune=alpha": (1, "sweep.tune is 'alpha'; systems are compared"),
    "--config.training.delay_scoring=shifted": (1, "delay_scoring is 'shifted'"),
    "--config.systems.svm_folds=1": (1, "systems.svm_folds is 1"),
    "--config.systems.svr_hops=1": (2, "svr_hops"),
    "--config.sweep.mains=('text',)": (1, "sweep.mains holds 'text'"),
    "--config.evaluation.metric=auc": (1, "evaluation.metric is 'auc'"),
    "surplus": (2, "surplus"),
}


def test_without_a_config_nothing_begins(tmp_path):
    done = program("tables", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2 and "--config" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_before_anything_is_made(mistake, tmp_path):
    workdir = tmp_path / "run"
    done = program("tables", *SMALL, mistake, f"--workdir={workdir}")
    status, words = MISTAKES[mistake]
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1
    assert not workdir.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    for further in ((), ("--resume",)):
        done = program("tables", *SMALL, *further, f"--workdir={tmp_path}")
        assert done.returncode == 1 and "error:" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_is_guarded_as_that_of_a_sweep(run):
    place = f"--workdir={run}"
    done = program("tables", *SMALL, place)
    assert done.returncode == 1 and "--resume" in done.stderr
    done = program("tables", *SMALL, "--config.training.epochs=4", "--resume", place)
    assert done.returncode == 1 and "other entries in training" in done.stderr
    tuned = (run / "tuning.csv").read_bytes()
    done = program("sweep", *SMALL, "--resume", place)
    assert done.returncode == 1 and "the run was made by tables.py" in done.stderr
    assert (run / "tuning.csv").read_bytes() == tuned
    assert not (run / "checkpoints").exists()
    with FileLock(run / ".lock"):
        done = program("tables", *SMALL, "--resume", place)
    assert done.returncode == 1 and "another program is writing" in done.stderr
    corpus = json.loads((run / "corpus.json").read_text("utf-8"))
    corpus["fingerprints"]["1"] = "0" * 64
    (run / "corpus.json").write_text(json.dumps(corpus), "utf-8")
    done = program("tables", *SMALL, "--resume", place)
    assert done.returncode == 1 and "(fold 1) are no longer those" in done.stderr


@pytest.fixture(scope="module")
def over_time(tmp_path_factory):
    """Systems on one of two targets that are followed in time, test opened."""
    workdir = tmp_path_factory.mktemp("runs") / "time"
    done = program(
        *("tables", *OVER_TIME, "--test", f"--workdir={workdir}"),
        "--systems=constant,svm,svr,baseline",
    )
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.mark.slow
def test_a_regression_agrees_with_the_sweep(over_time, tmp_path):
    """Moments of dev, raw and post-processed, against the predictions of a sweep."""
    sweep = tmp_path / "sweep"
    arguments = [x for x in OVER_TIME if "config.systems" not in x]
    done = program("sweep", *arguments, f"--workdir={sweep}")
    assert done.returncode == 0, done.stderr
    traces = load_traces(sweep / "predictions" / "fixed-dev.safetensors")
    scores = pd.read_csv(over_time / "comparison.csv")
    scores = scores[
        (scores["system"] == "baseline")
        & (scores["metric"] == "ccc_pooled")
        & (scores["partition"] == "dev")
        & (scores["given"] == scores["main"])
    ]
    lanes = traces.lanes
    gold = traces.gold["valence", 0]
    for main in ("audio", "video"):
        mine = ((lanes["main"] == main) & (lanes["alpha"] == 0)).to_numpy()
        assert mine.sum() == 2
        for kind, values in (("raw", traces.raw), ("post-processed", traces.processed)):
            expected = np.mean([concordance(x, gold) for x in values[mine]])
            found = scores[(scores["main"] == main) & (scores["processing"] == kind)]
            assert found["mean"].item() == pytest.approx(expected, abs=1e-5)


def test_a_regression_is_compared_by_processed_predictions(over_time):
    scores = pd.read_csv(over_time / "comparison.csv")
    assert set(scores["target"]) == {"valence"}
    assert set(scores["system"]) == {"constant", "svr", "baseline"}
    compared = scores[scores["difference"].notna()]
    assert set(compared["processing"]) == {"post-processed"}
    assert set(compared["metric"]) == {"ccc_pooled"}
    floor = scores[
        (scores["system"] == "constant") & (scores["metric"] == "ccc_pooled")
    ]
    np.testing.assert_allclose(floor["mean"], 0, atol=1e-6)  # of a constant
    best = scores[(scores["system"] == "svr") & (scores["metric"] == "ccc_pooled")]
    assert (best["mean"] > 0.5).all()  # the corpus is made for it
    table = (over_time / "comparison.md").read_text("utf-8")
    assert "needs classes" in next(
        x for x in table.splitlines() if x.startswith("| SVM [23]")
    )
    candidates = pd.read_csv(over_time / "systems" / "svr" / "fixed" / "candidates.csv")
    assert set(candidates["delay"]) == {0, 10}  # [frame]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_system_runs_whole(task, tmp_path):
    """What a row hears or sees of other modalities at test time changes nothing."""
    given, delays = {
        "classification": (SMALL[:-1], ()),
        "regression": (OVER_TIME, ("--config.sweep.delays=(0.4,)",)),
    }[task]
    changed = ("sweep.seeds", "sweep.l2", "sweep.delays", "svr_delays", "targets")
    small = [x for x in given if not any(name in x for name in changed)]
    done = subprocess.run(
        [
            *(sys.executable, "experiments/tables.py", *small, "--test"),
            *("--config.corpus.raters=3", "--config.sweep.seeds=(3,)"),
            *("--config.sweep.l2=(0.0,)", "--config.systems.svr_delays=(0.4,)"),
            *(*delays, "--config.systems.cnn_units=8"),
            "--config.training.epochs=5",  # one for each bin of a curriculum
            f"--workdir={tmp_path / 'run'}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    systems = json.loads((tmp_path / "run" / "systems.json").read_text("utf-8"))
    assert [row["key"] for row in systems] == [system.key for system in SYSTEMS]
    table = {
        "classification": ("predictions.csv", ["prediction"]),
        "regression": ("moments.csv", ["prediction_mean", "covariance"]),
    }[task]
    lacking = {
        "classification": ("svr", "late_fusion_ridge"),
        "regression": ("svm",),
    }[task]
    for row in systems:
        if row["impossible"]:
            assert row["key"] in (*lacking, *NOT_ALWAYS)
            continue
        rows = rows_of(tmp_path / "run", row["key"], table[0])
        explicit = rows["main"].str.contains("+", regex=False)
        assert explicit.all() if row["explicit"] else not explicit.any()
        if row["explicit"]:
            assert set(rows["given"]) == {"audio+video", "audio", "video"}
            continue
        keys = ["partition", "main", "target", "seed", "recording"]
        keys += ["processing"] if task == "regression" else []
        alone = rows[rows["given"] == rows["main"]].set_index(keys)[table[1]]
        everything = rows[rows["given"] == "audio+video"].set_index(keys)[table[1]]
        pd.testing.assert_frame_equal(alone.sort_index(), everything.sort_index())
    assert (tmp_path / "run" / "controls.png").is_file()
