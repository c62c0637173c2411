"""Rows "RNN (baseline)" and "RNN (implicit fusion)", Fig. 1(e), Eqs. 1 to 4."""

from collections.abc import Sequence
from functools import partial
from itertools import product

from ifusion.models.implicit import ImplicitFusion, branch_name
from ifusion.systems.neural import NeuralLane, build_sweep, collect, train
from ifusion.systems.system import Fit, Fitted, Fold, Protocol, System, Watch
from ifusion.training.learner import make_implicit_fusion


def make(protocol: Protocol, alphas: Sequence[float]) -> Fit:
    """Builds the lanes mains x targets x seeds x alphas."""
    model = ImplicitFusion(
        protocol.modalities, protocol.num_outputs, protocol.architecture
    )
    learner = make_implicit_fusion(model, protocol.num_features, protocol.loss)
    grid = list(product(protocol.mains, protocol.targets, protocol.seeds, alphas))
    sweep = build_sweep(protocol, learner, len(grid))

    def lane(fold: Fold, main: str, target: str, seed: int, alpha: float) -> NeuralLane:
        return NeuralLane(
            main=main,
            target=target,
            seed=seed,
            weights={m: 1.0 if m == main else alpha for m in protocol.modalities},
            further=0.0,
            setting={"alpha": alpha},
            l2=fold.settings[main, target].l2,
            delay=fold.settings[main, target].delay,
        )

    def fit(fold: Fold, watch: Watch) -> Fitted:
        lanes = [lane(fold, *entry) for entry in grid]
        trained = train(protocol, sweep, lanes, fold, watch, "")
        return collect(protocol, learner, lanes, trained, needed_parts)

    return fit


def needed_parts(main: str) -> tuple[str, ...]:
    """Names the parameters that predicting from one modality needs."""
    return branch_name(main), "shared", "output"


BASELINE = System(
    "baseline", "RNN (baseline)", "", partial(make, alphas=(0.0,)), frozenset()
)
IMPLICIT_FUSION = System(
    "implicit_fusion",
    "RNN (implicit fusion)",
    "",
    lambda protocol: make(protocol, protocol.alphas),
)
