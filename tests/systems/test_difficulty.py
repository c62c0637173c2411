"""Two stages: what the second is handed, reads and leaves alone."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from ifusion.preprocessing.minibatches import take_target
from ifusion.systems import ddat, difficulty
from ifusion.systems.neural import (
    Stage,
    Trained,
    build_program,
    lane_arrays,
    plain_trainer,
    tuned_lane,
)
from ifusion.systems.reconstruction_error import TWO_STAGE, make_first

pytestmark = pytest.mark.usefixtures("unoptimised")

MAIN = "audio"
FIRST_STAGES = {
    "reconstruction error": lambda protocol: ddat.make_first(protocol, MAIN, False),
    "perception uncertainty": lambda protocol: ddat.make_first(protocol, MAIN, True),
    "autoencoder": lambda protocol: make_first(protocol, MAIN),
}


@pytest.fixture(params=FIRST_STAGES)
def first(request, recordings):
    return FIRST_STAGES[request.param](recordings[0])


def drawn(first, draw_like, lanes, seed=0):
    """Parameters of a first stage, one a lane."""
    shapes = jax.eval_shape(first.program.learner.init, jax.random.key(0), None)
    each = [draw_like(shapes, seed=seed + i) for i in range(lanes)]
    params = jax.tree.map(lambda *x: np.stack(x), *each)
    return Trained(params, None, None, np.full(lanes, -1), {})


def of_lane(stage, i):
    return jax.tree.map(lambda x: x[i], stage.params)


def freeze(first, fold, parts, stage, held_out):
    measure = difficulty.make_measure(first.difficulty, 4)
    return difficulty.freeze(
        first.difficulty, MAIN, fold, parts, stage, held_out, measure
    )


def test_statistics_are_those_of_the_steps_of_train(recordings, first, draw_like):
    fold = recordings[1]
    stage = drawn(first, draw_like, 2)
    frozen = freeze(first, fold, np.zeros(6, int), stage, [])
    x, mask = fold.train.features[MAIN], fold.train.mask
    for i in range(2):
        values = first.difficulty.estimate(of_lane(stage, i), x, mask, None)
        values = np.asarray(values)[mask > 0]
        assert values.shape == (37, 1)
        found = frozen["first"]
        np.testing.assert_allclose(found["mean"][i], values.mean(0), rtol=1e-4)
        np.testing.assert_allclose(found["std"][i], values.std(0), rtol=1e-3)
    assert frozen["held_out"] == {}


def test_speakers_are_dealt_out_and_windows_follow_them(recordings):
    fold = recordings[1]
    fold = replace(fold, speakers=np.array([7, 3, 5]))  # ranks 2, 0, 1: parts 0, 0, 1
    parts = difficulty.deal_parts(fold, 2)
    assert parts[:5].tolist() == [0, 0, 0, 0, 1]
    hidden = difficulty.without(fold, parts, 0).train
    assert not hidden.mask[:4].any() and not hidden.labelled[:4].any()
    np.testing.assert_array_equal(hidden.mask[4:], fold.train.mask[4:])
    unknown = replace(fold, origins=None)
    with pytest.raises(ValueError, match="the windows of train are cut from"):
        difficulty.deal_parts(unknown, 2)
    few = replace(fold, speakers=np.array([7, 7, 7]))
    with pytest.raises(ValueError, match="out_of_fold is 2, but train has only 1"):
        difficulty.deal_parts(few, 2)


def test_the_second_stage_reads_the_difficulty_beside_the_features(
    recordings, first, draw_like
):
    """Out of fold in train, of all speakers elsewhere; by hand, then as a whole."""
    protocol, fold = recordings
    parts = np.array([0, 0, 1, 1, 1, 0])
    stages = [drawn(first, draw_like, 1, seed) for seed in (0, 10, 20)]
    frozen = freeze(first, fold, parts, stages[0], stages[1:])
    inner = difficulty.mono_second(protocol, MAIN, first).learner
    learner = difficulty.with_difficulty(inner, MAIN, first.difficulty)
    lane = tuned_lane(fold, MAIN, "valence", 0, {})
    lane = jax.tree.map(
        lambda x: x[0],
        lane_arrays([lane], protocol.modalities, protocol.targets, frozen),
    )
    params = learner.init(jax.random.key(0), None)

    def estimates(stage, batch):
        x, mask = batch.features[MAIN], batch.mask
        return np.asarray(first.difficulty.estimate(of_lane(stage, 0), x, mask, None))

    def joined(batch, values, mean, std):
        values = (values - mean) / std * batch.mask[..., None]
        x = np.concatenate([batch.features[MAIN], values], -1)
        return batch._replace(features={MAIN: x})

    train_batch, exists = fold.train, fold.train.mask > 0
    unseen = np.where(
        (parts == 0)[:, None, None], *(estimates(x, train_batch) for x in stages[1:])
    )
    mean, std = unseen[exists].mean(), unseen[exists].std()
    marked = difficulty.mark_parts(fold, parts).train
    batch = take_target(marked, lane.target, lane.delay)
    loss, _ = learner.loss(params, batch, lane, 1, None)
    expected, _ = inner.loss(params, joined(batch, unseen, mean, std), lane, 1, None)
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    seen, _ = inner.loss(
        params, joined(batch, estimates(stages[0], batch), mean, std), lane, 1, None
    )
    assert abs(loss - seen) > 1e-3

    dev = fold.dev
    output = learner.output(params, dev, lane)
    by_all = joined(dev, estimates(stages[0], dev), mean, std)
    expected = inner.output(params, by_all, lane)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)


def test_the_first_stage_is_read_not_trained_and_the_second_starts_from_it(
    recordings, first, draw_like
):
    protocol, fold = recordings
    stages = [drawn(first, draw_like, 2, seed) for seed in (0, 10, 20)]
    parts = np.array([0, 0, 1, 1, 1, 0])
    frozen = freeze(first, fold, parts, stages[0], stages[1:])
    start = {k: stages[0].params[k] for k in ("branch_audio", "shared")}
    inner = difficulty.mono_second(protocol, MAIN, first).learner
    learner = difficulty.with_difficulty(inner, MAIN, first.difficulty)
    program = build_program(protocol, "second", learner)
    lanes = [tuned_lane(fold, MAIN, "arousal", seed, {}) for seed in (0, 1)]
    state = program.sweep.init(
        lane_arrays(lanes, protocol.modalities, protocol.targets, frozen), start
    )
    begun = state.best_params
    assert set(begun) == {"branch_audio", "shared", "output"}  # nor has it moments
    assert len(jax.tree.leaves(state.train.opt_state[0].mu)) == len(
        jax.tree.leaves(begun)
    )
    weight = begun["branch_audio"]["gru_0"]["input"]["weight"]
    known = stages[0].params["branch_audio"]["gru_0"]["input"]["weight"]
    np.testing.assert_array_equal(weight[..., :3], known)
    assert weight.shape == (2, 12, 4) and np.abs(weight[..., 3]).min() > 0
    jax.tree.map(np.testing.assert_array_equal, begun["shared"], start["shared"])
    done = plain_trainer(
        program,
        lanes,
        difficulty.mark_parts(fold, parts),
        Stage("second", frozen, start),
    )
    kernel = begun["shared"]["gru_0"]["kernel"]
    assert (np.asarray(done.params["shared"]["gru_0"]["kernel"]) != kernel).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "options"),
    [
        (ddat.DDAT_PU, {"out_of_fold": 2, "warm_start": True}),
        (ddat.FUSED_RE, {"out_of_fold": 3, "warm_start": True}),
        (TWO_STAGE, {"error_vector": True, "out_of_fold": 2}),
    ],
)
def test_every_option_fits_and_predicts(system, options, recordings, fit_and_predict):
    protocol, fold = recordings
    protocol = replace(protocol, systems=replace(protocol.systems, **options))
    fitted, outputs = fit_and_predict(system, protocol, fold)
    assert np.isfinite(outputs).all() and not any(c.failed for c in fitted.candidates)
    # the parts of train are no parameters of the prediction
    plain = replace(protocol, systems=replace(protocol.systems, out_of_fold=0))
    without, _ = fit_and_predict(system, plain, fold)
    assert [c.parameters for c in without.candidates] == [
        c.parameters for c in fitted.candidates
    ]
