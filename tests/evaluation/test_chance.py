import numpy as np
import pytest

from ifusion.evaluation.chance import best_of_many


@pytest.mark.parametrize("size", [1, 5])
def test_the_best_of_many_normal_draws_is_as_known(size):
    scores = np.random.default_rng(0).standard_normal(4000)
    found = best_of_many(scores, 11, size)
    # the expected largest of eleven standard normal draws is 1.586
    assert found.mean == pytest.approx(1.586 / np.sqrt(size), rel=0.05)
    assert found.low == 0 < found.high < 5


def test_choosing_from_one_gives_nothing():
    assert best_of_many(np.arange(9.0), 1, 3) == (0, 0, 0)
    assert best_of_many(np.full(9, 0.5), 11, 3) == (0, 0, 0)


def test_what_is_unknown_is_left_out():
    scores = np.array([0.1, np.nan, 0.3, 0.6])
    assert best_of_many(scores, 2, 1) == best_of_many(scores[[0, 2, 3]], 2, 1)
    assert np.isnan(best_of_many(scores[:3], 2, 1).mean)


def test_few_trainings_vary_as_much_as_many():
    """Five seeds, as a run has them; on average as right as thousands."""
    rng = np.random.default_rng(1)
    gains = [best_of_many(rng.standard_normal(5), 11, 5).mean for _ in range(200)]
    assert np.mean(gains) == pytest.approx(1.586 / np.sqrt(5), rel=0.1)
