from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ifusion.models.gru import GRULayer, GRUStack, gru, gru_reference

B, T, F, H = 3, 4, 5, 4
PRECISIONS = [
    pytest.param(np.float32, 1e-5, id="float32"),
    pytest.param(np.float64, 1e-10, id="float64"),
]
RIGHT_PADDED = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
RAGGED = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
STACK = GRUStack(2, H)


def features_of(dtype=np.float64):
    return np.random.default_rng(2).standard_normal((B, T, F)).astype(dtype)


def weights_of(mask, dtype=np.float64):
    weights = np.random.default_rng(3).standard_normal((B, T, H))
    return (weights * mask[..., None]).astype(dtype)


@pytest.fixture(scope="module")
def params_of(draw_like):
    def make(stack, dtype=np.float64):
        steps = T if stack.recurrent else 1
        arguments = jnp.zeros((1, steps, F)), jnp.ones((1, steps))
        shapes = jax.eval_shape(stack.init, jax.random.key(0), *arguments)
        return draw_like(shapes["params"], dtype)

    return make


@jax.jit
def weighted_sum(params, features, mask, weights):
    """The outputs, and the gradients of their weighted sum."""

    def loss(params, features):
        outputs, _ = STACK.apply({"params": params}, features, mask)
        return jnp.sum(outputs * weights), outputs

    (_, outputs), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        params, features
    )
    return outputs, *grads


def assert_close(tree, expected, tolerance):
    """Within the tolerance, absolute and relative."""
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance),
        tree,
        expected,
    )


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_values_and_gradients_equal_pytorch(reference, dtype, tolerance):
    inputs, expected = (part["stack"] for part in reference("gru", dtype))
    with jax.enable_x64(dtype == np.float64):
        outputs, grads, feature_grads = weighted_sum(**inputs)
    assert outputs.dtype == dtype
    exists = inputs["mask"] > 0
    assert_close(outputs[exists], expected["outputs"][exists], tolerance)
    assert_close(feature_grads, expected["feature_grads"], tolerance)
    assert_close(grads, expected["grads"], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_values_equal_a_numpy_loop_under_any_mask(
    params_of, numpy_stack, dtype, tolerance
):
    params, features, mask = params_of(STACK, dtype), features_of(dtype), RAGGED
    with jax.enable_x64(dtype == np.float64):
        outputs, _, _ = weighted_sum(
            params, features, mask.astype(dtype), weights_of(mask, dtype)
        )
    expected = numpy_stack(params, features, mask)
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


def test_gradients_equal_central_differences_of_a_numpy_loop(params_of, numpy_stack):
    params, features, weights = params_of(STACK), features_of(), weights_of(RAGGED)
    with jax.enable_x64(True):
        _, grads, _ = weighted_sum(params, features, RAGGED.astype(float), weights)
    leaves, rebuild = jax.tree.flatten(params)

    def moved_sum(i, change):
        moved = [x + change if i == j else x for j, x in enumerate(leaves)]
        outputs = numpy_stack(jax.tree.unflatten(rebuild, moved), features, RAGGED)
        return np.sum(outputs * weights)

    for i, grad in enumerate(jax.tree.leaves(grads)):
        direction = np.random.default_rng(i).standard_normal(grad.shape)
        step = 1e-5 * direction
        slope = (moved_sum(i, step) - moved_sum(i, -step)) / 2e-5
        ours = np.sum(np.asarray(grad) * direction)
        np.testing.assert_allclose(ours, slope, rtol=1e-7, atol=1e-8)


def test_padding_on_the_right_equals_the_sequence_without_it(params_of):
    params, mask = params_of(STACK), RIGHT_PADDED
    padded = np.where(mask[..., None] > 0, features_of(), 1e3)
    with jax.enable_x64(True):
        outputs, grads, input_grads = map(
            jax.device_get,
            weighted_sum(params, padded, mask.astype(float), weights_of(mask)),
        )
        alone, _ = jax.jit(STACK.apply)(
            {"params": params}, features_of()[1:2, :2], np.ones((1, 2))
        )
    np.testing.assert_allclose(outputs[1, :2], alone[0], atol=1e-12)
    # what is held is the last state, and nothing flows back into padding
    np.testing.assert_array_equal(outputs[1, 2:], outputs[1, [1, 1]])
    np.testing.assert_array_equal(outputs[2, 1:], outputs[2, [0, 0, 0]])
    assert not input_grads[mask == 0].any() and input_grads[mask > 0].all()
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grads))


def test_a_model_for_single_steps_equals_the_recurrent_one(params_of):
    single = GRUStack(2, H, recurrent=False)
    params = params_of(STACK)
    without = {
        name: {k: v for k, v in layer.items() if k != "kernel"}
        for name, layer in params.items()
    }
    assert jax.tree.structure(params_of(single)) == jax.tree.structure(without)
    features, mask = features_of()[:, :1], np.array([[1.0], [1.0], [0.0]])
    with jax.enable_x64(True):
        expected, _ = jax.jit(STACK.apply)({"params": params}, features, mask)
        outputs, _ = jax.jit(single.apply)({"params": without}, features, mask)
    np.testing.assert_allclose(outputs, expected, rtol=1e-15)
    assert np.all(np.asarray(outputs)[:2]) and not np.any(np.asarray(outputs)[2])


@pytest.mark.parametrize(
    ("steps", "initial", "sentence"),
    [(4, None, r"single steps.* 4 steps$"), (1, jnp.zeros((B, H)), "an initial state")],
)
def test_a_model_for_single_steps_refuses_a_past(steps, initial, sentence):
    gates, mask = (jnp.zeros((steps, B, H)),) * 3, jnp.ones((steps, B))
    with pytest.raises(ValueError, match=sentence):
        gru(gates, None, jnp.zeros(H), mask, initial)


# ---- the recurrence against its plain form -------------------------------------------


LANES = 4


def draw_arguments(steps, dtype, lanes=LANES):
    """Gates, W_h, b_n, mask (ragged, with holes) and initial state of some lanes."""
    rng = np.random.default_rng(steps)
    shapes = [(steps, B, 3 * H), (H, 3 * H), (H,), (steps, B), (B, H)]
    drawn = [rng.standard_normal((lanes, *shape)).astype(dtype) for shape in shapes]
    drawn[3] = (drawn[3] > -0.5).astype(dtype)
    return drawn


def pulled(function, gates, kernel, bias, mask, initial):
    """Outputs, and the gradients of a sum in which every output counts differently."""

    def loss(gates, kernel, bias, initial):
        split = jnp.split(gates, 3, axis=-1)
        outputs = function(split, kernel, bias, mask, initial)
        return jnp.sum(
            jnp.sin(outputs) * jnp.arange(1, outputs.size + 1).reshape(outputs.shape)
        ) / outputs.size, outputs

    grads, outputs = jax.grad(loss, (0, 1, 2, 3), has_aux=True)(
        gates, kernel, bias, initial
    )
    return outputs, grads


def over_devices(function):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("lanes",))
    spec = PartitionSpec("lanes")
    return jax.shard_map(
        jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )


def in_scan(function):
    return lambda *lanes: jax.lax.scan(
        lambda _, lane: (None, function(*lane)), None, lanes
    )[1]


TRANSFORMS = {
    "vmap": jax.vmap,
    "map": lambda f: lambda *lanes: jax.lax.map(lambda lane: f(*lane), lanes),
    "map of groups": lambda f: (
        lambda *lanes: jax.lax.map(lambda lane: f(*lane), lanes, batch_size=3)
    ),
    "shard_map": over_devices,
    "scan": in_scan,
}


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(
    ("transform", "steps"), [("vmap", 1), ("vmap", 2), *((t, 7) for t in TRANSFORMS)]
)
def test_the_recurrence_equals_its_plain_form(transform, steps, dtype, tolerance):
    arguments = draw_arguments(steps, dtype)
    with jax.enable_x64(dtype == np.float64):
        run = TRANSFORMS[transform](lambda *lane: pulled(gru, *lane))
        ours = jax.jit(run)(*arguments)
        plain = jax.jit(lambda *lane: pulled(gru_reference, *lane))
        expected = [plain(*(x[i] for x in arguments)) for i in range(LANES)]
    for ours_leaf, *leaves in zip(
        jax.tree.leaves(ours), *map(jax.tree.leaves, expected), strict=True
    ):
        assert ours_leaf.dtype == dtype and np.abs(ours_leaf).max() > 0
        np.testing.assert_allclose(
            ours_leaf, np.stack(leaves), rtol=tolerance, atol=tolerance
        )


def test_the_plain_form_equals_a_numpy_loop(numpy_stack):
    """With an initial state: the loop gets there by one step before the first."""
    gates, kernel, bias, mask, _ = (x[0] for x in draw_arguments(7, np.float64))
    eye = {"weight": np.eye(3 * H), "bias": np.zeros(3 * H)}
    params = {"gru_0": {"input": eye, "kernel": kernel, "bias": bias}}
    mask[0] = 1
    expected = numpy_stack(params, np.swapaxes(gates, 0, 1), mask.T)
    expected = np.swapaxes(expected, 0, 1)
    with jax.enable_x64(True):
        split = jnp.split(gates[1:], 3, axis=-1)
        outputs = gru_reference(split, kernel, bias, mask[1:], expected[0])
    np.testing.assert_allclose(outputs, expected[1:], atol=1e-12)


def test_weight_gradients_are_products_outside_the_loops():
    def loss(gates, kernel, bias, mask, initial):
        split = jnp.split(gates, 3, axis=-1)
        return jnp.sum(gru(split, kernel, bias, mask, initial))

    arguments = [x[0] for x in draw_arguments(7, np.float32)]
    jaxpr = jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(*arguments)

    def products(jaxpr):
        names = [str(eqn.primitive) for eqn in jaxpr.eqns]
        inside = [
            products(eqn.params["jaxpr"].jaxpr)
            for eqn in jaxpr.eqns
            if str(eqn.primitive) == "scan"
        ]
        return names.count("dot_general"), inside

    # one a gate for W_h; one a step forwards, and one backwards
    assert products(jaxpr.jaxpr) == (3, [(1, []), (1, [])])


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_an_initial_state_equals_that_of_pytorch(reference, dtype, tolerance):
    inputs, expected = (part["cell"] for part in reference("gru", dtype))
    names = ("gates", "kernel", "bias", "initial")
    with jax.enable_x64(dtype == np.float64):
        outputs, grads = jax.jit(partial(pulled, gru))(
            mask=np.ones((7, B), dtype), **inputs
        )
    assert_close(outputs, expected["outputs"], tolerance)
    assert_close(dict(zip(names, grads, strict=True)), expected["grads"], tolerance)


def test_the_cell_is_that_of_flax(params_of):
    stack = GRUStack(1, H)
    params = params_of(stack)
    layer = params["gru_0"]
    gates = {}
    for i, gate in enumerate("rzn"):
        columns = slice(i * H, (i + 1) * H)
        gates[f"i{gate}"] = {
            "kernel": layer["input"]["weight"][columns].T,
            "bias": layer["input"]["bias"][columns],
        }
        gates[f"h{gate}"] = {"kernel": layer["kernel"][:, columns]}
    gates["hn"]["bias"] = layer["bias"]
    cell = nn.RNN(nn.GRUCell(H, param_dtype=jnp.float64))
    with jax.enable_x64(True):
        expected = jax.jit(cell.apply)({"params": {"cell": gates}}, features_of())
        outputs, _ = jax.jit(stack.apply)(
            {"params": params}, features_of(), np.ones((B, T))
        )
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-12)


def test_weights_start_orthogonal_a_gate_and_biases_at_zero():
    init = jax.jit(GRULayer(H).init)
    params = init(jax.random.key(3), jnp.zeros((1, 2, F)), jnp.ones((1, 2)))
    layer = jax.tree.map(np.asarray, params["params"])
    assert layer["input"]["weight"].shape == (3 * H, F)
    gates = np.split(layer["kernel"], 3, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)
    assert not np.allclose(gates[0], gates[1]) and not np.allclose(gates[1], gates[2])
    assert layer["kernel"].dtype == np.float32
    assert not layer["bias"].any() and not layer["input"]["bias"].any()
