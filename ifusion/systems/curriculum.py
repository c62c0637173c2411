"""Row "DNN + Curriculum learning" [29], and its random and opposite controls.

Difficulty is how far raters disagree. Steps of train are sorted by it into bins of
equal size; training begins with the easiest bin and adds the others at equal intervals.
A step shared by several windows is in one bin. Not in the paper: five bins; the same
number of epochs for each; ties in random order; a feed-forward network with the
baseline's layers and units, which sees each step alone. Patience equals the number of
epochs, so no lane stops in an early bin.

Axes: N sequences, T time, D steps of labels beyond T, S whole sequences, W their steps.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import Losses
from ifusion.lanes import LaneArrays
from ifusion.models.feed_forward import FeedForward, make_plain
from ifusion.models.network import OUTPUT, Network, Outputs
from ifusion.preprocessing.disagreement import UNCERTAINTY
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import (
    build_program,
    make_fit_by_main,
    make_network_predict,
    with_extras,
)
from ifusion.systems.system import (
    Fit,
    Fold,
    Predict,
    Problem,
    Protocol,
    System,
    UnsuitedError,
)
from ifusion.training.learner import Learner, make_network_learner

StepDifficulty = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def disagreement(uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Difficulty as in [29]: steps that raters agree on are easy."""
    return uncertainty


def agreement(uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The opposite: the hardest first."""
    return -uncertainty


def chance(uncertainty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The random control: bins of the same size, filled at random."""
    return rng.random(uncertainty.shape)


def equal_bins(
    difficulty: np.ndarray, exists: np.ndarray, num_bins: int, rng: np.random.Generator
) -> np.ndarray:
    """Sorts steps into bins of equal size, the easiest in bin 0.

    Difficulty is (S, W), NaN the hardest; `exists` is 1 where a step counts. Ties are
    broken at random.

    Returns:
      (S, W) float32, the last bin where no step counts.
    """
    places = np.flatnonzero(exists)
    shuffled = rng.permutation(places)
    ordered = shuffled[np.argsort(difficulty.ravel()[shuffled], kind="stable")]
    bins = np.full(difficulty.size, num_bins - 1, np.float32)
    bins[ordered] = np.arange(len(ordered)) * num_bins // max(len(ordered), 1)
    return bins.reshape(difficulty.shape)


def opened_bin(epoch: Any, epochs: int, num_bins: int) -> Any:
    """Returns the last bin trained on in an epoch, epochs counted from 1."""
    return (epoch - 1) * num_bins // epochs


def make_network(problem: Problem, main: str) -> Network:
    """Builds the feed-forward network of a main."""
    layers, sizes = len(_hidden(problem)), problem.architecture
    model = FeedForward(layers, sizes.hidden_size, problem.num_outputs)
    return make_plain(model, main, problem.num_features[main])


def make_learner(protocol: Protocol, main: str) -> Learner:
    """Builds the learner that trains on the open bins."""
    epochs, num_bins = protocol.training.epochs, protocol.systems.curriculum_bins

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        mine = jnp.argmax(jnp.array(protocol.seeds, jnp.uint32) == lane.seed)
        bins = jnp.stack([batch.extras[_name(seed)] for seed in protocol.seeds])[mine]
        opened = bins <= opened_bin(epoch, epochs, num_bins)
        mask = batch.labelled * opened
        return protocol.loss(outputs[OUTPUT], batch.labels, mask), {}

    network = make_network(protocol, main)
    return make_network_learner(network, main, objective)


def with_bins(
    protocol: Protocol, fold: Fold, difficulty: StepDifficulty, main: str
) -> Fold:
    """Adds the bins of each seed as extras of train; they rank what has the main."""
    labelled = np.asarray(fold.whole.labelled) * fold.whole.has(main)
    uncertainty = np.moveaxis(np.asarray(fold.whole.extras[UNCERTAINTY]), -1, 0)
    num_bins = protocol.systems.curriculum_bins
    origins, (num, length) = fold.window_origins(), fold.train_batch.labelled.shape
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


def make_fit(protocol: Protocol, key: str, difficulty: StepDifficulty) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds.

    `difficulty` maps uncertainty and random numbers to the difficulty of each step.

    Raises:
      UnsuitedError: if there are fewer epochs than bins.
    """
    epochs, num_bins = protocol.training.epochs, protocol.systems.curriculum_bins
    if epochs < num_bins:
        raise UnsuitedError(
            f"training.epochs is {epochs}; a curriculum of {num_bins} bins needs at "
            "least as many"
        )
    parts = (*_hidden(protocol), OUTPUT)
    return make_fit_by_main(
        protocol,
        lambda main: build_program(
            protocol,
            f"{key} {main}",
            make_learner(protocol, main),
            training=replace(protocol.training, patience=epochs),
        ),
        lambda main: parts,
        prepare=lambda fold, main: with_bins(protocol, fold, difficulty, main),
    )


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict for one modality."""
    return make_network_predict(problem, main, make_network(problem, main))


def _hidden(problem: Problem) -> list[str]:
    """Names the hidden layers, as many as the baseline has."""
    sizes = problem.architecture
    return [f"hidden_{i}" for i in range(sizes.branch_layers + sizes.shared_layers)]


def _name(seed: int) -> str:
    """Names the extra that holds the bins of a seed."""
    return f"bin_{seed}"


def _row(key: str, title: str, difficulty: StepDifficulty) -> System:
    return System(
        key=key,
        title=title,
        source="[29]",
        make_fit=partial(make_fit, key=key, difficulty=difficulty),
        make_predict=make_predict,
        needs=frozenset({"raters"}),
        functionals=True,
    )


CURRICULUM = _row("curriculum", "DNN + Curriculum learning", disagreement)
RANDOM_CURRICULUM = _row("curriculum_random", "DNN + random curriculum", chance)
ANTI_CURRICULUM = _row("curriculum_anti", "DNN + anti-curriculum", agreement)
