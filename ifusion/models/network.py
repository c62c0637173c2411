"""A network as the rest of the package sees it: two pure functions.

Axes: B batch, T time, F features of an input, O outputs of a head.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Inputs = Mapping[str, Any]
Outputs = dict[str, Any]

OUTPUT = "output"  # the head that predicts the emotion; others serve training
POOLING = "pooling"  # the parameters of pooling over time, if it has any


class Network(NamedTuple):
    """A network with named inputs and heads.

    Attributes:
      init: key -> params, a nested dict of float32 arrays; a head has one entry, of
        its own name.
      apply: (params, inputs {name: (B, T, F)}, mask (B, T), steps) -> {head: (B, T,
        O)}; a recurrent network runs sequences longer than `steps` part by part, or at
        once if it is None. Heads without parameters are left out.
    """

    init: Callable[[Any], Any]
    apply: Callable[[Any, Inputs, Any, int | None], Outputs]


class Hidden(NamedTuple):
    """What the layers of a recurrent network carry to the next steps.

    Attributes:
      branch: final hidden states of SP_m, (S, B, H); of several, {input: (S, B, H)}.
      shared: final hidden states of SH, (S, B, H).
      pooled: sums of the pooling over time, if recordings have one output.
    """

    branch: Any
    shared: Any
    pooled: Any = None


def branch_name(modality: str) -> str:
    """Names the parameters of SP_m in the parameter dict; the rest is SH."""
    return f"branch_{modality}"
