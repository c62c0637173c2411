"""Implicit fusion, Fig. 1(e) and Eqs. 1 to 4, and its baseline, alpha = 0.

Beyond the paper, which names it as future work: three and more modalities, each
auxiliary with a weight of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from ifusion.core import ExtraLoss, ImplicitFusion
from ifusion.models.network import branch_name
from ifusion.systems.neural import (
    NeuralLane,
    build_program,
    collect,
    join_fitted,
    lane_of_main,
    train,
)
from ifusion.systems.system import (
    Fit,
    Fitted,
    Fold,
    Protocol,
    System,
    UnsuitedError,
    Watch,
    other_modalities,
)
from ifusion.training.learner import Learner, make_implicit_fusion


class Weighting(NamedTuple):
    """Weights of the auxiliary modalities of a main one.

    Attributes:
      setting: what of this dev chooses.
      weights: {m: weight}, of every modality.
    """

    setting: Mapping[str, float]
    weights: Mapping[str, float]


def make_learner(protocol: Protocol, extra_loss: ExtraLoss | None = None) -> Learner:
    """Builds the learner of Eqs. 3 and 4 for all modalities."""
    model = ImplicitFusion(
        protocol.modalities, protocol.num_outputs, protocol.architecture
    )
    return make_implicit_fusion(model, protocol.num_features, protocol.loss, extra_loss)


Weightings = Callable[[str], Sequence[Weighting]]
Alter = Callable[[Fold, str, str, int], Fold]


def make(
    protocol: Protocol,
    weightings: Weightings,
    extra_loss: ExtraLoss | None = None,
    alter: Alter | None = None,
) -> Fit:
    """Builds the lanes mains x targets x seeds x weightings, all of one program.

    Args:
      protocol: of the study.
      weightings: main -> those tried, the same number for every main.
      extra_loss: of `make_implicit_fusion`.
      alter: (fold, main, target, seed) -> the fold that these lanes train on; lanes are
        then trained group by group.
    """
    learner = make_learner(protocol, extra_loss)
    groups = list(product(protocol.mains, protocol.targets, protocol.seeds))
    most = 1 if alter else len(groups)
    program = build_program(
        protocol, learner, most * len(weightings(protocol.mains[0]))
    )

    def fit_lanes(
        lanes: Sequence[NeuralLane], fold: Fold, watch: Watch, stage: str
    ) -> Fitted:
        trained = train(protocol, program, lanes, fold, watch, stage)
        return collect(protocol, program, lanes, trained, needed_parts)

    def fit(fold: Fold, watch: Watch) -> Fitted:
        lanes = {group: weighted_lanes(fold, *group, weightings) for group in groups}
        if alter is None:
            return fit_lanes([x for y in lanes.values() for x in y], fold, watch, "")
        fitted = [
            fit_lanes(mine, alter(fold, *group), watch, f"seed {group[2]}")
            for group, mine in lanes.items()
        ]
        return join_fitted(fitted)

    return fit


def weighted_lanes(
    fold: Fold, main: str, target: str, seed: int, weightings: Weightings
) -> list[NeuralLane]:
    """Makes the lanes of one main, target and seed, one a weighting."""
    return [
        replace(lane_of_main(fold, main, target, seed, x.setting), weights=x.weights)
        for x in weightings(main)
    ]


def needed_parts(main: str) -> tuple[str, ...]:
    """Names the parameters that predicting from one modality needs."""
    return branch_name(main), "shared", "output"


def equal_weights(protocol: Protocol, alphas: Sequence[float]) -> Weightings:
    """Gives all auxiliary modalities the weight alpha (Sec. 4.2).

    Raises:
      UnsuitedError: by what is returned: there are alphas, but no auxiliary modality.
    """

    def weightings(main: str) -> list[Weighting]:
        if any(alphas):
            other_modalities(protocol, main)
        return [
            Weighting(
                {"alpha": alpha},
                {m: 1.0 if m == main else alpha for m in protocol.modalities},
            )
            for alpha in alphas
        ]

    return weightings


def own_weights(protocol: Protocol) -> Weightings:
    """Gives each auxiliary modality a weight of its own.

    Not in the paper: all combinations of `crossed_alphas`; where they are more than
    `most_weightings`, the first and a fixed random choice of the others.

    Raises:
      UnsuitedError: there are fewer than three modalities.
    """
    if len(protocol.modalities) < 3:
        raise UnsuitedError(
            f"the modalities are {', '.join(protocol.modalities)}; weights of their "
            "own need three or more"
        )
    options = protocol.systems

    def weightings(main: str) -> list[Weighting]:
        others = other_modalities(protocol, main)
        grid = list(product(options.crossed_alphas, repeat=len(others)))
        order = np.random.default_rng(0).permutation(np.arange(1, len(grid)))
        kept = [0, *sorted(order[: options.most_weightings - 1])]
        return [
            Weighting(
                {f"alpha_{m}": alpha for m, alpha in zip(others, alphas, strict=True)},
                {main: 1.0, **dict(zip(others, alphas, strict=True))},
            )
            for alphas in (grid[i] for i in kept)
        ]

    return weightings


BASELINE = System(
    "baseline",
    "RNN (baseline)",
    "",
    lambda protocol: make(protocol, equal_weights(protocol, (0.0,))),
)
IMPLICIT_FUSION = System(
    "implicit_fusion",
    "RNN (implicit fusion)",
    "",
    lambda protocol: make(protocol, equal_weights(protocol, protocol.alphas)),
)
OWN_WEIGHTS = System(
    "implicit_fusion_weights",
    "RNN (implicit fusion, a weight each modality)",
    "",
    lambda protocol: make(protocol, own_weights(protocol)),
)
