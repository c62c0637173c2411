"""Row "CNN" [23], on features that other programs have extracted.

The baseline of OMG-Emotion puts a dense layer of 200 units and a softmax on a frozen
face network; so does this one for utterances. Not in the paper: the ReLU between them
and, for longer sequences, two convolutions over time with as many filters, which look
as far ahead as back.
"""

from ifusion.models.feed_forward import Convolution, FeedForward, make_plain
from ifusion.models.network import OUTPUT, Network
from ifusion.systems.neural import (
    Program,
    build_program,
    make_fit_by_main,
    make_network_predict,
)
from ifusion.systems.shapes import CONVOLUTIONS
from ifusion.systems.system import Fit, Predict, Problem, Protocol, System
from ifusion.training.learner import make_network_learner, task_objective


def make_network(problem: Problem, main: str) -> Network:
    """Builds the network of a main."""
    units, outputs = problem.systems.cnn_units, problem.num_outputs
    width, layers = problem.systems.cnn_width, _layers(problem)
    model = (
        Convolution(layers, units, width, outputs)
        if problem.architecture.recurrent
        else FeedForward(layers, units, outputs)
    )
    return make_plain(model, main, problem.num_features[main])


def _layers(problem: Problem) -> int:
    return CONVOLUTIONS if problem.architecture.recurrent else 1


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds."""

    def program_of(main: str) -> Program:
        learner = make_network_learner(
            make_network(protocol, main), main, task_objective(protocol.loss)
        )
        return build_program(protocol, f"cnn {main}", learner)

    parts = (*(f"hidden_{i}" for i in range(_layers(protocol))), OUTPUT)
    return make_fit_by_main(protocol, program_of, lambda main: parts)


def make_predict(problem: Problem, main: str) -> Predict:
    """Builds predict for one modality."""
    return make_network_predict(problem, main, make_network(problem, main))


CNN = System(
    key="cnn",
    title="CNN",
    source="[23]",
    make_fit=make_fit,
    make_predict=make_predict,
    functionals=True,
)
