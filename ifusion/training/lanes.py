"""The lanes of a sweep: its training runs, as names and as arrays.

Axes: L lanes, M modalities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ifusion.core import LaneArrays


@dataclass(frozen=True)
class Lane:
    """One training run.

    Attributes:
      main: the modality that is evaluated.
      alpha: weight of every other modality in the joint loss (Eqs. 3 and 4); 0 is the
        mono-modal baseline.
      seed: of the initial weights, the minibatch order and the input noise.
      target: what is predicted, such as "emotion" or "arousal".
      l2: l adds l * sum of squared weights (not biases) to the loss; not in the paper.
      delay: [frame], annotation delay (Sec. 4.2).
    """

    main: str
    alpha: float
    seed: int
    target: str
    l2: float = 0.0
    delay: int = 0


def make_grid(
    mains: Sequence[str],
    targets: Sequence[str],
    alphas: Sequence[Any],
    seeds: Sequence[Any],
    l2: Sequence[Any] = (0.0,),
    delays: Sequence[int] = (0,),
) -> tuple[Lane, ...]:
    """Lists every combination (Sec. 4.2: alpha from 0.0 to 1.0, step 0.1).

    Args:
      mains: modalities.
      targets: names.
      alphas: in 0 ... 1.
      seeds: integers.
      l2: penalties.
      delays: [frame].

    Returns:
      The lanes, alpha changing fastest, then the seed.

    Raises:
      ValueError: an axis of the grid is empty, repeats a value, or holds one out of
        range.
    """
    axes = {"mains": mains, "targets": targets, "alphas": alphas, "seeds": seeds}
    for name, values in {**axes, "l2": l2, "delays": delays}.items():
        if not values:
            raise ValueError(f"sweep.{name} is empty; expected at least one value")
        printed = [f"{x:g}" if isinstance(x, float) else x for x in values]
        if len(set(values)) < len(values) or len(set(printed)) < len(values):
            raise ValueError(
                f"sweep.{name} repeats a value, to six digits: {tuple(values)}"
            )
    for alpha in alphas:
        if not (isinstance(alpha, int | float) and 0 <= alpha <= 1):
            raise ValueError(
                f"sweep.alphas holds {alpha!r}; expected values in 0 ... 1"
            )
    for seed in seeds:
        if not (isinstance(seed, int) and 0 <= seed < 2**32):
            raise ValueError(
                f"sweep.seeds holds {seed!r}; expected integers in 0 ... 2^32 - 1"
            )
    for value in l2:
        if not (isinstance(value, int | float) and 0 <= value < float("inf")):
            raise ValueError(f"sweep.l2 holds {value!r}; expected at least 0")
    for delay in delays:
        if delay < 0:
            raise ValueError(f"sweep.delays holds {delay!r}; expected at least 0")
    return tuple(
        Lane(main, float(alpha), seed, target, float(penalty), delay)
        for main, target, penalty, delay, seed, alpha in product(
            mains, targets, l2, delays, seeds, alphas
        )
    )


def lane_arrays(
    lanes: Sequence[Lane], modalities: Sequence[str], targets: Sequence[str]
) -> LaneArrays:
    """Turns lanes into arrays.

    Args:
      lanes: L training runs.
      modalities: M names, in the order of the loss weights.
      targets: names, in the order of the labels.

    Raises:
      ValueError: a main is not a modality, or a target is unknown.
    """
    for lane in lanes:
        if lane.target not in targets:
            raise ValueError(
                f"sweep.targets holds {lane.target!r}; the targets are "
                f"{', '.join(targets)}"
            )
        if lane.main not in modalities:
            raise ValueError(
                f"sweep.mains holds {lane.main!r}; the modalities are "
                f"{', '.join(modalities)}"
            )
    weights = [[1.0 if m == x.main else x.alpha for m in modalities] for x in lanes]
    main = [list(modalities).index(x.main) for x in lanes]
    return LaneArrays(
        weights=np.array(weights, np.float32),
        main=np.array(main, np.int32),
        seed=np.array([x.seed for x in lanes], np.uint32),
        target=np.array([list(targets).index(x.target) for x in lanes], np.int32),
        l2=np.array([x.l2 for x in lanes], np.float32),
        delay=np.array([x.delay for x in lanes], np.int32),
        extra_weight=np.zeros(len(lanes), np.float32),
    )
