from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ifusion.concordance import concordance
from ifusion.evaluation import significance
from ifusion.evaluation.agreement import recording_moments
from ifusion.evaluation.metrics import accuracy, macro_f1
from ifusion.evaluation.outcomes import Pooled, make_scorer
from ifusion.evaluation.significance import (
    Difference,
    compare,
    paired_difference,
    seed_intervals,
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


def test_bootstrap_equals_scipy():
    rng = np.random.default_rng(2)
    a, b = rng.integers(3, 10, (1, 25)), rng.integers(1, 8, (1, 25))
    found = paired_difference(
        counts_from_hits(a, 10), counts_from_hits(b, 10), accuracy, resamples=40_000
    )
    expected = stats.bootstrap(
        ((a[0] - b[0]) / 10,),
        np.mean,
        method="percentile",
        n_resamples=40_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=4e-3)
    assert found.high == pytest.approx(expected.high, abs=4e-3)


def test_the_p_value_is_the_share_of_resamples_beyond_zero():
    rng = np.random.default_rng(12)
    a, b = rng.integers(2, 10, (1, 15)), rng.integers(2, 9, (1, 15))
    found = paired_difference(
        counts_from_hits(a, 10), counts_from_hits(b, 10), accuracy, resamples=40_000
    )
    drawn = stats.bootstrap(
        ((a[0] - b[0]) / 10,), np.mean, n_resamples=40_000, rng=rng
    ).bootstrap_distribution
    expected = 2 * min((drawn <= 1e-12).mean(), (drawn >= -1e-12).mean())
    assert 0.01 < expected < 0.9
    assert found.p_value == pytest.approx(expected, abs=0.02)


def test_seeds_are_resampled_too():
    """All clusters alike: what is left of the interval comes from the seeds."""
    gains = np.array([0, 2, 4, 6])
    a = counts_from_hits(np.repeat(4 + gains[:, None] // 2, 30, axis=1), 10)
    b = counts_from_hits(np.repeat(4 - gains[:, None] // 2, 30, axis=1), 10)
    found = paired_difference(a, b, accuracy, resamples=40_000)
    expected = stats.bootstrap(
        (gains / 10,), np.mean, method="percentile", n_resamples=40_000
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)
    assert (found.clusters, found.seeds) == (30, 4)


def test_macro_f1_against_a_loop():
    """A metric that is no mean over clusters, resampled by plain loops."""
    rng = np.random.default_rng(4)
    a = random_counts(rng, seeds=2, clusters=6, skill=0.8)
    b = random_counts(rng, seeds=2, clusters=6, skill=0.5)

    def statistic(x, y):
        gains = [macro_f1(x[s].sum(0)) - macro_f1(y[s].sum(0)) for s in range(len(x))]
        return np.mean(gains)

    draws = []
    for _ in range(3000):
        seeds, clusters = rng.integers(0, 2, 2), rng.integers(0, 6, 6)
        draws.append(statistic(a[seeds][:, clusters], b[seeds][:, clusters]))
    found = paired_difference(a, b, macro_f1)
    assert found.estimate == pytest.approx(statistic(a, b), abs=1e-12)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


def test_the_observed_difference_counts_among_the_resamples():
    a, b = counts_from_hits(np.full((1, 40), 9), 10), counts_from_hits([[1] * 40], 10)
    found = paired_difference(a, b, accuracy, resamples=99)
    assert found.p_value == 2 / 100


def test_statistics_of_any_shape_that_add_up():
    """A mean of recordings as the quotient of sums, with clusters of several."""
    rng = np.random.default_rng(13)
    values, sizes = rng.normal(0.3, 0.1, (2, 3, 9)), rng.integers(1, 5, 9)
    a, b = (np.stack([v * sizes, np.broadcast_to(sizes, v.shape)], -1) for v in values)
    found = paired_difference(a, b, lambda s: s[..., 0] / s[..., 1], resamples=2000)
    weights = sizes / sizes.sum()
    assert found.estimate == pytest.approx(((values[0] - values[1]) @ weights).mean())
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize("clusters", [2, 4, 40])
def test_identical_systems(clusters):
    counts = random_counts(np.random.default_rng(6), seeds=3, clusters=clusters)
    found = paired_difference(counts, counts, macro_f1, resamples=500)
    assert found == (0.0, 0.0, 0.0, 1.0, clusters, 3)


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_single_cluster_tells_nothing_of_others(seeds):
    """Every resample of it is the same: no evidence, whatever the difference."""
    a, b = (counts_from_hits([[hits]] * seeds, 10) for hits in (9, 2))
    found = paired_difference(a, b, accuracy, resamples=500)
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


def test_chunks_change_no_number(monkeypatch):
    rng = np.random.default_rng(9)
    a, b = (random_counts(rng, 2, 20, skill=skill) for skill in (0.8, 0.6))
    whole = paired_difference(a, b, accuracy, resamples=999)
    # Only the order of draws may change.
    monkeypatch.setattr(significance, "CHUNK_CELLS", 7 * 20)
    chunked = paired_difference(a, b, accuracy, resamples=999)
    assert chunked.estimate == whole.estimate
    assert chunked.low == pytest.approx(whole.low, abs=0.02)
    assert chunked.p_value == pytest.approx(whole.p_value, abs=0.02)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((1, 2, 2, 2)), np.ones((2, 2, 2, 2)), "alike for both systems"),
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
    found_a, found_b, difference = compare(a, b, scorer, 200)
    assert (found_a, found_b) == (0.875, 0.5)  # seeds 2 and 3
    assert difference[0] == 0.375
    assert (difference.clusters, difference.seeds) == (2, 2)


def test_a_system_of_one_seed_is_paired_with_every_other():
    scorer, labels = make_scorer(*CLASSIFICATION), [0, 0, 1, 1]
    a = pool_of([labels], labels, (0,))
    b = pool_of([[0, 0, 1, 0], [0, 0, 0, 0]], labels, (5, 6))
    found = compare(a, b, scorer, 200)
    assert found[:2] == (1.0, 0.625)
    assert found[2].seeds == 2


def test_systems_that_share_no_seed_have_no_difference():
    scorer, labels = make_scorer(*CLASSIFICATION), [0, 0, 1, 1]
    a, b = (pool_of([labels] * 2, labels, seeds) for seeds in ((0, 1), (2, 3)))
    found = compare(a, b, scorer, 200)
    assert np.isnan([*found[:2], found[2].estimate]).all()
    assert verdict(found[2]) == "inconclusive"


def test_systems_of_other_labels_or_recordings_are_refused():
    scorer, labels = make_scorer(*CLASSIFICATION), [0, 0, 1, 1]
    a = pool_of([labels] * 2, labels)
    with pytest.raises(ValueError, match="same labels"):
        compare(a, pool_of([labels] * 2, [0, 1, 1, 1]), scorer, 200)
    with pytest.raises(ValueError, match="same recordings"):
        compare(a, pool_of([labels[:3]] * 2, labels[:3], speakers="aab"), scorer, 200)


@pytest.mark.parametrize(
    ("low", "high", "p", "clusters", "expected"),
    [
        (0.01, 0.2, 0.01, 6, "gain"),
        (-0.2, -0.01, 0.01, 6, "loss"),
        (-0.01, 0.2, 0.08, 6, "no clear difference"),
        (0.01, 0.2, 0.01, 5, "inconclusive"),
        (np.nan, np.nan, np.nan, 9, "inconclusive"),
    ],
)
def test_verdicts(low, high, p, clusters, expected):
    assert verdict(Difference(0.1, low, high, p, clusters, 5)) == expected


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
def test_a_resampled_concordance_equals_that_of_the_frames(metric):
    """Against plain loops that put the frames of drawn speakers together anew."""
    labels, predictions, offsets = continuous_frames(11)
    section = {"metric": metric, "cluster": "speaker", "convention": "population"}
    config = {"evaluation": section, "postprocessing": {"steps": []}}
    scorer = make_scorer(config, {"task": "regression"})
    a, b = (
        pool_of(recording_moments(x, labels, offsets), speakers="abcdab")
        for x in predictions
    )
    parts = [slice(*pair) for pair in pairwise(offsets)]

    def score(system, seed, speakers):
        drawn = [parts[n] for s in speakers for n in range(6) if n % 4 == s]
        pairs = [(predictions[system, seed, p], labels[p]) for p in drawn]
        if metric == "ccc_recordings":
            return np.mean([concordance(*pair) for pair in pairs])
        return concordance(*(np.concatenate(x) for x in zip(*pairs, strict=True)))

    def statistic(seeds, speakers):
        gains = [score(0, s, speakers) - score(1, s, speakers) for s in seeds]
        return np.mean(gains)

    _, _, found = compare(a, b, scorer, 10_000)
    assert found.estimate == pytest.approx(statistic([0, 1], range(4)), abs=1e-12)
    rng = np.random.default_rng(12)
    draws = [
        statistic(rng.integers(0, 2, 2), rng.integers(0, 4, 4)) for _ in range(800)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.clusters == 4


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5])
def test_coverage_and_false_alarms(seeds):
    """Two systems of one skill whose errors are shared within a speaker, and a seed.

    The interval must hold 0, and the test stay silent, about 95 times in 100; a
    bootstrap over single utterances, or over speakers alone where seeds differ, would
    be far too sure of itself.
    """
    rng = np.random.default_rng(10)
    covered = alarms = 0
    trials = 300
    for _ in range(trials):
        speaker = 0.15 * rng.standard_normal((2, 1, 24))
        luck = 0.05 * rng.standard_normal((2, seeds, 1)) * (seeds > 1)
        skill = np.clip(0.6 + speaker + luck, 0, 1)
        a, b = (counts_from_hits(rng.binomial(20, s), 20) for s in skill)
        found = paired_difference(a, b, accuracy, resamples=800)
        covered += found.low <= 0 <= found.high
        alarms += found.p_value < 0.05
    assert 0.90 <= covered / trials <= 0.985
    assert alarms / trials <= 0.09


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
