"""Systems that nothing is drawn for: one predictor a main and target, on the host.

Axes: N sequences, T time, F features of a modality, O outputs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ifusion.systems.system import Candidate, Features, Fitted


class Predictor(NamedTuple):
    """A candidate and how it predicts.

    Attributes:
      candidate: of one main modality.
      answer: (features (N, T, F) of the main, mask (N, T)) -> (N, T, O).
    """

    candidate: Candidate
    answer: Callable[[np.ndarray, np.ndarray], np.ndarray]


def collect_predictors(predictors: Sequence[Predictor]) -> Fitted:
    """Makes predictors the candidates of a system."""

    def predict(
        features: Features, mask: np.ndarray, positions: Sequence[int]
    ) -> np.ndarray:
        chosen = [predictors[i] for i in positions]
        answers = [p.answer(features[p.candidate.main], mask) for p in chosen]
        return np.stack(answers).astype(np.float32)

    return Fitted(tuple(p.candidate for p in predictors), predict)
