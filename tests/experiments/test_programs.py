"""Each program once, as a user starts it, and how programs end."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from starting import SMALL, begin, program, succeed

from configs.recola import get_config
from ifusion.corpora import synthetic, write_corpus
from ifusion.corpora.corpus import UNLABELLED
from ifusion.corpora.readers import open_corpus
from ifusion.experiment import runs
from ifusion.experiment.options import options_from_dict

RUN = (
    *SMALL,
    "--config.corpus.folds=3",
    "--config.training.epochs=4",
    "--config.sweep.seeds=(0,1)",
)


def test_sweep_evaluate_and_replay(tmp_path):
    run = tmp_path / "run"
    board = tmp_path / "board"
    done = succeed(program("sweep", *RUN, f"--workdir={run}", f"--tensorboard={board}"))
    assert "report:" in done.stdout and "RNN (implicit fusion)" in done.stdout
    assert any(board.rglob("events.out.tfevents.*"))
    done = succeed(program("evaluate", f"--run={run}"))
    assert "test" in done.stdout
    lane = "main=audio,alpha=0.5,seed=1"
    done = succeed(program("replay", f"--run={run}", f"--lane={lane}"))
    assert "trained again; all " in done.stdout


@pytest.mark.slow
def test_tables_in_shares(tmp_path):
    systems = "--systems=svm,baseline,early_fusion"
    flags = (*RUN, systems, f"--workdir={tmp_path / 'run'}")
    for share in ("1/2", "2/2"):
        succeed(program("tables", *flags, f"--lanes={share}"))
    done = succeed(program("merge", f"--workdir={tmp_path / 'run'}"))
    assert "Early fusion" in done.stdout and "SVM" in done.stdout
    assert not (tmp_path / "run" / "scores.csv").read_text("utf-8").count(",test,")


@pytest.mark.slow
def test_labels(tmp_path):
    new = synthetic(recordings=(4, 2, 2), speakers=8, seed=9)
    names, apart = [f"new {i}" for i in range(8)], np.full(8, UNLABELLED)
    write_corpus(replace(new, recording=names, partition=apart), tmp_path / "new")
    flags = (*RUN, f"--workdir={tmp_path / 'study'}", "--fractions=0.5,1")
    flags += (f"--adapt={tmp_path / 'new'}",)
    done = succeed(program("labels", *flags, "--draws=2", "--test"))
    assert f"8 recordings of {new.name!r} were added, without labels." in done.stderr
    assert "| audio | taught by the fusion [%] |" in done.stdout
    assert (tmp_path / "study" / "labels.png").is_file()
    again = succeed(program("labels", *flags, "--draws=2", "--test", "--resume"))
    assert again.stdout == done.stdout
    for flag, said in (
        ("--fractions=0.5,x", "--fractions=0.5,x: expected numbers above 0"),
        ("--config.corpus.unlabelled=x", "both name a folder; expected one of them"),
    ):
        wrong = program("labels", *flags, flag)
        assert wrong.returncode == 1 and said in wrong.stderr


@pytest.mark.slow
def test_recola_to_submission(tmp_path, mesh):
    folder, run, sent = tmp_path / "recola", tmp_path / "run", tmp_path / "sent"
    made = succeed(
        program(
            "make_recola",
            "--config=configs/synthetic_continuous.py",
            "--config.corpus.recordings=(2,2,2)",
            "--config.corpus.frames=80",
            "--config.corpus.features=(4,4)",
            "--config.corpus.latent=2",
            "--config.corpus.speakers=6",
            "--test_labels",
            f"--folder={folder}",
        )
    )
    assert "--config=configs/recola.py" in made.stdout
    train_recola(folder, run, mesh)
    done = succeed(program("submission", f"--run={run}", f"--folder={sent}"))
    assert done.stdout.count("written: ") == 4  # mains x targets
    gold = folder / "ratings_gold_standard"
    done = succeed(
        program("submission", f"--gold={gold}", f"--folder={sent / 'audio'}")
    )
    assert "arousal: ccc_pooled" in done.stdout


def test_convert(tmp_path):
    arrays = {"audio": np.ones((2, 3, 4)), "labels": [0.5, 1.5]}
    np.savez(tmp_path / "x.npz", partition=["train", "dev"], **arrays)
    flags = ("--from=arrays", f"--input={tmp_path / 'x.npz'}", "--target=joy")
    done = succeed(
        program("convert", *flags, "--features=csv", f"--out={tmp_path / 'out'}")
    )
    assert "2 recordings (1 train, 1 dev, 0 test); audio 4 features" in done.stdout
    assert "note: audio: no lengths are given" in done.stderr
    labels = (tmp_path / "out/labels.csv").read_text()
    assert labels == "recording,joy\nr0,0.5\nr1,1.5\n"
    asks_for_os = b"\x80\x04cos\nsystem\n(X\x02\x00\x00\x00lstR."
    (tmp_path / "x.pkl").write_bytes(asks_for_os)
    flags = ("--from=mmsa", f"--input={tmp_path / 'x.pkl'}", f"--out={tmp_path / 'a'}")
    done = program("convert", *flags)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "x.pkl: the file asks for 'os.system'; only" in done.stderr
    assert not (tmp_path / "a").exists()
    done = program("convert", *flags[:2], f"--out={tmp_path / 'out'}")
    assert "out: already exists and is not an empty folder" in done.stderr


def train_recola(folder, run, mesh):
    """As sweep.py and evaluate.py do by configs/recola.py."""
    sections = get_config().to_dict()
    source = sections.pop("corpus") | {
        "path": str(folder),
        "recordings": 2,
        "frame_step": 0.04,
    }
    sections["model"]["hidden_size"] = 4
    sections["training"] |= {"epochs": 2, "window": 32, "hop": 16}
    sections["sweep"] |= {"alphas": (0.0,), "seeds": (0,), "delays": (0.0,)}
    corpus = open_corpus(source.pop("kind"), source)
    systems = ("baseline", "implicit_fusion")
    runs.train(run, runs.Plan(corpus, options_from_dict(sections), systems), mesh)
    runs.open_test(run, corpus, mesh=mesh)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_saves_and_resume_goes_on(tmp_path, number, status):
    flags = (*RUN, f"--workdir={tmp_path / 'run'}", "--config.training.epochs=99999")
    flags = (*flags, "--config.training.patience=99999")
    heed = (  # SIGINT as a terminal leaves it
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    process = begin("-c", heed, "experiments/sweep.py", *flags)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "epoch " in line:
            break
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == status, (lines, said)
    assert "stopped after epoch" in said and "--resume" in said
    assert "Traceback" not in said
    assert any((tmp_path / "run" / "stages").rglob("manifest.json"))


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        ([], 2, "--config is missing"),
        (["--config", "configs/none.py"], 2, "--config=configs/none.py: no such file"),
        (["--config", "configs/folder.py"], 1, "corpus.path is missing"),
        (["--config=configs/synthetic.py", "--process=1"], 1, "need --coordinator"),
        (["--config=configs/synthetic.py", "more"], 2, "unexpected argument 'more'"),
        (
            ["--config=configs/synthetic.py", "--config.training.epoch=3"],
            2,
            "--config.training.epoch: the config has no such entry; similar: "
            "--config.training.epochs",
        ),
        (
            ["--config=configs/synthetic.py", "--config.training.epochs=three"],
            2,
            "epochs=three: expected an integer",
        ),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, flags, status, words):
    done = program("sweep", f"--workdir={tmp_path / 'run'}", *flags)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_help_with_a_config_lists_its_entries():
    done = program("sweep", "--config=configs/synthetic.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "  --config.training.epochs=80\n" in done.stdout
    assert "  --config.sweep.seeds='(0, 1, 2, 3, 4)'\n" in done.stdout


def test_a_run_of_another_format_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"folds": ["fixed"]}), "utf-8")
    done = program("evaluate", f"--run={tmp_path}")
    assert done.returncode == 1
    assert "a run of format None; expected 5" in done.stderr
    assert "Traceback" not in done.stderr
