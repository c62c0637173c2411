"""Dynamic difficulty awareness training [22], alone and with implicit fusion.

The first stage is multi-task learning whose second head gives the difficulty: the
reconstruction error (RE), or the perception uncertainty (PU) it predicts. The second
stage reads [x; difficulty]; dev chooses lambda of the first stage by the result of the
second. With implicit fusion, which the paper's conclusion plans, the main branch reads
[x; difficulty] and auxiliary branches their usual features.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from ifusion.losses import mean_over_steps, reconstruction_error
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import POOLING, branch_name
from ifusion.systems.difficulty import (
    Difficulty,
    First,
    Second,
    make_two_stage_predict,
    make_two_stages,
    mono_second,
)
from ifusion.systems.implicit_fusion import equal_weights, make_learner, weighted_lane
from ifusion.systems.multi_task import (
    lambda_settings,
    reconstruction,
    task_program,
    uncertainty,
)
from ifusion.systems.neural import NeuralLane
from ifusion.systems.shapes import SECOND
from ifusion.systems.system import (
    Fit,
    Fold,
    Predict,
    Problem,
    Protocol,
    System,
    other_modalities,
)


def make_difficulty(problem: Problem, main: str, perceived: bool) -> Difficulty:
    """Builds the difficulty that the second head gives.

    It is perception uncertainty if `perceived`, else reconstruction error.
    """
    size = problem.num_features[main]
    heads = {SECOND: 1 if perceived else size}
    network = make_multi_head({main: size}, heads, problem.architecture)

    def estimate(params: Any, x: Any, mask: Any, steps: int | None) -> Any:
        second = network.apply(params, {main: x}, mask, steps)[SECOND]
        if perceived:
            return second
        if problem.architecture.pooling:  # one output per recording
            x = mean_over_steps(x, mask)[:, None]
        return reconstruction_error(second, x)[..., None]

    return Difficulty(estimate, 1, (branch_name(main), "shared", POOLING, SECOND))


def make_first(protocol: Protocol, main: str, perceived: bool) -> First:
    """Builds the first stage; see `make_difficulty`."""
    task = uncertainty if perceived else reconstruction
    return First(
        task_program(protocol, main, task),
        make_difficulty(protocol, main, perceived),
        lambda_settings(protocol),
    )


def fused_second(protocol: Protocol, main: str, first: First) -> Second:
    """Builds a second stage of implicit fusion, one lane per alpha."""
    other_modalities(protocol, main)
    size = protocol.num_features[main] + first.difficulty.size
    sizes = {**protocol.num_features, main: size}
    learner = make_learner(replace(protocol, num_features=sizes))
    weightings = equal_weights(protocol, main, protocol.systems.crossed_alphas)

    def lanes(fold: Fold, x: NeuralLane) -> list[NeuralLane]:
        both = [w._replace(setting={**w.setting, **x.setting}) for w in weightings]
        return [weighted_lane(fold, main, x.target, x.seed, w) for w in both]

    return Second(learner, lanes)


def make_fit(protocol: Protocol, key: str, perceived: bool, fused: bool) -> Fit:
    """Builds the fit of mains x targets x seeds x lambdas, x alphas if fused."""
    return make_two_stages(
        protocol,
        key,
        first_of=partial(make_first, perceived=perceived),
        second_of=fused_second if fused else mono_second,
        warm_start=protocol.systems.warm_start,
    )


def make_predict(problem: Problem, main: str, perceived: bool) -> Predict:
    """Builds predict for one modality."""
    difficulty = make_difficulty(problem, main, perceived)
    return make_two_stage_predict(problem, main, difficulty)


def _row(
    key: str, title: str, perceived: bool, fused: bool, source: str = ""
) -> System:
    return System(
        key=key,
        title=title,
        source=source,
        make_fit=partial(make_fit, key=key, perceived=perceived, fused=fused),
        make_predict=partial(make_predict, perceived=perceived),
        needs=frozenset({"raters"} if perceived else ()),
    )


DDAT_RE = _row(
    "ddat_re", "DDAT (RE based)", perceived=False, fused=False, source="[22]"
)
DDAT_PU = _row("ddat_pu", "DDAT (PU based)", perceived=True, fused=False, source="[22]")
FUSED_RE = _row(
    "implicit_fusion_ddat_re",
    "RNN (implicit fusion + DDAT, RE based)",
    perceived=False,
    fused=True,
)
FUSED_PU = _row(
    "implicit_fusion_ddat_pu",
    "RNN (implicit fusion + DDAT, PU based)",
    perceived=True,
    fused=True,
)
