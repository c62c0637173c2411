import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ifusion.core import LaneArrays, init_state, make_train_step
from ifusion.losses import cross_entropy
from ifusion.preprocessing.minibatches import take_batch, take_target
from ifusion.training.learner import make_implicit_fusion

UPDATES = 6
HIDDEN = 4


def adam():
    return optax.adam(1e-3)


def jit_step(model, task_loss=cross_entropy):
    """A step on the first target, without delay."""
    learner = make_implicit_fusion(model, {}, task_loss)  # never drawn anew here
    step = make_train_step(learner.loss, adam(), learner.trains)

    def take_step(state, data, weights, l2=0.0):
        lane = LaneArrays(
            weights, main=0, seed=0, target=0, l2=l2, delay=0, extra_weight=0
        )
        return step(state, take_target(data, 0, 0), lane, 1)

    return jax.jit(take_step)


@pytest.fixture(scope="module")
def model(make_model):
    return make_model()


@pytest.fixture(scope="module")
def initial(model, draw_params):
    return draw_params(model)


@pytest.fixture(scope="module")
def train_step(model):
    return jit_step(model)


@pytest.fixture(scope="module")
def recurrent_step(make_model):
    return jit_step(make_model(recurrent=True))


def start(params, dtype=np.float32):
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params)
    return init_state(params, adam())


def torch_model(torch, params, dtype):
    """Fig. 1(e) in PyTorch: nn.GRU a branch, a shared nn.GRU and nn.Linear."""

    class Joint(torch.nn.Module):
        def __init__(self):
            super().__init__()
            size = len(params["output"]["kernel"])
            for name in ("branch_audio", "branch_video", "shared"):
                inputs = params[name]["gru_0"]["input"]["weight"].shape[1]
                setattr(self, name, torch.nn.GRU(inputs, size, batch_first=True))
            self.output = torch.nn.Linear(size, params["output"]["bias"].shape[0])

        def forward(self, modality, features):
            representation = getattr(self, f"branch_{modality}")(features)[0]
            return self.output(self.shared(representation)[0])

    joint = Joint().to(torch.float64 if dtype == np.float64 else torch.float32)
    with torch.no_grad():
        for name, value in torch_layout(params).items():
            joint.get_parameter(name).copy_(torch.tensor(np.asarray(value)))
    return joint


def torch_layout(params):
    """Our parameters under PyTorch's names and in its layout."""
    named = {
        "output.weight": params["output"]["kernel"].T,
        "output.bias": params["output"]["bias"],
    }
    for name in ("branch_audio", "branch_video", "shared"):
        layer = params[name]["gru_0"]
        zeros = np.zeros(2 * len(layer["bias"]))  # r and z have one bias, in bias_ih
        named |= {
            f"{name}.weight_ih_l0": layer["input"]["weight"],
            f"{name}.bias_ih_l0": layer["input"]["bias"],
            f"{name}.bias_hh_l0": np.concatenate([zeros, layer["bias"]]),
        }
        if "kernel" in layer:
            named[f"{name}.weight_hh_l0"] = layer["kernel"].T
    return named


def torch_joint_loss(torch, joint, data, rows, weights):
    rows = rows[rows >= 0]
    exists = torch.tensor(data.mask[rows]) > 0
    labels = torch.tensor(data.labels[rows, :, 0]).long()[exists]
    losses = {
        m: torch.nn.functional.cross_entropy(
            joint(m, torch.tensor(features[rows]))[exists], labels
        )
        for m, features in data.features.items()
    }
    return sum(weights[m] * loss for m, loss in losses.items()), losses


@pytest.mark.parametrize(
    ("dtype", "tolerance", "length"),
    [
        pytest.param(np.float32, 1e-5, 1, id="float32"),
        pytest.param(np.float64, 1e-10, 3, id="float64"),
    ],
)
@pytest.mark.parametrize(
    "weights",
    [
        pytest.param({"audio": 1.0, "video": 0.5}, id="Eq. 3"),
        pytest.param({"audio": 0.25, "video": 1.0}, id="Eq. 4"),
        pytest.param({"audio": 1.0, "video": 0.0}, id="baseline"),
    ],
)
def test_training_equals_pytorch(
    make_model,
    draw_params,
    train_step,
    recurrent_step,
    make_data,
    minibatches,
    weights,
    dtype,
    tolerance,
    length,
):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is the reference here: pip install torch"
    )
    step = recurrent_step if length > 1 else train_step
    data = make_data(10, length, dtype=dtype)
    initial = draw_params(make_model(recurrent=length > 1), dtype)
    order = list(minibatches(0, 2, 10))
    assert len(order) == UPDATES and sum(order[2] >= 0) == 2
    joint = torch_model(torch, initial, dtype)
    optimizer = torch.optim.Adam(joint.parameters(), lr=1e-3)

    with jax.enable_x64(dtype == np.float64):
        state = start(initial, dtype)
        for rows in order:
            state, losses = step(
                state, take_batch(data, rows), np.array([*weights.values()], np.float32)
            )
            loss, parts = torch_joint_loss(torch, joint, data, rows, weights)
            optimizer.zero_grad()
            loss.backward()
            for name, parameter in joint.named_parameters():
                if "bias_hh" in name:  # of r and z: bias_ih is all they have
                    parameter.grad[: 2 * HIDDEN] = 0
            optimizer.step()
            np.testing.assert_allclose(losses["joint"], loss.item(), atol=tolerance)
            for m in [m for m, w in weights.items() if w > 0]:
                np.testing.assert_allclose(losses[m], parts[m].item(), atol=tolerance)
    expected = dict(joint.named_parameters())
    for name, value in torch_layout(jax.device_get(state.params)).items():
        assert value.dtype == dtype or "bias_hh" in name
        np.testing.assert_allclose(
            value, expected[name].detach(), atol=tolerance, err_msg=name
        )
    assert state.step == UPDATES and state.failed_step == -1


def test_the_penalty_is_on_weights_and_not_on_biases(initial, model, make_data):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is the reference here: pip install torch"
    )
    l2, data = 0.05, make_data(4, dtype=np.float64)
    joint = torch_model(torch, initial, np.float64)
    optimizer = torch.optim.Adam(joint.parameters(), lr=1e-3)
    weights = {"audio": 1.0, "video": 0.5}
    for _ in range(3):
        loss = torch_joint_loss(torch, joint, data, np.arange(4), weights)[0]
        for name, parameter in joint.named_parameters():
            if "bias" not in name:
                loss = loss + l2 * parameter.square().sum()
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in joint.named_parameters():
            if "bias_hh" in name:
                parameter.grad[: 2 * HIDDEN] = 0
        optimizer.step()
    with jax.enable_x64(True):
        step = jit_step(model)
        state = start(initial, np.float64)
        for _ in range(3):
            state, _ = step(state, data, np.array([1.0, 0.5]), l2)
    expected = dict(joint.named_parameters())
    for name, value in torch_layout(jax.device_get(state.params)).items():
        np.testing.assert_allclose(value, expected[name].detach(), atol=1e-10)


def without(modality, data):
    """The same batch with NaN in every feature of a modality."""
    nan = np.full_like(data.features[modality], np.nan)
    return data._replace(features={**data.features, modality: nan})


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize(("main", "other"), [("audio", "video"), ("video", "audio")])
def test_nothing_of_a_modality_without_weight_gets_through(
    initial, train_step, make_data, main, other
):
    data = make_data(4)
    zeros = data._replace(
        features={**data.features, other: np.zeros_like(data.features[other])}
    )
    weights = np.array([main == "audio", main == "video"], np.float32)
    usual, losses = train_step(start(initial), data, weights)
    for batch in (without(other, data), zeros):
        state, same = train_step(start(initial), batch, weights)
        assert_same(state, usual)
        assert same["joint"] == losses["joint"] == losses[main]
    assert usual.step == 1 and usual.failed_step == -1
    assert_same(usual.params[f"branch_{other}"], initial[f"branch_{other}"])
    for part in (f"branch_{main}", "shared", "output"):
        for new, old in zip(
            jax.tree.leaves(usual.params[part]),
            jax.tree.leaves(initial[part]),
            strict=True,
        ):
            assert np.any(new != old), part


def test_a_lane_that_is_not_finite_keeps_its_last_finite_state(
    initial, train_step, make_data
):
    data, weights = make_data(4), np.array([1, 0.5], np.float32)
    first, _ = train_step(start(initial), data, weights)
    second, _ = train_step(first, data, weights)
    failed, losses = train_step(second, without("video", data), weights)
    assert np.isnan(losses["joint"]) and np.isfinite(losses["audio"])
    assert failed.failed_step == 2 and failed.step == 2
    assert_same((failed.params, failed.opt_state), (second.params, second.opt_state))
    later, _ = train_step(failed, data, weights)  # and no good batch wakes it
    assert_same(later, failed)


def test_an_infinite_gradient_of_a_finite_loss_is_not_taken(initial, model, make_data):
    def steep(outputs, labels, mask):
        # the root of 0: a value of 0, a slope of infinity
        return jnp.sqrt(jnp.sum(0 * outputs)) + 0 * jnp.sum(mask)

    step = jit_step(model, steep)
    state, losses = step(start(initial), make_data(4), np.array([1.0, 0.5]))
    assert losses["joint"] == 0
    assert state.failed_step == 0
    assert_same(state.params, initial)


def test_a_batch_without_a_label_changes_nothing(initial, train_step, make_data):
    data, weights = make_data(4), np.array([1, 0.5], np.float32)
    before, _ = train_step(start(initial), data, weights)
    empty = data._replace(labelled=np.zeros_like(data.labelled))
    after, losses = train_step(before, empty, weights)
    assert_same(after, before)
    assert losses["joint"] == 0


def test_weights_follow_the_modalities_of_the_model_in_any_order(
    initial, train_step, make_model, make_data
):
    data = make_data(4)
    turned = make_model(("video", "audio"))
    step = jit_step(turned)
    expected, losses = train_step(start(initial), data, np.array([1, 0], np.float32))
    state, same = step(start(initial), data, np.array([0, 1], np.float32))
    assert same["joint"] == losses["joint"] == losses["audio"]
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6),
        state.params,
        expected.params,
    )


def test_a_lane_looks_its_labels_up_later(make_data):
    data = make_data(3, 4)
    labels = np.arange(3 * 6 * 2).reshape(3, 6, 2)
    labelled = np.ones((3, 6), np.float32)
    labelled[1, 5] = 0
    data = data._replace(labels=labels, labelled=labelled)
    for target, delay in ((0, 0), (1, 2)):
        batch = take_target(data, target, delay)
        expected = labels[:, delay : delay + 4, target]
        np.testing.assert_array_equal(batch.labels, expected)
        known = labelled[:, delay : delay + 4] * data.mask
        np.testing.assert_array_equal(batch.labelled, known)
