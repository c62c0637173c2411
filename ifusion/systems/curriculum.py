"""Row "DNN + Curriculum learning" [29], and its random and opposite controls.

Difficulty is how far raters disagree. Steps of train are sorted by it into bins of
equal size; training begins with the easiest, and adds a bin whenever as many epochs
have passed. A step that several windows share is in one bin. Not in the paper: five
bins, equal epochs a bin, ties in random order; a feed-forward network of as many layers
and units as the baseline, which looks at each step alone. Patience is as long as
training, so that no lane stops in an early bin.

Axes: N sequences, T time, D steps of labels beyond T, S whole sequences, W their steps.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import LaneArrays, Losses
from ifusion.models.feed_forward import FeedForward, make_plain
from ifusion.models.network import OUTPUT, Outputs
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import make_for_each_main, with_extras
from ifusion.systems.system import Fit, Fold, Protocol, System, UnsuitedError
from ifusion.training.learner import Learner, make_network_learner

Difficulty = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def disagreement(uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The difficulty of [29]: easy is what raters agree on."""
    return uncertainty


def agreement(uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The opposite: the hardest first."""
    return -uncertainty


def chance(uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The random control: bins of the same size, whatever is in them."""
    return rng.random(uncertainty.shape)


def equal_bins(
    difficulty: np.ndarray, exists: np.ndarray, num_bins: int, rng: np.random.Generator
) -> np.ndarray:
    """Sorts steps into bins of equal size, the easiest in bin 0.

    Args:
      difficulty: (S, W); NaN, where it is not known, is hardest.
      exists: (S, W), 1 where a step counts.
      num_bins: of them.
      rng: puts steps of equal difficulty in order.

    Returns:
      (S, W) float32; the last bin where no step counts.
    """
    places = np.flatnonzero(exists)
    shuffled = rng.permutation(places)
    ordered = shuffled[np.argsort(difficulty.ravel()[shuffled], kind="stable")]
    bins = np.full(difficulty.size, num_bins - 1, np.float32)
    bins[ordered] = np.arange(len(ordered)) * num_bins // max(len(ordered), 1)
    return bins.reshape(difficulty.shape)


def opened_bin(epoch: Any, epochs: int, num_bins: int) -> Any:
    """Says up to which bin is trained on in an epoch, counted from 1."""
    return (epoch - 1) * num_bins // epochs


def make_learner(protocol: Protocol, main: str) -> Learner:
    """Builds the learner that looks at the bins that are open."""
    sizes, num_bins = protocol.architecture, protocol.systems.curriculum_bins
    epochs = protocol.training.epochs

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        mine = jnp.argmax(jnp.array(protocol.seeds, jnp.uint32) == lane.seed)
        bins = jnp.stack([batch.extras[_name(seed)] for seed in protocol.seeds])[mine]
        opened = bins <= opened_bin(epoch, epochs, num_bins)
        mask = batch.labelled * opened
        return protocol.loss(outputs[OUTPUT], batch.labels, mask), {}

    model = FeedForward(_layers(protocol), sizes.hidden_size, protocol.num_outputs)
    network = make_plain(model, main, protocol.num_features[main])
    return make_network_learner(network, lambda batch: batch.features, objective)


def with_bins(protocol: Protocol, fold: Fold, difficulty: Difficulty) -> Fold:
    """Puts the bins of each seed beside the labels of train."""
    labelled = np.asarray(fold.whole.labelled)
    uncertainty = np.moveaxis(np.asarray(fold.whole.extras["uncertainty"]), -1, 0)
    num_bins = protocol.systems.curriculum_bins
    origins, (num, length) = fold.cut_from(), fold.train.labelled.shape
    sequences = origins[:, :1]
    steps = np.minimum(origins[:, 1:] + np.arange(length), labelled.shape[1] - 1)

    def bins(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        columns = [
            equal_bins(difficulty(x, rng), labelled, num_bins, rng)[sequences, steps]
            for x in uncertainty
        ]
        room = [(0, num - len(origins)), (0, 0), (0, 0)]
        return np.pad(np.stack(columns, axis=-1), room)

    return with_extras(fold, {_name(seed): bins(seed) for seed in protocol.seeds})


def make(protocol: Protocol, difficulty: Difficulty) -> Fit:
    """Builds the lanes mains x targets x seeds.

    Args:
      protocol: of the study.
      difficulty: (uncertainty, random numbers) -> how hard each step is.

    Raises:
      UnsuitedError: there are fewer epochs than bins.
    """
    epochs, num_bins = protocol.training.epochs, protocol.systems.curriculum_bins
    if epochs < num_bins:
        raise UnsuitedError(
            f"training.epochs is {epochs}; a curriculum of {num_bins} bins needs at "
            "least as many"
        )
    hidden = [f"hidden_{i}" for i in range(_layers(protocol))]
    return make_for_each_main(
        protocol,
        lambda main: make_learner(protocol, main),
        lambda main: (*hidden, OUTPUT),
        training=replace(protocol.training, patience=epochs),
        prepare=lambda fold: with_bins(protocol, fold, difficulty),
    )


def _layers(protocol: Protocol) -> int:
    """Counts the hidden layers, as many as the baseline has."""
    return protocol.architecture.branch_layers + protocol.architecture.shared_layers


def _name(seed: int) -> str:
    """Names the bins of a seed among the extras of a batch."""
    return f"bin_{seed}"


CURRICULUM = System(
    "curriculum",
    "DNN + Curriculum learning",
    "[29]",
    partial(make, difficulty=disagreement),
    frozenset({"raters"}),
)
RANDOM_CURRICULUM = System(
    "curriculum_random",
    "DNN + random curriculum",
    "[29]",
    partial(make, difficulty=chance),
    frozenset({"raters"}),
)
ANTI_CURRICULUM = System(
    "curriculum_anti",
    "DNN + anti-curriculum",
    "[29]",
    partial(make, difficulty=agreement),
    frozenset({"raters"}),
)
