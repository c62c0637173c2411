"""Implicit fusion, Fig. 1(e) and Eqs. 1 to 4, and its baseline, alpha = 0.

Not in the paper, which names it as future work: three or more modalities, with a weight
for each auxiliary one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np

from ifusion.core import ExtraLoss, ImplicitFusion
from ifusion.systems.neural import (
    NeuralLane,
    Program,
    Trainer,
    build_program,
    joint_weights,
    list_candidates,
    make_recurrent_predict,
    recurrent_parts,
    tuned_lane,
)
from ifusion.systems.system import (
    Fit,
    Fitted,
    Fold,
    Protocol,
    System,
    UnsuitedError,
    other_modalities,
)
from ifusion.training.learner import Learner, make_implicit_fusion


class Weighting(NamedTuple):
    """Weights of the modalities in the joint loss.

    Attributes:
      setting: setting of the candidate.
      weights: {m: weight}.
      tuned_at: the alpha whose l2 and delay are used.
    """

    setting: Mapping[str, float]
    weights: Mapping[str, float]
    tuned_at: float = 0.0


# (protocol, main) -> what dev chooses from
Weigh = Callable[[Protocol, str], Sequence[Weighting]]


def make_learner(protocol: Protocol, extra_loss: ExtraLoss | None = None) -> Learner:
    """Builds the learner of Eqs. 3 and 4, with an extra loss if given."""
    model = ImplicitFusion(
        protocol.modalities, protocol.num_outputs, protocol.architecture
    )
    return make_implicit_fusion(model, protocol.num_features, protocol.loss, extra_loss)


@lru_cache(maxsize=8)
def joint_program(protocol: Protocol) -> Program:
    """Builds the program of all lanes of implicit fusion, once per protocol.

    Tuning, baseline, implicit fusion and late fusion share it, and so its lanes.
    """
    return build_program(protocol, "joint", make_learner(protocol), plain=False)


def make_joint_fit(protocol: Protocol, program: Program, weigh: Weigh) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds x weightings."""
    tried = {main: weigh(protocol, main) for main in protocol.mains}

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        lanes = weighted_lanes(protocol, fold, tried)
        return list_candidates(lanes, trainer(program, lanes, fold), recurrent_parts)

    return fit


def weighted_lane(
    fold: Fold, main: str, target: str, seed: int, weighting: Weighting
) -> NeuralLane:
    """Makes the lane of a weighting."""
    return tuned_lane(fold, main, target, seed, **weighting._asdict())


def weighted_lanes(
    protocol: Protocol, fold: Fold, tried: Mapping[str, Sequence[Weighting]]
) -> list[NeuralLane]:
    """Makes the lanes mains x targets x seeds x the weightings `tried` of a main."""
    return [
        weighted_lane(fold, main, target, seed, weighting)
        for main, target, seed in product(
            protocol.mains, protocol.targets, protocol.seeds
        )
        for weighting in tried[main]
    ]


def equal_weights(
    protocol: Protocol, main: str, alphas: Sequence[float], tuned: bool = False
) -> list[Weighting]:
    """Weighs all auxiliary modalities by the same alpha (Sec. 4.2).

    If `tuned`, each alpha uses its own l2 and delay instead of the baseline's.

    Raises:
      UnsuitedError: if an alpha weighs no modality.
    """
    if any(alphas):
        other_modalities(protocol, main)
    return [
        Weighting(
            setting={"alpha": alpha},
            weights=joint_weights(protocol.modalities, main, alpha),
            tuned_at=alpha if tuned else 0.0,
        )
        for alpha in alphas
    ]


def own_weights(protocol: Protocol, main: str) -> list[Weighting]:
    """Weighs each auxiliary modality by an alpha of its own.

    Not in the paper: all combinations of `crossed_alphas`, or a fixed random choice of
    `most_weightings` of them that includes the first.

    Raises:
      UnsuitedError: if there are fewer than three modalities.
    """
    if len(protocol.modalities) < 3:
        raise UnsuitedError(
            f"the modalities are {', '.join(protocol.modalities)}; a weight for each "
            "auxiliary one needs three or more"
        )
    options, others = protocol.systems, other_modalities(protocol, main)
    grid = list(product(options.crossed_alphas, repeat=len(others)))
    order = np.random.default_rng(0).permutation(np.arange(1, len(grid)))
    kept = [0, *sorted(order[: options.most_weightings - 1])]
    each = [dict(zip(others, grid[i], strict=True)) for i in kept]
    return [
        Weighting(
            setting={f"alpha_{m}": alpha for m, alpha in weights.items()},
            weights={main: 1.0, **weights},
        )
        for weights in each
    ]


def _row(key: str, title: str, weigh: Weigh, curve: bool = True) -> System:
    def make_fit(protocol: Protocol) -> Fit:
        return make_joint_fit(protocol, joint_program(protocol), weigh)

    return System(key, title, make_fit, make_recurrent_predict, curve=curve)


BASELINE = _row("baseline", "RNN (baseline)", partial(equal_weights, alphas=(0.0,)))
IMPLICIT_FUSION = _row(
    "implicit_fusion",
    "RNN (implicit fusion)",
    lambda protocol, main: equal_weights(protocol, main, protocol.alphas, tuned=True),
)
OWN_WEIGHTS = _row(
    "implicit_fusion_weights",
    "RNN (implicit fusion, one weight per modality)",
    own_weights,
    curve=False,
)
