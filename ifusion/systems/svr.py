"""Row "SVR [11]": linear machines on functionals of windows, as in AVEC 2016.

The mean and standard deviation of each feature over windows of some seconds, one window
every 0.4 s, go into liblinear's support vector regression (squared loss, with a bias).
Dev chooses window, delay and complexity. Not in the paper: the label of a window is
that at its centre and the delay later, held at the end of the recording; predictions
between two centres are interpolated; liblinear's epsilon; the primal is solved.

Axes: N recordings, T time, W windows of all recordings, F features of a modality.
"""

import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

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


class Functionals(NamedTuple):
    """Windows of recordings.

    Attributes:
      values: (W, 2 F), means, then standard deviations.
      recording: (W,), index.
      centre: (W,) [frame].
    """

    values: np.ndarray
    recording: np.ndarray
    centre: np.ndarray


class Machine(NamedTuple):
    """A linear machine on functionals of standardised features.

    Attributes:
      candidate: whose machine it is.
      window: [frame].
      weights: (2 F,).
      bias: of the unit of the target.
    """

    candidate: Candidate
    window: int
    weights: np.ndarray
    bias: float


def make(protocol: Protocol) -> Fit:
    """Builds mains x targets x windows x delays x complexities."""
    assert protocol.frame_step is not None
    step, options = protocol.frame_step, protocol.systems
    hop = max(1, round(options.svr_hop / step))
    windows = dict.fromkeys(max(1, round(s / step)) for s in options.svr_windows)
    delays = dict.fromkeys(round(s / step) for s in options.svr_delays)

    def fit(fold: Fold, watch: Watch) -> Fitted:
        machines = [
            machine
            for main, window in product(protocol.mains, windows)
            for machine in _fit(protocol, fold, main, window, hop, tuple(delays))
        ]

        def predict(
            features: Features, mask: np.ndarray, positions: Sequence[int]
        ) -> np.ndarray:
            return predict_machines(
                [machines[i] for i in positions], features, mask, hop
            )

        return Fitted(tuple(machine.candidate for machine in machines), predict)

    return fit


def _fit(
    protocol: Protocol,
    fold: Fold,
    main: str,
    window: int,
    hop: int,
    delays: Sequence[int],
) -> Iterator[Machine]:
    """Fits the machines of one main and window."""
    step, options = protocol.frame_step or 0.0, protocol.systems
    train = window_functionals(fold.whole.features[main], fold.whole.mask, window, hop)
    mean, std = train.values.mean(0), train.values.std(0)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    values = (train.values - mean) * scale
    last = (fold.whole.mask > 0).sum(1) - 1
    for target, delay in product(protocol.targets, delays):
        read = np.minimum(train.centre + delay, last[train.recording])
        column = fold.whole.labels[..., protocol.targets.index(target)]
        labels = column[train.recording, read]
        for complexity in options.svr_complexities:
            machine = fit_svr(
                *(values, labels, complexity, options.svr_epsilon, options.svr_dual)
            )
            weights = machine.coef_ * scale
            candidate = Candidate(
                *(main, target, protocol.seeds[0]),
                {"window": window * step, "delay": delay * step, "C": complexity},
                delay,
                parameters=weights.size + 1,
            )
            bias = float(machine.intercept_[0] - weights @ mean)
            yield Machine(candidate, window, weights, bias)


def predict_machines(
    machines: Sequence[Machine], features: Features, mask: np.ndarray, hop: int
) -> np.ndarray:
    """Predicts every frame, taking the functionals of each main and window once.

    Args:
      machines: l.
      features: {m: (N, T, F_m)}, of their mains at least.
      mask: (N, T), 1 where a frame exists.
      hop: [frame] from window to window.

    Returns:
      (l, N, T, 1) float32.
    """
    outputs = np.zeros((len(machines), *mask.shape, 1), np.float32)
    groups = [(machine.candidate.main, machine.window) for machine in machines]
    for main, window in dict.fromkeys(groups):
        found = window_functionals(features[main], mask, window, hop)
        for i, machine in enumerate(machines):
            if groups[i] == (main, window):
                predictions = found.values @ machine.weights + machine.bias
                outputs[i, ..., 0] = hold_between(found, predictions, mask)
    return outputs


def fit_svr(
    features: np.ndarray,
    labels: np.ndarray,
    complexity: float,
    epsilon: float,
    dual: bool,
) -> Any:
    """Fits liblinear's support vector regression with a squared loss.

    Args:
      features: (W, 2 F), standardised.
      labels: (W,).
      complexity: C.
      epsilon: deviation [unit of the target] that costs nothing.
      dual: whether the dual is solved, which may end before its solution.

    Returns:
      The `sklearn.svm.LinearSVR`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVR

    machine = LinearSVR(
        C=complexity,
        epsilon=epsilon,
        loss="squared_epsilon_insensitive",
        dual=dual,
        random_state=0,
    )
    with warnings.catch_warnings():  # the challenge's liblinear stops there as well
        warnings.simplefilter("ignore", ConvergenceWarning)
        return machine.fit(features, labels)


def window_functionals(
    features: np.ndarray, mask: np.ndarray, window: int, hop: int
) -> Functionals:
    """Takes mean and standard deviation over windows, cut at the ends of recordings.

    Args:
      features: (N, T, F).
      mask: (N, T), 1 where a frame exists.
      window: [frame].
      hop: [frame] from centre to centre, the first at frame 0.
    """
    values, recordings, centres = [], [], []
    for i, length in enumerate((mask > 0).sum(1).tolist()):
        centre = np.arange(0, length, hop)
        start = np.maximum(centre - window // 2, 0)
        stop = np.minimum(centre - window // 2 + window, length)
        stop = np.maximum(stop, start + 1)
        frames = features[i, :length].astype(np.float64)
        middle = frames.mean(0) if length else 0.0  # so that squares stay small
        sums = np.pad(np.cumsum(frames - middle, axis=0), ((1, 0), (0, 0)))
        squares = np.pad(np.cumsum((frames - middle) ** 2, axis=0), ((1, 0), (0, 0)))
        count = (stop - start)[:, None]
        mean = (sums[stop] - sums[start]) / count
        square = (squares[stop] - squares[start]) / count
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        values.append(np.concatenate([mean + middle, deviation], axis=1))
        recordings.append(np.full(len(centre), i))
        centres.append(centre)
    return Functionals(
        np.concatenate(values), np.concatenate(recordings), np.concatenate(centres)
    )


def hold_between(
    windows: Functionals, predictions: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Interpolates between the centres of windows, and holds at the edges.

    Args:
      windows: W.
      predictions: (W,).
      mask: (N, T), 1 where a frame exists.

    Returns:
      (N, T), of no meaning where no frame exists.
    """
    frames = np.zeros(mask.shape)
    steps = np.arange(mask.shape[1])
    for i in np.unique(windows.recording):
        mine = windows.recording == i
        frames[i] = np.interp(steps, windows.centre[mine], predictions[mine])
    return frames


SVR = System(
    "svr", "SVR", "[11]", make, frozenset({"frames", "regression"}), seeded=False
)
