"""A system as a chain of blocks, to run frame by frame or outside this package.

A chain is plain arrays; streaming, StableHLO and ONNX read it. Systems of several
modalities, of windows or of counted votes are not chains.

Axes: F inputs, H hidden units, O outputs of a block, W steps.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.corpus import JOIN
from ifusion.models.network import OUTPUT, POOLING, branch_name
from ifusion.systems import cnn, controls, curriculum, ddat, reconstruction_error
from ifusion.systems.neural import make_recurrent_predict
from ifusion.systems.shapes import COPY, FIRST, SECOND
from ifusion.systems.system import Params, Problem, System


class Dense(NamedTuple):
    """y = x @ kernel + bias.

    Attributes:
      kernel: (F, O).
      bias: (O,).
    """

    kernel: Any
    bias: Any


class Relu(NamedTuple):
    """y = max(x, 0)."""


class Gru(NamedTuple):
    """The recurrence of `ifusion.models.gru`; gates in the order r, z, n.

    Attributes:
      weight: (3H, F), for the inputs.
      bias: (3H,), for the inputs.
      kernel: (H, 3H), for the hidden state; zeros for single steps.
      recurrent_bias: (H,), b_n.
    """

    weight: Any
    bias: Any
    kernel: Any
    recurrent_bias: Any


class Filters(NamedTuple):
    """A convolution over time, zeros beyond both ends.

    Attributes:
      kernel: (W, F, O), W odd: W // 2 steps back and as many ahead.
      bias: (O,).
    """

    kernel: Any
    bias: Any


class AppendDifficulty(NamedTuple):
    """[x; d], d standardised as on train.

    Attributes:
      estimator: chain of the first stage.
      mean: (D,), mean of d.
      std: (D,), its deviation.
      squared: (D, F) or (0, F): d = squared @ (x - estimate)^2; without rows, d is the
        estimate itself.
    """

    estimator: "Chain"
    mean: Any
    std: Any
    squared: Any


class Pool(NamedTuple):
    """One vector per recording, from its steps so far; see `ifusion.models.pooling`.

    Attributes:
      query: (H,) for attention, zeros for a mean; None for the last step.
    """

    query: Any


Block = Dense | Relu | Gru | Filters | AppendDifficulty | Pool
Chain = tuple[Block, ...]  # one after another: (N, T, F) -> (N, T, O)


def chain_of(system: System, problem: Problem, main: str, params: Params) -> Chain:
    """Describes a fitted candidate as a chain.

    Raises:
      ValueError: if the system is not one; the message says why.
    """
    if system.key in _REASONS or JOIN in main:
        reason = _REASONS.get(system.key, "it reads several modalities")
        raise ValueError(f"{system.key} is not a chain of layers: {reason}")
    pooling = problem.architecture.pooling
    if system.make_predict in (make_recurrent_predict, controls.predict_matched):
        return _recurrent(params, main, OUTPUT, pooling)
    if pooling:
        reason = "its difficulty is that of whole recordings"
        raise ValueError(f"{system.key} is not a chain of layers: {reason}")
    if system.make_predict in (cnn.make_predict, curriculum.make_predict):
        return _feed_forward(params)
    if system is reconstruction_error.TWO_STAGE:
        return _two_stages(problem, main, params, COPY, problem.systems.error_vector)
    if system in (ddat.DDAT_RE, ddat.FUSED_RE):
        return _two_stages(problem, main, params, SECOND, vector=False)
    if system in (ddat.DDAT_PU, ddat.FUSED_PU):
        return _two_stages(problem, main, params, SECOND, vector=None)
    raise ValueError(f"{system.key} is not a chain of layers")


_REASONS = {
    "constant": "it reads no features",
    "svm": "it counts the votes of pairs of classes",
    "svr": "it reads means and deviations of windows",
}


def looks_ahead(chain: Chain) -> int:
    """Counts the later steps that an output depends on."""
    return sum(len(block.kernel) // 2 for block in chain if isinstance(block, Filters))


def _recurrent(
    params: Mapping[str, Any], main: str, head: str, pooling: str = ""
) -> Chain:
    """p_m = SH(SP_m(f_m)), Eqs. 1 and 2, with pooling over time if named."""
    blocks: list[Any] = []
    for part in (branch_name(main), "shared"):
        for _, layer in sorted(params[part].items(), key=_number):
            inputs, bias = layer["input"], layer["bias"]
            no_memory = np.zeros((len(bias), 3 * len(bias)), np.float32)
            kernel = layer.get("kernel", no_memory)
            blocks.append(Gru(inputs["weight"], inputs["bias"], kernel, bias))
    if pooling == "attention":
        blocks.append(Pool(params[POOLING]["query"]))
    elif pooling:
        zeros = np.zeros_like(blocks[-1].recurrent_bias)
        blocks.append(Pool(None if pooling == "last" else zeros))
    return (*blocks, Dense(params[head]["kernel"], params[head]["bias"]))


def _number(item: tuple[str, Any]) -> int:
    return int(item[0].rpartition("_")[2])


def _feed_forward(params: Mapping[str, Any]) -> Chain:
    blocks: list[Block] = []
    hidden = [item for item in params.items() if item[0] != OUTPUT]
    for _, layer in sorted(hidden, key=_number):
        kind = Filters if np.ndim(layer["kernel"]) == 3 else Dense
        blocks += [kind(layer["kernel"], layer["bias"]), Relu()]
    return (*blocks, Dense(params[OUTPUT]["kernel"], params[OUTPUT]["bias"]))


def _two_stages(
    problem: Problem,
    main: str,
    params: Mapping[str, Any],
    head: str,
    vector: bool | None,
) -> Chain:
    """[x; d] and the second stage; `vector` is None if the head predicts d itself."""
    first, size = params[FIRST], problem.num_features[main]
    if vector is None:
        squared = np.zeros((0, size), np.float32)
    elif vector:
        squared = np.eye(size, dtype=np.float32)
    else:
        squared = np.full((1, size), 1 / size, np.float32)
    estimator = _recurrent(first["estimator"], main, head)
    difficulty = AppendDifficulty(estimator, first["mean"], first["std"], squared)
    return (difficulty, *_recurrent(params, main, OUTPUT))
