"""eGeMAPS against openSMILE's own interface, stored values, and numpy."""

import signal
import threading
import warnings
import wave

import numpy as np
import pytest
from media_files import SAMPLES, needs_samples, tone, write_sound

from ifusion.features import audio, long_sound
from ifusion.features.extractors import ExtractorOptions, make_extractor
from ifusion.features.media import MediaError, Recording

opensmile = pytest.importorskip("opensmile")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Six seconds: tones of changing pitch and level, with pauses, and noise."""
    rng = np.random.default_rng(0)
    parts = [
        np.concatenate([tone(0.7, pitch=p, level=v), np.zeros(3200)])
        for p, v in [(120, 0.3), (180, 0.5), (240, 0.2), (150, 0.6), (200, 0.4)] * 2
    ]
    spoken = np.concatenate(parts)[:96000]
    spoken += 0.003 * rng.standard_normal(len(spoken))
    return write_sound(tmp_path_factory.mktemp("sound") / "speech.wav", spoken)


def smile(path, level, version="eGeMAPSv02"):
    """The values of openSMILE's own interface: (R, F)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # v01a is called deprecated
        extractor = opensmile.Smile(
            getattr(opensmile.FeatureSet, version),
            getattr(opensmile.FeatureLevel, level),
        )
    found = extractor(samples(path)[None] / np.float32(32768), 16000)
    return list(extractor.feature_names), found[0].T


def samples(path):
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@pytest.mark.parametrize("longest", [120.0, 1.0])  # it has six seconds
@pytest.mark.parametrize("version", ["v02", "v01b", "v01a"])
def test_functionals_are_those_of_opensmile(speech, version, longest, monkeypatch):
    monkeypatch.setattr(audio, "LONG", longest)
    names, expected = smile(speech, "Functionals", f"eGeMAPS{version}")
    found = audio.functionals(Recording(speech), version)
    assert list(found.names) == names and len(names) == 88
    np.testing.assert_array_equal(found.values, expected)


def test_descriptors_are_those_of_opensmile(speech):
    names, expected = smile(speech, "LowLevelDescriptors")
    found = audio.descriptors(Recording(speech))
    assert list(found.names) == names and len(names) == 25
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_allclose(found.starts, 0.01 * np.arange(len(expected)))


def test_windows_average_the_descriptors_in_them(speech):
    """Means over a window, by numpy from descriptors of the whole."""
    step, window = 0.04, 2.0
    low = audio.descriptors(Recording(speech))
    found = audio.window_functionals(Recording(speech), window, step)
    assert found.values.shape == (150, 88)  # 6 s
    column = found.names.index("loudness_sma3_amean")
    loudness = low.values[:, low.names.index("Loudness_sma3")]
    for row in (0, 10, 25, 75, 149):
        first, last = window / 2, found.starts.max() + window / 2
        middle = np.clip(row * step, first, last)
        assert found.starts[row] == pytest.approx(middle - window / 2, abs=1e-6)
        begin = round(found.starts[row] / 0.01)
        expected = loudness[begin : begin + round(window / 0.01)].mean()
        assert found.values[row, column] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "describe",
    [
        audio.descriptors,
        audio.functionals,
        lambda recording: audio.window_functionals(recording, 1.8, 0.1),
    ],
)
def test_the_share_of_voice_is_that_of_the_tones(speech, describe):
    share = audio.voiced_share(describe(Recording(speech)))
    assert share == pytest.approx(0.7 / 0.9, abs=0.08)


@pytest.mark.parametrize("longest", [120.0, 0.0])
def test_a_click_is_too_short(tmp_path, longest, monkeypatch):
    monkeypatch.setattr(audio, "LONG", longest)
    path = write_sound(tmp_path / "click.wav", tone(0.02))
    with pytest.raises(MediaError, match=r"lasts 0\.02 s, shorter than what eGeMAPS"):
        audio.functionals(Recording(path))
    path = write_sound(tmp_path / "word.wav", tone(1.0))
    with pytest.raises(MediaError, match="lasts 1 s, shorter than the window of 4 s"):
        audio.window_functionals(Recording(path), 4.0, 0.04)


@pytest.mark.parametrize(
    ("rate", "end"), [(8000, 0.43), (11025, 1.31), (22050, 2.47), (48000, 3.03)]
)
def test_a_long_recording_is_summarised_to_its_end(speech, rate, end, monkeypatch):
    """After it summarises, openSMILE adds frames; how many depends on the end."""
    part = Recording(speech, end=end)
    expected = audio.functionals(part, rate=rate)
    monkeypatch.setattr(audio, "LONG", 0.1)
    found = audio.functionals(part, rate=rate)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.stops, expected.stops)


def test_a_full_disk_is_named(tmp_path):
    header = bytes.fromhex("00000005 000186a0 0004 0009")  # of five frames
    (tmp_path / "egemapsv02_energyRMS.htk").write_bytes(header + bytes(4 * 3))
    with pytest.raises(OSError, match=r"RMS\.htk is incomplete; is there no space"):
        long_sound.cut_levels("v02", tmp_path, voiced=3)


def test_an_error_while_decoding_ends_the_extraction(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 64000)
    path = write_sound(tmp_path / "a.flac", noise, codec="flac")
    path.write_bytes(path.read_bytes()[:60000])
    with pytest.raises(MediaError, match="it declares"):
        audio.functionals(Recording(path))


@pytest.mark.parametrize(("last", "longest"), [(0, 120.0), (9, 120.0), (9, 1.0)])
def test_a_signal_ends_the_extraction(speech, monkeypatch, last, longest):
    monkeypatch.setattr(audio, "LONG", longest)
    read, threads = [], threading.active_count()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def endless(*_):
        for number in range(500):
            read.append(number)
            if number == last:
                signal.raise_signal(signal.SIGINT)
            yield np.zeros(16000, np.int16)

    monkeypatch.setattr(audio, "read_sound", endless)
    with pytest.raises(KeyboardInterrupt):
        audio.functionals(Recording(speech))
    signal.signal(signal.SIGINT, before)
    assert read[-1] == last and threading.active_count() == threads


def test_an_unknown_version_is_refused(speech):
    with pytest.raises(ValueError, match="eGeMAPS 'v3', expected one of v02"):
        audio.functionals(Recording(speech), "v3")


@pytest.mark.data
@needs_samples
def test_ravdess_has_the_stored_values(monkeypatch):
    stored = np.load(SAMPLES.parent / "ravdess_av" / "ravdess_av.npz")
    row = {str(name): i for i, name in enumerate(stored["ids"])}
    paths = sorted(SAMPLES.glob("*.flac"))
    assert len(paths) == 8
    for number, path in enumerate(paths):
        monkeypatch.setattr(audio, "LONG", (120.0, 1.0)[number % 2])
        found = audio.functionals(Recording(path))
        assert found.names == tuple(stored["audio_names"])
        expected = stored["audio"][row[path.stem[3:]]]
        np.testing.assert_allclose(found.values[0], expected, rtol=1e-5, atol=1e-5)


def test_descriptors_are_averaged_over_frames(speech):
    low = audio.descriptors(Recording(speech))
    whole = make_extractor("audio", "lld", ExtractorOptions()).extract(
        Recording(speech)
    )
    expected = np.concatenate([low.values.mean(0), low.values.std(0)])
    np.testing.assert_allclose(whole.values[0], expected, rtol=1e-3, atol=1e-4)
    found = make_extractor("audio", "lld", ExtractorOptions(step=0.1)).extract(
        Recording(speech)
    )
    assert found.values.shape == (60, 25) and found.names == low.names
    # descriptors are 20 ms long: the middles of 10 follow 0.95 s
    expected = low.values[94:104].mean(0)
    np.testing.assert_allclose(found.values[10], expected, rtol=1e-4, atol=1e-5)
