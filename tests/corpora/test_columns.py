"""Columns that are not features, in tables as users bring them."""

import json

import numpy as np
import pandas as pd
import pytest
from formats import refused
from test_omg import read as read_tables_of_omg
from test_omg import write as write_omg
from test_recola import layout, save
from test_recola import read as read_recola_of

from ifusion.corpora.folder import read_corpus, write_corpus
from ifusion.corpora.readers import open_corpus
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic

OPTIONS = SyntheticOptions(recordings=(8, 4, 4), features=(3, 3), latent=2, speakers=8)


@pytest.fixture
def folder(tmp_path):
    write_corpus(make_synthetic(OPTIONS), tmp_path / "mine")
    header = tmp_path / "mine" / "corpus.json"
    facts = json.loads(header.read_text("utf-8"))
    header.write_text(json.dumps(facts | {"modalities": ["audio", "video"]}), "utf-8")
    return tmp_path / "mine"


def add(folder, columns, kind="csv", modality="audio"):
    """Adds columns to the features of a folder, in front of the others."""
    path = folder / "features" / f"{modality}.csv"
    table = pd.read_csv(path, dtype={"recording": str})
    path.unlink()
    for name, values in columns.items():
        table.insert(1, name, values)
    write = {"csv": table.to_csv, "parquet": table.to_parquet}[kind]
    write(path.with_suffix(f".{kind}"), index=False)
    return folder


def names(corpus):
    return corpus.modalities["audio"].names


OWN = ("audio_00", "audio_01", "audio_02")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("__index_level_0__", "an index"),
        ("Unnamed: 0", "an index"),
        ("Index", "an index"),
        ("Time", "times"),
        ("frameTime", "times"),
        ("timestamp", "times"),
        ("frame", "frame counters"),
        (" face_id", "bookkeeping of OpenFace"),
        ("name", "names of rows"),
    ],
)
def test_bookkeeping_is_dropped_with_a_note(folder, kind, name, what):
    values = list("abcdefghijklmnop") if name == "name" else range(16)
    corpus = read_corpus(add(folder, {name: values}, kind))
    assert names(corpus) == OWN
    (note,) = corpus.notes
    assert f"audio.{kind}: dropped as {what}: {name.strip()}" in note


@pytest.mark.parametrize("name", ["emotion", "Emotion", "label", "class", "effort"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_answers_among_the_features_are_refused(folder, kind, name):
    raters = "recording,rater,effort\n"
    recording = pd.read_csv(folder / "recordings.csv", dtype=str)["recording"]
    (folder / "raters.csv").write_text(raters + f"{recording[0]},anna,1\n")
    add(folder, {name: range(16)}, kind)
    with refused(f"audio.{kind}", None, name, r"add it to corpus\.ignore"):
        read_corpus(folder)
    assert names(read_corpus(folder, ignore=(name,))) == OWN
    assert names(read_corpus(folder, keep=(name,))) == (name, *OWN)


@pytest.mark.parametrize("name", ["speaker", "Partition", "fold", "rater"])
def test_bookkeeping_of_recordings_is_refused(folder, name):
    with refused("audio.csv", None, name, "bookkeeping"):
        read_corpus(add(folder, {name: 1.0}))


DOUBTED = ("id", "Subject", "confidence", "success", "age", "speaker_id", "speakerID")
DOUBTED += ("EmotionMaxVote", "arousal mean", "start_time", "frame no", "age_s")


@pytest.mark.parametrize("name", DOUBTED)
def test_doubtful_names_stay_with_a_note(folder, name):
    table = pd.read_csv(folder / "recordings.csv", dtype=str)
    table.assign(age="30").to_csv(folder / "recordings.csv", index=False)
    corpus = read_corpus(add(folder, {name: 1.0}))
    assert names(corpus) == (name, *OWN)
    assert f"audio.csv: {name} may not be features" in corpus.notes[0]
    assert read_corpus(folder, keep=(name,)).notes == ()


def test_features_of_like_names_are_not_doubted(folder):
    names = ("video_12", "frame_energy", "voice_mean", "time_to_peak", "id_rate", "s")
    assert read_corpus(add(folder, dict.fromkeys(names, 1.0))).notes == ()


def test_an_index_is_nothing_that_was_rated(folder):
    recording = pd.read_csv(folder / "recordings.csv", dtype=str)["recording"]
    raters = pd.DataFrame({"recording": recording, "rater": "anna", "effort": 1})
    raters.to_csv(folder / "raters.csv")
    corpus = read_corpus(folder, ignore=("audio_00",))
    assert [*corpus.raters] == ["effort"]
    assert "raters.csv: dropped as an index: Unnamed: 0" in corpus.notes[0]


def test_patterns_say_otherwise(folder):
    options = {"path": str(folder), "impute": False, "tolerance": 0}
    options |= {"ignore": ("AUDIO_*",), "keep": ("audio_01",)}
    assert names(open_corpus("folder", options)) == ("audio_01",)
    assert names(open_corpus("folder", options | {"ignore": ()})) == OWN
    assert names(open_corpus("folder", options | {"ignore": "audio_00"})) == OWN[1:]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"ignore": ("audio_00,audio_01",)}, "expected one column in each entry"),
        ({"ignore": ("audio_07",)}, r"corpus\.ignore holds 'audio_07', but no table"),
        ({"keep": ("pose_*",)}, r"corpus\.keep holds 'pose_\*', but no table"),
    ],
)
def test_entries_that_name_nothing_are_refused(folder, option, words):
    with pytest.raises(ValueError, match=words):
        read_corpus(folder, **option)


def test_text_is_no_obstacle_where_it_is_ignored(folder):
    add(folder, {"camera": "left"})
    with refused("audio.csv", 2, "camera", "'left' is not a number"):
        read_corpus(folder)
    assert names(read_corpus(folder, ignore=["camera"])) == OWN


def openface(failed):
    success = [int(i not in failed) for i in range(16)]
    return {
        " success": success,
        " confidence": 0.9,
        " timestamp": range(16),
        " face_id": 0,
        " frame": range(1, 17),
    }


def test_rows_without_a_face_become_gaps(folder):
    add(folder, openface(failed=(3, 9)))
    with refused("audio.csv", 5, "success", "no face in 2 of 16 rows; corpus.imp"):
        read_corpus(folder)
    corpus = read_corpus(folder, impute=True)
    assert names(corpus) == OWN
    lost = np.isnan(corpus.modalities["audio"].values)
    assert lost[[3, 9]].all() and lost.sum() == 6
    told = "no face in 2 of 16 rows, the first of them row 5"
    assert any(told in note for note in corpus.notes)
    kept = read_corpus(folder, keep=("success",))
    assert names(kept) == ("success", *OWN)


def test_a_table_of_openface_that_never_failed_has_no_gaps(folder):
    corpus = read_corpus(add(folder, openface(failed=())))
    assert names(corpus) == OWN
    assert any("dropped as bookkeeping of OpenFace" in n for n in corpus.notes)


def test_omg_follows_the_rule(tmp_path):
    audio = write_omg(tmp_path) / "audio.csv"
    table = pd.read_csv(audio).assign(index=1)
    table.assign(EmotionMaxVote=1).to_csv(audio, index=False)
    with refused("audio.csv", None, "EmotionMaxVote", "what is to be predicted"):
        read_tables_of_omg(tmp_path)
    corpus = read_tables_of_omg(tmp_path, ignore=("EmotionMaxVote",))
    assert names(corpus) == ("f0", "f1")
    assert any("dropped as an index: index" in note for note in corpus.notes)
    for name in ("start", "end", "arousal", "valence", "emotion"):
        table.assign(**{name: 1}).to_csv(audio, index=False)
        with refused("audio.csv", None, name, "predicted"):
            read_tables_of_omg(tmp_path)


def test_recola_follows_the_rule(tmp_path):
    def with_column(name):
        audio = {p: text for p, text in layout().items() if "audio" in p}
        return {p: text.replace("f2", name) for p, text in audio.items()}

    corpus = read_recola_of(save(tmp_path, with_column("index")))
    assert names(corpus) == ("f1",)
    assert any("and 5 more files: dropped as an index" in n for n in corpus.notes)
    for name in ("arousal", "Valence", "GoldStandard"):
        with refused("train_1.arff", None, name, "is named like"):
            read_recola_of(save(tmp_path, with_column(name)))
    with pytest.raises(ValueError, match="expected one column in each entry"):
        read_recola_of(tmp_path, ignore=("class_,emotion",))
    with pytest.raises(ValueError, match="no table has such a column"):
        read_recola_of(tmp_path, ignore=("valence", "emotion"))
    assert names(read_recola_of(tmp_path, ignore=("goldstandard",))) == ("f1",)


def test_names_that_would_be_dropped_are_not_written(folder, tmp_path):
    corpus = read_corpus(add(folder, {"index": 1.0}), keep=("index",))
    with refused(reason="feature 'index' cannot be a column"):
        write_corpus(corpus, tmp_path / "again")
