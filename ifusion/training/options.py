"""How lanes are trained; plain data, so that reading a config needs no JAX."""

from dataclasses import dataclass
from typing import Literal

# whether layers train in C++: where that is faster, wherever it is available, never, or
# for one instruction set; see `models.native_gru`
Native = Literal["auto", "on", "off", "avx512", "avx2", "plain"]


@dataclass(frozen=True)
class TrainingOptions:
    """How a lane is trained (Sec. 4.2, and what it leaves open).

    Attributes:
      epochs: passes over the train partition at most; not in the paper.
      patience: epochs without a better dev score after which a lane stops; not in the
        paper.
      batch_size: sequences per update, B.
      learning_rate: of Adam.
      input_noise: standard deviation of Gaussian noise on the standardised features;
        not in the paper.
      delay_scoring: where an annotation delay is compensated: "original" shifts the
        predictions back and scores the labels as they are, "shifted" scores the
        predictions as they are against labels shifted earlier; not in the paper.
      clip: how far features may lie from the median of train [standard deviations,
        estimated from the quartiles of train]; values beyond are set to that bound
        before they are standardised; 0 for no bound. Not in the paper.
      standardise: features by the statistics of "labelled" recordings of train, or of
        "all", unlabelled ones among them; not in the paper.
      target_scale: of a regression: "auto" trains on targets as they are if their
        largest magnitude in train lies between 0.1 and 2, and standardises others by
        the statistics of train, "always" standardises all, "never" none. Predictions,
        scores and files are in the user's unit, losses in that of training. Not in the
        paper.
    """

    epochs: int = 100
    patience: int = 15
    batch_size: int = 128
    learning_rate: float = 1e-3
    input_noise: float = 0.0
    delay_scoring: str = "original"
    clip: float = 0.0
    standardise: str = "labelled"
    target_scale: str = "auto"

    def __post_init__(self) -> None:
        """Refuses values that make no sense."""
        for name in ("epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"training.{name} is {getattr(self, name)}; expected at least 1"
                )
        if not self.learning_rate > 0:
            raise ValueError(
                f"training.learning_rate is {self.learning_rate}; expected above 0"
            )
        for name in ("input_noise", "clip"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"training.{name} is {getattr(self, name)}; expected at least 0"
                )
        if self.delay_scoring not in ("original", "shifted"):
            raise ValueError(
                f"training.delay_scoring is {self.delay_scoring!r}; expected "
                "'original' or 'shifted'"
            )
        if self.standardise not in ("labelled", "all"):
            raise ValueError(
                f"training.standardise is {self.standardise!r}; expected 'labelled' or "
                "'all'"
            )
        if self.target_scale not in ("auto", "always", "never"):
            raise ValueError(
                f"training.target_scale is {self.target_scale!r}; expected 'auto', "
                "'always' or 'never'"
            )
