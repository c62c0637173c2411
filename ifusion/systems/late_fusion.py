"""Explicit fusion of decisions, Fig. 1(b): votes of mono-modal baselines.

Not in the paper: votes are the mean of probabilities, or of values put back by the
annotation delay of their baseline. Weighted voting: the weights, of a grid and summing
to 1, are chosen on dev.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

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
from ifusion.training.epoch import shift_back


def make(protocol: Protocol, weighted: bool) -> Fit:
    """Builds the baselines of all mains, whose decisions are fused.

    Args:
      protocol: of the study.
      weighted: whether dev chooses the weights of the votes; equal ones otherwise.
    """
    main = joined_mains(protocol)
    names = [f"weight_{m}" for m in protocol.mains]
    fit_baselines = implicit_fusion.BASELINE.make(protocol)
    votes = (
        simplex(len(protocol.mains), protocol.systems.voting_steps)
        if weighted
        else [(1 / len(protocol.mains),) * len(protocol.mains)]
    )

    def fit(fold: Fold, watch: Watch) -> Fitted:
        baselines = fit_baselines(fold, watch)
        voters = {
            (target, seed): [
                position
                for m in protocol.mains
                for position, c in enumerate(baselines.candidates)
                if (c.main, c.target, c.seed) == (m, target, seed)
            ]
            for target, seed in product(protocol.targets, protocol.seeds)
        }
        grid = list(product(voters, votes))
        candidates = tuple(
            _candidate(
                main,
                voter,
                [baselines.candidates[i] for i in voters[voter]],
                dict(zip(names, weights, strict=True)) if weighted else {},
            )
            for voter, weights in grid
        )

        def predict(
            features: Features, mask: np.ndarray, positions: Sequence[int]
        ) -> np.ndarray:
            asked = list(
                dict.fromkeys(i for p in positions for i in voters[grid[p][0]])
            )
            # a modality that is missing votes by what its baseline says of the mean
            present = {m: _or_mean(protocol, features, mask, m) for m in protocol.mains}
            outputs = baselines.predict(present, mask, asked)
            decisions = {
                i: _decision(protocol, output, baselines.candidates[i].delay)
                for i, output in zip(asked, outputs, strict=True)
            }
            return np.stack(
                [
                    fuse(
                        [decisions[i] for i in voters[grid[p][0]]],
                        grid[p][1],
                        protocol.num_classes > 0,
                    )
                    for p in positions
                ]
            )

        return Fitted(candidates, predict)

    return fit


def simplex(num: int, steps: int) -> list[tuple[float, ...]]:
    """Lists the weights 0, 1/steps ... 1 of `num` voters that sum to 1."""
    return [
        tuple(part / steps for part in parts)
        for parts in product(range(steps + 1), repeat=num)
        if sum(parts) == steps
    ]


def fuse(
    decisions: Sequence[np.ndarray], weights: Sequence[float], probabilities: bool
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
    "late_fusion", "Late fusion", "", partial(make, weighted=False), explicit=True
)
WEIGHTED_LATE_FUSION = System(
    *("late_fusion_weighted", "Late fusion (weighted voting)", ""),
    partial(make, weighted=True),
    explicit=True,
)
