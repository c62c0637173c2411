"""Row "CNN" [23], above features that others have extracted.

The baseline of OMG-Emotion has a dense layer of 200 units and a softmax above a frozen
face network: so has this one where a sequence is one utterance. Not in the paper: the
ReLU between them; for longer sequences two convolutions over time of as many filters,
which look as far ahead as back.
"""

from ifusion.models.feed_forward import Convolution, FeedForward, make_plain
from ifusion.models.network import OUTPUT
from ifusion.systems.neural import make_for_each_main
from ifusion.systems.system import Fit, Protocol, System
from ifusion.training.learner import Learner, make_network_learner, task_objective

CONVOLUTIONS = 2


def make(protocol: Protocol) -> Fit:
    """Builds the lanes mains x targets x seeds."""
    units, outputs = protocol.systems.cnn_units, protocol.num_outputs
    frames = protocol.architecture.recurrent
    layers = CONVOLUTIONS if frames else 1
    model = (
        Convolution(layers, units, protocol.systems.cnn_width, outputs)
        if frames
        else FeedForward(layers, units, outputs)
    )

    def learner_of(main: str) -> Learner:
        network = make_plain(model, main, protocol.num_features[main])
        objective = task_objective(protocol.loss)
        return make_network_learner(network, lambda batch: batch.features, objective)

    def parts(main: str) -> tuple[str, ...]:
        return (*(f"hidden_{i}" for i in range(layers)), OUTPUT)

    return make_for_each_main(protocol, learner_of, parts)


CNN = System("cnn", "CNN", "[23]", make)
