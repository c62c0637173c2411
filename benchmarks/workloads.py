"""What the benchmarks train: three workloads of the paper, on random data.

Axes: L lanes, N sequences, B batch, T time, F features of a modality, H hidden units, O
outputs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MODALITIES = ("audio", "video")
ALPHAS = tuple(round(0.1 * i, 1) for i in range(11))


class BenchmarkLane(NamedTuple):
    """A lane: its main modality and the weight of the other."""

    main: str
    alpha: float

    @property
    def weights(self) -> list[float]:
        """Weights of the losses of all modalities."""
        return [1.0 if m == self.main else self.alpha for m in MODALITIES]


@dataclass(frozen=True)
class Workload:
    """Shapes of an experiment.

    Attributes:
      features: F of audio and video.
      outputs: O, classes; 1 for a regression.
      layers: layers of a branch, and of the shared stack.
      batch_size: B, sequences per update.
      steps: T of every sequence.
      train: N sequences of train.
      dev: N sequences of dev.
      hidden_size: H.
    """

    features: tuple[int, int]
    outputs: int
    layers: int
    batch_size: int
    steps: int
    train: int
    dev: int
    hidden_size: int = 100

    @property
    def updates(self) -> int:
        """Updates in an epoch."""
        return -(-self.train // self.batch_size)

    def flops(self, lane: BenchmarkLane) -> float:
        """Counts the floating-point operations that an epoch of one lane needs.

        A layer costs 2 (F + H) 3H per frame forwards (no H if T = 1, where the previous
        state is zero) and twice that backwards, less the gradient of the network's
        input. On dev only the main modality passes, forwards. Elementwise work and
        auxiliaries of weight 0 do not count.
        """
        hidden = self.hidden_size
        recurrent = hidden if self.steps > 1 else 0
        above = 6 * hidden * (hidden + recurrent) * (2 * self.layers - 1)
        rest = above + 6 * hidden * recurrent + 2 * hidden * self.outputs
        first = {
            m: 6 * hidden * size
            for m, size in zip(MODALITIES, self.features, strict=True)
        }
        weighs = [x for m, x in first.items() if m == lane.main or lane.alpha > 0]
        train = sum(2 * x + 3 * rest for x in weighs) * self.train
        return float(train + (first[lane.main] + rest) * self.dev) * self.steps


# Minibatches of 128 utterances (Sec. 4.2), of thirteen videos of ten utterances, of
# sixteen windows of 128 frames. The first two have the train and dev partitions of
# OMG-Emotion; the third is three minibatches of RECOLA, whose partitions are equal.
WORKLOADS = {
    "omg": Workload((88, 4096), 7, 1, 128, 1, 2440, 617),
    "omg_context": Workload((88, 4096), 7, 1, 13, 10, 244, 62),
    "recola": Workload((88, 632), 1, 2, 16, 128, 48, 48),
}


class Data(NamedTuple):
    """A partition.

    Attributes:
      features: (N, T, F) float32 of each modality.
      labels: (N, T), classes or values.
    """

    features: tuple[np.ndarray, ...]
    labels: np.ndarray


def draw_data(workload: Workload) -> tuple[Data, Data]:
    """Draws train and dev: standardised features, and labels that ignore them."""
    rng = np.random.default_rng(0)
    partitions = []
    for count in (workload.train, workload.dev):
        shape = (count, workload.steps)
        features = tuple(
            rng.standard_normal((*shape, size), np.float32)
            for size in workload.features
        )
        if workload.outputs == 1:
            labels = rng.standard_normal(shape, np.float32)
        else:
            labels = rng.integers(0, workload.outputs, shape)
        partitions.append(Data(features, labels))
    return partitions[0], partitions[1]


def list_lanes(count: int) -> tuple[BenchmarkLane, ...]:
    """Lists `count` lanes, repeating mains x alphas."""
    grid = [BenchmarkLane(m, a) for m in MODALITIES for a in ALPHAS]
    return tuple(grid[i % len(grid)] for i in range(count))
