"""Sound and pictures of files whose content is known."""

import sys
import unicodedata
import wave

import numpy as np
import pytest
from media_files import add_sound, av, grey, tone, write_sound, write_video

from ifusion.corpora.corpus import CorpusError
from ifusion.features.file_index import FileIndex
from ifusion.features.media import (
    SOUNDS,
    MediaError,
    Recording,
    read_pictures,
    read_sound,
    sound_rate,
)


def sound_of(path, rate=None, **part):
    recording = Recording(path, **part)
    return np.concatenate(list(read_sound(recording, rate or sound_rate(recording))))


def pictures_of(path, **part):
    return list(read_pictures(Recording(path, **part)))


@pytest.mark.parametrize(
    ("codec", "suffix", "error"),
    [
        ("pcm_s16le", ".wav", 1.0),
        ("pcm_s24le", ".wav", 1.0),
        ("pcm_u8", ".wav", 129.0),
        ("pcm_f32le", ".wav", 1.0),
        ("flac", ".flac", 1.0),
    ],
)
def test_samples_are_those_written(tmp_path, codec, suffix, error):
    samples = tone(0.5)
    path = write_sound(tmp_path / f"a{suffix}", samples, codec=codec)
    assert np.abs(sound_of(path) - samples * 32768).max() <= error


def test_channels_are_averaged(tmp_path):
    left, right = tone(0.3, level=0.4), tone(0.3, pitch=330, level=0.2)
    path = write_sound(tmp_path / "a.wav", np.stack([left, right]))
    assert np.abs(sound_of(path) - (left + right) / 2 * 32768).max() <= 2


def test_what_exceeds_full_scale_is_clipped(tmp_path):
    samples = tone(0.2, level=1.5)
    path = write_sound(tmp_path / "a.wav", samples, codec="pcm_f32le")
    expected = np.clip(samples * 32768, -32768, 32767)
    assert np.abs(sound_of(path) - expected).max() <= 1


def test_sound_is_resampled(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(1.0, 48000), 48000)
    assert sound_rate(Recording(path)) == 48000
    found, expected = sound_of(path, 16000) / 32768, tone(1.0, 16000)
    assert len(found) == 16000
    middle = slice(1000, 15000)
    assert np.corrcoef(found[middle], expected[middle])[0, 1] > 0.9999


def test_a_part_is_cut_to_the_sample(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(2.0))
    whole = sound_of(path)
    part = sound_of(path, start=0.5, end=1.25)
    np.testing.assert_array_equal(part, whole[8000:20000])


def test_pictures_have_the_times_written(tmp_path):
    times = np.array([0, 0.04, 0.2, 0.21, 0.5])  # a variable rate
    levels = [10, 60, 120, 180, 240]
    path = write_video(tmp_path / "a.mkv", grey(levels), times)
    found = pictures_of(path)
    np.testing.assert_allclose([p.time for p in found], times, atol=1e-3)
    np.testing.assert_allclose([p.rgb.mean() for p in found], levels, atol=3)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (33, 50)])
def test_odd_sizes_are_kept(tmp_path, size):
    path = write_video(tmp_path / "a.mkv", grey([50, 90], *size))
    assert {p.rgb.shape for p in pictures_of(path)} == {(*size, 3)}


def test_a_part_begins_with_the_picture_that_is_shown(tmp_path):
    levels = np.arange(10, 250, 12)
    path = write_video(tmp_path / "a.mkv", grey(levels), step=0.1)
    found = pictures_of(path, start=0.55, end=0.95)
    np.testing.assert_allclose([p.time for p in found], [0, 0.05, 0.15, 0.25, 0.35])
    np.testing.assert_allclose([p.rgb.mean() for p in found], levels[5:10], atol=3)


def test_pictures_are_turned_upright(tmp_path):
    """The matrix of a telephone that is held upright: x' = -y, y' = x."""
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:, :32] = 220  # bright on the left
    path = write_video(tmp_path / "a.mp4", [picture] * 3)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    matrix = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4")
    data[place : place + 36] = matrix.tobytes()
    path.write_bytes(data)
    turned = pictures_of(path)[0].rgb.astype(float)
    assert turned.shape == (64, 48, 3)
    # the point (x, y) goes to (-y, x): the left becomes the top
    assert turned[:24].mean() > 200 and turned[40:].mean() < 50


def test_sound_and_pictures_share_their_zero(tmp_path):
    """A flash and a click at 1 s are found at 1 s in both."""
    levels = np.where(np.arange(50) == 25, 255, 0)
    samples = np.zeros(32000)
    samples[16000:16200] = 0.9
    path = write_video(tmp_path / "a.mkv", grey(levels), sound=samples)
    flash = next(p.time for p in pictures_of(path) if p.rgb.mean() > 128)
    click = np.argmax(np.abs(sound_of(path)) > 16000) / 16000
    assert flash == pytest.approx(1.0, abs=1e-3)
    assert click == pytest.approx(1.0, abs=1e-3)


def test_names_in_any_script_are_found(tmp_path):
    for name in ("a b.wav", "ψυχή.wav", "Ton.WAV", "ton.wav", ".hidden.wav"):
        write_sound(tmp_path / name, tone(0.1))
    (tmp_path / "notes.txt").write_text("no media")
    index = FileIndex(tmp_path, [SOUNDS])
    assert [p.name for p in index.paths] == [
        "Ton.WAV",
        "a b.wav",
        "ton.wav",
        "ψυχή.wav",
    ]
    for name in ("a b", "ψυχή", "Ton", "ton", "ton.wav"):
        assert len(sound_of(index.find(name))) == 1600
        assert index.find(name).stem == name.removesuffix(".wav")
    assert index.find(unicodedata.normalize("NFD", "ψυχή")).name == "ψυχή.wav"
    assert index.find("TON") is None


def test_a_folder_without_media_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"no file in it that ends in \.aac"):
        FileIndex(tmp_path, [SOUNDS])
    with pytest.raises(CorpusError, match="no such folder"):
        FileIndex(tmp_path / "none", [SOUNDS])


def test_titles_in_another_encoding_do_no_harm(tmp_path):
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Qwertz"
        add_sound(container, tone(0.1)[None], 16000, "pcm_s16le", "mono")
    data = path.read_bytes()
    assert b"Qwertz" in data
    path.write_bytes(data.replace(b"Qwertz", "Köänig".encode("latin-1")))
    assert len(sound_of(path)) == 1600


def broken(tmp_path, kind):
    path = tmp_path / "a.wav"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no sound\n" * 100)
    elif kind == "silent film":
        return write_video(tmp_path / "a.mp4", grey([1, 2, 3]))
    elif kind == "cut off":
        noise = np.random.default_rng(0).uniform(-1, 1, 32000)
        path = write_sound(tmp_path / "a.flac", noise, codec="flac")
        path.write_bytes(path.read_bytes()[:30000])
    elif kind == "no samples":
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("empty", "the file is empty"),
        ("text", "cannot be read as media"),
        ("silent film", "it has no sound"),
        ("cut off", "ends after .* s of the 2.00 s it declares"),
        ("no samples", "has no frames"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, kind, reason):
    path = broken(tmp_path, kind)
    with pytest.raises(MediaError, match=reason) as error:
        sound_of(path, 16000)
    assert error.value.file == path


def test_sound_without_pictures_is_said(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(0.2))
    with pytest.raises(MediaError, match="it has no picture"):
        pictures_of(path)


def test_a_part_behind_the_end_is_said(tmp_path):
    path = write_video(tmp_path / "a.mkv", grey([1, 2]), sound=tone(0.2))
    with pytest.raises(MediaError, match="no sound in this part"):
        sound_of(path, start=5.0, end=6.0)
    with pytest.raises(MediaError, match="no picture in this part"):
        pictures_of(path, start=5.0, end=6.0)


def test_a_missing_library_is_named_with_its_remedy(tmp_path, monkeypatch):
    path = write_sound(tmp_path / "a.wav", tone(0.1))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        ValueError, match=r'av is not installed: pip install -e "\.\[fea'
    ):
        sound_of(path)
