"""Recordings of different lengths: buckets, minibatches, common steps, thinning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.preprocessing.minibatches import (
    POOL,
    length_order,
    minibatch_order,
    on_batch,
    take_batch,
)
from ifusion.preprocessing.ragged import (
    NUM_BUCKETS,
    choose_buckets,
    fill_missing,
    find_buckets,
    measure_lengths,
    pad_recordings,
    padded_parts,
    take_steps,
    thin,
    thinned_lengths,
    to_common_steps,
    to_ragged,
)
from ifusion.preprocessing.sequences import Batch


def draw(lengths, features=2, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((sum(lengths), features)).astype(np.float32)
    return to_ragged(values, np.array(lengths))


def cut(ragged, i):
    start = ragged.starts[i]
    return ragged.values[start : start + ragged.lengths[i]]


def batch_of(features, buckets, room=()):
    count = len(next(iter(features.values())).lengths)
    ones = np.ones((count, 1), np.float32)
    labels = np.arange(count)[:, None, None]
    lengths = measure_lengths(features, buckets, room)
    return Batch(features, ones, labels, ones, lengths=lengths)


def test_steps_are_gathered_and_padded():
    ragged = draw([3, 1, 4])
    rows = np.array([2, -1, 0])
    values, mask = jax.jit(take_steps, static_argnums=2)(ragged, rows, 6)
    assert mask.sum(1).tolist() == [4, 0, 3]
    np.testing.assert_array_equal(values[0, :4], cut(ragged, 2))
    np.testing.assert_array_equal(values[2, :3], cut(ragged, 0))
    assert not np.asarray(values)[np.asarray(mask) == 0].any()


def test_buckets_hold_all_and_save_most_of_the_padding():
    rng = np.random.default_rng(0)
    audio = np.exp(rng.uniform(np.log(3), np.log(5000), 500)).astype(int)
    lengths = {"audio": audio, "video": np.maximum(audio // 4, 1)}
    buckets = choose_buckets(lengths, multiple=512)
    assert len(buckets) == NUM_BUCKETS
    chosen = find_buckets(lengths, buckets)
    for m, own in lengths.items():
        room = np.array([bucket[m] for bucket in buckets])
        assert (own <= room[chosen]).all() and (np.diff(room) > 0).all()
        assert all(size <= 512 or size % 512 == 0 for size in room)
        # a quarter of what one shape would take
        assert room[chosen].sum() < 0.5 * len(own) * room[-1]
    assert choose_buckets({"audio": np.full(9, 7)}, 512) == ({"audio": 7},)


def test_the_choice_of_buckets_is_the_best_of_all():
    own = np.array([1, 1, 2, 2, 9, 10, 10, 40, 41, 90])
    (best,) = [
        {bucket["m"] for bucket in choose_buckets({"m": own}, multiple=512)},
    ]

    def padded(tops):
        tops = sorted(tops)
        return sum(next(t for t in tops if n <= t) for n in own.tolist())

    from itertools import combinations

    others = [
        {90, *some} for k in range(NUM_BUCKETS) for some in combinations(set(own), k)
    ]
    assert padded(best) == min(map(padded, others))


def test_minibatches_hold_recordings_of_like_length_whatever_the_buckets():
    rng = np.random.default_rng(1)
    relative = rng.random(400).astype(np.float32)
    key = jax.random.key(3)
    order = minibatch_order(key, 390, 400, 8)
    found = np.asarray(length_order(key, order, relative))
    assert found.shape == order.shape
    assert sorted(found[found >= 0]) == list(range(390))
    spread = [np.ptp(relative[b[b >= 0]]) for b in found if (b >= 0).any()]
    assert np.median(spread) < 3 / POOL
    # a pool holds what a random draw of its size holds
    assert (
        np.corrcoef(
            np.arange(len(spread)), [relative[b[0]] for b in found][: len(spread)]
        )[0, 1]
        ** 2
        < 0.1
    )
    # room for more recordings changes nothing
    wider = np.asarray(
        length_order(key, minibatch_order(key, 390, 480, 8), np.pad(relative, (0, 80)))
    )
    np.testing.assert_array_equal(wider[: len(found)], found)
    assert (wider[len(found) :] == -1).all()


def test_a_minibatch_is_padded_to_the_first_bucket_that_holds_it():
    features = {"audio": draw([2, 9, 3, 9]), "video": draw([1, 2, 5, 5])}
    buckets = ({"audio": 3, "video": 2}, {"audio": 9, "video": 5})
    data = batch_of(features, buckets, room=(2, 4))
    assert data.lengths.bucket.tolist() == [0, 1, 1, 1]
    assert [g.tolist() for g in data.lengths.groups] == [[0, -1], [1, 2, 3, -1]]

    def steps(batch):
        return jnp.array(batch.features["audio"].shape[1])

    @jax.jit
    def padded_steps(data, rows):
        return on_batch(steps, data, rows, buckets)

    for rows, expected in (([0, -1], 3), ([0, 1], 9)):
        assert padded_steps(data, jnp.array(rows)) == expected
    batch = take_batch(data, np.array([2, -1]), buckets[1])
    assert batch.features["audio"].shape == (2, 9, 2)
    assert batch.steps["video"].sum(1).tolist() == [5, 0]
    assert batch.mask.tolist() == batch.labelled.tolist() == [[1], [0]]
    assert batch.labels[0].item() == 2


def test_modalities_come_to_the_steps_of_the_shortest():
    audio, video = draw([8, 5, 1]), draw([2, 5, 3])
    common = to_common_steps({"audio": audio, "video": video})
    for x in common.values():
        assert x.lengths.tolist() == [2, 5, 1]
    np.testing.assert_allclose(
        cut(common["audio"], 0), cut(audio, 0).reshape(2, 4, 2).mean(1), atol=1e-6
    )
    np.testing.assert_array_equal(cut(common["audio"], 1), cut(audio, 1))
    np.testing.assert_array_equal(cut(common["video"], 0), cut(video, 0))
    np.testing.assert_allclose(
        cut(common["video"], 2), cut(video, 2).mean(0)[None], atol=1e-6
    )


def test_long_recordings_are_thinned_and_short_ones_stay():
    ragged = draw([7, 3, 10])
    thinned = thin(ragged, 4)
    assert thinned.lengths.tolist() == [4, 3, 4]
    assert thinned.lengths.tolist() == thinned_lengths(ragged.lengths, 4).tolist()
    own = cut(ragged, 0)
    expected = [own[:2].mean(0), own[2:4].mean(0), own[4:6].mean(0), own[6]]
    np.testing.assert_allclose(cut(thinned, 0), expected, atol=1e-6)
    np.testing.assert_array_equal(cut(thinned, 1), cut(ragged, 1))
    assert thin(ragged, 0) is ragged


@pytest.mark.parametrize("count", [1, 65])
def test_parts_for_prediction_hold_every_recording_once(count):
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 40, count)
    x = pad_recordings(draw(lengths.tolist()), count + 2, int(lengths.sum()) + 5)
    seen = []
    for rows, padded, mask in padded_parts({"audio": x}):
        for row, values, exists in zip(rows, padded["audio"], mask, strict=False):
            np.testing.assert_array_equal(values[exists > 0], cut(x, row))
            seen.append(int(row))
    assert sorted(seen) == list(range(count + 2))


def test_what_a_recording_lacks_is_zero_at_the_steps_of_what_it_has():
    features = {"audio": draw([8, 0, 4, 0]), "video": draw([2, 3, 0, 0], seed=1)}
    filled = fill_missing(features)
    common = to_common_steps(filled)
    for m, x in common.items():
        assert x.lengths.tolist() == [2, 3, 4, 0]
        lacking = 1 if m == "audio" else 2
        assert not cut(x, lacking).any() and cut(x, 0).any()
    np.testing.assert_array_equal(cut(common["audio"], 2), cut(features["audio"], 2))
    np.testing.assert_array_equal(cut(common["video"], 1), cut(features["video"], 1))
    whole = {m: draw([3, 1]) for m in features}
    assert fill_missing(whole) == whole
