import jax
import numpy as np
import pytest

from ifusion.preprocessing.minibatches import (
    add_noise,
    epoch_keys,
    minibatch_order,
    shift_back,
    take_batch,
)
from ifusion.preprocessing.sequences import Batch

MODALITIES = ("audio", "video")


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


def test_every_epoch_and_seed_has_its_own_order():
    orders = [
        tuple(np.ravel(minibatch_order(epoch_keys(seed, epoch)[0], 20, 20, 4)))
        for seed in (0, 1)
        for epoch in (1, 2)
    ]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(20)) for order in orders)


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


def test_predictions_are_shifted_back_to_where_their_labels_were():
    outputs = np.arange(10.0).reshape(1, 5, 2)
    np.testing.assert_array_equal(shift_back(outputs, 0), outputs)
    np.testing.assert_array_equal(
        shift_back(outputs, 2)[0, :, 0], outputs[0, [0, 0, 0, 1, 2], 0]
    )
