"""Implicit fusion with a crossmodal triplet loss in the shared space, as in EmoBed.

J = L_main + alpha L_aux + lambda L_tri (Han, Zhang, Ren, Schuller: EmoBed, 2019).

Not in the paper: anchors are r of the main modality, positives r of an auxiliary
modality with the same label (the anchor's own recording among them), negatives those
with another label; all triplets of a minibatch count whose sequences have these
modalities. r is the mean over the steps of a sequence. In a regression, two labels are
alike if their means lie on the same side of the minibatch's median. With several
auxiliary modalities, L_tri is the mean over those with a weight above 0; at alpha = 0
there is none.

Axes: B batch, T time, H hidden units, M modalities.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ifusion.lanes import LaneArrays
from ifusion.losses import mean_over_steps, triplet_loss
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.implicit_fusion import (
    Weighting,
    equal_weights,
    make_joint_fit,
    make_learner,
)
from ifusion.systems.neural import LAMBDA, build_program, make_recurrent_predict
from ifusion.systems.system import Fit, Protocol, System


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds x alphas x lambdas."""
    margin = protocol.systems.triplet_margin

    def extra_loss(
        representations: Mapping[str, jax.Array], batch: Batch, lane: LaneArrays
    ) -> jax.Array:
        points = jnp.stack(
            [
                mean_over_steps(r, batch.steps.get(m, batch.labelled))
                for m, r in representations.items()
            ]
        )
        there = jnp.stack([batch.has(m)[:, 0] for m in representations])
        alike = alike_pairs(batch, protocol.num_classes)
        auxiliary = (lane.weights > 0) & (jnp.arange(len(points)) != lane.main)
        anchors = points[lane.main]

        def loss_of(others: jax.Array, own: jax.Array) -> jax.Array:
            both = there[lane.main][:, None] * own[None, :]
            same, different = (pairs * both for pairs in alike)
            return triplet_loss(anchors, others, same, different, margin)

        losses = [
            jax.lax.cond(auxiliary[m], loss_of, lambda *_: jnp.zeros(()), others, own)
            for m, (others, own) in enumerate(zip(points, there, strict=True))
        ]
        return sum(losses, jnp.zeros(())) / jnp.maximum(jnp.sum(auxiliary), 1)

    learner = make_learner(protocol, extra_loss)
    program = build_program(protocol, "implicit_fusion_triplet", learner)
    return make_joint_fit(protocol, program, crossed)


def crossed(protocol: Protocol, main: str) -> list[Weighting]:
    """Crosses the alphas above 0 with lambdas; alpha = 0 is one lane, the baseline."""
    options = protocol.systems
    return [
        x._replace(setting={**x.setting, LAMBDA: value})
        for x in equal_weights(protocol, main, options.crossed_alphas)
        for value in (options.lambdas if x.setting["alpha"] else (0.0,))
    ]


def alike_pairs(batch: Batch, num_classes: int) -> tuple[jax.Array, jax.Array]:
    """Finds which sequences of a minibatch are alike, by labels (B, T).

    Returns:
      1 where sequences i and k are alike, and where they are not, (B, B) each; both 0
      if one of them has no label. A sequence has its most frequent class.
    """
    exists = jnp.max(batch.labelled, axis=1)
    if num_classes:
        votes = jax.nn.one_hot(batch.labels, num_classes) * batch.labelled[..., None]
        kind = jnp.argmax(jnp.sum(votes, axis=1), axis=-1)
    else:
        label = mean_over_steps(batch.labels[..., None], batch.labelled)[:, 0]
        kind = label > jnp.nanmedian(jnp.where(exists > 0, label, jnp.nan))
    both = exists[:, None] * exists[None, :]
    alike = kind[:, None] == kind[None, :]
    return alike * both, ~alike * both


TRIPLET = System(
    key="implicit_fusion_triplet",
    title="RNN (implicit fusion + triplet loss)",
    source="EmoBed",
    make_fit=make_fit,
    make_predict=make_recurrent_predict,
)
