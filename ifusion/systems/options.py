"""Grids that dev chooses from; plain data, so that a config can be read without jax."""

from dataclasses import dataclass

COMPLEXITIES = (
    *(1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2),
    *(0.1, 0.2, 0.5, 1.0),
)


@dataclass(frozen=True)
class SystemOptions:
    """What systems other than implicit fusion are tried with; not in the paper.

    Attributes:
      lambdas: weights of the loss that a system adds to that of its main modality:
        reconstruction, perception uncertainty, triplets, a second task.
      svm_complexities: that cross-validation inside train chooses from.
      svm_folds: of that cross-validation, at most.
      svr_complexities: AVEC 2016 has these 13.
      svr_windows: [s] of the functionals; AVEC 2016 tried 3 to 9 s in steps of 1 s for
        audio and video, which takes more than twice as long.
      svr_delays: [s] by which annotators lag; AVEC 2018 tried 0 to 9.6 s in steps of
        0.4 s, which takes six times as long.
      svr_hop: [s] from window to window.
      svr_epsilon: deviation that costs nothing, 0.1 being liblinear's own default.
    """

    lambdas: tuple[float, ...] = (0.1, 0.3, 1.0)
    svm_complexities: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
    svm_folds: int = 5
    svr_complexities: tuple[float, ...] = COMPLEXITIES
    svr_windows: tuple[float, ...] = (4.0, 6.0, 8.0)
    svr_delays: tuple[float, ...] = (0.0, 1.2, 2.4, 3.6)
    svr_hop: float = 0.4
    svr_epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Refuses what cannot be a grid."""
        positive = ("svm_complexities", "svr_complexities", "svr_windows")
        for name in ("lambdas", "svr_delays", *positive):
            values = getattr(self, name)
            if not values:
                raise ValueError(
                    f"systems.{name} is empty; expected at least one value"
                )
            for value in values:
                number = isinstance(value, int | float) and 0 <= value < float("inf")
                if not number or (name in positive and value == 0):
                    expected = "above 0" if name in positive else "at least 0"
                    raise ValueError(
                        f"systems.{name} holds {value!r}; expected {expected}"
                    )
        if self.svm_folds < 2:
            raise ValueError(
                f"systems.svm_folds is {self.svm_folds}; expected at least 2"
            )
        if not self.svr_hop > 0:
            raise ValueError(f"systems.svr_hop is {self.svr_hop}; expected above 0 [s]")
        if not self.svr_epsilon >= 0:
            raise ValueError(
                f"systems.svr_epsilon is {self.svr_epsilon}; expected at least 0"
            )
