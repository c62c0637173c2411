"""Systems that are lanes: from a learner and its lanes to candidates.

Axes: L lanes, N sequences, T time, F features of a modality, O outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.core import LaneArrays
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.system import (
    JOIN,
    Candidate,
    Features,
    Fit,
    Fitted,
    Fold,
    Protocol,
    Watch,
    count_parameters,
)
from ifusion.training.dev_score import DevScore
from ifusion.training.learner import Learner
from ifusion.training.loop import train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import Sweep, build_sweep

LAMBDA = "lambda"  # the setting that is the weight of what a system adds to its loss


@dataclass(frozen=True)
class NeuralLane:
    """One training run of a system.

    Attributes:
      main: of the candidate: a modality, or several joined.
      target: name.
      seed: of weights, order and noise.
      weights: {m: weight of its loss}; those not named weigh 0.
      setting: what of this dev chooses; its `LAMBDA`, if any, is the weight of the loss
        that the system adds.
      l2: penalty on weights.
      delay: [frame].
    """

    main: str
    target: str
    seed: int
    weights: Mapping[str, float]
    setting: Mapping[str, float] = field(default_factory=dict)
    l2: float = 0.0
    delay: int = 0


def lane_of_main(
    fold: Fold, main: str, target: str, seed: int, setting: Mapping[str, float]
) -> NeuralLane:
    """Makes the lane of one modality, with what was chosen for its baseline."""
    chosen = fold.settings[main, target]
    return NeuralLane(main, target, seed, {main: 1.0}, setting, chosen.l2, chosen.delay)


def with_extras(fold: Fold, extras: Mapping[str, np.ndarray]) -> Fold:
    """Puts (N, T + D, K) beside the labels of train; those of the fold stay."""
    known = {**fold.train.extras, **extras}
    return replace(fold, train=fold.train._replace(extras=known))


class Trained(NamedTuple):
    """Lanes that have been trained.

    Attributes:
      params: the best of each lane, L in front.
      arrays: of the lanes.
      failed: (L,) bool.
    """

    params: Any
    arrays: LaneArrays
    failed: np.ndarray


class Program(NamedTuple):
    """A learner and what it is compiled to, once for all folds.

    Attributes:
      learner: what is trained.
      training: how.
      sweep: trains lanes.
      outputs: (params, LaneArrays, batch) -> (L, N, T, O), of lanes one by one.
      kept_by: the dev score that decides which epoch is kept, "" = that of the run.
    """

    learner: Learner
    training: TrainingOptions
    sweep: Sweep
    outputs: Callable[[Any, LaneArrays, Batch], jax.Array]
    kept_by: str


def build_program(
    protocol: Protocol,
    learner: Learner,
    num_lanes: int,
    training: TrainingOptions | None = None,
    dev_score: DevScore | None = None,
    kept_by: str = "",
) -> Program:
    """Builds the program that trains the lanes of a learner.

    Args:
      protocol: of the study.
      learner: what is trained.
      num_lanes: L.
      training: how; as the protocol says by default.
      dev_score: which epoch is kept by; that of the protocol by default.
      kept_by: what another dev score is called.
    """
    options = training or protocol.training
    sweep = build_sweep(
        learner,
        dev_score or protocol.dev_score,
        options,
        protocol.mesh,
        memory=protocol.memory,
    )

    def outputs(params: Any, arrays: LaneArrays, batch: Batch) -> jax.Array:
        def one(inputs: tuple[Any, LaneArrays]) -> jax.Array:
            return learner.output(inputs[0], batch, inputs[1])

        return jax.lax.map(one, (params, arrays))

    return Program(learner, options, sweep, jax.jit(outputs), kept_by)


def arrays_of(protocol: Protocol, lanes: Sequence[NeuralLane]) -> LaneArrays:
    """Turns lanes into arrays; the main of several modalities has the index 0."""
    modalities = list(protocol.modalities)
    mains = [modalities.index(x.main) if x.main in modalities else 0 for x in lanes]
    weights = [[x.weights.get(m, 0.0) for m in modalities] for x in lanes]
    return LaneArrays(
        weights=np.array(weights, np.float32),
        main=np.array(mains, np.int32),
        seed=np.array([x.seed for x in lanes], np.uint32),
        target=np.array([protocol.targets.index(x.target) for x in lanes], np.int32),
        l2=np.array([x.l2 for x in lanes], np.float32),
        delay=np.array([x.delay for x in lanes], np.int32),
        extra_weight=np.array([x.setting.get(LAMBDA, 0.0) for x in lanes], np.float32),
    )


def train(
    protocol: Protocol,
    program: Program,
    lanes: Sequence[NeuralLane],
    fold: Fold,
    watch: Watch,
    stage: str = "",
    given: Any = None,
) -> Trained:
    """Trains lanes on a fold; `given` is handed to the learner, L in front."""
    arrays = arrays_of(protocol, lanes)
    mains = [lane.main for lane in lanes]
    with watch(stage, mains, program.kept_by) as on_epoch:
        state, _ = train_lanes(
            *(program.sweep, arrays, fold.train, fold.dev, program.training),
            *(on_epoch, fold.num_sequences, given),
        )
    return Trained(state.best_params, arrays, np.asarray(state.train.failed_step) >= 0)


Parts = Callable[[str], Sequence[str]]


def collect(
    protocol: Protocol,
    program: Program,
    lanes: Sequence[NeuralLane],
    trained: Trained,
    parts: Parts,
) -> Fitted:
    """Makes trained lanes the candidates of a system.

    Args:
      protocol: of the study.
      program: that trained them.
      lanes: L.
      trained: the same L.
      parts: main -> parts of the parameters that predicting needs.
    """

    def count(main: str) -> int:
        one = {k: jax.tree.map(lambda x: x[0], trained.params[k]) for k in parts(main)}
        return count_parameters(one)

    sizes = {main: count(main) for main in {lane.main for lane in lanes}}
    candidates = tuple(
        Candidate(
            *(lane.main, lane.target, lane.seed, lane.setting, lane.delay),
            parameters=sizes[lane.main],
            failed=bool(failed),
        )
        for lane, failed in zip(lanes, trained.failed, strict=True)
    )

    def predict(
        features: Features, mask: np.ndarray, positions: Sequence[int]
    ) -> np.ndarray:
        index = np.asarray(positions, int)
        for main in {lanes[i].main for i in index}:
            if JOIN not in main and main not in features:
                raise ValueError(f"{main!r} is missing, and all that is predicted from")
        params, arrays = jax.tree.map(
            lambda x: x[index], (trained.params, trained.arrays)
        )
        batch = _evaluation_batch(protocol, features, mask)
        outputs = program.outputs(params, arrays, batch)
        return np.asarray(outputs)[:, :, : mask.shape[1]]

    return Fitted(candidates, predict)


def _evaluation_batch(
    protocol: Protocol, features: Features, mask: np.ndarray
) -> Batch:
    """Puts zeros, which are the train mean, in place of modalities that are missing.

    Sequences that are gone through in parts are padded to whole ones.
    """
    steps = mask.shape[1]
    room = -steps % EVALUATION_STEPS if steps > EVALUATION_STEPS else 0

    def pad(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0), (0, room), *[(0, 0)] * (x.ndim - 2)])

    present = {
        m: pad(features[m])
        if m in features
        else np.zeros((len(mask), steps + room, size), np.float32)
        for m, size in protocol.num_features.items()
    }
    blank = np.zeros((len(mask), steps + room), np.float32)
    return Batch(present, pad(mask), blank, blank)


def join_fitted(parts: Sequence[Fitted]) -> Fitted:
    """Makes one of what was fitted part by part; candidates in the order of parts."""
    places = [
        (part, position)
        for part, fitted in enumerate(parts)
        for position in range(len(fitted.candidates))
    ]

    def predict(
        features: Features, mask: np.ndarray, positions: Sequence[int]
    ) -> np.ndarray:
        outputs: dict[int, np.ndarray] = {}
        for part in dict.fromkeys(places[i][0] for i in positions):
            mine = [i for i in positions if places[i][0] == part]
            own = [places[i][1] for i in mine]
            predicted = parts[part].predict(features, mask, own)
            outputs |= dict(zip(mine, predicted, strict=True))
        return np.stack([outputs[i] for i in positions])

    return Fitted(tuple(c for fitted in parts for c in fitted.candidates), predict)


def make_for_each_main(
    protocol: Protocol,
    learner_of: Callable[[str], Learner],
    parts: Parts,
    settings: Sequence[Mapping[str, float]] = ({},),
    training: TrainingOptions | None = None,
    prepare: Callable[[Fold], Fold] = lambda fold: fold,
) -> Fit:
    """Builds a system whose main modalities have a learner each.

    Its lanes are targets x seeds x settings, under l2 and delay of the baseline.

    Args:
      protocol: of the study.
      learner_of: main -> learner.
      parts: main -> parts of the parameters that predicting needs.
      settings: that dev chooses from.
      training: how; as the protocol says by default.
      prepare: fold -> the fold that is trained on.
    """
    grid = list(product(protocol.targets, protocol.seeds, settings))
    programs = {
        main: build_program(protocol, learner_of(main), len(grid), training)
        for main in protocol.mains
    }

    def fit(fold: Fold, watch: Watch) -> Fitted:
        prepared, fitted = prepare(fold), []
        for main, program in programs.items():
            lanes = [lane_of_main(fold, main, *entry) for entry in grid]
            trained = train(protocol, program, lanes, prepared, watch)
            fitted.append(collect(protocol, program, lanes, trained, parts))
        return join_fitted(fitted)

    return fit
