"""Systems that are lanes: from a learner and its lanes to candidates.

Axes: L lanes, N sequences, T time, F features of a modality, O outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.models.implicit import ImplicitFusion
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.system import (
    Candidate,
    Features,
    Fitted,
    Fold,
    Protocol,
    Watch,
    count_parameters,
)
from ifusion.training.lanes import LaneArrays
from ifusion.training.learner import Learner
from ifusion.training.memory import choose_schedule
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import Sweep, make_sweep, train_lanes


@dataclass(frozen=True)
class NeuralLane:
    """One training run of a system.

    Attributes:
      main: of the candidate: a modality, or several joined.
      target: name.
      seed: of weights, order and noise.
      weights: {m: weight of its loss}; those not named weigh 0.
      further: weight of the loss that the system adds.
      setting: what of this dev chooses.
      l2: penalty on weights.
      delay: [frame].
    """

    main: str
    target: str
    seed: int
    weights: Mapping[str, float]
    further: float
    setting: Mapping[str, float]
    l2: float
    delay: int


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


def build_sweep(
    protocol: Protocol,
    learner: Learner,
    num_lanes: int,
    training: TrainingOptions | None = None,
) -> Sweep:
    """Builds the program that trains the lanes of a learner, once for all folds.

    Its memory is estimated as that of implicit fusion under the same protocol.
    """
    options = training or protocol.training
    model = ImplicitFusion(
        protocol.modalities, protocol.num_outputs, protocol.architecture
    )
    schedule = choose_schedule(
        *(model, protocol.num_features, options, protocol.capacity),
        *(num_lanes, protocol.mesh, protocol.memory),
    )
    return make_sweep(
        *(learner, protocol.dev_score, options, protocol.mesh),
        group=schedule.group,
        chunk=schedule.chunk,
    )


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
        further=np.array([x.further for x in lanes], np.float32),
    )


def train(
    protocol: Protocol,
    sweep: Sweep,
    lanes: Sequence[NeuralLane],
    fold: Fold,
    watch: Watch,
    stage: str,
    given: Any = None,
    training: TrainingOptions | None = None,
) -> Trained:
    """Trains lanes on a fold; `given` is handed to the learner, L in front."""
    arrays = arrays_of(protocol, lanes)
    options = training or protocol.training
    with watch(stage, [lane.main for lane in lanes]) as on_epoch:
        state, _ = train_lanes(
            *(sweep, arrays, fold.train, fold.dev, options),
            *(on_epoch, fold.num_sequences, given),
        )
    return Trained(state.best_params, arrays, np.asarray(state.train.failed_step) >= 0)


Parts = Callable[[str], Sequence[str]]


def collect(
    protocol: Protocol,
    learner: Learner,
    lanes: Sequence[NeuralLane],
    trained: Trained,
    parts: Parts | None = None,
) -> Fitted:
    """Makes trained lanes the candidates of a system.

    Args:
      protocol: of the study.
      learner: whose `output` predicts.
      lanes: L.
      trained: the same L.
      parts: main -> parts of the parameters that predicting needs; all by default.
    """

    def count(main: str) -> int:
        kept = parts(main) if parts else list(trained.params)
        one = jax.tree.map(lambda x: x[0], {k: trained.params[k] for k in kept})
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

    @jax.jit
    def outputs(params: Any, arrays: LaneArrays, batch: Batch) -> jax.Array:
        def one(inputs: tuple[Any, LaneArrays]) -> jax.Array:
            return learner.output(inputs[0], batch, inputs[1])

        return jax.lax.map(one, (params, arrays))

    def predict(
        features: Features, mask: np.ndarray, positions: Sequence[int]
    ) -> np.ndarray:
        index = np.asarray(positions)
        picked = jax.tree.map(lambda x: x[index], (trained.params, trained.arrays))
        blank = jnp.zeros(mask.shape, jnp.float32)
        batch = Batch(fill(protocol, features, mask), jnp.asarray(mask), blank, blank)
        return np.asarray(outputs(*picked, batch))

    return Fitted(candidates, predict)


def fill(protocol: Protocol, features: Features, mask: np.ndarray) -> dict[str, Any]:
    """Puts zeros, which are the train mean, in place of modalities that are missing."""
    return {
        m: jnp.asarray(features[m])
        if m in features
        else jnp.zeros((*mask.shape, size), jnp.float32)
        for m, size in protocol.num_features.items()
    }
