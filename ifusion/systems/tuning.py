"""The settings of all systems: penalty and annotation delay of the mono-modal baseline.

No row of a table, but candidates all the same: dev chooses among them by the rule that
chooses for every system.
"""

from collections.abc import Sequence

from ifusion.systems.implicit_fusion import make_learner, needed_parts
from ifusion.systems.neural import NeuralLane, build_program, collect, train
from ifusion.systems.system import Fit, Fitted, Fold, Protocol, Watch
from ifusion.training.lanes import Lane


def make_tuning(protocol: Protocol, lanes: Sequence[Lane]) -> Fit:
    """Builds the program that trains the baseline under every setting.

    Args:
      protocol: of the study.
      lanes: of alpha = 0, one a main, target, setting and seed.
    """
    program = build_program(protocol, make_learner(protocol), len(lanes))
    runs = [
        NeuralLane(
            *(x.main, x.target, x.seed, {x.main: 1.0}),
            {"l2": x.l2, "delay": x.delay * (protocol.frame_step or 0)},
            *(x.l2, x.delay),
        )
        for x in lanes
    ]

    def fit(fold: Fold, watch: Watch) -> Fitted:
        trained = train(protocol, program, runs, fold, watch, "settings")
        return collect(protocol, program, runs, trained, needed_parts)

    return fit
