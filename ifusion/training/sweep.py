"""All lanes of a sweep as one jitted program.

A lane is one training run, and all that sets it apart is data: the weights of the
joint loss, the modality it is evaluated on, its seed. Lanes of one seed share initial
weights, minibatch order and input noise, so they differ in alpha alone.

The program shards the lanes over the devices, goes through those of a device in groups,
and runs the lanes of a group side by side (vmap). A group is everything on an
accelerator; on a CPU it is one lane, whose parameters and moments then stay in the
cache for a whole epoch instead of streaming through memory at every step. Where the
states of all lanes are too much to hold, they are trained in chunks, one after another.

Axes: L lanes, N sequences, B batch, T time, O outputs, W windows of a recording.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ifusion.preprocessing.sequences import Batch
from ifusion.training.dev_score import DevScore
from ifusion.training.epoch import (
    LaneState,
    Metrics,
    make_lane_epoch,
    only_if,
    stopped,
)
from ifusion.training.lanes import LaneArrays
from ifusion.training.learner import Learner
from ifusion.training.options import TrainingOptions
from ifusion.training.step import init_state


@dataclass(frozen=True)
class Sweep:
    """The compiled program of a sweep.

    Attributes:
      init: (LaneArrays, init_data) -> LaneState, each leaf with L in front; init_data is what
        the learner is handed for each lane, None by default.
      epoch: (LaneState, LaneArrays, epoch, num_sequences, train, dev) -> (LaneState,
        metrics {name: (L,)}), the state donated; epochs count from 1; only the first
        num_sequences sequences of train (recordings where state is carried over their
        windows) exist, the rest is room. Metrics are the joint loss, the parts that the
        learner tells of, and dev_score; NaN for a lane that has stopped.
      orders: (seeds (S,), epoch, num_sequences, N) -> (S, steps, B) int32, the
        sequences of each minibatch, -1 where none is left.
      advance: (LaneState, LaneArrays, going (L,) bool, order (L, k, B), epoch, first,
        data) -> (LaneState, losses), a part of an epoch as `LaneEpoch` has it; lanes
        that do not go on are left alone.
      judge: (LaneState, LaneArrays, going, losses {name: (L, steps)}, epoch, dev) ->
        (LaneState, metrics), the end of an epoch.
      sharding: of every leaf of LaneState, over L.
      width: L must be a multiple of it.
      chunk: lanes that fit the memory at once, None for all; a multiple of `width`.
    """

    init: Callable[..., LaneState]
    epoch: Callable[..., tuple[LaneState, Metrics]]
    orders: Callable[..., jax.Array]
    advance: Callable[..., tuple[LaneState, Metrics]]
    judge: Callable[..., tuple[LaneState, Metrics]]
    sharding: NamedSharding
    width: int
    chunk: int | None = None


def make_sweep(
    learner: Learner,
    dev_score: DevScore,
    options: TrainingOptions,
    mesh: Mesh,
    group: int = 1,
    windows: int = 1,
    chunk: int | None = None,
) -> Sweep:
    """Builds the program that trains all lanes.

    Args:
      learner: what is trained.
      dev_score: (outputs (N, T, O), labels, mask) -> (), the higher the better; decides
        which epoch is kept.
      options: shared by all lanes.
      mesh: devices, of one axis "lanes".
      group: lanes that a device runs side by side.
      windows: W; with more than 1, train holds the windows of each recording one after
        another, a minibatch goes through those of its recordings in order of time, and
        the hidden state is carried along.
      chunk: lanes that are held at once, None for all.

    Raises:
      ValueError: chunk is no multiple of the lanes that run side by side, or the
        learner has no state to carry.
    """
    if windows > 1 and learner.begin is None:
        raise ValueError("training.carry: this learner has no state to carry")
    width = mesh.devices.size * group
    if chunk is not None and chunk % width:
        raise ValueError(f"a chunk of {chunk} lanes is no multiple of {width}")
    optimizer = optax.adam(options.learning_rate)  # Sec. 4.2
    parts = make_lane_epoch(learner, optimizer, dev_score, options, windows)

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
        return jax.lax.map(init_lane, (lanes, init_data))

    def whole_epoch(
        state: LaneState,
        lane: LaneArrays,
        epoch: jax.Array,
        num_sequences: jax.Array,
        train: Batch,
        dev: Batch,
    ) -> tuple[LaneState, Metrics]:
        order = parts.order(lane.seed, epoch, num_sequences, len(train.mask))
        state, losses = parts.advance(state, lane, epoch, 0, order, train)
        return parts.judge(state, lane, epoch, losses, dev)

    def epoch(
        state: LaneState, lane: LaneArrays, epoch: jax.Array, *arguments: Any
    ) -> tuple[LaneState, Metrics]:
        going = ~stopped(state, epoch, options.patience)
        return only_if(going, whole_epoch, state, lane, epoch, *arguments)

    def advance(
        state: LaneState,
        lane: LaneArrays,
        going: jax.Array,
        order: jax.Array,
        epoch: jax.Array,
        first: jax.Array,
        data: Batch,
    ) -> tuple[LaneState, Metrics]:
        change = parts.advance
        return only_if(going, change, state, lane, epoch, first, order, data)

    def judge(
        state: LaneState,
        lane: LaneArrays,
        going: jax.Array,
        losses: Metrics,
        epoch: jax.Array,
        dev: Batch,
    ) -> tuple[LaneState, Metrics]:
        return only_if(going, parts.judge, state, lane, epoch, losses, dev)

    @partial(jax.jit, static_argnums=3)
    def orders(
        seeds: jax.Array, epoch: jax.Array, num_sequences: jax.Array, capacity: int
    ) -> jax.Array:
        return jax.vmap(parts.order, (0, None, None, None))(
            seeds, epoch, num_sequences, capacity
        )

    sharding = NamedSharding(mesh, PartitionSpec("lanes"))
    return Sweep(
        jax.jit(init, out_shardings=sharding),
        _over_lanes(epoch, mesh, group, by_lane=1, shared=4),
        orders,
        _over_lanes(advance, mesh, group, by_lane=3, shared=3),
        _over_lanes(judge, mesh, group, by_lane=3, shared=2),
        sharding,
        width,
        chunk,
    )


def build_sweep(
    learner: Learner,
    dev_score: DevScore,
    options: TrainingOptions,
    mesh: Mesh,
    *,
    num_features: Mapping[str, int],
    capacity: Mapping[str, tuple[int, ...]],
    num_lanes: int,
    memory: float | None = None,
    windows: int = 1,
    block_bytes: int = 0,
    init_data: Any = None,
    frozen: Any = None,
) -> Sweep:
    """Makes the sweep of a learner, all of whose lanes are held at once."""
    count = mesh.devices.size
    return make_sweep(
        learner, dev_score, options, mesh, 1, windows, num_lanes + -num_lanes % count
    )


def _over_lanes(
    one: Callable[..., tuple[LaneState, Metrics]],
    mesh: Mesh,
    group: int,
    by_lane: int,
    shared: int,
) -> Callable[..., tuple[LaneState, Metrics]]:
    """Runs a function of one lane for all: sharded, in groups, side by side.

    Args:
      one: (state, arguments by lane, shared arguments) -> (state, metrics).
      mesh: devices.
      group: lanes that a device runs side by side.
      by_lane: how many arguments differ from lane to lane.
      shared: how many do not.

    Returns:
      The jitted program: L in front of the state, which is donated, and of all that
      differs.
    """

    def run(state: LaneState, *arguments: Any) -> Any:
        differing, common = arguments[:by_lane], arguments[by_lane:]

        def split(x: jax.Array) -> jax.Array:
            return x.reshape(-1, group, *x.shape[1:]) if group > 1 else x

        def merge(x: jax.Array) -> jax.Array:
            return x.reshape(-1, *x.shape[2:]) if group > 1 else x

        def together(state: LaneState, *differing: Any) -> Any:
            def bound(state: LaneState, *differing: Any) -> Any:
                return one(state, *differing, *common)

            return (jax.vmap(bound) if group > 1 else bound)(state, *differing)

        # The states are changed in place, where a map would hold old and new ones.
        def body(states: LaneState, inputs: tuple[jax.Array, Any]) -> Any:
            i, differing = inputs
            state, metrics = together(jax.tree.map(lambda x: x[i], states), *differing)
            return jax.tree.map(lambda x, new: x.at[i].set(new), states, state), metrics

        states, differing = jax.tree.map(split, (state, differing))
        numbers = jnp.arange(len(jax.tree.leaves(differing)[0]))
        return jax.tree.map(merge, jax.lax.scan(body, states, (numbers, differing)))

    run.__name__ = one.__name__  # what profiles and logs call the program
    lanes, everywhere = PartitionSpec("lanes"), PartitionSpec()
    program = jax.shard_map(
        run,
        mesh=mesh,
        in_specs=(lanes, *[lanes] * by_lane, *[everywhere] * shared),
        out_specs=lanes,
        check_vma=False,  # lanes never meet: there is nothing to replicate
    )
    return jax.jit(program, donate_argnums=0)
