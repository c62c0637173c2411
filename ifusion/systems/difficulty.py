"""Two stages: the first says how difficult each step is, the second reads it as well.

The second stage sees [x; d], in every partition with d as the first one predicts it.
The first is kept frozen among the parameters of the second, so that d is computed
inside the program. Not in the paper: d is standardised on train; a first stage that
knows no labels, and so is the same for every target, has no penalty on weights; as an
option d is out-of-fold, that of train from first stages that have not seen its
speakers.

Axes: L lanes, N sequences, B batch, T time, F features, P parts of train, D values of
the difficulty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import LaneArrays, Losses
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.implicit_fusion import needed_parts
from ifusion.systems.neural import (
    NeuralLane,
    Trained,
    build_program,
    collect,
    join_fitted,
    lane_of_main,
    train,
    with_extras,
)
from ifusion.systems.system import Fit, Fitted, Fold, Protocol, UnsuitedError, Watch
from ifusion.training.dev_score import DevScore
from ifusion.training.learner import (
    Learner,
    make_network_learner,
    task_objective,
)

FIRST, HELD_OUT, PART = "first", "held_out", "part"

# (params, x (B, T, F), mask (B, T), steps) -> (B, T, D), unstandardised
Estimate = Callable[[Any, jax.Array, jax.Array, int | None], jax.Array]


class First(NamedTuple):
    """The first stage of one main modality.

    Attributes:
      learner: what is trained.
      estimate: the difficulty that its parameters see.
      size: D.
      parts: of its parameters, those that `estimate` needs.
      settings: that dev chooses from, by what the second stage makes of them.
      by_target: whether it is trained for each target, or once for all.
      dev_score: which epoch is kept by; that of the protocol by default.
      kept_by: what another dev score is called.
    """

    learner: Learner
    estimate: Estimate
    size: int
    parts: tuple[str, ...]
    settings: Sequence[Mapping[str, float]] = ({},)
    by_target: bool = True
    dev_score: DevScore | None = None
    kept_by: str = ""


class Second(NamedTuple):
    """The second stage of one main modality.

    Attributes:
      learner: what is trained; its main modality has F + D features.
      lanes: the lane of a first stage -> those of second stages that read it.
      num_lanes: how many that are.
    """

    learner: Learner
    lanes: Callable[[Fold, NeuralLane], Sequence[NeuralLane]]
    num_lanes: int


def make_two_stages(
    protocol: Protocol,
    first_of: Callable[[str], First],
    second_of: Callable[[str, First], Second],
    warm_start: bool = False,
) -> Fit:
    """Builds both stages for each main modality.

    Args:
      protocol: of the study.
      first_of: main -> its first stage.
      second_of: (main, first stage) -> its second stage.
      warm_start: whether parameters of the second stage start from those of the first
        that have their name; weights of the difficulty start anew.
    """
    fits = [
        _fit_main(protocol, main, first, second_of(main, first), warm_start)
        for main, first in ((m, first_of(m)) for m in protocol.mains)
    ]

    def fit(fold: Fold, watch: Watch) -> Fitted:
        return join_fitted([fit_main(fold, watch) for fit_main in fits])

    return fit


def _fit_main(
    protocol: Protocol, main: str, first: First, second: Second, warm_start: bool
) -> Fit:
    targets = protocol.targets if first.by_target else protocol.targets[:1]
    grid = list(product(targets, protocol.seeds, first.settings))
    known = len(protocol.targets) // len(targets)  # second lanes have every target
    count = len(grid) * known * second.num_lanes
    programs = (
        build_program(
            *(protocol, first.learner, len(grid), None),
            *(first.dev_score, first.kept_by),
        ),
        build_program(protocol, reading(second.learner, main, first), count),
    )
    measure = make_measure(first.estimate, protocol.training.batch_size)

    def fit(fold: Fold, watch: Watch) -> Fitted:
        lanes = [lane_of_main(fold, main, *entry) for entry in grid]
        if not first.by_target:  # it knows no labels, so no delay
            lanes = [replace(lane, l2=0.0, delay=0) for lane in lanes]
        parts = deal_parts(protocol, fold)
        trained = train(protocol, programs[0], lanes, fold, watch, "first ")
        held_out = [
            train(protocol, programs[0], lanes, without(fold, parts, p), watch, name)
            for p, name in enumerate(_names(protocol))
        ]
        given = gather_given(first, main, fold, parts, trained, held_out, measure)
        if warm_start:
            given["start"] = {k: trained.params[k] for k in needed_parts(main)}
        pairs = [
            (i, follower)
            for i, lane in enumerate(lanes)
            for target in ((lane.target,) if first.by_target else protocol.targets)
            for follower in second.lanes(fold, replace(lane, target=target))
        ]
        origin = np.array([i for i, _ in pairs])
        followers = [follower for _, follower in pairs]
        handed = jax.tree.map(lambda x: np.asarray(x)[origin], given)
        marked = mark_parts(fold, parts) if held_out else fold
        final = train(protocol, programs[1], followers, marked, watch, "second", handed)
        failed = np.any([stage.failed for stage in (trained, *held_out)], axis=0)
        final = final._replace(failed=final.failed | failed[origin])
        needed = (*needed_parts(main), FIRST)
        return collect(protocol, programs[1], followers, final, lambda main: needed)

    return fit


def reading(inner: Learner, main: str, first: First) -> Learner:
    """Lets a learner read [x; d] in place of x of its main modality.

    Its parameters are those of the learner; `FIRST`, {"estimator": of the first stage,
    "mean", "std": (D,)}; and where difficulty is out-of-fold `HELD_OUT`, the estimators
    of P parts. Both are frozen.
    """

    def read(params: Any, batch: Batch, steps: int | None) -> tuple[Any, Batch]:
        own = {k: v for k, v in params.items() if k not in (FIRST, HELD_OUT)}
        frozen = jax.lax.stop_gradient(
            {k: v for k, v in params.items() if k in (FIRST, HELD_OUT)}
        )
        x = batch.features[main]
        raw = first.estimate(frozen[FIRST]["estimator"], x, batch.mask, steps)
        if PART in batch.extras:
            raw = _of_part(
                lambda p: first.estimate(p, x, batch.mask, steps),
                frozen[HELD_OUT],
                batch.extras[PART],
            )
        difficulty = (raw - frozen[FIRST]["mean"]) / frozen[FIRST]["std"]
        joined = jnp.concatenate([x, difficulty * batch.mask[..., None]], axis=-1)
        return own, batch._replace(features={**batch.features, main: joined})

    def init(key: jax.Array, init_data: Any) -> Any:
        params = inner.init(key, None)
        start = init_data.get("start", {})
        warm = {k: jax.tree.map(_widen, params[k], v) for k, v in start.items()}
        return {
            **params,
            **warm,
            **{k: v for k, v in init_data.items() if k != "start"},
        }

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        return inner.loss(*read(params, batch, None), lane, epoch, hidden)

    def output(params: Any, batch: Batch, lane: LaneArrays) -> jax.Array:
        return inner.output(*read(params, batch, EVALUATION_STEPS), lane)

    def trains(lane: LaneArrays) -> dict[str, Any]:
        return {**inner.trains(lane), FIRST: False, HELD_OUT: False}

    return Learner(init, loss, output, trains)


def _widen(fresh: jax.Array, known: jax.Array) -> jax.Array:
    """Puts known values into the corner of an array that is as large or larger."""
    return fresh.at[tuple(slice(size) for size in known.shape)].set(known)


def _of_part(
    estimate: Callable[[Any], jax.Array], held_out: Any, part: jax.Array
) -> jax.Array:
    """Takes for each step the difficulty of the estimator that has not seen it."""
    each = jax.lax.map(estimate, held_out)
    taken: jax.Array = jnp.take_along_axis(each, part[None, ..., None], axis=0)[0]
    return taken


def mono_second(protocol: Protocol, main: str, first: First) -> Second:
    """Builds a second stage like the baseline, of one modality."""
    network = make_multi_head(
        {main: protocol.num_features[main] + first.size},
        {OUTPUT: protocol.num_outputs},
        protocol.architecture,
    )
    learner = make_network_learner(
        network, lambda batch: batch.features, task_objective(protocol.loss)
    )

    def lanes(fold: Fold, x: NeuralLane) -> list[NeuralLane]:
        return [lane_of_main(fold, x.main, x.target, x.seed, x.setting)]

    return Second(learner, lanes, 1)


# ---- parts of train, by speaker -----------------------------------------------------


def _names(protocol: Protocol) -> list[str]:
    """Names the stages that leave a part out."""
    return [f"part {p} " for p in range(protocol.systems.out_of_fold)]


def deal_parts(protocol: Protocol, fold: Fold) -> np.ndarray:
    """Deals the speakers of train out to parts: (N,) int, of each sequence.

    Raises:
      UnsuitedError: there are fewer speakers than parts.
      ValueError: it is not known which recordings the sequences are windows of.
    """
    parts = np.zeros(len(fold.train.mask), np.int32)
    if not protocol.systems.out_of_fold:
        return parts
    speakers, ranks = np.unique(fold.speakers, return_inverse=True)
    if len(speakers) < protocol.systems.out_of_fold:
        raise UnsuitedError(
            f"systems.out_of_fold is {protocol.systems.out_of_fold}, but train has "
            f"{len(speakers)} speakers only"
        )
    dealt = (ranks % protocol.systems.out_of_fold)[fold.cut_from()[:, 0]]
    parts[: len(dealt)] = dealt
    return parts


def without(fold: Fold, parts: np.ndarray, part: int) -> Fold:
    """Hides a part of train: its steps do not exist."""
    stays = (parts != part).astype(np.float32)[:, None]
    batch = fold.train
    hidden = batch._replace(mask=batch.mask * stays, labelled=batch.labelled * stays)
    return replace(fold, train=hidden)


def mark_parts(fold: Fold, parts: np.ndarray) -> Fold:
    """Puts the part of each sequence beside its labels, for each target."""
    shape = np.shape(fold.train.labels)
    return with_extras(fold, {PART: np.broadcast_to(parts[:, None, None], shape)})


# ---- statistics ---------------------------------------------------------------------

Measure = Callable[[Any, Any, Any], tuple[Any, Any]]


def make_measure(estimate: Estimate, batch_size: int) -> Measure:
    """Builds (params, x (N, T, F), mask (N, T)) -> sums of d and of d^2, (L, D) each.

    The difficulty of all sequences is never held at once.
    """

    @jax.jit
    def measure(params: Any, x: jax.Array, mask: jax.Array) -> tuple[Any, Any]:
        def of_lane(params: Any) -> tuple[jax.Array, jax.Array]:
            def of_sequence(inputs: Any) -> tuple[jax.Array, jax.Array]:
                x, mask = (value[None] for value in inputs)
                values = estimate(params, x, mask, None) * mask[..., None]
                return jnp.sum(values, (0, 1)), jnp.sum(jnp.square(values), (0, 1))

            sums = jax.lax.map(of_sequence, (x, mask), batch_size=batch_size)
            return jnp.sum(sums[0], axis=0), jnp.sum(sums[1], axis=0)

        return jax.lax.map(of_lane, params)

    return measure


def gather_given(
    first: First,
    main: str,
    fold: Fold,
    parts: np.ndarray,
    trained: Trained,
    held_out: Sequence[Trained],
    measure: Measure,
) -> dict[str, Any]:
    """Gathers what second stages are handed: estimators and statistics, L in front."""

    def estimator(stage: Trained) -> Any:
        return {k: stage.params[k] for k in first.parts}

    batch, sums, squares = fold.train, np.zeros(()), np.zeros(())
    for part, stage in enumerate(held_out or [trained]):
        mine = batch.mask * (parts == part)[:, None].astype(np.float32)
        found = measure(estimator(stage), batch.features[main], mine)
        sums = sums + np.asarray(found[0], np.float64)
        squares = squares + np.asarray(found[1], np.float64)
    count = np.sum(batch.mask)
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
