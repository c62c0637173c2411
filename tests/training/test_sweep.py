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
from grids import grid_arrays
from jax.sharding import NamedSharding, PartitionSpec

from ifusion.core import predict
from ifusion.lanes import Lane, make_grid
from ifusion.losses import cross_entropy
from ifusion.training.learner import Learner, make_implicit_fusion
from ifusion.training.loop import Snapshot, train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.snapshot import restore_snapshot, snapshot_arrays
from ifusion.training.stream import row_length
from ifusion.training.sweep import build_sweep

MODALITIES = ("audio", "video")
LANES = make_grid(MODALITIES, ("emotion",), (0.0, 0.5), (0, 1))
ARRAYS = grid_arrays(LANES, MODALITIES, ("emotion",))
NUM_TRAIN = 20
OPTIONS = TrainingOptions(epochs=20, patience=20, batch_size=4)
FOUR_EPOCHS = replace(OPTIONS, epochs=4)  # 20 updates


def pick(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def alone(i):
    return pick(ARRAYS, slice(i, i + 1))


def of_lane(history, i):
    return {name: values[:, i] for name, values in history.items()}


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
    kind = {"dtype": np.float64}
    return make_data(NUM_TRAIN, **kind), make_data(12, seed=1, **kind)


@pytest.fixture(scope="module")
def build(make_model, num_features, mesh):
    def make(side_by_side, options=OPTIONS, score=negative_loss, recurrent=False):
        model = make_model(recurrent=recurrent)
        learner = make_implicit_fusion(model, num_features, cross_entropy)
        return build_sweep(learner, score, options, mesh, side_by_side=side_by_side)

    return make


@pytest.fixture(scope="module")
def sweep(build):
    """Eight lanes side by side, as on an accelerator."""
    return build(True)


@pytest.fixture(scope="module")
def single(build):
    """One lane after another, as on a CPU."""
    return build(False)


@pytest.fixture(scope="module")
def start(sweep):
    """The state of all lanes before the first update."""
    return jax.device_get(sweep.init(ARRAYS))


@pytest.fixture(scope="module")
def starting(start, mesh):
    """Starts a sweep from the weights of `start`: in float64, or without compiling."""
    everywhere = NamedSharding(mesh, PartitionSpec("lanes"))

    def replaced(sweep, dtype=np.float32):
        def init(lanes, init_data=None):
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


# ---- a lane does not know its neighbours ---------------------------------------------


def test_lanes_one_by_one_equal_lanes_side_by_side_in_float32(
    single, starting, data, short_run
):
    one_by_one = train_lanes(starting(single), ARRAYS, *data, FOUR_EPOCHS)
    assert (short_run[0].train.step == 20).all()
    assert_close(one_by_one, short_run, 1e-4)
    own = train_lanes(starting(single), alone(6), *data, FOUR_EPOCHS)
    assert_same(pick(own[0], 0), pick(one_by_one[0], 6))
    assert_same(of_lane(own[1], 0), of_lane(one_by_one[1], 6))


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


def test_lanes_of_one_seed_start_from_the_same_weights(start):
    for seed in (0, 1):
        first, *others = [i for i, lane in enumerate(LANES) if lane.seed == seed]
        for i in others:
            assert_same(pick(start.train.params, i), pick(start.train.params, first))
    kernels = start.train.params["output"]["kernel"]
    assert not np.allclose(kernels[0], kernels[[x.seed for x in LANES].index(1)])
    assert_same(start.best_params, start.train.params)
    assert np.isneginf(start.best_score).all() and (start.best_epoch == 0).all()


@pytest.mark.parametrize(
    ("seeds", "most", "expected"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 8, 2),
        ([0] * 22 + [1] * 22 + [2] * 11, 55, 11),
        ([5] * 6, 3, 3),  # of two devices
        ([0, 0, 1, 1, 1], 5, 1),
    ],
)
def test_lanes_of_one_seed_share_rows(seeds, most, expected):
    assert row_length(np.array(seeds), most) == expected


def test_minibatches_are_gathered_once_a_seed(sweep, data):
    """No array of the compiled program holds a minibatch for each lane."""
    train, _ = data
    lanes, rows = len(LANES), 4  # of two lanes each
    state, going = jax.eval_shape(sweep.init, ARRAYS), np.ones(lanes, bool)
    minibatches = ARRAYS.seed[:: lanes // rows], np.zeros((rows, 5, 4), np.int32)
    program = str(
        sweep.advance.trace(state.train, ARRAYS, going, minibatches, 1, 0, train).jaxpr
    )
    gathered = set(re.findall(r"f32\[([\d,]+)\] = gather", program))
    assert "4,4,1,5" in gathered  # rows, B, T, features of video
    assert not {"8,4,1,5", "4,2,4,1,5"} & gathered


# ---- against a loop without auxiliary, lanes or program ------------------------------


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


def test_alpha_above_0_is_another_run(short_run):
    params, history = short_run[0].train.params, short_run[1]
    for main in MODALITIES:
        baseline, fused = (LANES.index(Lane(main, a, 0, "emotion")) for a in (0.0, 0.5))
        weight = params["shared"]["gru_0"]["input"]["weight"]
        assert np.abs(weight[baseline] - weight[fused]).max() > 1e-3
        for i, alpha in ((baseline, 0.0), (fused, 0.5)):
            parts = [history[m][:, i] * (1 if m == main else alpha) for m in MODALITIES]
            np.testing.assert_allclose(history["joint"][:, i], sum(parts), rtol=1e-5)


# ---- room for more data changes nothing ----------------------------------------------


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

    sweep = build(False, recurrent=True)
    lanes = alone(LANES.index(Lane("audio", 0.0, 0, "emotion")))
    sweep, initial = drawn_start(sweep, lanes, draw_like)
    with float64():
        batches = list(minibatches(0, 4, 10))
        state, history = train_lanes(
            sweep,
            lanes,
            in_room(train, 5, 2),
            in_room(dev, 3, 2),
            FOUR_EPOCHS,
            num_sequences=10,
        )
        first = pick(initial.train.params, 0)
        plain = train_mono_modal("audio", first, train, batches, recurrent=True)
        model = make_model(("audio",), recurrent=True)
        outputs = jax.jit(lambda *inputs: predict(model, *inputs).outputs)(
            plain.params[-1], {"audio": dev.features["audio"]}, dev.mask
        )
        score = negative_loss(outputs["audio"], dev.labels[..., 0], dev.mask)
    assert state.train.step == 4 * 3
    own = {name: pick(state.train.params[name], 0) for name in plain.params[-1]}
    assert_close(own, plain.params[-1], 1e-9)
    np.testing.assert_allclose(history["dev_score"][-1], score, atol=1e-9)
    # the mean over steps of an epoch, whichever minibatch they are in
    steps = [train.mask[rows[rows >= 0]].sum() for rows in batches]
    losses = np.reshape(np.multiply(plain.losses, steps), (4, 3)).sum(1)
    np.testing.assert_allclose(
        history["joint"][:, 0], losses / sum(steps[:3]), atol=1e-9
    )


def drawn_start(sweep, lanes, draw_like, dtype=np.float64):
    """A sweep that starts from weights drawn by numpy, and that start."""
    shapes = jax.eval_shape(sweep.init, lanes)
    zeros = jax.tree.map(
        lambda x: np.zeros(x.shape, dtype if x.dtype == np.float32 else x.dtype),
        shapes,
    )
    params = draw_like(shapes.train.params, dtype)
    initial = zeros._replace(
        train=zeros.train._replace(
            params=params, failed_step=zeros.train.failed_step - 1
        ),
        best_params=params,
        best_score=zeros.best_score - np.inf,
    )
    init = lambda lanes, init_data=None: jax.tree.map(jnp.asarray, initial)  # noqa: E731
    return replace(sweep, init=init), initial


# ---- lanes that diverge --------------------------------------------------------------


def with_nan(batch, modality, rows):
    features = np.array(batch.features[modality])
    features[rows] = np.nan
    return batch._replace(features={**batch.features, modality: features})


def test_nan_of_an_auxiliary_does_not_reach_the_baseline(sweep, data, short_run):
    clean, _ = short_run
    everywhere = [with_nan(batch, "video", slice(None)) for batch in data]
    state, history = train_lanes(sweep, ARRAYS, *everywhere, FOUR_EPOCHS)
    for i, lane in enumerate(LANES):
        if lane == Lane("audio", 0.0, lane.seed, "emotion"):
            assert_same(pick(state, i), pick(clean, i))
            assert np.isfinite(history["joint"][:, i]).all()
        else:
            assert state.train.failed_step[i] == state.train.step[i] == 0


@pytest.fixture(scope="module")
def spoilt_run(sweep, data):
    """One bad sequence of video, and a snapshot after each epoch."""
    spoilt, snapshots = (with_nan(data[0], "video", [7]), data[1]), []
    run = train_lanes(
        sweep,
        ARRAYS,
        *spoilt,
        FOUR_EPOCHS,
        save=lambda take: snapshots.append(take()),
    )
    return spoilt, snapshots, run


def test_a_lane_that_diverges_freezes_and_disturbs_no_other(
    start, data, short_run, spoilt_run, train_mono_modal, minibatches
):
    """Each lane that looks at video diverges when the bad sequence comes."""
    (clean, clean_history), (state, history) = short_run, spoilt_run[2]
    updates = [
        next(n for n, rows in enumerate(minibatches(seed, 1, NUM_TRAIN)) if 7 in rows)
        for seed in (0, 1)
    ]
    assert len({*updates}) == 2 and updates[1] > 0  # not the same by chance
    for i, lane in enumerate(LANES):
        if lane.main == "audio" and lane.alpha == 0:
            assert_same(pick(state, i), pick(clean, i))
            assert_same(history["joint"][:, i], clean_history["joint"][:, i])
            assert state.train.failed_step[i] == -1
            continue
        update = updates[lane.seed]
        assert state.train.failed_step[i] == state.train.step[i] == update
        for leaf in jax.tree.leaves(pick((state.train.params, state.best_params), i)):
            assert np.isfinite(leaf).all()
        assert np.isnan(history["joint"][:, i]).all()  # of its first epoch, and after
        assert np.isnan(history["dev_score"][1:, i]).all()
        assert state.best_epoch[i] == 1
    # it holds the parameters before it diverged
    i = LANES.index(Lane("video", 0.0, 1, "emotion"))
    initial = pick(start.train.params, i)
    plain = train_mono_modal("video", initial, data[0], minibatches(1, 1, NUM_TRAIN))
    expected = plain.params[updates[1] - 1]
    own = {name: pick(state.train.params[name], i) for name in expected}
    assert_close(own, expected, 1e-6)


def test_a_lane_that_has_diverged_stays_so_when_resumed(sweep, spoilt_run):
    spoilt, snapshots, run = spoilt_run
    assert (snapshots[1].state.train.failed_step >= 0).any()
    again = train_lanes(sweep, ARRAYS, *spoilt, FOUR_EPOCHS, resume_from=snapshots[1])
    assert_same(again, run)


# ---- frozen data ---------------------------------------------------------------------


@pytest.mark.parametrize("side_by_side", [False, True])
def test_frozen_data_are_read_by_their_lane_and_never_trained(
    make_data, mesh, side_by_side
):
    """A slope that each lane reads, padding included: y = slope * mean(x) + bias."""

    def value(params, batch, lane):
        x = jnp.mean(batch.features["audio"], -1, keepdims=True)
        return lane.frozen["slope"] * x + params["bias"]

    def loss(params, batch, lane, epoch, hidden):
        error = value(params, batch, lane)[..., 0] - batch.labels
        return jnp.mean(jnp.square(error)), ({}, hidden)

    learner = Learner(
        lambda key, data: {"bias": data}, loss, value, lambda batch, lane: True
    )
    sweep = build_sweep(
        learner,
        lambda outputs, labels, mask: outputs[0, 0, 0],
        OPTIONS,
        mesh,
        side_by_side=side_by_side,
    )
    train, dev = make_data(4), make_data(3, seed=1)
    slope = np.float32([[1.0], [-2.0], [3.0]])
    lanes = pick(ARRAYS, slice(3))._replace(frozen={"slope": slope})
    snapshots = []
    state, history = train_lanes(
        replace(sweep, chunk=2),
        lanes,
        train,
        dev,
        replace(OPTIONS, epochs=1),
        init_data=np.zeros((3, 1), np.float32),
        save=lambda take: snapshots.append(take()),
    )
    # Adam's first update goes by the learning rate, against the slope of the loss
    x = train.features["audio"][:, 0].mean(-1)
    error = slope * x - train.labels[:, 0, 0]
    bias = -1e-3 * np.sign(error.mean(1))
    np.testing.assert_allclose(state.train.params["bias"][:, 0], bias, rtol=1e-3)
    scores = slope[:, 0] * dev.features["audio"][0, 0].mean() + bias
    np.testing.assert_allclose(history["dev_score"][0], scores, rtol=1e-5)
    assert not [name for name in snapshot_arrays(snapshots[-1]) if "slope" in name]


# ---- the best epoch, and when a lane stops -------------------------------------------


@pytest.fixture(scope="module")
def restless(build, starting):
    """Leaps so far that the accuracy on dev goes up and down."""
    options = TrainingOptions(
        epochs=12, patience=2, batch_size=4, learning_rate=0.3, input_noise=0.1
    )
    return starting(build(False, options, accuracy)), options


@pytest.fixture(scope="module")
def stopped_run(restless, data):
    """What is told of the progress, and what comes out."""
    (sweep, options), told = restless, []
    with jax.debug_key_reuse(True):
        run = train_lanes(sweep, ARRAYS, *data, options, told.append)
    return run, told


@pytest.fixture(scope="module")
def each_epoch(restless, data, make_model):
    """Parameters after each epoch, and their accuracy on dev by numpy."""
    (sweep, options), snapshots = restless, []
    dev, model = data[1], make_model()
    train_lanes(
        sweep,
        ARRAYS,
        *data,
        replace(options, patience=options.epochs),
        save=lambda take: snapshots.append(take()),
    )
    outputs_of = jax.jit(
        jax.vmap(lambda params: predict(model, params, dev.features, dev.mask).outputs)
    )
    epochs = []
    for snapshot in snapshots:
        params = snapshot.state.train.params
        outputs = jax.device_get(outputs_of(params))
        guesses = [outputs[x.main][i].argmax(-1) for i, x in enumerate(LANES)]
        epochs.append((params, np.mean(guesses == dev.labels[..., 0], axis=(1, 2))))
    return epochs


def test_a_lane_is_scored_and_stopped_and_keeps_its_best_epoch(
    stopped_run, each_epoch, restless
):
    (state, history), _ = stopped_run
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
        scores = [scores[i] for _, scores in each_epoch[:end]]
        np.testing.assert_allclose(history["dev_score"][:end, i], scores)
        for values in history.values():
            assert np.isfinite(values[:end, i]).all()
            assert np.isnan(values[end:, i]).all()
    assert len(set(ends)) > 1  # the lanes did stop at different times
    assert len(history["joint"]) == max(ends)


def test_progress_is_told(stopped_run):
    (_, history), told = stopped_run
    assert [p.epoch for p in told] == [*range(1, len(history["joint"]) + 1)]
    for p in told:
        assert_same(p.metrics, {k: v[p.epoch - 1] for k, v in history.items()})
        scores = history["dev_score"][: p.epoch]
        np.testing.assert_array_equal(p.best_score, np.nanmax(scores, 0))
    lived = [int((~np.isnan(x)).sum()) for x in history["joint"][1:]]
    assert [p.active for p in told] == [*lived, 0]


def test_chunks_of_lanes_are_the_lanes_of_one_call(restless, data, stopped_run):
    """Eight lanes in chunks of three, the last one padded, where patience ends some."""
    (sweep, options), told, begun, ended = restless, [], [], []

    def init(lanes, init_data):
        begun.append(len(lanes.seed))
        return sweep.init(lanes)

    def score(best, inputs, going, *arguments):
        ended.append(going.tolist())
        return sweep.score(best, inputs, going, *arguments)

    watched = replace(sweep, init=init, score=score, chunk=3)
    run = train_lanes(watched, ARRAYS, *data, options, told.append)
    assert_same(run, stopped_run[0])
    assert begun == [3, 3, 3] and not ended[-1][-1]  # the ninth is never trained
    assert [p.waiting for p in told if p.epoch == 1] == [5, 2, 0]
    for p in told:
        begun = len(LANES) - p.waiting
        assert np.isneginf(p.best_score[begun:]).all()
        assert np.isfinite(p.best_score[:begun]).all()
        assert np.isnan(p.metrics["joint"][begun:]).all()
    assert_same(told[-1].best_score, run[0].best_score)


# ---- training that was interrupted ---------------------------------------------------


@pytest.fixture(scope="module", params=[None, 3], ids=["at once", "in chunks"])
def interrupted(request, restless, data):
    """A sweep, what its run ends with, and a snapshot after each epoch."""
    sweep, options = restless
    sweep, snapshots = replace(sweep, chunk=request.param), []
    run = train_lanes(
        sweep, ARRAYS, *data, options, save=lambda take: snapshots.append(take())
    )
    return sweep, options, run, snapshots


def test_training_resumes_from_any_epoch_bit_for_bit(
    interrupted, single, data, stopped_run
):
    sweep, options, run, snapshots = interrupted
    assert_same(run, stopped_run[0])  # which no snapshot was taken of
    assert {s.finished for s in snapshots} == ({0, 3, 6} if sweep.chunk else {0})
    for snapshot in snapshots:
        counts = snapshot.finished, snapshot.epoch
        restored = restore_snapshot(snapshot_arrays(snapshot), *counts, single, ARRAYS)
        assert_same(restored, snapshot)
        told = []
        again = train_lanes(
            sweep, ARRAYS, *data, options, told.append, resume_from=restored
        )
        assert_same(again, run)
        assert not told or told[0].epoch in (1, snapshot.epoch + 1)
    # in chunks, as on fewer devices or with less memory
    for snapshot in snapshots[::3]:
        smaller = replace(sweep, chunk=3)
        again = train_lanes(smaller, ARRAYS, *data, options, resume_from=snapshot)
        assert_same(again, run)


def test_what_is_finished_is_not_trained_again(interrupted, data):
    sweep, options, run, _ = interrupted
    never = replace(sweep, init=None, advance=None, score=None)
    finished = Snapshot(len(LANES), 0, *run)
    again = train_lanes(never, ARRAYS, *data, options, resume_from=finished)
    assert_same(again, run)


@pytest.mark.parametrize("i", [0, 4, 7])
def test_a_lane_is_replayed_in_its_place(interrupted, data, i):
    sweep, options, (state, history), _ = interrupted
    own, losses = train_lanes(sweep, ARRAYS, *data, options, only=[i])
    assert_same(pick(own, i), pick(state, i))
    lived = len(losses["joint"])
    assert_same(
        of_lane(losses, i), {k: v[:lived] for k, v in of_lane(history, i).items()}
    )
    assert np.isnan(history["joint"][lived:, i]).all()
    others = np.arange(len(LANES)) != i
    assert (own.train.step[others] == 0).all() and not own.best_epoch[others].any()
    assert np.isnan(losses["joint"][:, others]).all()


def test_a_lane_side_by_side_is_replayed_in_its_place(sweep, data, short_run):
    own, losses = train_lanes(sweep, ARRAYS, *data, FOUR_EPOCHS, only=[6])
    assert_same(pick(own, 6), pick(short_run[0], 6))
    assert_same(of_lane(losses, 6), of_lane(short_run[1], 6))
    assert own.train.step[[0, 1, 2, 3, 4, 5, 7]].sum() == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("state/train/step", None, "'state/train/step' is in the snapshot"),
        ("state/more", np.zeros(8), "'state/more' is in the snapshot"),
        (
            "state/best_score",
            np.zeros(8),
            r"'state/best_score' is float64 \(8,\); expected float32 \(8,\)",
        ),
        (
            "state/train/step",
            np.zeros((8, 1), np.int32),
            r"'state/train/step' is int32 \(8, 1\); expected int32 \(8,\)",
        ),
        (
            "history/joint",
            np.zeros((2, 7), np.float32),
            r"'history/joint' is float32 \(2, 7\); expected float32 \(\d, 8\)",
        ),
    ],
)
def test_a_snapshot_of_another_program_is_refused(
    interrupted, single, name, value, words
):
    snapshot = interrupted[3][-1]
    arrays = {**snapshot_arrays(snapshot), name: value}
    arrays = {k: v for k, v in arrays.items() if v is not None}
    with pytest.raises(ValueError, match=words):
        restore_snapshot(arrays, snapshot.finished, snapshot.epoch, single, ARRAYS)


def test_counts_that_do_not_fit_are_refused(interrupted, single):
    arrays = snapshot_arrays(interrupted[3][-1])
    for finished, epoch in ((9, 1), (-1, 1), (0, 13)):
        with pytest.raises(ValueError, match="do not fit 8 lanes"):
            restore_snapshot(arrays, finished, epoch, single, ARRAYS)


def test_a_sweep_is_compiled_once(logged_run):
    compiled = re.findall(r"Compiling (?:jit\()?(\w+)", logged_run[1])
    assert compiled.count("advance") == compiled.count("score") == 1


# ---- annotation delay ----------------------------------------------------------------


@pytest.mark.parametrize(
    "scoring", ["original", pytest.param("shifted", marks=pytest.mark.slow)]
)
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
    lane = Lane("audio", 0.5, 0, "valence", 0.01, 2)
    lanes = grid_arrays([lane], MODALITIES, ("arousal", "valence"))
    sweep = build(False, options, recurrent=True)
    sweep, _ = drawn_start(sweep, lanes, draw_like, np.float32)
    state, history = train_lanes(
        sweep, lanes, lagging(train, 2), lagging(dev, 2), options
    )
    plain = lanes._replace(target=np.int32([0]), delay=np.int32([0]))
    expected, losses = train_lanes(sweep, plain, train, dev, options)
    assert_same(state.train, expected.train)
    np.testing.assert_array_equal(history["joint"], losses["joint"])
    if scoring == "shifted":
        np.testing.assert_array_equal(history["dev_score"], losses["dev_score"])
