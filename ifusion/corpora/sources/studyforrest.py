"""Portrayed emotion in a film, annotated by nine observers (studyforrest project).

Eight runs of "Forrest Gump", two hours at 40 ms, with arousal and valence: a public
stand-in for RECOLA, which may not be redistributed. Not in the paper. Observers marked
episodes after having seen the whole film, so traces are step-like and not delayed by
reactions: a search over annotation delays should find about 0 s.

There are few descriptors per frame: loudness `rms` and its difference `lrdiff` between
right and left, brightness `brmean`, its differences `brlr` (left, right) and `brud`
(up, down), and the perceptual change `norm_diff` from frame to frame. A modality
therefore has the mean, the standard deviation and the maximum of five signals over 2, 8
and 30 s:

    audio   rms, lrdiff, |lrdiff|, log(rms + 1e-4), |change of it|
    video   brmean, brlr, brud, norm_diff, |change of brmean|

Axes: T frames of a run, S signals, F features, A raters.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from ifusion.corpora.corpus import Corpus, CorpusError, Modality
from ifusion.corpora.gold_standard import GOLD_STANDARDS, Gold, require_gold
from ifusion.corpora.source import keeps_source
from ifusion.corpora.sources.data_folder import find_folder
from ifusion.corpora.tables.arrays import load_checked, refuse_first

FOLDER, FILE = "studyforrest_av", "studyforrest_av.npz"
FRAME_STEP = 0.04  # [s]
RUNS = tuple(range(1, 9))
TARGETS = ("arousal", "valence")
PARTS = {"labels": 2, "audio": 2, "video": 4, "obs_arousal": 9, "obs_valence": 9}
LAYOUT: dict[str, tuple[str, tuple[int | str, ...]]] = {
    **{
        f"run{run}_{part}": ("fiu", (f"frames of run {run}", width))
        for run in RUNS
        for part, width in PARTS.items()
    },
    "split": ("U", (len(RUNS),)),
    "run_start_s": ("fiu", (len(RUNS),)),
}
SIGNALS = {
    "audio": ("rms", "lrdiff", "abs_lrdiff", "log_rms", "change_log_rms"),
    "video": ("brmean", "brlr", "brud", "norm_diff", "change_brmean"),
}
WINDOWS = (2.0, 8.0, 30.0)  # [s]
LARGEST = 1e18
SILENCE = 1e-4  # added to rms, so that its logarithm exists
Window = Literal["centred", "causal"]
LICENCE = "annotations CC0, descriptors PDDL (public domain)"
CITATION = (
    "A. Labs et al. (2015). Portrayed emotions in the movie 'Forrest Gump'. "
    "F1000Research 4:92. Descriptors: psychoinformatics-de/"
    "studyforrest-data-confoundsannotation."
)


@keeps_source("studyforrest")
def read_studyforrest(
    path: Path | str | None = None,
    hop: int = 1,
    window: Window = "centred",
    gold: Gold = "given",
) -> Corpus:
    """Reads the feature file of the film.

    Args:
      path: folder of studyforrest_av.npz; None or "" = $IFUSION_DATA/studyforrest_av.
      hop: [frame] of 40 ms; only every hop-th frame of a run is kept.
      window: "centred" looks as far ahead as back; "causal" looks back only.
      gold: "given" and "mean" are the mean over observers; with "avec", those who agree
        decide on the level.

    Returns:
      Time-continuous regression of "arousal" and "valence" in [-1, 1] with modalities
      "audio" (45) and "video" (45), one recording per run, nine raters. The partition
      is the fixed split; attribute "fold" is the run, for leave-one-run-out. Attribute
      "start" [s] is the run's place in the film.

    Raises:
      CorpusError: the file is missing or broken.
      ValueError: an argument is invalid, or the folder unknown.

    Example:
      >>> import ifusion.corpora
      >>> ifusion.corpora.studyforrest(hop=10)  # doctest: +SKIP
    """
    require_gold(gold)
    if hop < 1:
        raise ValueError(f"hop is {hop}, expected 1 or more frames")
    path = find_folder(path, FOLDER) / FILE
    arrays = load_checked(path, LAYOUT)
    _check_values(path, arrays)
    kept: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    for run in RUNS:
        data = {part: arrays[f"run{run}_{part}"] for part in PARTS}
        if gold != "given":
            columns = [GOLD_STANDARDS[gold](data[f"obs_{t}"]) for t in TARGETS]
            data["labels"] = np.stack(columns, 1)
        for m in SIGNALS:
            signals = _audio_signals if m == "audio" else _video_signals
            data[m] = window_statistics(
                signals(data[m].astype(np.float64)), WINDOWS, window
            )
        for part, values in data.items():
            kept[part].append(values[::hop])
    recording = np.array([f"run{run}" for run in RUNS])
    return Corpus(
        name="studyforrest",
        recording=recording,
        partition=arrays["split"],
        speaker=recording,
        modalities={
            m: Modality(_feature_names(m), np.concatenate(kept[m])) for m in SIGNALS
        },
        targets=TARGETS,
        labels=np.concatenate(kept["labels"]),
        frame_step=hop * FRAME_STEP,
        offsets=np.cumsum([0, *map(len, kept["labels"])]),
        attributes={
            "fold": np.array([str(run) for run in RUNS]),
            "start": np.array([f"{s:g}" for s in arrays["run_start_s"].tolist()]),
        },
        raters={t: np.concatenate(kept[f"obs_{t}"]) for t in TARGETS},
        licence=LICENCE,
        citation=CITATION,
        notes=("all runs are of one film: leave-one-run-out says more than one split",),
    )


def window_statistics(
    signals: np.ndarray,
    windows: tuple[float, ...] = WINDOWS,
    window: Window = "centred",
) -> np.ndarray:
    """Summarises signals over windows around each frame, in linear time.

    A window of n frames holds t - n // 2, ..., t + (n - 1) // 2 (centred) or t - n + 1,
    ..., t (causal); the first and the last frame are repeated beyond the ends.

    Args:
      signals: (T, S).
      windows: [s].
      window: its position.

    Returns:
      (T, 3 S len(windows)) float64: for each window the means of all signals, their
      population standard deviations, their maxima.

    Raises:
      ValueError: window is unknown.
    """
    if window not in ("centred", "causal"):
        raise ValueError(f"window is {window!r}, expected centred or causal")
    level = signals.mean(0)  # affects rounding errors, not the spread
    columns = []
    for length in windows:
        size = max(round(length / FRAME_STEP), 1)
        place = {
            "size": size,
            "axis": 0,
            "mode": "nearest",
            "origin": 0 if window == "centred" else (size - 1) // 2,
        }
        mean = uniform_filter1d(signals - level, **place)
        square = uniform_filter1d(np.square(signals - level), **place)
        spread = np.sqrt(np.maximum(square - np.square(mean), 0))
        columns += [mean + level, spread, maximum_filter1d(signals, **place)]
    return np.concatenate(columns, 1)


def _audio_signals(descriptors: np.ndarray) -> np.ndarray:
    """Turns rms and lrdiff into the five signals of audio: (T, 2) -> (T, 5)."""
    rms, difference = descriptors.T
    level = np.log(rms + SILENCE)
    signals = [rms, difference, np.abs(difference), level, _change(level)]
    return np.stack(signals, 1)


def _video_signals(descriptors: np.ndarray) -> np.ndarray:
    """Adds the change of brightness to the four descriptors: (T, 4) -> (T, 5)."""
    return np.column_stack([descriptors, _change(descriptors[:, 0])])


def _change(signal: np.ndarray) -> np.ndarray:
    """Returns the absolute change of a signal (T,) since the previous frame."""
    return np.abs(np.diff(signal, prepend=signal[:1]))


def _feature_names(modality: str) -> tuple[str, ...]:
    return tuple(
        f"{signal}_{functional}_{length:g}s"
        for length in WINDOWS
        for functional in ("mean", "std", "max")
        for signal in SIGNALS[modality]
    )


def _check_values(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for run in RUNS:
        for part in PARTS:
            name = f"run{run}_{part}"
            values = arrays[name]
            # squares of larger ones are beyond float32
            wrong = ~(np.abs(values.astype(np.float64)) <= LARGEST)
            expected = f"a finite number up to {LARGEST:g}"
            refuse_first(path, name, values, wrong, expected)
        if np.any(arrays[f"run{run}_audio"][:, 0] < 0):
            raise CorpusError("a loudness is negative", path, column=f"run{run}_audio")
