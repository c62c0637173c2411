"""The modules of the package, and which may import which.

Data goes one way: a module imports from those before it, never from one behind it.
"""

import ast
from pathlib import Path

import pytest

import ifusion

PACKAGE = Path(ifusion.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = sorted((PACKAGE.parent / "experiments").glob("*.py"))

TRAINED = {"concordance", "corpora", "lanes", "preprocessing", "models", "losses"}
ENGINE = TRAINED | {"adjustments", "core", "evaluation", "storage", "systems"}
ENGINE |= {"terminal", "training"}
MAY_IMPORT = {
    "adjustments": set(),
    "concordance": set(),
    "lanes": set(),
    "ties": set(),
    "terminal": set(),
    "paths": set(),
    "corpora": {"concordance", "paths", "terminal"},
    "features": {"corpora", "paths", "terminal"},
    "preprocessing": {"corpora"},
    "models": {"corpora", "preprocessing"},
    "losses": {"concordance", "corpora", "preprocessing"},
    "core": TRAINED,
    "storage": set(),
    "training": TRAINED | {"adjustments", "core", "storage"},
    "systems": TRAINED | {"core", "ties", "training"},
    "evaluation": {"adjustments", "concordance", "corpora", "storage", "ties"},
    "experiment": ENGINE,
    "inference": ENGINE | {"experiment", "features", "paths"},
    "reporting": {"corpora", "evaluation", "storage", "terminal"},
    "api": {"corpora", "evaluation", "experiment", "inference", "paths", "reporting"},
    "launch": {"corpora", "experiment", "paths", "reporting", "systems", "terminal"},
}
SHELL_ONLY = {"absl", "ml_collections"}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
DUMPS = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree, package="ifusion"):
    """Full names of all that a module imports, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            parts = [*(above if node.level else ()), *filter(None, [node.module])]
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def foreign_rooms(tree, room, package="ifusion"):
    """The rooms that a module of a room imports from, its own left out."""
    names = [name.split(".") for name in imports(tree, package)]
    rooms = {n[1] for n in names if n[0] == "ifusion" and len(n) > 1}
    return rooms & set(MAY_IMPORT) - {room}


def unpickles(tree):
    """Whether a module names a pickling library, or lets another one unpickle."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                return True
        elif isinstance(node, ast.Attribute) and node.attr in {
            "read_pickle",
            "to_pickle",
        }:
            return True
    return bool({name.split(".")[0] for name in imports(tree)} & UNSAFE)


def parsed(path):
    return ast.parse(path.read_text("utf-8"), str(path))


def package_of(path):
    return ".".join(["ifusion", *path.relative_to(PACKAGE).parts[:-1]])


every_module = pytest.mark.parametrize(
    "path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES]
)


@every_module
def test_a_room_imports_only_from_rooms_before_it(path):
    room = room_of(path)
    if room == "__init__":  # which loads them when they are first used
        allowed = {"api", "corpora", "experiment", "inference"}
    else:
        assert room in MAY_IMPORT, "a new room: say above what it may import"
        allowed = MAY_IMPORT[room]
    assert foreign_rooms(parsed(path), room, package_of(path)) <= allowed


@every_module
def test_only_the_models_and_the_core_import_flax(path):
    roots = {name.split(".")[0] for name in imports(parsed(path))}
    assert "flax" not in roots or room_of(path) in ("models", "core")


@every_module
def test_only_what_launches_programs_knows_flags_and_configs(path):
    roots = {name.split(".")[0] for name in imports(parsed(path))}
    assert not roots & SHELL_ONLY or room_of(path) == "launch"


@pytest.mark.parametrize("path", PROGRAMS, ids=[path.name for path in PROGRAMS])
def test_programs_are_thin(path):
    source = path.read_text("utf-8")
    ours = {"ifusion", *(program.stem for program in PROGRAMS)}
    roots = {name.split(".")[0] for name in imports(ast.parse(source))} & ours
    assert roots <= {"early", "ifusion"}
    assert source.count("\n") <= 60


@every_module
def test_nothing_is_pickled(path):
    assert not unpickles(parsed(path))


@every_module
def test_no_file_is_a_dump(path):
    assert not {path.stem, path.parent.name} & DUMPS


def test_the_order_of_rooms_has_no_circle():
    def reached(room):
        below = MAY_IMPORT[room]
        return below.union(*map(reached, below))

    assert all(room not in reached(room) for room in MAY_IMPORT)
    for room in ("evaluation", "features", "reporting"):
        assert "training" not in reached(room)


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import ifusion.training.step", {"training"}),
        ("from ifusion.training.step import TrainState", {"training"}),
        ("from ifusion import training", {"training"}),
        ("def f():\n    from ifusion.models import gru", {"models"}),
        ("from ..training.step import TrainState", {"training"}),
        ("from .gru import gru", set()),
        ("from ifusion import __version__\nimport numpy.random", set()),
    ],
)
def test_an_import_is_found_in_any_form(source, rooms):
    package = "ifusion.models" if "ifusion.models" not in source else "ifusion.corpora"
    room = package.removeprefix("ifusion.")
    assert foreign_rooms(ast.parse(source), room, package) == rooms


@pytest.mark.parametrize(
    ("source", "unsafe"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("numpy.load(path, allow_pickle=True)", True),
        ("numpy.load(path, allow_pickle=flag)", True),
        ("pandas.read_pickle(path)", True),
        ("numpy.load(path, allow_pickle=False)", False),
        ("import json", False),
    ],
)
def test_pickles_are_found_in_any_form(source, unsafe):
    assert unpickles(ast.parse(source)) is unsafe
