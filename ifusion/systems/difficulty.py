"""Two stages: the first estimates how difficult each step is, the second reads it.

The second stage reads [x; d], where d is the first stage's estimate in every partition.
The first stage is frozen data of the second, which computes d inside its program. Not
in the paper: d is standardised on train; a first stage without labels, the same for
every target, has no weight penalty; optionally d is out-of-fold, so that d of train
comes from first stages that have not seen its speakers.

Axes: L lanes, N sequences, B batch, T time, F features, P parts of train, D values of
the difficulty.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import Losses
from ifusion.lanes import LaneArrays
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, Network
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.ragged import Ragged, padded_parts
from ifusion.preprocessing.sequences import Batch, steps_of
from ifusion.systems.neural import (
    NeuralLane,
    Program,
    Request,
    Stage,
    Trained,
    Trainer,
    build_program,
    join_fitted,
    list_candidates,
    make_neural_predict,
    recurrent_parts,
    tuned_lane,
    with_extras,
)
from ifusion.systems.shapes import FIRST
from ifusion.systems.system import (
    Fit,
    Fitted,
    Fold,
    Params,
    Predict,
    Problem,
    Protocol,
    UnsuitedError,
)
from ifusion.training.learner import Learner, make_network_learner, task_objective

HELD_OUT, PART = "held_out", "part"


class Difficulty(NamedTuple):
    """How difficult a trained network finds each step.

    Attributes:
      estimate: (params, x (B, T, F), mask (B, T), steps of a part or None) -> (B, T,
        D), unstandardised.
      size: D.
      parts: names of the parameters it needs, if the network has them.
    """

    estimate: Callable[[Any, Any, Any, int | None], Any]
    size: int
    parts: tuple[str, ...]


class First(NamedTuple):
    """The first stage of one main.

    Attributes:
      program: trains it.
      difficulty: estimates difficulty with it.
      settings: settings to choose from, by the result of the second stage.
      by_target: whether it is trained for each target, or once for all.
    """

    program: Program
    difficulty: Difficulty
    settings: Sequence[Mapping[str, float]] = ({},)
    by_target: bool = True


class Second(NamedTuple):
    """The second stage of one main.

    Attributes:
      learner: learner whose main modality has F + D features.
      lanes: lane of the first stage -> lanes that read it.
    """

    learner: Learner
    lanes: Callable[[Fold, NeuralLane], Sequence[NeuralLane]]


# ---- fitting ------------------------------------------------------------------------


def make_two_stages(
    protocol: Protocol,
    key: str,
    first_of: Callable[[Protocol, str], First],
    second_of: Callable[[Protocol, str, First], Second],
    warm_start: bool = False,
) -> Fit:
    """Builds the fit of both stages for each main.

    With `warm_start`, the second stage starts from equally named parameters of the
    first; weights of the difficulty start anew.
    """
    fits = []
    for main in protocol.mains:
        first = first_of(protocol, main)
        second = second_of(protocol, main, first)
        fits.append(_fit_main(protocol, key, main, first, second, warm_start))

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        return join_fitted([fit_main(fold, trainer) for fit_main in fits])

    return fit


def _fit_main(
    protocol: Protocol,
    key: str,
    main: str,
    first: First,
    second: Second,
    warm_start: bool,
) -> Fit:
    targets = protocol.targets if first.by_target else protocol.targets[:1]
    grid = list(product(targets, protocol.seeds, first.settings))
    started = recurrent_parts(main) if warm_start else ()
    learner = with_difficulty(second.learner, main, first.difficulty)
    program = build_program(protocol, f"{key} {main}", learner)
    measure = make_measure(first.difficulty, protocol.training.batch_size)

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        lanes = [
            tuned_lane(fold, main, target, seed, setting)
            for target, seed, setting in grid
        ]
        if not first.by_target:  # it knows no labels, so no delay
            lanes = [replace(lane, l2=0.0, delay=0) for lane in lanes]
        reads, readers = [], []
        for i, lane in enumerate(lanes):
            for target in (lane.target,) if first.by_target else protocol.targets:
                for reader in second.lanes(fold, replace(lane, target=target)):
                    reads.append(i)
                    readers.append(reader)
        num_parts = protocol.systems.out_of_fold
        dealt = deal_parts(fold, num_parts)
        held_out = [
            Request(
                first.program._replace(key=f"{first.program.key} without part {part}"),
                lanes,
                without(fold, dealt, part),
                Stage(f"part {part}", reads=reads),
            )
            for part in range(num_parts)
        ]
        every = Request(first.program, lanes, fold, Stage("first", reads=reads))
        trained, *apart = trainer.together([every, *held_out])
        known = freeze(first.difficulty, main, fold, dealt, trained, apart, measure)
        start = {k: trained.params[k] for k in started if k in trained.params}
        frozen, start = jax.tree.map(lambda x: np.asarray(x)[reads], (known, start))
        final = trainer(
            program,
            readers,
            mark_parts(fold, dealt) if apart else fold,
            Stage("second", frozen, start or None),
        )
        for stage in (trained, *apart):
            failed = np.asarray(stage.failed_step)[reads]
            failed = np.where(failed >= 0, failed, final.failed_step)
            final = final._replace(failed_step=failed)
        final = final._replace(params={**final.params, FIRST: frozen[FIRST]})
        parts = (*recurrent_parts(main), FIRST)
        return list_candidates(readers, final, lambda main: parts)

    return fit


def freeze(
    difficulty: Difficulty,
    main: str,
    fold: Fold,
    parts: np.ndarray,
    trained: Trained,
    held_out: Sequence[Trained],
    measure: "SumDifficulty",
) -> dict[str, Any]:
    """Gathers what second stages read, L in front.

    Returns:
      `FIRST`: {"estimator": parameters of the first stage, "mean", "std": (L, D)};
      `HELD_OUT`: out-of-fold estimators (L, P, ...), or {}.
    """

    def estimator(stage: Trained) -> Any:
        return {k: stage.params[k] for k in difficulty.parts if k in stage.params}

    sums, squares, count = np.zeros(()), np.zeros(()), np.zeros(())
    for part, stage in enumerate(held_out or [trained]):
        params = estimator(stage)
        for x, mask in _portions(fold.train_batch, main, parts == part):
            found = [np.asarray(v, np.float64) for v in measure(params, x, mask)]
            sums, squares = sums + found[0], squares + found[1]
            count = count + found[2]
    count = count[:, None]
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    held = [estimator(stage) for stage in held_out]
    return {
        FIRST: {
            "estimator": estimator(trained),
            "mean": mean.astype(np.float32),
            "std": np.where(std > 0, std, 1).astype(np.float32),
        },
        HELD_OUT: jax.tree.map(lambda *x: np.stack(x, axis=1), *held) if held else {},
    }


def _portions(
    batch: Batch, main: str, mine: np.ndarray
) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields features and mask; sequences other than `mine` (N,) are masked."""
    stays, x = mine.astype(np.float32)[:, None], batch.features[main]
    if not isinstance(x, Ragged):
        yield x, batch.mask * batch.has(main) * stays
        return
    for rows, padded, mask in padded_parts({main: x}):
        mask[: len(rows)] *= stays[rows]
        yield padded[main], mask


SumDifficulty = Callable[[Any, Any, Any], tuple[Any, Any, Any]]


def make_measure(difficulty: Difficulty, batch_size: int) -> SumDifficulty:
    """Builds (params, x (N, T, F), mask (N, T)) -> sums of d.

    These are the sums of d and d^2, (L, D) each, and the number of d, (L,). The
    difficulty of all sequences is never held at once.
    """

    @jax.jit
    def measure(params: Any, x: jax.Array, mask: jax.Array) -> tuple[Any, Any, Any]:
        def of_lane(params: Any) -> tuple[jax.Array, ...]:
            def of_sequence(inputs: Any) -> tuple[jax.Array, ...]:
                x, mask = (value[None] for value in inputs)
                values = difficulty.estimate(params, x, mask, None)
                if values.shape[1] < mask.shape[1]:  # one output per recording
                    mask = jnp.max(mask, axis=1, keepdims=True)
                values = values * mask[..., None]
                squares = jnp.square(values)
                return jnp.sum(values, (0, 1)), jnp.sum(squares, (0, 1)), jnp.sum(mask)

            sums = jax.lax.map(of_sequence, (x, mask), batch_size=batch_size)
            return tuple(jnp.sum(each, axis=0) for each in sums)

        return jax.lax.map(of_lane, params)

    return measure


# ---- the second stage ---------------------------------------------------------------


def join_difficulty(x: Any, raw: Any, first: Any, mask: Any) -> Any:
    """Joins features and standardised difficulty, 0 where padded: (B, T, F + D).

    The difficulty of a whole recording, (B, 1, D), is repeated at each step.
    """
    values = (raw - first["mean"]) / first["std"]
    return jnp.concatenate([x, values * mask[..., None]], axis=-1)


def with_difficulty(inner: Learner, main: str, difficulty: Difficulty) -> Learner:
    """Makes a learner read [x; d] instead of x in its main modality.

    Lanes have frozen data, see `freeze`, and start from init_data if given.
    """

    def read(batch: Batch, lane: LaneArrays, steps: int | None) -> Batch:
        x, first = batch.features[main], lane.frozen[FIRST]
        mask = steps_of(batch.inputs_mask, main)

        def estimate(params: Any) -> Any:
            return difficulty.estimate(params, x, mask, steps)

        if PART in batch.extras:  # of each step, by the estimator that has not seen it
            each = jax.lax.map(estimate, lane.frozen[HELD_OUT])
            part = batch.extras[PART][None, ..., None]
            part = jnp.broadcast_to(part, (1, *each.shape[1:]))
            raw = jnp.take_along_axis(each, part, axis=0)[0]
        else:
            raw = estimate(first["estimator"])
        joined = join_difficulty(x, raw, first, mask)
        return batch._replace(features={**batch.features, main: joined})

    def init(key: jax.Array, init_data: Any) -> Any:
        params = inner.init(key, None)
        start = init_data or {}
        return params | {k: jax.tree.map(_widen, params[k], start[k]) for k in start}

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        return inner.loss(params, read(batch, lane, None), lane, epoch, hidden)

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        return inner.output(params, read(batch, lane, EVALUATION_STEPS), lane)

    return Learner(init, loss, output, inner.has, inner.trains)


def _widen(fresh: jax.Array, known: jax.Array) -> jax.Array:
    """Copies known values into the corner of a larger array."""
    return fresh.at[tuple(slice(size) for size in known.shape)].set(known)


def make_second_network(problem: Problem, main: str, difficulty: Difficulty) -> Network:
    """Builds the baseline's network for [x; d]."""
    return make_multi_head(
        {main: problem.num_features[main] + difficulty.size},
        {OUTPUT: problem.num_outputs},
        problem.architecture,
    )


def mono_second(protocol: Protocol, main: str, first: First) -> Second:
    """Builds a second stage like the baseline, with one modality."""
    learner = make_network_learner(
        make_second_network(protocol, main, first.difficulty),
        main,
        task_objective(protocol.loss),
    )

    def lanes(fold: Fold, x: NeuralLane) -> list[NeuralLane]:
        return [tuned_lane(fold, x.main, x.target, x.seed, x.setting)]

    return Second(learner, lanes)


def make_two_stage_predict(
    problem: Problem, main: str, difficulty: Difficulty
) -> Predict:
    """Builds predict from parameters of the second stage and `FIRST`."""
    network = make_second_network(problem, main, difficulty)

    @jax.jit
    def output(params: Params, features: Mapping[str, Any], mask: Any) -> Any:
        x, first = features[main], params[FIRST]
        raw = difficulty.estimate(first["estimator"], x, mask, EVALUATION_STEPS)
        joined = {main: join_difficulty(x, raw, first, mask)}
        return network.apply(params, joined, mask, EVALUATION_STEPS)[OUTPUT]

    return make_neural_predict(problem, main, output)


# ---- parts of train, by speaker -----------------------------------------------------


def deal_parts(fold: Fold, num_parts: int) -> np.ndarray:
    """Deals the speakers of train into parts: (N,) int, one per sequence.

    Raises:
      UnsuitedError: if there are fewer speakers than parts.
      ValueError: if it is unknown which recordings the windows come from.
    """
    parts = np.zeros(len(fold.train_batch.mask), np.int32)
    if not num_parts:
        return parts
    speakers, ranks = np.unique(fold.speakers, return_inverse=True)
    if len(speakers) < num_parts:
        raise UnsuitedError(
            f"systems.out_of_fold is {num_parts}, but train has only {len(speakers)} "
            "speakers"
        )
    dealt = (ranks % num_parts)[fold.window_origins()[:, 0]]
    parts[: len(dealt)] = dealt
    return parts


def without(fold: Fold, parts: np.ndarray, part: int) -> Fold:
    """Hides a part of train: its steps no longer exist."""
    stays = (parts != part).astype(np.float32)[:, None]
    batch = fold.train_batch
    features = dict(batch.features)
    for m, x in batch.features.items():
        if isinstance(x, Ragged):
            features[m] = x._replace(lengths=x.lengths * (parts != part))
    hidden = batch._replace(
        features=features,
        mask=batch.mask * stays,
        labelled=batch.labelled * stays,
        steps={m: own * stays for m, own in batch.steps.items()},
    )
    return replace(fold, train=hidden)


def mark_parts(fold: Fold, parts: np.ndarray) -> Fold:
    """Adds the part of each sequence as an extra."""
    shape = np.shape(fold.train_batch.labels)
    return with_extras(fold, {PART: np.broadcast_to(parts[:, None, None], shape)})
