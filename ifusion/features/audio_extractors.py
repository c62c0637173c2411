"""The extractors of audio."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ifusion.corpora.functionals import name_functionals
from ifusion.features import audio
from ifusion.features.extra import extra_version
from ifusion.features.extracted import read_tables
from ifusion.features.extractors import (
    Extractor,
    ExtractorOptions,
    Features,
    Maker,
    path_in,
)
from ifusion.features.media import MediaError, Recording, read_sound
from ifusion.features.onnx_model import Chunk, embed_sound, load_model
from ifusion.features.windows import average_frames, count_frames

TIE = 1e-6  # [s] by which the earlier of two frames is preferred


def _opensmile(
    name: str, rest: str, options: ExtractorOptions, descriptors: bool = False
) -> Extractor:
    """Makes the extractor of eGeMAPS: functionals, or low-level descriptors."""
    version = rest or audio.VERSIONS[0]
    if version not in audio.VERSIONS:
        known = ", ".join(audio.VERSIONS)
        raise ValueError(f"--audio={name}: expected a version, one of {known}")
    step, window, rate = options.step, options.seconds, options.rate
    level = "low-level descriptors" if descriptors else "functionals"
    states = {
        "extractor": f"openSMILE eGeMAPS{version} {level}",
        "opensmile": extra_version("opensmile"),
        "rate": rate,
        "step": step,
    }
    if step and not descriptors:
        states["window"] = window

    def extract(recording: Recording) -> Features:
        if descriptors:
            sound = audio.descriptors(recording, version, rate)
        elif step is None:
            sound = audio.functionals(recording, version, rate)
        else:
            sound = audio.window_functionals(recording, window, step, version, rate)
        facts = {"sound_rate": sound.rate, "voice_share": audio.voiced_share(sound)}
        names, values = sound.names, sound.values
        if descriptors and step is None:
            means = values.mean(0, np.float64)
            spread = [c.std(dtype=np.float64) for c in values.T]  # one at a time
            names, values = name_functionals(names), np.append(means, spread)[None]
        elif descriptors and step is not None:
            middles = (sound.starts + sound.stops) / 2
            frames = count_frames(sound.duration, step)
            values = average_frames(middles, values, step, frames)
        return Features(names, values, facts)

    return Extractor(name, states, extract)


def _onnx(name: str, rest: str, options: ExtractorOptions) -> Extractor:
    model = load_model(path_in(name, rest, "file"), "audio")
    step, rate = options.step, model.states["rate"]
    if options.rate not in (None, rate):
        raise ValueError(
            f"--rate={options.rate}, but the JSON file of the model says {rate} Hz"
        )

    def extract(recording: Recording) -> Features:
        total: Any = 0.0
        chunks: list[Chunk] = []
        count, seconds = 0, 0.0
        for chunk in embed_sound(model, read_sound(recording, rate)):
            count, seconds = count + len(chunk.frames), chunk.stop
            if step is None:  # a long recording has too many to keep
                total = total + chunk.frames.sum(0, np.float64)
            else:
                chunks.append(chunk)
        if not count:
            reason = f"its sound lasts {seconds:.3g} s, too short for the model"
            raise MediaError(reason, recording.path)
        if step is None:
            values = (total / count)[None]
        else:
            times = np.concatenate([chunk.times for chunk in chunks])
            wanted = np.arange(count_frames(seconds, step)) * step
            rows = np.searchsorted((times[1:] + times[:-1]) / 2, wanted - TIE)
            values = np.concatenate([chunk.frames for chunk in chunks])[rows]  # nearest
        names = tuple(f"sound{i}" for i in range(values.shape[1]))
        return Features(names, values.astype(np.float32), {"sound_rate": rate})

    return Extractor(name, {**model.states, "step": step}, extract)


MAKERS: Mapping[str, Maker] = {
    "egemaps": _opensmile,
    "lld": partial(_opensmile, descriptors=True),
    "onnx": _onnx,
    "opensmile": partial(read_tables, tool="openSMILE"),
}
