"""How many lanes fit side by side: bytes counted from shapes before anything is run.

Axes: L lanes, N sequences, B batch, T time, M modalities, F features, H hidden units.
"""

import math
from collections.abc import Mapping

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


def choose_group(
    model: ImplicitFusion,
    num_features: Mapping[str, int],
    options: TrainingOptions,
    capacity: Mapping[str, tuple[int, ...]],
    num_lanes: int,
    mesh: Mesh,
    budget: float | None = None,
) -> int:
    """Chooses how many lanes a device runs side by side.

    On a CPU one: its parameters then stay in the cache for a whole epoch. On an
    accelerator as many as fit.

    Args:
      model: the network.
      num_features: {m: F_m}.
      options: of training.
      capacity: {"train" | "dev": (N, ..., T)}.
      num_lanes: L, all lanes of the sweep.
      mesh: the devices they are spread over.
      budget: [byte] for a device; its own memory by default.

    Raises:
      ValueError: not even one lane at a time fits the budget.
    """
    device = mesh.devices.flat[0]
    share = -(-num_lanes // mesh.devices.size)
    stats = device.memory_stats() or {}
    free = budget if budget is not None else stats.get("bytes_limit", float("inf"))
    limit = free
    free -= share * STATE_COPIES * parameter_bytes(model, num_features)
    width = sum(num_features.values())
    free -= FLOAT * width * sum(math.prod(shape) for shape in capacity.values())
    (dev, *_, dev_steps), train_steps = capacity["dev"], capacity["train"][-1]
    shape = (dev, dev_steps)
    each = lane_bytes(model, num_features, options.batch_size, train_steps, shape)
    if free < each:
        needed = (each - free + limit) / 2**30
        raise ValueError(
            f"sweep.memory_gib: {num_lanes} lanes on {mesh.devices.size} devices need "
            f"about {needed:.2f} GiB a device even one at a time; use fewer lanes or a "
            "smaller training.batch_size"
        )
    return 1 if device.platform == "cpu" else int(min(share, free // each))
