"""The one file: what it holds and lacks, and what is said of one that is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ifusion.experiment import runs
from ifusion.experiment.runs import Plan
from ifusion.inference.bundle import read_bundle, write_bundle
from ifusion.inference.card import describe_model
from ifusion.inference.opening import load_predictor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "model.ifusion"
    write_bundle(describe_model(load_predictor(trained, "audio"), trained), path)
    return path


def metadata_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def rewrite(path, place, without="", **metadata):
    """Writes a bundle again, without an array or with other metadata."""
    arrays = {k: v for k, v in load_file(path).items() if k != without}
    save_file(arrays, place, {**metadata_of(path), **metadata})


def test_a_bundle_predicts_what_the_run_does(bundle, trained, small, table_of):
    table = table_of(small, "audio", "dev")
    expected = load_predictor(trained, "audio").predict(table)
    pd.testing.assert_frame_equal(read_bundle(bundle).predict(table), expected)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["re_two_stage", "cnn", "svr"])
def test_any_system_is_bundled(staged, series, table_of, tmp_path, system):
    table = table_of(series, "video", "dev")
    predictor = load_predictor(staged, "video", system)
    write_bundle(predictor, tmp_path / "model.ifusion")
    again = read_bundle(tmp_path / "model.ifusion")
    pd.testing.assert_frame_equal(again.predict(table), predictor.predict(table))


def test_an_explicit_fusion_is_bundled(small, options, mesh, table_of, tmp_path):
    plan = Plan(small, options, ("baseline", "late_fusion"))
    runs.train(tmp_path / "run", plan, mesh)
    predictor = load_predictor(tmp_path / "run", "audio+video", "late_fusion")
    write_bundle(predictor, tmp_path / "model.ifusion")
    both = {m: table_of(small, m, "dev") for m in ("audio", "video")}
    found = read_bundle(tmp_path / "model.ifusion").predict(both)
    pd.testing.assert_frame_equal(found, predictor.predict(both))


def test_nothing_of_the_other_modality_is_in_the_file(bundle, small):
    """Neither its arrays nor its features, names or bytes."""
    arrays = load_file(bundle)
    layers = {"branch_audio/gru_0", "shared/gru_0", "output"}
    parts = {n.split("/", 2)[2].rpartition("/")[0] for n in arrays if n[0] == "p"}
    assert {part.removesuffix("/input") for part in parts} == layers
    statistics = {n for n in arrays if n.startswith("statistics/")}
    assert statistics == {"statistics/0/audio/mean", "statistics/0/audio/std"}
    assert len(arrays) == sum(n[0] == "p" for n in arrays) + len(statistics)
    assert b"video" not in bundle.read_bytes()
    assert all(
        name not in metadata_of(bundle)["facts"]
        for name in small.modalities["video"].names
    )
    predictor = read_bundle(bundle)
    assert list(predictor.features) == ["audio"]
    assert predictor.provenance == {"audio": small.provenance["audio"]}


def test_the_card_says_what_it_is_and_is_not(bundle, small):
    predictor = read_bundle(bundle)
    card, about = predictor.card, predictor.about
    for words in (
        "calm, tense, glad",
        f"Licence: {small.licence}",
        "train: 40 recordings",
        "95 % interval over 2 seeds",
        "use it to decide about people",
        "seeds 0, 1",
        "5 features of audio, standardised inside: drawn audio, numpy 2.4.",
    ):
        assert words in card, words
    (row,) = [x for x in about["scores"] if x["metric"] == "micro_f1"]
    assert row["partition"] == "dev" and row["low"] <= row["mean"] <= row["high"]


def test_reading_loads_nothing_heavy(bundle):
    code = f"""
import sys
from ifusion.inference.bundle import read_bundle
read_bundle({str(bundle)!r})
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"jax", "flax", "pandas", "sklearn", "scipy", "matplotlib"}
    assert {"numpy", "safetensors"} <= loaded


def cut(path, place):
    place.write_bytes(path.read_bytes()[:-100])


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    place.write_bytes(data)


def reword(path, place):
    facts = metadata_of(path)["facts"].replace("calm", "tame")
    rewrite(path, place, facts=facts)


def drop(path, place):
    rewrite(path, place, without="statistics/0/audio/std")


def newer(path, place):
    rewrite(path, place, version="2")


def foreign(path, place):
    save_file({"weight": np.zeros(3)}, place)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "cut off or damaged"),
        (flip, r"damaged \(its SHA-256 differs\)"),
        (reword, r"damaged \(its SHA-256 differs\)"),
        (drop, r"damaged \(its SHA-256 differs\)"),
        (newer, "a model of format 2, but this version of ifusion .* reads format 1"),
        (foreign, "a safetensors file, but not a model of ifusion"),
        (lambda path, place: place.write_text("a,b\n1,2\n"), "not a model of ifusion"),
        (lambda path, place: place.write_bytes(b""), "not a model of ifusion"),
        (lambda path, place: place.mkdir(), "a folder; expected a file"),
        (lambda path, place: None, "no such file"),
    ],
)
def test_files_that_are_no_model_are_named(bundle, tmp_path, spoil, words):
    place = tmp_path / "other.ifusion"
    spoil(bundle, place)
    with pytest.raises(ValueError, match=f"other.ifusion: .*{words}") as told:
        read_bundle(place)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.members[0].params["output"]["bias"].fill(np.nan), "not finite"),
        (
            lambda p: p.members[0].statistics["audio"]["std"].fill(-1),
            "not finite means",
        ),
        (lambda p: p.problem.update(num_classes=9), "number of its classes is not"),
        (lambda p: p.__dict__.update(targets=("joy",)), "members are not of its targ"),
        (
            lambda p: p.members[0].params["shared"]["gru_0"].update(bias=np.zeros(1)),
            "parameters of another shape: .*gru_0",
        ),
        (
            lambda p: p.problem.pop("architecture"),
            "problem of the predictor is incomplete",
        ),
    ],
)
def test_contents_that_cannot_be_are_named(
    trained, small, table_of, tmp_path, change, words
):
    predictor = load_predictor(trained, "audio")
    change(predictor)
    write_bundle(predictor, tmp_path / "model.ifusion")
    with pytest.raises(ValueError, match=words):
        read_bundle(tmp_path / "model.ifusion").predict(table_of(small, "audio", "dev"))


def test_facts_are_json_and_name_the_format(bundle):
    metadata = metadata_of(bundle)
    assert (metadata["format"], metadata["version"]) == ("ifusion.bundle", "1")
    facts = json.loads(metadata["facts"])
    assert facts["about"]["licence"] and facts["problem"]["mains"] == ["audio"]
