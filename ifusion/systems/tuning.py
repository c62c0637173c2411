"""Tries penalties and annotation delays, for the baseline or for each alpha."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ifusion.lanes import Lane
from ifusion.systems.implicit_fusion import joint_program
from ifusion.systems.neural import (
    NeuralLane,
    Stage,
    Trainer,
    join_fitted,
    joint_weights,
    list_candidates,
    recurrent_parts,
)
from ifusion.systems.system import Fit, Fitted, Fold, Protocol
from ifusion.ties import rank

THIRD = 3  # each pass keeps one setting in three, and trains three times as long


def make_tuning(
    protocol: Protocol, lanes: Sequence[Lane], first_epochs: int = 0
) -> Fit:
    """Builds the fit that trains implicit fusion under every setting.

    There is one lane per main, target, alpha, setting and seed. Candidates have the
    settings {"alpha", "l2", "delay" [s]}.

    Args:
      protocol: protocol of the run.
      lanes: what to train.
      first_epochs: above 0, successive halving (Jamieson and Talwalkar, 2016): settings
        train for so many epochs first, and the best third by the dev score, a mean over
        seeds, for three times as many, until three or fewer train in full. Candidates
        that have dropped out are those of their last pass. 0 trains all in full.
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
        going, epochs = list(range(len(runs))), first_epochs
        parts: list[Fitted] = []
        last: dict[int, int] = {}

        def train(length: int, stage: str) -> np.ndarray:
            mine, short = [runs[i] for i in going], program
            if stage:  # lanes that stop early are not those of the run
                training = replace(program.training, epochs=length)
                key = f"{program.key}, {length} epochs"
                short = program._replace(key=key, training=training)
            trained = trainer(short, mine, fold, Stage(stage))
            begin = sum([len(part.candidates) for part in parts])
            last.update({i: begin + k for k, i in enumerate(going)})
            parts.append(list_candidates(mine, trained, recurrent_parts))
            return trained.best_score

        while 0 < epochs < program.training.epochs:
            left = [lanes[i] for i in going]
            if _count_settings(left) <= THIRD:
                break
            kept = best_third(left, train(epochs, f"{epochs} epochs"))
            going, epochs = [going[k] for k in kept], THIRD * epochs
        train(program.training.epochs, "")
        joined, order = join_fitted(parts), [last[i] for i in range(len(runs))]
        return Fitted(
            candidates=tuple(joined.candidates[k] for k in order),
            params=tuple(joined.params[k] for k in order),
            history={name: x[:, order] for name, x in joined.history.items()},
            auxiliary=tuple(joined.auxiliary[k] for k in order),
        )

    return fit


def best_third(lanes: Sequence[Lane], scores: np.ndarray) -> list[int]:
    """Picks the lanes of the best third of settings of each main, target and alpha.

    Args:
      lanes: L.
      scores: dev scores (L,), the higher the better; a setting has the mean over seeds.

    Returns:
      Positions, in order; at least one setting of each.
    """
    groups: dict[tuple[str, str, float], dict[tuple[float, int], list[int]]] = {}
    for k, lane in enumerate(lanes):
        settings = groups.setdefault((lane.main, lane.target, lane.alpha), {})
        settings.setdefault((lane.l2, lane.delay), []).append(k)
    scores = np.asarray(scores, np.float64)
    kept: list[int] = []
    for settings in groups.values():
        mine = [*settings.values()]
        ranked = rank([scores[x].mean() for x in mine])
        kept += [i for k in ranked[: -(-len(mine) // THIRD)] for i in mine[k]]
    return sorted(kept)


def _count_settings(lanes: Sequence[Lane]) -> int:
    """Counts the settings that are left of a main, target and alpha."""
    one = (lanes[0].main, lanes[0].target, lanes[0].alpha)
    return len({(x.l2, x.delay) for x in lanes if (x.main, x.target, x.alpha) == one})
