"""Clips, whose features are extracted by the extractor that a model names."""

from dataclasses import replace

import numpy as np
import pytest

import ifusion as ifn
from ifusion.inference import clips
from ifusion.inference.files import predict_path
from ifusion.inference.opening import load_predictor

pytest.importorskip("opensmile")

from media_files import (  # noqa: I001
    SAMPLES,
    add_sound,
    grey,
    needs_samples,
    tone,
    write_sound,
    write_video,
)
from ifusion.features import audio, media, reuse
from ifusion.features.extra import MissingExtraError
from ifusion.features.media import Recording

SOUND = {"least": 16000, "mean": 16000, "most": 16000}
EGEMAPS = {
    "asked": "egemaps",
    "extractor": "openSMILE eGeMAPSv02 functionals",
    "rate": None,
    "step": None,
    "sound_rate": SOUND,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_sound(tmp_path_factory.mktemp("clip") / "a clip.wav", tone(2.0))


@pytest.fixture(scope="module")
def heard(trained, clip):
    """A model of five features of eGeMAPS."""
    names = audio.functionals(Recording(clip)).names[:5]
    found = load_predictor(trained, "audio")
    return replace(found, features={"audio": names}, provenance={"audio": EGEMAPS})


def features_of(clip, names):
    found = audio.functionals(Recording(clip))
    places = [found.names.index(name) for name in names]
    return found.values[:, places]


def test_a_clip_is_answered_as_its_features(heard, clip):
    names = heard.features["audio"]
    expected = heard.predict_table(features_of(clip, names), names=names).table
    answer = heard.predict_table(clip)
    assert answer.table["recording"].tolist() == ["a clip"]
    columns = list(expected)
    np.testing.assert_array_equal(answer.table[columns], expected)
    assert all("features lie far" in note for note in answer.notes)


def test_a_folder_may_hold_clips_and_tables(heard, clip, tmp_path):
    (tmp_path / "b.wav").write_bytes(clip.read_bytes())
    row = ",".join(map(str, features_of(clip, heard.features["audio"])[0]))
    (tmp_path / "a.csv").write_text(f"{','.join(heard.features['audio'])}\n{row}\n")
    table = predict_path(heard, tmp_path).table
    assert table["recording"].tolist() == ["a", "b"]
    np.testing.assert_allclose(table["calm"][0], table["calm"][1], atol=1e-6)


def test_pictures_are_not_read_for_a_model_of_sound(heard, tmp_path, monkeypatch):
    film = write_video(tmp_path / "film.mp4", grey([9] * 50), sound=tone(2.0))
    monkeypatch.setattr(media, "read_pictures", None)
    assert len(heard.predict_table(film).table) == 1


def test_sound_at_another_rate_is_resampled_and_doubted(heard, tmp_path):
    fine = write_sound(tmp_path / "fine.wav", tone(2.0, 44100), 44100)
    notes = heard.predict_table(fine).notes
    assert any("its sound of 44100 Hz is resampled to 16000 Hz" in n for n in notes)


def test_silence_is_doubted(heard, tmp_path):
    silent = write_sound(tmp_path / "silent.wav", np.zeros(32000))
    notes = heard.predict_table(silent).notes
    assert f"{silent}: a voice is heard in 0% of it" in notes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.write_bytes(b""), "clip.wav: the file is empty"),
        (lambda p: p.write_bytes(b"RIFF"), "clip.wav: it cannot be read as media"),
        (lambda p: write_sound(p, tone(0.01)), "shorter than what eGeMAPS needs"),
        (lambda p: None, "clip.wav: no such file"),
    ],
)
def test_clips_without_an_answer_are_named(heard, tmp_path, spoil, words):
    spoil(tmp_path / "clip.wav")
    with pytest.raises(ValueError, match=words) as told:
        heard.predict(tmp_path / "clip.wav")
    assert "\n" not in str(told.value)


def test_a_clip_that_is_no_utterance_is_named(heard, clip, tmp_path, monkeypatch):
    """Also one that does not declare its length, as browsers record them."""
    live = tmp_path / "live.webm"
    with media.import_extra("av").open(str(live), "w", options={"live": "1"}) as file:
        add_sound(file, tone(2.0, 48000)[None], 48000, "libopus", "mono")
    assert len(heard.predict_table(live).table) == 1
    monkeypatch.setattr(clips, "LONGEST", 1.5)
    for path in (clip, live):
        with pytest.raises(
            ValueError, match=r"it lasts more than 0.025 min, .* cut it into"
        ):
            heard.predict(path)


def test_sound_is_no_picture(heard, clip):
    seen = replace(
        heard,
        main="video",
        features={"video": ("x_0_mean",)},
        provenance={"video": {"asked": "geometry", "mean_shape": [[0, 0]] * 49}},
    )
    with pytest.raises(ValueError, match=r"a clip.wav: it has no picture"):
        seen.predict(clip)


def test_a_model_may_name_no_extractor(trained, clip):
    drawn = load_predictor(trained, "audio")
    with pytest.raises(
        ValueError, match=r"names no extractor of its audio features \(they are drawn"
    ):
        drawn.predict(clip)
    bare = replace(drawn, provenance={})
    with pytest.raises(ValueError, match="names no extractor of its audio features:"):
        bare.predict(clip)
    named = bare.with_extractors({"audio": "egemaps", "video": None})
    with pytest.raises(ValueError, match="5 of 5 columns are missing"):
        named.predict(clip)
    with pytest.raises(ValueError, match="--video=geometry: the model reads no video"):
        bare.with_extractors({"video": "geometry"})


def test_tables_of_a_tool_are_no_clips(heard, clip):
    read = heard.with_extractors({"audio": "opensmile:tables"})
    assert clips.why_no_clips(heard) == ""
    assert "features of audio are tables of openSMILE" in clips.why_no_clips(read)
    with pytest.raises(ValueError, match=r"are openSMILE eGeMAPSv02 .* expected a tab"):
        read.predict(clip)


def test_another_extractor_is_refused(heard, clip):
    other = heard.with_extractors({"audio": "egemaps:v01a"})
    with pytest.raises(ValueError, match=r"extractor openSMILE eGeMAPSv01a .*, not"):
        other.predict(clip)


def test_a_missing_library_is_named(heard, clip, monkeypatch):
    def absent(*_):
        raise MissingExtraError('av is not installed: pip install -e ".[features]"')

    monkeypatch.setattr(reuse, "make_extractor", absent)
    with pytest.raises(ValueError, match=r"a clip.wav: .*av is not installed: pip"):
        heard.predict(clip)


@needs_samples
def test_a_clip_of_ravdess_is_answered_as_its_stored_features(heard):
    """The file is one of those that the features of the corpus were extracted from."""
    corpus = ifn.corpora.ravdess()
    stated = corpus.provenance["audio"]
    assert stated["sound_rate"]["least"] == 48000
    predictor = replace(heard, provenance={"audio": stated})
    name = "01-03-01-01-01-01"
    (row,) = np.flatnonzero(corpus.recording == name)
    stored = corpus.modalities["audio"]
    places = [stored.names.index(n) for n in heard.features["audio"]]
    mine = predictor.predict_table(
        stored.values[row : row + 1, places], names=heard.features["audio"]
    ).table
    found = predictor.predict_table(SAMPLES / f"03-{name}.flac").table
    np.testing.assert_allclose(
        found[list(heard.classes)], mine[list(heard.classes)], atol=1e-4
    )


def test_a_folder_of_bad_files_says_why(heard, tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.csv").write_text("x,y\n1\n")
    words = r"none of its files .*: a\.csv \(5 of 5 columns are missing.* and 2 more$"
    with pytest.raises(ValueError, match=words):
        predict_path(heard, tmp_path)
