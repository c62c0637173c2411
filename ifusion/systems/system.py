"""The signature of a system: whatever is trained on a fold and predicts from features.

A system is made once for a study, so that what it compiles serves every fold, and
fitted on the train partition of each fold. It brings back candidates, one or more for
each (main, target, seed): dev chooses among their settings, by the same rule and in the
same place for all systems. No system sees the test partition, or scores itself.

Axes: L candidates, N sequences, T time, F features of a modality, O outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from ifusion.core import TaskLoss
from ifusion.corpora.corpus import JOIN as JOIN  # of a main that takes several
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.options import SystemOptions
from ifusion.training.dev_score import DevScore
from ifusion.training.loop import Progress
from ifusion.training.options import TrainingOptions

Features = Mapping[str, np.ndarray]
# (stage, mains of its lanes, the dev score they are kept by, "" = that of the run)
Watch = Callable[
    [str, Sequence[str], str], AbstractContextManager[Callable[[Progress], None]]
]


class UnsuitedError(ValueError):
    """A study or a fold is not what a system needs; the remark of its row says why."""


class Setting(NamedTuple):
    """What was chosen on dev for the mono-modal baseline, and is kept for all systems.

    Attributes:
      l2: penalty on weights.
      delay: [frame] by which annotators lag behind.
    """

    l2: float = 0.0
    delay: int = 0


@dataclass(frozen=True, eq=False)
class Protocol:
    """What is the same for every system and fold.

    Attributes:
      num_features: {m: F_m}, of all modalities.
      mains: modalities that are predicted from alone.
      targets: names, in the order of the labels.
      num_classes: 0 = regression.
      frame_step: [s]; None = utterances.
      seeds: of initial weights, minibatch order, and of whatever else is drawn.
      alphas: weights of auxiliary modalities, 0 among them.
      architecture: sizes of every network.
      training: how lanes are trained.
      systems: grids of systems.
      loss: of outputs (B, T, O), labels and mask.
      dev_score: (outputs (N, T, O), labels, mask) -> (), which epoch is kept by.
      capacity: {"train" | "dev": (N, ..., T)}, the room of every fold's arrays.
      mesh: the devices that lanes are spread over.
      memory: [byte] of a device; None = as it has.
    """

    num_features: Mapping[str, int]
    mains: tuple[str, ...]
    targets: tuple[str, ...]
    num_classes: int
    frame_step: float | None
    seeds: tuple[int, ...]
    alphas: tuple[float, ...]
    architecture: Architecture
    training: TrainingOptions
    systems: SystemOptions
    loss: TaskLoss
    dev_score: DevScore
    capacity: Mapping[str, tuple[int, ...]]
    mesh: Mesh
    memory: float | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities, in the order of the loss weights."""
        return tuple(self.num_features)

    @property
    def num_outputs(self) -> int:
        """O: the classes, or the one target of a lane."""
        return self.num_classes or 1


@dataclass(frozen=True, eq=False)
class Fold:
    """What a system is fitted on.

    Extras of the batches are quantities beside each label: "uncertainty", how far its
    raters disagree, where there are raters.

    Attributes:
      train: sequences or windows, padded to the room of every fold.
      dev: whole sequences, padded likewise.
      num_sequences: how many sequences of train exist.
      whole: train as whole sequences, for systems that cut windows of their own.
      speakers: (N,) int, of each sequence of `whole`, for choices inside train.
      settings: {(main, target): Setting}.
      origins: (N, 2) int, the sequence of `whole` that each of train is a window of,
        and the step of it that the window begins with; None = train holds whole
        sequences, those of `whole` in their order.
    """

    train: Batch
    dev: Batch
    num_sequences: int
    whole: Batch
    speakers: np.ndarray
    settings: Mapping[tuple[str, str], Setting]
    origins: np.ndarray | None = None

    def cut_from(self) -> np.ndarray:
        """Finds `origins` of the sequences of train that exist, (N, 2).

        Raises:
          ValueError: it is not known what they are windows of.
        """
        if self.origins is not None:
            return self.origins[: self.num_sequences]
        if self.num_sequences > len(self.whole.mask):
            raise ValueError("it is not known what the windows of train are cut from")
        return np.arange(self.num_sequences)[:, None] * np.array([1, 0])


@dataclass(frozen=True)
class Candidate:
    """One trained predictor.

    Attributes:
      main: the modality that it predicts from, or several, joined by `JOIN`.
      target: name.
      seed: of its training.
      setting: {name: value}, what tells it from others of its main, target and seed;
        times in [s].
      delay: [frame] by which its outputs come early, to be shifted back.
      parameters: how many numbers it needs to predict.
      failed: whether its training diverged, so that its predictions count for nothing.
    """

    main: str
    target: str
    seed: int
    setting: Mapping[str, float] = field(default_factory=dict)
    delay: int = 0
    parameters: int = 0
    failed: bool = False


class Fitted(NamedTuple):
    """What comes out of fitting a system on a fold.

    Attributes:
      candidates: L.
      predict: (features {m: (N, T, F_m)}, mask (N, T), positions of candidates (l,)) ->
        (l, N, T, O), logits or values of whole sequences, standardised features. A
        modality may be missing: a system that needs it puts zeros, the train mean, in
        its place; one whose main it is cannot be asked.
    """

    candidates: tuple[Candidate, ...]
    predict: Callable[[Features, np.ndarray, Sequence[int]], np.ndarray]


Fit = Callable[[Fold, Watch], Fitted]


class System(NamedTuple):
    """A row of the tables.

    Attributes:
      key: what --systems calls it.
      title: what tables call it.
      source: the paper it comes from; "" = this one.
      make: Protocol -> (fold, watch) -> Fitted; either raises `UnsuitedError` where the
        protocol or the fold does not fit, in one sentence.
      needs: what a corpus must have: some of "raters", "classes", "frames",
        "regression".
      explicit: whether it needs several modalities at test time.
      seeded: whether anything of it is drawn; if not, its candidates are of one seed.
      control: of a control, what a gain of implicit fusion over it says; "" = it is
        none.
    """

    key: str
    title: str
    source: str
    make: Callable[[Protocol], Fit]
    needs: frozenset[str] = frozenset()
    explicit: bool = False
    seeded: bool = True
    control: str = ""


def other_modalities(protocol: Protocol, main: str) -> tuple[str, ...]:
    """Names the modalities that are auxiliary to a main one.

    Raises:
      UnsuitedError: there are none.
    """
    others = tuple(m for m in protocol.modalities if m != main)
    if not others:
        raise UnsuitedError(f"{main} is the only modality; its row needs another one")
    return others


def count_parameters(params: Any) -> int:
    """Counts the numbers in a nested dict of arrays of one lane."""
    if isinstance(params, Mapping):
        return sum(count_parameters(value) for value in params.values())
    return int(np.size(params))
