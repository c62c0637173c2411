"""Learning from the reconstruction error in two stages [30].

The first stage is an autoencoder, the second a predictor on [x; e], e_t = mean_d (x -
x_hat)^2. Not in the paper: the autoencoder has the baseline's layers, and its error on
dev chooses its best epoch; optionally e is a vector, (x - x_hat)^2 of each feature.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from ifusion.core import Losses
from ifusion.lanes import LaneArrays
from ifusion.losses import masked_mean, mean_over_steps, reconstruction_error
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import Network, branch_name
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.sequences import Batch, steps_of
from ifusion.systems.difficulty import (
    Difficulty,
    First,
    make_two_stage_predict,
    make_two_stages,
    mono_second,
)
from ifusion.systems.neural import build_program
from ifusion.systems.shapes import COPY
from ifusion.systems.system import Fit, Predict, Problem, Protocol, System
from ifusion.training.learner import Learner


def autoencoder(problem: Problem, main: str) -> tuple[Network, Difficulty]:
    """Builds the autoencoder of a modality and its error."""
    size, vector = problem.num_features[main], problem.systems.error_vector
    sizes = replace(problem.architecture, pooling="")  # every step is copied
    network = make_multi_head({main: size}, {COPY: size}, sizes)

    def error(params: Any, x: Any, mask: Any, steps: int | None) -> Any:
        copy = network.apply(params, {main: x}, mask, steps)[COPY]
        if vector:
            return jnp.square(x - copy)
        return reconstruction_error(copy, x)[..., None]

    parts = (branch_name(main), "shared", COPY)
    return network, Difficulty(error, size if vector else 1, parts)


def make_first(protocol: Protocol, main: str) -> First:
    """Builds the first stage, which needs no labels."""
    network, difficulty = autoencoder(protocol, main)

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        mask = steps_of(batch.inputs_mask, main)
        errors = difficulty.estimate(params, batch.features[main], mask, None)
        return masked_mean(jnp.mean(errors, axis=-1), mask), ({}, hidden)

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        x, mask = batch.features[main], steps_of(batch.inputs_mask, main)
        errors = difficulty.estimate(params, x, mask, EVALUATION_STEPS)
        mean = jnp.mean(errors, axis=-1, keepdims=True)
        return mean_over_steps(mean, mask)[:, None] if batch.steps else mean

    program = build_program(
        protocol,
        f"autoencoder {main}",
        Learner(
            init=lambda key, init_data: network.init(key),
            loss=loss,
            output=output,
            has=lambda batch, lane: batch.has(main),
        ),
        dev_score=lambda errors, labels, mask: -masked_mean(errors[..., 0], mask),
        kept_by="negative reconstruction error",
    )
    return First(program, difficulty, by_target=False)


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds."""
    return make_two_stages(
        protocol,
        "re_two_stage",
        first_of=make_first,
        second_of=mono_second,
    )


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict for one modality."""
    return make_two_stage_predict(problem, main, autoencoder(problem, main)[1])


TWO_STAGE = System(
    key="re_two_stage",
    title="RE, two stages",
    source="[30]",
    make_fit=make_fit,
    make_predict=make_predict,
)
