"""Training that carries the hidden state over the windows of a recording.

Six recordings of unlike length, three windows of four steps each; B = 4 side by side.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from grids import grid_arrays

from ifusion.lanes import Lane
from ifusion.losses import cross_entropy
from ifusion.preprocessing.minibatches import minibatch_order, window_order
from ifusion.preprocessing.sequences import Batch
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
    expected = [[6, 0], [7, 1], [8, 2], [3, -1], [4, -1], [5, -1]]
    assert window_order(order, 3).tolist() == expected
    assert window_order(order, 1).tolist() == order.tolist()


@pytest.fixture(scope="module")
def recordings(make_data):
    return make_data(RECORDINGS, WINDOWS * STEPS, seed=4)


@pytest.fixture(scope="module")
def train(recordings, make_model, num_features, mesh):
    """Trains one lane on windows, and returns it with its weights before and after."""

    def windowed(x):
        room = np.pad(x, ((0, ROOM - RECORDINGS), *[(0, 0)] * (x.ndim - 1)))
        return room.reshape(ROOM * WINDOWS, STEPS, *x.shape[2:])

    def run(lane, windows):
        data = Batch(*jax.tree.map(windowed, recordings))
        sweep = build_sweep(
            make_implicit_fusion(
                make_model(recurrent=True), num_features, cross_entropy
            ),
            negative_loss,
            OPTIONS,
            mesh,
            windows=windows,
        )
        lanes = grid_arrays([lane], MODALITIES, ("emotion",))
        before = jax.device_get(sweep.init(lanes).train.params)
        count = RECORDINGS if windows > 1 else RECORDINGS * WINDOWS
        state, history = train_lanes(
            sweep, lanes, data, recordings, OPTIONS, num_sequences=count
        )
        return before, state.train, history

    return run


def torch_gru(torch, layer, inputs, mask, hidden):
    """(B, T, F), (B, T), (B, H) -> (B, T, H); the cell written out."""
    outputs = []
    for t in range(inputs.shape[1]):
        x = inputs[:, t] @ layer["input"]["weight"].T + layer["input"]["bias"]
        (x_r, x_z, x_n), h = x.chunk(3, -1), hidden @ layer["kernel"]
        h_r, h_z, h_n = h.chunk(3, -1)
        update = torch.sigmoid(x_z + h_z)
        candidate = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * (h_n + layer["bias"]))
        following = (1 - update) * candidate + update * hidden
        hidden = torch.where(mask[:, t, None] > 0, following, hidden)
        outputs.append(hidden)
    return torch.stack(outputs, 1)


def torch_train(torch, before, recordings, lane, carry):
    """The same training as loops over minibatches and windows."""
    params = jax.tree.map(
        lambda x: torch.tensor(np.asarray(x[0]), requires_grad=True), before
    )
    optimizer = torch.optim.Adam(jax.tree.leaves(params), lr=1e-3)
    weights = {m: 1.0 if m == lane.main else lane.alpha for m in MODALITIES}
    for epoch in range(1, EPOCHS + 1):
        key = jax.random.fold_in(jax.random.key(lane.seed), epoch)
        order = minibatch_order(jax.random.split(key)[0], RECORDINGS, ROOM, 4)
        for rows in np.asarray(order):
            rows = rows[rows >= 0]
            hidden = {m: (torch.zeros(len(rows), 4),) * 2 for m in MODALITIES}
            for w in range(WINDOWS):
                part = slice(w * STEPS, (w + 1) * STEPS)
                mask = torch.tensor(recordings.mask[rows, part])
                if not mask.any():
                    continue
                labels = torch.tensor(recordings.labels[rows, part, 0]).long()
                joint = 0.0
                for m in MODALITIES:
                    features = torch.tensor(recordings.features[m][rows, part])
                    branch, shared = hidden[m] if carry else (hidden[m][0] * 0,) * 2
                    branch_params = params[f"branch_{m}"]["gru_0"]
                    r = torch_gru(torch, branch_params, features, mask, branch)
                    h = torch_gru(torch, params["shared"]["gru_0"], r, mask, shared)
                    logits = h @ params["output"]["kernel"] + params["output"]["bias"]
                    loss = torch.nn.functional.cross_entropy(
                        logits[mask > 0], labels[mask > 0]
                    )
                    joint = joint + weights[m] * loss
                    hidden[m] = (r[:, -1].detach(), h[:, -1].detach())
                optimizer.zero_grad()
                joint.backward()
                optimizer.step()
    return jax.tree.map(lambda x: x.detach().numpy(), params)


def distance(tree, other):
    gaps = jax.tree.map(lambda x, y: np.abs(x - y).max(), tree, other)
    return max(jax.tree.leaves(gaps))


def test_carried_training_equals_pytorch(train, recordings):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is the reference here: pip install torch"
    )
    lane = Lane("audio", 0.5, 3, "emotion")
    before, state, history = train(lane, WINDOWS)
    after = jax.tree.map(lambda x: x[0], state.params)
    expected = torch_train(torch, before, recordings, lane, carry=True)
    assert distance(after, expected) < 2e-5
    # the reference itself tells carried and reset apart
    reset = torch_train(torch, before, recordings, lane, carry=False)
    assert distance(after, reset) > 2e-4
    assert np.isfinite(history["joint"]).all()


def test_a_baseline_carries_nothing_of_the_other_modality(train, recordings):
    """A NaN in video, window after window, never reaches audio alone."""
    lane = Lane("audio", 0.0, 3, "emotion")
    _, clean, _ = train(lane, WINDOWS)
    video = recordings.features["video"]
    kept = video.copy()
    video[:] = np.nan
    try:
        _, poisoned, _ = train(lane, WINDOWS)
    finally:
        video[:] = kept
    for part in ("branch_audio", "shared", "output"):
        assert distance(clean.params[part], poisoned.params[part]) == 0
    assert poisoned.failed_step[0] == -1


def test_without_windows_no_state_is_kept(train):
    lane = Lane("video", 0.5, 1, "emotion")
    _, state, _ = train(lane, 1)
    assert state.hidden is None
