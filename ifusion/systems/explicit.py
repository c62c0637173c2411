"""Explicit fusion of features or representations, Fig. 1(a) and (c), Sec. 3.1.

Early fusion reads [f_A; f_V]; model-level fusion joins r_A = SP_A(f_A) and r_V =
SP_V(f_V) to [r_A; r_V], which the shared layers read. Not in the paper: their sizes are
those of implicit fusion, layer by layer; what was chosen on dev for the baseline of
each modality, l2 and delay, is tried, and dev chooses again.
"""

from functools import partial
from itertools import product

import jax.numpy as jnp

from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, Inputs
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import NeuralLane, build_program, collect, train
from ifusion.systems.system import (
    JOIN,
    Fit,
    Fitted,
    Fold,
    Protocol,
    System,
    UnsuitedError,
    Watch,
)
from ifusion.training.learner import Learner, make_network_learner, task_objective


def joined_mains(protocol: Protocol) -> str:
    """Names what explicit fusion predicts from.

    Raises:
      UnsuitedError: there is nothing to fuse.
    """
    if len(protocol.mains) < 2:
        raise UnsuitedError(
            f"explicit fusion needs two modalities or more to predict from, and the "
            f"mains are {', '.join(protocol.mains)}"
        )
    return JOIN.join(protocol.mains)


def make_learner(protocol: Protocol, early: bool) -> Learner:
    """Builds the learner that reads all mains at once.

    Args:
      protocol: of the study.
      early: whether features are joined, and not representations.
    """
    main = joined_mains(protocol)
    sizes = {m: protocol.num_features[m] for m in protocol.mains}

    def read(batch: Batch) -> Inputs:
        if not early:
            return batch.features
        return {main: jnp.concatenate([batch.features[m] for m in sizes], axis=-1)}

    network = make_multi_head(
        {main: sum(sizes.values())} if early else sizes,
        {OUTPUT: protocol.num_outputs},
        protocol.architecture,
    )
    return make_network_learner(network, read, task_objective(protocol.loss))


def make(protocol: Protocol, early: bool) -> Fit:
    """Builds the lanes targets x seeds x settings of the mains; see `make_learner`."""
    main, learner = joined_mains(protocol), make_learner(protocol, early)
    grid = list(product(protocol.targets, protocol.seeds, protocol.mains))
    program = build_program(protocol, learner, len(grid))

    def fit(fold: Fold, watch: Watch) -> Fitted:
        tried = {
            (target, seed, fold.settings[m, target]): None for target, seed, m in grid
        }  # once, where modalities agree
        lanes = [
            NeuralLane(
                *(main, target, seed, {}),
                {"l2": x.l2, "delay": x.delay * (protocol.frame_step or 0)},  # [s]
                *(x.l2, x.delay),
            )
            for target, seed, x in tried
        ]
        trained = train(protocol, program, lanes, fold, watch)
        return collect(
            protocol, program, lanes, trained, lambda main: tuple(trained.params)
        )

    return fit


EARLY_FUSION = System(
    "early_fusion", "Early fusion", "", partial(make, early=True), explicit=True
)
MODEL_LEVEL_FUSION = System(
    *("model_level_fusion", "Model-level fusion", "", partial(make, early=False)),
    explicit=True,
)
