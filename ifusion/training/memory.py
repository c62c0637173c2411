"""How many lanes fit side by side: bytes counted from shapes before anything is run.

Axes: L lanes, N sequences, B batch, T time, M modalities, F features, H hidden units.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from ifusion.models.implicit import ImplicitFusion, init_params
from ifusion.training.options import TrainingOptions

FLOAT = 4
STATE_COPIES = 4  # parameters, two moments of Adam, the best so far
EVALUATION_STEPS = 512  # of a recording on dev whose layers are held at once
STEP_COPIES = 3  # gradients, and the state as it was and as it will be


def parameter_bytes(model: ImplicitFusion, num_features: Mapping[str, int]) -> int:
    """Counts the bytes of one lane's parameters in float32."""
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0), num_features))
    return FLOAT * sum(leaf.size for leaf in jax.tree.leaves(shapes))


def lane_bytes(
    model: ImplicitFusion,
    num_features: Mapping[str, int],
    batch_size: int,
    train_steps: int,
    dev_shape: tuple[int, int],
) -> int:
    """Estimates what one lane needs while it runs, beyond its stored state.

    A GRU layer keeps about ten (B, T, H) arrays for its backward pass: the input
    products of three gates, the gates, the candidate, its product and the state. On dev
    the forward pass alone is kept, layer by layer, of `EVALUATION_STEPS` at a time.

    Args:
      model: the network.
      num_features: {m: F_m}.
      batch_size: B.
      train_steps: T in training.
      dev_shape: (N, T) of the dev partition.
    """
    sizes = model.architecture
    layers = sizes.branch_layers + sizes.shared_layers
    width = sum(num_features.values()) + 10 * layers * len(num_features) * (
        sizes.hidden_size
    )
    training = FLOAT * batch_size * train_steps * width
    sequences, steps = dev_shape
    held = min(steps, EVALUATION_STEPS) * 8 * sizes.hidden_size
    outputs = 2 * steps * model.num_outputs
    dev = FLOAT * sequences * len(num_features) * (held + outputs)
    parameters = parameter_bytes(model, num_features)
    return STEP_COPIES * parameters + max(training, dev)


class Schedule(NamedTuple):
    """How lanes share the devices.

    Attributes:
      group: lanes that a device runs side by side.
      chunk: lanes of one call of the program, all devices together, that are trained to
        their end before the next begin.
    """

    group: int
    chunk: int


def choose_schedule(
    model: ImplicitFusion,
    num_features: Mapping[str, int],
    options: TrainingOptions,
    capacity: Mapping[str, tuple[int, ...]],
    num_lanes: int,
    mesh: Mesh,
    budget: float | None = None,
    block: float = 0,
) -> Schedule:
    """Chooses how many lanes run side by side, and how many are held at once.

    On a CPU one runs at a time: its parameters then stay in the cache for a whole
    epoch. On an accelerator as many as fit. All lanes are held, unless their states are
    too much beside the data: then as many as fit.

    Args:
      model: the network.
      num_features: {m: F_m}.
      options: of training.
      capacity: {"train" | "dev": (N, ..., T)}.
      num_lanes: L, all lanes of the sweep.
      mesh: the devices they are spread over.
      budget: [byte] for a device; its own memory by default.
      block: [byte] of train that is read at once; 0 = all of it is held.

    Raises:
      ValueError: not even one lane fits the budget.
    """
    device, count = mesh.devices.flat[0], mesh.devices.size
    stats = device.memory_stats() or {}
    limit = budget if budget is not None else stats.get("bytes_limit", float("inf"))
    width = sum(num_features.values())
    held = [shape for name, shape in capacity.items() if name != "train" or not block]
    data = FLOAT * width * sum(math.prod(shape) for shape in held) + 2 * block
    (dev, *_, dev_steps), train_steps = capacity["dev"], capacity["train"][-1]
    runs = lane_bytes(
        model, num_features, options.batch_size, train_steps, (dev, dev_steps)
    )
    waits = STATE_COPIES * parameter_bytes(model, num_features)
    if limit < data + waits + runs:
        raise ValueError(
            f"sweep.memory_gib: data and one lane on each of {count} devices need "
            f"about {_in_words(data + waits + runs)} a device; use a smaller "
            "training.batch_size, or in sweep.py sweep.block_mib if train is large"
        )
    share, free = -(-num_lanes // count), limit - data
    if device.platform == "cpu":
        return Schedule(1, count * int(min(share, (free - runs) // waits)))
    if share * waits + runs <= free:
        group = int(min(share, (free - share * waits) // runs))
        return Schedule(group, count * (share + -share % group))
    group = int(free // (waits + runs))
    return Schedule(group, count * group)


def _in_words(size: float) -> str:
    """A number of bytes, "1.25 GiB" or, below one, "12.3 MiB"."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
