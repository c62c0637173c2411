"""Files and folders to predict, and where their features come from."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifusion.corpora import read_corpus, write_corpus
from ifusion.inference.files import predict_path
from ifusion.inference.inputs import read_inputs
from ifusion.inference.opening import load_predictor


@pytest.fixture(scope="module")
def classes(trained):
    return load_predictor(trained, "audio")


@pytest.fixture
def folder(small, tmp_path):
    """The corpus as files."""
    write_corpus(small, tmp_path / "corpus")
    return tmp_path / "corpus"


def state(folder, **entries):
    (folder / "extraction.json").write_text(json.dumps({"audio": entries}))


def test_a_folder_keeps_its_provenance(folder, small):
    assert read_corpus(folder).provenance == small.provenance
    (folder / "extraction.json").unlink()
    assert read_corpus(folder).provenance == {}


def test_features_of_the_same_extractor_are_taken(classes, small, folder):
    assert classes.predict_table(small).notes == ()
    expected = classes.predict(small)["emotion"].tolist()
    for path in (folder, folder / "features" / "audio.csv"):
        answer = predict_path(classes, path)
        assert answer.notes == () and answer.table["emotion"].tolist() == expected


def test_features_of_another_extractor_are_refused(classes, small, folder):
    other = {"audio": {"extractor": "eGeMAPSv01a"}}
    words = "not extracted as those of the model: extractor eGeMAPSv01a, not drawn"
    with pytest.raises(ValueError, match=f"synthetic: features are {words}"):
        classes.predict(replace(small, provenance=other))
    state(folder, extractor="eGeMAPSv01a")
    for path in (folder, folder / "features" / "audio.csv"):
        with pytest.raises(ValueError, match=f"audio.csv: features are {words}"):
            predict_path(classes, path)


def test_another_version_is_doubted(classes, folder):
    state(folder, extractor="drawn audio", numpy="1.26", step=0.04)
    (note,) = predict_path(classes, folder).notes
    assert note.endswith("those of the model: numpy 1.26, not 2.4")


def test_features_in_other_units_are_refused(classes, folder):
    name = classes.features["audio"][0]
    stated = replace(classes, provenance={"audio": {"units": {name: "Hz"}}})
    state(folder, units={name: "Hz", "no feature of the model": "s"})
    assert predict_path(stated, folder).notes == ()
    state(folder, units={name: "kHz"})
    with pytest.raises(ValueError, match=f"of the model: {name} in kHz, not Hz"):
        predict_path(stated, folder)
    state(folder, units={name: 1})
    with pytest.raises(ValueError, match=r"json: expected units of audio as \{name"):
        predict_path(stated, folder)


def test_frames_of_another_step_are_refused(classes, folder):
    """Of a model that gives recordings of frames one answer."""
    table = pd.read_csv(folder / "features" / "audio.csv").iloc[:20]
    table = table.assign(recording="one", time=np.arange(20.0))
    table.to_csv(folder / "frames.csv", index=False)
    framed = replace(classes, frames="pooled", provenance={"audio": {"step": 0.04}})
    with pytest.raises(ValueError, match="are 1 s apart, but the model reads one ever"):
        read_inputs(framed, folder / "frames.csv")
    same = replace(framed, provenance={"audio": {"step": 1.0}})
    assert read_inputs(same, folder / "frames.csv").frames["audio"].tolist() == [20]


def test_nothing_is_said_where_nothing_is_known(classes, folder, small):
    bare = replace(classes, provenance={})
    assert predict_path(bare, folder).notes == ()
    (folder / "extraction.json").unlink()
    assert predict_path(classes, folder).notes == ()
    assert classes.predict_table(replace(small, provenance={})).notes == ()


def test_a_damaged_file_is_named(classes, folder):
    (folder / "extraction.json").write_text("{")
    with pytest.raises(ValueError, match=r"extraction\.json: .*JSON"):
        predict_path(classes, folder)


def test_a_stop_loses_no_answer(classes, small, tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").touch()
    with pytest.raises(ValueError, match="none of its files can be predicted"):
        predict_path(classes, tmp_path)
    answer = classes.predict_table(small)

    def one_then_stop(self, path):
        if path.name > "a.csv":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(type(classes), "predict_table", one_then_stop)
    found = predict_path(classes, tmp_path)
    assert len(found.table) == len(answer.table)
    assert set(found.failures) == {"b.csv", "c.csv"}
