"""From lanes to candidates."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from grids import grid_arrays

from ifusion.core import ImplicitFusion, predict
from ifusion.lanes import Lane
from ifusion.systems import explicit, implicit_fusion, tuning
from ifusion.systems.neural import join_fitted
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import Candidate, Fitted, Setting
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.loop import train_lanes
from ifusion.training.sweep import build_sweep

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_candidates_are_the_lanes_of_a_sweep(utterances, fit_and_predict):
    """Trained without any system, bit for bit; predicted from without a learner."""
    protocol, fold = utterances
    tuned = {("audio", "emotion", 0.5): Setting(0.02), **fold.settings}
    fold = replace(fold, settings=tuned)
    fitted, outputs = fit_and_predict(implicit_fusion.IMPLICIT_FUSION, protocol, fold)
    lanes = [
        Lane(main, alpha, seed, "emotion", fold.setting(main, "emotion", alpha).l2)
        for main in protocol.mains
        for seed in protocol.seeds
        for alpha in protocol.alphas
    ]
    assert {(x.main, x.l2) for x in lanes} == {
        ("audio", 0.01),
        ("audio", 0.02),
        ("video", 0.0),
    }
    model = ImplicitFusion(protocol.modalities, 3, protocol.architecture)
    learner = make_implicit_fusion(model, protocol.num_features, protocol.loss)
    sweep = build_sweep(learner, protocol.dev_score, protocol.training, protocol.mesh)
    arrays = grid_arrays(lanes, protocol.modalities, protocol.targets)
    state, history = train_lanes(sweep, arrays, fold.train, fold.dev, protocol.training)
    for name, values in history.items():
        np.testing.assert_array_equal(fitted.history[name], values)
    outputs_of = jax.jit(
        lambda params: predict(model, params, fold.dev.features, fold.dev.mask).outputs
    )
    for i, (lane, candidate) in enumerate(zip(lanes, fitted.candidates, strict=True)):
        assert (candidate.main, candidate.seed) == (lane.main, lane.seed)
        assert candidate.setting == {"alpha": lane.alpha}
        assert candidate.best_epoch == state.best_epoch[i]
        params = jax.tree.map(lambda x, i=i: x[i], state.best_params)
        mine = {k: params[k] for k in (f"branch_{lane.main}", "shared", "output")}
        jax.tree.map(np.testing.assert_array_equal, fitted.params[i], mine)
        expected = outputs_of(params)[lane.main]
        np.testing.assert_allclose(outputs[i], expected, atol=1e-6)
        # branch: 12 x F + 12 + 4; shared: 12 x 4 + 12 + 4; output: 4 x 3 + 3
        size = protocol.num_features[lane.main]
        assert candidate.parameters == 12 * size + 16 + 64 + 15


def test_the_lanes_of_one_program_are_known_by_what_they_are_trained_on(utterances):
    """Settings, baseline and implicit fusion train a lane of alpha = 0 once."""
    protocol, fold = utterances
    seen = []

    def trainer(program, lanes, fold, *_):
        seen.append({(program.key, lane.identity) for lane in lanes})
        raise InterruptedError

    tuned = [
        Lane(main, 0.0, seed, "emotion", l2)
        for main in protocol.mains
        for seed in protocol.seeds
        for l2 in (0.0, 0.01)
    ]
    fits = [
        tuning.make_tuning(protocol, tuned),
        implicit_fusion.BASELINE.make_fit(protocol),
        implicit_fusion.IMPLICIT_FUSION.make_fit(protocol),
    ]
    for fit in fits:
        with pytest.raises(InterruptedError):
            fit(fold, trainer)
    settings, baseline, fused = seen
    assert (len(settings), len(baseline), len(fused)) == (8, 4, 8)
    assert baseline < settings and baseline == settings & fused


@pytest.mark.parametrize("system", [explicit.EARLY_FUSION, explicit.MODEL_LEVEL_FUSION])
def test_a_missing_modality_is_zeros_to_explicit_fusion(
    utterances, fit_and_predict, system
):
    protocol, fold = utterances
    fitted, outputs = fit_and_predict(system, protocol, fold)
    assert set(fitted.candidates[0].setting) == {"l2"}  # utterances have no delay
    predict, params = system.make_predict(protocol, "audio+video"), fitted.params[0]
    audio, mask = {"audio": fold.dev.features["audio"]}, fold.dev.mask
    zeros = {**audio, "video": np.zeros_like(fold.dev.features["video"])}
    without = predict(params, audio, mask)
    np.testing.assert_array_equal(without, predict(params, zeros, mask))
    assert np.abs(without - outputs[0]).max() > 1e-3


def test_explicit_fusion_tries_the_settings_of_each_main_once(
    recordings, fit_and_predict
):
    """And predicts 600 steps, where parts have 512, as it does the first 512."""
    protocol, fold = recordings
    options = replace(protocol.training, epochs=1)
    protocol = replace(protocol, seeds=(0,), training=options)
    fitted, _ = fit_and_predict(explicit.EARLY_FUSION, protocol, fold)
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

    rng, mask = np.random.default_rng(0), np.ones((1, 600), np.float32)
    features = {
        m: rng.standard_normal((1, 600, f)).astype(np.float32)
        for m, f in protocol.num_features.items()
    }
    predict = explicit.EARLY_FUSION.make_predict(protocol, "audio+video")
    outputs = predict(fitted.params[0], features, mask)
    assert outputs.shape == (1, 600, 1) and np.isfinite(outputs).all()
    start = {m: f[:, :512] for m, f in features.items()}
    expected = predict(fitted.params[0], start, mask[:, :512])
    np.testing.assert_allclose(outputs[:, :512], expected, atol=1e-5)


def test_explicit_fusion_of_one_modality_is_refused(utterances):
    protocol = replace(utterances[0], mains=("audio",))
    with pytest.raises(ValueError, match="at least two mains"):
        explicit.EARLY_FUSION.make_fit(protocol)


def test_parts_are_joined_in_their_order():
    def part(main, values, **history):
        candidates = tuple(Candidate(main, "emotion", i) for i in values)
        return Fitted(candidates, tuple({"x": i} for i in values), history)

    some = part("audio", [0, 1], joint=np.ones((3, 2)), audio=np.ones((3, 2)))
    more = part("video", [2], joint=np.zeros((1, 1)))
    joined = join_fitted([some, more])
    assert [(c.main, c.seed) for c in joined.candidates] == [
        ("audio", 0),
        ("audio", 1),
        ("video", 2),
    ]
    assert [p["x"] for p in joined.params] == [0, 1, 2]
    nan = np.nan
    np.testing.assert_array_equal(
        joined.history["joint"], [[1, 1, 0], [1, 1, nan], [1, 1, nan]]
    )
    np.testing.assert_array_equal(joined.history["audio"], [[1, 1, nan]] * 3)


@pytest.mark.parametrize(("most", "count"), [(100, 9), (4, 4)])
def test_every_auxiliary_has_a_weight_of_its_own(utterances, most, count):
    options = replace(
        utterances[0].systems, crossed_alphas=(0.0, 0.5, 1.0), most_weightings=most
    )
    protocol = replace(
        utterances[0], num_features={"a": 1, "b": 2, "c": 3}, systems=options
    )
    tried = implicit_fusion.own_weights(protocol, "b")
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
    tried = implicit_fusion.own_weights(protocol, "m0")
    assert len(tried) == min(options.most_weightings, 4**others)
    for m in names[1:]:
        assert {x.weights[m] for x in tried} == set(options.crossed_alphas)
