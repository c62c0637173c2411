"""The table of extractors, as `--audio` and `--video` name them.

An extractor turns a recording into rows: one of the whole, or one a frame, at times 0,
step, 2 * step, ... It states what its values depend on, for the cache and the record
of where a corpus comes from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ifusion.features import audio
from ifusion.features.extra import extra_version
from ifusion.features.media import Recording

WINDOW = 4.0  # [s] of eGeMAPS; AVEC 2016's for arousal from audio


@dataclass(frozen=True)
class Options:
    """What is asked for of all extractors.

    Attributes:
      step: [s] from frame to frame; None = one row a recording.
      window: [s] of functionals around a frame.
      rate: [Hz] to resample sound to; None = as the file has it.
    """

    step: float | None = None
    window: float = WINDOW
    rate: int | None = None


class Features(NamedTuple):
    """What was extracted from a recording.

    Attributes:
      names: F features.
      values: (R, F) float32, NaN where a frame has no value; R is 1 without a step.
      facts: {name: number} of the recording, such as the share that has voice.
    """

    names: tuple[str, ...]
    values: np.ndarray
    facts: Mapping[str, float]


@dataclass(frozen=True)
class Extractor:
    """One way to extract features.

    Attributes:
      name: as the user gives it.
      states: all that the values depend on, besides the recording.
      extract: the extraction; raises a MediaError where it cannot.
    """

    name: str
    states: Mapping[str, str | float | None]
    extract: Callable[[Recording], Features]


def make_extractor(modality: str, name: str, options: Options) -> Extractor:
    """Makes the extractor that a user asks for.

    Args:
      modality: "audio" or "video".
      name: "egemaps", or with what follows a colon, "egemaps:v01a".
      options: of all extractors.

    Raises:
      ValueError: there is no such extractor, or what follows the colon is wrong.
      MissingExtraError: a library is not installed.
    """
    kind, _, rest = name.partition(":")
    makers = EXTRACTORS[modality]
    if kind not in makers:
        reason = f"--{modality}={name}: expected one of {', '.join(makers)}"
        raise ValueError(reason)
    return makers[kind](name, rest, options)


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
        low = audio.descriptors(recording, version, rate)
        facts = {"sound_rate": sound.rate, "voice_share": audio.voiced_share(low)}
        return Features(sound.names, sound.values, facts)

    return Extractor(name, states, extract)


Maker = Callable[[str, str, Options], Extractor]
EXTRACTORS: Mapping[str, Mapping[str, Maker]] = {
    "audio": {"egemaps": _egemaps},
    "video": {},
}
