"""What an extractor is, and how `--audio` and `--video` name one.

An extractor turns a recording into rows of features: a single row for all of it, or one
row per frame, at times 0, step, 2 * step, ... It also states everything that its values
depend on, which names its files in the cache and becomes the corpus's provenance.
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
from ifusion.paths import expand_path

FACE_CHOICES = ("largest", "most_confident")  # when there are several faces
LEAST_STEP = 0.001  # [s]
WINDOW = 4.0  # [s]; what AVEC 2016 used for arousal from audio


@dataclass(frozen=True)
class ExtractorOptions:
    """Settings that all extractors share.

    Attributes:
      step: time between frames [s]; None for one row per recording.
      window: length of the window around each frame [s]; None for `WINDOW`.
      rate: sampling rate to resample sound to [Hz]; None to keep the file's.
      face: which of several faces to follow, one of `FACE_CHOICES`.
      smallest_face: side of the smallest face to look for [pixel]; None for the default
        of `detect_faces`.

    Raises:
      ValueError: an option is out of range; the message names the flag.
    """

    step: float | None = None
    window: float | None = None
    rate: int | None = None
    face: str = FACE_CHOICES[0]
    smallest_face: float | None = None

    def __post_init__(self) -> None:
        if not _in_range(self.step, LEAST_STEP):
            raise ValueError(f"--step={self.step}, expected seconds, such as 0.04")
        if self.window is not None and self.step is None:
            raise ValueError("--window needs --step")
        if not _in_range(self.window, self.step or 0):
            raise ValueError(f"--window={self.window}, expected at least --step [s]")
        if not _in_range(self.rate, 8000, 192_000):
            raise ValueError(f"--rate={self.rate}, expected 8000 to 192000 Hz")
        if self.face not in FACE_CHOICES:
            choices = " or ".join(FACE_CHOICES)
            raise ValueError(f"--face={self.face}, expected {choices}")
        if not _in_range(self.smallest_face, 12):
            least = "expected at least 12 pixels"
            raise ValueError(f"--smallest_face={self.smallest_face}, {least}")

    @property
    def seconds(self) -> float:
        """The length of the window [s]."""
        return WINDOW if self.window is None else self.window


def _in_range(value: Any, least: float, most: float = 1e9) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and least <= value <= most)


class Features(NamedTuple):
    """The features of one recording.

    Attributes:
      names: F names.
      values: (R, F) float32, NaN where a frame has no value; R is 1 without a step.
      facts: {name: number} about the recording, such as the share with a voice.
    """

    names: tuple[str, ...]
    values: np.ndarray
    facts: Mapping[str, float]


@dataclass(frozen=True)
class Extractor:
    """One way to extract features.

    Attributes:
      name: as the user gives it.
      states: {name: value} of everything the values depend on, besides the recording.
      extract: extracts from one recording; raises a MediaError if it cannot.
      fit: learns further states from what was extracted of train; None if there is
        nothing to learn.
      finish: turns what was extracted, given all states, into the features.
      tables: folder of the tables it reads instead of recordings; None if it reads
        recordings.
    """

    name: str
    states: Mapping[str, Any]
    extract: Callable[[Recording], Features]
    fit: Callable[[Sequence[Features]], dict[str, Any]] | None = None
    finish: Callable[[Features, Mapping[str, Any]], Features] = lambda found, _: found
    tables: Path | None = None


# name, what follows its colon, options
Maker = Callable[[str, str, ExtractorOptions], Extractor]


def path_in(name: str, rest: str, what: str, where: str = "") -> Path:
    """Returns the "file" or "folder" that follows the colon of an extractor's name.

    Raises:
      ValueError: nothing follows it; the message also says where to get a file.
    """
    if not rest:
        kind = name.rstrip(":")
        raise ValueError(f"{kind} needs a {what}: {kind}:{what.upper()}{where}")
    return expand_path(rest)


@lru_cache(maxsize=4)  # some hold weights of 580 MB
def make_extractor(modality: str, name: str, options: ExtractorOptions) -> Extractor:
    """Makes the extractor that a user asks for.

    Args:
      modality: "audio" or "video".
      name: such as "egemaps" or, with an argument after a colon, "egemaps:v01a".
      options: shared by all extractors.

    Raises:
      ValueError: there is no such extractor, or its argument is wrong.
      MissingExtraError: a library is not installed.
    """
    kind, _, rest = name.partition(":")
    # imported here because those of video load JAX, which audio does not need
    makers = import_module(f"ifusion.features.{modality}_extractors").MAKERS
    if kind not in makers:
        known = ", ".join(makers)
        raise ValueError(f"--{modality}={name}: expected one of {known}")
    return makers[kind](name, rest, options)


def state(
    extractor: Extractor, states: Mapping[str, Any], found: Iterable[Features]
) -> Provenance:
    """States where features come from, see `ifusion.corpora.provenance`.

    `states` are those of the extractor and what it has learnt; the facts of the
    features `found` are summed up.
    """
    facts = [features.facts for features in found]
    summary = {}
    for name in facts[0]:
        numbers = [fact[name] for fact in facts]
        summary[name] = {
            "least": _rounded(min(numbers)),
            "mean": _rounded(float(np.mean(numbers))),
            "most": _rounded(max(numbers)),
        }
    return {ASKED: extractor.name, "ifusion": __version__, **states, **summary}


def _rounded(number: float) -> float:
    """Rounds a number, which may be from the cache, to what reads the same."""
    found = round(float(number), 4)
    return int(found) if found.is_integer() else found
