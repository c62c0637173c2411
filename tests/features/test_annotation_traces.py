"""Traces of raters, at any rate, to one label a frame."""

import json

import numpy as np
import pandas as pd
import pytest
from media_files import tone, write_sound

import ifusion as ifn
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.gold_standard import avec_gold_standard
from ifusion.features.pipeline import extract_corpus, make_request
from ifusion.features.traces import AVERAGED, INTERPOLATED, to_frames

pytest.importorskip("opensmile")
STEP = 0.1


def wave(times, phase=0.0):
    return np.sin(2 * times + phase)


def write_trace(path, seconds, rate, phase=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * rate) + 1) / rate
    pd.DataFrame({"time": times, "value": wave(times, phase)}).to_csv(path, index=False)


@pytest.fixture
def folder(tmp_path):
    """Three recordings of 3 s, rated by two at 100 and at 4 values a second."""
    media = tmp_path / "media"
    media.mkdir()
    for name in "abc":
        write_sound(media / f"{name}.wav", tone(3.0))
        for rater, rate in (("anna", 100), ("ben", 4)):
            for target, phase in (("arousal", 0.0), ("valence", 1.0)):
                path = tmp_path / "traces" / target / rater / f"{name}.csv"
                write_trace(path, 2.8, rate, phase)
    (tmp_path / "labels.csv").write_text(
        "recording,partition\na,train\nb,dev\nc,test\n"
    )
    return tmp_path


def extract(folder, out="out", **changes):
    fields = {
        "media": folder / "media",
        "out": folder / out,
        "labels": folder / "labels.csv",
        "traces": folder / "traces",
        "extractors": {"audio": "egemaps"},
        "step": STEP,
        "window": 1.0,
    }
    return extract_corpus(make_request({**fields, **changes}))


def test_dense_traces_are_averaged_and_sparse_ones_interpolated():
    times = np.arange(101) * 0.01
    found, method = to_frames(times, times**2, 0.1)
    assert method == AVERAGED and len(found) == 11
    inside = [t for t in times if 0.25 - 1e-9 <= t < 0.35 - 1e-9]
    assert found[3] == pytest.approx(np.mean(np.square(inside)))
    found, method = to_frames(np.array([0, 0.5, 1.0]), np.array([0, 1.0, 0]), 0.1)
    assert method == INTERPOLATED
    np.testing.assert_allclose(found, 1 - np.abs(np.arange(11) / 5 - 1))


def test_traces_become_a_corpus_over_time(folder):
    report = extract(folder)
    assert report.failures == []
    corpus = ifn.read_corpus(folder / "out")
    assert corpus.frame_step == STEP and corpus.targets == ("arousal", "valence")
    assert np.diff(corpus.offsets).tolist() == [28] * 3  # ben ends at 2.75 s
    times = np.arange(28) * STEP
    np.testing.assert_allclose(corpus.labels[:28, 0], wave(times), atol=0.05)
    np.testing.assert_allclose(corpus.labels[28:56, 1], wave(times, 1.0), atol=0.05)
    raters = corpus.raters["arousal"][:28]
    np.testing.assert_allclose(raters.mean(1), corpus.labels[:28, 0], atol=1e-6)
    said = json.loads((folder / "out" / "extraction.json").read_text())["labels"]
    assert said == {"gold": "mean", "traces": {AVERAGED: 6, INTERPOLATED: 6}}
    assert any("cut to the frames" in note for note in corpus.notes)


def test_the_gold_standard_of_avec_may_be_asked_for(folder):
    extract(folder, gold="avec")
    corpus = ifn.read_corpus(folder / "out")
    expected = avec_gold_standard(corpus.raters["valence"][:28])
    np.testing.assert_allclose(corpus.labels[:28, 1], expected, atol=1e-6)


def test_raters_may_be_columns_and_test_unrated(folder):
    for target in ("arousal", "valence"):
        for path in (folder / "traces" / target).rglob("*.csv"):
            path.unlink()
        for name in "ab":
            times = np.arange(31) * 0.1
            table = {"Time": times, "r1": wave(times), "r2": wave(times) + 0.2}
            path = folder / "traces" / target / f"{name}.csv"
            pd.DataFrame(table).to_csv(path, index=False)
    extract(folder)
    corpus = ifn.read_corpus(folder / "out")
    assert np.isnan(corpus.labels[corpus.offsets[2] :]).all()
    np.testing.assert_allclose(
        corpus.labels[:20, 0], wave(np.arange(20) * 0.1) + 0.1, atol=1e-5
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("time,value\n0,1\n2,x\n", "'x' is not a number; if the column is not a ra"),
        ("time,value\n0,1\n2,1\n1,1\n", "1 s is not after"),
        ("time,value\n5,1\n6,1\n", "begins at 5 s"),
        ("value\n1\n", "expected a column time"),
        ("time,value\n0,\n1,\n", "there is no value"),
    ],
)
def test_wrong_traces_are_listed(folder, text, reason):
    (folder / "traces" / "arousal" / "ben" / "a.csv").write_text(text)
    (folder / "labels.csv").write_text("recording,partition\na,train\nb,train\nc,dev\n")
    report = extract(folder)
    assert [f.place for f in report.failures] == [0]
    assert reason in report.failures[0].reason
    failures = pd.read_csv(folder / "out" / "failures.csv")
    assert failures["modality"].tolist() == ["labels"]


def test_requests_that_make_no_sense_are_refused(folder):
    with pytest.raises(ValueError, match="--traces needs --step"):
        extract(folder, step=None, window=None)
    with pytest.raises(ValueError, match="--traces needs --labels"):
        extract(folder, labels=None)
    with pytest.raises(CorpusError, match="no such folder"):
        extract(folder, traces=folder / "none")
