"""Media that the tests make: sound and pictures of known content."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason='needs pip install -e ".[features]"')

SAMPLES = Path(os.environ.get("IFUSION_DATA", "/nowhere")) / "media_samples"
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="IFUSION_DATA names no folder with media_samples"
)


def tone(seconds=1.0, rate=16000, pitch=200.0, level=0.5):
    """A voice-like tone of 20 harmonics: (n,) float in [-1, 1]."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 21))
    return level * wave / np.abs(wave).max()


def write_sound(path, samples, rate=16000, codec="pcm_s16le", layout=None):
    """Writes (n,) or (channels, n) floats in [-1, 1]."""
    samples = np.atleast_2d(samples)
    layout = layout or {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), "w") as container:
        add_sound(container, samples, rate, codec, layout)
    return path


def add_sound(container, samples, rate, codec, layout):
    stream = container.add_stream(codec, rate=rate, layout=layout)
    for first in range(0, samples.shape[1], 1024):
        part = np.ascontiguousarray(samples[:, first : first + 1024], np.float32)
        frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
        frame.sample_rate, frame.pts = rate, first
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_video(
    path, pictures, times=None, step=0.04, sound=None, rate=16000, codec="libx264"
):
    """Writes (height, width, 3) uint8 pictures, at times [s], with or without sound."""
    times = np.arange(len(pictures)) * step if times is None else times
    height, width = pictures[0].shape[:2]
    subsampled = height % 2 == width % 2 == 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=round(1 / step))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if subsampled else "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"crf": "4", "preset": "ultrafast"}
        if sound is not None:
            kind = "aac" if Path(path).suffix in (".mp4", ".mov") else "pcm_s16le"
            audio = np.atleast_2d(sound)
            add_sound(container, audio, rate, kind, "mono")
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey(levels, height=48, width=64):
    """Even pictures, one a level in 0 ... 255."""
    return [np.full((height, width, 3), level, np.uint8) for level in levels]
