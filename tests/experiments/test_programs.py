"""The programs as a user runs them: a small sweep, its evaluation, and mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from sklearn.metrics import f1_score

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("unoptimised")
SMALL = (
    "--config=configs/synthetic.py",
    "--config.corpus.recordings=(60,30,30)",
    "--config.corpus.speakers=12",
    "--config.training.epochs=2",
    "--config.model.hidden_size=8",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.l2=(0.0,)",
    "--config.evaluation.resamples=50",
)


def program(name, *arguments, data=None):
    environment = {k: v for k, v in os.environ.items() if k != "IFUSION_DATA"}
    if data:
        environment["IFUSION_DATA"] = str(data)
    return subprocess.run(
        [sys.executable, f"experiments/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over folds, made by the program itself."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    done = program(
        "sweep", *SMALL, "--folds", "--config.corpus.folds=3", f"--workdir={workdir}"
    )
    assert done.returncode == 0, done.stderr
    assert str(workdir / "report.html") in done.stdout
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_run_holds_what_the_readme_says(finished):
    files = {path.name for path in finished.iterdir()}
    assert files >= {
        *("config.json", "corpus.json", "history.csv", "scores.csv"),
        *("predictions.csv", "figure2.png", "figure2.svg", "table1.md", "table1.csv"),
        *("report.html", "differences.csv", "checkpoints"),
    }
    assert not [name for name in files if name.endswith(".part")]
    assert {p.name for p in (finished / "checkpoints").iterdir()} == {"0", "1", "2"}
    history = pd.read_csv(finished / "history.csv")
    assert len(history) == 3 * 2 * 2 * 2 * 2  # folds, mains, alphas, seeds, epochs
    auxiliary = history.loc[(history["main"] == "audio"), ["alpha", "loss_video"]]
    assert auxiliary.loc[auxiliary["alpha"] == 0, "loss_video"].isna().all()
    assert auxiliary.loc[auxiliary["alpha"] > 0, "loss_video"].notna().all()


def test_test_stays_closed_until_it_is_opened(run):
    assert set(pd.read_csv(run / "predictions.csv")["partition"]) == {"dev"}
    assert set(pd.read_csv(run / "scores.csv")["partition"]) == {"dev"}
    before = pd.read_csv(run / "scores.csv")
    for times in range(2):
        done = program("evaluate", f"--run={run}", "--partition=test")
        assert done.returncode == 0, done.stderr
        lines = (run / "evaluations.jsonl").read_text("utf-8").splitlines()
        log = [json.loads(line) for line in lines]
        assert [entry["opened_before"] for entry in log] == list(range(times + 1))
    scores = pd.read_csv(run / "scores.csv")
    pd.testing.assert_frame_equal(
        scores[scores["partition"] == "dev"].reset_index(drop=True), before
    )
    predictions = pd.read_csv(run / "predictions.csv", dtype={"fold": str})
    test = predictions[predictions["partition"] == "test"]
    lane = test[
        (test["main"] == "audio") & (test["alpha"] == 0.5) & (test["seed"] == 1)
    ]
    assert sorted(lane["recording"]) == sorted(set(lane["recording"]))  # held out once
    value = scores[
        (scores["partition"] == "test")
        & (scores["main"] == "audio")
        & (scores["alpha"] == 0.5)
        & (scores["seed"] == 1)
        & (scores["fold"] == 2)
        & (scores["metric"] == "macro_f1")
    ]["value"].item()
    fold = lane[lane["fold"] == "2"]
    classes = json.loads((run / "corpus.json").read_text("utf-8"))["classes"]
    expected = f1_score(
        fold["label"],
        fold["prediction"],
        labels=classes,
        average="macro",
        zero_division=0,
    )
    assert value == pytest.approx(expected, abs=1e-15)


def test_resume_makes_only_what_is_missing_and_the_same(run, finished):
    shutil.rmtree(run / "checkpoints" / "1")
    done = program(
        *("sweep", *SMALL, "--folds", "--config.corpus.folds=3"),
        *("--resume", f"--workdir={run}"),
    )
    assert done.returncode == 0, done.stderr
    assert "fold 0 was finished before" in done.stderr
    for name in ("scores.csv", "predictions.csv", "history.csv"):
        keys = ["fold", "main", "alpha", "seed"]
        again, first = (
            pd.read_csv(folder / name).sort_values(
                keys, kind="stable", ignore_index=True
            )
            for folder in (run, finished)
        )
        pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(
    ("tune", "alphas", "seeds"),
    [
        ("alpha", [0.0, 0.5], [0, 1]),
        pytest.param("baseline", [0.0], [1], marks=pytest.mark.slow),
    ],
)
def test_settings_are_those_of_best_dev_score(tmp_path, tune, alphas, seeds):
    workdir = tmp_path / "run"
    # a tuple that is given twice grows
    small = [flag for flag in SMALL if not flag.startswith("--config.sweep.l2=")]
    done = program(
        *("sweep", *small, "--config.sweep.l2=(0.0,0.05)", f"--workdir={workdir}"),
        *(f"--config.sweep.tune={tune}", f"--config.sweep.tuning_seeds={(*seeds,)}"),
    )
    assert done.returncode == 0, done.stderr
    tuning = pd.read_csv(workdir / "tuning.csv")
    assert sorted(set(tuning["alpha"])) == alphas and len(tuning) == 2 * 2 * len(
        alphas
    ) * len(seeds)
    folder = workdir / "checkpoints" / "fixed"
    facts = json.loads((folder / "checkpoint.json").read_text("utf-8"))
    assert len(facts["lanes"]) == 2 * 2 * 2
    means = tuning.groupby(["main", "alpha", "l2"])["dev_score"].mean()
    for lane, outcome in zip(facts["lanes"], facts["outcomes"], strict=True):
        key = (lane["main"], lane["alpha"] if tune == "alpha" else 0.0)
        assert lane["l2"] == means[key].idxmax()  # of equal ones the first
        same = tuning[
            (
                tuning[["main", "alpha", "seed", "l2"]]
                == pd.Series(lane)[["main", "alpha", "seed", "l2"]]
            ).all(axis=1)
        ]
        if len(same):
            assert same["chosen"].all()
            assert same["dev_score"].item() == pytest.approx(outcome["best_score"])
    history = pd.read_csv(workdir / "history.csv")
    assert len(history) == 2 * 2 * 2 * 2  # mains, alphas, seeds, epochs: each lane once


def test_resume_refuses_another_configuration(run):
    done = program("sweep", *SMALL, "--resume", f"--workdir={run}")
    assert done.returncode == 1
    assert "another" in done.stderr or "other entries" in done.stderr


def test_an_existing_run_is_not_written_over(run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    done = program("sweep", *SMALL, f"--workdir={run}")
    assert done.returncode == 1
    assert "--resume" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_evaluate_refuses_a_changed_corpus(run):
    config = json.loads((run / "config.json").read_text("utf-8"))
    config["corpus"]["features"] = [30, 24]
    (run / "config.json").write_text(json.dumps(config), "utf-8")
    done = program("evaluate", f"--run={run}")
    assert done.returncode == 1
    assert "features of 'audio'" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_corpus_under_the_same_configuration_is_refused(run):
    """As when the files of a corpus were exchanged behind an unchanged path."""
    corpus = json.loads((run / "corpus.json").read_text("utf-8"))
    corpus["fingerprints"]["1"] = "0" * 64
    (run / "corpus.json").write_text(json.dumps(corpus), "utf-8")
    shutil.rmtree(run / "checkpoints" / "2")
    resumed = program(
        *("sweep", *SMALL, "--folds", "--config.corpus.folds=3"),
        *("--resume", f"--workdir={run}"),
    )
    shutil.copytree(run / "checkpoints" / "1", run / "checkpoints" / "2")
    for done in (resumed, program("evaluate", f"--run={run}")):
        assert done.returncode == 1
        assert "train or dev (fold 1) are no longer those" in done.stderr
    assert not (run / "evaluations.jsonl").exists()


def test_two_programs_do_not_write_to_one_run(run):
    before = (run / "scores.csv").read_bytes()
    with FileLock(run / ".lock"):
        for done in (
            program("evaluate", f"--run={run}"),
            program(
                *("sweep", *SMALL, "--folds", "--config.corpus.folds=3"),
                *("--resume", f"--workdir={run}"),
            ),
        ):
            assert done.returncode == 1
            assert "another program is writing to this run" in done.stderr
    assert (run / "scores.csv").read_bytes() == before
    assert program("evaluate", f"--run={run}").returncode == 0  # nothing is left behind


MISTAKES = {
    "--config=configs/none.py": (2, "configs/none.py: no such file"),
    "--config.training.epoch=3": (2, "epoch"),
    "--config.training.epochs=many": (2, "many"),
    "--config.training.epochs=0": (1, "training.epochs is 0"),
    "--config.sweep.l2=(-1.0,)": (1, "sweep.l2 holds -1.0"),
    "--config.training.sequence=room": (1, "training.sequence is 'room'"),
    "--config.sweep.tune=all": (1, "sweep.tune is 'all'"),
    "--config.sweep.alphas=(1.5,)": (1, "sweep.alphas holds 1.5"),
    "--config.sweep.seeds=(0.5,)": (1, "sweep.seeds holds 0.5"),
    "--config.sweep.mains=('text',)": (1, "sweep.mains holds 'text'"),
    "--config.sweep.modalities=('text',)": (1, "sweep.modalities holds 'text'"),
    "--config.sweep.memory_gib=0.0001": (1, "MiB a device; use a smaller"),
    "--config.corpus.rater_error=(0.1,0.2,0.3)": (1, "rater_error is (0.1, 0.2, 0.3)"),
    "--config.evaluation.metric=auc": (1, "evaluation.metric is 'auc'"),
    "--config.evaluation.cluster=room": (1, "evaluation.cluster is 'room'"),
    "--config.model.hidden_size=0": (1, "model.hidden_size is 0"),
    "--config.sweep.save_every_seconds=-1.0": (1, "save_every_seconds is -1.0; exp"),
    "--config.sweep.block_mib=-1.0": (1, "sweep.block_mib is -1.0; expected at least"),
    "--config.sweep.keep_snapshots=0": (1, "sweep.keep_snapshots is 0; expected at"),
    "--config.evaluation.cluster=fold": (1, "evaluation.cluster is 'fold'"),
    "--config.corpus.kind=folder": (1, "configs/folder.py"),
    "--config.corpus.kind=iemocap": (1, "corpus.kind is 'iemocap'"),
    "--nosuchflag": (2, "nosuchflag"),
    "surplus": (2, "surplus"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_before_anything_is_made(mistake, tmp_path):
    workdir = tmp_path / "run"
    arguments = SMALL if "=configs/" not in mistake else SMALL[1:]
    done = program("sweep", *arguments, mistake, f"--workdir={workdir}")
    status, words = MISTAKES[mistake]
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1
    assert not workdir.exists()


def test_ravdess_says_how_to_find_the_data(tmp_path):
    done = program(
        "sweep", "--config=configs/ravdess.py", f"--workdir={tmp_path / 'x'}"
    )
    assert done.returncode == 1
    assert "IFUSION_DATA" in done.stderr


def test_a_folder_of_ones_own_runs_whole(tmp_path):
    from ifusion.corpora.synthetic import SyntheticOptions, make_synthetic
    from ifusion.corpora.table import write_corpus

    options = SyntheticOptions(recordings=(60, 30, 30), speakers=12)
    write_corpus(make_synthetic(options), tmp_path / "mine")
    arguments = ["--config=configs/folder.py", *SMALL[3:]]
    done = program(
        *("sweep", *arguments, "--config.training.sequence=video"),
        *(f"--config.corpus.path={tmp_path / 'mine'}", f"--workdir={tmp_path / 'run'}"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_ctrl_c_ends_with_one_line(tmp_path):
    # a test run in the background ignores Ctrl-C, and so would its children
    heed = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = [
        *(sys.executable, "-c", heed, "experiments/sweep.py", *SMALL),
        *("--config.training.epochs=10000", "--config.training.patience=10000"),
        f"--workdir={tmp_path / 'run'}",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert any("epoch " in line for line in iter(process.stderr.readline, ""))
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    assert "error: stopped" in rest
    assert "Traceback" not in rest


def test_compiled_programs_are_kept_where_asked(tmp_path):
    cache = tmp_path / "cache"
    done = program(
        *("sweep", *SMALL, f"--workdir={tmp_path / 'run'}"),
        f"--compilation_cache={cache}",
    )
    assert done.returncode == 0, done.stderr
    assert any(path.name.startswith("jit_epoch") for path in cache.iterdir())
