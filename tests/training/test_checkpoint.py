import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ifusion.models.architecture import Architecture
from ifusion.preprocessing.standardise import Standardizer
from ifusion.storage import read_arrays, read_facts, write_folder
from ifusion.training.checkpoint import (
    Checkpoint,
    Outcome,
    flatten,
    load_checkpoint,
    save_checkpoint,
    unflatten,
)
from ifusion.training.lanes import make_grid

FEATURES = {"audio": ("f0", "loudness", "jitter"), "video": tuple("abcde")}
PROVENANCE = {"versions": {"jax": "0.0"}, "config": {"training": {"epochs": 3}}}


@pytest.fixture
def checkpoint(make_model, draw_params):
    lanes = make_grid(("audio", "video"), ("emotion",), (0.0, 0.5), (0, 1))
    params = draw_params(make_model())
    stacked = unflatten(
        {
            name: np.stack([x + i for i in range(len(lanes))])
            for name, x in flatten(params).items()
        }
    )
    rng = np.random.default_rng(0)
    return Checkpoint(
        lanes=lanes,
        outcomes=tuple(Outcome(i, i / 7, -1) for i in range(len(lanes))),
        params=stacked,
        standardizers={
            m: Standardizer(rng.standard_normal(len(f)), rng.random(len(f)))
            for m, f in FEATURES.items()
        },
        features=FEATURES,
        architecture=Architecture(hidden_size=4, recurrent=False),
        targets=("emotion",),
        classes=("anger", "happy", "sad"),
        sequence="video",
    )


@pytest.fixture
def folder(tmp_path, checkpoint):
    save_checkpoint(tmp_path / "best", checkpoint, PROVENANCE)
    return tmp_path / "best"


def assert_same_arrays(tree, other):
    tree, other = flatten(tree), flatten(other)
    assert tree.keys() == other.keys()
    for name, array in tree.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_round_trip(folder, checkpoint):
    read = load_checkpoint(folder)
    for name in (
        "lanes",
        "outcomes",
        "features",
        "architecture",
        "targets",
        "classes",
        "sequence",
    ):
        assert getattr(read, name) == getattr(checkpoint, name), name
    assert_same_arrays(read.params, checkpoint.params)
    assert tuple(read.standardizers) == ("audio", "video")
    for m, standardizer in checkpoint.standardizers.items():
        np.testing.assert_array_equal(read.standardizers[m].mean, standardizer.mean)
        np.testing.assert_array_equal(read.standardizers[m].std, standardizer.std)


def test_files_that_any_tool_can_read(folder):
    assert {path.name for path in folder.iterdir()} == {
        "arrays.safetensors",
        "checkpoint.json",
        "manifest.json",
    }
    facts = json.loads((folder / "checkpoint.json").read_text("utf-8"))
    assert facts["provenance"] == PROVENANCE
    assert facts["lanes"][1] == {
        **{"main": "audio", "alpha": 0.5, "seed": 0},
        **{"target": "emotion", "l2": 0.0, "delay": 0},
    }
    with safe_open(folder / "arrays.safetensors", framework="numpy") as file:
        names = set(file.keys())
    assert "params/branch_video/gru_0/input/weight" in names
    assert "standardizer/audio/mean" in names


def test_a_view_that_is_not_contiguous_is_written_as_it_reads(tmp_path, checkpoint):
    turned = (
        checkpoint.params["output"]["kernel"].swapaxes(0, 1)[:, ::-1].swapaxes(0, 1)
    )
    assert not turned.flags.c_contiguous
    checkpoint.params["output"]["kernel"] = turned
    save_checkpoint(tmp_path / "best", checkpoint, {})
    read = load_checkpoint(tmp_path / "best").params["output"]["kernel"]
    np.testing.assert_array_equal(read, turned)


# ---- damage -------------------------------------------------------------------------


def without(start):
    """Leaves arrays out, as a writer with a fault would."""

    def change(arrays, facts):
        kept = {name: a for name, a in arrays.items() if not name.startswith(start)}
        assert len(kept) < len(arrays)
        return kept, facts

    return change


def stating(**changes):
    def change(arrays, facts):
        facts = {**facts, **changes}
        return arrays, {name: v for name, v in facts.items() if v is not None}

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without("standardizer/video"), id="no statistics"),
        pytest.param(without("params"), id="no parameters"),
        pytest.param(without("params/branch_audio"), id="no audio branch"),
        pytest.param(without("params/shared"), id="no shared head"),
        pytest.param(stating(format=1), id="another format"),
        pytest.param(stating(classes=None), id="no classes"),
        pytest.param(stating(features=None), id="no features"),
        pytest.param(stating(lanes=[{"main": "audio"}]), id="half a lane"),
        pytest.param(stating(architecture={"width": 3}), id="another architecture"),
    ],
)
def test_what_is_stored_well_but_no_checkpoint_is_told(folder, tmp_path, change):
    write_folder(tmp_path / "other", *change(read_arrays(folder), read_facts(folder)))
    with pytest.raises(ValueError, match="other") as caught:
        load_checkpoint(tmp_path / "other")
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


def test_a_changed_array_is_refused_by_those_who_need_it(folder):
    arrays = load_file(folder / "arrays.safetensors")
    changed = "params/branch_video/gru_0/input/weight"
    arrays[changed] = np.nextafter(arrays[changed], np.float32(np.inf))
    save_file(arrays, folder / "arrays.safetensors")
    with pytest.raises(ValueError, match=f"best: the array '{changed}' is damaged"):
        load_checkpoint(folder)
    load_checkpoint(folder, ["audio"])


def test_no_folder_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"best.*no checkpoint there"):
        load_checkpoint(tmp_path / "best")


def test_a_modality_that_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match=r"no modality 'text'; there are audio, video"):
        load_checkpoint(folder, ["text"])


# ---- one modality alone -------------------------------------------------------------


def test_audio_loads_when_every_array_of_video_is_gone(folder, checkpoint):
    arrays = load_file(folder / "arrays.safetensors")
    audio = {name: a for name, a in arrays.items() if "video" not in name}
    assert len(audio) < len(arrays)
    save_file(audio, folder / "arrays.safetensors")
    read = load_checkpoint(folder, ["audio"])
    assert set(read.params) == {"branch_audio", "shared", "output"}
    assert tuple(read.standardizers) == tuple(read.features) == ("audio",)
    expected = {n: checkpoint.params[n] for n in read.params}
    assert_same_arrays(read.params, expected)
    with pytest.raises(ValueError, match="differ in the array"):
        load_checkpoint(folder)


def test_names_that_begin_alike_are_kept_apart(tmp_path, checkpoint):
    names = {"audio": "face", "video": "face_units"}
    renamed = Checkpoint(
        lanes=make_grid(("face",), ("emotion",), (0.0,), range(8)),
        outcomes=checkpoint.outcomes,
        params={
            **{
                f"branch_{b}": checkpoint.params[f"branch_{a}"]
                for a, b in names.items()
            },
            "shared": checkpoint.params["shared"],
            "output": checkpoint.params["output"],
        },
        standardizers={b: checkpoint.standardizers[a] for a, b in names.items()},
        features={b: checkpoint.features[a] for a, b in names.items()},
        architecture=checkpoint.architecture,
        targets=checkpoint.targets,
        classes=checkpoint.classes,
    )
    save_checkpoint(tmp_path / "best", renamed, {})
    for wanted, other in (("face", "face_units"), ("face_units", "face")):
        read = load_checkpoint(tmp_path / "best", [wanted])
        assert f"branch_{wanted}" in read.params
        assert f"branch_{other}" not in read.params


def test_flatten_and_unflatten():
    tree = {"a": {"b": np.ones(1), "c": {"d": np.zeros(2)}}, "e": np.arange(3)}
    flat = flatten(tree)
    assert list(flat) == ["a/b", "a/c/d", "e"]
    assert_same_arrays(unflatten(flat), tree)
