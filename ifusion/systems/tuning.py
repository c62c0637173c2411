"""Tries penalties and annotation delays, for the baseline or for each alpha."""

from collections.abc import Sequence

from ifusion.systems.implicit_fusion import joint_program
from ifusion.systems.neural import (
    NeuralLane,
    Trainer,
    joint_weights,
    list_candidates,
    recurrent_parts,
)
from ifusion.systems.system import Fit, Fitted, Fold, Protocol
from ifusion.training.lanes import Lane


def make_tuning(protocol: Protocol, lanes: Sequence[Lane]) -> Fit:
    """Builds the fit that trains implicit fusion under every setting.

    There is one lane per main, target, alpha, setting and seed. Candidates have the
    settings {"alpha", "l2", "delay" [s]}.
    """
    program, step = joint_program(protocol), protocol.frame_step or 0
    runs = [
        NeuralLane(
            main=x.main,
            target=x.target,
            seed=x.seed,
            weights=joint_weights(protocol.modalities, x.main, x.alpha),
            setting={"alpha": x.alpha, "l2": x.l2, "delay": x.delay * step},
            l2=x.l2,
            delay=x.delay,
        )
        for x in lanes
    ]

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        trained = trainer(program, runs, fold)
        return list_candidates(runs, trained, recurrent_parts)

    return fit
