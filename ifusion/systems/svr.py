"""Row "SVR [11]": linear machines on functionals of windows, as in AVEC 2016.

The mean and standard deviation of each feature over windows of a few seconds, one
window every 0.4 s, go into liblinear's support vector regression (squared loss, with
bias). Dev chooses window, delay and complexity. Not in the paper: a window has the
label at its centre plus the delay, held at the end of the recording; predictions are
interpolated between centres; liblinear's epsilon; the primal is solved; utterances,
which have no frames, need neither windows nor delays.

Axes: N recordings, T time, W windows of all recordings, F features of a modality.
"""

import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ifusion.systems.options import SystemOptions
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
    require_plain_training,
    take_main,
)


class Functionals(NamedTuple):
    """Functionals of windows.

    Attributes:
      values: (W, 2 F), means, then standard deviations; (W, F) for single frames.
      recording: (W,), index of the recording.
      centre: (W,) [frame].
    """

    values: np.ndarray
    recording: np.ndarray
    centre: np.ndarray


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of mains x targets x windows x delays x complexities."""
    require_plain_training(protocol)
    windows = _frames(protocol, protocol.systems.svr_windows, least=1)

    def fit(fold: Fold, trainer: Any) -> Fitted:
        fitted = [
            machine
            for main, window in product(protocol.mains, windows)
            for machine in _fit_window(protocol, fold, main, window)
        ]
        candidates, params = zip(*fitted, strict=True)
        return Fitted(candidates, params)

    return fit


def _fit_window(
    protocol: Protocol, fold: Fold, main: str, window: int
) -> Iterator[tuple[Candidate, Params]]:
    """Fits the machines of one main and window [frame]."""
    step, options = protocol.frame_step or 0.0, protocol.systems
    mask = fold.whole.mask * fold.whole.has(main)
    train = pool_windows(fold.whole.features[main], mask, window, _hop(protocol))
    mean, std = train.values.mean(0), train.values.std(0)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    values = (train.values - mean) * scale
    last = (fold.whole.mask > 0).sum(1) - 1
    delays = _frames(protocol, options.svr_delays, least=0)
    grid = product(protocol.targets, delays, options.svr_complexities)
    for target, delay, complexity in grid:
        read = np.minimum(train.centre + delay, last[train.recording])
        column = fold.whole.labels[..., protocol.targets.index(target)]
        labels = column[train.recording, read]
        known = fold.whole.labelled[train.recording, read] > 0
        machine = fit_svr(values[known], labels[known], complexity, options)
        weights = machine.coef_ * scale
        timed = {"window": window * step, "delay": delay * step} if step else {}
        candidate = Candidate(
            main=main,
            target=target,
            seed=protocol.seeds[0],
            setting={**timed, "C": complexity},
            delay=delay,
            parameters=weights.size + 1,
        )
        params = {
            "weights": weights,
            "bias": np.array(machine.intercept_[0] - weights @ mean),
            "window": np.array(window, np.int32),
        }
        yield candidate, params


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict for whole recordings.

    It keeps the last functionals, since many candidates read the same ones.
    """
    kept: list[Any] = []  # features, mask, window, functionals

    def functionals(x: np.ndarray, mask: np.ndarray, window: int) -> Functionals:
        if not (
            kept
            and kept[2] == window
            and np.array_equal(kept[0], x)
            and np.array_equal(kept[1], mask)
        ):
            found = pool_windows(x, mask, window, _hop(problem))
            kept[:] = x.copy(), mask.copy(), window, found
        found = kept[3]
        return found

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        x = np.asarray(take_main(problem, main, features, mask)[main])
        windows = functionals(x, np.asarray(mask), int(params["window"]))
        predictions = windows.values @ params["weights"] + params["bias"]
        return interpolate(windows, predictions, mask)[..., None].astype(np.float32)

    return predict


def _frames(problem: Problem, seconds: Sequence[float], least: int) -> list[int]:
    """Converts times [s] to frames, each once; utterances have only `least`."""
    if problem.frame_step is None:
        return [least]
    frames = (max(least, round(s / problem.frame_step)) for s in seconds)
    return list(dict.fromkeys(frames))


def _hop(problem: Problem) -> int:
    """Returns the step from window to window [frame]."""
    return max(1, round(problem.systems.svr_hop / (problem.frame_step or 1.0)))


def fit_svr(
    features: np.ndarray, labels: np.ndarray, complexity: float, options: SystemOptions
) -> Any:
    """Fits liblinear's support vector regression with a squared loss.

    Features (W, 2 F) are standardised, labels are (W,). The dual may not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVR

    machine = LinearSVR(
        C=complexity,
        epsilon=options.svr_epsilon,
        loss="squared_epsilon_insensitive",
        dual=options.svr_dual,
        random_state=0,
    )
    with warnings.catch_warnings():  # the challenge's liblinear stops there, too
        warnings.simplefilter("ignore", ConvergenceWarning)
        return machine.fit(features, labels)


def pool_windows(
    features: np.ndarray, mask: np.ndarray, window: int, hop: int
) -> Functionals:
    """Computes mean and standard deviation over windows, cut at the ends of recordings.

    A window of one frame has no deviation: its values are (W, F). Features are (N, T,
    F), the mask (N, T); windows and the hop between centres, the first at frame 0, are
    in [frame].
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
        parts = [mean + middle, deviation] if window > 1 else [mean + middle]
        values.append(np.concatenate(parts, axis=1))
        recordings.append(np.full(len(centre), i))
        centres.append(centre)
    return Functionals(
        np.concatenate(values), np.concatenate(recordings), np.concatenate(centres)
    )


def interpolate(
    windows: Functionals, predictions: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Interpolates (W,) between the centres of windows, constant beyond the ends.

    Returns:
      (N, T), undefined where the mask is 0.
    """
    frames = np.zeros(mask.shape)
    steps = np.arange(mask.shape[1])
    for i in np.unique(windows.recording):
        mine = windows.recording == i
        frames[i] = np.interp(steps, windows.centre[mine], predictions[mine])
    return frames


SVR = System(
    key="svr",
    title="SVR",
    source="[11]",
    make_fit=make_fit,
    make_predict=make_predict,
    needs=frozenset({"regression"}),
    seeded=False,
    functionals=True,
)
