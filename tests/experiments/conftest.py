"""Lets tests import the modules of the shell, as its programs do."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "experiments")]


def without_times(path):
    facts = json.loads(path.read_text("utf-8"))
    facts.pop("provenance")
    return facts


def files_of(workdir):
    """{path in a run: path}, of a run without the shares that it was trained in."""
    paths = {p.relative_to(workdir): p for p in workdir.rglob("*") if p.is_file()}
    return {str(name): p for name, p in paths.items() if name.parts[0] != "shares"}


@pytest.fixture(scope="session")
def assert_same_runs():
    """All files alike, but for when and by what command a run was started."""

    def check(workdir, other):
        files, others = files_of(workdir), files_of(other)
        assert files.keys() == others.keys()
        assert any(path.name == "arrays.safetensors" for path in files.values())
        for name, path in files.items():
            if path.name in ("config.json", "checkpoint.json"):
                assert without_times(path) == without_times(others[name]), name
            elif path.name not in ("manifest.json", "report.html"):
                assert path.read_bytes() == others[name].read_bytes(), name

    return check


@pytest.fixture(scope="session")
def unwatched():
    """Opens no progress line."""

    @contextmanager
    def watch(stage, mains, score):
        yield lambda progress: None

    return watch


@pytest.fixture(scope="session")
def unsaved():
    """Opens no snapshots."""

    @contextmanager
    def keep(stage, lanes):
        yield SimpleNamespace(
            newest=lambda *_: None, offer=lambda *_: None, save=lambda *_: None
        )

    return keep
