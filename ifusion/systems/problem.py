"""What to predict, and from what; plain data, so that reading a model needs no JAX."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ifusion.models.architecture import Architecture
from ifusion.systems.options import SystemOptions


@dataclass(frozen=True, eq=False)
class Problem:
    """What to predict, and from what.

    Attributes:
      num_features: {m: F_m}; a predictor needs only the modalities of its main.
      mains: modalities to predict from, each alone.
      targets: names, in the order of the labels.
      num_classes: 0 for a regression.
      frame_step: [s]; None for utterances.
      architecture: sizes of every network.
      systems: options of the systems.
    """

    num_features: Mapping[str, int]
    mains: tuple[str, ...]
    targets: tuple[str, ...]
    num_classes: int
    frame_step: float | None
    architecture: Architecture
    systems: SystemOptions

    @property
    def modalities(self) -> tuple[str, ...]:
        """All modalities, in the order of the loss weights."""
        return tuple(self.num_features)

    @property
    def num_outputs(self) -> int:
        """O: one per class, or one for the target."""
        return self.num_classes or 1


def make_problem(entries: Mapping[str, Any]) -> Problem:
    """Makes a problem from its entries in JSON.

    Raises:
      ValueError: an entry is missing, unknown, or of another type.
    """

    def plain(section: Mapping[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}

    try:
        return Problem(
            **{
                **plain(entries),
                "architecture": Architecture(**entries["architecture"]),
                "systems": SystemOptions(**plain(entries["systems"])),
            }
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the problem of the predictor is incomplete: {error}"
        ) from None
