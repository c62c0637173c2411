"""Explicit fusion of decisions by a ridge regression fitted on dev, as in AVEC 2018.

The ridge predicts the labels of dev from the decisions of the mono-modal baselines at a
frame and around it. Not in the paper: beyond the ends of a recording the last decision
is repeated; context and penalty are chosen by cross-validation over the recordings of
dev, by CCC over all frames, or are the first ones if dev has a single recording. The
score on dev is optimistic: the ridge was fitted there.

Axes: N recordings, T time, C frames of context, M modalities, R frames of dev.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from ifusion.concordance import concordance
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.explicit import joined_mains
from ifusion.systems.late_fusion import (
    Combination,
    Decisions,
    make_decide,
    make_late_fit,
)
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import (
    Features,
    Fit,
    Fold,
    Params,
    Predict,
    Problem,
    Protocol,
    System,
    UnsuitedError,
    labels_of,
)
from ifusion.ties import first_best

FOLDS = 5  # of the cross-validation, at most


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of the baselines and one ridge per target and seed."""
    main = joined_mains(protocol)

    def combine(
        fold: Fold, target: str, decide: Callable[[], Decisions]
    ) -> list[Combination]:
        column = protocol.targets.index(target)
        _, known = labels_of(fold.dev, column, main)
        if not (known & (np.asarray(fold.dev.mask) > 0)).any():
            raise UnsuitedError("the ridge is fitted on dev, which has no labels")
        params = fit_ridge(decide(), fold.dev, column, main, protocol.systems)
        return [Combination({}, params)]

    return make_late_fit(protocol, combine)


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict from the decisions for several modalities."""
    decide = make_decide(problem, main)

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        return apply_ridge(params, decide(params, features, mask), mask)

    return predict


def fit_ridge(
    decisions: Decisions, dev: Batch, column: int, main: str, options: SystemOptions
) -> Params:
    """Fits the ridge that fuses decisions, M of (N, T, 1), on dev.

    `column` is that of the target, and `main` joins the modalities.

    Returns:
      {"coef": (M C,), "intercept": (), "context": ()}.
    """
    labels, known = labels_of(dev, column, main)
    mask = np.asarray(dev.mask)
    known = known & (mask > 0)
    recordings = np.nonzero(known)[0]
    inputs = {
        context: in_context(decisions, mask, context)[known]
        for context in options.stacking_contexts
    }
    grid = list(product(options.stacking_contexts, options.stacking_penalties))
    scores = [
        _score(inputs[context], labels[known], recordings, penalty)
        for context, penalty in grid
    ]
    best = first_best(scores)
    context, penalty = grid[best]
    ridge = _ridge(penalty).fit(inputs[context], labels[known])
    return {
        "coef": np.asarray(ridge.coef_),
        "intercept": np.asarray(ridge.intercept_),
        "context": np.asarray(context, np.int32),
    }


def apply_ridge(params: Params, decisions: Decisions, mask: np.ndarray) -> np.ndarray:
    """Fuses decisions: M of (N, T, 1) -> (N, T, 1)."""
    inputs = in_context(decisions, mask, int(params["context"]))
    fused = inputs @ params["coef"] + params["intercept"]
    return np.asarray(fused[..., None], np.float32)


def in_context(decisions: Decisions, mask: np.ndarray, context: int) -> np.ndarray:
    """Lists the decisions around each frame: M of (N, T, 1) -> (N, T, M C).

    The context C [frame] is odd; the frames of a recording come first in mask (N, T).
    """
    steps = np.arange(mask.shape[1])[:, None] + np.arange(context) - context // 2
    last = np.maximum(mask.sum(1).astype(int) - 1, 0)
    steps = np.clip(steps, 0, last[:, None, None])  # (N, T, C)
    rows = np.arange(len(mask))[:, None, None]
    return np.concatenate([values[rows, steps, 0] for values in decisions], axis=-1)


def _score(
    inputs: np.ndarray, labels: np.ndarray, recordings: np.ndarray, penalty: float
) -> float:
    """Cross-validates a ridge over recordings; returns the CCC."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    count = min(FOLDS, len(np.unique(recordings)))
    if count < 2:
        return 0.0
    predicted = cross_val_predict(
        _ridge(penalty), inputs, labels, groups=recordings, cv=GroupKFold(count)
    )
    return float(concordance(predicted, labels))


def _ridge(penalty: float) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=penalty)


STACKED_FUSION = System(
    key="late_fusion_ridge",
    title="Late fusion (ridge on dev)",
    source="AVEC 2018",
    make_fit=make_fit,
    make_predict=make_predict,
    needs=frozenset({"regression"}),
    explicit=True,
)
