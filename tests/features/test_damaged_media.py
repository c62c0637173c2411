"""Damaged media: whatever they hold, each is used or named, and none stops the rest."""

import numpy as np
import pytest
from media_files import tone, write_sound, write_video

from ifusion.features import audio
from ifusion.features.faces import read_frames
from ifusion.features.media import MediaError, Recording, read_pictures, read_sound

pytest.importorskip("opensmile")
RNG = np.random.default_rng(0)


def cut(data, rng):
    return data[: rng.integers(1, len(data))]


def flip(data, rng):
    found = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 200)):
        found[place] = rng.integers(256)
    return bytes(found)


def flip_head(data, rng):
    found = bytearray(data)
    for place in rng.integers(0, min(512, len(data)), rng.integers(1, 12)):
        found[place] = rng.integers(256)
    return bytes(found)


def drop(data, rng):
    first = rng.integers(0, len(data))
    return data[:first] + data[first + rng.integers(1, len(data) // 2) :]


def repeat(data, rng):
    first = rng.integers(0, len(data))
    return data[:first] + data[first // 2 :]


def zero(data, rng):
    first = rng.integers(0, len(data))
    size = min(len(data) - first, rng.integers(1, 5000))
    return data[:first] + bytes(size) + data[first + size :]


DAMAGES = (cut, flip, flip_head, drop, repeat, zero)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Sound and pictures in seven formats."""
    folder = tmp_path_factory.mktemp("originals")
    sound = tone(1.0) + 0.02 * RNG.standard_normal(16000)
    pictures = [RNG.integers(0, 256, (64, 80, 3), np.uint8) for _ in range(15)]
    for suffix, codec in ((".wav", "pcm_s16le"), (".flac", "flac"), (".mp3", "mp3")):
        write_sound(folder / f"a{suffix}", sound, codec=codec)
    write_sound(folder / "a.m4a", sound, codec="aac")
    for suffix in (".mp4", ".mkv", ".avi"):
        write_video(folder / f"b{suffix}", pictures, step=1 / 15, sound=sound)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "suffix", [".wav", ".flac", ".mp3", ".m4a", ".mp4", ".mkv", ".avi"]
)
def test_damaged_files_are_used_or_named(tmp_path, originals, suffix):
    """30 variants of each of seven formats."""
    rng = np.random.default_rng(sum(map(ord, suffix)))
    outcomes = []
    for variant in range(30):
        path = tmp_path / f"{variant}{suffix}"
        path.write_bytes(DAMAGES[variant % len(DAMAGES)](originals[suffix], rng))
        recording = Recording(path)
        readers = [lambda r=recording: audio.functionals(r, rate=16000).duration]
        if suffix in (".mp4", ".mkv", ".avi"):
            readers.append(
                lambda r=recording: 0.04 * sum(1 for _ in read_frames(r, 0.04))
            )
        for read in readers:
            try:
                assert read() < 70  # [s]; of 1 s, and a gap of up to 60 s
                outcomes.append("used")
            except MediaError as error:
                assert error.file == path and "\n" not in str(error)
                outcomes.append("named")
    assert {"used", "named"} == set(outcomes)


def test_a_mislabelled_file_is_read_as_what_it_is(tmp_path, originals):
    path = tmp_path / "a.wav"
    path.write_bytes(originals[".flac"])
    assert sum(map(len, read_sound(Recording(path), 16000))) == 16000


def test_time_stamps_that_repeat_are_left_out(tmp_path):
    pictures = [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(5)]
    times = np.array([0, 0.04, 0.08, 0.5, 0.54])
    path = write_video(tmp_path / "a.mkv", pictures, times)
    found = [p.time for p in read_pictures(Recording(path))]
    assert found == sorted(set(found))


def test_pictures_that_are_absent_for_long_are_named(tmp_path):
    """Nor does it become hours of one picture."""
    pictures = [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(4)]
    times = np.array([0, 0.04, 7200, 7200.04])
    path = write_video(tmp_path / "a.mkv", pictures, times)
    with pytest.raises(MediaError, match=r"no picture for 7200 s, from 0\.04 s on"):
        list(read_pictures(Recording(path)))
    times[2:] = 50, 50.04  # a still picture for less than a minute
    path = write_video(tmp_path / "b.mkv", pictures, times)
    assert sum(f.repeats for f in read_frames(Recording(path), 0.5)) == 101


def test_sound_that_is_absent_for_long_is_named(tmp_path):
    """A time stamp that is far off does not become hours of silence."""
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for first in (0, 1024, 16000 * 7200):
            frame = av.AudioFrame.from_ndarray(
                np.full((1, 1024), 900, np.int16), "s16", "mono"
            )
            frame.sample_rate, frame.pts = 16000, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="its sound is missing for 7200 s"):
        list(read_sound(Recording(path), 16000))
