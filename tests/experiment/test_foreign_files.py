"""Files of another run, and damaged ones: refused in a sentence, or trained again."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import ifusion as ifn
from ifusion.evaluation.traces import require_traces
from ifusion.experiment import runs
from ifusion.experiment.fold_data import STANDARDIZER
from ifusion.experiment.runs import Plan, read_result
from ifusion.experiment.snapshots import Snapshots
from ifusion.experiment.store import read_identity
from ifusion.storage import read_arrays, read_facts, write_folder

ONE = ("baseline",)
FIT, DATA = "folds/fixed/fits/baseline", "folds/fixed/data"
DEV = "folds/fixed/outcomes/baseline-dev"
LANES = "stages/fixed/baseline/lanes"


def keeping_work(monkeypatch):
    """Lets a run keep its trained lanes and snapshots."""
    monkeypatch.setattr("ifusion.experiment.engine.forget_stages", lambda *_: None)
    monkeypatch.setattr(Snapshots, "clear", Snapshots._wait)


@pytest.fixture(scope="module")
def plan(small, options):
    few = replace(options, sweep=replace(options.sweep, l2=(0.0,), seeds=(0,)))
    return Plan(small, few, ONE)


@pytest.fixture(scope="module")
def run(plan, mesh, tmp_path_factory):
    """A finished run, with trained lanes and snapshots."""
    folder = tmp_path_factory.mktemp("own") / "run"
    with pytest.MonkeyPatch.context() as patch:
        keeping_work(patch)
        runs.train(folder, plan, mesh)
    return folder


@pytest.fixture(scope="module")
def other(plan, mesh, tmp_path_factory):
    """The same of another learning rate."""
    training = replace(plan.options.training, learning_rate=0.01)
    changed = plan._replace(options=replace(plan.options, training=training))
    folder = tmp_path_factory.mktemp("other") / "run"
    with pytest.MonkeyPatch.context() as patch:
        keeping_work(patch)
        runs.train(folder, changed, mesh)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def put(source, place, part, into=None):
    shutil.rmtree(place / (into or part))
    shutil.copytree(source / part, place / (into or part))


def rewrite(folder, change):
    """Changes the facts of a folder so that its digests are right."""
    facts = change(read_facts(folder))
    text = json.dumps(facts).encode()
    (folder / "checkpoint.json").write_bytes(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["facts"] = hashlib.sha256(text).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def unfinish(copy):
    shutil.rmtree(copy / FIT)


@pytest.mark.parametrize("part", [FIT, DEV])
def test_results_of_another_run_are_refused(run, other, copy, part):
    put(other, copy, part)
    with pytest.raises(ValueError, match=f"{part}: made by a run of another config$"):
        read_result(copy)


def test_a_fit_of_another_run_is_not_predicted_with(
    plan, small, other, copy, mesh, tmp_path
):
    put(other, copy, FIT)
    for act in (
        lambda: runs.train(copy, plan, mesh, resume=True),
        lambda: runs.open_test(copy, small, mesh),
        lambda: ifn.load(copy, "audio", "baseline"),
    ):
        with pytest.raises(ValueError, match="made by a run of another config"):
            act()


@pytest.mark.parametrize("name", ["data", "settings.json"])
def test_statistics_and_settings_of_another_run_are_refused(
    plan, other, copy, mesh, name
):
    part = copy / "folds/fixed" / name
    source = other / "folds/fixed" / name
    if name == "data":
        put(other, copy, DATA)
    else:
        shutil.copy(source, part)
        unfinish(copy)
    with pytest.raises(ValueError, match=f"{name}: made by a run of another config"):
        runs.train(copy, plan, mesh, resume=True)


def test_lanes_of_another_run_are_refused(plan, other, copy, mesh):
    unfinish(copy)
    put(other, copy, LANES)
    with pytest.raises(
        ValueError, match=r"trained-0: made by a run of another config; remove that"
    ):
        runs.train(copy, plan, mesh, resume=True)


def foreign(path, other):
    snapshot = next(x for x in (other / LANES).iterdir() if x.name.isdigit())
    shutil.rmtree(path)
    shutil.copytree(snapshot, path)


def nested(path, _):
    (path / "manifest.json").write_text("[" * 200_000)


def no_facts(path, _):
    rewrite(path, lambda facts: [])


def fewer_lanes(path, _):
    rewrite(path, lambda facts: {**facts, "lanes": [*facts["lanes"], "more"]})


@pytest.mark.parametrize("spoil", [foreign, nested, no_facts, fewer_lanes])
def test_a_snapshot_of_no_use_lets_training_start_again(
    plan, run, other, copy, mesh, capsys, assert_same_runs, spoil
):
    unfinish(copy)
    shutil.rmtree(copy / LANES / "trained-0")
    numbered = [path for path in (copy / LANES).iterdir() if path.name.isdigit()]
    assert numbered
    for path in numbered:
        spoil(path, other)
    runs.train(copy, plan, mesh, resume=True)
    said = capsys.readouterr().err
    assert said.count("; skipped") == len(numbered)
    assert "no usable snapshot; training starts over" in said
    shutil.copytree(run, copy.parent / "whole")
    shutil.rmtree(copy.parent / "whole/stages")
    assert_same_runs(copy, copy.parent / "whole")


@pytest.mark.parametrize("spoil", [nested, no_facts, fewer_lanes])
def test_damaged_lanes_are_named(plan, copy, other, mesh, spoil):
    unfinish(copy)
    spoil(copy / LANES / "trained-0", other)
    with pytest.raises(ValueError, match=r"trained-0.*; remove that folder"):
        runs.train(copy, plan, mesh, resume=True)


@pytest.mark.parametrize("part", [FIT, DEV])
@pytest.mark.parametrize("spoil", [nested, no_facts])
def test_damaged_results_are_named(copy, part, spoil):
    spoil(copy / part, None)
    with pytest.raises(ValueError, match=part):
        read_result(copy)


def test_more_candidates_than_lanes_are_named(copy):
    def more(facts):
        return {**facts, "candidates": [*facts["candidates"], facts["candidates"][0]]}

    rewrite(copy / FIT, more)
    with pytest.raises(ValueError, match=f"{FIT}: histories of other than"):
        read_result(copy)


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_statistics_that_are_none_are_named(plan, copy, mesh, value):
    arrays, facts = read_arrays(copy / DATA), read_facts(copy / DATA)
    name = f"{STANDARDIZER}/audio/std"
    arrays[name] = np.full_like(arrays[name], value)
    shutil.rmtree(copy / DATA)
    write_folder(copy / DATA, arrays, facts)
    words = "the statistics of audio are not finite means and deviations"
    with pytest.raises(ValueError, match=words):
        ifn.load(copy, "audio", "baseline")
    with pytest.raises(ValueError, match=f"{words}.*--resume writes it again"):
        runs.train(copy, plan, mesh, resume=True)


def set_entry(path, keys, value):
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "keys", "value", "words"),
    [
        ("config.json", ["training"], [], "key training has the value"),
        ("config.json", ["folds"], [1], r"key folds has the value \[1\]"),
        ("config.json", ["sweep", "seeds"], ["a"], "expected a tuple of int"),
        ("config.json", ["sweep", "seeds"], 3, "expected a tuple of int"),
        ("config.json", ["model", "hidden_size"], "x", "hidden_size is 'x'; .* int"),
        ("config.json", ["training", "learning_rate"], True, "expected float"),
        ("config.json", ["training", "learning_rate"], 0.5, "of another config"),
        ("corpus.json", ["task"], "guess", "task has the value 'guess'"),
        ("corpus.json", ["classes"], [1], "classes holds values other than text"),
        ("corpus.json", ["features"], 3, "key features has the value 3"),
        ("corpus.json", ["fingerprints"], {}, "no fingerprint of the fold 'fixed'"),
        ("corpus.json", ["fingerprints", "fixed"], "0", "of another corpus"),
    ],
)
def test_entries_of_a_run_that_cannot_be_are_named(copy, name, keys, value, words):
    set_entry(copy / name, keys, value)
    with pytest.raises(ValueError, match=words) as caught:
        read_result(copy)
    assert str(copy) in str(caught.value)


def test_further_entries_of_a_system_are_no_hindrance(copy):
    rows = json.loads((copy / "systems.json").read_text())
    rows[0]["more"] = 1
    (copy / "systems.json").write_text(json.dumps(rows))
    assert read_result(copy).systems[0].key == "baseline"


@pytest.mark.parametrize("linked", ["stages", "stages/fixed"])
def test_a_link_to_another_disk_works(plan, run, mesh, tmp_path, linked):
    copy = shutil.copytree(run, tmp_path / "run")
    unfinish(copy)
    shutil.rmtree(copy / LANES / "trained-0")
    shutil.move(copy / linked, tmp_path / "disk")
    (copy / linked).symlink_to(tmp_path / "disk")
    for _ in range(2):
        runs.train(copy, plan, mesh, resume=True)
    assert read_result(copy).candidates.equals(read_result(run).candidates)


def test_strict_refuses_what_is_said_of_the_corpus(small, options, tmp_path, mesh):
    speaker = np.full(small.speaker.shape, "one")
    corpus = replace(small, speaker=speaker, notes=("a file was skipped",))
    with pytest.raises(
        ValueError, match=r"\(1\) a file was skipped \(2\).*train and dev: one"
    ):
        ifn.run(corpus, options=options, workdir=tmp_path / "run", strict=True)
    assert not (tmp_path / "run").exists()


def test_a_home_folder_is_found_in_python(run, monkeypatch):
    monkeypatch.setenv("HOME", str(run.parent))
    assert ifn.open_run("~/run").folder == run


def test_traces_of_another_run_are_refused(trained_series, tmp_path):
    copy = shutil.copytree(trained_series, tmp_path / "run")
    set_entry(copy / "corpus.json", ["fingerprints", "fixed"], "0")
    path = copy / "folds/fixed/traces/baseline-dev.safetensors"
    assert len(read_result(trained_series).traces) == 4
    with pytest.raises(
        ValueError, match=r"dev.safetensors: made by a run of another co"
    ):
        require_traces(path, read_identity(copy, "fixed"))
    with pytest.raises(ValueError, match="of another corpus"):
        read_result(copy)
