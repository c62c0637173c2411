"""Grids that dev chooses from; plain data, so that a config can be read without jax."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SystemOptions:
    """What systems other than implicit fusion are tried with; not in the paper.

    Attributes:
      lambdas: weights of the loss that a system adds to that of its main modality:
        reconstruction, perception uncertainty, triplets, a second task.
    """

    lambdas: tuple[float, ...] = (0.1, 0.3, 1.0)

    def __post_init__(self) -> None:
        """Refuses what cannot be a grid."""
        if not self.lambdas:
            raise ValueError("systems.lambdas is empty; expected at least one value")
        for value in self.lambdas:
            if not (isinstance(value, int | float) and 0 <= value < float("inf")):
                raise ValueError(
                    f"systems.lambdas holds {value!r}; expected at least 0"
                )
