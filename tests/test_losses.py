import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.losses import (
    concordance_loss,
    cross_entropy,
    joint_loss,
    sequence_concordance_loss,
    soft_cross_entropy,
    squared_error,
)
from ifusion.systems.teaching import decide

VALUE_AND_GRAD = jax.jit(jax.value_and_grad(cross_entropy))
PRECISIONS = [
    pytest.param(np.float32, 1e-5, id="float32"),
    pytest.param(np.float64, 1e-10, id="float64"),
]


def logits_labels_mask(dtype):
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((4, 3, 5))).astype(dtype)
    return logits, rng.integers(0, 5, (4, 3)), (rng.random((4, 3)) < 0.6).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_cross_entropy_and_its_gradient_equal_numpy(dtype, tolerance):
    logits, labels, mask = logits_labels_mask(dtype)
    with jax.enable_x64(dtype == np.float64):
        loss, grad = VALUE_AND_GRAD(logits, labels, mask)
    p = np.exp(logits.astype(float))
    p /= p.sum(-1, keepdims=True)
    right = np.eye(5)[labels]
    expected = -np.log((p * right).sum(-1))[mask > 0].mean()
    np.testing.assert_allclose(loss, expected, rtol=tolerance)
    slopes = (p - right) * mask[..., None] / mask.sum()
    np.testing.assert_allclose(grad, slopes, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_cross_entropy_and_its_gradient_equal_pytorch(reference, dtype, tolerance):
    inputs, outputs = reference("losses", dtype)
    given = inputs["classification"]
    with jax.enable_x64(dtype == np.float64):
        loss, grad = VALUE_AND_GRAD(given["logits"], given["labels"], given["mask"])
    expected = outputs["cross_entropy"]
    np.testing.assert_allclose(loss, expected["loss"], rtol=tolerance)
    np.testing.assert_allclose(grad, expected["grad"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("temperature", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_soft_cross_entropy_and_its_gradient_equal_pytorch(
    reference, dtype, tolerance, temperature
):
    given, outputs = reference("teaching", dtype)
    expected = outputs[f"at_{temperature}"]
    said = decide(given["teacher"] / temperature, hard=False)
    np.testing.assert_allclose(said, expected["targets"], rtol=tolerance)

    def loss_of(logits):
        return soft_cross_entropy(logits / temperature, said, given["mask"])

    with jax.enable_x64(dtype == np.float64):
        loss, grad = jax.value_and_grad(loss_of)(given["logits"])
    np.testing.assert_allclose(loss, expected["loss"], rtol=tolerance)
    np.testing.assert_allclose(grad, expected["grad"], rtol=tolerance, atol=tolerance)


def test_soft_cross_entropy_of_one_class_is_cross_entropy():
    logits, labels, mask = logits_labels_mask(np.float32)
    certain = np.eye(5, dtype=np.float32)[labels]
    soft = soft_cross_entropy(logits, certain, mask)
    np.testing.assert_allclose(soft, cross_entropy(logits, labels, mask), rtol=1e-6)
    assert soft_cross_entropy(logits, certain, np.zeros((4, 3))) == 0


def test_cross_entropy_of_certain_answers():
    logits = jnp.array([[[1e4, 0.0, 0.0]]])
    assert cross_entropy(logits, jnp.array([[0]]), jnp.ones((1, 1))) == 0.0
    assert cross_entropy(logits, jnp.array([[1]]), jnp.ones((1, 1))) == 1e4


def test_cross_entropy_of_nothing_is_zero_and_has_no_slope():
    logits, labels, _ = logits_labels_mask(np.float32)
    loss, grad = VALUE_AND_GRAD(logits, labels, np.zeros((4, 3)))
    assert loss == 0 and not np.any(grad)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param((1.0, 0.25), 2.0 + 0.25 * 8.0, id="Eq. 3"),
        pytest.param((0.25, 1.0), 0.25 * 2.0 + 8.0, id="Eq. 4"),
        pytest.param((1.0, 0.0), 2.0, id="baseline"),
    ],
)
def test_joint_loss_is_equations_3_and_4(weights, expected):
    losses = {"audio": jnp.array(2.0), "video": jnp.array(8.0)}
    assert joint_loss(losses, jnp.array(weights)) == expected


def test_joint_loss_of_three_modalities_and_its_gradient():
    losses = {m: jnp.array(x) for m, x in (("a", 2.0), ("b", 3.0), ("c", 5.0))}
    weights = jnp.array([0.5, 1.0, 0.25])
    value, grads = jax.value_and_grad(joint_loss)(losses, weights)
    assert value == 1.0 + 3.0 + 1.25
    assert {m: float(g) for m, g in grads.items()} == {"a": 0.5, "b": 1.0, "c": 0.25}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_joint_loss_leaves_out_what_has_no_weight(bad):
    losses = {"audio": jnp.array(2.0), "video": jnp.array(bad)}
    value, grads = jax.value_and_grad(joint_loss)(losses, jnp.array([1.0, 0.0]))
    assert value == 2.0
    assert {m: float(g) for m, g in grads.items()} == {"audio": 1.0, "video": 0.0}
    assert not np.isfinite(joint_loss(losses, jnp.array([1.0, 0.1])))


def outputs_labels_mask(dtype, offset=0.0):
    """Four sequences of unlike length, the last of them empty."""
    rng = np.random.default_rng(1)
    labels = rng.standard_normal((4, 50)).astype(dtype)
    outputs = (0.6 * labels + 0.5 * rng.standard_normal((4, 50)) + offset).astype(dtype)
    mask = (np.arange(50) < np.array([50, 31, 2, 0])[:, None]).astype(dtype)
    return outputs[..., None], labels, mask


def plain_concordance(x, y):
    """CCC written out for two vectors."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def plain_loss(name, outputs, labels, mask):
    """The loss of a name, written out with numpy."""
    pairs = [
        (outputs[b, mask[b] > 0, 0], labels[b, mask[b] > 0])
        for b in range(len(mask))
        if mask[b].any()
    ]
    x, y = (np.concatenate(values) for values in zip(*pairs, strict=True))
    if name == "squared_error":
        return np.mean((x.astype(float) - y) ** 2)
    if name == "concordance_loss":
        return 1 - plain_concordance(x, y)
    return np.mean([1 - plain_concordance(*pair) for pair in pairs])


REGRESSION_LOSSES = {
    loss.__name__: jax.jit(jax.value_and_grad(loss))
    for loss in (squared_error, concordance_loss, sequence_concordance_loss)
}


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", REGRESSION_LOSSES)
def test_a_regression_loss_equals_numpy_and_its_gradient_a_difference_quotient(
    name, dtype, tolerance
):
    outputs, labels, mask = outputs_labels_mask(dtype)
    with jax.enable_x64(dtype == np.float64):
        loss, grad = REGRESSION_LOSSES[name](outputs, labels, mask)
    expected = plain_loss(name, outputs, labels, mask)
    np.testing.assert_allclose(loss, expected, rtol=tolerance)
    assert not np.any(np.asarray(grad)[mask == 0])
    step = 1e-5
    for place in [(0, 3), (1, 30), (2, 1)]:
        moved = [outputs.astype(float), outputs.astype(float)]
        moved[0][place] += step
        moved[1][place] -= step
        high, low = (plain_loss(name, x, labels, mask) for x in moved)
        slope = (high - low) / (2 * step)
        np.testing.assert_allclose(
            grad[place][0], slope, rtol=max(tolerance, 1e-6), atol=1e-8
        )


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("name", REGRESSION_LOSSES)
def test_a_regression_loss_and_its_gradient_equal_pytorch(
    reference, name, dtype, tolerance
):
    inputs, outputs = reference("losses", dtype)
    given, loss_fn = inputs["regression"], REGRESSION_LOSSES[name]
    with jax.enable_x64(dtype == np.float64):
        loss, grad = loss_fn(given["outputs"], given["labels"], given["mask"])
    expected = outputs[name]
    np.testing.assert_allclose(loss, expected["loss"], rtol=tolerance)
    np.testing.assert_allclose(
        grad, expected["grad"], rtol=10 * tolerance, atol=tolerance
    )


def test_an_offset_costs_the_concordance_no_digits():
    outputs, labels, mask = outputs_labels_mask(np.float32)
    far = 1000 + (64 * labels).round() / 64  # exact in float32 with the offset
    near = 1000 + (64 * outputs).round() / 64
    loss, _ = REGRESSION_LOSSES["concordance_loss"](near, far, mask)
    expected = plain_loss("concordance_loss", near - 1000, far - 1000, mask)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["concordance_loss", "sequence_concordance_loss"])
@pytest.mark.parametrize("constant", ["outputs", "labels", "both"])
def test_the_concordance_of_a_constant_is_zero_and_its_slope_finite(name, constant):
    outputs, labels, mask = outputs_labels_mask(np.float32)
    if constant in ("outputs", "both"):
        outputs = np.full_like(outputs, 0.1)
    if constant in ("labels", "both"):
        labels = np.full_like(labels, 0.1)
    loss, grad = REGRESSION_LOSSES[name](outputs, labels, mask)
    assert loss == 1.0
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("name", REGRESSION_LOSSES)
def test_a_regression_loss_of_nothing_has_no_slope(name):
    outputs, labels, _ = outputs_labels_mask(np.float32)
    loss, grad = REGRESSION_LOSSES[name](outputs, labels, np.zeros_like(labels))
    assert loss == (1.0 if name == "concordance_loss" else 0.0)
    assert not np.any(grad)
