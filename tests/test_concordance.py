import audmetric
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.concordance import concordance, concordance_of_moments


def draw(seed, shape=(500,), offset=0.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return offset + x, offset + 0.6 * x + 0.5 * rng.standard_normal(shape) + 0.2


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("seed", range(5))
def test_equals_audmetric(seed, offset):
    x, y = draw(seed, offset=offset)
    expected = audmetric.concordance_cc(x, y)
    np.testing.assert_allclose(concordance(x, y), expected, rtol=0, atol=1e-12)


def test_a_case_by_hand():
    # means 2 and 3, sums of squares 2 and 8, of products 4
    x, y = [1.0, 2.0, 3.0], [1.0, 3.0, 5.0]
    assert concordance(x, y) == pytest.approx((2 * 4 / 3) / (2 / 3 + 8 / 3 + 1))
    assert concordance(x, y, convention="sample") == pytest.approx(4 / (1 + 4 + 1))
    assert concordance(x, y, convention="avec_ces") == pytest.approx(
        (2 * 4 / 3) / (1 + 4 + 1)
    )


@pytest.mark.parametrize(
    ("convention", "ddof_cov", "ddof_var"),
    [("population", 0, 0), ("sample", 1, 1), ("avec_ces", 0, 1)],
)
def test_conventions_are_those_of_numpy(convention, ddof_cov, ddof_var):
    x, y = draw(1, (40,))
    covariance = np.cov(x, y, ddof=ddof_cov)[0, 1]
    variances = x.var(ddof=ddof_var) + y.var(ddof=ddof_var)
    expected = 2 * covariance / (variances + (x.mean() - y.mean()) ** 2)
    np.testing.assert_allclose(
        concordance(x, y, convention=convention), expected, rtol=1e-12
    )


def test_leading_axes_are_broadcast():
    x, y = draw(2, (3, 4, 50))
    whole = concordance(x, y)
    assert whole.shape == (3, 4)
    assert whole[1, 2] == concordance(x[1, 2], y[1, 2])
    np.testing.assert_array_equal(
        concordance(x, y[0])[2, 1], concordance(x[2], y[0])[1]
    )


def test_float32_is_summed_in_float64():
    x, y = (v.astype(np.float32) for v in draw(3, (200_000,), offset=100.0))
    expected = audmetric.concordance_cc(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(concordance(x, y), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 1e6])
def test_a_constant_scores_0_whatever_the_other_is(constant):
    flat = np.full(7, constant)
    assert concordance(flat, np.arange(7.0)) == 0
    assert concordance(np.arange(7.0), flat) == 0
    assert concordance(flat, flat) == 0
    assert concordance(flat, flat + 1) == 0


def test_single_instances_and_nan():
    assert concordance([1.0], [1.0]) == 0
    assert np.isnan(concordance([1.0, np.nan, 2.0], [1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("x", "y", "convention", "sentence"),
    [
        ([1.0, 2.0], [1.0, 2.0], "muse", "convention is 'muse', expected one of"),
        ([1.0, 2.0], [1.0], "population", "x has 2 instances and y 1"),
        ([], [], "population", "expected the same number, 1 or more"),
        ([1.0], [1.0], "sample", "expected the same number, 2 or more"),
        ([1.0], [1.0], "avec_ces", "expected the same number, 2 or more"),
        (np.ones((9, 1)), np.ones((9, 1)), "population", r"\(9, 1\).* single instance"),
        (np.ones((9, 1)), np.ones(1), "population", r"shape \(9, 1\) and y \(1,\)"),
        (np.ones((9, 1)), np.ones(9), "population", "x has 1 instances and y 9"),
    ],
)
def test_bad_arguments_are_named(x, y, convention, sentence):
    with pytest.raises(ValueError, match=sentence):
        concordance(x, y, convention=convention)


def test_moments_are_taken_in_jax_too():
    moments = [np.float32([v, 0.0]) for v in (0.5, 1.0, 0.8, 0.2)]
    expected = concordance_of_moments(*moments)
    result = concordance_of_moments(*map(jnp.asarray, moments))
    assert isinstance(result, jnp.ndarray)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert expected[1] == 0
