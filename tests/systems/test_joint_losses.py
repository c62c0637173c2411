"""Networks and joint losses of explicit fusion and multi-task learning, by PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.core import ImplicitFusion, init_params
from ifusion.models.multi_head import make_multi_head
from ifusion.preprocessing.minibatches import take_target
from ifusion.systems import explicit, multi_task
from ifusion.systems.neural import NeuralLane, arrays_of

LAMBDA, DELAY = 0.3, 1


def torch_stack(torch, layer, inputs):
    """One GRU layer over sequences that are padded on the right."""
    weight = layer["input"]["weight"]
    hidden = len(layer["bias"])
    stack = torch.nn.GRU(weight.shape[1], hidden, batch_first=True)
    bias = torch.cat([torch.zeros(2 * hidden), layer["bias"]])
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    values = [weight, layer["kernel"].T, layer["input"]["bias"], bias]
    state = dict(zip(names, values, strict=True))
    return torch.func.functional_call(stack, state, (inputs,))[0]


def torch_heads(torch, params, inputs):
    """Branches, concatenation, shared layers, linear heads."""
    branches = [
        torch_stack(torch, params[f"branch_{name}"]["gru_0"], x)
        for name, x in inputs.items()
    ]
    joined = torch.cat(branches, -1)
    hidden = torch_stack(torch, params["shared"]["gru_0"], joined)
    heads = [k for k in params if "kernel" in params[k]]
    return {k: hidden @ params[k]["kernel"] + params[k]["bias"] for k in heads}


def torch_joint_loss(torch, row, params, batch):
    mask, labelled = batch.mask > 0, batch.labelled > 0
    x = batch.features
    if row == "early":
        inputs = {"audio+video": torch.cat([x["audio"], x["video"]], -1)}
    elif row == "model-level":
        inputs = x
    else:
        inputs = {"video": x["video"]}
    outputs = torch_heads(torch, params, inputs)
    gaps = outputs["output"][..., 0] - batch.labels
    loss = (gaps[labelled] ** 2).mean()
    if "second" not in outputs:
        return loss
    second = outputs["second"]
    if row == "reconstruction":
        beside = ((second - x["video"])[mask] ** 2).mean()
    elif row == "modalities":
        beside = ((second - x["audio"])[mask] ** 2).mean()
    elif row == "uncertainty":
        beside = ((second[..., 0] - batch.extras["uncertainty"])[labelled] ** 2).mean()
    else:
        beside = ((second[..., 0] - batch.extras["target_0"])[labelled] ** 2).mean()
    return loss + LAMBDA * beside


TASKS = {
    "reconstruction": multi_task.reconstruction,
    "modalities": multi_task.other_features,
    "uncertainty": multi_task.uncertainty,
    "targets": multi_task.other_targets,
}


@pytest.mark.parametrize("row", ["early", "model-level", *TASKS])
def test_joint_loss_and_its_gradient_equal_pytorch(row, recordings, draw_like):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is the reference here: pip install torch"
    )
    protocol, fold = recordings
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
    lane = jax.tree.map(lambda x: x[0], arrays_of(protocol, [lane]))
    fold = multi_task.with_other_targets(fold)
    batch = take_target(fold.train, lane.target, lane.delay)
    np.testing.assert_array_equal(  # by hand: the other target, as late as the target
        batch.extras["target_0"], fold.train.labels[:, DELAY : DELAY + 8, 0]
    )
    shapes = jax.eval_shape(learner.init, jax.random.key(0), None)
    params = draw_like(shapes)
    loss_fn = jax.jit(jax.value_and_grad(learner.loss, has_aux=True))
    (loss, _), grads = loss_fn(params, batch, lane, 1, None)

    theirs = jax.tree.map(lambda x: torch.tensor(x, requires_grad=True), params)
    given = jax.tree.map(lambda x: torch.tensor(np.array(x)), batch)
    expected = torch_joint_loss(torch, row, theirs, given)
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    jax.tree.map(
        lambda g, p: np.testing.assert_allclose(g, p.grad, rtol=1e-4, atol=1e-5),
        grads,
        theirs,
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
    with pytest.raises(ValueError, match="12 steps are no multiple of parts of 5"):
        network.apply(params, inputs, mask, 5)
