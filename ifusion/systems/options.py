"""Grids that dev chooses from, and sizes; plain data, so that a config needs no jax."""

from dataclasses import dataclass

COMPLEXITIES = (
    *(1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2),
    *(0.1, 0.2, 0.5, 1.0),
)

TEACHERS = ("early_fusion", "model_level_fusion", "late_fusion")


@dataclass(frozen=True)
class SystemOptions:
    """What systems other than implicit fusion are tried with; not in the paper.

    Attributes:
      lambdas: weights of the loss that a system adds to that of its main modality:
        reconstruction, perception uncertainty, triplets, a second task.
      crossed_alphas: weights of auxiliary modalities where they are crossed with
        another grid, 0 first.
      most_weightings: combinations of the weights of three and more modalities that
        are tried at most.
      voting_steps: S, weighted votes are those of weights 0, 1/S ... 1 that sum to 1.
      stacking_contexts: [frame] around each one whose decisions a ridge fuses, odd.
      stacking_penalties: of that ridge.
      error_vector: whether the reconstruction error that a second stage reads has one
        value a feature, instead of their mean.
      out_of_fold: parts of the speakers of train, the difficulty of each of which is
        estimated by a first stage that has not seen it; 0 = by one that has seen all.
      warm_start: whether the second stage of DDAT starts from the first.
      curriculum_bins: bins of equal size, the easiest trained on first.
      triplet_margin: of squared distances of vectors of length 1.
      cnn_units: of the dense layer above utterance features, filters above frames.
      cnn_width: [frame] that a filter spans, odd.
      teacher: of pseudo-labels, "early_fusion", "model_level_fusion" or "late_fusion",
        the mean of the decisions of all mains; "" = "early_fusion" of classes,
        "late_fusion" of values.
      hard_labels: whether pseudo-labels are the teacher's class instead of its
        probabilities.
      choice_baselines: of each seed, that `control_choice` chooses from; 0 = as many as
        there are alphas.
      svm_complexities: that cross-validation inside train chooses from.
      svm_folds: of that cross-validation, at most.
      svr_complexities: AVEC 2016 has these 13.
      svr_windows: [s] of the functionals; AVEC 2016 tried 3 to 9 s in steps of 1 s for
        audio and video, which takes more than twice as long.
      svr_delays: [s] by which annotators lag; AVEC 2018 tried 0 to 9.6 s in steps of
        0.4 s, which takes six times as long.
      svr_hop: [s] from window to window.
      svr_epsilon: deviation that costs nothing, 0.1 being liblinear's own default.
      svr_dual: whether the dual is solved, as in AVEC 2016, instead of the primal. Both
        have the same solution; where windows are many more than features the dual takes
        many times longer, or ends before it.
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
        """Refuses what cannot be a grid or a size."""
        positive = (
            "svm_complexities",
            "svr_complexities",
            "svr_windows",
            "stacking_contexts",
            "stacking_penalties",
        )
        for name in ("lambdas", "crossed_alphas", "svr_delays", *positive):
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
            if len({f"{value:g}" for value in values}) < len(values):
                raise ValueError(
                    f"systems.{name} repeats a value, to six digits: {tuple(values)}"
                )
        if self.crossed_alphas[0] != 0 or max(self.crossed_alphas) > 1:
            raise ValueError(
                f"systems.crossed_alphas is {tuple(self.crossed_alphas)}; expected 0 "
                "first, and none above 1"
            )
        if not self.svr_hop > 0:
            raise ValueError(f"systems.svr_hop is {self.svr_hop}; expected above 0 [s]")
        if not self.svr_epsilon >= 0:
            raise ValueError(
                f"systems.svr_epsilon is {self.svr_epsilon}; expected at least 0"
            )
        least = {
            "most_weightings": 1,
            "voting_steps": 1,
            "curriculum_bins": 1,
            "cnn_units": 1,
            "cnn_width": 1,
            "out_of_fold": 0,
            "choice_baselines": 0,
            "svm_folds": 2,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(
                    f"systems.{name} is {getattr(self, name)}; expected at least "
                    f"{bound}"
                )
        for name in ("out_of_fold", "choice_baselines"):
            if getattr(self, name) == 1:
                raise ValueError(f"systems.{name} is 1; expected 0, or at least 2")
        for context in self.stacking_contexts:
            if not isinstance(context, int) or context % 2 == 0:
                raise ValueError(
                    f"systems.stacking_contexts holds {context}; expected odd integers"
                )
        if self.cnn_width % 2 == 0:
            raise ValueError(f"systems.cnn_width is {self.cnn_width}; expected odd")
        if self.teacher not in ("", *TEACHERS):
            raise ValueError(
                f"systems.teacher is {self.teacher!r}; expected one of "
                f"{', '.join(TEACHERS)}, or nothing"
            )
        if not 0 < self.triplet_margin < 4:
            raise ValueError(
                f"systems.triplet_margin is {self.triplet_margin}; expected in 0 ... 4"
            )
