import itertools

import numpy as np
import pandas as pd
import pytest

from ifusion.evaluation.metrics import micro_f1
from ifusion.evaluation.selection import choose_best
from ifusion.ties import first_best, rank

KEYS, SETTING = ["fold", "main"], ["alpha"]


def scores(values, fold="0", main="audio"):
    """{alpha: scores over seeds} as rows."""
    rows = [
        {"fold": fold, "main": main, "alpha": alpha, "seed": seed, "dev_score": value}
        for alpha, mine in values.items()
        for seed, value in enumerate(mine)
    ]
    return pd.DataFrame(rows)


def test_the_best_mean_over_seeds_is_chosen_for_each_group():
    table = pd.concat(
        [
            scores({0.0: [0.5, 0.6], 0.5: [0.9, 0.3], 1.0: [0.2, 0.3]}),
            scores({0.0: [0.1, 0.1], 0.5: [0.2, 0.1], 1.0: [0.1, 0.4]}, main="video"),
            scores({0.0: [0.7, 0.7], 0.5: [0.1, 0.1], 1.0: [0.1, 0.4]}, fold="1"),
        ]
    )
    found = choose_best(table, KEYS, SETTING)
    assert found.values.tolist() == [
        ["0", "audio", 0.5, pytest.approx(0.6)],
        ["0", "video", 1.0, 0.25],
        ["1", "audio", 0.0, 0.7],
    ]


@pytest.mark.parametrize("order", list(itertools.permutations([0.1, 0.2, 0.3])))
def test_of_equal_means_that_listed_first_wins(order):
    """Sums of the same numbers in another order differ in their last bits."""
    found = choose_best(scores({1.0: order, 0.5: [0.3, 0.2, 0.1]}), KEYS, SETTING)
    assert found["alpha"].item() == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [155, 231, 240, 298, 371])
def test_equal_hits_are_a_tie(count, dtype):
    """150 + 149 = 148 + 151, however the shares are rounded: the first one is taken."""
    counts = [np.array([[hits, count - hits], [0, 0]]) for hits in (150, 149, 148, 151)]
    shares = [dtype(micro_f1(x)) for x in counts]
    for order in (shares, shares[2:] + shares[:2]):
        found = choose_best(scores({0.5: order[:2], 1.0: order[2:]}), KEYS, SETTING)
        assert found["alpha"].item() == 0.5
    assert micro_f1(counts[0]).dtype == np.float64


def test_the_first_of_equals():
    assert first_best([0.1, 0.3, 0.3 + 1e-12, np.nan]) == 1
    assert first_best([np.nan, 0.2]) == 1
    assert first_best([np.nan, np.nan]) == 0
    assert rank([0.1, 0.3, np.nan, 0.3 + 1e-12, 0.2]) == [1, 3, 4, 0, 2]


def test_a_setting_with_a_failed_run_is_not_eligible():
    found = choose_best(scores({0.0: [0.9, np.nan], 0.5: [0.1, 0.2]}), KEYS, SETTING)
    assert found["alpha"].item() == 0.5


def test_the_first_is_named_where_all_failed():
    found = choose_best(scores({0.5: [np.nan], 0.0: [np.nan]}), KEYS, SETTING)
    assert found["alpha"].item() == 0.5
    assert np.isnan(found["dev_score"].item())


def test_several_columns_are_chosen_together():
    table = scores({0.0: [0.1, 0.4], 0.5: [0.2, 0.3]}).assign(l2=[0.0, 0.1, 0.0, 0.1])
    found = choose_best(table, KEYS, ["alpha", "l2"])
    assert found[["alpha", "l2"]].values.tolist() == [[0.0, 0.1]]
