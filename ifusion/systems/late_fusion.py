"""Explicit fusion of decisions, Fig. 1(b): votes of mono-modal baselines.

Not in the paper: votes are the mean of probabilities, or of values put back by the
annotation delay of their baseline. Weighted voting: the weights, of a grid and summing
to 1, are chosen on dev.

Axes: N sequences, T time, O outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.preprocessing.minibatches import shift_back
from ifusion.systems import implicit_fusion
from ifusion.systems.explicit import joined_mains
from ifusion.systems.system import (
    Candidate,
    Features,
    Fit,
    Fitted,
    Fold,
    Protocol,
    System,
    Watch,
)

Decisions = Sequence[np.ndarray]  # (N, T, O) of each main: probabilities or values


class Combination(NamedTuple):
    """How decisions become one.

    Attributes:
      setting: what of this dev chooses.
      combine: (decisions, mask (N, T)) -> (N, T, O), logits or values.
    """

    setting: Mapping[str, float]
    combine: Callable[[Decisions, np.ndarray], np.ndarray]


# (fold, target, what is decided on dev) -> those tried, as many for every target
Combinations = Callable[[Fold, str, Callable[[], Decisions]], Sequence[Combination]]


def make(protocol: Protocol, combinations: Combinations) -> Fit:
    """Builds the baselines of all mains, whose decisions are combined.

    Args:
      protocol: of the study.
      combinations: tried for each target and seed.
    """
    main = joined_mains(protocol)
    fit_baselines = implicit_fusion.BASELINE.make(protocol)

    def fit(fold: Fold, watch: Watch) -> Fitted:
        baselines = fit_baselines(fold, watch)

        def decide(
            features: Features, mask: np.ndarray, asked: Sequence[int]
        ) -> list[np.ndarray]:
            # a modality that is missing votes by what its baseline says of the mean
            present = {m: _or_mean(protocol, features, mask, m) for m in protocol.mains}
            outputs = baselines.predict(present, mask, asked)
            return [
                _decision(protocol, output, baselines.candidates[i].delay)
                for i, output in zip(asked, outputs, strict=True)
            ]

        voters = {
            (target, seed): [
                position
                for m in protocol.mains
                for position, c in enumerate(baselines.candidates)
                if (c.main, c.target, c.seed) == (m, target, seed)
            ]
            for target, seed in product(protocol.targets, protocol.seeds)
        }
        grid = [
            (voter, combination)
            for voter, asked in voters.items()
            for combination in combinations(
                *(fold, voter[0]),
                partial(decide, fold.dev.features, np.asarray(fold.dev.mask), asked),
            )
        ]
        candidates = tuple(
            _candidate(
                *(main, voter, [baselines.candidates[i] for i in voters[voter]]),
                combination.setting,
            )
            for voter, combination in grid
        )

        def predict(
            features: Features, mask: np.ndarray, positions: Sequence[int]
        ) -> np.ndarray:
            asked = list(
                dict.fromkeys(i for p in positions for i in voters[grid[p][0]])
            )
            decisions = dict(zip(asked, decide(features, mask, asked), strict=True))
            return np.stack(
                [
                    grid[p][1].combine([decisions[i] for i in voters[grid[p][0]]], mask)
                    for p in positions
                ]
            )

        return Fitted(candidates, predict)

    return fit


def vote(protocol: Protocol, weighted: bool) -> Fit:
    """Builds votes.

    Args:
      protocol: of the study.
      weighted: whether dev chooses the weights of the votes; equal ones otherwise.
    """
    count = len(protocol.mains)
    names = [f"weight_{m}" for m in protocol.mains]
    weightings = simplex(count, protocol.systems.voting_steps)
    equal = (1 / count,) * count

    def combination(weights: Sequence[float]) -> Combination:
        return Combination(
            dict(zip(names, weights, strict=True)) if weighted else {},
            lambda decisions, _: fuse(decisions, weights, protocol.num_classes > 0),
        )

    votes = [combination(weights) for weights in (weightings if weighted else [equal])]
    return make(protocol, lambda fold, target, decide: votes)


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
    """Averages (N, T, O) of each voter; probabilities come back as their logarithms."""
    mean = sum(w * d for w, d in zip(weights, decisions, strict=True))
    fused = np.asarray(mean, np.float32)
    if not probabilities:
        return fused
    return np.log(np.maximum(fused, np.finfo(np.float32).tiny))


def _decision(protocol: Protocol, output: np.ndarray, delay: int) -> np.ndarray:
    """Turns outputs (N, T, O) into what is averaged, in the time of the labels."""
    shifted = shift_back(jnp.asarray(output), jnp.asarray(delay))
    return np.asarray(jax.nn.softmax(shifted) if protocol.num_classes else shifted)


def _or_mean(
    protocol: Protocol, features: Features, mask: np.ndarray, modality: str
) -> np.ndarray:
    """Takes the features of a modality, zeros where it is missing."""
    blank = (*mask.shape, protocol.num_features[modality])
    return features[modality] if modality in features else np.zeros(blank, np.float32)


def _candidate(
    main: str,
    voter: tuple[str, int],
    voters: Sequence[Candidate],
    setting: Mapping[str, float],
) -> Candidate:
    return Candidate(
        main,
        *voter,
        setting=setting,
        parameters=sum(c.parameters for c in voters),
        failed=any(c.failed for c in voters),
    )


LATE_FUSION = System(
    "late_fusion", "Late fusion", "", partial(vote, weighted=False), explicit=True
)
WEIGHTED_LATE_FUSION = System(
    *("late_fusion_weighted", "Late fusion (weighted voting)", ""),
    partial(vote, weighted=True),
    explicit=True,
)
