"""The table of extractors, as `--audio` and `--video` name them.

An extractor turns a recording into rows: one of the whole, or one a frame, at times 0,
step, 2 * step, ... It states what its values depend on, for the cache and the record
of where a corpus comes from.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.features.media import Recording

FACE_CHOICES = ("largest", "most_confident")  # of several faces
WINDOW = 4.0  # [s] of eGeMAPS; AVEC 2016's for arousal from audio


@dataclass(frozen=True)
class Options:
    """What is asked for of all extractors.

    Attributes:
      step: [s] from frame to frame; None = one row a recording.
      window: [s] of functionals around a frame.
      rate: [Hz] to resample sound to; None = as the file has it.
      face: which of several faces counts, of `FACE_CHOICES`.
      smallest_face: [pixel] from which on faces are sought; None = see `detect_faces`.
    """

    step: float | None = None
    window: float = WINDOW
    rate: int | None = None
    face: str = FACE_CHOICES[0]
    smallest_face: float | None = None


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


Found = Mapping[int, Features]  # by place of the recording
Finish = Callable[[Found, Collection[int]], tuple[Found, dict[str, Any]]]


@dataclass(frozen=True)
class Extractor:
    """One way to extract features.

    Attributes:
      name: as the user gives it.
      states: all that the values depend on, besides the recording.
      extract: the extraction; raises a MediaError where it cannot.
      finish: what is left to do with all recordings, None = nothing: (what was
        extracted by place, places of train) -> the features by place, and what more
        they depend on.
      tables: folder of files that it reads instead of recordings, None = it reads
        these.
    """

    name: str
    states: Mapping[str, str | float | None]
    extract: Callable[[Recording], Features]
    finish: Finish | None = None
    tables: Path | None = None


@lru_cache(maxsize=4)  # some hold weights of 580 MB
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
    # those of video load JAX, for which those of audio need not wait
    makers = import_module(f"ifusion.features.{modality}_extractors").MAKERS
    if kind not in makers:
        reason = f"--{modality}={name}: expected one of {', '.join(makers)}"
        raise ValueError(reason)
    return makers[kind](name, rest, options)


Maker = Callable[[str, str, Options], Extractor]
