"""How programs read flags, print, and end."""

import pytest
from starting import ROOT, python

PROGRAM = """
import sys
sys.path.insert(0, "experiments")
import early
from ifusion.launch.flags import *
from ifusion.launch.program import run
from ifusion.terminal import print_result, say

def main():
    {}

run(main, "stopped; nothing is left")
"""
CONFIG = "CONFIG = define_config()\nPLACE = define_path('place', 'Any.')\ndef main"
SYNTHETIC = "--config=configs/synthetic.py"


def start(body, *flags, shell="", config=False, **environment):
    """Runs a program of a body, in a shell that may do something to it."""
    code = PROGRAM.format(body)
    code = code.replace("def main", CONFIG) if config else code
    return python("-c", code, *flags, shell=shell, timeout=100, **environment)


@pytest.mark.parametrize("code", ["latin-1", "ascii", "utf-8"])
def test_what_cannot_be_encoded_is_escaped(code):
    body = "print_result('p \\u2264 .05'); say('na\\u00efve \\u2192'); print('\\u2264')"
    done = start(body, PYTHONIOENCODING=code)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()[0]
    assert told == ("p ≤ .05" if code == "utf-8" else "p \\u2264 .05")
    assert done.stderr.startswith("na")


def test_control_characters_are_escaped():
    body = (
        "print_result('a\\x1b]0;title\\x07b\\r\\u202ec\\td'); raise ValueError('\\x9b')"
    )
    done = start(body)
    assert done.stdout == "a\\x1b]0;title\\x07b\\r\\u202ec\\td\n"
    assert done.stderr == "error: \\x9b\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    "shell",
    [
        "| head -1",
        "2>&1 | true",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        "> /dev/full",
        "> /dev/full 2>&1",
    ],
)
def test_a_stream_that_takes_nothing_fails_no_program(tmp_path, shell):
    body = (
        "[print_result('line ' * 99) for _ in range(999)]; "
        f"file = open({str(tmp_path / 'f')!r}, 'w'); print('more'); "
        "print('told', file=sys.stderr); file.write('mine')"
    )
    done = start(body, shell=shell)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert (tmp_path / "f").read_text() == "mine"


def test_a_status_stays_when_nobody_listens():
    assert start("raise ValueError('wrong')", shell="2>&-").returncode == 1
    assert start("raise KeyboardInterrupt", shell="2>&1 | true").returncode == 130


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_modules_load_ends_in_one_line(tmp_path, number):
    """The module would swallow an exception, as compiled ones do."""
    (tmp_path / "trap.py").write_text(
        f"import os\ntry:\n    os.kill(os.getpid(), {number})\n"
        "    for _ in range(10**6): pass\nexcept BaseException: pass\n"
    )
    done = start(f"sys.path.insert(0, {str(tmp_path)!r}); import trap")
    assert done.returncode == 128 + number
    assert done.stderr == "stopped\n"
    code = (
        "import sys, os; sys.path.insert(0, 'experiments'); import early; "
        f"os.kill(os.getpid(), {number})"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (128 + number, "stopped\n")


def test_a_signal_that_is_ignored_stays_so():
    body = "import os; os.kill(os.getpid(), 2); print_result('done')"
    done = start(body, shell="& wait $!", config=False)  # bash ignores it for jobs
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_an_entry_given_twice_counts_once():
    done = start(
        "print_result(repr((CONFIG.value.sweep.seeds, CONFIG.value.training.epochs)))",
        SYNTHETIC,
        "--config.sweep.seeds=(0,1)",
        "--config.training.epochs",
        7,
        "--config.sweep.seeds",
        "(2,)",
        "--config.training.epochs",
        9,
        config=True,
    )
    assert done.stdout == "((2,), 9)\n", done.stderr


def test_a_second_config_is_refused():
    done = start("pass", SYNTHETIC, "--config", "configs/omg.py", config=True)
    assert done.returncode == 2
    assert done.stderr == "error: --config is given twice; expected one config\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("~/x", "{home}/x"), ("./~/x", "{root}/~/x"), ("x/~", "x/~"), ("~", "{home}")],
)
def test_a_home_folder_is_put_in_once(tmp_path, given, expected):
    done = start(
        "print_result(str(PLACE.value))",
        SYNTHETIC,
        f"--place={given}",
        config=True,
        HOME=str(tmp_path),
    )
    assert done.stdout == expected.format(home=tmp_path, root=ROOT) + "\n", done.stderr


def test_a_config_may_be_at_home_and_a_path_is_not_empty(tmp_path):
    (tmp_path / "mine.py").write_text((ROOT / "configs/synthetic.py").read_text())
    body = "print_result(CONFIG.value.corpus.kind)"
    done = start(body, "--config=~/mine.py", config=True, HOME=str(tmp_path))
    assert done.stdout == "synthetic\n", done.stderr
    done = start(body, SYNTHETIC, "--place=", config=True)
    assert done.returncode == 2 and "--place=: expected a path" in done.stderr


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("import jax; jax.numpy.zeros(2**45).block_until_ready()", 1, "out of device"),
        ("raise RuntimeError('a fault')", 1, "RuntimeError: a fault"),
        ("raise KeyboardInterrupt", 130, "stopped; nothing is left"),
        ("raise OSError(28, 'No space left', 'x')", 1, "No space left"),
    ],
)
def test_programs_end_with_a_status(body, status, words):
    done = start(body)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert ("Traceback" in done.stderr) == ("a fault" in words)
