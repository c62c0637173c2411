from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import make_lane

from ifusion.core import ImplicitFusion, init_params, make_joint_loss, predict
from ifusion.losses import cross_entropy
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import Batch
from ifusion.training.learner import predict_in_parts, zero_hidden

SIZES = Architecture(branch_layers=2, shared_layers=1, hidden_size=4)
MODEL = ImplicitFusion(("audio", "video"), 3, SIZES)
PREDICT = jax.jit(lambda *arguments: predict(*arguments).outputs, static_argnums=0)
SHAPE = (5, 3)


def shapes_of(model, num_features):
    return jax.eval_shape(
        lambda key: init_params(model, key, num_features), jax.random.key(0)
    )


@pytest.fixture(scope="module")
def params(draw_params):
    return draw_params(MODEL)


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(*SHAPE)


@pytest.mark.parametrize("field", ["branch_layers", "shared_layers", "hidden_size"])
def test_sizes_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"model.{field} is 0; expected at least 1"):
        Architecture(**{field: 0})


def test_predictions_equal_the_equations_in_numpy(params, data, numpy_stack):
    outputs = PREDICT(MODEL, params, data.features, data.mask)
    assert set(outputs) == {"audio", "video"}
    for m, output in outputs.items():
        r = numpy_stack(params[f"branch_{m}"], data.features[m], data.mask)  # Eq. 1
        p = numpy_stack(params["shared"], r, data.mask)  # Eq. 2
        p = p @ params["output"]["kernel"] + params["output"]["bias"]
        np.testing.assert_allclose(output, p, atol=1e-5)


def test_a_loss_counts_only_recordings_that_have_the_modality(draw_params, make_data):
    """As if the terms of the others were dropped by hand."""
    model = ImplicitFusion(("audio", "video"), 3, Architecture(1, 1, 4, pooling="mean"))
    params, data = draw_params(model), make_data(6, 2)
    labels, ones = data.labels[:, 0], np.ones((6, 1), np.float32)
    there = {"audio": [0, 1, 2, 3, 4, 5], "video": [0, 2, 3, 5]}
    steps = {m: data.mask * np.isin(np.arange(6), x)[:, None] for m, x in there.items()}
    weights = {"audio": 1.0, "video": 0.5}
    loss = make_joint_loss(model, cross_entropy)
    lane = make_lane(jnp.array([*weights.values()]))

    def by_hand(params):
        joint = 0.0
        for m, rows in there.items():
            own = {m: data.features[m][np.array(rows)]}
            outputs = predict(model, params, own, data.mask[np.array(rows)]).outputs
            chances = jax.nn.log_softmax(outputs[m][:, 0])
            truth = jax.nn.one_hot(labels[np.array(rows), 0], 3)
            joint -= weights[m] * jnp.sum(chances * truth) / len(rows)
        return joint

    def masked(params, features):
        batch = Batch(features, ones, labels, ones, steps=steps)
        return loss(params, batch, lane, 1, None)[0]

    both = jax.jit(
        lambda params, features: (
            jax.value_and_grad(masked)(params, features),
            jax.value_and_grad(by_hand)(params),
        )
    )
    found, expected = both(params, data.features)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
        found,
        expected,
    )
    garbage = {m: x.copy() for m, x in data.features.items()}
    garbage["video"][[1, 4]] = 1e6
    spoilt, _ = both(params, garbage)
    jax.tree.map(np.testing.assert_array_equal, spoilt, found)


def test_representations_and_head_make_the_prediction(params, data):
    features, mask = data.features, data.mask
    branches = {n: p for n, p in params.items() if n.startswith("branch_")}
    head = {n: p for n, p in params.items() if not n.startswith("branch_")}
    # a branch knows no head, the head knows no branch
    represent = jax.jit(partial(MODEL.apply, method="represent"), static_argnums=1)
    decide = jax.jit(partial(MODEL.apply, method="decide"))
    representations = {
        m: represent({"params": branches}, m, features[m], mask)[0] for m in features
    }
    shapes = {m: r.shape for m, r in representations.items()}
    assert shapes == dict.fromkeys(features, (*SHAPE, 4))
    p, _ = decide({"params": head}, representations, mask)
    whole = PREDICT(MODEL, params, features, mask)
    for m in whole:
        np.testing.assert_allclose(p[m], whole[m], atol=1e-6)


def test_no_parameter_of_another_modality_is_needed(params, data):
    features = {"audio": data.features["audio"]}
    rest = {name: p for name, p in params.items() if name != "branch_video"}
    with_video = PREDICT(MODEL, params, features, data.mask)
    without = PREDICT(MODEL, rest, features, data.mask)
    np.testing.assert_array_equal(with_video["audio"], without["audio"])
    alone = PREDICT(ImplicitFusion(("audio",), 3, SIZES), rest, features, data.mask)
    np.testing.assert_array_equal(alone["audio"], without["audio"])
    with pytest.raises(Exception, match="branch_video"):
        predict(MODEL, rest, {"video": data.features["video"]}, data.mask)


def test_every_modality_keeps_its_own_prediction_in_any_order(params, data):
    expected = PREDICT(MODEL, params, data.features, data.mask)
    turned = ImplicitFusion(("video", "audio"), 3, SIZES)
    features = {m: data.features[m] for m in turned.modalities}
    outputs = PREDICT(turned, params, features, data.mask)
    assert not np.allclose(expected["audio"], expected["video"])
    for m in expected:
        np.testing.assert_allclose(outputs[m], expected[m], atol=1e-6)


def test_initial_weights_of_a_branch_know_no_other_modality(num_features):
    sizes = Architecture(hidden_size=4, recurrent=False)

    @jax.jit
    def init(key):
        models = [
            ImplicitFusion(m, 3, sizes) for m in (("audio",), tuple(num_features))
        ]
        return [
            init_params(x, key, {m: num_features[m] for m in x.modalities})
            for x in models
        ]

    audio, both = init(jax.random.key(5))
    assert set(both) - set(audio) == {"branch_video"}
    jax.tree.map(
        np.testing.assert_array_equal, audio, {name: both[name] for name in audio}
    )


# ---- recordings in parts -------------------------------------------------------------


SIZES_OF_PARTS = [(7,), (3, 4), (1,) * 7, (2, 1, 4)]


def in_parts(parts):
    """Predicts part after part and glues the outputs together."""

    def run(params, features, mask):
        state = zero_hidden(MODEL, tuple(features), len(mask))
        outputs, begin = {m: [] for m in features}, 0
        for size in parts:
            part = slice(begin, begin + size)
            taken = {m: f[:, part] for m, f in features.items()}
            predicted, state, _ = predict(MODEL, params, taken, mask[:, part], state)
            begin += size
            for m, p in predicted.items():
                outputs[m].append(p)
        return {m: jnp.concatenate(p, axis=1) for m, p in outputs.items()}, state

    return run


@pytest.mark.parametrize("modalities", [("audio",), ("audio", "video")])
@pytest.mark.parametrize("parts", SIZES_OF_PARTS)
def test_parts_of_a_recording_predict_what_the_whole_does(
    params, make_data, parts, modalities
):
    data = make_data(5, 7)
    features = {m: data.features[m] for m in modalities}
    mask = data.mask.copy()
    mask[0, 2] = 0  # a hole, over which the state is held
    whole = PREDICT(MODEL, params, features, mask)
    outputs, state = jax.jit(in_parts(parts))(params, features, mask)
    assert set(state) == set(outputs) == set(modalities)
    for m in modalities:
        np.testing.assert_allclose(outputs[m], whole[m], atol=1e-6)
        assert state[m].branch.shape == (2, 5, 4) and state[m].shared.shape == (1, 5, 4)
    # the last state of the top layer is what the last output was made of
    last = state["audio"].shared[-1] @ params["output"]["kernel"]
    np.testing.assert_allclose(
        last + params["output"]["bias"], whole["audio"][:, -1], atol=1e-6
    )


def test_the_gradient_of_parts_is_that_of_the_whole(params, make_data):
    data = make_data(5, 7)

    def gradient(predict):
        def loss(params, features):
            outputs = predict(params, features, data.mask)
            return sum(jnp.sum(jnp.square(p)) for p in outputs.values())

        return jax.jit(jax.grad(loss, (0, 1)))(params, data.features)

    parts = gradient(lambda *arguments: in_parts((3, 4))(*arguments)[0])
    whole = gradient(lambda *arguments: predict(MODEL, *arguments).outputs)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4),
        parts,
        whole,
    )


def test_a_model_for_single_steps_carries_nothing(data):
    sizes = Architecture(hidden_size=4, recurrent=False)
    model = ImplicitFusion(("audio",), 3, sizes)
    params = init_params(model, jax.random.key(0), {"audio": 3})
    features = {"audio": data.features["audio"][:, :1]}
    state = zero_hidden(model, ("audio",), len(data.mask))
    with pytest.raises(ValueError, match="single steps has no memory"):
        predict(model, params, features, data.mask[:, :1], state)


def test_any_number_of_modalities():
    three = {"audio": 3, "text": 2, "video": 5}
    model = ImplicitFusion(tuple(three), 2, SIZES)
    params = shapes_of(model, three)
    assert set(params) == {*(f"branch_{m}" for m in three), "shared", "output"}
    features = {m: np.ones((2, 1, f), np.float32) for m, f in three.items()}
    outputs = jax.eval_shape(
        lambda p: predict(model, p, features, np.ones((2, 1), np.float32)).outputs,
        params,
    )
    assert {m: p.shape for m, p in outputs.items()} == dict.fromkeys(three, (2, 1, 2))


def test_number_of_parameters_of_the_paper():
    # Sec. 4.2 on OMG-Emotion: 88 and 4096 features, 100 units, 7 classes; T = 1
    model = ImplicitFusion(("audio", "video"), 7, Architecture(recurrent=False))
    shapes = shapes_of(model, {"audio": 88, "video": 4096})
    layers = [(88 + 1) * 300 + 100, (4096 + 1) * 300 + 100, (100 + 1) * 300 + 100]
    count = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
    assert count == sum(layers) + 101 * 7


@pytest.mark.parametrize("steps", [2, 4, 8, 100])
def test_predicting_in_parts_changes_nothing(params, make_data, steps):
    data = make_data(5, 8)
    whole = PREDICT(MODEL, params, data.features, data.mask)
    parts = jax.jit(predict_in_parts, static_argnums=(0, 4))(
        MODEL, params, data.features, data.mask, steps
    )
    for m, outputs in parts.items():
        np.testing.assert_allclose(outputs, whole[m], atol=1e-6)


def test_parts_that_do_not_fit_are_refused(params, make_data):
    data = make_data(2, 8)
    with pytest.raises(ValueError, match="8 steps are not a multiple of parts of 3"):
        predict_in_parts(MODEL, params, data.features, data.mask, 3)
