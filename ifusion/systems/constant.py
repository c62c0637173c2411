"""Row "constant": whoever answers the same whatever comes, the floor under all others.

Not in the paper: the class most frequent in train (of equally frequent ones the first),
or the mean of the target in train, whose CCC is 0.

Axes: N sequences, T time.
"""

from itertools import product

import numpy as np

from ifusion.systems.classical import Predictor, collect_predictors
from ifusion.systems.system import Candidate, Fit, Fitted, Fold, Protocol, System, Watch


def make(protocol: Protocol) -> Fit:
    """Builds the answer to each target, for each main alike."""

    def fit(fold: Fold, watch: Watch) -> Fitted:
        steps = fold.whole.mask.shape[1]
        known = fold.whole.labelled[:, :steps] > 0
        constants = {
            target: _constant(fold.whole.labels[:, :steps, k][known], protocol)
            for k, target in enumerate(protocol.targets)
        }

        def predictor(main: str, target: str) -> Predictor:
            value = constants[target]

            def answer(features: np.ndarray, mask: np.ndarray) -> np.ndarray:
                return np.broadcast_to(value, (*mask.shape, len(value)))

            candidate = Candidate(main, target, protocol.seeds[0], parameters=1)
            return Predictor(candidate, answer)

        pairs = product(protocol.mains, protocol.targets)
        return collect_predictors([predictor(*pair) for pair in pairs])

    return fit


def _constant(labels: np.ndarray, protocol: Protocol) -> np.ndarray:
    """What is answered: (O,)."""
    if not protocol.num_classes:
        return np.array([labels.mean(dtype=np.float64)])
    counts = np.bincount(labels.astype(np.int64), minlength=protocol.num_classes)
    return np.eye(protocol.num_classes)[counts.argmax()]


CONSTANT = System("constant", "Constant answer", "", make, seeded=False)
