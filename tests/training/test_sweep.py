"""The sweep against single runs, plain loops and numpy.

All lanes here: two mains, alpha 0 and 0.5, two seeds; 20 sequences, five updates an
epoch.
"""

import logging
import re
from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ifusion.core import LaneArrays, predict
from ifusion.losses import cross_entropy
from ifusion.preprocessing.sequences import Batch
from ifusion.training.epoch import add_noise, minibatch_order, shift_back, take_batch
from ifusion.training.lanes import Lane, lane_arrays, make_grid
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.loop import Snapshot, even_chunk, train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.snapshot import restore_snapshot, snapshot_arrays
from ifusion.training.sweep import make_sweep

MODALITIES = ("audio", "video")
TARGETS = ("emotion",)
LANES = make_grid(MODALITIES, TARGETS, (0.0, 0.5), (0, 1))
ARRAYS = lane_arrays(LANES, MODALITIES, TARGETS)
NUM_TRAIN = 20
OPTIONS = TrainingOptions(epochs=20, patience=20, batch_size=4)
FOUR_EPOCHS = replace(OPTIONS, epochs=4)  # 20 updates


def pick(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def of_lane(history, i):
    return {name: values[:, i] for name, values in history.items()}


def with_ninth(lanes):
    return LaneArrays(*(np.concatenate([x, x[-1:]]) for x in lanes))


def alone(i):
    return LaneArrays(*(x[i : i + 1] for x in ARRAYS))


@contextmanager
def float64():
    """64 bits, and no optimising of programs that run once."""
    with jax.enable_x64(True):
        jax.config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", False)


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def assert_close(tree, other, atol):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), tree, other)


def negative_loss(outputs, labels, mask):
    return -cross_entropy(outputs, labels, mask)


def accuracy(outputs, labels, mask):
    return jnp.sum((jnp.argmax(outputs, -1) == labels) * mask) / jnp.sum(mask)


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(NUM_TRAIN), make_data(12, seed=1)


@pytest.fixture(scope="module")
def data64(make_data):
    return (
        make_data(NUM_TRAIN, dtype=np.float64),
        make_data(12, seed=1, dtype=np.float64),
    )


@pytest.fixture(scope="module")
def build(make_model, num_features, mesh):
    def make(group, options=OPTIONS, score=negative_loss, recurrent=False, chunk=None):
        model = make_model(recurrent=recurrent)
        learner = make_implicit_fusion(model, num_features, cross_entropy)
        return make_sweep(learner, score, options, mesh, group, chunk=chunk)

    return make


@pytest.fixture(scope="module")
def sweep(build):
    """Eight lanes in three groups of three, of which one is padding."""
    return build(3)


@pytest.fixture(scope="module")
def single(build):
    """Lanes one after another."""
    return build(1)


@pytest.fixture(scope="module")
def start(sweep):
    """The state of all lanes, and a ninth, before the first update."""
    return jax.device_get(sweep.init(with_ninth(ARRAYS)))


@pytest.fixture(scope="module")
def starting(start, mesh):
    """Starts a sweep from the weights of `start`: in float64, or without compiling."""
    everywhere = NamedSharding(mesh, PartitionSpec("lanes"))

    def replaced(sweep, dtype=np.float32):
        def init(lanes, given=None):
            rows = [list(ARRAYS.seed).index(seed) for seed in lanes.seed]
            state = jax.tree.map(
                lambda x: x[rows].astype(dtype if x.dtype == np.float32 else x.dtype),
                start,
            )
            return jax.device_put(state, everywhere)

        return replace(sweep, init=init)

    return replaced


@pytest.fixture(scope="module")
def logged_run(sweep, data):
    """The sweep as users run it, and what jax said about compiling."""
    lines, handler = [], logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("jax")
    logger.addHandler(handler)
    with jax.log_compiles(True):
        run = train_lanes(sweep, ARRAYS, *data, FOUR_EPOCHS)
    logger.removeHandler(handler)
    return run, "\n".join(lines)


@pytest.fixture(scope="module")
def short_run(logged_run):
    return logged_run[0]


@pytest.fixture(scope="module")
def long_run64(sweep, starting, data64):
    with float64():
        return train_lanes(starting(sweep, np.float64), ARRAYS, *data64, OPTIONS)


# ---- a lane does not know its neighbours ------------------------------------------


def test_twenty_updates_equal_the_lane_alone_in_float32(
    single, starting, data, short_run
):
    state, history = short_run
    assert (state.train.step == 20).all()
    for i in range(len(LANES)):
        own, losses = train_lanes(starting(single), alone(i), *data, FOUR_EPOCHS)
        assert_close(pick(state.train.params, i), pick(own.train.params, 0), 1e-4)
        for name in ("joint", *MODALITIES):
            np.testing.assert_allclose(
                history[name][:, i], losses[name][:, 0], atol=1e-6
            )


def test_twenty_epochs_equal_the_lane_alone_in_float64(
    single, starting, data64, long_run64
):
    state, history = long_run64
    assert state.train.params["output"]["kernel"].dtype == np.float64
    assert (state.train.step == 20 * 5).all()
    for i in (1, 6):
        with float64():
            own, losses = train_lanes(
                starting(single, np.float64), alone(i), *data64, OPTIONS
            )
        assert_close(pick(state, i), pick(own, 0), 1e-9)
        assert_close(of_lane(history, i), of_lane(losses, 0), 1e-9)


def test_replayed_at_the_width_of_the_sweep_a_lane_is_the_same_bit_for_bit(
    sweep, starting, data, short_run
):
    state, history = short_run
    for i in range(len(LANES)):
        own, losses = train_lanes(starting(sweep), alone(i), *data, FOUR_EPOCHS)
        assert_same(pick(state, i), pick(own, 0))
        assert_same(of_lane(history, i), of_lane(losses, 0))


def test_lanes_of_one_seed_start_from_the_same_weights(start):
    for seed in (0, 1):
        first, *others = [i for i, lane in enumerate(LANES) if lane.seed == seed]
        for i in others:
            assert_same(pick(start.train.params, i), pick(start.train.params, first))
    kernels = start.train.params["output"]["kernel"]
    assert not np.allclose(kernels[0], kernels[[x.seed for x in LANES].index(1)])
    assert_same(start.best_params, start.train.params)
    assert np.isneginf(start.best_score).all() and (start.best_epoch == 0).all()


# ---- against a loop without auxiliary, lanes or program -----------------------------


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("main", MODALITIES)
def test_alpha_0_equals_a_model_without_auxiliary_in_float64(
    start, data64, long_run64, train_mono_modal, minibatches, main, seed
):
    state, history = long_run64
    i = LANES.index(Lane(main, 0.0, seed, "emotion"))
    initial = pick(start.train.params, i)
    with float64():
        params = jax.tree.map(lambda x: x.astype(np.float64), initial)
        batches = list(minibatches(seed, 20, NUM_TRAIN))
        plain = train_mono_modal(main, params, data64[0], batches)
    own = {name: pick(state.train.params[name], i) for name in plain.params[-1]}
    assert_close(own, plain.params[-1], 1e-9)
    losses = np.reshape(plain.losses, (20, 5)).mean(1)  # minibatches of equal size
    np.testing.assert_allclose(history["joint"][:, i], losses, atol=1e-9)
    np.testing.assert_allclose(history[main][:, i], losses, atol=1e-9)


@pytest.mark.parametrize("main", MODALITIES)
def test_alpha_0_equals_a_model_without_auxiliary_in_float32(
    start, data, short_run, train_mono_modal, minibatches, main
):
    state, history = short_run
    i = LANES.index(Lane(main, 0.0, 0, "emotion"))
    initial = pick(start.train.params, i)
    plain = train_mono_modal(main, initial, data[0], minibatches(0, 4, NUM_TRAIN))
    own = {name: pick(state.train.params[name], i) for name in plain.params[-1]}
    assert_close(own, plain.params[-1], 1e-4)
    losses = np.reshape(plain.losses, (4, 5)).mean(1)
    np.testing.assert_allclose(history["joint"][:, i], losses, atol=1e-6)


def test_alpha_above_0_is_another_run(short_run):
    state, history = short_run
    for main in MODALITIES:
        baseline, fused = (LANES.index(Lane(main, a, 0, "emotion")) for a in (0.0, 0.5))
        kernels = state.train.params["shared"]["gru_0"]["input"]["weight"]
        assert np.abs(kernels[baseline] - kernels[fused]).max() > 1e-3
        joint = {i: history["joint"][:, i] for i in (baseline, fused)}
        np.testing.assert_allclose(
            joint[fused],
            sum(history[m][:, fused] * (1.0 if m == main else 0.5) for m in MODALITIES),
            rtol=1e-5,
        )
        np.testing.assert_array_equal(joint[baseline], history[main][:, baseline])


# ---- room for more data changes nothing ---------------------------------------------


def test_room_for_sequences_and_steps_changes_nothing(
    build, make_data, train_mono_modal, minibatches, make_model, draw_like
):
    """Ten sequences of two steps in room for 15 of four, against a loop without it."""
    train = make_data(10, 2, dtype=np.float64)
    dev = make_data(5, 2, seed=1, dtype=np.float64)

    def in_room(batch, sequences, steps):
        room = ((0, sequences), (0, steps))
        return jax.tree.map(
            lambda x: np.pad(x, (*room, *[(0, 0)] * (x.ndim - 2))), batch
        )

    sweep = build(1, recurrent=True)
    lanes = alone(LANES.index(Lane("audio", 0.0, 0, "emotion")))
    initial = drawn_start(sweep, lanes, draw_like)
    with float64():
        batches = list(minibatches(0, 4, 10))
        state, history = train_lanes(
            replace(
                sweep, init=lambda lanes, given: jax.tree.map(jnp.asarray, initial)
            ),
            lanes,
            in_room(train, 5, 2),
            in_room(dev, 3, 2),
            FOUR_EPOCHS,
            num_sequences=10,
        )
        first = pick(initial.train.params, 0)
        plain = train_mono_modal("audio", first, train, batches, recurrent=True)
        model = make_model(("audio",), recurrent=True)
        outputs = jax.jit(lambda params, *data: predict(model, params, *data))(
            plain.params[-1], {"audio": dev.features["audio"]}, dev.mask
        )
        score = negative_loss(outputs["audio"], dev.labels[..., 0], dev.mask)
    assert state.train.step == 4 * 3
    own = {name: pick(state.train.params[name], 0) for name in plain.params[-1]}
    assert_close(own, plain.params[-1], 1e-9)
    np.testing.assert_allclose(history["dev_score"][-1], score, atol=1e-9)
    # the mean over steps of an epoch, whichever minibatch they are in
    steps = [train.mask[rows[rows >= 0]].sum() for rows in batches]
    losses = np.reshape(np.multiply(plain.losses, steps), (4, 3)).sum(1) / sum(
        steps[:3]
    )
    np.testing.assert_allclose(history["joint"][:, 0], losses, atol=1e-9)


def drawn_start(sweep, lanes, draw_like, dtype=np.float64):
    """A start whose weights are drawn by numpy."""
    shapes = jax.eval_shape(sweep.init, lanes)
    zeros = jax.tree.map(
        lambda x: np.zeros(x.shape, dtype if x.dtype == np.float32 else x.dtype),
        shapes,
    )
    params = draw_like(shapes.train.params, dtype)
    return zeros._replace(
        train=zeros.train._replace(
            params=params, failed_step=zeros.train.failed_step - 1
        ),
        best_params=params,
        best_score=zeros.best_score - np.inf,
    )


# ---- what is not finite stays where it is -------------------------------------------


def with_nan(batch, modality, rows):
    features = np.array(batch.features[modality])
    features[rows] = np.nan
    return batch._replace(features={**batch.features, modality: features})


def test_nan_of_an_auxiliary_does_not_reach_the_baseline(sweep, data, short_run):
    clean, _ = short_run
    train, dev = data
    everywhere = slice(None)
    state, history = train_lanes(
        sweep,
        ARRAYS,
        with_nan(train, "video", everywhere),
        with_nan(dev, "video", everywhere),
        FOUR_EPOCHS,
    )
    for i, lane in enumerate(LANES):
        if lane == Lane("audio", 0.0, lane.seed, "emotion"):
            assert_same(pick(state, i), pick(clean, i))
            assert np.isfinite(history["joint"][:, i]).all()
        else:
            assert state.train.failed_step[i] == state.train.step[i] == 0


def test_a_lane_that_fails_freezes_and_disturbs_no_other(
    sweep, data, short_run, minibatches
):
    """One bad sequence of video fails each lane that looks at it, when it comes."""
    clean, clean_history = short_run
    bad = 7
    state, history = train_lanes(
        sweep, ARRAYS, with_nan(data[0], "video", [bad]), data[1], FOUR_EPOCHS
    )
    assert len({*failing_updates(minibatches, bad)}) == 2  # not the same by chance
    for i, lane in enumerate(LANES):
        if lane.main == "audio" and lane.alpha == 0:
            assert_same(pick(state, i), pick(clean, i))
            assert_same(history["joint"][:, i], clean_history["joint"][:, i])
            assert state.train.failed_step[i] == -1
            continue
        update = failing_updates(minibatches, bad)[lane.seed]
        assert state.train.failed_step[i] == state.train.step[i] == update
        for leaf in jax.tree.leaves(pick((state.train.params, state.best_params), i)):
            assert np.isfinite(leaf).all()
        assert np.isnan(history["joint"][:, i]).all()  # of its first epoch, and after
        assert np.isnan(history["dev_score"][1:, i]).all()
        assert state.best_epoch[i] == 1


def failing_updates(minibatches, bad):
    """The update of the first epoch that meets the bad sequence, for both seeds."""
    return [
        next(n for n, rows in enumerate(minibatches(seed, 1, NUM_TRAIN)) if bad in rows)
        for seed in (0, 1)
    ]


def test_a_failed_lane_holds_the_parameters_before_the_failure(
    start, starting, sweep, data, train_mono_modal, minibatches
):
    bad, lane = 7, Lane("video", 0.0, 1, "emotion")
    i = LANES.index(lane)
    update = failing_updates(minibatches, bad)[lane.seed]
    assert update > 0
    train = with_nan(data[0], "video", [bad])
    state, _ = train_lanes(starting(sweep), alone(i), train, data[1], FOUR_EPOCHS)
    initial = pick(start.train.params, i)
    plain = train_mono_modal("video", initial, data[0], minibatches(1, 1, NUM_TRAIN))
    expected = plain.params[update - 1]
    own = {name: pick(state.train.params[name], 0) for name in expected}
    assert_close(own, expected, 1e-6)


# ---- the best epoch, and when a lane stops ------------------------------------------


@pytest.fixture(scope="module")
def restless(build, starting):
    """Leaps so far that the accuracy on dev goes up and down."""
    options = TrainingOptions(
        epochs=12, patience=2, batch_size=4, learning_rate=0.3, input_noise=0.1
    )
    return starting(build(3, options, accuracy)), options


@pytest.fixture(scope="module")
def stopped_run(restless, data):
    sweep, options = restless
    with jax.debug_key_reuse(True):
        return train_lanes(sweep, ARRAYS, *data, options)


@pytest.fixture(scope="module")
def each_epoch(restless, data, make_model):
    """Parameters after each epoch, and their accuracy on dev by numpy."""
    sweep, options = restless
    dev, model = data[1], make_model()
    outputs_of = jax.jit(
        jax.vmap(lambda params: predict(model, params, dev.features, dev.mask))
    )
    lanes, epochs = with_ninth(ARRAYS), []
    state = sweep.init(lanes)
    for epoch in range(1, options.epochs + 1):
        with jax.debug_key_reuse(True):
            state, _ = sweep.epoch(state, lanes, epoch, NUM_TRAIN, *data)
        params = jax.device_get(state.train.params)
        outputs = jax.device_get(outputs_of(params))
        guesses = [outputs[x.main][i].argmax(-1) for i, x in enumerate(LANES)]
        epochs.append((params, np.mean(guesses == dev.labels[..., 0], axis=(1, 2))))
    return epochs


def test_the_score_on_dev_is_that_of_the_main_modality(stopped_run, each_epoch):
    _, history = stopped_run
    for epoch, (_, scores) in enumerate(each_epoch[: len(history["dev_score"])]):
        lived = ~np.isnan(history["dev_score"][epoch])
        np.testing.assert_allclose(history["dev_score"][epoch][lived], scores[lived])


def test_a_lane_stops_after_its_patience_and_keeps_its_best_epoch(
    stopped_run, each_epoch, restless
):
    state, history = stopped_run
    ends = []
    for i in range(len(LANES)):
        best, best_epoch, end = -1.0, 0, restless[1].epochs
        for epoch, (_, scores) in enumerate(each_epoch, 1):
            if scores[i] > best:  # a tie keeps the earlier one
                best, best_epoch = scores[i], epoch
            if epoch - best_epoch == 2:
                end = epoch
                break
        ends.append(end)
        assert state.best_epoch[i] == best_epoch
        np.testing.assert_allclose(state.best_score[i], best)
        assert_same(pick(state.best_params, i), pick(each_epoch[best_epoch - 1][0], i))
        assert_same(pick(state.train.params, i), pick(each_epoch[end - 1][0], i))
        for values in history.values():
            assert (
                np.isfinite(values[:end, i]).all() and np.isnan(values[end:, i]).all()
            )
    assert len(set(ends)) > 1  # the lanes did stop at different times
    assert len(history["joint"]) == max(ends)


def test_progress_is_told(restless, data, stopped_run):
    told = []
    sweep, options = restless
    with jax.debug_key_reuse(True):
        state, history = train_lanes(sweep, ARRAYS, *data, options, told.append)
    assert [p.epoch for p in told] == [*range(1, len(history["joint"]) + 1)]
    for p in told:
        assert_same(p.metrics, {k: v[p.epoch - 1] for k, v in history.items()})
        scores = history["dev_score"][: p.epoch]
        np.testing.assert_array_equal(p.best_score, np.nanmax(scores, 0))
    lived = [int((~np.isnan(x)).sum()) for x in history["joint"][1:]]
    assert [p.active for p in told] == [*lived, 0]
    assert_same(state, stopped_run[0])


def test_chunks_of_lanes_are_the_lanes_of_one_call(restless, data, stopped_run):
    """Eight lanes in chunks of three, the last one padded, where patience ends some."""
    sweep, options = restless
    told = []
    state, history = train_lanes(
        replace(sweep, chunk=3), ARRAYS, *data, options, told.append
    )
    assert_same(state, stopped_run[0])
    assert_same(history, stopped_run[1])
    assert [p.waiting for p in told if p.epoch == 1] == [5, 2, 0]
    for p in told:
        begun = len(LANES) - p.waiting
        assert np.isneginf(p.best_score[begun:]).all()
        assert np.isfinite(p.best_score[:begun]).all()
        assert np.isnan(p.metrics["joint"][begun:]).all()
    assert_same(told[-1].best_score, state.best_score)


def test_chunks_are_of_equal_size_and_padding_is_stopped(restless, data, stopped_run):
    """Eight lanes where six fit: two chunks of six in groups of three, four to come."""
    sweep, options = restless
    begun, ended = [], []

    def init(lanes, given):
        begun.append(len(lanes.seed))
        return sweep.init(lanes)

    def epoch(state, *arguments):
        ended.append(np.asarray(state.train.failed_step).tolist())
        return sweep.epoch(state, *arguments)

    watched = replace(sweep, init=init, epoch=epoch, chunk=6)
    state, history = train_lanes(watched, ARRAYS, *data, options)
    assert_same(state, stopped_run[0])
    assert_same(history, stopped_run[1])
    assert begun == [6, 6]
    assert ended[0] == [-1] * 6
    assert ended[-1] == [-1] * 2 + [0] * 4
    assert even_chunk(110, 100, 1) == 55
    assert even_chunk(110, 96, 16) == 64
    assert even_chunk(8, 8, 3) == 9


def test_a_chunk_is_whole_groups(build):
    with pytest.raises(ValueError, match="chunk of 4 lanes is no multiple of 3"):
        build(3, chunk=4)


# ---- training that was broken off ---------------------------------------------------


@pytest.fixture(scope="module", params=[None, 3], ids=["at once", "in chunks"])
def broken_off(request, restless, data):
    """A sweep, what its run ends with, and a snapshot after each epoch."""
    sweep, options = restless
    sweep, snapshots = replace(sweep, chunk=request.param), []
    run = train_lanes(
        *(sweep, ARRAYS, *data, options), save=lambda take: snapshots.append(take())
    )
    return sweep, options, run, snapshots


def test_training_goes_on_from_any_epoch_bit_for_bit(
    broken_off, build, data, stopped_run
):
    sweep, options, run, snapshots = broken_off
    assert_same(run, stopped_run)  # which no snapshot was taken of
    assert {s.finished for s in snapshots} == ({0, 3, 6} if sweep.chunk else {0})
    shapes = build(3, options)
    for snapshot in snapshots:
        counts = snapshot.finished, snapshot.epoch
        restored = restore_snapshot(snapshot_arrays(snapshot), *counts, shapes, ARRAYS)
        assert_same(restored, snapshot)
        told = []
        again = train_lanes(
            *(sweep, ARRAYS, *data, options, told.append), resume_from=restored
        )
        assert_same(again, run)
        assert not told or told[0].epoch in (1, snapshot.epoch + 1)


def test_what_ran_at_once_goes_on_in_chunks(broken_off, data):
    """As on fewer devices, or with less memory."""
    sweep, options, run, snapshots = broken_off
    begun = []

    def epoch(state, lanes, *arguments):
        begun.append(len(lanes.seed))
        return sweep.epoch(state, lanes, *arguments)

    for snapshot in snapshots[::3]:
        again = train_lanes(
            *(replace(sweep, epoch=epoch, chunk=3), ARRAYS, *data, options),
            resume_from=snapshot,
        )
        assert_same(again, run)
    assert set(begun) == {3}


def test_what_is_finished_is_not_trained_again(broken_off, data):
    sweep, options, run, _ = broken_off

    def never(*arguments):
        raise AssertionError

    state, history = train_lanes(
        *(replace(sweep, init=never, epoch=never), ARRAYS, *data, options),
        resume_from=Snapshot(len(LANES), 0, *run),
    )
    assert_same((state, history), run)


def test_a_snapshot_outlives_the_epochs_after_it(broken_off, data):
    """It is a copy: the program changes states in place."""
    sweep, options, _, snapshots = broken_off
    again = []
    train_lanes(
        *(sweep, ARRAYS, *data, replace(options, epochs=1)),
        save=lambda take: again.append(take()),
    )
    assert_same(again[0], snapshots[0])


def test_a_lane_that_has_failed_stays_failed(sweep, data):
    spoilt = with_nan(data[0], "video", [7]), data[1]
    snapshots = []
    run = train_lanes(
        *(sweep, ARRAYS, *spoilt, FOUR_EPOCHS),
        save=lambda take: snapshots.append(take()),
    )
    assert (snapshots[1].state.train.failed_step >= 0).any()
    again = train_lanes(
        *(sweep, ARRAYS, *spoilt, FOUR_EPOCHS), resume_from=snapshots[1]
    )
    assert_same(again, run)


@pytest.mark.parametrize("i", [0, 4, 7])
def test_a_lane_is_replayed_in_its_place(broken_off, data, i):
    sweep, options, (state, history), _ = broken_off
    own, losses = train_lanes(*(sweep, ARRAYS, *data, options), only=[i])
    assert_same(pick(own, i), pick(state, i))
    lived = len(losses["joint"])
    assert_same(
        of_lane(losses, i), {k: v[:lived] for k, v in of_lane(history, i).items()}
    )
    assert np.isnan(history["joint"][lived:, i]).all()
    others = np.arange(len(LANES)) != i
    assert (own.train.step[others] == 0).all() and not own.best_epoch[others].any()
    assert np.isnan(losses["joint"][:, others]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("state/train/step"), "'state/train/step' is in the snapshot"),
        (
            lambda a: a.update({"state/more": np.zeros(8)}),
            "'state/more' is in the snap",
        ),
        (
            lambda a: a.update({"state/best_score": np.zeros(8)}),
            r"'state/best_score' is float64 \(8,\); expected float32 \(8,\)",
        ),
        (
            lambda a: a.update({"state/train/step": np.zeros((8, 1), np.int32)}),
            r"'state/train/step' is int32 \(8, 1\); expected int32 \(8,\)",
        ),
        (
            lambda a: a.update({"history/joint": np.zeros((2, 7), np.float32)}),
            r"'history/joint' is float32 \(2, 7\); expected float32 \(\d, 8\)",
        ),
    ],
)
def test_a_snapshot_of_another_program_is_refused(broken_off, build, change, words):
    _, options, _, snapshots = broken_off
    arrays = snapshot_arrays(snapshots[-1])
    change(arrays)
    counts = snapshots[-1].finished, snapshots[-1].epoch
    with pytest.raises(ValueError, match=words):
        restore_snapshot(arrays, *counts, build(3, options), ARRAYS)


def test_counts_that_do_not_fit_are_refused(broken_off, build):
    _, options, _, snapshots = broken_off
    arrays, shapes = snapshot_arrays(snapshots[-1]), build(3, options)
    for finished, epoch in ((9, 1), (-1, 1), (0, 13)):
        with pytest.raises(ValueError, match="do not fit 8 lanes"):
            restore_snapshot(arrays, finished, epoch, shapes, ARRAYS)


# ---- one program ------------------------------------------------------------------


def test_a_sweep_is_compiled_once(logged_run):
    compiled = re.findall(r"Compiling (?:jit\()?(\w+)", logged_run[1])
    assert compiled.count("epoch") == 1


# ---- annotation delay ---------------------------------------------------------------


@pytest.mark.parametrize("scoring", ["original", "shifted"])
def test_a_delayed_lane_equals_one_on_labels_shifted_by_hand(
    build, make_data, draw_like, scoring
):
    """Sequences of five steps whose labels lag two steps behind, in two targets."""

    def lagging(batch, delay):
        """The label of step t at t + delay, as the second of two targets."""
        labels = np.pad(batch.labels, ((0, 0), (delay, 0), (0, 0)))
        other = np.random.default_rng(0).integers(0, 3, labels.shape)
        labelled = np.pad(batch.labelled, ((0, 0), (delay, 0)))
        return batch._replace(
            labels=np.concatenate([other, labels], -1).astype(np.int32),
            labelled=labelled,
        )

    train, dev = make_data(8, 5), make_data(5, 5, seed=1)
    options = replace(FOUR_EPOCHS, delay_scoring=scoring)
    sweep = build(1, options, recurrent=True)
    lane = Lane("audio", 0.5, 0, "valence", 0.01, 2)
    lanes = lane_arrays([lane], MODALITIES, ("arousal", "valence"))
    initial = drawn_start(sweep, lanes, draw_like, np.float32)
    start = replace(sweep, init=lambda lanes, given: jax.tree.map(jnp.asarray, initial))
    state, history = train_lanes(
        start, lanes, lagging(train, 2), lagging(dev, 2), options
    )
    plain = lanes._replace(target=np.int32([0]), delay=np.int32([0]))
    expected, losses = train_lanes(start, plain, train, dev, options)
    assert_same(state.train, expected.train)
    np.testing.assert_array_equal(history["joint"], losses["joint"])
    if scoring == "shifted":
        np.testing.assert_array_equal(history["dev_score"], losses["dev_score"])


def test_predictions_are_shifted_back_to_where_their_labels_were():
    outputs = np.arange(10.0).reshape(1, 5, 2)
    np.testing.assert_array_equal(shift_back(outputs, 0), outputs)
    np.testing.assert_array_equal(
        shift_back(outputs, 2)[0, :, 0], outputs[0, [0, 0, 0, 1, 2], 0]
    )


# ---- minibatches and noise ----------------------------------------------------------


@pytest.mark.parametrize(("count", "capacity"), [(10, 10), (10, 12), (9, 30), (1, 1)])
def test_an_epoch_takes_every_sequence_once(count, capacity):
    order = np.asarray(minibatch_order(jax.random.key(0), count, capacity, 4))
    assert order.shape == (-(-capacity // 4), 4) and order.dtype == np.int32
    flat = order.ravel()
    assert sorted(flat[:count]) == list(range(count))
    assert (flat[count:] == -1).all()


def test_room_for_more_sequences_keeps_the_order():
    tight, roomy = (
        np.ravel(minibatch_order(jax.random.key(3), 10, capacity, 4))
        for capacity in (10, 50)
    )
    np.testing.assert_array_equal(tight[:10], roomy[:10])


def test_every_epoch_and_seed_has_its_own_order(minibatches):
    orders = [
        tuple(np.ravel(list(minibatches(seed, 2, NUM_TRAIN))[5 * e : 5 * e + 5]))
        for seed in (0, 1)
        for e in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(NUM_TRAIN)) for order in orders)


def test_orders_are_uniform():
    keys = jax.random.split(jax.random.key(0), 2000)
    first = jax.jit(jax.vmap(lambda k: minibatch_order(k, 5, 8, 4)[0, 0]))(keys)
    counts = np.bincount(first, minlength=5)
    assert counts.sum() == 2000 and np.abs(counts - 400).max() < 5 * np.sqrt(320)


def test_a_minibatch_is_rows_of_the_data(make_data):
    data = make_data(6, 3)
    batch = take_batch(data, np.array([4, 0, -1]))
    for m, features in data.features.items():
        np.testing.assert_array_equal(batch.features[m][:2], features[[4, 0]])
    np.testing.assert_array_equal(batch.labels[:2], data.labels[[4, 0]])
    np.testing.assert_array_equal(batch.mask[:2], data.mask[[4, 0]])
    np.testing.assert_array_equal(batch.labelled[:2], data.labelled[[4, 0]])
    assert not np.any(batch.mask[2]) and not np.any(batch.labelled[2])


def test_noise_is_gaussian_and_independent_between_modalities():
    zeros = Batch(
        {m: np.zeros((50, 4, 20), np.float32) for m in MODALITIES},
        np.ones((50, 4)),
        np.zeros((50, 4, 1)),
        np.ones((50, 4)),
    )
    noisy = add_noise(jax.random.key(0), zeros, 0.1).features
    for values in noisy.values():
        assert abs(np.mean(values)) < 5 * 0.1 / np.sqrt(4000)
        assert abs(np.std(values) - 0.1) < 5 * 0.1 / np.sqrt(2 * 4000)
    correlation = np.corrcoef(np.ravel(noisy["audio"]), np.ravel(noisy["video"]))[0, 1]
    assert abs(correlation) < 5 / np.sqrt(4000)
    assert add_noise(jax.random.key(0), zeros, 0.0) is zeros


def test_the_noise_of_a_modality_does_not_depend_on_the_others(make_data):
    data = make_data(6, 3)
    both = add_noise(jax.random.key(3), data, 0.1).features
    for m in MODALITIES:
        alone = data._replace(features={m: data.features[m]})
        np.testing.assert_array_equal(
            add_noise(jax.random.key(3), alone, 0.1).features[m], both[m]
        )


# ---- options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("patience", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("input_noise", -0.1, "at least 0"),
        ("input_noise", float("nan"), "at least 0"),
        ("delay_scoring", "late", "'original' or 'shifted'"),
    ],
)
def test_options_that_cannot_train_are_refused(option, value, expected):
    sentence = f"training.{option} is {value!r}; expected {expected}"
    with pytest.raises(ValueError, match=sentence):
        TrainingOptions(**{option: value})
