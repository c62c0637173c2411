"""Lanes: training runs that differ in data alone, so that one program trains them all.

Axes: L lanes, M modalities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple


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


class LaneArrays(NamedTuple):
    """Lanes as arrays, L in front; without L where a function is of one lane.

    Attributes:
      weights: (L, M) float32, of the losses: 1 for the main modality, alpha for others.
      main: (L,) int32, index of the main modality.
      seed: (L,) uint32, of initial weights, minibatch order and noise.
      target: (L,) int32, index of the target.
      l2: (L,) float32, penalty on squared weights, not biases; not in the paper.
      delay: (L,) int32 [frame] by which annotators lag behind.
      extra_weight: (L,) float32, of the loss that a learner adds; not in the paper.
      frozen: tree of arrays that a lane reads but does not train, or None.
    """

    weights: Any
    main: Any
    seed: Any
    target: Any
    l2: Any
    delay: Any
    extra_weight: Any
    frozen: Any = None


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
