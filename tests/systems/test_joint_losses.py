"""Networks and joint losses of explicit fusion and multi-task learning."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.core import ImplicitFusion, init_params
from ifusion.models.multi_head import make_multi_head
from ifusion.preprocessing.minibatches import take_target
from ifusion.preprocessing.sequences import Batch
from ifusion.systems import explicit, multi_task
from ifusion.systems.neural import NeuralLane, lane_arrays

LAMBDA, DELAY = 0.3, 1  # those of the reference, for valence
TASKS = {
    "reconstruction": multi_task.reconstruction,
    "modalities": multi_task.other_features,
    "uncertainty": multi_task.uncertainty,
    "targets": multi_task.other_targets,
}


def value_and_grad(protocol, fold, row, params, data):
    """J of a row on sequences of two targets, and its gradient."""
    if row in TASKS:
        learner = multi_task.make_learner(protocol, "video", TASKS[row])
    else:
        learner = explicit.make_learner(protocol, row == "early")
    lane = NeuralLane(
        main="video",
        target="valence",
        seed=0,
        weights={},
        setting={"lambda": LAMBDA},
        delay=DELAY,
    )
    lane = jax.tree.map(
        lambda x: x[0], lane_arrays([lane], protocol.modalities, protocol.targets)
    )
    fold = multi_task.with_other_targets(replace(fold, train=Batch(**data)))
    batch = take_target(fold.train, lane.target, lane.delay)
    loss_fn = jax.jit(jax.value_and_grad(learner.loss, has_aux=True))
    (loss, _), grads = loss_fn(params, batch, lane, 1, None)
    return loss, grads


@pytest.mark.parametrize("row", ["early", "model-level", *TASKS])
def test_joint_loss_and_its_gradient_equal_pytorch(row, recordings, reference):
    protocol, fold = recordings
    inputs, outputs = reference("joint_losses")
    params, data = inputs["params"][row], inputs["data"]
    loss, grads = value_and_grad(protocol, fold, row, params, data)
    np.testing.assert_allclose(loss, outputs[row]["loss"], rtol=1e-5)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
        grads,
        outputs[row]["grads"],
    )


def test_one_input_and_head_start_as_implicit_fusion_does(recordings):
    """So that differences to the baseline are paired."""
    sizes = recordings[0].architecture
    key = jax.random.key(3)
    network = make_multi_head({"audio": 3}, {"output": 2, "second": 4}, sizes)
    mine = jax.jit(network.init)(key)
    model = ImplicitFusion(("audio", "video"), 2, sizes)
    theirs = jax.jit(lambda key: init_params(model, key, {"audio": 3, "video": 5}))(key)
    for part in ("branch_audio", "shared", "output"):
        jax.tree.map(np.testing.assert_array_equal, mine[part], theirs[part])


def test_parts_are_the_whole_and_heads_may_be_absent(recordings, draw_like):
    protocol, fold = recordings
    network = make_multi_head(
        protocol.num_features, {"output": 2, "second": 4}, protocol.architecture
    )
    params = draw_like(jax.eval_shape(network.init, jax.random.key(0)))
    inputs, mask = fold.dev.features, jnp.asarray(fold.dev.mask)
    whole = network.apply(params, inputs, mask, None)
    in_parts = network.apply(params, inputs, mask, 4)
    assert set(whole) == {"output", "second"}
    for name, output in whole.items():
        np.testing.assert_allclose(in_parts[name], output, atol=1e-6)
    del params["second"]
    assert set(network.apply(params, inputs, mask, 4)) == {"output"}
    with pytest.raises(ValueError, match="12 steps are not a multiple of parts of 5"):
        network.apply(params, inputs, mask, 5)
