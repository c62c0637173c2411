"""Grids that dev chooses from, and sizes; plain data, so that a config needs no jax."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SystemOptions:
    """What systems other than implicit fusion are tried with; not in the paper.

    Attributes:
      lambdas: weights of the loss that a system adds to that of its main modality:
        reconstruction, perception uncertainty, triplets, a second task.
      crossed_alphas: weights of auxiliary modalities where they are crossed with
        another grid, 0 among them.
      most_weightings: combinations of the weights of three and more modalities that
        are tried at most.
      voting_steps: S, weighted votes are those of weights 0, 1/S ... 1 that sum to 1.
      error_vector: whether the reconstruction error that a second stage reads has one
        value a feature, instead of their mean.
      out_of_fold: parts of the speakers of train, the difficulty of each of which is
        estimated by a first stage that has not seen it; 0 = by one that has seen all.
      warm_start: whether the second stage of DDAT starts from the first.
      curriculum_bins: bins of equal size, the easiest trained on first.
      triplet_margin: of squared distances of vectors of length 1.
      cnn_units: of the dense layer above utterance features, filters above frames.
      cnn_width: [frame] that a filter spans, odd.
    """

    lambdas: tuple[float, ...] = (0.1, 0.3, 1.0)
    crossed_alphas: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0)
    most_weightings: int = 64
    voting_steps: int = 10
    error_vector: bool = False
    out_of_fold: int = 0
    warm_start: bool = False
    curriculum_bins: int = 5
    triplet_margin: float = 0.2
    cnn_units: int = 200
    cnn_width: int = 9

    def __post_init__(self) -> None:
        """Refuses what cannot be a grid or a size."""
        for name in ("lambdas", "crossed_alphas"):
            values = getattr(self, name)
            if not values:
                raise ValueError(
                    f"systems.{name} is empty; expected at least one value"
                )
            if len(set(values)) < len(values):
                raise ValueError(f"systems.{name} repeats a value: {tuple(values)}")
            for value in values:
                if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                    raise ValueError(
                        f"systems.{name} holds {value!r}; expected at least 0"
                    )
        least = {
            **{"most_weightings": 1, "voting_steps": 1, "curriculum_bins": 1},
            **{"cnn_units": 1, "cnn_width": 1, "out_of_fold": 0},
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(
                    f"systems.{name} is {getattr(self, name)}; expected at least "
                    f"{bound}"
                )
        if self.out_of_fold == 1:
            raise ValueError(
                "systems.out_of_fold is 1; expected 0, or at least 2 parts"
            )
        if self.cnn_width % 2 == 0:
            raise ValueError(f"systems.cnn_width is {self.cnn_width}; expected odd")
        if not 0 < self.triplet_margin < 4:
            raise ValueError(
                f"systems.triplet_margin is {self.triplet_margin}; expected in 0 ... 4"
            )
