import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import make_lane

from ifusion.core import by_optimizer, init_state, make_train_step
from ifusion.losses import cross_entropy
from ifusion.preprocessing.minibatches import take_batch, take_target
from ifusion.preprocessing.sequences import Batch
from ifusion.training.learner import make_implicit_fusion

UPDATES = 6


def adam():
    return optax.adam(1e-3)


def jit_step(model, task_loss=cross_entropy):
    """A step on the first target, without delay."""
    learner = make_implicit_fusion(model, {}, task_loss)  # never drawn anew here
    step = make_train_step(learner.loss, by_optimizer(adam()), learner.trains)

    def take_step(state, data, weights, l2=0.0):
        return step(state, take_target(data, 0, 0), make_lane(weights, l2), 1)

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


def train(step, params, data, order, weights, l2, dtype):
    """Updates on minibatches, one by one: (state, losses {name: (updates,)})."""
    data = Batch(**data, labelled=data["mask"])
    weights = np.array([*weights.values()], np.float32)
    with jax.enable_x64(dtype == np.float64):
        state, history = start(params, dtype), []
        for rows in order:
            state, losses = step(state, take_batch(data, rows), weights, l2)
            history.append(losses)
    return state, {name: [x[name] for x in history] for name in history[0]}


@pytest.mark.parametrize(
    ("dtype", "tolerance", "kind"),
    [
        pytest.param(np.float32, 1e-5, "single", id="float32"),
        pytest.param(np.float64, 1e-10, "recurrent", id="float64"),
    ],
)
@pytest.mark.parametrize(
    ("case", "weights", "l2"),
    [
        ("eq_3", {"audio": 1.0, "video": 0.5}, 0.0),
        ("eq_4", {"audio": 0.25, "video": 1.0}, 0.0),
        ("baseline", {"audio": 1.0, "video": 0.0}, 0.0),
        ("penalty", {"audio": 1.0, "video": 0.5}, 0.05),  # on weights, not on biases
    ],
)
def test_training_equals_pytorch(
    reference, train_step, recurrent_step, case, weights, l2, dtype, tolerance, kind
):
    inputs, outputs = reference("training", dtype)
    step = {"single": train_step, "recurrent": recurrent_step}[kind]
    order, expected = inputs["order"], outputs[kind][case]
    assert len(order) == UPDATES and sum(order[2] >= 0) == 2
    state, losses = train(
        step, **inputs[kind], order=order, weights=weights, l2=l2, dtype=dtype
    )
    for name in ["joint", *(m for m, weight in weights.items() if weight > 0)]:
        np.testing.assert_allclose(
            losses[name], expected["losses"][name], atol=tolerance, err_msg=name
        )
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {np.dtype(dtype)}
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance),
        state.params,
        expected["params"],
    )
    assert state.step == UPDATES and state.failed_step == -1


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
