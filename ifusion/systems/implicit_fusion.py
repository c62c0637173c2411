"""Implicit fusion, Fig. 1(e) and Eqs. 1 to 4, and its baseline, alpha = 0.

Not in the paper, which names it as future work: three or more modalities, with a weight
for each auxiliary one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
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
    """Weights of the modalities in the joint loss of a main one.

    Attributes:
      setting: of the candidate.
      weights: {m: weight}.
      tuned_at: the alpha whose l2 and delay are used.
    """

    setting: Mapping[str, float]
    weights: Mapping[str, float]
    tuned_at: float = 0.0


Weightings = Callable[[str], Sequence[Weighting]]  # main -> for dev to choose from


def make_learner(protocol: Protocol, extra_loss: ExtraLoss | None = None) -> Learner:
    """Builds the learner of Eqs. 3 and 4, plus an extra loss if given."""
    model = ImplicitFusion(
        protocol.modalities, protocol.num_outputs, protocol.architecture
    )
    return make_implicit_fusion(model, protocol.num_features, protocol.loss, extra_loss)


@lru_cache(maxsize=8)
def joint_program(protocol: Protocol) -> Program:
    """Builds the program that trains all lanes of implicit fusion, once a protocol.

    Settings, baseline, implicit fusion and late fusion share it, and so their lanes.
    """
    return build_program(protocol, "joint", make_learner(protocol), plain=False)


def make_joint_fit(protocol: Protocol, program: Program, weightings: Weightings) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds x weightings.

    Args:
      protocol: of the run.
      program: of a learner of all modalities.
      weightings: main -> weightings for dev to choose from.
    """
    groups = list(product(protocol.mains, protocol.targets, protocol.seeds))
    tried = {main: weightings(main) for main in protocol.mains}

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        lanes = [
            weighted_lane(fold, main, target, seed, weighting)
            for main, target, seed in groups
            for weighting in tried[main]
        ]
        return list_candidates(lanes, trainer(program, lanes, fold), recurrent_parts)

    return fit


def weighted_lane(
    fold: Fold, main: str, target: str, seed: int, weighting: Weighting
) -> NeuralLane:
    """Makes the lane of a weighting."""
    return tuned_lane(fold, main, target, seed, **weighting._asdict())


def equal_weights(
    protocol: Protocol, alphas: Sequence[float], tuned: bool = False
) -> Weightings:
    """Weighs all auxiliary modalities by the same alpha (Sec. 4.2).

    Args:
      protocol: of the run.
      alphas: for dev to choose from.
      tuned: whether each alpha uses its own settings, not those of the baseline.

    Returns:
      main -> weightings, which raises UnsuitedError if there is no auxiliary modality
      to weigh.
    """

    def weightings(main: str) -> list[Weighting]:
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

    return weightings


def own_weights(protocol: Protocol) -> Weightings:
    """Weighs each auxiliary modality by an alpha of its own.

    Not in the paper: all combinations of `crossed_alphas`; if these are more than
    `most_weightings`, the first and a fixed random choice of the others.

    Raises:
      UnsuitedError: there are fewer than three modalities.
    """
    if len(protocol.modalities) < 3:
        raise UnsuitedError(
            f"the modalities are {', '.join(protocol.modalities)}; a weight for each "
            "auxiliary one needs three or more"
        )
    options = protocol.systems

    def weightings(main: str) -> list[Weighting]:
        others = other_modalities(protocol, main)
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

    return weightings


def _fit_baseline(protocol: Protocol) -> Fit:
    weightings = equal_weights(protocol, (0.0,))
    return make_joint_fit(protocol, joint_program(protocol), weightings)


def _fit_implicit_fusion(protocol: Protocol) -> Fit:
    weightings = equal_weights(protocol, protocol.alphas, tuned=True)
    return make_joint_fit(protocol, joint_program(protocol), weightings)


def _fit_own_weights(protocol: Protocol) -> Fit:
    weightings = own_weights(protocol)
    return make_joint_fit(protocol, joint_program(protocol), weightings)


BASELINE = System(
    key="baseline",
    title="RNN (baseline)",
    make_fit=_fit_baseline,
    make_predict=make_recurrent_predict,
    curve=True,
)
IMPLICIT_FUSION = System(
    key="implicit_fusion",
    title="RNN (implicit fusion)",
    make_fit=_fit_implicit_fusion,
    make_predict=make_recurrent_predict,
    curve=True,
)
OWN_WEIGHTS = System(
    key="implicit_fusion_weights",
    title="RNN (implicit fusion, a weight each modality)",
    make_fit=_fit_own_weights,
    make_predict=make_recurrent_predict,
)
