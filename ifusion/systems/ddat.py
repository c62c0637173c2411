"""Dynamic difficulty awareness training [22], alone and with implicit fusion.

The first stage is multi-task learning, whose second head tells the difficulty: the
reconstruction error (RE), or the perception uncertainty (PU) that it predicts. The
second stage reads [x; difficulty]; lambda of the first is chosen on dev by what the
second makes of it. Its union with implicit fusion is what the paper's conclusion plans:
the branch of the main modality reads [x; difficulty], auxiliary branches what they
always do.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax

from ifusion.losses import reconstruction_error
from ifusion.models.network import branch_name
from ifusion.systems.difficulty import First, Second, make_two_stages, mono_second
from ifusion.systems.implicit_fusion import (
    Weighting,
    equal_weights,
    make_learner,
    weighted_lanes,
)
from ifusion.systems.multi_task import (
    SECOND,
    build,
    lambda_settings,
    reconstruction,
    uncertainty,
)
from ifusion.systems.neural import NeuralLane
from ifusion.systems.system import Fit, Fold, Protocol, System, other_modalities

RATERS = frozenset({"raters"})


def first_stage(protocol: Protocol, main: str, perceived: bool) -> First:
    """Builds the first stage.

    Args:
      protocol: of the study.
      main: modality.
      perceived: whether difficulty is perception uncertainty, and not reconstruction
        error.
    """
    task = uncertainty if perceived else reconstruction
    network, learner = build(protocol, main, task)

    def estimate(params: Any, x: jax.Array, mask: jax.Array, steps: Any) -> jax.Array:
        second = network.apply(params, {main: x}, mask, steps)[SECOND]
        return second if perceived else reconstruction_error(second, x)[..., None]

    return First(
        learner,
        estimate,
        size=1,
        parts=(branch_name(main), "shared", SECOND),
        settings=lambda_settings(protocol),
    )


def fused_second(protocol: Protocol, main: str, first: First) -> Second:
    """Builds a second stage that is implicit fusion, one lane an alpha.

    Raises:
      UnsuitedError: there is no auxiliary modality.
    """
    other_modalities(protocol, main)
    sizes = {**protocol.num_features, main: protocol.num_features[main] + first.size}
    learner = make_learner(replace(protocol, num_features=sizes))
    alphas = protocol.systems.crossed_alphas
    each = equal_weights(protocol, alphas)

    def lanes(fold: Fold, x: NeuralLane) -> list[NeuralLane]:
        def both(main: str) -> list[Weighting]:
            return [w._replace(setting={**w.setting, **x.setting}) for w in each(main)]

        return weighted_lanes(fold, x.main, x.target, x.seed, both)

    return Second(learner, lanes, len(alphas))


def make(protocol: Protocol, perceived: bool, fused: bool) -> Fit:
    """Builds the lanes mains x targets x seeds x lambdas, and x alphas where fused."""
    second = fused_second if fused else mono_second
    return make_two_stages(
        protocol,
        lambda main: first_stage(protocol, main, perceived),
        lambda main, first: second(protocol, main, first),
        protocol.systems.warm_start,
    )


DDAT_RE = System(
    "ddat_re", "DDAT (RE based)", "[22]", partial(make, perceived=False, fused=False)
)
DDAT_PU = System(
    *("ddat_pu", "DDAT (PU based)", "[22]"),
    partial(make, perceived=True, fused=False),
    RATERS,
)
FUSED_RE = System(
    *("implicit_fusion_ddat_re", "RNN (implicit fusion + DDAT, RE based)", ""),
    partial(make, perceived=False, fused=True),
)
FUSED_PU = System(
    *("implicit_fusion_ddat_pu", "RNN (implicit fusion + DDAT, PU based)", ""),
    partial(make, perceived=True, fused=True),
    RATERS,
)
