"""Predicts a recording while it lasts, carrying state from frame to frame.

The numbers are those of the whole recording, however it is cut: whatever needs later
frames is refused.

Axes: M members, T frames of a push, F features, O outputs, S frames held back.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.adjustments import STEPS
from ifusion.inference.predictor import Member, Predictor, softmax
from ifusion.inference.running import run_chain, stack, zero_state
from ifusion.preprocessing.standardise import Standardizer, standardise
from ifusion.systems.chains import looks_ahead

LARGEST = 512  # frames in one compiled program
_run_members = jax.jit(jax.vmap(run_chain))  # (chains, (M, 1, T, F), state)


class _Causal(NamedTuple):
    """Post-processing that looks back only: y_t = factor * x_(t - frames) + summand."""

    frames: int
    factor: float
    summand: float


class Stream:
    """The prediction of a recording that goes on, see `Predictor.stream`.

    Attributes:
      time: number of frames so far.
    """

    def __init__(self, predictor: Predictor, without: Sequence[str] = ()) -> None:
        """Starts a recording, without some steps of post-processing.

        Raises:
          ValueError: the system or a step needs later frames, or rows are single
            utterances.
        """
        if not predictor.of_many_rows:
            raise ValueError(
                "rows are utterances, each on its own: there is nothing to carry from "
                "one to the next; use predict"
            )
        for step in without:
            if step not in STEPS:
                raise ValueError(f"{step!r} is not a step; expected one of {STEPS}")
        chains, self._predictor = predictor.chains, predictor
        ahead = max(map(looks_ahead, chains))
        if ahead:
            raise ValueError(f"{predictor.system} looks {ahead} frames ahead")
        members = predictor.members
        causal = [_collapse(member, without) for member in members]
        self._frames, self._factor, self._summand = map(
            np.array, zip(*causal, strict=True)
        )
        self._chains = stack(chains)
        state = zero_state(chains[0], 1)
        self._state = jax.tree.map(lambda x: np.stack([x] * len(members)), state)
        self._held = np.zeros((len(members), 0))  # (M, S) after the first frame
        (self._main,) = predictor.features
        self._scales = {
            m.fold: Standardizer(**m.statistics[self._main]) for m in members
        }
        self.time = 0

    def push(self, frames: Any) -> dict[str, np.ndarray]:
        """Predicts the next frames.

        Args:
          frames: (T, F) or (F,), raw features in the predictor's order; T may be 0. A
            NaN becomes the train mean.

        Returns:
          The columns of `Predictor.predict` as arrays (T,). If a recording has one
          answer, the answer to all frames so far.

        Raises:
          ValueError: the frames have another width, or an infinite value.
        """
        values = self._check(frames)
        most = self._predictor.max_frames
        if most and self.time + len(values) > most:
            raise ValueError(
                f"more than {most} frames: the model thins longer recordings, which "
                "needs the whole of them; use predict"
            )
        outputs = [self._run(part) for part in _parts(values)]
        width = len(self._predictor.classes) or 1
        empty = np.zeros((len(self._factor), 0, width), np.float32)
        found = np.concatenate([empty, *outputs], axis=1)
        start, self.time = self.time, self.time + len(values)
        if self._predictor.classes:
            return self._classes(found)
        columns = self._values(found[..., 0])
        if self._predictor.frame_step is None:
            return columns
        times = np.arange(start, self.time) * self._predictor.frame_step
        return {"time": times, **columns}

    def _check(self, frames: Any) -> np.ndarray:
        names = self._predictor.features[self._main]
        values = np.atleast_2d(np.asarray(frames, np.float32))
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(
                f"{self._main}: frames of shape {np.shape(frames)}; expected (frames, "
                f"{len(names)})"
            )
        wrong = np.isinf(values)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"{self._main}, frame {self.time + row}, {names[column]}: "
                f"{values[row, column]} is not a finite number"
            )
        return values

    def _run(self, values: np.ndarray) -> np.ndarray:
        """Runs all members and carries the state: (T, F) to (M, T, O)."""
        by_fold = {f: standardise(s, values) for f, s in self._scales.items()}
        members = self._predictor.members
        x = np.stack([by_fold[member.fold] for member in members])[:, None]
        outputs, self._state = _run_members(self._chains, x, self._state)
        return np.asarray(outputs)[:, 0]

    def _classes(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        classes = self._predictor.classes
        probabilities = softmax(outputs).mean(0)
        (target,) = self._predictor.targets
        best = np.array(classes)[probabilities.argmax(-1)]
        return {target: best, **dict(zip(classes, probabilities.T, strict=True))}

    def _values(self, raw: np.ndarray) -> dict[str, np.ndarray]:
        """Post-processes (M, T), and averages the members of each target."""
        longest, count = int(self._frames.max()), raw.shape[1]
        if not self._held.shape[1] and count:  # before it, the first value
            self._held = np.repeat(raw[:, :1], longest, axis=1)
        known = np.concatenate([self._held, raw], axis=1)
        self._held = known[:, known.shape[1] - longest :] if count else self._held
        back = np.arange(count) + longest - self._frames[:, None]
        late = np.take_along_axis(known, back, axis=1) if count else raw
        values = self._factor[:, None] * late + self._summand[:, None]
        members = self._predictor.members
        return {
            target: values[[m.target == target for m in members]].mean(0)
            for target in self._predictor.targets
        }


def _collapse(member: Member, without: Sequence[str]) -> _Causal:
    """Joins the steps of a member into one.

    Raises:
      ValueError: a step needs later frames.
    """
    mean, std = member.scale
    frames, factor, summand = member.delay, std, mean
    for step, value, pivot in member.adjustments:
        if step in without:
            continue
        if step == "centre":
            summand += value
        elif step == "scale":
            factor, summand = factor * value, pivot + value * (summand - pivot)
        elif (step == "median" and value > 1) or value < 0:
            what = f"over {value:g} frames" if step == "median" else f"by {value:g}"
            raise ValueError(
                f"the {step} {what} of {member.target} (fold {member.fold}, seed "
                f"{member.seed}) needs later frames; leave it out with "
                f"without=({step!r},)"
            )
        elif step == "shift":
            frames += int(value)
    return _Causal(frames, factor, summand)


def _parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts frames into powers of two, so that few programs serve all lengths."""
    start = 0
    while start < len(values):
        size = min(LARGEST, 1 << ((len(values) - start).bit_length() - 1))
        yield values[start : start + size]
        start += size
