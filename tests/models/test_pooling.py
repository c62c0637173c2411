"""One answer per recording: each pooling against PyTorch, and part by part."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import make_lane

from ifusion.core import ImplicitFusion, make_joint_loss
from ifusion.losses import cross_entropy
from ifusion.models.architecture import Architecture
from ifusion.models.multi_head import make_multi_head
from ifusion.models.pooling import TimePooling
from ifusion.preprocessing.sequences import KINDS, Batch
from ifusion.training.learner import predict_in_parts

LANE = make_lane(np.array([1.0, 0.5]))  # Eq. 3


def model_of(kind):
    sizes = Architecture(branch_layers=1, hidden_size=4, pooling=kind)
    return ImplicitFusion(("audio", "video"), 3, sizes)


def given(reference, kind):
    """Parameters and a batch with steps of its own for each modality; the outputs."""
    inputs, outputs = reference("pooled")
    params, data = inputs["params"], inputs["data"]
    if kind != "attention":
        params = {k: v for k, v in params.items() if k != "pooling"}
    ones = np.ones((len(data["labels"]), 1), np.float32)
    batch = Batch(
        features=data["features"],
        mask=ones,
        labels=data["labels"][:, None],
        labelled=ones,
        steps=data["masks"],
    )
    return params, batch, outputs[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_loss_and_gradients_equal_pytorch(reference, kind):
    params, batch, expected = given(reference, kind)
    model = model_of(kind)
    loss = make_joint_loss(model, cross_entropy)
    (joint, _), grads = jax.jit(
        jax.value_and_grad(lambda p: loss(p, batch, LANE, 1, None), has_aux=True)
    )(params)
    outputs, _ = model.apply({"params": params}, batch.features, batch.steps)
    for m, logits in expected["logits"].items():
        assert outputs[m].shape == (4, 1, 3)
        np.testing.assert_allclose(outputs[m][:, 0], logits, atol=1e-5)
    np.testing.assert_allclose(joint, expected["loss"], atol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        grads,
        expected["grads"],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_part_by_part_and_padded_further_the_answer_is_the_same(reference, kind):
    params, batch, expected = given(reference, kind)
    x, mask = batch.features["audio"], batch.steps["audio"]
    room = [(0, 0), (0, 3)]
    x, mask = np.pad(x, [*room, (0, 0)], constant_values=7), np.pad(mask, room)
    expected = expected["logits"]["audio"]
    in_parts = jax.jit(predict_in_parts, static_argnums=(0, 4))
    for steps in (12, 4, 2):
        found = in_parts(model_of(kind), params, {"audio": x}, mask, steps)["audio"]
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    sizes = model_of(kind).architecture
    network = make_multi_head({"audio": x.shape[-1]}, {"output": 3}, sizes)
    for steps in (None, 4):
        found = network.apply(params, {"audio": x}, jnp.asarray(mask), steps)["output"]
        np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
    alone = in_parts(model_of(kind), params, {"audio": x[1:2, :2]}, mask[1:2, :2], 2)
    np.testing.assert_allclose(alone["audio"][0, 0], expected[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_a_recording_without_steps_is_zero(kind):
    pooling = TimePooling(kind)
    hidden, mask = jnp.ones((2, 3, 4)), jnp.array([[1.0, 1, 0], [0, 0, 0]])
    params = pooling.init(jax.random.key(0), hidden, mask)
    pooled, _ = pooling.apply(params, hidden, mask)
    np.testing.assert_allclose(pooled[:, 0], [[1] * 4, [0] * 4], atol=1e-6)
