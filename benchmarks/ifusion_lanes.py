"""The sweep as this package runs it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from workloads import MODALITIES, BenchmarkLane, Data, Workload, draw_data

from ifusion.core import ImplicitFusion
from ifusion.lanes import LaneArrays
from ifusion.losses import cross_entropy, squared_error
from ifusion.models.architecture import Architecture
from ifusion.models.native_gru import choose_instructions
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import NeuralLane, joint_weights, lane_arrays
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.options import TrainingOptions
from ifusion.training.schedule import deal
from ifusion.training.sets import one_set
from ifusion.training.stream import train_epoch
from ifusion.training.sweep import Sweep, build_sweep


def make_model(workload: Workload) -> ImplicitFusion:
    """Builds the network of a workload."""
    layers = workload.layers
    recurrent = workload.steps > 1
    sizes = Architecture(layers, layers, workload.hidden_size, recurrent)
    return ImplicitFusion(MODALITIES, workload.outputs, sizes)


def make_batch(data: Data) -> Batch:
    """Puts a partition on the device."""
    exists = jnp.ones(data.labels.shape, jnp.float32)
    features = dict(zip(MODALITIES, map(jnp.asarray, data.features), strict=True))
    return Batch(features, exists, jnp.asarray(data.labels)[..., None], exists)


class Prepared(NamedTuple):
    """A sweep, and what it trains on.

    Attributes:
      sweep: the programs.
      lanes: padded to a multiple of the devices.
      going: (L,), False for the padding.
      train: sequences.
      dev: sequences.
    """

    sweep: Sweep
    lanes: LaneArrays
    going: np.ndarray
    train: Batch
    dev: Batch


def prepare(
    workload: Workload, lanes: Sequence[BenchmarkLane], native: str
) -> Prepared:
    """Builds the sweep over all devices, its layers in C++ or in JAX."""
    loss = squared_error if workload.outputs == 1 else cross_entropy
    options = TrainingOptions(
        epochs=10**6, patience=10**6, batch_size=workload.batch_size
    )
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lanes",))
    sweep = build_sweep(
        make_implicit_fusion(
            make_model(workload),
            dict(zip(MODALITIES, workload.features, strict=True)),
            loss,
        ),
        lambda *arguments: -loss(*arguments),
        options,
        mesh,
        native=choose_instructions(native, jax.devices()[0].platform),
    )
    padding = -len(lanes) % sweep.width
    runs = [
        NeuralLane(x.main, "y", 0, joint_weights(MODALITIES, x.main, x.alpha))
        for x in [*lanes, *lanes[:1] * padding]
    ]
    order = deal(len(runs), sweep)
    arrays = lane_arrays([runs[i] for i in order], MODALITIES, ("y",))
    going = order < len(lanes)
    return Prepared(sweep, arrays, going, *map(make_batch, draw_data(workload)))


def make_epoch(
    workload: Workload, lanes: Sequence[BenchmarkLane], cores: int, native: str
) -> Callable[[], None]:
    """Prepares the sweep; on a CPU every core is a device."""
    jax.config.update("jax_num_cpu_devices", cores)
    sweep, arrays, going, train, dev = prepare(workload, lanes, native)
    sets = one_set(len(going), workload.train, workload.train)
    held, placed = [sweep.init(arrays)], jax.device_put(arrays, sweep.sharding)
    number = iter(range(1, 10**6))

    def epoch() -> None:
        state, _ = train_epoch(
            sweep,
            held.pop(),
            placed,
            arrays.seed,
            going,
            next(number),
            sets,
            train,
            dev,
        )
        held.append(jax.block_until_ready(state))

    return epoch
