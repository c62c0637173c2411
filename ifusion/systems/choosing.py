"""Control: the best of several baselines, as many as alphas; not in the paper.

Dev chooses among baselines that differ only in their seeds, as it chooses among alphas.
Their gain on dev over a single baseline is what choosing alone gives; implicit fusion
owes only what exceeds it to the auxiliary modality.
"""

from dataclasses import replace
from itertools import product

from ifusion.systems.implicit_fusion import joint_program
from ifusion.systems.neural import (
    Trainer,
    list_candidates,
    make_recurrent_predict,
    recurrent_parts,
    tuned_lane,
)
from ifusion.systems.system import Fit, Fitted, Fold, Protocol, System, UnsuitedError

SETTING = "baseline"


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of the baselines mains x targets x seeds x as many as alphas.

    Every baseline k of a seed trains with a seed of its own; k = 0 is the baseline
    itself.

    Raises:
      UnsuitedError: if there is only one alpha.
    """
    if len(protocol.alphas) < 2:
        raise UnsuitedError("there is only one alpha; nothing to choose from")
    count = protocol.systems.choice_baselines or len(protocol.alphas)
    program, step = joint_program(protocol), max(protocol.seeds) + 1
    grid = list(product(protocol.mains, protocol.targets, protocol.seeds, range(count)))

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        lanes = [
            tuned_lane(fold, main, target, seed + k * step, {SETTING: k})
            for main, target, seed, k in grid
        ]
        fitted = list_candidates(lanes, trainer(program, lanes, fold), recurrent_parts)
        pairs = zip(fitted.candidates, grid, strict=True)
        named = tuple(replace(c, seed=seed) for c, (_, _, seed, _) in pairs)
        return fitted._replace(candidates=named)

    return fit


CHOOSING = System(
    key="control_choice",
    title="Control: the best of several baselines",
    make_fit=make_fit,
    make_predict=make_recurrent_predict,
    control="the auxiliary modality, not the choice of the best of several trainings",
)
