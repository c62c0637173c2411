import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ifusion.models import native_gru
from ifusion.models.gru import GRUStack, gru_reference
from ifusion.models.native_gru import (
    choose_instructions,
    chosen_instructions,
    find_instructions,
    gru_layer,
    running_on,
)

compiled = pytest.mark.skipif(not find_instructions(), reason="not compiled")
LANES = 3
# sizes around those of tiles, panels and blocks: (B, T, F, H)
SIZES = [(3, 5, 7, 6), (9, 33, 50, 17), (2, 3, 300, 90), (300, 2, 9, 4), (1, 1, 1, 1)]


def draw(size, lanes=LANES):
    """Arguments of `gru_layer` for some lanes, the mask with holes."""
    batch, steps, features, hidden = size
    rng = np.random.default_rng(sum(size))
    shapes = [
        (batch, steps, features),
        (3 * hidden, features),
        (3 * hidden,),
        (hidden, 3 * hidden),
        (hidden,),
        (batch, steps),
        (batch, hidden),
    ]
    drawn = [rng.standard_normal((lanes, *s)).astype(np.float32) for s in shapes]
    drawn[1] /= np.sqrt(features)
    drawn[3] /= np.sqrt(hidden)
    drawn[5] = (drawn[5] > -0.5).astype(np.float32)
    return drawn


def plain(inputs, weight, input_bias, kernel, bias, mask, initial):
    """The same in float64, by `gru_reference` and autodiff."""
    gates = jnp.swapaxes(inputs, 0, 1) @ weight.T + input_bias
    if kernel is None:
        kernel = jnp.zeros((len(bias), 3 * len(bias)))
    if initial is None:
        initial = jnp.zeros((len(inputs), len(bias)))
    hidden = gru_reference(jnp.split(gates, 3, -1), kernel, bias, mask.T, initial)
    return jnp.swapaxes(hidden, 0, 1)


def pulled(function, *arguments):
    """Outputs, and the gradients of a sum in which every output counts differently."""
    mask = arguments[5]

    def loss(trained):
        outputs = function(*trained[:5], mask, *trained[5:])
        return jnp.mean(
            jnp.sin(outputs) * jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
        ), outputs

    trained = (*arguments[:5], *arguments[6:])
    grads, outputs = jax.grad(loss, has_aux=True)(trained)
    return outputs, grads


def native(instructions):
    return lambda *lane: pulled(lambda *x: gru_layer(instructions, *x), *lane)


def assert_close(ours, expected):
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5 * np.abs(y).max())


def expect(arguments):
    with jax.enable_x64(True):
        exact = [None if x is None else x.astype(np.float64) for x in arguments]
        return jax.device_get(jax.jit(lambda *x: pulled(plain, *x))(*exact))


@compiled
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients_equal_the_plain_form(size):
    arguments = [x[0] for x in draw(size)]
    expected = expect(arguments)
    for instructions in find_instructions():
        ours = jax.jit(native(instructions))(*arguments)
        assert_close(ours, expected)


# what exists of a minibatch of 9 rows and 33 steps, from the front
EXTENTS = [(9, 33), (9, 20), (4, 33), (3, 12), (1, 1), (0, 0)]


@compiled
@pytest.mark.parametrize(("rows", "steps"), EXTENTS, ids=str)
def test_padding_at_the_end_equals_the_plain_form(rows, steps):
    arguments = [x[0] for x in draw(SIZES[1])]
    arguments[5][rows:] = arguments[5][:, steps:] = 0
    expected = expect(arguments)
    if rows:  # of no rows, one is computed
        arguments[0][rows:] = arguments[0][:, steps:] = np.nan
    for instructions in find_instructions():
        assert_close(jax.jit(native(instructions))(*arguments), expected)


@compiled
def test_padding_changes_no_bit():
    inputs, *weights, mask, initial = (x[0] for x in draw(SIZES[2]))
    batch, steps = mask.shape

    def grown(x, *room):
        return np.pad(x, [(0, n) for n in room] + [(0, 0)] * (x.ndim - len(room)))

    def grads(instructions, inputs, mask, initial):
        def loss(weights):
            hidden = gru_layer(instructions, inputs, *weights, mask, initial)
            return jnp.sum(jnp.sin(hidden[:batch, :steps]))

        return jax.jit(jax.grad(loss))(weights)

    padded = grown(inputs, 2, 5), grown(mask, 2, 5), grown(initial, 2)
    for instructions in find_instructions():
        own = grads(instructions, inputs, mask, initial)
        for x, y in zip(own, grads(instructions, *padded), strict=True):
            np.testing.assert_array_equal(x, y)


@compiled
def test_single_steps_need_no_kernel():
    inputs, weight, input_bias, _, bias, mask, _ = (x[0] for x in draw((5, 1, 40, 18)))
    arguments = (inputs, weight, input_bias, None, bias, mask, None)
    for instructions in find_instructions():
        assert_close(jax.jit(native(instructions))(*arguments), expect(arguments))


@compiled
def test_wider_vectors_change_no_bit():
    arguments = [x[0] for x in draw(SIZES[1])]
    fused = [x for x in find_instructions() if x != "plain"]
    runs = [jax.jit(native(x))(*arguments) for x in fused]
    for other in runs[1:]:
        jax.tree.map(np.testing.assert_array_equal, runs[0], other)


def sharded(function):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lanes",))
    spec = PartitionSpec("lanes")
    return jax.shard_map(
        jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )


TRANSFORMS = {
    "vmap": jax.vmap,
    "vmap of vmap": lambda f: (
        lambda *lanes: jax.tree.map(
            lambda x: x[0], jax.vmap(jax.vmap(f))(*(x[None] for x in lanes))
        )
    ),
    "map": lambda f: lambda *lanes: jax.lax.map(lambda lane: f(*lane), lanes),
    "map of groups": lambda f: (
        lambda *lanes: jax.lax.map(lambda lane: f(*lane), lanes, batch_size=2)
    ),
    "shard_map": sharded,
}


@compiled
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_lane_is_the_same_to_the_bit_beside_others(name):
    count = max(LANES, len(jax.devices())) * len(jax.devices())
    arguments, of_one = draw(SIZES[1], count), native(find_instructions()[0])
    together = jax.jit(TRANSFORMS[name](of_one))(*arguments)
    alone = jax.jit(of_one)
    for i in range(count):
        expected = alone(*(x[i] for x in arguments))
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_array_equal(x[i], y), together, expected
        )


@compiled
def test_what_lanes_share_is_given_once():
    arguments = draw(SIZES[1])
    shared = arguments[0][0]
    of_one = native(find_instructions()[0])
    together = jax.jit(jax.vmap(of_one, in_axes=(None, *[0] * 6)))(
        shared, *arguments[1:]
    )
    expected = [of_one(shared, *(x[i] for x in arguments[1:])) for i in range(LANES)]
    for ours, *alone in zip(
        jax.tree.leaves(together), *map(jax.tree.leaves, expected), strict=True
    ):
        np.testing.assert_array_equal(ours, np.stack(alone))


@compiled
def test_numbers_that_are_not_finite_stay_visible():
    arguments = [x[0] for x in draw(SIZES[0])]
    arguments[0] = arguments[0].copy()
    arguments[0][1, 2, 3] = np.nan
    arguments[5] = np.ones_like(arguments[5])
    for instructions in find_instructions():
        outputs, grads = native(instructions)(*arguments)
        assert np.isnan(outputs[1, 2:]).all()
        assert np.isfinite(np.delete(outputs, 1, 0)).all()
        assert np.isnan(grads[1]).any()


@compiled
def test_large_inputs_saturate():
    arguments = [x[0] for x in draw(SIZES[0])]
    arguments[0] = arguments[0] * 1e6
    for instructions in find_instructions():
        outputs, grads = native(instructions)(*arguments)
        assert_close(outputs, expect(arguments)[0].astype(np.float32))
        assert all(np.isfinite(x).all() for x in grads)


@compiled
def test_a_stack_runs_on_what_is_chosen_while_it_is_traced():
    stack = GRUStack(2, 6)
    features, mask = draw(SIZES[0])[0][0], draw(SIZES[0])[5][0]
    params = stack.init(jax.random.key(0), features, mask)

    def calls(instructions):
        with running_on(instructions):
            return str(jax.make_jaxpr(stack.apply)(params, features, mask))

    assert calls(find_instructions()[0]).count("ffi_call[") == 2
    assert "ffi_call" not in calls("off")
    with running_on(find_instructions()[0]):
        assert chosen_instructions(np.float64) == "off"
        ours = stack.apply(params, features, mask)
    for x, y in zip(ours, stack.apply(params, features, mask), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


@pytest.mark.parametrize(
    ("there", "native", "platform", "chosen"),
    [
        (("avx512", "avx2", "plain"), "auto", "cpu", "avx512"),
        (("avx2", "plain"), "on", "cpu", "avx2"),
        (("plain",), "auto", "cpu", "off"),
        (("plain",), "on", "cpu", "plain"),
        (("avx2", "plain"), "off", "cpu", "off"),
        (("avx2", "plain"), "auto", "gpu", "off"),
        ((), "auto", "cpu", "off"),
        ((), "avx2", "cpu", "avx2"),  # of a run that is only read here
    ],
)
def test_what_layers_run_on(monkeypatch, there, native, platform, chosen):
    monkeypatch.setattr(native_gru, "find_instructions", lambda: there)
    assert choose_instructions(native, platform) == chosen


def test_what_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(native_gru, "find_instructions", lambda: ())
    with pytest.raises(ValueError, match=r"'on', but .* runs none"):
        choose_instructions("on", "cpu")
    with pytest.raises(ValueError, match="'avx2', but"), running_on("avx2"):
        pass
