"""OMG-Emotion's label files, with videos that are whole, cut, or gone."""

import numpy as np
import pytest
from media_files import tone, write_sound

import ifusion as ifn
from ifusion.features.pipeline import extract_corpus, make_request

pytest.importorskip("opensmile")
HEAD = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote"
TRAIN = """https://www.youtube.com/watch?v=abc,0,1.5,v1,utterance_1.mp4,0.5,0.2,3
https://www.youtube.com/watch?v=abc,1.5,3,v1,utterance_2.mp4,0.1,-0.2,5
https://www.youtube.com/watch?v=def,10,12,v2,utterance_1.mp4,0.4,0.0,4
https://www.youtube.com/watch?v=gone,1,2,v3,utterance_1.mp4,0.4,0.0,4"""
DEV = "https://www.youtube.com/watch?v=ghi,0.5,2,v4,utterance_1.mp4,0.9,-0.9,0"


@pytest.fixture
def folder(tmp_path):
    media = tmp_path / "media"
    (media / "v2").mkdir(parents=True)
    write_sound(
        media / "v1.wav", np.concatenate([tone(1.5, pitch=110), tone(1.5, pitch=220)])
    )
    write_sound(media / "v2" / "utterance_1.wav", tone(1.5, pitch=160))
    write_sound(media / "ghi.wav", tone(2.5, pitch=140))
    (tmp_path / "omg_TrainVideos.csv").write_text(f"{HEAD}\n{TRAIN}\n")
    (tmp_path / "omg_ValidationVideos.csv").write_text(f"{HEAD}\n{DEV}\n")
    return tmp_path


def extract(folder, **changes):
    fields = {
        "media": folder / "media",
        "out": folder / "out",
        "labels": folder,
        "corpus": "omg",
        "extractors": {"audio": "egemaps"},
    }
    return extract_corpus(make_request({**fields, **changes}))


def test_videos_are_cut_found_cut_or_listed(folder):
    report = extract(folder)
    corpus = ifn.read_corpus(folder / "out")
    assert corpus.recording.tolist() == [
        "v1/utterance_1.mp4",
        "v1/utterance_2.mp4",
        "v2/utterance_1.mp4",
        "v4/utterance_1.mp4",
    ]
    found = [corpus.classes[i] for i in corpus.labels.ravel()]
    assert found == ["happy", "sad", "neutral", "anger"]
    assert corpus.speaker.tolist() == ["abc", "abc", "def", "ghi"]
    assert corpus.attributes["video"].tolist() == ["v1", "v1", "v2", "v4"]
    audio = corpus.modalities["audio"]
    column = audio.names.index("F0semitoneFrom27.5Hz_sma3nz_percentile50.0")
    expected = 12 * np.log2(np.array([110, 220, 160, 140]) / 27.5)
    np.testing.assert_allclose(audio.values[:, column], expected, atol=0.5)
    assert [f.reason for f in report.failures] == ["there is no such file"]


def test_dimensions_may_be_predicted(folder):
    extract(folder, target=("arousal", "valence"))
    corpus = ifn.read_corpus(folder / "out")
    assert corpus.classes == () and corpus.targets == ("arousal", "valence")
    np.testing.assert_allclose(corpus.labels[1], [0.1, -0.2])
    with pytest.raises(ValueError, match="expected emotion or arousal,valence"):
        extract(folder, target=("mood",), out=folder / "other")


def test_videos_must_be_there(folder):
    for path in (folder / "media").rglob("*.wav"):
        path.rename(path.with_stem(path.stem + "_x"))
    with pytest.raises(ValueError, match="no file is named as a video of OMG"):
        extract(folder)
