"""The sweep of this package, as its programs run it."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from workloads import MODALITIES, BenchmarkLane, Data, Workload, draw_data

from ifusion.core import ImplicitFusion
from ifusion.losses import cross_entropy, squared_error
from ifusion.models.architecture import Architecture
from ifusion.models.native_gru import choose_instructions
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import NeuralLane, joint_weights, lane_arrays
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.options import TrainingOptions
from ifusion.training.stream import train_epoch
from ifusion.training.sweep import build_sweep


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


def make_epoch(
    workload: Workload, lanes: Sequence[BenchmarkLane], cores: int, native: str
) -> Callable[[], None]:
    """Prepares the sweep with every core as a device, its layers in C++ or in JAX."""
    jax.config.update("jax_num_cpu_devices", cores)
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
        native=choose_instructions(native, "cpu"),
    )
    train, dev = map(make_batch, draw_data(workload))
    padding = -len(lanes) % sweep.width
    runs = [
        NeuralLane(x.main, "y", 0, joint_weights(MODALITIES, x.main, x.alpha))
        for x in [*lanes, *lanes[:1] * padding]
    ]
    arrays = lane_arrays(runs, MODALITIES, ("y",))
    held, placed = [sweep.init(arrays)], jax.device_put(arrays, sweep.sharding)
    going = np.arange(len(runs)) < len(lanes)
    number = iter(range(1, 10**6))

    def epoch() -> None:
        state, _ = train_epoch(
            sweep,
            held.pop(),
            placed,
            arrays.seed,
            going,
            next(number),
            workload.train,
            train,
            dev,
        )
        held.append(jax.block_until_ready(state))

    return epoch
