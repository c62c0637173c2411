"""Explicit fusion of decisions by a ridge regression fitted on dev, as in AVEC 2018.

Its inputs are what the mono-modal baselines predict at a frame and those around it, its
targets the labels of dev. Not in the paper: frames beyond the end of a recording repeat
the last one; context and penalty are chosen by cross-validation over the recordings of
dev, by CCC pooled over frames; of a single recording the first ones are taken. The
score on dev is of the recordings that the ridge was fitted on.

Axes: N recordings, T time, C frames of context, M modalities, R frames of dev.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from ifusion.concordance import concordance
from ifusion.systems.late_fusion import Combination, Decisions, make
from ifusion.systems.system import Fit, Fold, Protocol, System, UnsuitedError

FOLDS = 5  # of the cross-validation, at most


def make_stacked(protocol: Protocol) -> Fit:
    """Builds the baselines and a ridge regression a target and seed.

    Args:
      protocol: of the study.
    """

    def combinations(
        fold: Fold, target: str, decide: Callable[[], Decisions]
    ) -> list[Combination]:
        mask = np.asarray(fold.dev.mask)
        column, steps = protocol.targets.index(target), mask.shape[1]
        known = (mask * np.asarray(fold.dev.labelled)[:, :steps]) > 0
        labels = np.asarray(fold.dev.labels)[:, :steps, column][known]
        recordings = np.nonzero(known)[0]
        if not len(labels):
            raise UnsuitedError("the fusion is fitted on dev, but dev has no label")
        decisions = decide()
        options = protocol.systems
        inputs = {
            context: in_context(decisions, mask, context)[known]
            for context in options.stacking_contexts
        }
        grid = list(product(options.stacking_contexts, options.stacking_penalties))
        scores = [
            _score(inputs[context], labels, recordings, penalty)
            for context, penalty in grid
        ]
        context, penalty = grid[int(np.argmax(scores))]
        ridge = _ridge(penalty).fit(inputs[context], labels)

        def combine(decisions: Decisions, mask: np.ndarray) -> np.ndarray:
            values = in_context(decisions, mask, context)
            fused = ridge.predict(values.reshape(-1, values.shape[-1]))
            return np.asarray(fused, np.float32).reshape(*mask.shape, 1)

        return [Combination({}, combine)]

    return make(protocol, combinations)


def in_context(decisions: Decisions, mask: np.ndarray, context: int) -> np.ndarray:
    """Puts the frames around each one beside it.

    Args:
      decisions: M of (N, T, 1).
      mask: (N, T), 1 on the frames of a recording, which come first.
      context: C [frame], odd.

    Returns:
      (N, T, M C).
    """
    steps = np.arange(mask.shape[1])[:, None] + np.arange(context) - context // 2
    last = np.maximum(mask.sum(1).astype(int) - 1, 0)
    steps = np.clip(steps, 0, last[:, None, None])  # (N, T, C)
    rows = np.arange(len(mask))[:, None, None]
    return np.concatenate([values[rows, steps, 0] for values in decisions], axis=-1)


def _score(
    inputs: np.ndarray, labels: np.ndarray, recordings: np.ndarray, penalty: float
) -> float:
    """CCC of predictions for recordings that a ridge has not seen, (R, M C)."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    count = min(FOLDS, len(np.unique(recordings)))
    if count < 2:
        return 0.0
    found = cross_val_predict(
        _ridge(penalty), inputs, labels, groups=recordings, cv=GroupKFold(count)
    )
    return float(concordance(found, labels))


def _ridge(penalty: float) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=penalty)


STACKED_FUSION = System(
    *("late_fusion_ridge", "Late fusion (ridge on dev)", "AVEC 2018", make_stacked),
    needs=frozenset({"frames", "regression"}),
    explicit=True,
)
