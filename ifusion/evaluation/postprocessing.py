"""Post-processing of continuous predictions, learnt on dev and then frozen.

Sec. 4.2 follows [19-21]: a median filter, centring, scaling and a shift in time, one
after another, each kept only if it improves the score on dev. Not in the paper: the
grids. AVEC 2018's baseline (GES) has steps = ("centre", "scale") and about = "zero";
AVEC 2015 and 2016 searched windows from 0.4 to 20 s and shifts up to 10 s.

Axes: R frames of all recordings, N recordings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ifusion.adjustments import STEPS, Adjustment, adjust
from ifusion.ties import TIE, first_best


@dataclass(frozen=True)
class PostProcessingOptions:
    """What to try, in which order.

    Attributes:
      steps: some of `STEPS`, in order; () leaves predictions unchanged.
      median: windows [s], each rounded to the nearest odd number of frames.
      shift: [s], positive = later, rounded to frames; values at the edges are repeated.
      gold: partition whose gold standard (mean, standard deviation) dev predictions are
        centred and scaled to: "dev" as in AVEC 2018, or "train".
      about: fixed point of the scaling: the "mean" of the predictions, or "zero" as in
        AVEC 2018.
    """

    steps: tuple[str, ...] = STEPS
    median: tuple[float, ...] = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
    shift: tuple[float, ...] = tuple(
        round(sign * 0.2 * i, 1) for i in range(1, 11) for sign in (1, -1)
    )
    gold: str = "dev"
    about: str = "mean"

    def __post_init__(self) -> None:
        """Refuses values that cannot be tried."""
        for name in ("steps", "median", "shift"):  # lists, if they come from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for step in self.steps:
            if step not in STEPS:
                raise ValueError(
                    f"postprocessing.steps holds {step!r}; expected one of "
                    f"{', '.join(STEPS)}"
                )
        for name, choices in (("gold", ("dev", "train")), ("about", ("mean", "zero"))):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"postprocessing.{name} is {getattr(self, name)!r}; expected one "
                    f"of {', '.join(choices)}"
                )
        for step in ("median", "shift"):
            values = getattr(self, step)
            if step in self.steps and not values:
                raise ValueError(
                    f"postprocessing.{step} is empty; list values [s], or leave the "
                    "step out of postprocessing.steps"
                )
            for value in values:
                number = isinstance(value, int | float) and np.isfinite(value)
                if not number or (step == "median" and value <= 0):
                    raise ValueError(
                        f"postprocessing.{step} holds {value!r}; expected "
                        f"{'positive' if step == 'median' else 'finite'} numbers [s]"
                    )


class Trial(NamedTuple):
    """What a step changed on dev.

    Attributes:
      adjustment: the best of its grid.
      before: score on dev without it.
      after: score on dev with it.
      kept: whether it is applied.
    """

    adjustment: Adjustment
    before: float
    after: float
    kept: bool


def fit_postprocessing(
    predictions: np.ndarray,
    offsets: np.ndarray,
    score: Callable[[np.ndarray], float],
    gold: tuple[float, float],
    frame_step: float,
    options: PostProcessingOptions,
) -> tuple[Trial, ...]:
    """Tries each step on dev and keeps those that improve the score.

    Args:
      predictions: (R,), on dev.
      offsets: (N + 1,), recording i owns frames offsets[i]:offsets[i + 1].
      score: (R,) -> score on dev, higher is better.
      gold: mean and standard deviation of the gold standard.
      frame_step: [s].
      options: what to try.

    Returns:
      One trial per step, in order. Of equally good values, the first is taken.
    """
    predictions = np.asarray(predictions, np.float64)
    best, trials = score(predictions), []
    for step in options.steps:
        candidates = _candidates(step, predictions, gold, frame_step, options)
        adjusted = [adjust(predictions, offsets, [c]) for c in candidates]
        scores = [score(values) for values in adjusted]
        top = first_best(scores)
        kept = scores[top] > best + TIE
        trials.append(Trial(candidates[top], best, scores[top], kept))
        if kept:
            predictions, best = adjusted[top], scores[top]
    return tuple(trials)


def kept_adjustments(trials: Sequence[Trial]) -> tuple[Adjustment, ...]:
    """Lists the adjustments that are kept."""
    return tuple(trial.adjustment for trial in trials if trial.kept)


def _candidates(
    step: str,
    predictions: np.ndarray,
    gold: tuple[float, float],
    frame_step: float,
    options: PostProcessingOptions,
) -> list[Adjustment]:
    """Lists the adjustments that a step tries, each once.

    If frames are long, values of a grid may round to the same number of frames, or to
    one that changes nothing; the latter is tried only if nothing else is left.
    """
    if step == "median":
        windows = [1 + 2 * round((s / frame_step - 1) / 2) for s in options.median]
        return [Adjustment(step, window) for window in _distinct(windows, 1)]
    if step == "shift":
        shifts = [round(s / frame_step) for s in options.shift]
        return [Adjustment(step, shift) for shift in _distinct(shifts, 0)]
    mean, std = float(predictions.mean()), float(predictions.std())
    if step == "centre":
        return [Adjustment(step, gold[0] - mean)]
    pivot = mean if options.about == "mean" else 0.0
    return [Adjustment(step, gold[1] / std if std > 0 else 1.0, pivot)]


def _distinct(frames: Sequence[int], idle: int) -> list[int]:
    """Values in order, each once, without `idle`, which changes nothing."""
    return [value for value in dict.fromkeys(frames) if value != idle] or [idle]
