import doctest
from dataclasses import asdict
from importlib import import_module

import numpy as np
import pytest
from formats import refused

from ifusion import corpora
from ifusion.corpora.folder import write_corpus
from ifusion.corpora.readers import READERS, open_corpus
from ifusion.corpora.sources.recola import write_recola
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic

SMALL = {"recordings": (4, 2, 2), "speakers": 8, "features": (6, 6)}


def test_a_config_of_a_synthetic_corpus_is_opened():
    options = SyntheticOptions(**SMALL)
    opened = open_corpus("synthetic", {**asdict(options), "other": 1})
    for corpus in (opened, corpora.synthetic(**SMALL)):
        for m, modality in make_synthetic(options).modalities.items():
            np.testing.assert_array_equal(corpus.modalities[m].values, modality.values)


def test_a_config_of_a_folder_is_opened(tmp_path):
    write_corpus(corpora.synthetic(**SMALL), tmp_path / "mine")
    options = {"path": str(tmp_path / "mine"), "impute": False, "tolerance": 0}
    assert open_corpus("folder", options).num_recordings == 8


def test_a_folder_may_be_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_corpus(corpora.synthetic(**SMALL), "~/mine")
    corpus = corpora.read_corpus("~/mine")
    assert corpus.source["path"] == str((tmp_path / "mine").resolve())
    with refused("none", None, None, "no such folder"):
        corpora.read_corpus("~/none")
    frames = corpora.synthetic(frames=20, **SMALL)
    files = write_recola(frames, "~/recola")
    assert corpora.recola("~/recola", files=files).num_recordings == 8
    with refused("omg", None, None, "no such folder"):
        corpora.omg("~/omg", {"audio": "~/audio.csv"})
    monkeypatch.setenv("IFUSION_DATA", "~/data")
    with refused("ravdess_av", None, None, "no such folder"):
        corpora.ravdess()


def test_a_config_of_recola_is_opened(tmp_path):
    corpus = corpora.synthetic(frames=20, **SMALL)
    files = write_recola(corpus, tmp_path / "recola")
    options = {**asdict(files), "path": str(tmp_path / "recola"), "gold": "given"}
    options |= {"targets": ["arousal"], "tolerance": 5, "frame_step": 0.04}
    opened = open_corpus("recola", {**options, "impute": False})
    np.testing.assert_array_equal(opened.labels[:80], corpus.labels[:80, :1])


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("iemocap", {}, "corpus.kind is 'iemocap', expected one of synthetic, ravdess"),
        ("synthetic", {"path": ""}, r"no corpus\.seed; use configs/synthetic\.py"),
        (
            "folder",
            {"path": "", "impute": 0, "tolerance": 0},
            r"corpus\.path is missing",
        ),
        (
            "omg",
            {
                "path": "x",
                "features": {"audio": "", "video": "x"},
                **{"target": "emotion", "links": "official"},
                **{"impute": False, "max_missing": 1, "frame_steps": {}},
            },
            r"corpus\.features\.audio is missing",
        ),
    ],
)
def test_configs_that_lack_something_are_refused(kind, options, words):
    with pytest.raises(ValueError, match=words):
        open_corpus(kind, options)


@pytest.mark.parametrize("kind", ["ravdess", "studyforrest"])
def test_corpora_that_are_not_shipped_are_looked_for(monkeypatch, tmp_path, kind):
    options = dict.fromkeys(READERS[kind].entries)
    options |= {"path": "", "classes": 7, "units": "joined"}
    options |= {"hop": 1, "window": "centred", "gold": "given"}
    monkeypatch.delenv("IFUSION_DATA", raising=False)
    with pytest.raises(ValueError, match=f"IFUSION_DATA .* {kind}_av"):
        open_corpus(kind, options)
    monkeypatch.setenv("IFUSION_DATA", str(tmp_path))
    with refused(f"{kind}_av", reason="no such folder"):
        open_corpus(kind, options)


def test_the_front_door_names_every_kind():
    assert {*READERS} - {"folder"} <= {*dir(corpora)}
    for name in corpora.__all__:
        assert callable(getattr(corpora, name))
    with pytest.raises(AttributeError, match="no attribute 'iemocap'"):
        _ = corpora.iemocap


@pytest.mark.parametrize(
    "name", ["folder.reading", "sources.recola.reading", "sources.synthetic"]
)
def test_examples_run(name):
    result = doctest.testmod(import_module(f"ifusion.corpora.{name}"))
    assert result.attempted and not result.failed
