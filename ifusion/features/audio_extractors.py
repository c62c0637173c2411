"""Extractors of audio."""

from collections.abc import Mapping

import numpy as np

from ifusion.features import audio
from ifusion.features.extra import extra_version
from ifusion.features.extracted import opensmile
from ifusion.features.extractors import Extractor, Features, Maker, Options
from ifusion.features.media import MediaError, Recording, read_sound
from ifusion.features.onnx_model import embed_sound, load_model
from ifusion.features.windows import average_frames, name_functionals, summarise
from ifusion.paths import expand_path

TIE = 1e-6  # [s] by which the earlier of two frames is preferred


def _egemaps(name: str, rest: str, options: Options) -> Extractor:
    version = rest or audio.VERSIONS[0]
    if version not in audio.VERSIONS:
        raise ValueError(f"--audio={name}: expected egemaps:{audio.VERSIONS[1]} or so")
    step, window, rate = options.step, options.window, options.rate
    states = {
        "extractor": f"openSMILE eGeMAPS{version} functionals",
        "opensmile": extra_version("opensmile"),
        "rate": rate,
        "step": step,
        **({"window": window} if step else {}),
    }

    def extract(recording: Recording) -> Features:
        if step is None:
            sound = audio.functionals(recording, version, rate)
        else:
            sound = audio.window_functionals(recording, window, step, version, rate)
        facts = {"sound_rate": sound.rate, "voice_share": audio.voiced_share(sound)}
        return Features(sound.names, sound.values, facts)

    return Extractor(name, states, extract)


def _descriptors(name: str, rest: str, options: Options) -> Extractor:
    version = rest or audio.VERSIONS[0]
    if version not in audio.VERSIONS:
        raise ValueError(f"--audio={name}: expected lld:{audio.VERSIONS[1]} or so")
    step, rate = options.step, options.rate
    states = {
        "extractor": f"openSMILE eGeMAPS{version} low-level descriptors",
        "opensmile": extra_version("opensmile"),
        "rate": rate,
        "step": step,
    }

    def extract(recording: Recording) -> Features:
        low = audio.descriptors(recording, version, rate)
        facts = {"sound_rate": low.rate, "voice_share": audio.voiced_share(low)}
        if step is None:
            return Features(name_functionals(low.names), summarise(low.values), facts)
        middles = (low.starts + low.stops) / 2
        frames = max(1, int(low.duration / step + TIE))
        values = average_frames(middles, low.values, step, frames)
        return Features(low.names, values, facts)

    return Extractor(name, states, extract)


def _onnx(name: str, rest: str, options: Options) -> Extractor:
    model = load_model(expand_path(rest), "audio")
    step, rate = options.step, model.states["rate"]
    if options.rate not in (None, rate):
        reason = f"--rate={options.rate}, but the model expects {rate} Hz"
        raise ValueError(f"{reason}; its JSON file says so")

    def extract(recording: Recording) -> Features:
        samples = np.concatenate(list(read_sound(recording, rate)))
        frames, times = embed_sound(model, samples)
        if not len(frames):
            reason = f"its sound lasts {len(samples) / rate:.3g} s, too short for the"
            raise MediaError(f"{reason} model", recording.path)
        if step is None:
            values = frames.mean(0, np.float64, keepdims=True)
        else:
            wanted = np.arange(max(1, int(len(samples) / rate / step + 1e-6))) * step
            between = (times[1:] + times[:-1]) / 2
            values = frames[np.searchsorted(between, wanted - TIE)]  # the nearest
        names = tuple(f"sound{i}" for i in range(frames.shape[1]))
        return Features(names, values.astype(np.float32), {"sound_rate": rate})

    return Extractor(name, {**model.states, "step": step}, extract)


MAKERS: Mapping[str, Maker] = {
    "egemaps": _egemaps,
    "lld": _descriptors,
    "onnx": _onnx,
    "opensmile": opensmile,
}
