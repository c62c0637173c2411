import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from ifusion.corpora.corpus import Modality
from ifusion.preprocessing.standardise import (
    fit_clipped,
    fit_standardizer,
    fit_target_scale,
    iterate_rows,
    put_back,
    standardise,
)


@st.composite
def chunked_tables(draw):
    """A table of features of very different size and offset, and how it is cut."""
    rows = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** np.array(draw(st.lists(st.integers(-6, 6), min_size=1, max_size=4)))
    offset = scale * draw(st.sampled_from([0, 1, -30, 1e3, 1e5]))
    values = (offset + scale * rng.standard_normal((rows, len(scale)))).astype("f4")
    cuts = draw(st.lists(st.integers(0, rows), max_size=6))
    return values, np.split(values, sorted(cuts))


@given(chunked_tables())
@settings(max_examples=60, deadline=None)
def test_one_pass_over_any_chunks_equals_numpy_on_the_whole(table):
    values, chunks = table
    standardizer = fit_standardizer(iter(chunks))
    whole = values.astype(np.float64)
    np.testing.assert_allclose(standardizer.mean, whole.mean(0), rtol=1e-12, atol=1e-18)
    std = whole.std(0)
    constant = std <= np.finfo(np.float32).eps * np.abs(whole.mean(0))
    assert not standardizer.std[constant].any()
    np.testing.assert_allclose(standardizer.std[~constant], std[~constant], rtol=1e-9)


@given(chunked_tables(), st.floats(0, 0.9), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_nan_counts_as_not_observed(table, share, seed):
    values, chunks = table
    holes = np.random.default_rng(seed).random(values.shape) < share
    holes[0] = False  # every feature is seen once
    values = np.where(holes, np.nan, values)
    cuts = np.cumsum([len(chunk) for chunk in chunks])[:-1]
    standardizer = fit_standardizer(np.split(values, cuts))
    whole = values.astype(np.float64)
    np.testing.assert_allclose(standardizer.mean, np.nanmean(whole, 0), rtol=1e-12)
    varies = standardizer.std > 0
    np.testing.assert_allclose(
        standardizer.std[varies], np.nanstd(whole, 0)[varies], rtol=1e-9
    )


def test_standardised_equals_scikit_learn():
    rng = np.random.default_rng(0)
    train, other = (rng.normal(1e3, [1, 5, 0.1], (50, 3)) for _ in range(2))
    standardizer = fit_standardizer(np.split(train, 5))
    scaled = standardise(standardizer, other)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(
        scaled, StandardScaler().fit(train).transform(other), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e-30, 3e38])
def test_constant_features_become_zero_wherever_they_go(value):
    train = np.full((1000, 1), value, np.float32)
    standardizer = fit_standardizer(np.array_split(train, 7))
    assert standardizer.std == 0
    other = np.array([[value], [value + 1], [0.0]], np.float32)
    np.testing.assert_array_equal(standardise(standardizer, other), np.zeros((3, 1)))


def test_a_small_deviation_on_a_large_offset_is_kept():
    # float32 holds 1e4 to about 1e-3
    values = (1e4 + np.array([[0.0], [0.01]])).astype(np.float32).repeat(500, 0)
    standardizer = fit_standardizer([values])
    scaled = standardise(standardizer, values)
    np.testing.assert_allclose(scaled[[0, -1], 0], [-1, 1], rtol=1e-6)


def test_missing_values_become_the_train_mean():
    standardizer = fit_standardizer([np.array([[1.0, 4.0], [3.0, 8.0]])])
    scaled = standardise(standardizer, np.array([[np.nan, 10.0], [2.0, np.nan]]))
    np.testing.assert_array_equal(scaled, [[0, 2], [0, 0]])


def test_a_feature_without_any_value_becomes_zero():
    train = np.array([[1.0, np.nan], [3.0, np.nan]])
    standardizer = fit_standardizer(np.split(train, 2))
    np.testing.assert_array_equal(
        standardise(standardizer, np.array([[3.0, 7.0]])), [[1, 0]]
    )


@pytest.mark.parametrize("chunks", [[], [np.zeros((0, 3))], [np.zeros((0, 3))] * 2])
def test_no_rows_are_refused(chunks):
    with pytest.raises(ValueError, match="no rows"):
        fit_standardizer(chunks)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_rows_come_in_chunks_and_in_order(size):
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    rows = np.array([9, 0, 4, 4, 2, 7, 1])
    chunks = list(iterate_rows(Modality(("a", "b"), values), rows, size))
    assert all(0 < len(chunk) <= size for chunk in chunks)
    assert len(chunks) == -(-len(rows) // size)
    np.testing.assert_array_equal(np.concatenate(chunks), values[rows])


def test_a_memory_map_is_read_a_chunk_at_a_time(tmp_path):
    values = np.random.default_rng(0).normal(3, 2, (100, 4)).astype(np.float32)
    np.save(tmp_path / "values.npy", values)
    array = np.load(tmp_path / "values.npy", mmap_mode="r")
    mapped = Modality(tuple("abcd"), array)
    assert np.shares_memory(mapped.values, array)  # no copy
    rows = np.arange(0, 100, 2)
    standardizer = fit_standardizer(iterate_rows(mapped, rows, 8))
    np.testing.assert_allclose(standardizer.mean, values[::2].astype(float).mean(0))
    np.testing.assert_allclose(standardizer.std, values[::2].astype(float).std(0))


@pytest.mark.parametrize("value", [1e20, 9999, -999])
def test_clipped_features_bear_a_sentinel(value):
    values = np.random.default_rng(0).normal(3, 2, (100, 2)).astype(np.float32)
    expected = fit_standardizer([values])
    values[7, 1] = value
    modality = Modality(("a", "b"), values)
    standardizer = fit_clipped(modality, np.arange(100), 4)
    np.testing.assert_allclose(standardizer.std, expected.std, rtol=0.1)
    scaled = standardise(standardizer, values)
    assert np.abs(scaled).max() < 5 and abs(scaled[7, 1]) > 3
    assert np.isfinite(fit_clipped(modality, np.arange(100), 1e-3).std).all()


def test_features_half_of_which_agree_are_not_clipped():
    values = np.zeros((100, 1), np.float32)
    values[:20, 0] = np.arange(20)
    standardizer = fit_clipped(Modality(("a",), values), np.arange(100), 2)
    assert np.isinf(standardizer.high).all()


@pytest.mark.parametrize(("rule", "scaled"), [("auto", 2), ("always", 3), ("never", 0)])
def test_targets_of_a_familiar_size_stay_as_they_are(rule, scaled):
    values = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    labels = (values * [1, 100, 0.01] + [0, 1000, 0]).astype(np.float32)
    labels[3, 1] = np.nan
    scale = fit_target_scale(labels, rule)
    if scale is None:
        assert not scaled
        return
    assert (scale.std != 1).sum() == scaled
    for k in range(3):
        own = standardise(scale, labels)[:, k]
        back = put_back(scale, own, k)[[0, 1, 2, 4]]
        np.testing.assert_allclose(back, labels[[0, 1, 2, 4], k], rtol=1e-5)
    if rule == "auto":
        np.testing.assert_array_equal(standardise(scale, labels)[:, 0], labels[:, 0])


def test_familiar_targets_need_no_scale():
    assert fit_target_scale(np.float32([[-1.2, 0.3], [0.4, 0.1]]), "auto") is None


def test_a_constant_target_is_centred_only():
    scale = fit_target_scale(np.full((5, 1), 70, np.float32), "auto")
    assert (scale.mean, scale.std) == (70, 1)
