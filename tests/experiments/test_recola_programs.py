"""RECOLA as a user runs it: files of AVEC in, a sweep, prediction files out, scored."""

import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("unoptimised")
CORPUS = (
    "--config=configs/synthetic_continuous.py",
    "--config.corpus.features=(4,3)",
    "--config.corpus.latent=2",
    "--config.corpus.recordings=(3,2,2)",
    "--config.corpus.speakers=7",
    "--config.corpus.frames=100",
)
SMALL = (
    "--config=configs/recola.py",
    "--config.corpus.recordings=3",
    "--config.training.epochs=2",
    "--config.training.window=50",
    "--config.training.hop=50",
    "--config.model.hidden_size=4",
    "--config.model.branch_layers=1",
    "--config.model.shared_layers=1",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.delays=(0.0,)",
    "--config.evaluation.resamples=20",
)


def program(name, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != "IFUSION_DATA"}
    return subprocess.run(
        [sys.executable, f"experiments/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def cut(path, rows):
    """Keeps some rows of an ARFF file."""
    head, mark, body = path.read_text("utf-8").partition("@data\n")
    kept = body.splitlines(keepends=True)[rows]
    path.write_text(f"{head}{mark}{''.join(kept)}", "utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """RECOLA, once with the labels of test, and a run with test closed.

    In the one without, audio of test_1 begins two frames late and video ends one early.
    """
    folder = tmp_path_factory.mktemp("submission")
    for name, labels in (("recola", ()), ("labelled", ("--test_labels",))):
        done = program("make_recola", *CORPUS, f"--folder={folder / name}", *labels)
        assert done.returncode == 0, done.stderr
        assert "--config.corpus.recordings=3" in done.stdout
    cut(folder / "recola" / "features_audio" / "test_1.arff", slice(2, None))
    cut(folder / "recola" / "features_video_geometric" / "test_1.arff", slice(-1))
    path = f"--config.corpus.path={folder / 'recola'}"
    done = program("sweep", *SMALL, path, f"--workdir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    assert "1 of 3 dev recordings have no audio features" in done.stderr
    return folder


def submit(folder, *arguments):
    return program("submission", f"--folder={folder}", *arguments)


def test_files_of_dev_score_as_the_run_says(finished, tmp_path):
    run = finished / "run"
    done = submit(tmp_path / "dev", f"--run={run}", "--partition=dev", "--seed=1")
    assert done.returncode == 0, done.stderr
    gold = f"--gold={finished / 'recola' / 'ratings_gold_standard'}"
    scores = pd.read_csv(run / "scores.csv")
    scores = scores[(scores["partition"] == "dev") & (scores["seed"] == 1)]
    for main in ("audio", "video"):
        done = submit(tmp_path / "dev" / main, gold)
        assert done.returncode == 0, done.stderr
        for target in ("arousal", "valence"):
            line = next(w for w in done.stdout.splitlines() if w.startswith(target))
            found = line.split("ccc_pooled ")[1].split()[0]
            lanes = scores[(scores["main"] == main) & (scores["target"] == target)]
            known = lanes[lanes["metric"] == "ccc_pooled_post"]["value"]
            assert float(found) in known.round(4).tolist()


def test_test_is_written_once_it_is_opened(finished, tmp_path):
    run = shutil.copytree(finished / "run", tmp_path / "run")
    arguments = (f"--run={run}", "--partition=test")
    done = submit(tmp_path / "files", *arguments)
    assert done.returncode == 1
    assert "open the partition of a regression by evaluate.py" in done.stderr
    assert program("evaluate", *arguments).returncode == 0
    done = submit(tmp_path / "files", *arguments, "--system=baseline")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("alpha 0.0") == 4
    files = sorted((tmp_path / "files" / "video" / "valence").iterdir())
    assert [path.name for path in files] == ["test_1.csv", "test_2.csv"]
    cut_frame, frame = (pd.read_csv(path, sep=";") for path in files)
    assert [*frame.columns] == ["name", "frameTime", "prediction"]
    for whole in (cut_frame, frame):
        assert len(whole) == 100
        assert whole["frameTime"].iloc[0] == 0 and whole["frameTime"].iloc[-1] == 3.96
    assert cut_frame["prediction"].iloc[:3].nunique() == 1
    assert cut_frame["prediction"].iloc[-2:].nunique() == 1
    said = "incomplete: 1 recordings of test lack a file in the corpus, so there are no"
    assert done.stdout.splitlines()[-1] == f"{said} predictions of test_3"
    gold = finished / "labelled" / "ratings_gold_standard"
    done = submit(tmp_path / "files" / "video", f"--gold={gold}")
    assert done.returncode == 0, done.stderr
    assert "  test_2: ccc " in done.stdout
    again = submit(tmp_path / "files", *arguments)
    assert "already exists and is not an empty folder" in again.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("submission", ["--folder=x"], "expected either --run, to write files, or"),
        ("submission", ["--folder=x", "--run=a", "--gold=b"], "expected either --run"),
        ("submission", ["--folder=nowhere", "--gold=b"], "there is no sub-folder"),
        ("submission", ["--folder=x", "--run=nowhere"], "is nowhere a run directory?"),
        (
            "sweep",
            ["--config=configs/recola.py", "--workdir=x"],
            "corpus.path is missing",
        ),
        (
            "sweep",
            [
                "--config=configs/recola.py",
                "--workdir=x",
                "--config.corpus.path=nowhere",
            ],
            "nowhere: no such folder",
        ),
        (
            "sweep",
            ["--config=configs/studyforrest.py", "--workdir=x"],
            "IFUSION_DATA to the folder that holds studyforrest_av",
        ),
    ],
)
def test_mistakes_end_in_one_sentence(name, arguments, sentence):
    done = program(name, *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_another_step_and_modality_are_read_back_by_the_flags_that_are_said(tmp_path):
    """By the program that wrote them, into the same files again."""
    done = program(
        *("make_recola", *CORPUS[:1], *CORPUS[3:], f"--folder={tmp_path / 'first'}"),
        *("--config.corpus.modalities=('audio','heart')", "--test_labels"),
        *("--config.corpus.features=(4,3)", "--config.corpus.latent=2"),
        *("--config.corpus.frame_step=0.1", "--config.corpus.annotation_delay=0.0"),
    )
    assert done.returncode == 0, done.stderr
    said = shlex.split(done.stdout.partition("read it by ")[2])
    assert "--config.corpus.frame_step=0.1" in said
    again = program("make_recola", *said, f"--folder={tmp_path / 'second'}")
    assert again.returncode == 0, again.stderr
    file = Path("features_heart", "dev_1.arff")
    first, second = (tmp_path / x / file for x in ("first", "second"))
    assert second.read_text("utf-8") == first.read_text("utf-8")
    assert "9.9" in first.read_text("utf-8").splitlines()[-1]


def test_the_flags_of_its_docstring_make_as_many_recordings_as_recola_has(tmp_path):
    text = (ROOT / "experiments" / "make_recola.py").read_text("utf-8")
    recipe = ast.get_docstring(ast.parse(text)).partition("GB:")[2]
    flags = shlex.split(recipe.replace("\\\n", " "))
    assert len(flags) == 4
    done = program(
        *("make_recola", *CORPUS[:1], *flags, f"--folder={tmp_path / 'recola'}"),
        "--config.corpus.frames=60",
    )
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in (tmp_path / "recola/features_audio").iterdir()}
    assert names == {f"{p}_{k}" for p in ("train", "dev", "test") for k in range(1, 10)}


def test_an_unknown_seed_is_named(finished, tmp_path):
    arguments = (f"--run={finished / 'run'}", "--partition=dev", "--seed=9")
    done = submit(tmp_path / "files", *arguments)
    assert done.returncode == 1
    assert "--seed=9: the run has no such seed" in done.stderr
