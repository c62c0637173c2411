"""A predictor as StableHLO; JAX runs it, `jax.export.deserialize(data).call`.

Axes: M members, N recordings, T frames, R utterances, F features, W steps of a window.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from ifusion.adjustments import Adjustment
from ifusion.inference.predictor import Member, Predictor
from ifusion.inference.running import run_chain, stack, zero_state
from ifusion.inference.standardising import require_whole, split_statistics

PLATFORMS = ("cpu", "cuda", "tpu")


def make_stablehlo(predictor: Predictor) -> bytes:
    """Serialises a predictor for any number of recordings and frames.

    It takes (R, F) for utterances, otherwise (N, T, F), and returns {"probabilities":
    (..., K)} or {target: (...)}, without T if a recording has one answer.

    Raises:
      ValueError: the system is not a chain of layers.
    """
    require_whole(predictor)
    function = jax.jit(make_function(predictor))
    (main,) = predictor.features  # a chain has one
    free = "recordings, frames" if predictor.of_many_rows else "utterances"
    shape = export.symbolic_shape(f"{free}, {len(predictor.features[main])}")
    argument = jax.ShapeDtypeStruct(shape, jnp.float32)
    exported = export.export(function, platforms=PLATFORMS)(argument)
    return bytes(exported.serialize())


def make_function(predictor: Predictor) -> Callable[[Any], dict[str, Any]]:
    """Builds the pure function of raw features that `make_stablehlo` serialises."""
    chains, members = predictor.chains, predictor.members
    stacked = stack(chains)
    (main,) = predictor.features

    def predict(x: Any) -> dict[str, Any]:
        if not predictor.of_many_rows:
            x = x[:, None]
        inputs = jnp.stack([_standardise(member, main, x) for member in members])
        state = jax.vmap(lambda chain: zero_state(chain, x.shape[0]))(stacked)
        outputs = jax.vmap(run_chain)(stacked, inputs, state)[0]
        if predictor.frames:
            outputs = outputs[:, :, -1:]
        if predictor.classes:
            means = {"probabilities": jax.nn.softmax(outputs).mean(0)}
        else:
            found: dict[str, list[Any]] = {target: [] for target in predictor.targets}
            for member, output in zip(members, outputs, strict=True):
                found[member.target].append(_process(member, output[..., 0]))
            means = {target: sum(own) / len(own) for target, own in found.items()}
        return means if predictor.over_time else {k: v[:, 0] for k, v in means.items()}

    return predict


def _standardise(member: Member, main: str, x: Any) -> Any:
    found = split_statistics(member.statistics[main])
    if found.low is not None:
        x = jnp.clip(x, found.low, found.high)
    return jnp.nan_to_num((x - found.mean - found.rest) * found.scale, nan=0.0)


def _process(member: Member, values: Any) -> Any:
    """Post-processes (N, T)."""
    mean, std = member.scale
    values = values * std + mean
    for step in member.steps:
        values = _apply(values, step)
    return values


def _apply(values: Any, step: Adjustment) -> Any:
    if step.step == "centre":
        return values + step.value
    if step.step == "scale":
        return step.pivot + step.value * (values - step.pivot)
    window = int(step.value) if step.step == "median" else 1
    offsets = (
        np.arange(window) - window // 2 if step.step == "median" else -int(step.value)
    )
    last = values.shape[1] - 1
    places = jnp.arange(values.shape[1])[:, None] + jnp.atleast_1d(offsets)
    around = values[:, jnp.clip(places, 0, last)]  # (N, T, W)
    return jnp.sort(around, axis=-1)[..., window // 2]
