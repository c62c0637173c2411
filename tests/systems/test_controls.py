from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.preprocessing.minibatches import take_batch, take_target
from ifusion.systems import controls
from ifusion.systems.implicit_fusion import BASELINE, make_learner
from ifusion.systems.neural import NeuralLane, lane_arrays

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.mark.parametrize("study", ["utterances", "recordings"])
@pytest.mark.parametrize("within", [True, False])
def test_a_shuffle_is_a_permutation_of_what_exists(study, within, request):
    protocol, fold = request.getfixturevalue(study)
    rng = np.random.default_rng(0)
    order = controls.shuffled_units(protocol, fold, 0, within, rng)
    assert sorted(order) == list(range(len(order)))
    gone = ~np.asarray(fold.train.mask).any(1)
    np.testing.assert_array_equal(order[gone], np.flatnonzero(gone))


def test_within_class_utterances_keep_their_class(utterances):
    protocol, fold = utterances
    labels = fold.train.labels[:, 0, 0]
    rng = np.random.default_rng(0)
    kept = controls.shuffled_units(protocol, fold, 0, True, rng)
    np.testing.assert_array_equal(labels[kept], labels)
    assert (kept != np.arange(20)).sum() > 5
    free = controls.shuffled_units(protocol, fold, 0, False, rng)
    assert (labels[free] != labels).any()


def test_utterances_of_a_video_are_shuffled_one_by_one(utterances, make_data):
    train = make_data(6, 4)
    order = controls.shuffled_units(
        utterances[0],
        replace(utterances[1], train=train),
        column=0,
        within=True,
        rng=np.random.default_rng(0),
    )
    labels, exists = train.labels[..., 0].ravel(), train.mask.ravel() > 0
    assert len(order) == 24
    np.testing.assert_array_equal(labels[order][exists], labels[exists])
    np.testing.assert_array_equal(order[~exists], np.flatnonzero(~exists))
    assert (order // 4 != np.arange(24) // 4).any()


def test_within_class_windows_keep_the_fifth_of_their_mean_label(recordings):
    protocol, fold = recordings
    rng = np.random.default_rng(3)
    mean = np.array([5.0, 0.0, 4.0, 1.0, 2.0, 3.0, 2.5, 0.5, 4.5, 1.5])
    labels = (mean[:, None] + rng.standard_normal((10, 4)) * 1e-3)[..., None]
    train = fold.train._replace(
        mask=np.ones((10, 4)), labels=labels, labelled=np.ones((10, 4))
    )
    fold = windows_of_own_recordings(fold, train)
    orders = [
        controls.shuffled_units(protocol, fold, 0, True, np.random.default_rng(seed))
        for seed in range(20)
    ]
    fifths = np.argsort(np.argsort(mean)) // 2  # ten windows, two a fifth
    for order in orders:
        np.testing.assert_array_equal(fifths[order], fifths)
        assert (order != np.arange(10)).all()  # two a fifth change places


def windows_of_own_recordings(fold, train):
    """A fold of ten windows, none of which shares its recording."""
    origins = np.arange(10)[:, None] * np.array([1, 0])
    return replace(fold, train=train, num_sequences=10, origins=origins)


def test_no_window_takes_features_of_its_own_recording(recordings):
    protocol, fold = recordings
    rng = np.random.default_rng(1)
    owners = np.repeat(np.arange(4), 25)
    kind = np.tile(np.arange(5.0), 20)  # five windows a fifth and recording
    train = fold.train._replace(
        mask=np.ones((104, 4)) * (np.arange(104) < 100)[:, None],
        labels=np.pad(np.repeat(kind[:, None], 4, 1), [(0, 4), (0, 0)])[..., None],
        labelled=np.ones((104, 4)),
    )
    origins = np.stack([owners, np.zeros(100, int)], axis=1)
    fold = replace(fold, train=train, num_sequences=100, origins=origins)
    for within in (True, False):
        order = controls.shuffled_units(protocol, fold, 0, within, rng)[:100]
        assert sorted(order) == list(range(100))
        assert (owners[order] != owners).all()


@pytest.mark.parametrize("groups", [[0] * 5, [0, 0, 0, 1, 1], [0, 1, 2], [3]])
def test_a_shuffle_across_groups_leaves_what_it_must(groups):
    """Of a group of more than half, as many stay as exceed the others."""
    groups = np.array(groups)
    most = max(0, 2 * np.bincount(groups).max() - len(groups))
    for seed in range(20):
        order = controls.shuffled_across(groups, np.random.default_rng(seed))
        assert sorted(order) == list(range(len(groups)))
        assert (groups[order] == groups).sum() == most


def test_the_class_of_a_window_is_that_of_the_labels_it_is_trained_on(recordings):
    """Labels reach 6 steps beyond windows of 4; those two steps later count."""
    protocol, fold = recordings
    rng = np.random.default_rng(5)
    labels = rng.normal(0, 100, (10, 10))
    mean = np.array([5.0, 0.0, 4.0, 1.0, 2.0, 3.0, 2.5, 0.5, 4.5, 1.5])
    labels[:, 2:6] = mean[:, None]
    train = fold.train._replace(
        mask=np.ones((10, 4)), labels=labels[..., None], labelled=np.ones((10, 10))
    )
    fold = windows_of_own_recordings(fold, train)
    order = controls.shuffled_units(protocol, fold, 0, True, rng, delay=2)
    fifths = np.argsort(np.argsort(mean)) // 2
    np.testing.assert_array_equal(fifths[order], fifths)
    assert (order != np.arange(10)).any()


@pytest.mark.parametrize("change", ["class", "all", "noise"])
def test_only_auxiliary_features_change(utterances, change):
    """What implicit fusion is trained on under each control."""
    protocol, fold = utterances
    for main, other in (("audio", "video"), ("video", "audio")):
        altered = [
            controls.alter(protocol, change, fold, main, "emotion", seed).train
            for seed in (0, 0, 1)
        ]
        before = fold.train.features
        for batch in altered:
            assert batch.features[main] is before[main]
            for mine, theirs in zip(batch[1:4], fold.train[1:4], strict=True):
                assert mine is theirs
        shuffled = [batch.features[other] for batch in altered]
        np.testing.assert_array_equal(shuffled[0], shuffled[1])
        assert (shuffled[0] != shuffled[2]).any()
        assert shuffled[0].dtype == np.float32
        rows = {tuple(row) for row in before[other][:, 0]}
        met = {tuple(row) for row in shuffled[0][:, 0]}
        assert met == rows if change != "noise" else not met & rows


@pytest.mark.parametrize("target", ["arousal", "valence"])
def test_labels_over_time_go_along_within_the_class(recordings, target, monkeypatch):
    """Auxiliary features are trained on what belongs to their own window."""
    monkeypatch.setattr(controls, "FIFTHS", 1)  # there are but five windows
    protocol, fold = recordings
    before = fold.train
    altered = controls.alter(protocol, "class", fold, "audio", target, 3).train
    column = protocol.targets.index(target)
    delay = fold.setting("audio", target).delay
    order = [
        int(np.flatnonzero((before.features["video"] == x).all((1, 2)))[0])
        for x in altered.features["video"]
    ]
    assert sorted(order) == list(range(6)) != order
    taken = take_target(altered, column, delay)
    theirs = take_target(before, column, delay)
    mask = taken.extras[controls.OWN_MASK]
    np.testing.assert_array_equal(mask, before.mask[order])
    np.testing.assert_array_equal(
        taken.extras[controls.OWN_LABELS] * mask, theirs.labels[order, :] * mask
    )
    np.testing.assert_array_equal(
        taken.extras[controls.OWN_LABELLED] * mask, theirs.labelled[order, :]
    )
    for mine, same in zip(altered[1:4], before[1:4], strict=True):
        assert mine is same
    everywhere = controls.alter(protocol, "all", fold, "audio", target, 3).train
    assert set(everywhere.extras) == set(before.extras)


def test_labels_of_single_values_go_along_within_the_fifth(utterances):
    protocol, fold = utterances
    rng = np.random.default_rng(7)
    values = rng.standard_normal(fold.train.labels.shape).astype(np.float32)
    fold = replace(fold, train=fold.train._replace(labels=values))
    protocol = replace(protocol, num_classes=0)
    altered = controls.alter(protocol, "class", fold, "audio", "emotion", 3).train
    before = fold.train.features["video"]
    order = [
        int(np.flatnonzero((before == x).all((1, 2)))[0])
        for x in altered.features["video"]
    ]
    assert sorted(order) == list(range(20)) != order
    own = altered.extras[controls.OWN_LABELS]
    np.testing.assert_array_equal(own, values[order])
    edges = np.quantile(values, [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_array_equal(
        np.searchsorted(edges, own), np.searchsorted(edges, values)
    )


@pytest.mark.parametrize("main", ["audio", "video"])
def test_the_unpaired_loss_is_that_of_each_modality_on_its_own_windows(
    recordings, main, monkeypatch
):
    monkeypatch.setattr(controls, "FIFTHS", 1)
    protocol, fold = recordings
    altered = controls.alter(protocol, "class", fold, main, "arousal", 3).train
    lane = NeuralLane(main, "arousal", 0, {"audio": 0.5, "video": 0.5, main: 1.0})
    lane = jax.tree.map(
        lambda x: x[0], lane_arrays([lane], protocol.modalities, protocol.targets)
    )
    other = "video" if main == "audio" else "audio"
    learner = controls.make_unpaired_learner(protocol)
    params = learner.init(jax.random.key(0), None)
    delay = fold.setting(main, "arousal").delay
    rows = jnp.array([0, 3, 4, -1])
    batch = take_target(take_batch(altered, rows), 0, delay)
    joint, (losses, _) = learner.loss(params, batch, lane, 1, None)

    where = [
        int(np.flatnonzero((fold.train.features[other] == x).all((1, 2)))[0])
        for x in altered.features[other][np.array([0, 3, 4])]
    ]
    assert where != [0, 3, 4]
    whole = make_learner(protocol)
    expected = {}
    for m, chosen in ((main, [0, 3, 4, -1]), (other, [*where, -1])):
        alone = take_target(take_batch(fold.train, jnp.array(chosen)), 0, delay)
        weights = jnp.array([float(m == x) for x in protocol.modalities])
        only = lane._replace(weights=weights)
        expected[m] = whole.loss(params, alone, only, 1, None)[0]
    for m, value in expected.items():
        np.testing.assert_allclose(losses[m], value, rtol=1e-5)
    np.testing.assert_allclose(joint, expected[main] + 0.5 * expected[other], rtol=1e-5)


@pytest.mark.slow
def test_alpha_0_of_the_control_over_time_is_the_baseline(recordings, fit_and_predict):
    protocol, fold = recordings
    options = replace(protocol.training, epochs=2)
    protocol = replace(
        protocol, mains=("audio",), targets=("arousal",), seeds=(0,), training=options
    )
    fitted, outputs = fit_and_predict(controls.SHUFFLED_WITHIN, protocol, fold)
    _, alone = fit_and_predict(BASELINE, protocol, fold)
    assert [c.setting for c in fitted.candidates] == [{"alpha": 0.0}, {"alpha": 0.5}]
    np.testing.assert_allclose(outputs[0], alone[0], rtol=1e-5, atol=1e-6)
    assert (np.abs(outputs[1] - outputs[0]) > 1e-4).any()


def test_the_matched_baseline_is_as_large_as_implicit_fusion(utterances, recordings):
    for protocol, _ in (utterances, recordings):
        recurrent, outputs = protocol.architecture.recurrent, protocol.num_outputs

        def size(hidden, inputs, recurrent=recurrent, outputs=outputs):
            layers = [*inputs, hidden]
            gates = sum(3 * hidden * (f + 1) + hidden for f in layers)
            memory = 3 * hidden**2 * len(layers) if recurrent else 0
            return gates + memory + (hidden + 1) * outputs

        wanted = size(4, (3, 5))
        for main, inputs in (("audio", 3), ("video", 5)):
            found = controls.matched_size(protocol, main)
            gaps = {h: abs(size(h, (inputs,)) - wanted) for h in range(4, 12)}
            assert gaps[found] == min(gaps.values())


def test_the_matched_baseline_counts_what_it_holds(utterances, fit_and_predict):
    protocol, fold = utterances
    options = replace(protocol.training, epochs=1)
    protocol = replace(protocol, mains=("audio",), seeds=(0,), training=options)
    fitted, _ = fit_and_predict(controls.MATCHED, protocol, fold)
    for candidate in fitted.candidates:
        hidden = controls.matched_size(protocol, candidate.main)
        inputs = protocol.num_features[candidate.main]
        size = 3 * hidden * (inputs + hidden + 2) + 2 * hidden + 3 * hidden + 3
        assert candidate.parameters == size
