"""Sizes of the network; plain data, so that reading a config needs no JAX."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network (Sec. 4.2).

    Attributes:
      branch_layers: GRU layers in each branch SP_m; 1 for OMG-Emotion, 2 for RECOLA.
      shared_layers: GRU layers in the shared head SH, below its linear output.
      hidden_size: units of every layer, H (K in Eq. 1).
      recurrent: whether there are sequences of more than one step; a model for single
        utterances has no recurrent weights.
      pooling: over the steps of a recording that has one label, after the shared
        layers, see `models.pooling`; "" if every step has an output. Not in the paper.
    """

    branch_layers: int = 1
    shared_layers: int = 1
    hidden_size: int = 100
    recurrent: bool = True
    pooling: str = ""

    def __post_init__(self) -> None:
        """Refuses sizes below 1."""
        for name in ("branch_layers", "shared_layers", "hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"model.{name} is {getattr(self, name)}; expected at least 1"
                )
