"""Training that carries the hidden state over the windows of a recording.

Six recordings of unlike length, three windows of four steps each; B = 4 side by side.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.losses import cross_entropy
from ifusion.preprocessing.minibatches import minibatch_order, window_order
from ifusion.preprocessing.sequences import Batch
from ifusion.training.lanes import Lane, lane_arrays
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.loop import train_lanes
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import build_sweep

MODALITIES = ("audio", "video")
RECORDINGS, WINDOWS, STEPS, EPOCHS, ROOM = 6, 3, 4, 2, 7
OPTIONS = TrainingOptions(epochs=EPOCHS, patience=EPOCHS, batch_size=4)


def negative_loss(outputs, labels, mask):
    return -cross_entropy(outputs, labels, mask)


def test_windows_follow_each_other_in_time():
    order = jnp.array([[2, 0], [1, -1]])
    assert window_order(order, 3).tolist() == [
        *([6, 0], [7, 1], [8, 2]),
        *([3, -1], [4, -1], [5, -1]),
    ]
    assert window_order(order, 1).tolist() == order.tolist()


@pytest.fixture(scope="module")
def stored(reference):
    return reference("carried")


@pytest.fixture(scope="module")
def recordings(stored):
    data = stored[0]["data"]
    return Batch(**data, labelled=data["mask"])


@pytest.fixture(scope="module")
def train(stored, recordings, make_model, num_features, mesh):
    """Trains one lane on windows, from the stored weights."""

    def windowed(x):
        room = np.pad(x, ((0, ROOM - RECORDINGS), *[(0, 0)] * (x.ndim - 1)))
        return room.reshape(ROOM * WINDOWS, STEPS, *x.shape[2:])

    def run(lane, windows):
        data = Batch(*jax.tree.map(windowed, recordings))
<<<<<<< HEAD
        learner = make_implicit_fusion(
            make_model(recurrent=True), num_features, cross_entropy
=======
        sweep = build_sweep(
            make_implicit_fusion(
                make_model(recurrent=True), num_features, cross_entropy
            ),
            negative_loss,
            OPTIONS,
            mesh,
            windows=windows,
>>>>>>> refs/heads/core
        )
        learner = learner._replace(init=lambda *_: stored[0]["params"])
        sweep = make_sweep(learner, negative_loss, OPTIONS, mesh, windows=windows)
        lanes = lane_arrays([lane], MODALITIES, ("emotion",))
        count = RECORDINGS if windows > 1 else RECORDINGS * WINDOWS
        state, history = train_lanes(
            sweep, lanes, data, recordings, OPTIONS, num_sequences=count
        )
        return state.train, history

    return run


def distance(tree, other):
    gaps = jax.tree.map(lambda x, y: np.abs(x - y).max(), tree, other)
    return max(jax.tree.leaves(gaps))


def test_carried_training_equals_pytorch(train, stored):
    (inputs, outputs), lane = stored, Lane("audio", 0.5, 3, "emotion")
    for epoch, order in enumerate(inputs["order"], 1):  # seed 3 still draws it
        key = jax.random.fold_in(jax.random.key(lane.seed), epoch)
        drawn = minibatch_order(jax.random.split(key)[0], RECORDINGS, ROOM, 4)
        np.testing.assert_array_equal(drawn.ravel(), order)
    state, history = train(lane, WINDOWS)
    after = jax.tree.map(lambda x: x[0], state.params)
    assert distance(after, outputs["carried"]) < 2e-5
    # the reference itself tells carried and reset apart
    assert distance(after, outputs["reset"]) > 2e-4
    assert np.isfinite(history["joint"]).all()


def test_a_baseline_carries_nothing_of_the_other_modality(train, recordings):
    """A NaN in video, window after window, never reaches audio alone."""
    lane = Lane("audio", 0.0, 3, "emotion")
    clean, _ = train(lane, WINDOWS)
    video = recordings.features["video"]
    kept = video.copy()
    video[:] = np.nan
    try:
        poisoned, _ = train(lane, WINDOWS)
    finally:
        video[:] = kept
    for part in ("branch_audio", "shared", "output"):
        assert distance(clean.params[part], poisoned.params[part]) == 0
    assert poisoned.failed_step[0] == -1


def test_without_windows_no_state_is_kept(train):
    lane = Lane("video", 0.5, 1, "emotion")
    state, _ = train(lane, 1)
    assert state.hidden is None
