"""All lanes of a sweep as jitted programs, sharded over devices.

How a device goes through its lanes depends on its kind, and is decided here alone:

- An accelerator runs them side by side (vmap): large products, and one loop over time.
- A CPU core runs them one after another (scan). The parameters and moments of one lane
  then stay in the cache for a whole epoch instead of streaming through memory at every
  update, and a branch that a lane does not need is not computed.

Axes: L lanes, R rows of L / R lanes of one seed, N sequences, B batch, U updates, W
windows of a recording.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ifusion.core import (
    TrainState,
    by_optimizer,
    init_state,
    make_train_epoch,
    make_train_step,
    over_lanes,
)
from ifusion.lanes import LaneArrays
from ifusion.models.native_gru import running_on
from ifusion.preprocessing.minibatches import (
    epoch_keys,
    length_order,
    minibatch_order,
    shift_back,
    take_batch,
    take_target,
    window_order,
)
from ifusion.preprocessing.ragged import Buckets
from ifusion.preprocessing.sequences import Batch
from ifusion.training.dev_score import DevScore
from ifusion.training.learner import Learner
from ifusion.training.native_adam import by_native_adam
from ifusion.training.options import TrainingOptions

Metrics = dict[str, jax.Array]
OfOneLane = Callable[..., tuple[Any, Any]]  # (state, lane, minibatches, *shared)
OfAllLanes = Callable[..., tuple[Any, Any]]  # the same, with going after lane


class LaneState(NamedTuple):
    """The training state of a lane, and its best epoch so far.

    Attributes:
      train: after the last update.
      best_params: those of the best dev score.
      best_score: (), -inf before the first epoch.
      best_epoch: (), int32, counted from 1; 0 before the first epoch.
    """

    train: TrainState
    best_params: Any
    best_score: jax.Array
    best_epoch: jax.Array


def stopped(state: LaneState, epoch: jax.Array | int, patience: int) -> jax.Array:
    """Returns, before `epoch`, whether a lane has diverged or run out of patience."""
    waits = epoch - 1 - state.best_epoch >= patience
    return waits | (state.train.failed_step >= 0)


@dataclass(frozen=True)
class Sweep:
    """The compiled programs of a sweep.

    Attributes:
      init: (LaneArrays, init_data) -> LaneState, each leaf with L in front; init_data
        are arrays that each lane starts from, None by default.
      orders: (seeds (S,), epoch, num_sequences, N, relative lengths (N,) or None) ->
        (S, U, B) int32, the sequences of each minibatch, -1 where none is left; of the
        N there is room for only the first num_sequences exist (recordings, where state
        is carried over their windows).
      advance: (TrainState, LaneArrays, going (L,) bool, (seeds (R,), order (R, k, B)),
        epoch, first, data) -> (TrainState, losses {name: (L, k)}), with L in front: the
        updates number `first` and following of an epoch by the sequences `order` of
        data. Epochs count from 1. The state is donated. Lanes that are not going stay
        as they are, their losses are NaN.
      score: (best, (LaneArrays, params), going, rows, epoch, dev) -> (best, dev score
        (L,)), where best are params, score and epoch of the best so far, donated; rows
        are the sequences of dev to score on, (R, n) of each bucket, or None for all.
      sharding: of every leaf of LaneState, over L.
      mesh: devices; L must be a multiple of them.
      memory: [byte] of a device to use; None = all that it reports.
      side_by_side: whether a device runs its lanes side by side, not one after another.
      chunk: the most lanes to hold at once; None = as many as fit.
    """

    init: Callable[..., LaneState]
    orders: Callable[..., jax.Array]
    advance: jax.stages.Wrapped
    score: jax.stages.Wrapped
    sharding: NamedSharding
    mesh: Mesh
    memory: float | None = None
    side_by_side: bool = True
    chunk: int | None = None

    @property
    def width(self) -> int:
        """The number of devices, of which L must be a multiple."""
        return int(self.mesh.devices.size)


def build_sweep(
    learner: Learner,
    dev_score: DevScore,
    options: TrainingOptions,
    mesh: Mesh,
    windows: int = 1,
    memory: float | None = None,
    side_by_side: bool | None = None,
    buckets: Buckets = (),
    native: str = "off",
) -> Sweep:
    """Builds the programs that train all lanes.

    Args:
      learner: what is trained.
      dev_score: (outputs (N, T, O), labels, mask) -> (), the higher the better; picks
        the epoch to keep.
      options: shared by all lanes.
      mesh: devices, of one axis "lanes".
      windows: W; with more than 1, train holds the windows of each recording one after
        another, a minibatch goes through those of its recordings in order of time, and
        the hidden state is carried along.
      memory: [byte] of a device to use; None = all that it reports.
      side_by_side: whether a device runs its lanes side by side; by default unless it
        is a CPU.
      buckets: shapes of minibatches, where modalities have steps of their own.
      native: the instruction set that layers run on, or "off"; see
        `models.native_gru`.

    Raises:
      ValueError: the learner has no state to carry.
    """
    if windows > 1 and learner.begin is None:
        raise ValueError("training.carry: this learner has no state to carry")
    if side_by_side is None:
        side_by_side = mesh.devices.flat[0].platform != "cpu"
    optimizer = optax.adam(options.learning_rate)  # Sec. 4.2
    change = (
        by_optimizer(optimizer)
        if native == "off"
        else by_native_adam(native, options.learning_rate)
    )
    train_step = make_train_step(learner.loss, change, learner.trains)
    train_epoch = make_train_epoch(train_step, options.input_noise, windows, buckets)
    score = _make_score(learner, dev_score, options.delay_scoring, buckets)

    def init_lane(inputs: tuple[LaneArrays, Any]) -> LaneState:
        lane, init_data = inputs
        key = jax.random.fold_in(jax.random.key(lane.seed), 0)  # epochs take 1, 2, ...
        params = learner.init(key, init_data)
        carried = learner.begin and windows > 1 and learner.begin(options.batch_size)
        state = init_state(params, optimizer, carried or None)
        return LaneState(
            state, params, jnp.full((), -jnp.inf, jnp.float32), jnp.zeros((), jnp.int32)
        )

    def init(lanes: LaneArrays, init_data: Any = None) -> Any:
        # One by one: the batched QR of orthogonal weights can deadlock jaxlib 0.10's
        # CPU thread pool.
        return jax.lax.map(init_lane, (lanes._replace(frozen=None), init_data))

    def running(run: OfAllLanes) -> OfAllLanes:
        def traced(*inputs: Any) -> tuple[Any, Any]:
            with running_on(native):
                return run(*inputs)

        return traced

    run_all = _side_by_side if side_by_side else _one_by_one
    sharding = NamedSharding(mesh, PartitionSpec("lanes"))
    return Sweep(
        jax.jit(init, out_shardings=sharding),
        _make_orders(options.batch_size, windows),
        _sharded(running(run_all(train_epoch)), "advance", mesh, shared=3),
        _sharded(running(run_all(score)), "score", mesh, shared=2),
        sharding,
        mesh,
        memory,
        side_by_side,
    )


def _make_orders(batch_size: int, windows: int) -> Callable[..., jax.Array]:
    """Makes `Sweep.orders`."""

    @partial(jax.jit, static_argnums=3)
    def orders(
        seeds: jax.Array,
        epoch: jax.Array,
        num_sequences: jax.Array,
        capacity: int,
        lengths: jax.Array | None = None,
    ) -> jax.Array:
        def order(seed: jax.Array) -> jax.Array:
            key, _ = epoch_keys(seed, epoch)
            drawn = minibatch_order(key, num_sequences, capacity // windows, batch_size)
            if lengths is not None:
                drawn = length_order(key, drawn, lengths)
            return window_order(drawn, windows)

        return jax.vmap(order)(seeds)

    return orders


def _make_score(
    learner: Learner, dev_score: DevScore, delay_scoring: str, buckets: Buckets
) -> OfOneLane:
    """Makes a function that scores a lane on dev and keeps its best epoch."""

    def score(
        best: Any, inputs: Any, rows: Any, epoch: jax.Array, dev: Batch
    ) -> tuple[Any, jax.Array]:
        (_, best_score, _), (lane, params) = best, inputs
        output, dev = _evaluate(learner, params, dev, lane, rows, buckets)
        if delay_scoring == "original":
            output = shift_back(output, lane.delay)
            dev = take_target(dev, lane.target, jnp.zeros_like(lane.delay))
        else:
            dev = take_target(dev, lane.target, lane.delay)
        value = dev_score(output, dev.labels, dev.labelled).astype(best_score.dtype)
        now = (params, value, jnp.asarray(epoch, jnp.int32))
        keep = partial(jnp.where, value > best_score)
        return jax.tree.map(keep, now, best), value

    return score


def _evaluate(
    learner: Learner,
    params: Any,
    data: Batch,
    lane: LaneArrays,
    rows: Any,
    buckets: Buckets,
) -> tuple[jax.Array, Batch]:
    """Predicts sequences, bucket by bucket if there are any.

    `rows` are those of each bucket, all by default.

    Returns:
      (N, T, O), and the batch with its labels in the same order, but none where a
      sequence lacks the main.
    """

    def answered(part: Batch) -> Batch:
        labelled = part.labelled * learner.has(part, lane)
        return part._replace(features={}, steps={}, labelled=labelled)

    if not buckets:
        data = take_batch(data, rows[0]) if rows else data
        return learner.output(params, data, lane), answered(data)
    assert data.lengths is not None
    pairs = zip(rows or data.lengths.groups, buckets, strict=True)
    parts = [take_batch(data, own, bucket) for own, bucket in pairs if len(own)]
    outputs = [learner.output(params, part, lane) for part in parts]
    joined: tuple[jax.Array, Batch] = jax.tree.map(
        lambda *x: jnp.concatenate(x), *zip(outputs, map(answered, parts), strict=True)
    )
    return joined


def _side_by_side(function: OfOneLane) -> OfAllLanes:
    """Vectorises a function of one lane over seeds, and over the lanes of each."""

    def run(
        states: Any, lanes: Any, going: Any, minibatches: Any, *shared: Any
    ) -> tuple[Any, Any]:
        rows = _count_rows(minibatches)

        def split(x: jax.Array) -> jax.Array:
            return x.reshape(rows, -1, *x.shape[1:])

        def merge(x: jax.Array) -> jax.Array:
            return x.reshape(-1, *x.shape[2:])

        def keep(new: jax.Array, old: Any) -> jax.Array:
            return jnp.where(going.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        split_inputs = jax.tree.map(split, (states, lanes))
        results = over_lanes(function)(*split_inputs, minibatches, *shared)
        new, metrics = jax.tree.map(merge, results)
        nothing = jax.tree.map(_nothing, metrics)
        return jax.tree.map(keep, (new, metrics), (states, nothing))

    return run


def _one_by_one(function: OfOneLane) -> OfAllLanes:
    """Scans a function of one lane over the lanes; those not going cost nothing."""

    def run(
        states: Any, lanes: Any, going: Any, minibatches: Any, *shared: Any
    ) -> tuple[Any, Any]:
        each = len(going) // _count_rows(minibatches)

        # The states are changed in place, where a map would hold old and new ones.
        def body(states: Any, i: jax.Array) -> tuple[Any, Any]:
            state, lane = jax.tree.map(lambda x: x[i], (states, lanes))
            mine = jax.tree.map(lambda x: x[i // each], minibatches)

            def go(state: Any) -> tuple[Any, Any]:
                return function(state, lane, mine, *shared)

            def skip(state: Any) -> tuple[Any, Any]:
                return state, jax.tree.map(_nothing, jax.eval_shape(go, state)[1])

            state, metrics = jax.lax.cond(going[i], go, skip, state)
            return jax.tree.map(lambda x, new: x.at[i].set(new), states, state), metrics

        return jax.lax.scan(body, states, jnp.arange(len(going)))

    return run


def _count_rows(minibatches: Any) -> int:
    return len(jax.tree.leaves(minibatches)[0]) if minibatches else 1


def _nothing(x: Any) -> jax.Array:
    return jnp.full(x.shape, jnp.nan, x.dtype)


def _sharded(run: OfAllLanes, name: str, mesh: Mesh, shared: int) -> jax.stages.Wrapped:
    """Compiles a function of all lanes with these spread over the devices."""
    lanes, everywhere = PartitionSpec("lanes"), PartitionSpec()
    run.__name__ = name  # what profiles and logs call the program
    program = jax.shard_map(
        run,
        mesh=mesh,
        in_specs=(*[lanes] * 4, *[everywhere] * shared),
        out_specs=lanes,
        check_vma=False,  # lanes never meet: there is nothing to replicate
    )
    return jax.jit(program, donate_argnums=0)
