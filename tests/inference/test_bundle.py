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
from ifusion.inference import bundle as bundle_file
from ifusion.inference.bundle import read_bundle, write_bundle
from ifusion.inference.card import describe_model
from ifusion.inference.opening import load_predictor
from ifusion.inference.predictor import Member, Predictor
from ifusion.storage import unflatten
from ifusion.systems.catalogue import find_systems
from ifusion.systems.problem import make_problem
from ifusion.systems.shapes import parameter_shapes

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
    assert len(found) == len(predictor.predict({"video": both["video"]})) == 20


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
        (lambda p: p.problem["num_features"].update(audio=9), "not those of its prob"),
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


SIZES = {"audio": 3, "video": 2}
UTTERANCES = {"hidden_size": 4, "recurrent": False}
TIME = {"hidden_size": 4, "branch_layers": 2}
POOLED = {"hidden_size": 4, "pooling": "attention"}
# the shape of these is taken as it is, and the others must fit it
GIVES_SIZES = {"svm": "classes", "control_capacity": "output/kernel"}


def predictor_of(key, sizes):
    """A predictor of any system, with parameters of the shapes that it needs."""
    (system,) = find_systems([key])
    mains = ["audio", "video"] if system.explicit else ["audio"]
    classes = () if "regression" in system.needs else ("a", "b", "c")
    problem = {
        "num_features": {m: SIZES[m] for m in mains},
        "mains": mains,
        "targets": ["felt"],
        "num_classes": len(classes),
        "frame_step": None,
        "architecture": sizes,
        "systems": {"error_vector": True, "cnn_units": 4},
    }
    told = {  # what the parameters themselves tell
        "classes": np.arange(3),
        "context": np.array(5),
        "window": np.array(9),
        "output/kernel": np.zeros((7, 3)),
    }
    main = "+".join(mains)
    shapes = parameter_shapes(key, make_problem(problem), main, told)
    params = {k: np.resize(told.get(k, 0.0), s) for k, s in shapes.items()}
    scales = {m: dict(mean=np.zeros(SIZES[m]), std=np.ones(SIZES[m])) for m in mains}
    member = Member("fold", "felt", 0, {}, 0, unflatten(params), scales)
    return Predictor(
        system=key,
        main=main,
        features={m: tuple(f"{m}{i}" for i in range(SIZES[m])) for m in mains},
        targets=("felt",),
        classes=classes,
        frame_step=None,
        sequence="",
        problem=problem,
        members=(member,),
    )


@pytest.mark.parametrize(
    ("system", "sizes"),
    [
        ("constant", UTTERANCES),
        ("svm", UTTERANCES),
        ("cnn", UTTERANCES),
        ("cnn", TIME),
        ("svr", TIME),
        ("curriculum", TIME),
        ("re_two_stage", TIME),
        ("ddat_re", POOLED),
        ("ddat_pu", TIME),
        ("implicit_fusion", UTTERANCES),
        ("implicit_fusion", POOLED),
        ("early_fusion", TIME),
        ("late_fusion_weighted", UTTERANCES),
        ("late_fusion_ridge", TIME),
        ("model_level_fusion", POOLED),
        ("control_capacity", UTTERANCES),
    ],
)
def test_every_array_is_checked_when_a_model_is_read(system, sizes, tmp_path):
    """Its hash is right, but an array has another shape, is missing or has no use."""
    place, other = tmp_path / "model.ifusion", tmp_path / "other.ifusion"
    write_bundle(predictor_of(system, sizes), place)
    read_bundle(place)
    arrays, metadata = load_file(place), metadata_of(place)

    def told(changed):
        digest = bundle_file._digest(metadata["facts"], changed)
        save_file(changed, other, {**metadata, "sha256": digest})
        with pytest.raises(ValueError, match=r"other\.ifusion: the array ") as caught:
            read_bundle(other)
        return str(caught.value)

    for name, array in arrays.items():
        longer = np.resize(array, (1 + len(np.atleast_1d(array)), *array.shape[1:]))
        spoilt = told({**arrays, name: longer})
        absent = told({k: v for k, v in arrays.items() if k != name})
        assert absent.endswith(f"the array {name} is missing")
        if array.shape == () and array.dtype.kind == "i":
            told({**arrays, name: np.array(np.inf)})  # gives sizes of others
        if not name.endswith(GIVES_SIZES.get(system, "none")):
            expected = f"{name} has shape {longer.shape}; expected {array.shape}"
            assert spoilt.endswith(expected)
    sentence = told({**arrays, "params/0/more": np.zeros((2, 3))})
    assert sentence.endswith("the array params/0/more of shape (2, 3) has no use")


def test_facts_are_json_and_name_the_format(bundle):
    metadata = metadata_of(bundle)
    assert (metadata["format"], metadata["version"]) == ("ifusion.bundle", "1")
    facts = json.loads(metadata["facts"])
    assert facts["about"]["licence"] and facts["problem"]["mains"] == ["audio"]
