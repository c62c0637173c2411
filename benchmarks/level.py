"""Measures rates of false alarms and coverage of intervals.

    python benchmarks/level.py [--draws=1000] [--mixtures]

Draws pairs of systems on the same recordings, with the effects of real ones: speakers
are easy or hard for both systems or for one, seeds are good or bad, and the same
speaker changes from seed to seed. The score of a classification is micro-F1 over 40
recordings per speaker; over time, it is the CCC of all frames, with one recording per
speaker. Without a difference, both systems are drawn alike. `--mixtures` draws normal
differences instead, and finds the mixture of variances with the most false alarms.

Axes: R draws, S seeds, C clusters, T frames of a recording.
"""

import argparse
import time
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
from machine import describe

from ifusion.evaluation.agreement import make_measures
from ifusion.evaluation.metrics import micro_f1
from ifusion.evaluation.significance import (
    LEAST_CLUSTERS,
    LEAST_SEEDS,
    SIGNIFICANCE_LEVEL,
    half_width,
    pseudo_values,
    variances,
)

COUNTED = ("false alarms", "covered", "power", "covered")
CLUSTERS, SEEDS = (2, 3, 4, 6, 9, 12, 24), (1, 2, 3, 5)
PARTS = (0.0, 0.3, 1.0, 3.0, 10.0)  # deviations of seeds and both; of clusters 1
RECORDINGS = 40  # of a speaker
FRAMES, SPAN = 50, 9  # of a recording; of the moving average that makes it smooth
LEVEL, WAVE, GAIN, NOISE = 0.6, 0.8, 0.6, 0.5  # of the gold standard; of a prediction
CCC = make_measures()["ccc_pooled"]


class Drawn(NamedTuple):
    """Two systems, and the difference between them.

    Attributes:
      statistics: (R S, C, ...) of each.
      truth: score of the first minus that of the second, over all speakers and seeds.
      trained: (R,), the same over these seeds.
    """

    statistics: list[np.ndarray]
    truth: float
    trained: np.ndarray


def draw_classes(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    difference: float,
    seed: float,
) -> Drawn:
    """Draws confusion counts of two systems whose accuracies differ.

    `shape` is (R, S, C); `seed` is the standard deviation of a seed's accuracy, while
    that of speakers is 0.1.
    """
    draws, seeds, clusters = shape
    normal = rng.standard_normal
    common = 0.55 + 0.1 * normal((draws, 1, clusters))
    statistics, skills = [], []
    for sign in (0.5, -0.5):
        skill = sign * difference + seed * normal((draws, seeds, 1))
        own = 0.04 * normal((draws, 1, clusters)) + 0.03 * normal(shape)
        hits = rng.binomial(RECORDINGS, np.clip(common + skill + own, 0, 1))
        counts = np.zeros((draws * seeds, clusters, 2, 2))
        counts[..., 0, 0] = hits.reshape(-1, clusters)
        counts[..., 0, 1] = RECORDINGS - counts[..., 0, 0]
        statistics.append(counts)
        skills.append(skill.mean((1, 2)))
    return Drawn(statistics, difference, skills[0] - skills[1])


def draw_series(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    difference: float,
    seed: float,
) -> Drawn:
    """Draws sums of the CCC of two systems: gain times gold standard, plus noise.

    `shape` is (R, S, C); their gains differ, and `seed` is the standard deviation of a
    seed's gain.
    """
    draws, seeds, clusters = shape
    normal = rng.standard_normal

    def smooth(*sizes: int) -> np.ndarray:
        steps = np.cumsum(normal((*sizes, FRAMES + SPAN)), axis=-1)
        return (steps[..., SPAN:] - steps[..., :-SPAN]) / np.sqrt(SPAN)

    wide = np.exp(0.3 * normal((draws, 1, clusters, 1)))  # some recordings move more
    gold = LEVEL * normal((draws, 1, clusters, 1))
    gold = gold + WAVE * wide * smooth(draws, 1, clusters)
    variance = LEVEL**2 + WAVE**2 * np.exp(2 * 0.3**2)
    shares = {"gain": (0.1, 0.05), "offset": (0.25, 0.1)}  # of a recording; its seeds

    def effect(name: str) -> np.ndarray:
        stays, varies = shares[name]
        own = stays * normal((draws, 1, clusters, 1))
        return own + varies * normal((*shape, 1))

    def score(gain: np.ndarray) -> np.ndarray:
        """CCC over all recordings of a system of this gain."""
        from_gain, from_offset = (np.square(shares[name]).sum() for name in shares)
        spread = (gain**2 + from_gain) * variance + from_offset + NOISE**2 * 0.74
        return 2 * gain * variance / (variance + spread)

    others = np.random.default_rng(0).standard_normal(100_000)
    statistics, trained, truth = [], [], []
    for sign in (0.5, -0.5):
        gain = GAIN + sign * difference + seed * normal((draws, seeds, 1, 1))
        noise = 0.7 * smooth(draws, 1, clusters) + 0.5 * smooth(*shape)
        found = (gain + effect("gain")) * gold + effect("offset") + NOISE * noise
        y, x = (
            v.reshape(-1, clusters, FRAMES) for v in np.broadcast_arrays(gold, found)
        )
        means = y.mean(-1), x.mean(-1)
        covariance = (x * y).mean(-1) - means[0] * means[1]
        frames = np.full(means[0].shape, float(FRAMES))
        moments = (frames, *means, y.var(-1), x.var(-1), covariance)
        statistics.append(CCC.sums(np.stack(moments, axis=-1)))
        trained.append(score(gain).mean((1, 2, 3)))
        truth.append(score(GAIN + sign * difference + seed * others).mean())
    return Drawn(statistics, truth[0] - truth[1], trained[0] - trained[1])


class Task(NamedTuple):
    """What to draw.

    Attributes:
      name: name of the metric.
      draw: `draw_classes` or `draw_series`.
      formula: formula of the metric.
      difference: size of a real difference.
      seeds: {strength: standard deviation of a seed}.
    """

    name: str
    draw: Callable[..., Drawn]
    formula: Callable[[np.ndarray], np.ndarray]
    difference: float
    seeds: dict[str, float]


TASKS = (
    Task("micro-F1", draw_classes, micro_f1, 0.06, {"weak": 0.01, "strong": 0.04}),
    Task("CCC", draw_series, CCC.formula, 0.15, {"weak": 0.03, "strong": 0.1}),
)


def measure(
    rng: np.random.Generator, task: Task, shape: tuple[int, int, int], strength: str
) -> tuple[float, float, float, float]:
    """Counts alarms and covered truths, without a difference and with one.

    `shape` is (R, S, C); `strength` is that of the effect of seeds.

    Returns:
      Shares of draws with p < .05 (NaN without a p-value) and of intervals that contain
      the truth, for a single seed that of these trained models; first without a
      difference, then with one.
    """
    _, seeds, clusters = shape
    tested = clusters >= LEAST_CLUSTERS and seeds >= LEAST_SEEDS
    shares = []
    for difference in (0.0, task.difference):
        (a, b), truth, trained = task.draw(rng, shape, difference, task.seeds[strength])
        gains = pseudo_values(a, task.formula) - pseudo_values(b, task.formula)
        scores = task.formula(a.sum(1)) - task.formula(b.sum(1))
        estimate = scores.reshape(shape[:2]).mean(1)
        half = half_width(variances(gains.reshape(shape)), SIGNIFICANCE_LEVEL)
        aim = trained if seeds < LEAST_SEEDS else truth
        shares.append(np.mean(np.abs(estimate) > half) if tested else np.nan)
        covered = np.abs(estimate - aim) <= half
        shares.append(np.mean(covered[~np.isnan(half)]))
    return tuple(map(float, shares))


def alarms_of_mixture(
    rng: np.random.Generator, shape: tuple[int, int, int], parts: tuple[float, float]
) -> float:
    """Share of normal differences, (R, S, C), whose interval excludes 0."""
    draws, seeds, clusters = shape
    of_seeds, of_both = parts
    gains = rng.standard_normal((draws, 1, clusters))
    gains = gains + of_seeds * rng.standard_normal((draws, seeds, 1))
    gains = gains + of_both * rng.standard_normal(shape)
    half = half_width(variances(gains), SIGNIFICANCE_LEVEL)
    return float(np.mean(np.abs(gains.mean((1, 2))) > half))


def print_mixtures(draws: int) -> None:
    """Prints the worst mixture for each number of clusters and seeds."""
    print("\n| clusters | seeds | false alarms | of seeds | of both |")
    print("|" + " ---: |" * 5)
    rng = np.random.default_rng(0)
    for clusters, seeds in product(CLUSTERS, SEEDS[1:]):
        shape = (draws, seeds, clusters)
        mixtures = product(PARTS, repeat=2)
        share, parts = max((alarms_of_mixture(rng, shape, x), x) for x in mixtures)
        print(f"| {clusters} | {seeds} | {100 * share:.1f} | {parts[0]} | {parts[1]} |")


def main() -> None:
    """Prints one table per metric."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=1000, help="a cell")
    parser.add_argument("--mixtures", action="store_true", help="of normal differences")
    flags = parser.parse_args()
    draws = flags.draws
    print(describe(("numpy", "scipy")))
    if flags.mixtures:
        print_mixtures(draws)
        return
    began = time.perf_counter()
    for task in TASKS:
        print(f"\n{task.name}; {draws} draws a cell, in %\n")
        heads = [f"{x}, {s} seeds" for s in task.seeds for x in COUNTED]
        print(f"| clusters | seeds | {' | '.join(heads)} |")
        print("|" + " ---: |" * (2 + len(heads)))
        rng = np.random.default_rng(0)
        for clusters, seeds in product(CLUSTERS, SEEDS):
            shape = (draws, seeds, clusters)
            found = [x for name in task.seeds for x in measure(rng, task, shape, name)]
            said = ["—" if np.isnan(x) else f"{100 * x:.1f}" for x in found]
            print(f"| {clusters} | {seeds} | {' | '.join(said)} |")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
