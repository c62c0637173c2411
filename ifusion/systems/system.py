"""A system: a fit, and a pure function that predicts with what was fitted.

A fitted system is (parameters, predict). `make_fit` is called once a run, so one
compiled program serves every fold. `fit` trains on one fold and returns one or more
candidates for each (main, target, seed); dev chooses among them by the same rule for
every system. No fit sees the test partition or scores itself. `make_predict` needs
neither data nor training options, so a saved candidate can be deployed on its own.

Axes: N sequences, T time, F_m features of modality m, O outputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ifusion.core import Features
from ifusion.corpora.corpus import JOIN
from ifusion.losses import TaskLoss
from ifusion.preprocessing.ragged import Buckets, Ragged, fill_missing
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.problem import Problem
from ifusion.training.dev_score import DevScore
from ifusion.training.options import TrainingOptions
from ifusion.training.stream import Blocks

Params = Any  # nested dict of numpy arrays, only those needed to predict
# (params, {m: (N, T, F_m) or Ragged} standardised, mask (N, T)) -> (N, T, O) float32
Predict = Callable[[Params, Features, np.ndarray], np.ndarray]


class UnsuitedError(ValueError):
    """A corpus, option or fold does not suit a system; the message says why."""


@dataclass(frozen=True, eq=False)
class Protocol(Problem):
    """A problem, and how to train on it.

    Attributes:
      seeds: seeds of initial weights, minibatch order and all other randomness.
      alphas: weights of the auxiliary modalities, 0 among them.
      training: options of the training loop.
      loss: (outputs (B, T, O), labels, mask) -> ().
      dev_score: (outputs (N, T, O), labels, mask) -> (); picks the epoch to keep.
      capacity: {"train" | "dev": (N, ..., T)}, large enough for every fold; also
        "unlabelled" if there are such sequences.
      buckets: minibatch shapes for recordings of frames with one label; () if all
        sequences have one shape.
      mesh: devices to spread the lanes over.
      memory: device memory to use [byte]; None for all of it.
      windows: W; above 1, the hidden state is carried over the W windows of a
        recording.
      block_bytes: size of the blocks that train is read in [byte]; 0 to hold it in
        memory.
      native: instruction set that layers are trained on, or "off"; see
        `models.native_gru`.
      incomplete: whether recordings may lack a modality.
    """

    seeds: tuple[int, ...]
    alphas: tuple[float, ...]
    training: TrainingOptions
    loss: TaskLoss
    dev_score: DevScore
    capacity: Mapping[str, tuple[int, ...]]
    mesh: Mesh
    memory: float | None = None
    windows: int = 1
    block_bytes: int = 0
    buckets: Buckets = ()
    native: str = "off"
    incomplete: bool = False


class Setting(NamedTuple):
    """What dev chose for implicit fusion or its baseline.

    Attributes:
      l2: penalty on the weights.
      delay: annotation delay [frame].
    """

    l2: float = 0.0
    delay: int = 0


@dataclass(frozen=True, eq=False)
class Fold:
    """The data a system is fitted on.

    Batches may carry extras, one value per label: "uncertainty" is how far raters
    disagree.

    Attributes:
      train: sequences or windows, padded to the capacity of all folds.
      dev: whole sequences, padded likewise.
      num_sequences: sequences of train without the padding; recordings, if the state is
        carried over their windows.
      whole: train as whole sequences, for systems that cut their own windows.
      speakers: (N,) int, one per sequence of `whole`, for choices inside train.
      settings: {(main, target, alpha): Setting}.
      origins: (N, 2) int, the sequence of `whole` and the step that each sequence of
        train starts at; None if they are the same sequences.
      unlabelled: sequences or windows without labels, padded likewise, or None.
      num_unlabelled: how many of these are not padding.
    """

    train: Batch | Blocks
    dev: Batch
    num_sequences: int
    whole: Batch
    speakers: np.ndarray
    settings: Mapping[tuple[str, str, float], Setting]
    origins: np.ndarray | None = None
    unlabelled: Batch | None = None
    num_unlabelled: int = 0

    @property
    def train_batch(self) -> Batch:
        """Train in memory, for systems that cannot read it in blocks."""
        assert isinstance(self.train, Batch)
        return self.train

    def setting(self, main: str, target: str, alpha: float = 0.0) -> Setting:
        """Returns the setting of an alpha, or the baseline's if alphas have none."""
        own = self.settings.get((main, target, alpha))
        return self.settings[main, target, 0.0] if own is None else own

    def window_origins(self) -> np.ndarray:
        """Returns `origins` of the sequences that are not padding, (N, 2).

        Raises:
          ValueError: if they are unknown.
        """
        if self.origins is not None:
            return self.origins[: self.num_sequences]
        if self.num_sequences > len(self.whole.mask):
            raise ValueError(
                "it is unknown which recordings the windows of train are cut from"
            )
        return np.arange(self.num_sequences)[:, None] * np.array([1, 0])


@dataclass(frozen=True)
class Candidate:
    """A trained predictor that dev may choose.

    Attributes:
      main: the modality it predicts from, or several joined by `JOIN`.
      target: what it predicts.
      seed: seed of its training.
      setting: {name: value}, unique among the candidates of a main, target and seed;
        times in [s].
      delay: how much later to shift its outputs [frame].
      parameters: the number of parameters it predicts with.
      best_epoch: the epoch kept, counted from 1; 0 if it has no epochs.
      failed_step: the update at which training diverged, or -1.
    """

    main: str
    target: str
    seed: int
    setting: Mapping[str, float] = field(default_factory=dict)
    delay: int = 0
    parameters: int = 0
    best_epoch: int = 0
    failed_step: int = -1

    @property
    def failed(self) -> bool:
        """Whether training diverged, so predictions do not count."""
        return self.failed_step >= 0


class Fitted(NamedTuple):
    """A system fitted on a fold.

    Attributes:
      candidates: L candidates.
      params: one tree per candidate.
      history: {"joint", "dev_score", ...: (epochs, L)}, NaN after a lane stops; {} for
        systems without epochs.
      auxiliary: one tree per candidate, of parameters that only training needs, such as
        auxiliary branches; () if none are kept.
    """

    candidates: tuple[Candidate, ...]
    params: tuple[Params, ...]
    history: Mapping[str, np.ndarray] = {}
    auxiliary: tuple[Params, ...] = ()


Fit = Callable[[Fold, Any], Fitted]  # (fold, ifusion.systems.neural.Trainer)


class System(NamedTuple):
    """A row of the tables.

    Attributes:
      key: name in --systems.
      title: name in tables.
      make_fit: protocol -> fit; either raises `UnsuitedError`.
      make_predict: (problem, main) -> predict, for candidates of that main. Zeros, the
        train mean, replace a missing modality; predict raises ValueError if all are
        missing.
      source: the paper it comes from; "" for this one.
      needs: what the corpus must have: "raters", "classes", "regression" or
        "unlabelled" (recordings of train without a label).
      explicit: whether it needs several modalities at test time.
      seeded: whether it depends on the seed; if not, its candidates have one seed.
      control: for a control, what a gain over it shows.
      control_of: key of the system that the control is for.
      curve: whether to keep every candidate and draw it over alpha.
      functionals: whether it reads functionals instead of frames, having no memory of
        its own.
    """

    key: str
    title: str
    make_fit: Callable[[Protocol], Fit]
    make_predict: Callable[[Problem, str], Predict]
    source: str = ""
    needs: frozenset[str] = frozenset()
    explicit: bool = False
    seeded: bool = True
    control: str = ""
    control_of: str = "implicit_fusion"
    curve: bool = False
    functionals: bool = False


def other_modalities(problem: Problem, main: str) -> tuple[str, ...]:
    """Returns the auxiliary modalities of a main.

    Raises:
      UnsuitedError: if there are none.
    """
    others = tuple(m for m in problem.modalities if m != main)
    if not others:
        raise UnsuitedError(f"{main} is the only modality; expected an auxiliary one")
    return others


def require_plain_training(protocol: Protocol) -> None:
    """Refuses options that only implicit fusion supports.

    Raises:
      UnsuitedError: if state is carried over windows, or train is read in blocks.
    """
    if protocol.windows > 1:
        raise UnsuitedError("this system cannot carry state from window to window")
    if protocol.block_bytes:
        raise UnsuitedError("this system cannot read train in blocks")


def take_main(
    problem: Problem, main: str, features: Features, mask: np.ndarray
) -> dict[str, Any]:
    """Takes the features of a main, with zeros for missing modalities.

    They may be missing altogether or, of several, in some recordings of frames.

    Raises:
      ValueError: if all of them are missing.
    """
    names = main.split(JOIN)
    given = {m: features[m] for m in names if m in features}
    if not given:
        raise ValueError(f"no features of {main!r} are given")
    like = next(iter(given.values()))

    def zeros(m: str) -> Any:
        size = problem.num_features[m]
        if isinstance(like, Ragged):
            return like._replace(values=np.zeros((len(like.values), size), np.float32))
        return np.zeros((*mask.shape, size), np.float32)

    taken = {m: given[m] if m in given else zeros(m) for m in names}
    return fill_missing(taken) if isinstance(like, Ragged) else taken


def labels_of(batch: Batch, column: int, main: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of a target and where they count for a main, (N, T) each."""
    steps = np.s_[:, : batch.mask.shape[1]]
    known = (np.asarray(batch.labelled)[steps] > 0) & batch.has(main)
    return np.asarray(batch.labels)[steps][..., column], known


def count_parameters(params: Params) -> int:
    """Counts the numbers in a nested dict of arrays."""
    return sum(int(np.size(x)) for x in jax.tree.leaves(params))
