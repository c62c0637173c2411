"""Learning from the reconstruction error in two stages [30].

An autoencoder is trained, and then a predictor on [x; e], e_t = mean_d (x - x_hat)^2.
Not in the paper: the autoencoder has the layers of the baseline and is chosen by its
error on dev; e as a vector, (x - x_hat)^2 of each feature, is an option.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ifusion.core import LaneArrays, Losses
from ifusion.losses import masked_mean, reconstruction_error
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import branch_name
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.difficulty import First, make_two_stages, mono_second
from ifusion.systems.system import Fit, Protocol, System
from ifusion.training.learner import Learner

COPY = "reconstruction"  # the only head of the autoencoder


def autoencoder(protocol: Protocol, main: str) -> First:
    """Builds the first stage, which knows no labels."""
    size = protocol.num_features[main]
    network = make_multi_head({main: size}, {COPY: size}, protocol.architecture)

    vector = protocol.systems.error_vector

    def error(params: Any, x: jax.Array, mask: jax.Array, steps: Any) -> jax.Array:
        copy = network.apply(params, {main: x}, mask, steps)[COPY]
        return (
            jnp.square(x - copy) if vector else reconstruction_error(copy, x)[..., None]
        )

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        errors = error(params, batch.features[main], batch.mask, None)
        return masked_mean(jnp.mean(errors, axis=-1), batch.mask), ({}, hidden)

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        errors = error(params, batch.features[main], batch.mask, EVALUATION_STEPS)
        return jnp.mean(errors, axis=-1, keepdims=True)

    return First(
        learner=Learner(lambda key, given: network.init(key), loss, output),
        estimate=error,
        size=size if vector else 1,
        parts=(branch_name(main), "shared", COPY),
        by_target=False,
        dev_score=lambda errors, labels, mask: -masked_mean(errors[..., 0], mask),
        kept_by="negative reconstruction error",
    )


def make(protocol: Protocol) -> Fit:
    """Builds the lanes mains x targets x seeds, of one autoencoder a main and seed."""
    return make_two_stages(
        protocol,
        lambda main: autoencoder(protocol, main),
        lambda main, first: mono_second(protocol, main, first),
    )


TWO_STAGE = System("re_two_stage", "RE, two stages", "[30]", make)
