"""Shapes of the parameters that each system predicts with, without JAX.

A model is checked against them when it is read, unless its system has no line in the
table at the end.

Axes: F features of a modality, O outputs, M modalities, C frames of context; D values
of the difficulty; K classes in train, P pairs of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ifusion.models.network import OUTPUT
from ifusion.models.shapes import (
    Shapes,
    convolution_shapes,
    feed_forward_shapes,
    recurrent_shapes,
)
from ifusion.systems.problem import Problem

SECOND = "second"  # the head of a second task
COPY = "reconstruction"  # the only head of an autoencoder
FIRST = "first"  # the first of two stages
CONVOLUTIONS = 2  # in series, of the CNN on sequences

Arrays = Mapping[str, Any]  # {name of a parameter: array}
ShapesOf = Callable[[Problem, str, Arrays], Shapes]


def parameter_shapes(
    system: str, problem: Problem, main: str, arrays: Arrays
) -> Shapes | None:
    """Lists the parameters that a system predicts with.

    Args:
      system: key.
      problem: with the modalities of the main.
      main: a modality, or several joined by `JOIN`.
      arrays: {name: parameter}, which give the sizes that training chooses, such as how
        many classes an SVM has seen.

    Returns:
      {name: shape}; None if the system has no line here.
    """
    shapes_of = _SYSTEMS.get(system)
    return None if shapes_of is None else shapes_of(problem, main, arrays)


def _recurrent(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    return _network(problem, {main: problem.num_features[main]})


def _network(problem: Problem, num_inputs: Mapping[str, int]) -> Shapes:
    return recurrent_shapes(
        num_inputs, {OUTPUT: problem.num_outputs}, problem.architecture
    )


def _early(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    return _network(problem, {main: sum(_sizes(problem).values())})


def _model_level(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    return _network(problem, _sizes(problem))


def _sizes(problem: Problem) -> dict[str, int]:
    return {m: problem.num_features[m] for m in problem.mains}


def _late(problem: Problem, main: str, arrays: Arrays, ridge: bool = False) -> Shapes:
    count = len(problem.mains)
    shapes: Shapes = {"delays": (count,)}
    for m in problem.mains:
        shapes |= _under(f"voters/{m}", _recurrent(problem, m, arrays))
    if not ridge:
        return {**shapes, "weights": (count,)}
    context = max(0, _number(arrays, "context"))
    return {"context": (), "coef": (count * context,), "intercept": (), **shapes}


def _matched(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    """The baseline with another hidden size."""
    hidden = max(1, _length(arrays, f"{OUTPUT}/kernel"))
    sizes = replace(problem.architecture, hidden_size=hidden)
    return _recurrent(replace(problem, architecture=sizes), main, arrays)


def _two_stages(
    problem: Problem, main: str, arrays: Arrays, kind: str = "error"
) -> Shapes:
    """[x; d] and the second stage.

    The difficulty d is that of an autoencoder ("copy"), or of a second head that copies
    the features ("error") or gives d itself ("perceived").
    """
    size, sizes = problem.num_features[main], problem.architecture
    count = size if kind == "copy" and problem.systems.error_vector else 1
    if kind == "copy":
        sizes, heads = replace(sizes, pooling=""), {COPY: size}
    else:
        heads = {SECOND: 1 if kind == "perceived" else size}
    estimator = recurrent_shapes({main: size}, heads, sizes)
    return {
        **_network(problem, {main: size + count}),
        **_under(f"{FIRST}/estimator", estimator),
        f"{FIRST}/mean": (count,),
        f"{FIRST}/std": (count,),
    }


def _cnn(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    size, units = problem.num_features[main], problem.systems.cnn_units
    if not problem.architecture.recurrent:
        return feed_forward_shapes(size, 1, units, problem.num_outputs)
    width = problem.systems.cnn_width
    return convolution_shapes(size, CONVOLUTIONS, units, width, problem.num_outputs)


def _curriculum(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    size, sizes = problem.num_features[main], problem.architecture
    layers = sizes.branch_layers + sizes.shared_layers
    return feed_forward_shapes(size, layers, sizes.hidden_size, problem.num_outputs)


def _svm(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    count = _length(arrays, "classes")
    pairs = count * (count - 1) // 2
    return {
        "classes": (count,),
        "coef": (pairs, problem.num_features[main]),
        "intercept": (pairs,),
    }


def _svr(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    size = problem.num_features[main]
    read = 2 * size if _number(arrays, "window") > 1 else size
    return {"window": (), "weights": (read,), "bias": ()}


def _constant(problem: Problem, main: str, arrays: Arrays) -> Shapes:
    return {"value": (problem.num_outputs,)}


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}/{name}": shape for name, shape in shapes.items()}


def _length(arrays: Arrays, name: str) -> int:
    """Returns the length of an array; 0 if it is missing or has none."""
    return len(arrays[name]) if name in arrays and arrays[name].ndim else 0


def _number(arrays: Arrays, name: str) -> int:
    """Returns an array of one whole number; 0 if it is none."""
    if name not in arrays:
        return 0
    found = arrays[name]
    return int(found) if found.ndim == 0 and found.dtype.kind == "i" else 0


_RECURRENT = (  # predict by the network of the baseline
    "mtl_re",
    "mtl_pu",
    "baseline",
    "implicit_fusion",
    "multi_task_targets",
    "multi_task_modalities",
    "implicit_fusion_weights",
    "implicit_fusion_triplet",
    "generalised_distillation",
    "matching",
    "matching_own",
    "pseudo_labels",
    "pseudo_labels_other",
    "pseudo_labels_implicit_fusion",
    "self_training",
    "pseudo_labels_shuffled",
    "control_shuffled_within_class",
    "control_shuffled_across_all",
    "control_noise",
    "control_choice",
)
_SYSTEMS: dict[str, ShapesOf] = {
    **dict.fromkeys(_RECURRENT, _recurrent),
    "constant": _constant,
    "svm": _svm,
    "cnn": _cnn,
    "svr": _svr,
    "curriculum": _curriculum,
    "curriculum_random": _curriculum,
    "curriculum_anti": _curriculum,
    "re_two_stage": partial(_two_stages, kind="copy"),
    "ddat_re": _two_stages,
    "ddat_pu": partial(_two_stages, kind="perceived"),
    "early_fusion": _early,
    "late_fusion": _late,
    "late_fusion_weighted": _late,
    "late_fusion_ridge": partial(_late, ridge=True),
    "model_level_fusion": _model_level,
    "implicit_fusion_ddat_re": _two_stages,
    "implicit_fusion_ddat_pu": partial(_two_stages, kind="perceived"),
    "control_capacity": _matched,
}
