"""Grids that dev chooses from, and sizes: plain data, so that a config needs no jax."""

from dataclasses import dataclass

COMPLEXITIES = (
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0
)  # fmt: skip

POSITIVE = (  # grids whose values are above 0
    "svm_complexities",
    "svr_complexities",
    "svr_windows",
    "stacking_contexts",
    "stacking_penalties",
)
LEAST = {
    "most_weightings": 1,
    "voting_steps": 1,
    "curriculum_bins": 1,
    "cnn_units": 1,
    "cnn_width": 1,
    "out_of_fold": 0,
    "choice_baselines": 0,
    "svm_folds": 2,
}
TEACHERS = ("early_fusion", "model_level_fusion", "late_fusion")


@dataclass(frozen=True)
class SystemOptions:
    """Options of the systems other than implicit fusion; not in the paper.

    Attributes:
      lambdas: weights of the loss that a system adds: reconstruction, perception
        uncertainty, triplets, a second task.
      crossed_alphas: weights of auxiliary modalities when crossed with another grid, 0
        first.
      most_weightings: most combinations of weights tried for three or more modalities.
      voting_steps: S; weighted votes have the weights 0, 1/S ... 1 and sum to 1.
      stacking_contexts: frames whose decisions a ridge fuses [frame], odd.
      stacking_penalties: penalties of that ridge.
      error_vector: whether the reconstruction error has one value per feature instead
        of their mean.
      out_of_fold: parts of the speakers of train, each estimated by a first stage that
        has not seen it; 0 for a first stage that has seen all.
      warm_start: whether the second stage of DDAT starts from the first.
      curriculum_bins: number of equally large bins, trained from the easiest on.
      triplet_margin: margin of squared distances between vectors of length 1.
      cnn_units: units of the dense layer on utterances, filters on frames.
      cnn_width: width of a filter [frame], odd.
      teacher: teacher of pseudo-labels: "early_fusion", "model_level_fusion" or
        "late_fusion"; "" for "early_fusion" of classes, "late_fusion" of values.
      hard_labels: whether pseudo-labels are the teacher's class instead of its
        probabilities.
      choice_baselines: baselines per seed for `control_choice` to choose from; 0 for as
        many as there are alphas.
      svm_complexities: complexities for cross-validation inside train.
      svm_folds: most folds of that cross-validation.
      svr_complexities: the 13 of AVEC 2016.
      svr_windows: lengths of the functionals [s]; AVEC 2016 tried 3 to 9 s in steps of
        1 s for audio and video, which takes more than twice as long.
      svr_delays: annotation delays [s]; AVEC 2018 tried 0 to 9.6 s in steps of 0.4 s,
        which takes six times as long.
      svr_hop: step from window to window [s].
      svr_epsilon: deviation without cost; liblinear's default is 0.1.
      svr_dual: whether to solve the dual, as in AVEC 2016, instead of the primal. Both
        have the same solution; with many more windows than features the dual takes many
        times longer, or stops before it.
    """

    lambdas: tuple[float, ...] = (0.1, 0.3, 1.0)
    crossed_alphas: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0)
    most_weightings: int = 64
    voting_steps: int = 10
    stacking_contexts: tuple[int, ...] = (1, 3, 5, 7, 9, 11)
    stacking_penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    error_vector: bool = False
    out_of_fold: int = 0
    warm_start: bool = False
    curriculum_bins: int = 5
    triplet_margin: float = 0.2
    cnn_units: int = 200
    cnn_width: int = 9
    teacher: str = ""
    hard_labels: bool = False
    choice_baselines: int = 0
    svm_complexities: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
    svm_folds: int = 5
    svr_complexities: tuple[float, ...] = COMPLEXITIES
    svr_windows: tuple[float, ...] = (4.0, 6.0, 8.0)
    svr_delays: tuple[float, ...] = (0.0, 1.2, 2.4, 3.6)
    svr_hop: float = 0.4
    svr_epsilon: float = 0.1
    svr_dual: bool = False

    def __post_init__(self) -> None:
        """Refuses grids and sizes that make no sense."""
        for name in (*POSITIVE, "lambdas", "crossed_alphas", "svr_delays"):
            self._require_grid(name)
        if self.crossed_alphas[0] != 0 or max(self.crossed_alphas) > 1:
            raise ValueError(
                f"systems.crossed_alphas is {tuple(self.crossed_alphas)}; expected 0 "
                "first, and none above 1"
            )
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"systems.{name} is {getattr(self, name)}; expected {least} or more"
                )
        odd = all(isinstance(x, int) and x % 2 for x in self.stacking_contexts)
        for name, sound, expected in (
            ("svr_hop", self.svr_hop > 0, "above 0 [s]"),
            ("svr_epsilon", self.svr_epsilon >= 0, "at least 0"),
            ("out_of_fold", self.out_of_fold != 1, "0, or at least 2 parts"),
            ("choice_baselines", self.choice_baselines != 1, "0, or at least 2"),
            ("stacking_contexts", odd, "odd integers"),
            ("cnn_width", self.cnn_width % 2, "odd"),
            ("teacher", self.teacher in ("", *TEACHERS), f"one of {TEACHERS}, or ''"),
            ("triplet_margin", 0 < self.triplet_margin < 4, "above 0 and below 4"),
        ):
            if not sound:
                raise ValueError(
                    f"systems.{name} is {getattr(self, name)!r}; expected {expected}"
                )

    def _require_grid(self, name: str) -> None:
        """Refuses empty grids, values that are out of range, and equal ones."""
        values, least = getattr(self, name), "above" if name in POSITIVE else "at least"
        if not values:
            raise ValueError(f"systems.{name} is empty; expected at least one value")
        for value in values:
            number = isinstance(value, int | float) and 0 <= value < float("inf")
            if not number or (name in POSITIVE and value == 0):
                raise ValueError(f"systems.{name} holds {value!r}; expected {least} 0")
        if len({f"{value:g}" for value in values}) < len(values):
            raise ValueError(
                f"systems.{name} repeats a value, to six digits: {tuple(values)}"
            )
