"""Explicit fusion of decisions, Fig. 1(b): votes of mono-modal baselines.

Not in the paper: votes are mean probabilities, or mean values shifted back by the
annotation delay of each baseline. In weighted voting, dev chooses the weights, which
sum to 1, from a grid.

Axes: N sequences, T time, O outputs, M modalities.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.corpora.corpus import JOIN
from ifusion.preprocessing.minibatches import shift_back
from ifusion.systems.explicit import joined_mains
from ifusion.systems.implicit_fusion import BASELINE
from ifusion.systems.neural import Trainer
from ifusion.systems.system import (
    Candidate,
    Features,
    Fit,
    Fitted,
    Fold,
    Params,
    Predict,
    Problem,
    Protocol,
    System,
    take_main,
)

Decisions = Sequence[np.ndarray]  # M of (N, T, O), probabilities or values


class Combination(NamedTuple):
    """A way to combine decisions: setting and parameters of a candidate."""

    setting: Mapping[str, float]
    params: Params


Decide = Callable[[Params, Features, np.ndarray], Decisions]
# (fold, target, function that computes the decisions on dev) -> what dev chooses from
Combine = Callable[[Fold, str, Callable[[], Decisions]], Sequence[Combination]]


def make_decide(problem: Problem, main: str) -> Decide:
    """Builds the function that predicts the baselines' decisions, delays removed.

    The baseline of a missing modality predicts from the train mean.
    """
    voters = {m: BASELINE.make_predict(problem, m) for m in main.split(JOIN)}

    def decide(params: Params, features: Features, mask: np.ndarray) -> Decisions:
        taken, decisions = take_main(problem, main, features, mask), []
        delays = np.asarray(params["delays"])
        for (m, predict), delay in zip(voters.items(), delays, strict=True):
            outputs = predict(params["voters"][m], {m: taken[m]}, mask)
            values = shift_back(jnp.asarray(outputs), jnp.asarray(delay))
            decided = jax.nn.softmax(values) if problem.num_classes else values
            decisions.append(np.asarray(decided))
        return decisions

    return decide


def make_late_fit(protocol: Protocol, combine: Combine) -> Fit:
    """Builds the fit of baselines whose decisions are combined."""
    main = joined_mains(protocol)
    fit_baselines, decide = BASELINE.make_fit(protocol), make_decide(protocol, main)

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        baselines = fit_baselines(fold, trainer)
        known = {
            (c.main, c.target, c.seed): (c, params)
            for c, params in zip(baselines.candidates, baselines.params, strict=True)
        }
        candidates, fused = [], []
        for target, seed in product(protocol.targets, protocol.seeds):
            voters = [known[m, target, seed] for m in protocol.mains]
            own = {
                "voters": {c.main: params for c, params in voters},
                "delays": np.array([c.delay for c, _ in voters], np.int32),
            }
            on_dev = partial(decide, own, fold.dev.features, np.asarray(fold.dev.mask))
            for combination in combine(fold, target, on_dev):
                candidate = Candidate(
                    main=main,
                    target=target,
                    seed=seed,
                    setting=combination.setting,
                    parameters=sum(c.parameters for c, _ in voters),
                    failed_step=max(c.failed_step for c, _ in voters),
                )
                candidates.append(candidate)
                fused.append({**own, **combination.params})
        return Fitted(tuple(candidates), tuple(fused))

    return fit


def fit_votes(protocol: Protocol, weighted: bool) -> Fit:
    """Builds the fit of votes with equal weights, or with weights to choose from."""
    count = len(protocol.mains)
    names = [f"weight_{m}" for m in protocol.mains]
    grid = simplex(count, protocol.systems.voting_steps)
    votes = [
        Combination(
            setting=dict(zip(names, weights, strict=True)) if weighted else {},
            params={"weights": np.array(weights)},
        )
        for weights in (grid if weighted else [(1 / count,) * count])
    ]
    return make_late_fit(protocol, lambda fold, target, decide: votes)


def predict_votes(problem: Problem, main: str) -> Predict:
    """Builds predict from the votes of several modalities."""
    decide = make_decide(problem, main)

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        decisions = decide(params, features, mask)
        weights = np.asarray(params["weights"]).tolist()
        return fuse(decisions, weights, problem.num_classes > 0)

    return predict


def simplex(num: int, steps: int) -> list[tuple[float, ...]]:
    """Lists the weights 0, 1/steps ... 1 of `num` voters that sum to 1."""
    return [
        tuple(part / steps for part in parts)
        for parts in product(range(steps + 1), repeat=num)
        if sum(parts) == steps
    ]


def fuse(
    decisions: Decisions, weights: Sequence[float], probabilities: bool
) -> np.ndarray:
    """Averages (N, T, O) over voters; probabilities become logarithms."""
    mean = sum(w * d for w, d in zip(weights, decisions, strict=True))
    fused = np.asarray(mean, np.float32)
    if not probabilities:
        return fused
    return np.log(np.maximum(fused, np.finfo(np.float32).tiny))


LATE_FUSION, WEIGHTED_LATE_FUSION = (
    System(
        key=key,
        title=title,
        make_fit=partial(fit_votes, weighted=weighted),
        make_predict=predict_votes,
        explicit=True,
    )
    for key, title, weighted in (
        ("late_fusion", "Late fusion", False),
        ("late_fusion_weighted", "Late fusion (weighted voting)", True),
    )
)
