"""From lanes to candidates."""

from dataclasses import replace
from itertools import product

import jax
import numpy as np
import pytest

from ifusion.core import ImplicitFusion, predict
from ifusion.systems import explicit, implicit_fusion
from ifusion.systems.neural import build_program, join_fitted, train
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import Candidate, Fitted
from ifusion.training.lanes import Lane, lane_arrays
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.loop import train_lanes
from ifusion.training.sweep import build_sweep

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture(scope="module")
def fitted(utterances, watch):
    protocol, fold = utterances
    return implicit_fusion.IMPLICIT_FUSION.make(protocol)(fold, watch)


def test_candidates_are_the_lanes_of_a_sweep(utterances, fitted, watch):
    """Trained without any system, bit for bit; predicted from without a learner."""
    protocol, fold = utterances
    lanes = [
        Lane(main, alpha, seed, "emotion", fold.settings[main, "emotion"].l2)
        for main in protocol.mains
        for seed in protocol.seeds
        for alpha in protocol.alphas
    ]
    model = ImplicitFusion(protocol.modalities, 3, protocol.architecture)
    learner = make_implicit_fusion(model, protocol.num_features, protocol.loss)
    sweep = build_sweep(learner, protocol.dev_score, protocol.training, protocol.mesh)
    arrays = lane_arrays(lanes, protocol.modalities, protocol.targets)
    state, _ = train_lanes(sweep, arrays, fold.train, fold.dev, protocol.training)
    program = build_program(protocol, implicit_fusion.make_learner(protocol), 8)
    weightings = implicit_fusion.equal_weights(protocol, protocol.alphas)
    own = [
        x
        for main, seed in product(protocol.mains, protocol.seeds)
        for x in implicit_fusion.weighted_lanes(fold, main, "emotion", seed, weightings)
    ]
    trained = train(protocol, program, own, fold, watch)
    jax.tree.map(np.testing.assert_array_equal, trained.params, state.best_params)
    features, mask = fold.dev.features, fold.dev.mask
    outputs = fitted.predict(features, mask, range(len(lanes)))
    outputs_of = jax.jit(lambda params: predict(model, params, features, mask)[0])
    for i, (lane, candidate) in enumerate(zip(lanes, fitted.candidates, strict=True)):
        assert (candidate.main, candidate.seed) == (lane.main, lane.seed)
        assert candidate.setting == {"alpha": lane.alpha}
        params = jax.tree.map(lambda x, i=i: x[i], state.best_params)
        expected = outputs_of(params)[lane.main]
        np.testing.assert_allclose(outputs[i], expected, atol=1e-6)


def test_parameters_are_those_of_one_branch_and_the_head(fitted):
    # branch: 12 x F + 12 + 4; shared: 12 x 4 + 12 + 4; output: 4 x 3 + 3
    for candidate in fitted.candidates:
        size = {"audio": 3, "video": 5}[candidate.main]
        assert candidate.parameters == 12 * size + 16 + 64 + 15


def test_what_is_predicted_from_alone_cannot_be_missing(utterances, fitted):
    dev = utterances[1].dev
    video = [i for i, c in enumerate(fitted.candidates) if c.main == "video"]
    with pytest.raises(ValueError, match="'video' is missing"):
        fitted.predict({"audio": dev.features["audio"]}, dev.mask, video)


@pytest.mark.parametrize("system", [explicit.EARLY_FUSION, explicit.MODEL_LEVEL_FUSION])
def test_a_missing_modality_is_zeros_to_explicit_fusion(utterances, watch, system):
    protocol, fold = utterances
    fitted = system.make(protocol)(fold, watch)
    dev, every = fold.dev, range(len(fitted.candidates))
    audio = {"audio": dev.features["audio"]}
    zeros = {**audio, "video": np.zeros_like(dev.features["video"])}
    without = fitted.predict(audio, dev.mask, every)
    np.testing.assert_array_equal(without, fitted.predict(zeros, dev.mask, every))
    assert np.abs(without - fitted.predict(dev.features, dev.mask, every)).max() > 1e-3


def test_explicit_fusion_tries_the_settings_of_each_main_once(recordings, watch):
    protocol, fold = recordings
    protocol = replace(
        protocol, seeds=(0,), training=replace(protocol.training, epochs=1)
    )
    fitted = explicit.EARLY_FUSION.make(protocol)(fold, watch)
    settings = {
        target: [dict(c.setting) for c in fitted.candidates if c.target == target]
        for target in protocol.targets
    }
    assert settings == {
        "arousal": [{"l2": 0.01, "delay": 0.04}, {"l2": 0.0, "delay": 0.04}],
        "valence": [{"l2": 0.0, "delay": 0.08}],
    }
    step = protocol.frame_step  # [s], as the delay of a setting; outputs in frames
    assert all(c.delay * step == c.setting["delay"] for c in fitted.candidates)


def test_explicit_fusion_of_one_modality_is_refused(utterances):
    protocol = replace(utterances[0], mains=("audio",))
    with pytest.raises(ValueError, match="two modalities or more"):
        explicit.EARLY_FUSION.make(protocol)


def test_long_sequences_are_padded_to_whole_parts(recordings, watch):
    """600 steps, where parts have 512: the first are those of a sequence of 512."""
    protocol, fold = recordings
    options = replace(protocol.training, epochs=1)
    protocol = replace(protocol, seeds=(0,), training=options)
    fitted = explicit.MODEL_LEVEL_FUSION.make(protocol)(fold, watch)
    rng, mask = np.random.default_rng(0), np.ones((1, 600), np.float32)
    features = {
        m: rng.standard_normal((1, 600, f)).astype(np.float32)
        for m, f in protocol.num_features.items()
    }
    outputs = fitted.predict(features, mask, [0])
    assert outputs.shape == (1, 1, 600, 1)
    start = {m: f[:, :512] for m, f in features.items()}
    expected = fitted.predict(start, mask[:, :512], [0])
    np.testing.assert_allclose(outputs[:, :, :512], expected, atol=1e-5)
    assert np.isfinite(outputs).all()


def test_parts_are_joined_in_their_order():
    def constant(value):
        def predict(features, mask, positions):
            return np.stack([np.full((1, 1, 1), value + i) for i in positions])

        return predict

    some = Fitted((Candidate("audio", "emotion", 0),) * 2, constant(10))
    more = Fitted((Candidate("video", "emotion", 0),) * 3, constant(20))
    joined = join_fitted([some, more])
    assert [c.main for c in joined.candidates] == ["audio"] * 2 + ["video"] * 3
    outputs = joined.predict({}, np.ones((1, 1)), [4, 1, 2, 0])
    assert outputs.ravel().tolist() == [22, 11, 20, 10]


@pytest.mark.parametrize(("most", "count"), [(100, 9), (4, 4)])
def test_every_auxiliary_has_a_weight_of_its_own(utterances, most, count):
    options = replace(
        utterances[0].systems, crossed_alphas=(0.0, 0.5, 1.0), most_weightings=most
    )
    protocol = replace(
        utterances[0], num_features={"a": 1, "b": 2, "c": 3}, systems=options
    )
    tried = implicit_fusion.own_weights(protocol)("b")
    assert (
        len(tried) == count and len({tuple(x.weights.items()) for x in tried}) == count
    )
    assert tried[0].setting == {"alpha_a": 0.0, "alpha_c": 0.0}
    assert all(x.weights["b"] == 1.0 for x in tried)
    for x in tried:
        assert x.setting == {f"alpha_{m}": x.weights[m] for m in "ac"}


@pytest.mark.parametrize("others", [3, 4])
def test_of_many_combinations_every_weight_of_every_auxiliary_is_tried(
    utterances, others
):
    names = [f"m{i}" for i in range(others + 1)]
    options = SystemOptions()
    protocol = replace(
        utterances[0], num_features=dict.fromkeys(names, 1), systems=options
    )
    tried = implicit_fusion.own_weights(protocol)("m0")
    assert len(tried) == min(options.most_weightings, 4**others)
    for m in names[1:]:
        assert {x.weights[m] for x in tried} == set(options.crossed_alphas)
