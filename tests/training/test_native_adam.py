import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ifusion.core import by_optimizer
from ifusion.models.native_gru import find_instructions
from ifusion.training.native_adam import by_native_adam

compiled = pytest.mark.skipif(not find_instructions(), reason="not compiled")
RATE, LANES = 1e-2, 3


def draw(lanes=()):
    """Parameters and gradients of two parts; 7 x 13 is no multiple of a vector."""
    rng = np.random.default_rng(0)
    shapes = {"a": {"kernel": (7, 13), "bias": (13,)}, "b": {"kernel": (40, 5)}}
    return [
        jax.tree.map(
            lambda shape: rng.standard_normal((*lanes, *shape)).astype(np.float32),
            shapes,
            is_leaf=lambda x: isinstance(x, tuple),
        )
        for _ in range(2)
    ]


def updated(change, l2, params, grads):
    """Parameters and state after three updates, of which part b takes none."""
    trained = {"b": jnp.array(False)}
    state, finite = optax.adam(RATE).init(params), []
    for _ in range(3):
        ok, apply = change(grads, params, state, l2, trained)
        params, state = apply()
        grads = jax.tree.map(jnp.cos, grads)
        finite.append(ok)
    return params, state, jnp.stack(finite)


@compiled
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_updates_equal_those_of_optax(l2):
    params, grads = draw()
    expected = jax.jit(lambda *x: updated(by_optimizer(optax.adam(RATE)), l2, *x))(
        params, grads
    )
    for instructions in find_instructions():
        change = by_native_adam(instructions, RATE)
        ours = jax.jit(lambda *x, change=change: updated(change, l2, *x))(params, grads)
        assert jax.tree.structure(ours) == jax.tree.structure(expected)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7),
            ours,
            expected,
        )
        np.testing.assert_array_equal(ours[0]["b"]["kernel"], params["b"]["kernel"])
        assert ours[2].all()


@compiled
def test_lanes_side_by_side_equal_each_alone():
    change = by_native_adam(find_instructions()[0], RATE)

    def run(l2, params, grads):
        return updated(change, l2, params, grads)

    params, grads = draw((LANES,))
    penalties = np.array([0.0, 0.1, 0.2], np.float32)
    together = jax.jit(jax.vmap(run))(penalties, params, grads)
    for i in range(LANES):
        own = jax.tree.map(lambda x, i=i: x[i], (penalties, params, grads))
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_array_equal(x[i], y),
            together,
            jax.jit(run)(*own),
        )


@compiled
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_seen(value):
    params, grads = draw()
    grads["a"]["kernel"][6, 12] = value
    for instructions in find_instructions():
        change = by_native_adam(instructions, RATE)
        state = optax.adam(RATE).init(params)
        assert not change(grads, params, state, 0.0, {})[0]
        assert change(grads, params, state, 0.0, {"a": jnp.array(False)})[0]


@compiled
def test_other_types_than_float32_are_left_to_optax():
    with jax.enable_x64(True):
        params, grads = jax.tree.map(lambda x: x.astype(np.float64), draw())
        change = by_native_adam(find_instructions()[0], RATE)
        ours = updated(change, 0.1, params, grads)
        expected = updated(by_optimizer(optax.adam(RATE)), 0.1, params, grads)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)
