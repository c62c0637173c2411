"""A predictor as one ONNX graph, from raw features to predictions.

It standardises, runs all members, post-processes and averages. GRU layers are ONNX's
own (`linear_before_reset` = 1). It takes any number of recordings and frames; the
recordings of one call have the same length.

Axes: N recordings, T frames, R utterances, F features, H hidden units, O outputs, W
steps of a window.
"""

import json
from typing import Any

import numpy as np

from ifusion import __version__
from ifusion.adjustments import Adjustment
from ifusion.inference.predictor import Member, Predictor
from ifusion.inference.standardising import require_whole, split_statistics
from ifusion.systems import chains as blocks
from ifusion.systems.chains import Chain, looks_ahead

OPSET, IR_VERSION = 17, 8
PROBABILITIES = "probabilities"
MOVING = ("median", "shift")  # steps that read other frames


def make_onnx(predictor: Predictor, stream: bool = False) -> Any:
    """Builds the `onnx.ModelProto` of a predictor.

    Its input is named after the modality: (R, F) for utterances, otherwise (N, T, F).
    Its outputs are `probabilities` (..., K) and the index of the class, named after the
    target; or each target (...,).

    Args:
      predictor: of one modality.
      stream: whether the state goes in and out: `state_0` (1, N, H) in, `next_0` out,
        and so on, zeros before the first frame. The graph then leaves out what moves
        predictions in time: delay (in the metadata [s]), median and shift.

    Raises:
      ValueError: onnx is not installed, the system is not a chain of layers or cannot
        be run frame by frame, or members to stream differ in their delay.
    """
    try:
        import onnx
    except ImportError:
        raise ValueError('writing ONNX needs onnx: pip install -e ".[onnx]"') from None
    require_whole(predictor)
    graph = _Graph(stream)
    if stream:
        _require_stream(predictor)
    outputs = _add_predictor(graph, predictor)
    (main,) = predictor.features  # a chain has one
    free = ["recordings", "frames"] if predictor.of_many_rows else ["utterances"]
    answered = free[:1] if predictor.frames else free
    f32, i64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    declare = onnx.helper.make_tensor_value_info
    into = [declare(main, f32, [*free, len(predictor.features[main])])]
    out = []
    for name in outputs:
        if name == PROBABILITIES:
            out.append(declare(name, f32, [*answered, len(predictor.classes)]))
        else:
            out.append(declare(name, i64 if predictor.classes else f32, answered))
    for i, hidden in enumerate(graph.states):
        into.append(declare(f"state_{i}", f32, [1, "recordings", hidden]))
        out.append(declare(f"next_{i}", f32, [1, "recordings", hidden]))
    made = onnx.helper.make_graph(
        graph.nodes, predictor.system, into, out, graph.constants
    )
    model = onnx.helper.make_model(
        made,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="ifusion",
        producer_version=__version__,
        doc_string=predictor.card,
    )
    facts = {
        "features": json.dumps(predictor.features[main]),
        "classes": json.dumps(predictor.classes),
        "frame_step": json.dumps(predictor.frame_step),
        "provenance": json.dumps(predictor.provenance.get(main, {})),
        "licence": str(predictor.about.get("licence", "")),
    }
    if stream:
        facts["delay"] = json.dumps(_delays(predictor))
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def _require_stream(predictor: Predictor) -> None:
    """Refuses systems that do not run frame by frame."""
    if not predictor.over_time:
        what = "rows are utterances, each on its own"
        what = "a recording has one answer" if predictor.frames else what
        raise ValueError(f"{what}: there is no stream")
    ahead = max(map(looks_ahead, predictor.chains))
    if ahead:
        raise ValueError(f"{predictor.system} looks {ahead} frames ahead")


def _delays(predictor: Predictor) -> dict[str, float]:
    """Returns by how many seconds the predictions of each target come too early."""
    found = {m.target: m.delay for m in predictor.members}
    for member in predictor.members:
        if member.delay != found[member.target]:
            raise ValueError(
                f"members of {member.target} have different delays; pick one seed and "
                "fold for a stream"
            )
    return {k: v * (predictor.frame_step or 1.0) for k, v in found.items()}


class _Graph:
    """Nodes and constants so far; names are numbered."""

    def __init__(self, stream: bool) -> None:
        self.stream = stream  # whether states go in and out
        self.states: list[int] = []  # H of each GRU layer so far, if they do
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Adds an array, and returns its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        """Adds a vector of int64."""
        return self.constant(values, np.int64)

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node, and returns the name of its first output."""
        from onnx import helper

        name = output or f"{op.lower()}_{len(self.nodes)}"
        outputs = [name, f"{name}_last"] if op in ("TopK", "GRU") else [name]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, **attributes))
        return name


def _add_predictor(graph: _Graph, predictor: Predictor) -> list[str]:
    """Adds a whole predictor; returns the names of its outputs."""
    (main,) = predictor.features
    x = main
    if predictor.of_many_rows:
        x = graph.add("Transpose", x, perm=[1, 0, 2])  # (T, N, F)
    else:
        x = graph.add("Unsqueeze", x, graph.ints(0))  # (1, R, F)
    inputs: dict[str, str] = {}
    found: dict[str, list[str]] = {target: [] for target in predictor.targets}
    for member, chain in zip(predictor.members, predictor.chains, strict=True):
        if member.fold not in inputs:
            inputs[member.fold] = _standardise(graph, x, member, main)
        outputs = _add_chain(graph, chain, inputs[member.fold])
        found[member.target].append(
            graph.add("Softmax", outputs, axis=-1)
            if predictor.classes
            else _add_values(graph, outputs, member)
        )
    names = []
    for target, members in found.items():
        mean = graph.add("Mean", *members)
        axes = [1, 0, 2] if predictor.classes else [1, 0]
        name = PROBABILITIES if predictor.classes else target
        if predictor.over_time:
            graph.add("Transpose", mean, output=name, perm=axes)
        else:
            graph.add("Squeeze", mean, graph.ints(0), output=name)
        names.append(name)
        if predictor.classes:
            graph.add("ArgMax", name, output=target, axis=-1, keepdims=0)
            names.append(target)
    return names


def _standardise(graph: _Graph, x: str, member: Member, main: str) -> str:
    found = split_statistics(member.statistics[main])
    if found.low is not None:
        x = graph.add("Max", x, graph.constant(found.low))
        x = graph.add("Min", x, graph.constant(found.high))
    x = graph.add("Sub", x, graph.constant(found.mean))
    x = graph.add("Sub", x, graph.constant(found.rest))
    x = graph.add("Mul", x, graph.constant(found.scale))
    return graph.add("Where", graph.add("IsNaN", x), graph.constant(0.0), x)


def _add_chain(graph: _Graph, chain: Chain, x: str) -> str:
    """Adds a chain: (T, N, F) to (T, N, O)."""
    for block in chain:
        match block:
            case blocks.Dense(kernel, bias):
                x = graph.add("MatMul", x, graph.constant(kernel))
                x = graph.add("Add", x, graph.constant(bias))
            case blocks.Relu():
                x = graph.add("Relu", x)
            case blocks.Gru():
                x = _add_gru(graph, block, x)
            case blocks.Pool(query):
                x = _add_pool(graph, query, x)
            case blocks.Filters(kernel, bias):
                x = graph.add("Transpose", x, perm=[1, 2, 0])
                weights = graph.constant(np.transpose(kernel, (2, 1, 0)))
                around = len(kernel) // 2
                x = graph.add(
                    "Conv", x, weights, graph.constant(bias), pads=[around, around]
                )
                x = graph.add("Transpose", x, perm=[2, 0, 1])
            case blocks.AppendDifficulty(estimator, mean, std, squared):
                d = _add_chain(graph, estimator, x)
                if len(squared):
                    d = graph.add("Sub", x, d)
                    d = graph.add("Mul", d, d)
                    d = graph.add("MatMul", d, graph.constant(squared.T))
                d = graph.add("Sub", d, graph.constant(mean))
                d = graph.add("Div", d, graph.constant(std))
                x = graph.add("Concat", x, d, axis=-1)
    return x


def _add_pool(graph: _Graph, query: Any, x: str) -> str:
    """Adds a pooling: (T, N, H) to (1, N, H)."""
    if query is None:
        return graph.add("Gather", x, graph.ints(-1), axis=0)
    weights = query[:, None] / np.sqrt(len(query))
    scores = graph.add("MatMul", x, graph.constant(weights))
    shares = graph.add("Softmax", scores, axis=0)
    return graph.add("ReduceSum", graph.add("Mul", x, shares), graph.ints(0))


def _add_gru(graph: _Graph, block: blocks.Gru, x: str) -> str:
    """Adds a GRU layer; ONNX orders its gates z, r, n."""
    hidden = len(block.recurrent_bias)

    def reorder(rows: np.ndarray) -> np.ndarray:
        r, z, n = np.split(np.asarray(rows), 3)
        return np.concatenate([z, r, n])[None]

    recurrent_bias = np.concatenate([np.zeros(2 * hidden), block.recurrent_bias])
    biases = [reorder(block.bias), reorder(recurrent_bias)]
    number = len(graph.states)
    x = graph.add(
        "GRU",
        x,
        graph.constant(reorder(block.weight)),
        graph.constant(reorder(np.asarray(block.kernel).T)),
        graph.constant(np.concatenate(biases, axis=1)),
        *(["", f"state_{number}"] if graph.stream else []),
        hidden_size=hidden,
        linear_before_reset=1,
    )
    if graph.stream:
        graph.states.append(hidden)
        graph.add("Identity", f"{x}_last", output=f"next_{number}")
    return graph.add("Squeeze", x, graph.ints(1))  # one direction


def _add_values(graph: _Graph, outputs: str, member: Member) -> str:
    """Adds what follows a regression: (T, N, 1) to post-processed values (T, N)."""
    mean, std = member.scale
    x = graph.add("Squeeze", outputs, graph.ints(2))
    x = graph.add("Mul", x, graph.constant(std))
    x = graph.add("Add", x, graph.constant(mean))
    steps = [s for s in member.steps if not (graph.stream and s.step in MOVING)]
    for step in steps:
        x = _add_step(graph, x, step)
    return x


def _add_step(graph: _Graph, x: str, step: Adjustment) -> str:
    if step.step == "centre":
        return graph.add("Add", x, graph.constant(step.value))
    if step.step == "scale":
        x = graph.add("Sub", x, graph.constant(step.pivot))
        x = graph.add("Mul", x, graph.constant(step.value))
        return graph.add("Add", x, graph.constant(step.pivot))
    if step.step == "shift":
        return graph.add("Gather", x, _frames(graph, x, [-int(step.value)]), axis=0)
    window = int(step.value)
    around = range(-(window // 2), window // 2 + 1)
    places = graph.add("Reshape", _frames(graph, x, around), graph.ints(-1, window))
    values = graph.add("Gather", x, places, axis=0)  # (T, W, N)
    half = window // 2 + 1
    upper = graph.add("TopK", values, graph.ints(half), axis=1)
    return graph.add("Gather", upper, graph.constant(half - 1, np.int64), axis=1)


def _frames(graph: _Graph, x: str, around: Any) -> str:
    """Adds the indices of the frames around each, repeating both ends: (T * W,)."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    length = graph.add("Gather", graph.add("Shape", x), zero, axis=0)
    steps = graph.add("Range", zero, length, one)
    offsets = graph.constant(list(around), np.int64)
    places = graph.add("Add", graph.add("Unsqueeze", steps, graph.ints(1)), offsets)
    places = graph.add("Max", places, zero)
    places = graph.add("Min", places, graph.add("Sub", length, one))
    return graph.add("Reshape", places, graph.ints(-1))
