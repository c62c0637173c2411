"""The table of extractors, as `--audio` and `--video` name them.

An extractor turns a recording into rows: one of the whole, or one a frame, at times 0,
step, 2 * step, ... It states what its values depend on, for the cache and the record
of where a corpus comes from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion import __version__
from ifusion.corpora.provenance import ASKED, Provenance
from ifusion.features.media import Recording

FACE_CHOICES = ("largest", "most_confident")  # of several faces
LEAST_STEP = 0.001  # [s]
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

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
          ValueError: it names the flag.
        """
        if not _is_in(self.step, LEAST_STEP, np.inf):
            raise ValueError(f"--step={self.step}, expected seconds, such as 0.04")
        if not _is_in(self.window, self.step or 0, np.inf):
            raise ValueError(
                f"--window={self.window}, expected seconds, --step or more"
            )
        if not _is_in(self.rate, 8000, 192001):
            raise ValueError(f"--rate={self.rate}, expected 8000 to 192000 Hz")
        if self.face not in FACE_CHOICES:
            raise ValueError(
                f"--face={self.face}, expected {' or '.join(FACE_CHOICES)}"
            )
        if not _is_in(self.smallest_face, 12, np.inf):
            raise ValueError(
                f"--smallest_face={self.smallest_face}, expected 12 pixels or more"
            )


def _is_in(value: Any, least: float, end: float) -> bool:
    return value is None or (isinstance(value, int | float) and least <= value < end)


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


def keep(features: Features, _: Mapping[str, Any]) -> Features:
    """Returns features that are finished."""
    return features


@dataclass(frozen=True)
class Extractor:
    """One way to extract features.

    Attributes:
      name: as the user gives it.
      states: all that the values depend on, besides the recording.
      extract: the extraction; raises a MediaError where it cannot.
      fit: learns from what was extracted of train what is stated, too; None = nothing
        is learned.
      finish: what was extracted, and all that is stated -> the features.
      tables: folder of files that it reads instead of recordings, None = it reads
        these.
    """

    name: str
    states: Mapping[str, Any]
    extract: Callable[[Recording], Features]
    fit: Callable[[Sequence[Features]], dict[str, Any]] | None = None
    finish: Callable[[Features, Mapping[str, Any]], Features] = keep
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


def state(
    extractor: Extractor, states: Mapping[str, Any], found: Iterable[Features]
) -> Provenance:
    """States where features come from, see `ifusion.corpora.provenance`.

    Args:
      extractor: of them.
      states: its own, and what was fitted.
      found: the features, whose facts are summed up.
    """
    facts = [features.facts for features in found]
    summary = {}
    for name in facts[0]:
        numbers = [fact[name] for fact in facts]
        summary[name] = {
            "least": round(min(numbers), 4),
            "mean": round(float(np.mean(numbers)), 4),
            "most": round(max(numbers), 4),
        }
    return {ASKED: extractor.name, "ifusion": __version__, **states, **summary}


Maker = Callable[[str, str, Options], Extractor]
