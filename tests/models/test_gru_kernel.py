"""The GPU kernel, emulated: `interpret` runs the body of each tile on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.models.architecture import Architecture
from ifusion.models.gru import gru, gru_reference
from ifusion.models.gru_kernel import KernelOptions, make_fused_gru
from ifusion.models.implicit import ImplicitFusion, predict

LANES, H = 2, 20  # units are padded to 32
FUSED = make_fused_gru(KernelOptions(interpret=True))


def draw_arguments(steps, batch):
    rng = np.random.default_rng(steps)
    shapes = [(steps, batch, 3 * H), (H, 3 * H), (H,), (steps, batch), (batch, H)]
    drawn = [rng.standard_normal((LANES, *s)).astype(np.float32) for s in shapes]
    drawn[1] /= np.sqrt(H)
    drawn[3] = (drawn[3] > -0.5).astype(np.float32)
    return drawn


def pulled(function):
    """Outputs, and the gradients of a sum in which every output counts differently."""

    def loss(gates, kernel, bias, initial, mask):
        split = jnp.split(gates, 3, axis=-1)
        outputs = function(split, kernel, bias, mask, initial)
        count = jnp.arange(1, outputs.size + 1).reshape(outputs.shape) / outputs.size
        return jnp.sum(jnp.sin(outputs) * count), outputs

    def run(gates, kernel, bias, mask, initial):
        return jax.grad(loss, (0, 1, 2, 3), has_aux=True)(
            gates, kernel, bias, initial, mask
        )

    return jax.jit(jax.vmap(run))


@pytest.mark.parametrize(("steps", "batch"), [(5, 3), (2, 40), (1, 16)])
def test_the_kernel_equals_the_plain_form(steps, batch):
    """One tile not full, two tiles of which one is not full, one step in a full one."""
    arguments = draw_arguments(steps, batch)
    ours, plain = pulled(FUSED)(*arguments), pulled(gru_reference)(*arguments)
    for fused, expected in zip(
        jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True
    ):
        assert fused.shape == expected.shape and np.abs(expected).max() > 0
        np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near_and_not_the_same():
    arguments = draw_arguments(5, 3)
    fused = make_fused_gru(KernelOptions("bfloat16", interpret=True))
    ours, plain = pulled(fused)(*arguments), pulled(gru_reference)(*arguments)
    for half, expected in zip(
        jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True
    ):
        error = np.abs(half - expected).max() / np.abs(expected).max()
        assert 1e-5 < error < 0.03  # bfloat16 has 8 bits


def test_where_there_is_no_gpu_the_plain_form_runs():
    arguments = draw_arguments(5, 3)
    fused = make_fused_gru(KernelOptions("bfloat16"))
    jax.tree.map(
        np.testing.assert_array_equal,
        pulled(fused)(*arguments),
        pulled(gru)(*arguments),
    )


# jax 0.12 warns of its end; see the module on why it is Triton all the same
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_both_kernels_lower_for_cuda(precision):
    """It shows that Triton accepts them, no more; jax 0.10 needs no GPU for that."""
    function = make_fused_gru(KernelOptions(precision))
    target = "__gpu$xla.gpu.triton"
    export = jax.export.export(
        pulled(function),
        platforms=["cuda"],
        disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
    )
    try:
        exported = export(*draw_arguments(5, 3))
    except RuntimeError as error:
        if "No supported GPU devices" not in str(error):
            raise
        pytest.skip("this jax lowers for CUDA only where there is a GPU")
    assert exported.mlir_module().count(f"custom_call @{target}") == 2


def test_a_network_runs_on_it(draw_params, make_data):
    sizes = Architecture(hidden_size=4)
    data = make_data(3, 4)
    plain = ImplicitFusion(("audio", "video"), 3, sizes)
    fused = ImplicitFusion(("audio", "video"), 3, sizes, FUSED)
    params = draw_params(plain)
    ours, expected = (
        jax.jit(predict, static_argnums=0)(m, params, data.features, data.mask)
        for m in (fused, plain)
    )
    for m in expected:
        np.testing.assert_allclose(ours[m], expected[m], atol=1e-5)


def test_single_steps_need_no_kernel():
    gates, mask = (jnp.ones((1, 3, H)),) * 3, jnp.ones((1, 3))
    arguments = gates, None, jnp.ones(H), mask
    np.testing.assert_array_equal(FUSED(*arguments), gru(*arguments))


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'half'; expected one of float32, tf32, bfl"):
        KernelOptions("half")
