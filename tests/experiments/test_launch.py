"""How programs start and end, told by their status and what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run(body):
    """Runs a program whose main does what `body` says."""
    lines = ["import sys", "sys.path.insert(0, 'experiments')", "import launch"]
    return python("-c", "\n".join([*lines, "def main():", f"  {body}", CALL]))


CALL = "launch.run(main, 'stopped; nothing is left')"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (["--config", "configs/none.py"], 2, "--config=configs/none.py: no such file"),
        (["-config=configs/none.py"], 2, "--config=configs/none.py: no such file"),
        (["--workdir=x", "--config"], 2, "--config=: no such file"),
        (["--config", "configs/folder.py:continuous"], 1, "corpus.path=PATH is missi"),
    ],
)
def test_the_config_may_follow_a_space(path, status, words):
    done = python("experiments/sweep.py", "--workdir=nowhere", *path)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("entry", "name", "near"),
    [
        ("corpus.recordngs=3", "corpus.recordngs", "--config.corpus.recordings"),
        ("training.epoch=3", "training.epoch", "--config.training.epochs"),
        ("trainin.epochs=3", "trainin.epochs", "--config.training.epochs"),
        ("corpus.xyz=3", "corpus.xyz", "--config.corpus.kind"),
        ("xyz=3", "xyz", "--config.training"),
    ],
)
def test_a_misspelt_entry_is_named_with_its_nearest(entry, name, near):
    done = python(
        "experiments/sweep.py",
        *("--config=configs/synthetic.py", "--workdir=nowhere"),
        *("--config.training.patience=3", f"--config.{entry}"),
    )
    assert done.returncode == 2, done.stderr
    sentence = f"error: --config.{name}: the config has no such entry; near: "
    assert done.stderr.startswith(sentence), done.stderr
    assert near in done.stderr.removeprefix(sentence).strip().split(", ")
    assert done.stderr.count("\n") == 1


def test_a_wrong_value_of_an_entry_that_there_is_keeps_its_message():
    done = python(
        "experiments/sweep.py",
        *("--config=configs/synthetic.py", "--workdir=nowhere"),
        "--config.training.epochs=three",
    )
    assert done.returncode == 2
    assert "no such entry" not in done.stderr
    assert "--config.training.epochs=three: invalid literal" in done.stderr


def test_too_little_memory_of_a_device_names_the_entry():
    done = run("import jax; jax.numpy.zeros(2**45).block_until_ready()")
    assert done.returncode == 1, done.stderr
    assert "set sweep.memory_gib to less than it has" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_the_program_itself_is_not_hidden():
    done = run("raise RuntimeError('a fault')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "RuntimeError: a fault" in done.stderr


def test_jax_does_not_tell_of_accelerators_that_are_not_there():
    body = "import logging, jax; logging.info('shown'); jax.devices()"
    done = run(f"from absl import logging as a; a.set_verbosity(a.INFO); {body}")
    assert done.returncode == 0, done.stderr
    assert "shown" in done.stderr  # so would be the line that is not there
    assert "Unable to initialize" not in done.stderr


def test_each_program_says_what_ctrl_c_leaves():
    done = run("raise KeyboardInterrupt")
    assert done.returncode == 130
    assert done.stderr.endswith("error: stopped; nothing is left\n")


def test_a_flag_is_there_only_where_it_is_obeyed():
    done = python("experiments/submission.py", "--folder=x", "--compilation_cache=x")
    assert done.returncode == 2
    assert "compilation_cache" in done.stderr


def test_a_run_whose_config_lacks_a_section_is_refused(tmp_path):
    config = {"corpus": {"kind": "synthetic"}, "folds": ["fixed"]}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    done = python("experiments/evaluate.py", f"--run={tmp_path}")
    assert done.returncode == 1
    assert "config.json: there is no section 'training'" in done.stderr
    assert "Traceback" not in done.stderr
