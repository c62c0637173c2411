"""Runs chains of layers in JAX, all members of a predictor at once, carrying state.

Axes: M members, N sequences, T time, F features, H hidden units, O outputs.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.inference.predictor import Predictor
from ifusion.models.pooling import LOWEST, Sums
from ifusion.systems import chains as blocks
from ifusion.systems.catalogue import find_systems
from ifusion.systems.chains import Chain, chain_of
from ifusion.systems.problem import make_problem

# (N, H) of each GRU layer and the sums of each pooling, in the order of the chain
State = tuple[Any, ...]
TOLERANCE = 1e-4  # between the outputs of a chain and of its system


def chains_of(predictor: Predictor) -> tuple[Chain, ...]:
    """Describes each member as a chain, and checks that it computes the same.

    Raises:
      ValueError: if the system is not a chain, or its chain computes something else.
    """
    (system,) = find_systems([predictor.system])
    problem, main = make_problem(predictor.problem), predictor.main
    if predictor.frames == "functionals":
        raise ValueError(
            f"{predictor.system} is not a chain of layers: it reads means and "
            "deviations of frames"
        )
    chains = tuple(
        chain_of(system, problem, main, member.params) for member in predictor.members
    )
    size = len(predictor.features[main])
    steps = 5 if predictor.of_many_rows else 1
    x = np.random.default_rng(0).standard_normal((2, steps, size)).astype(np.float32)
    for member, chain in zip(predictor.members, chains, strict=True):
        own = predictor.run(member.params, {main: x}, np.ones(x.shape[:2], np.float32))
        found = np.asarray(jax.jit(run_chain)(chain, x, zero_state(chain, len(x)))[0])
        found = found[:, -1:] if predictor.frames else found
        same = own.shape == found.shape
        worst = float(np.abs(own - found).max()) if same else np.inf
        if not worst < TOLERANCE * max(1.0, float(np.abs(own).max())):
            raise ValueError(
                f"{predictor.system} cannot be run layer by layer: the outputs of its "
                f"layers differ from its own by {worst:.2g}"
            )
    return chains


def stack(chains: Sequence[Chain]) -> Chain:
    """Stacks chains of equal shapes: M in front of each array."""
    stacked: Chain = jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *chains)
    return stacked


def zero_state(chain: Chain, sequences: int) -> State:
    """Returns the state before the first step."""
    states: list[Any] = []
    for block in chain:
        if isinstance(block, blocks.AppendDifficulty):
            states += zero_state(block.estimator, sequences)
        elif isinstance(block, blocks.Gru):
            states.append(jnp.zeros((sequences, len(block.recurrent_bias))))
        elif isinstance(block, blocks.Pool) and block.query is not None:
            zeros = jnp.zeros((sequences,))
            sums = jnp.zeros((sequences, len(block.query)))
            states.append(Sums(sums, zeros, zeros + LOWEST))
    return tuple(states)


def run_chain(chain: Chain, x: Any, state: State) -> tuple[Any, State]:
    """Runs blocks in series: (N, T, F) -> (N, T, O), and the state at the end."""
    left, after = list(state), list[Any]()
    for block in chain:
        match block:
            case blocks.Dense(kernel, bias):
                x = x @ kernel + bias
            case blocks.Relu():
                x = jax.nn.relu(x)
            case blocks.Gru():
                x, last = _run_gru(block, x, left.pop(0))
                after.append(last)
            case blocks.Filters(kernel, bias):
                x = _filter(x, kernel) + bias
            case blocks.Pool(query) if query is not None:
                x, last = _pool(query, x, left.pop(0))
                after.append(last)
            case blocks.AppendDifficulty(estimator, mean, std, squared):
                count = len(zero_state(estimator, 1))
                mine, left = tuple(left[:count]), left[count:]
                estimate, last = run_chain(estimator, x, mine)
                after += last
                if len(squared):
                    estimate = jnp.square(x - estimate) @ squared.T
                x = jnp.concatenate([x, (estimate - mean) / std], axis=-1)
    return x, tuple(after)


def _run_gru(block: blocks.Gru, x: Any, hidden: Any) -> tuple[Any, Any]:
    gates = jnp.swapaxes(x @ block.weight.T + block.bias, 0, 1)

    def step(hidden: Any, inputs: Any) -> tuple[Any, Any]:
        x_r, x_z, x_n = jnp.split(inputs, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(hidden @ block.kernel, 3, axis=-1)
        update = jax.nn.sigmoid(x_z + h_z)
        reset = jax.nn.sigmoid(x_r + h_r)
        candidate = jnp.tanh(x_n + reset * (h_n + block.recurrent_bias))
        hidden = candidate + update * (hidden - candidate)
        return hidden, hidden

    last, outputs = jax.lax.scan(step, hidden, gates)
    return jnp.swapaxes(outputs, 0, 1), last


def _pool(query: Any, x: Any, sums: Sums) -> tuple[Any, Sums]:
    """Averages the steps so far, weighted by attention: (N, T, H)."""
    scores = x @ query / np.sqrt(len(query))

    def step(sums: Sums, inputs: Any) -> tuple[Sums, Any]:
        hidden, score = inputs
        peak = jnp.maximum(sums.peak, score)
        decay, weight = jnp.exp(sums.peak - peak), jnp.exp(score - peak)
        values = decay[:, None] * sums.values + weight[:, None] * hidden
        sums = Sums(values, decay * sums.weights + weight, peak)
        return sums, values / sums.weights[:, None]

    by_time = (jnp.swapaxes(x, 0, 1), jnp.swapaxes(scores, 0, 1))
    sums, means = jax.lax.scan(step, sums, by_time)
    return jnp.swapaxes(means, 0, 1), sums


def _filter(x: Any, kernel: Any) -> Any:
    around, steps = len(kernel) // 2, x.shape[1]
    padded = jnp.pad(x, ((0, 0), (around, around), (0, 0)))
    return sum(padded[:, i : i + steps] @ kernel[i] for i in range(len(kernel)))
