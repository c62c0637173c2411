import importlib
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ifusion.concordance import concordance
from ifusion.evaluation.agreement import recording_moments
from ifusion.evaluation.metrics import accuracy, macro_f1
from ifusion.evaluation.outcomes import Pooled, make_scorer
from ifusion.evaluation.significance import (
    Difference,
    compare,
    half_width,
    holm,
    in_common,
    level_of,
    paired_difference,
    seed_intervals,
    variances,
    verdict,
)


def counts_from_hits(hits, size):
    """Two-class counts of clusters of one size: (S, C) hits -> (S, C, 2, 2)."""
    hits = np.asarray(hits)
    counts = np.zeros((*hits.shape, 2, 2), np.int64)
    counts[..., 0, 0], counts[..., 0, 1] = hits, size - hits
    return counts


def random_counts(rng, seeds, clusters, classes=3, size=12, skill=0.5):
    """Counts of a system that is right with probability skill; labels are fixed."""
    labels = np.random.default_rng(7).integers(0, classes, (clusters, size))
    counts = np.zeros((seeds, clusters, classes, classes), np.int64)
    for s in range(seeds):
        wrong = rng.random(labels.shape) > skill
        guesses = (labels + wrong * rng.integers(1, classes, labels.shape)) % classes
        for c in range(clusters):
            np.add.at(counts[s, c], (labels[c], guesses[c]), 1)
    return counts


def hits_of(gains, size=1000):
    """Two systems whose accuracies differ by gains (S, C)."""
    half = np.round(np.asarray(gains) * size / 2).astype(int)
    return counts_from_hits(500 + half, size), counts_from_hits(500 - half, size)


def interval_by_hand(gains):
    """The formula of docs/statistics.md, by loops."""
    seeds, clusters = gains.shape
    mean = gains.mean()
    rows, columns = gains.mean(1), gains.mean(0)
    rest = [
        gains[s, c] - rows[s] - columns[c] + mean
        for s in range(seeds)
        for c in range(clusters)
    ]
    both = np.sum(np.square(rest)) / ((seeds - 1) * (clusters - 1) * seeds * clusters)
    from_clusters = max(np.var(columns, ddof=1) / clusters, both)
    from_seeds = np.var(rows, ddof=1) / seeds
    t_clusters, t_seeds = (
        stats.t.ppf(0.975, clusters - 1),
        stats.t.ppf(0.975, seeds - 1),
    )
    apart = t_clusters**2 * (from_clusters - both) + t_seeds**2 * from_seeds
    return mean, np.sqrt(max(t_clusters**2 * from_clusters, apart))


@pytest.mark.parametrize("shape", [(2, 6), (3, 9), (5, 9), (9, 6), (5, 3)])
def test_the_interval_by_hand(shape):
    rng = np.random.default_rng(2)
    gains = rng.normal(0.1, 0.1, shape) + rng.normal(0, 0.05, (shape[0], 1))
    a, b = hits_of(gains)
    found = paired_difference(a, b, accuracy)
    mean, half = interval_by_hand((a - b)[..., 0, 0] / 1000)
    assert found[:3] == pytest.approx((mean, mean - half, mean + half))
    assert (found.clusters, found.seeds) == shape[::-1]


@pytest.mark.parametrize("seeds", [1, 4])
def test_seeds_that_agree_leave_the_t_test_over_clusters(seeds):
    """Of one seed there is the interval of its models alone."""
    gains = np.random.default_rng(3).integers(-200, 300, 15) / 1000
    a, b = hits_of(np.repeat(gains[None], seeds, axis=0))
    found = paired_difference(a, b, accuracy)
    exact = (a - b)[0, :, 0, 0] / 1000
    expected = stats.ttest_1samp(exact, 0)
    interval = expected.confidence_interval()
    p_value = expected.pvalue if seeds > 1 else np.nan
    assert found.p_value == pytest.approx(p_value, nan_ok=True)
    assert found[1:3] == pytest.approx((interval.low, interval.high))


def test_clusters_that_agree_leave_the_t_test_over_seeds():
    gains = np.array([0.0, 0.2, 0.3, 0.4])
    a, b = hits_of(np.repeat(gains[:, None], 30, axis=1))
    found = paired_difference(a, b, accuracy)
    expected = stats.ttest_1samp(gains, 0)
    interval = expected.confidence_interval()
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found[1:3] == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("shape", [(2, 6), (3, 9), (5, 24), (20, 6)])
def test_p_value_and_interval_agree(shape):
    """p is the level at which the interval ends at 0, so both decide alike."""
    rng = np.random.default_rng(4)
    seeds = rng.choice([0.0, 1.0], (500, 1, 1)) * rng.standard_normal(
        (500, shape[0], 1)
    )
    gains = rng.standard_normal((500, *shape)) + seeds + rng.normal(0, 1, (500, 1, 1))
    found, estimate = variances(gains), gains.mean((1, 2))
    p = level_of(found, estimate)
    outside = np.abs(estimate) > half_width(found, 0.05)
    np.testing.assert_array_equal(p < 0.05, outside)
    assert 0.05 < outside.mean() < 0.95
    np.testing.assert_allclose(half_width(found, p), np.abs(estimate), rtol=1e-3)


def test_macro_f1_against_a_loop():
    """A metric that is no mean over clusters: the jackknife by plain loops."""
    rng = np.random.default_rng(4)
    a = random_counts(rng, seeds=2, clusters=6, skill=0.8)
    b = random_counts(rng, seeds=2, clusters=6, skill=0.5)

    def gain(s, kept):
        return macro_f1(a[s, kept].sum(0)) - macro_f1(b[s, kept].sum(0))

    all_six = np.arange(6)
    gains = [
        [6 * gain(s, all_six) - 5 * gain(s, all_six[all_six != c]) for c in range(6)]
        for s in range(2)
    ]
    found = paired_difference(a, b, macro_f1)
    estimate = np.mean([gain(s, all_six) for s in range(2)])
    _, half = interval_by_hand(np.array(gains))
    assert found[:3] == pytest.approx((estimate, estimate - half, estimate + half))


def test_gains_that_do_not_vary():
    """Of C equal signs p is 2 / 2^C; of few clusters there is no interval either."""
    a, b = counts_from_hits(np.full((2, 6), 9), 10), counts_from_hits([[1] * 6] * 2, 10)
    found = paired_difference(a, b, accuracy)
    assert found[:4] == pytest.approx((0.8, 0.8, 0.8, 2 / 64))
    few = paired_difference(a[:, :3], b[:, :3], accuracy)
    assert few.estimate == pytest.approx(0.8)
    assert np.isnan([few.low, few.high, few.p_value]).all()


def test_statistics_of_any_shape_that_add_up():
    """A mean of recordings as the quotient of sums, with clusters of several."""
    rng = np.random.default_rng(13)
    values, sizes = rng.normal(0.3, 0.1, (2, 3, 9)), rng.integers(1, 5, 9)
    a, b = (np.stack([v * sizes, np.broadcast_to(sizes, v.shape)], -1) for v in values)
    found = paired_difference(a, b, lambda s: s[..., 0] / s[..., 1])
    weights = sizes / sizes.sum()
    assert found.estimate == pytest.approx(((values[0] - values[1]) @ weights).mean())
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize("clusters", [6, 40])
def test_identical_systems(clusters):
    counts = random_counts(np.random.default_rng(6), seeds=3, clusters=clusters)
    found = paired_difference(counts, counts, macro_f1)
    assert found == (0.0, 0.0, 0.0, 1.0, clusters, 3)


@pytest.mark.parametrize(("seeds", "clusters"), [(1, 9), (1, 24), (5, 5), (2, 2)])
def test_one_seed_or_few_clusters_have_an_interval_alone(seeds, clusters):
    rng = np.random.default_rng(7)
    a, b = hits_of(rng.normal(0.5, 0.01, (seeds, clusters)))
    found = paired_difference(a, b, accuracy)
    assert np.isnan(found.p_value)
    assert found.low < found.estimate < found.high
    assert verdict(found) == "inconclusive"


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_single_cluster_tells_nothing_of_others(seeds):
    a, b = (counts_from_hits([[hits]] * seeds, 10) for hits in (9, 2))
    found = paired_difference(a, b, accuracy)
    assert found.estimate == pytest.approx(0.7)
    assert np.isnan([found.low, found.high, found.p_value]).all()
    assert (found.clusters, found.seeds) == (1, seeds)


def test_swapping_the_systems_turns_the_sign():
    rng = np.random.default_rng(8)
    a, b = (random_counts(rng, 2, 9, skill=skill) for skill in (0.8, 0.6))
    there, back = paired_difference(a, b, accuracy), paired_difference(b, a, accuracy)
    assert there.estimate == pytest.approx(-back.estimate)
    assert there.low == pytest.approx(-back.high, abs=1e-9)
    assert there.p_value == back.p_value


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((1, 2, 2, 2)), np.ones((2, 2, 2, 2)), "the same for both systems"),
        (np.ones((1, 0, 2, 2)), np.ones((1, 0, 2, 2)), "none of them 0"),
    ],
)
def test_refuses_what_is_not_paired(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b, accuracy)


CLASSIFICATION = (
    {"evaluation": {"metric": "micro_f1", "cluster": "speaker"}},
    {"task": "classification", "classes": ["x", "y"]},
)


def pool_of(values, labels=None, seeds=(0, 1), speakers="aabb"):
    """Predictors of one system and target, a row a seed."""
    recordings = {"recording": [f"r{i}" for i in range(len(speakers))]}
    return Pooled(
        pd.DataFrame({"seed": list(seeds)}),
        pd.DataFrame({**recordings, "speaker": list(speakers)}),
        np.asarray(values),
        None if labels is None else np.asarray(labels),
    )


def test_systems_are_compared_over_the_seeds_that_both_have():
    scorer = make_scorer(*CLASSIFICATION)
    labels = [0, 0, 1, 1]
    a = pool_of([[0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], labels, (3, 2, 9))
    b = pool_of([[0, 1, 1, 0], [0, 0, 0, 0]], labels, (2, 3))
    found_a, found_b, difference = compare(a, b, scorer)
    assert (found_a, found_b) == (0.875, 0.5)  # seeds 2 and 3
    assert difference[0] == 0.375
    assert (difference.clusters, difference.seeds) == (2, 2)


def test_a_system_of_one_seed_is_paired_with_every_other():
    scorer, labels = make_scorer(*CLASSIFICATION), [0, 0, 1, 1]
    a = pool_of([labels], labels, (0,))
    b = pool_of([[0, 0, 1, 0], [0, 0, 0, 0]], labels, (5, 6))
    found = compare(a, b, scorer)
    assert found[:2] == (1.0, 0.625)
    assert found[2].seeds == 2


def test_systems_that_share_no_seed_have_no_difference():
    scorer, labels = make_scorer(*CLASSIFICATION), [0, 0, 1, 1]
    a, b = (pool_of([labels] * 2, labels, seeds) for seeds in ((0, 1), (2, 3)))
    found = compare(a, b, scorer)
    assert np.isnan([*found[:2], found[2].estimate]).all()
    assert verdict(found[2]) == "inconclusive"


def test_systems_of_other_labels_or_recordings_are_refused():
    scorer, labels = make_scorer(*CLASSIFICATION), [0, 0, 1, 1]
    a = pool_of([labels] * 2, labels)
    with pytest.raises(ValueError, match="same labels"):
        compare(a, pool_of([labels] * 2, [0, 1, 1, 1]), scorer)
    with pytest.raises(ValueError, match="same recordings"):
        compare(a, pool_of([labels[:3]] * 2, labels[:3], speakers="aab"), scorer)
    lacking = pool_of([[0, 0, 1, -1], [0, 1, 0, -1]], labels)  # no answer to the last
    with pytest.raises(ValueError, match="same recordings"):
        compare(a, lacking, scorer)
    found = compare(*in_common(a, lacking), scorer)
    assert found[:2] == pytest.approx((1, 2 / 3))  # of the other three


@pytest.mark.parametrize(
    ("estimate", "p", "expected"),
    [
        (0.1, 0.01, "gain"),
        (-0.1, 0.01, "loss"),
        (0.1, 0.08, "no clear difference"),
        (0.1, np.nan, "inconclusive"),
    ],
)
def test_verdicts(estimate, p, expected):
    low, high = estimate - 0.05, estimate + 0.05
    assert verdict(Difference(estimate, low, high, p, 6, 5)) == expected


def test_holm_by_hand():
    """.01 x 4, .02 x 3, .03 x 2, .04 x 1, none less than that of a smaller p."""
    found = holm(np.array([0.04, np.nan, 0.01, 0.03, 0.02]))
    np.testing.assert_allclose(found, [0.06, np.nan, 0.04, 0.06, 0.06])
    assert holm(np.array([0.7, 0.6])).tolist() == [1.0, 1.0]
    assert holm(np.array([np.nan])).tolist() == pytest.approx([np.nan], nan_ok=True)


def continuous_frames(seed):
    """Two systems of two seeds on six recordings of four speakers, as frames."""
    rng = np.random.default_rng(seed)
    lengths = [80, 50, 120, 60, 90, 70]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = np.cumsum(rng.standard_normal(offsets[-1])) / 10
    noise = (
        rng.standard_normal((2, 2, offsets[-1])) * np.array([0.5, 1.0])[:, None, None]
    )
    return labels, 0.8 * labels + noise, offsets


@pytest.mark.parametrize("metric", ["ccc_pooled", "ccc_recordings"])
def test_a_concordance_is_that_of_the_frames(metric):
    """Against plain loops that leave the frames of a speaker out."""
    labels, predictions, offsets = continuous_frames(11)
    section = {"metric": metric, "cluster": "speaker", "convention": "population"}
    config = {"evaluation": section, "postprocessing": {"steps": []}}
    scorer = make_scorer(config, {"task": "regression", "frame_step": 0.04})
    a, b = (
        pool_of(recording_moments(x, labels, offsets), speakers="abcdab")
        for x in predictions
    )
    parts = [slice(*pair) for pair in pairwise(offsets)]

    def score(system, seed, without):
        kept = [parts[n] for n in range(6) if n % 4 != without]
        pairs = [(predictions[system, seed, p], labels[p]) for p in kept]
        if metric == "ccc_recordings":
            return np.mean([concordance(*pair) for pair in pairs])
        return concordance(*(np.concatenate(x) for x in zip(*pairs, strict=True)))

    def gain(seed, without=-1):
        return score(0, seed, without) - score(1, seed, without)

    _, _, found = compare(a, b, scorer)
    estimate = np.mean([gain(0), gain(1)])
    gains = [[4 * gain(s) - 3 * gain(s, c) for c in range(4)] for s in (0, 1)]
    _, half = interval_by_hand(np.array(gains))
    assert found[:3] == pytest.approx((estimate, estimate - half, estimate + half))
    assert found.clusters == 4


@pytest.fixture(scope="module")
def level():
    """The program that measures level and coverage."""
    folder = Path(__file__).parents[2] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("level")


@pytest.mark.parametrize("strength", ["weak", "strong"])
@pytest.mark.parametrize("shape", [(2, 6), (3, 9), (5, 9), (5, 24)])
@pytest.mark.parametrize("task", [0, 1])
def test_differences_that_do_not_exist_are_not_found(level, task, shape, strength):
    """Nominally 5 % are; of 300 draws, 9 % would be more than chance can do."""
    rng = np.random.default_rng(10)
    found = level.measure(rng, level.TASKS[task], (300, *shape), strength)
    alarms, covered, power, covered_too = found
    assert alarms <= 0.085
    assert min(covered, covered_too) >= 0.915
    assert power >= alarms


@pytest.mark.parametrize("shape", [(1, 2), (1, 9), (1, 24), (5, 2), (3, 4)])
@pytest.mark.parametrize("task", [0, 1])
def test_intervals_without_a_p_value_cover(level, task, shape):
    rng = np.random.default_rng(11)
    found = level.measure(rng, level.TASKS[task], (300, *shape), "strong")
    assert np.isnan([found[0], found[2]]).all()
    assert min(found[1], found[3]) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize("task", [0, 1])
def test_every_cell_of_the_documentation_keeps_its_level(level, task):
    """All clusters and seeds of docs/statistics.md, 1,000 draws a cell."""
    rng = np.random.default_rng(12)
    cells = product(level.CLUSTERS, level.SEEDS, ("weak", "strong"))
    for clusters, seeds, strength in cells:
        shape = (1000, seeds, clusters)
        alarms, *rest = level.measure(rng, level.TASKS[task], shape, strength)
        assert np.isnan(alarms) == (clusters < 6 or seeds < 2)
        assert np.isnan(alarms) or alarms <= 0.07, (clusters, seeds)
        assert min(rest[0], rest[2]) >= 0.92, (clusters, seeds)


def test_seed_intervals_equal_scipy():
    values = np.random.default_rng(3).uniform(0.2, 0.9, 5)
    scores = pd.DataFrame(
        {
            "main": [*["audio"] * 6, "video", "text"],
            "value": [*values, np.nan, 0.25, np.nan],
        }
    )
    means = seed_intervals(scores.groupby("main")["value"])
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    row = [values.mean(), values.std(ddof=1), low, high, 5]
    np.testing.assert_allclose(means.loc["audio"], row)
    assert list(means.columns) == ["mean", "sd", "low", "high", "seeds"]
    np.testing.assert_array_equal(means.loc["video"], [0.25, *[np.nan] * 3, 1])
    np.testing.assert_array_equal(means.loc["text"], [*[np.nan] * 4, 0])
