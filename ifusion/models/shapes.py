"""Shapes of the parameters of networks, in closed form and without JAX.

Parameters are named by their path in the nested dict, "shared/gru_0/bias".

Axes: F features of an input, H hidden units, I inputs, O outputs of a head.
"""

from collections.abc import Mapping

from ifusion.models.architecture import Architecture
from ifusion.models.network import OUTPUT, POOLING, branch_name

Shapes = dict[str, tuple[int, ...]]


def recurrent_shapes(
    num_inputs: Mapping[str, int], heads: Mapping[str, int], sizes: Architecture
) -> Shapes:
    """Lists the parameters of `models.multi_head.make_multi_head`.

    Args:
      num_inputs: {input: F}.
      heads: {task: O}.
      sizes: of the layers.
    """
    hidden = sizes.hidden_size
    shapes: Shapes = {}
    for name, size in num_inputs.items():
        shapes |= _stack(branch_name(name), size, sizes.branch_layers, sizes)
    joined = len(num_inputs) * hidden
    shapes |= _stack("shared", joined, sizes.shared_layers, sizes)
    if sizes.pooling == "attention":
        shapes[f"{POOLING}/query"] = (hidden,)
    for name, size in heads.items():
        shapes |= _dense(name, hidden, size)
    return shapes


def feed_forward_shapes(
    num_features: int, num_layers: int, hidden_size: int, num_outputs: int
) -> Shapes:
    """Lists the parameters of `models.feed_forward.FeedForward`."""
    shapes: Shapes = {}
    sizes = (num_features, *[hidden_size] * num_layers)
    for i in range(num_layers):
        shapes |= _dense(f"hidden_{i}", sizes[i], hidden_size)
    return shapes | _dense(OUTPUT, sizes[-1], num_outputs)


def convolution_shapes(
    num_features: int, num_layers: int, hidden_size: int, width: int, num_outputs: int
) -> Shapes:
    """Lists the parameters of `models.feed_forward.Convolution`."""
    shapes = feed_forward_shapes(num_features, num_layers, hidden_size, num_outputs)
    for i in range(num_layers):
        shapes[f"hidden_{i}/kernel"] = (width, *shapes[f"hidden_{i}/kernel"])
    return shapes


def _stack(
    name: str, num_features: int, num_layers: int, sizes: Architecture
) -> Shapes:
    """Lists the parameters of a `models.gru.GRUStack`."""
    hidden, shapes = sizes.hidden_size, Shapes()
    for i in range(num_layers):
        layer = f"{name}/gru_{i}"
        shapes[f"{layer}/input/weight"] = (3 * hidden, hidden if i else num_features)
        shapes[f"{layer}/input/bias"] = (3 * hidden,)
        shapes[f"{layer}/bias"] = (hidden,)
        if sizes.recurrent:
            shapes[f"{layer}/kernel"] = (hidden, 3 * hidden)
    return shapes


def _dense(name: str, num_inputs: int, num_outputs: int) -> Shapes:
    return {
        f"{name}/kernel": (num_inputs, num_outputs),
        f"{name}/bias": (num_outputs,),
    }
