"""What starting up may not load: libraries that take longer than the answer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"jax", "flax", "optax", "pandas", "scipy", "sklearn", "matplotlib"}
PROGRAMS = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if '__name__ == "__main__"' in path.read_text("utf-8")
)


def run_code(code):
    """Runs code in a new interpreter: the heavy libraries it has loaded; its output."""
    ending = "import sys; print('LOADED', *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ending}"],
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": True},
    )
    shown, _, names = done.stdout.rpartition("LOADED")
    return HEAVY & {name.partition(".")[0] for name in names.split()}, shown


def test_the_package_loads_nothing_heavy():
    assert run_code("import ifusion") == (set(), "")
    assert "pandas" in run_code("import pandas")[0]  # or this would show nothing


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_every_flag_and_loads_nothing_heavy(program):
    assert {"sweep", "tables", "evaluate"} <= set(PROGRAMS)
    code = f"""
import runpy, sys
from absl import flags
sys.path.insert(0, "experiments")
sys.argv = ["experiments/{program}.py", "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
defined = flags.FLAGS.flags_by_module_dict()
names = [x.name for key in defined if key[:5] != "absl." for x in defined[key]]
print("FLAGS", *names)
"""
    heavy, shown = run_code(code)
    assert heavy == set()
    shown, names = shown.split("FLAGS")
    assert {"debug"} < set(names.split())
    assert [name for name in names.split() if f"{name}:" not in shown] == []


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_the_lock_file_has_all_that_tests_need(version):
    setup = (ROOT / "setup.py").read_text("utf-8")
    listed = re.search(r"^TEST = \[(.*?)^\]", setup, re.M | re.S)[1]
    needed = {x.lower() for x in re.findall(r'^    "([\w-]+)', listed, re.M)}
    lock = (ROOT / "requirements" / f"python{version}.txt").read_text("utf-8")
    assert len(needed) > 9
    assert needed <= set(re.findall(r"^([\w-]+)==", lock, re.M))
