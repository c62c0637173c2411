"""Media to a corpus that `read_corpus` reads."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from media_files import SAMPLES, needs_samples, tone, write_sound

import ifusion as ifn
from ifusion.corpora.corpus import CorpusError
from ifusion.features import audio
from ifusion.features.extraction import Failure, Recipe, Task, extract_all
from ifusion.features.extractors import ExtractorOptions, Features
from ifusion.features.media import Recording
from ifusion.features.pipeline import Request, extract_corpus, make_request
from ifusion.features.reuse import extract_as

pytest.importorskip("opensmile")
LABELS = """recording,partition,speaker,emotion
a,train,1,calm
b,train,1,tense
c,dev,2,calm
d,test,3,
"""


@pytest.fixture
def media(tmp_path):
    """Four tones and a file of labels."""
    folder = tmp_path / "my media"
    folder.mkdir()
    for name, pitch in zip("abcd", (120, 160, 200, 240), strict=True):
        write_sound(folder / f"{name}.wav", tone(1.2, pitch=pitch))
    (tmp_path / "labels.csv").write_text(LABELS)
    return folder


@pytest.fixture
def ask(media):
    """Extracts what is asked for, into a new folder; returns the corpus and report."""

    def run(**changes):
        fields = {
            "media": media,
            "out": media.parent / "corpus",
            "labels": media.parent / "labels.csv",
            "extractors": {"audio": "egemaps"},
        }
        request = make_request({**fields, **changes})
        report = extract_corpus(request)
        return request.out, report

    return run


def test_a_corpus_holds_the_functionals_of_every_recording(ask, media):
    out, report = ask()
    corpus = ifn.read_corpus(out)
    assert report.failures == [] and corpus.classes == ("calm", "tense")
    assert corpus.name == out.name  # not "labels"
    assert corpus.recording.tolist() == ["a", "b", "c", "d"]
    assert corpus.partition.tolist() == ["train", "train", "dev", "test"]
    assert corpus.speaker.tolist() == ["1", "1", "2", "3"]
    assert corpus.labels.ravel().tolist() == [0, 1, 0, -1]
    for row, name in enumerate("abcd"):
        expected = audio.functionals(Recording(media / f"{name}.wav"))
        assert corpus.modalities["audio"].names == expected.names
        np.testing.assert_allclose(
            corpus.modalities["audio"].values[row], expected.values[0], rtol=1e-6
        )
    said = json.loads((out / "extraction.json").read_text())
    assert said["audio"]["extractor"] == "openSMILE eGeMAPSv02 functionals"
    assert said["audio"]["sound_rate"] == {"least": 16000, "mean": 16000, "most": 16000}


def test_frames_keep_one_label_a_recording(ask):
    out, _ = ask(step=0.1, window=0.5)
    table = np.load(out / "features" / "audio.npz", allow_pickle=False)
    assert table["values"].shape == (4 * 12, 88)
    np.testing.assert_allclose(table["time"][:12], np.arange(12) * 0.1)
    corpus = ifn.read_corpus(out)
    assert corpus.modalities["audio"].values.shape == (4, 2 * 88)
    mean = table["values"][12:24].astype(float).mean(0)
    np.testing.assert_allclose(
        corpus.modalities["audio"].values[1, :88], mean, rtol=1e-5
    )


def test_parts_of_a_file_are_recordings(ask, media):
    long = np.concatenate([tone(1.0, pitch=p) for p in (110, 150, 190)])
    write_sound(media / "long.wav", long)
    labels = media.parent / "parts.csv"
    labels.write_text(
        "recording,file,start,end,partition,arousal\n"
        "u1,long.wav,0,1,train,0.1\nu2,long,1,2,dev,0.5\nu3,long,2,,test,0.9\n"
        "u4,long,0.2,1,unlabelled,\n"
    )
    corpus = ifn.read_corpus(ask(labels=labels)[0])
    assert corpus.classes == () and corpus.targets == ("arousal",)
    names = corpus.modalities["audio"].names
    pitch = corpus.modalities["audio"].values[
        :, names.index("F0semitoneFrom27.5Hz_sma3nz_percentile50.0")
    ]
    expected = 12 * np.log2(np.array([110, 150, 190, 110]) / 27.5)
    np.testing.assert_allclose(pitch, expected, atol=0.5)
    assert corpus.partition[3] == "unlabelled" and np.isnan(corpus.labels[3]).all()


def test_what_fails_is_listed_and_stops_nothing(ask, media):
    (media / "b.wav").write_bytes(b"")
    (media / "e.wav").write_text("no sound" * 50)
    write_sound(media / "f.wav", tone(0.02))
    labels = media.parent / "labels.csv"
    labels.write_text(LABELS + "e,train,4,calm\nf,train,4,calm\ngone,dev,5,tense\n")
    out, report = ask()
    assert ifn.read_corpus(out).recording.tolist() == ["a", "c", "d"]
    failures = pd.read_csv(out / "failures.csv", index_col="recording")
    assert failures.index.tolist() == ["b", "e", "f", "gone"]
    reasons = failures["reason"]
    assert reasons["b"] == "the file is empty"
    assert "cannot be read as media" in reasons["e"]
    assert "shorter than what eGeMAPS needs" in reasons["f"]
    assert reasons["gone"] == "there is no such file"
    assert "left out: 4" in report.sentence


def test_a_run_goes_on_from_its_cache(ask, media, monkeypatch):
    kept = media.parent / "kept"
    ask(cache=kept)
    before = {p.name: p.stat().st_mtime_ns for p in kept.iterdir()}
    assert len(before) == 4
    monkeypatch.setattr(audio, "functionals", None)  # so that it cannot be called
    out, _ = ask(cache=kept, out=media.parent / "again")
    assert {p.name: p.stat().st_mtime_ns for p in kept.iterdir()} == before
    first = (media.parent / "corpus" / "features" / "audio.csv").read_text()
    assert (out / "features" / "audio.csv").read_text() == first


def test_the_cache_depends_on_content_and_options(ask, media):
    kept = media.parent / "kept"
    ask(cache=kept)
    write_sound(media / "a.wav", tone(1.2, pitch=99))
    ask(cache=kept, out=media.parent / "two")
    assert len(list(kept.iterdir())) == 5
    ask(cache=kept, out=media.parent / "three", rate=8000)
    assert len(list(kept.iterdir())) == 9
    for path in kept.iterdir():
        path.write_bytes(path.read_bytes()[:100])  # damaged: made again
    ask(cache=kept, out=media.parent / "four")
    two, four = (media.parent / n / "features" / "audio.csv" for n in ("two", "four"))
    assert two.read_text() == four.read_text()


def test_shares_fill_one_cache(ask, media):
    whole, _ = ask()
    kept = media.parent / "kept"
    for share, count in (("1/3", 2), ("2/3", 3), ("3/3", 4)):
        out, report = ask(cache=kept, shard=share, out=media.parent / "joined")
        assert not out.exists() and f"share {share}" in report.sentence
        assert len(list(kept.glob("*.npz"))) == count
    out, _ = ask(cache=kept, out=media.parent / "joined")
    for name in ("features/audio.csv", "labels.csv", "recordings.csv"):
        assert (out / name).read_text() == (whole / name).read_text()


def test_sampling_rates_that_differ_are_noted(ask, media, capsys):
    write_sound(media / "b.wav", tone(1.2, 44100), 44100)
    out, _ = ask()
    assert "recordings have 16000, 44100 Hz" in capsys.readouterr().err
    assert any("44100 Hz" in note for note in ifn.read_corpus(out).notes)
    ask(rate=16000, out=media.parent / "two")
    assert "44100" not in capsys.readouterr().err


def test_recordings_without_a_voice_are_noted(ask, media, capsys):
    noise = 0.1 * np.random.default_rng(0).standard_normal(19200)
    write_sound(media / "c.wav", noise)
    ask()
    assert (
        "a voice is heard in little of 1 recordings: c (0%)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extractors": {}}, "neither --audio nor --video"),
        (
            {"extractors": {"audio": "mfcc"}},
            "--audio=mfcc: expected one of egemaps, lld",
        ),
        ({"extractors": {"audio": "egemaps:v9"}}, "--audio=egemaps:v9"),
        ({"step": -1.0}, r"--step=-1.0, expected seconds"),
        ({"window": 2.0}, "--window needs --step"),
        ({"step": 1.0, "window": 0.5}, "--window=0.5"),
        ({"rate": 100}, "--rate=100"),
        ({"shard": "3"}, "--shard=3, expected i/n"),
        ({"shard": "3/2"}, "expected 1/2 to 2/2"),
        ({"corpus": "ravdess"}, "--corpus=ravdess has its labels in file names"),
        ({"labels": None, "corpus": "omg"}, "--corpus=omg needs --labels"),
        ({"labels": None, "classes": True}, "--target and --classes need --labels"),
        ({"labels": None, "corpus": "ravdess"}, "no file is named as RAVDESS"),
    ],
)
def test_requests_that_make_no_sense_are_refused(ask, changes, reason):
    with pytest.raises(ValueError, match=reason):
        ask(**changes)


def test_without_labels_there_are_tables_to_predict_from(ask, media):
    (media / "deep er").mkdir()
    write_sound(media / "deep er" / "e.wav", tone(1.0))
    out, _ = ask(labels=None)
    table = pd.read_csv(out / "features" / "audio.csv")
    assert table["recording"].tolist() == ["a", "b", "c", "d", "deep er/e"]
    expected = audio.functionals(Recording(media / "b.wav"))
    assert table.columns.tolist() == ["recording", *expected.names]
    np.testing.assert_allclose(table.iloc[1, 1:].astype(float), expected.values[0])
    out, _ = ask(labels=None, step=0.1, window=1.0, out=media.parent / "frames")
    table = pd.read_csv(out / "features" / "audio.csv")
    assert table["time"].tolist()[:12] == [round(0.1 * i, 1) for i in range(12)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("recording,partition\na,train\n", "expected a column of labels"),
        ("recording,partition,x,y\na,train,1,2\n", "which of the columns x, y"),
        ("recording,partition,x\na,valid,1\n", "'valid', expected one of"),
        ("recording,partition,x\na,train,1\nb,test,\n", "no recording is in 'dev'"),
        (
            "recording,partition,x\na,train,1\nb,dev,\n",
            "row 3, column x: .* of dev need",
        ),
        ("recording,partition,x\na,unlabelled,1\n", "partition 'unlabelled' have none"),
        ("recording,partition,x\na,train,1\nb,dev,n/a\n", "'n/a' is not a number, but"),
        ("recording,partition,x\na,train,1\na,train,1\n", "'a'"),
        ("recording,partition,x\nz,train,1\n", "no file of .* such as 'z'"),
        ("recording,partition,start,x\na,train,late,1\n", "'late' is not a number of"),
        ("recording,partition,start,end,x\na,train,2,1,1\n", "are not a part"),
        ("recording,x\na,1\n", "partition"),
    ],
)
def test_wrong_labels_are_refused(ask, media, text, reason):
    (media.parent / "labels.csv").write_text(text)
    with pytest.raises(CorpusError, match=reason):
        ask()


def test_names_of_two_files_are_refused(ask, media):
    (media / "sub").mkdir()
    write_sound(media / "sub" / "a.wav", tone(1.0, pitch=300))
    with pytest.raises(CorpusError, match=r"'a' may be any of a\.wav, sub/a\.wav"):
        ask()
    labels = media.parent / "labels.csv"
    labels.write_text(LABELS.replace("a,train", "sub/a,train", 1))
    assert ifn.read_corpus(ask()[0]).recording[0] == "sub/a"


def test_targets_are_chosen(ask, media):
    (media.parent / "labels.csv").write_text(
        "recording,partition,mood,take\na,train,3,x\nb,train,1,y\nc,dev,3,x\n"
    )
    (media.parent / "two.csv").write_text(
        "recording,partition,a,v\na,train,3,1\nb,train,1,2\nc,dev,3,1.5\n"
    )
    two, _ = ask(
        labels=media.parent / "two.csv", target=("a", "v"), out=media.parent / "two"
    )
    assert ifn.read_corpus(two).targets == ("a", "v")
    corpus = ifn.read_corpus(ask(target=("mood",), classes=True)[0])
    assert corpus.classes == ("1", "3") and corpus.targets == ("mood",)
    assert corpus.attributes["take"].tolist() == ["x", "y", "x"]


@pytest.mark.slow
def test_processes_give_the_same(media):
    cache = media.parent / "kept"
    cache.mkdir()
    paths = [media / f"{name}.wav" for name in "abcd"]
    tasks = [Task(i, "audio", Recording(p)) for i, p in enumerate(paths)]
    recipe = Recipe({"audio": "egemaps"}, ExtractorOptions(), cache)
    found = {task.place: features for task, features in extract_all(tasks, recipe, 2)}
    assert sorted(found) == [0, 1, 2, 3]
    for place, features in found.items():
        expected = audio.functionals(Recording(paths[place])).values
        np.testing.assert_array_equal(features.values, expected)


@pytest.mark.slow
def test_a_file_that_ends_its_process_fails_alone(media, monkeypatch):
    monkeypatch.setenv("PROCESS_OF_TEST", str(os.getpid()))
    cache = media.parent / "kept"
    cache.mkdir()
    tasks = [
        Task(i, "audio", _Deadly(media / f"{name}.wav") if name == "b"
             else Recording(media / f"{name}.wav"))
        for i, name in enumerate("abcd")
    ]  # fmt: skip
    recipe = Recipe({"audio": "egemaps"}, ExtractorOptions(), cache)
    found = {task.place: features for task, features in extract_all(tasks, recipe, 2)}
    kinds = {place: type(features) for place, features in found.items()}
    assert kinds == {0: Features, 1: Failure, 2: Features, 3: Features}
    assert "the decoder crashed" in found[1].reason


class _Deadly(Recording):
    """Ends the process that looks at it, as a crash of a decoder would."""

    def __getattribute__(self, name):
        if name == "path" and os.environ["PROCESS_OF_TEST"] != str(os.getpid()):
            os._exit(139)
        return super().__getattribute__(name)


@pytest.mark.data
@needs_samples
def test_ravdess_is_read_from_its_file_names(tmp_path):
    stored = np.load(SAMPLES.parent / "ravdess_av" / "ravdess_av.npz")
    report = extract_corpus(
        Request(SAMPLES, tmp_path / "out", {"audio": "egemaps"}, corpus="ravdess")
    )
    assert report.failures == []
    rows = {str(name): i for i, name in enumerate(stored["ids"])}
    written = pd.read_csv(Path(tmp_path) / "out" / "recordings.csv")
    labels = pd.read_csv(Path(tmp_path) / "out" / "labels.csv", index_col="recording")
    assert len(written) == 8
    for _, line in written.iterrows():
        row = rows[line["recording"]]
        assert line["fold"] == stored["fold"][row]
        assert line["partition"] == ("train", "dev", "test")[stored["split"][row]]
        assert line["speaker"] == f"actor {stored['actor'][row]:02d}"
        assert line["sex"] == ("male" if stored["male"][row] else "female")
        emotion = stored["class_names"][stored["label"][row]]
        assert labels.loc[line["recording"], "emotion"] == emotion


@pytest.mark.slow
@pytest.mark.data
@needs_samples
def test_a_talking_face_becomes_a_corpus_of_both_modalities(ask, media, tmp_path):
    """Parts of a clip; the features of video are those of landmarks of all frames."""
    pytest.importorskip("dlib")
    labels = tmp_path / "parts.csv"
    labels.write_text(
        "recording,file,start,end,partition,emotion\n"
        "one,obama_speech,0,1.5,train,calm\n"
        "two,obama_speech,2,3.5,train,tense\n"
        "three,obama_speech,4,5.5,dev,calm\n"
        "four,obama_speech,6,7.5,test,tense\n"
    )
    both = {"audio": "egemaps", "video": "geometry"}
    out, report = ask(media=SAMPLES, labels=labels, extractors=both)
    assert report.failures == []
    corpus = ifn.read_corpus(out)
    assert {m: len(v.names) for m, v in corpus.modalities.items()} == {
        "audio": 88,
        "video": 632,
    }
    assert corpus.attributes["face_share"].tolist() == ["1"] * 4
    assert corpus.attributes["most_faces"].tolist() == ["2"] * 4
    said = json.loads((out / "extraction.json").read_text())["video"]
    assert np.array(said["mean_shape"]).shape == (49, 2)
    values = corpus.modalities["video"].values
    names = corpus.modalities["video"].names
    # the shapes of train have the mean shape as their mean, whatever dev and test have
    shape = [i for i, name in enumerate(names) if name.startswith("shape_x")][:49]
    assert np.abs(values[:2, shape].mean(0)).max() < 0.01
    assert np.abs(values[2:, shape].mean(0)).max() > 0.01
    # the mean shape of a corpus can be used for other recordings
    again, _ = ask(
        media=SAMPLES,
        labels=labels,
        extractors={"video": f"geometry:{out / 'extraction.json'}"},
        out=tmp_path / "again",
        step=0.1,
        window=1.0,
    )
    table = np.load(again / "features" / "video.npz", allow_pickle=False)
    assert table["values"].shape == (4 * 15, 632)
    # as recordings without labels need, which have no train
    new = tmp_path / "new"
    new.mkdir()
    (new / "clip.mp4").symlink_to(SAMPLES / "obama_speech.mp4")
    with pytest.raises(CorpusError, match="use that of a corpus"):
        ask(
            media=new, labels=None, extractors={"video": "geometry"}, out=tmp_path / "x"
        )
    spec = {"video": f"geometry:{out / 'extraction.json'}"}
    plain, _ = ask(media=new, labels=None, extractors=spec, out=tmp_path / "plain")
    table = pd.read_csv(plain / "features" / "video.csv")
    assert table.shape == (1, 633) and table["recording"][0] == "clip"
    reused = json.loads((again / "extraction.json").read_text())["video"]
    assert reused["mean_shape"] == said["mean_shape"]
    assert reused["asked"] == "geometry"  # whatever becomes of the file
    one = extract_as(SAMPLES / "obama_speech.mp4", "video", said)
    assert one.provenance["mean_shape"] == said["mean_shape"] and not one.differences
    np.testing.assert_allclose(
        one.features.values, table.iloc[:, 1:].astype(np.float32), rtol=1e-6
    )
