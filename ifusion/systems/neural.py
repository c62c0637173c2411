"""Systems trained as lanes: from a learner to candidates.

Axes: L lanes, N sequences, T time, F features of a modality, O outputs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np

from ifusion.lanes import LaneArrays
from ifusion.models.architecture import Architecture
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, POOLING, Network, branch_name
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.ragged import Buckets, Ragged, padded_parts
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
    count_parameters,
    require_plain_training,
    take_main,
)
from ifusion.training.dev_score import DevScore
from ifusion.training.learner import Learner
from ifusion.training.loop import train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import Sweep, build_sweep

LAMBDA = "lambda"  # the setting that weighs the loss a system adds
TEMPERATURE = "temperature"  # the setting that softens a teacher's probabilities

# ---- lanes and programs -------------------------------------------------------------


@dataclass(frozen=True)
class NeuralLane:
    """One training run of a system.

    Attributes:
      main: a modality, or several joined by `JOIN`.
      target: what it predicts.
      seed: seed of weights, minibatch order and noise.
      weights: {m: weight of its loss}, 0 for modalities not named.
      setting: setting of the candidate; `LAMBDA` weighs the loss that the system adds.
      l2: penalty on the weights.
      delay: annotation delay [frame].
    """

    main: str
    target: str
    seed: int
    weights: Mapping[str, float]
    setting: Mapping[str, float] = field(default_factory=dict)
    l2: float = 0.0
    delay: int = 0

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that training depends on; equal lanes of one program train alike."""
        weights = tuple(sorted((m, w) for m, w in self.weights.items() if w))
        common = (
            self.main,
            self.target,
            self.seed,
            weights,
            self.setting.get(LAMBDA, 0.0),
            self.l2,
            self.delay,
        )
        warm = TEMPERATURE in self.setting
        return (*common, self.setting[TEMPERATURE]) if warm else common


def joint_weights(
    modalities: Sequence[str], main: str, alpha: float
) -> dict[str, float]:
    """Weighs the losses of Eqs. 3 and 4: 1 for the main modality, alpha for others."""
    return {m: 1.0 if m == main else alpha for m in modalities}


def tuned_lane(
    fold: Fold,
    main: str,
    target: str,
    seed: int,
    setting: Mapping[str, float],
    weights: Mapping[str, float] | None = None,
    tuned_at: float = 0.0,
) -> NeuralLane:
    """Makes a lane with the l2 and delay that dev chose for the alpha `tuned_at`.

    By default the main modality is alone, with the l2 and delay of the baseline.
    """
    chosen = fold.setting(main, target, tuned_at)
    return NeuralLane(
        main=main,
        target=target,
        seed=seed,
        weights={main: 1.0} if weights is None else weights,
        setting=setting,
        l2=chosen.l2,
        delay=chosen.delay,
    )


def tuned_lanes(
    fold: Fold, main: str, grid: Iterable[tuple[str, int, Mapping[str, float]]]
) -> list[NeuralLane]:
    """Makes the tuned lane of each (target, seed, setting)."""
    return [
        tuned_lane(fold, main, target, seed, setting) for target, seed, setting in grid
    ]


def lane_arrays(
    lanes: Sequence[NeuralLane],
    modalities: Sequence[str],
    targets: Sequence[str],
    frozen: Any = None,
) -> LaneArrays:
    """Turns lanes into arrays; a main of several modalities has index 0.

    `modalities` are in the order of the loss weights, `targets` in that of the labels.
    Lanes read `frozen`, L in front, but do not train it.
    """
    places = {m: i for i, m in enumerate(modalities)}
    columns = {target: i for i, target in enumerate(targets)}
    weights = [[x.weights.get(m, 0.0) for m in modalities] for x in lanes]
    return LaneArrays(
        weights=np.array(weights, np.float32),
        main=np.array([places.get(x.main, 0) for x in lanes], np.int32),
        seed=np.array([x.seed for x in lanes], np.uint32),
        target=np.array([columns[x.target] for x in lanes], np.int32),
        l2=np.array([x.l2 for x in lanes], np.float32),
        delay=np.array([x.delay for x in lanes], np.int32),
        extra_weight=np.array([x.setting.get(LAMBDA, 0.0) for x in lanes], np.float32),
        frozen=frozen,
    )


class Program(NamedTuple):
    """A learner and the sweep it compiles to, one for all folds.

    Attributes:
      problem: defines the modalities and targets of the lanes.
      key: names learner and data; lanes with the same key and `NeuralLane.identity` are
        the same lane.
      learner: what is trained.
      training: options of the training loop.
      sweep: trains the lanes.
      kept_by: name of the dev score that picks the epoch; "" for that of the run.
      name: the key it was built with, whatever data it is used on later.
    """

    problem: Protocol
    key: str
    learner: Learner
    training: TrainingOptions
    sweep: Sweep
    kept_by: str = ""
    name: str = ""


def build_program(
    protocol: Protocol,
    key: str,
    learner: Learner,
    *,
    training: TrainingOptions | None = None,
    dev_score: DevScore | None = None,
    kept_by: str = "",
    plain: bool = True,
    buckets: Buckets | None = None,
) -> Program:
    """Builds the program that trains the lanes of a learner.

    `training`, `dev_score` and `buckets` replace those of the protocol; `kept_by` names
    that dev score.

    Raises:
      UnsuitedError: if `plain`, and the protocol asks for carried state or for blocks.
    """
    if plain:
        require_plain_training(protocol)
    options = training or protocol.training
    sweep = build_sweep(
        learner,
        dev_score or protocol.dev_score,
        options,
        protocol.mesh,
        windows=protocol.windows,
        memory=protocol.memory,
        buckets=protocol.buckets if buckets is None else buckets,
        native=protocol.native,
    )
    return Program(protocol, key, learner, options, sweep, kept_by, name=key)


# ---- training -----------------------------------------------------------------------


class Trained(NamedTuple):
    """Trained lanes, on the host.

    Attributes:
      params: parameters of each lane's best epoch, L in front.
      best_epoch: (L,) int, counted from 1.
      best_score: (L,), on dev.
      failed_step: (L,) int, the update at which a lane diverged, or -1.
      history: {name: (epochs, L)}, NaN after a lane stops.
    """

    params: Any
    best_epoch: np.ndarray
    best_score: np.ndarray
    failed_step: np.ndarray
    history: Mapping[str, np.ndarray]

    @property
    def failed(self) -> np.ndarray:
        """(L,) bool, whether each lane diverged."""
        return np.asarray(self.failed_step) >= 0


class Stage(NamedTuple):
    """One of several trainings of a system, and what its lanes are given.

    Attributes:
      name: of the stage.
      frozen: arrays that lanes read but do not train, L in front.
      init_data: arrays that lanes start from, L in front.
      reads: for a first stage, reads[j] is the lane, or the lanes, that lane j of the
        second stage reads; a share of the second stage then trains only what it needs.
    """

    name: str = ""
    frozen: Any = None
    init_data: Any = None
    reads: Sequence[int] | Sequence[Sequence[int]] | None = None


ONLY_STAGE = Stage()


class Request(NamedTuple):
    """L lanes to train on a fold."""

    program: Program
    lanes: Sequence[NeuralLane]
    fold: Fold
    stage: Stage = ONLY_STAGE


@dataclass(frozen=True)
class Trainer:
    """Trains lanes, so that fits need not know how.

    A fit depends only on the protocol, the fold and what the trainer returns: given
    stored results, it returns the same candidates again.

    Attributes:
      together: trains the lanes of several requests, side by side if it can.
    """

    together: Callable[[Sequence[Request]], list[Trained]]

    def __call__(
        self,
        program: Program,
        lanes: Sequence[NeuralLane],
        fold: Fold,
        stage: Stage = ONLY_STAGE,
    ) -> Trained:
        """Trains the lanes of one request."""
        (trained,) = self.together([Request(program, lanes, fold, stage)])
        return trained


def train_plainly(
    requests: Sequence[Request], only: Sequence[int] | None = None
) -> list[Trained]:
    """Trains one request after another, without progress, snapshots or shares.

    `only` gives the positions of the lanes to train, all by default.
    """
    return [_train(request, only) for request in requests]


def _train(request: Request, only: Sequence[int] | None) -> Trained:
    program, lanes, fold, stage = request
    problem = program.problem
    state, history = train_lanes(
        program.sweep,
        lane_arrays(lanes, problem.modalities, problem.targets, stage.frozen),
        fold.train,
        fold.dev,
        program.training,
        num_sequences=fold.num_sequences,
        init_data=stage.init_data,
        only=only,
    )
    return Trained(
        params=state.best_params,
        best_epoch=np.asarray(state.best_epoch),
        best_score=np.asarray(state.best_score),
        failed_step=np.asarray(state.train.failed_step),
        history=history,
    )


plain_trainer = Trainer(train_plainly)

# ---- candidates ---------------------------------------------------------------------

Parts = Callable[[str], Sequence[str]]  # main -> parts of params that predicting needs


def recurrent_parts(main: str) -> tuple[str, ...]:
    """Names the parameters that predict from one modality: SP_m and SH."""
    return branch_name(main), "shared", POOLING, OUTPUT


def list_candidates(
    lanes: Sequence[NeuralLane], trained: Trained, parts: Parts
) -> Fitted:
    """Makes a candidate of each trained lane, with the parameters it predicts with."""

    def take(i: int, names: Iterable[str]) -> Params:
        own = {name: trained.params[name] for name in names if name in trained.params}
        return jax.tree.map(lambda x: np.asarray(x[i]), own)

    needed = [parts(lane.main) for lane in lanes]
    params = tuple(take(i, names) for i, names in enumerate(needed))
    auxiliary = tuple(
        take(i, [name for name in trained.params if name not in names])
        for i, names in enumerate(needed)
    )
    candidates = tuple(
        Candidate(
            main=lane.main,
            target=lane.target,
            seed=lane.seed,
            setting=lane.setting,
            delay=lane.delay,
            parameters=count_parameters(mine),
            best_epoch=int(trained.best_epoch[i]),
            failed_step=int(trained.failed_step[i]),
        )
        for i, (lane, mine) in enumerate(zip(lanes, params, strict=True))
    )
    return Fitted(candidates, params, trained.history, auxiliary)


def join_fitted(parts: Sequence[Fitted]) -> Fitted:
    """Joins the candidates of several fits, in order."""
    names = dict.fromkeys(name for part in parts for name in part.history)
    epochs = max((len(v) for part in parts for v in part.history.values()), default=0)

    def column(part: Fitted, name: str) -> np.ndarray:
        values = np.full((epochs, len(part.candidates)), np.nan, np.float32)
        if name in part.history:
            values[: len(part.history[name])] = part.history[name]
        return values

    return Fitted(
        candidates=tuple(c for part in parts for c in part.candidates),
        params=tuple(p for part in parts for p in part.params),
        history={
            name: np.concatenate([column(part, name) for part in parts], axis=1)
            for name in names
        },
        auxiliary=tuple(p for part in parts for p in part.auxiliary),
    )


def make_fit_by_main(
    protocol: Protocol,
    program_of: Callable[[str], Program],
    parts: Parts,
    settings: Sequence[Mapping[str, float]] = ({},),
    prepare: Callable[[Fold, str], Fold] = lambda fold, main: fold,
) -> Fit:
    """Builds the fit of a system with one learner per main.

    Its lanes are targets x seeds x settings, with l2 and delay of the baseline. `parts`
    names the parameters that predict, and `prepare` changes the fold to train a main
    on.
    """
    programs = {main: program_of(main) for main in protocol.mains}

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        fitted = []
        for main, program in programs.items():
            grid = product(protocol.targets, protocol.seeds, settings)
            lanes = tuned_lanes(fold, main, grid)
            trained = trainer(program, lanes, prepare(fold, main))
            fitted.append(list_candidates(lanes, trained, parts))
        return join_fitted(fitted)

    return fit


def with_extras(fold: Fold, extras: Mapping[str, np.ndarray]) -> Fold:
    """Adds extras (N, T + D, K) to train."""
    batch = fold.train_batch
    return replace(fold, train=batch._replace(extras={**batch.extras, **extras}))


# ---- predicting ---------------------------------------------------------------------

Output = Callable[[Params, Mapping[str, Any], Any], Any]  # Predict, inside jit


def make_neural_predict(
    problem: Problem,
    main: str,
    output: Output,
    align: Callable[[dict[str, Ragged]], dict[str, Ragged]] = lambda taken: taken,
) -> Predict:
    """Builds predict from a jitted `output`: (params, features, mask) -> (N, T, O).

    T is a multiple of `EVALUATION_STEPS`, or less than that. `align` brings the frames
    of several modalities to common steps.
    """

    def predict_ragged(params: Params, taken: dict[str, Any]) -> np.ndarray:
        found: dict[int, np.ndarray] = {}
        for rows, features, mask in padded_parts(align(taken)):
            part = np.asarray(output(params, features, mask))
            found |= dict(zip(rows.tolist(), part, strict=False))
        return np.stack([found[row] for row in range(len(found))])

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        steps = mask.shape[1]
        room = -steps % EVALUATION_STEPS if steps > EVALUATION_STEPS else 0

        def pad(x: Any) -> np.ndarray:
            widths = [(0, 0), (0, room), *[(0, 0)] * (x.ndim - 2)]
            return np.pad(np.asarray(x, np.float32), widths)

        taken = take_main(problem, main, features, mask)
        if isinstance(next(iter(taken.values())), Ragged):
            return predict_ragged(params, taken)
        padded = {m: pad(x) for m, x in taken.items()}
        return np.asarray(output(params, padded, pad(mask)))[:, :steps]

    return predict


def make_network_predict(problem: Problem, main: str, network: Network) -> Predict:
    """Builds predict from a network that reads the features of a main unchanged."""
    return make_neural_predict(problem, main, _output_of(network))


def _output_of(network: Network) -> Output:
    @jax.jit
    def output(params: Params, features: Mapping[str, Any], mask: Any) -> Any:
        return network.apply(params, features, mask, EVALUATION_STEPS)[OUTPUT]

    return output


def make_recurrent_predict(problem: Problem, main: str) -> Predict:
    """Builds p_m = SH(SP_m(f_m)), however the parameters were trained."""
    output = _recurrent_output(
        main, problem.num_features[main], problem.num_outputs, problem.architecture
    )
    return make_neural_predict(problem, main, output)


@lru_cache(maxsize=32)  # many systems predict by one program
def _recurrent_output(
    main: str, num_features: int, num_outputs: int, architecture: Architecture
) -> Output:
    return _output_of(
        make_multi_head({main: num_features}, {OUTPUT: num_outputs}, architecture)
    )
