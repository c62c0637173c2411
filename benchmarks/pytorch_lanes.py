"""Fig. 1(e) in PyTorch: the loop that a user would write, and its best forms on a CPU.

Axes: L lanes, B batch, T time, F features of a modality, H hidden units.
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional
from workloads import MODALITIES, BenchmarkLane, Workload, draw_data

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def loss_of(workload: Workload, outputs, labels):
    """Mean loss of (..., T, O) against (..., T)."""
    if workload.outputs == 1:
        return functional.mse_loss(outputs[..., 0], labels)
    return functional.cross_entropy(
        outputs.reshape(-1, workload.outputs), labels.reshape(-1)
    )


def load(workload: Workload):
    """Draws train and dev as tensors: ((features, labels), (features, labels))."""
    return [
        (
            [torch.tensor(x, device=DEVICE) for x in data.features],
            torch.tensor(data.labels, device=DEVICE),
        )
        for data in draw_data(workload)
    ]


def minibatches(workload: Workload):
    """Rows of each minibatch of an epoch, in random order."""
    return torch.randperm(workload.train, device=DEVICE).split(workload.batch_size)


class Network(nn.Module):
    """A branch of nn.GRU for each modality and one shared nn.GRU."""

    def __init__(self, workload: Workload):
        super().__init__()
        hidden, layers = workload.hidden_size, workload.layers
        self.branches = nn.ModuleList(
            nn.GRU(size, hidden, layers, batch_first=True) for size in workload.features
        )
        self.shared = nn.GRU(hidden, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, workload.outputs)

    def forward(self, features, modality: int):
        """Predicts from one modality."""
        return self.output(self.shared(self.branches[modality](features)[0])[0])

    def together(self, features):
        """Predicts from all modalities, which pass the shared layers as one batch."""
        passed = [b(x)[0] for b, x in zip(self.branches, features, strict=True)]
        outputs = self.output(self.shared(torch.cat(passed))[0])
        return outputs.chunk(len(features))


def make_epoch(
    workload: Workload, lanes: Sequence[BenchmarkLane], tuned: bool
) -> Callable[[], None]:
    """Prepares one network per lane, trained one after another.

    Args:
      workload: shapes.
      lanes: all of this process.
      tuned: one thread, fused Adam, and both modalities as one batch through the shared
        layers.
    """
    if tuned:
        torch.set_num_threads(1)
    (features, labels), (dev_features, dev_labels) = load(workload)
    runs = []
    for lane in lanes:
        torch.manual_seed(0)
        network = Network(workload).to(DEVICE)
        options = {"fused": True} if tuned else {}
        adam = torch.optim.Adam(network.parameters(), lr=1e-3, **options)
        runs.append([lane, network, adam, math.inf, None])

    def train(lane, network, adam):
        for rows in minibatches(workload):
            batch, truth = [x[rows] for x in features], labels[rows]
            if tuned:
                outputs = network.together(batch)
            else:
                outputs = [network(x, i) for i, x in enumerate(batch)]
            joint = sum(
                w * loss_of(workload, p, truth)
                for w, p in zip(lane.weights, outputs, strict=True)
            )
            adam.zero_grad()
            joint.backward()
            adam.step()

    def epoch() -> None:
        for run in runs:
            lane, network, adam, least, _ = run
            train(lane, network, adam)
            with torch.no_grad():
                main = MODALITIES.index(lane.main)
                outputs = network(dev_features[main], main)
                loss = loss_of(workload, outputs, dev_labels).item()
            if loss < least:
                run[3:] = loss, copy.deepcopy(network.state_dict())

    return epoch


def make_compiled_epoch(
    workload: Workload, lanes: Sequence[BenchmarkLane]
) -> Callable[[], None]:
    """Prepares the tuned loop, its networks through torch.compile."""
    Network.together = torch.compile(Network.together)
    return make_epoch(workload, lanes, True)


class LaneLayer(nn.Module):
    """A GRU layer of L lanes written out: (L or 1, T, B, F) -> (L, T, B, H)."""

    def __init__(self, lanes: int, inputs: int, hidden: int, recurrent: bool):
        super().__init__()
        bound = hidden**-0.5

        def draw(*shape):
            return nn.Parameter(torch.empty(lanes, *shape).uniform_(-bound, bound))

        self.weight, self.bias = draw(inputs, 3 * hidden), draw(1, 3 * hidden)
        self.candidate_bias = draw(1, hidden)
        self.recurrent = draw(hidden, 3 * hidden) if recurrent else None

    def forward(self, features):
        """Runs all lanes side by side, one batched product a step."""
        steps, batch = features.shape[1:3]
        rows = features.flatten(1, 2).expand(len(self.weight), -1, -1)
        gates = torch.baddbmm(self.bias, rows, self.weight)
        gates = gates.unflatten(1, (steps, batch))
        hidden = gates.new_zeros(len(gates), batch, self.candidate_bias.shape[-1])
        states = []
        for x in gates.unbind(1):
            x_r, x_z, x_n = x.chunk(3, -1)
            if self.recurrent is None:
                reset, update, product = x_r, x_z, self.candidate_bias
            else:
                h_r, h_z, h_n = torch.bmm(hidden, self.recurrent).chunk(3, -1)
                reset, update = x_r + h_r, x_z + h_z
                product = h_n + self.candidate_bias
            candidate = torch.tanh(x_n + torch.sigmoid(reset) * product)
            hidden = torch.lerp(candidate, hidden, torch.sigmoid(update))
            states.append(hidden)
        return torch.stack(states, 1)


class LaneNetwork(nn.Module):
    """All lanes as one network, batched by hand."""

    def __init__(self, workload: Workload, lanes: int):
        super().__init__()
        hidden, recurrent = workload.hidden_size, workload.steps > 1

        def stack(inputs):
            sizes = [inputs] + [hidden] * (workload.layers - 1)
            return nn.Sequential(
                *(LaneLayer(lanes, size, hidden, recurrent) for size in sizes)
            )

        self.branches = nn.ModuleList(stack(size) for size in workload.features)
        self.shared = stack(hidden)
        self.output = nn.Parameter(
            torch.randn(lanes, hidden, workload.outputs) * hidden**-0.5
        )

    def forward(self, features):
        """Pairs of a modality's number and its (B, T, F) -> (L, B, T, O) of each."""
        passed = [self.branches[i](x.transpose(0, 1)[None]) for i, x in features]
        hidden = self.shared(torch.cat(passed, 2))
        outputs = torch.bmm(hidden.flatten(1, 2), self.output)
        outputs = outputs.unflatten(1, hidden.shape[1:3]).transpose(1, 2)
        return outputs.chunk(len(passed), 1)


def make_batched_epoch(
    workload: Workload, lanes: Sequence[BenchmarkLane]
) -> Callable[[], None]:
    """Prepares the lanes of this process as one network, with fused Adam."""
    torch.set_num_threads(1)
    (features, labels), (dev_features, dev_labels) = load(workload)
    network = LaneNetwork(workload, len(lanes)).to(DEVICE)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    weights = torch.tensor([lane.weights for lane in lanes], device=DEVICE)
    mains = torch.tensor([MODALITIES.index(x.main) for x in lanes], device=DEVICE)
    least = torch.full((len(lanes),), math.inf, device=DEVICE)
    best = copy.deepcopy(network.state_dict())

    def losses_of(outputs, labels):
        count = len(outputs)
        truth = labels.expand(count, *labels.shape)
        if workload.outputs == 1:
            return (outputs[..., 0] - truth).square().mean((1, 2))
        losses = functional.cross_entropy(
            outputs.reshape(-1, workload.outputs), truth.reshape(-1), reduction="none"
        )
        return losses.view(count, -1).mean(1)

    def evaluate(modality):
        """Scores on dev the lanes whose main modality it is, and keeps the better."""
        own = (mains == modality).nonzero()[:, 0]
        state = {name: value[own] for name, value in network.state_dict().items()}
        given = [(modality, dev_features[modality])]
        (outputs,) = torch.func.functional_call(network, state, (given,))
        loss = losses_of(outputs, dev_labels)
        better = loss < least[own]
        for name, value in state.items():
            best[name][own[better]] = value[better]
        least[own] = torch.minimum(loss, least[own])

    def epoch() -> None:
        for rows in minibatches(workload):
            outputs = network([(i, x[rows]) for i, x in enumerate(features)])
            losses = torch.stack([losses_of(p, labels[rows]) for p in outputs], 1)
            adam.zero_grad()
            (losses * weights).sum().backward()
            adam.step()
        with torch.no_grad():
            for modality in mains.unique().tolist():
                evaluate(modality)

    return epoch


def make_vmap_epoch(
    workload: Workload, lanes: Sequence[BenchmarkLane]
) -> Callable[[], None]:
    """Prepares one lane written out, over all lanes by torch.vmap, without dev."""
    (features, labels), _ = load(workload)
    network = LaneNetwork(workload, 1).to(DEVICE)
    count = len(lanes)
    trained = {
        name: value.detach().expand(count, *value.shape).clone().requires_grad_()
        for name, value in network.named_parameters()
    }
    adam = torch.optim.Adam(trained.values(), lr=1e-3, fused=True)
    weights = torch.tensor([lane.weights for lane in lanes], device=DEVICE)

    def loss(params, mine, batch, truth):
        outputs = torch.func.functional_call(network, params, (batch,))
        return sum(
            w * loss_of(workload, p[0], truth)
            for w, p in zip(mine, outputs, strict=True)
        )

    grad = torch.func.vmap(torch.func.grad(loss), in_dims=(0, 0, None, None))

    def epoch() -> None:
        for rows in minibatches(workload):
            batch = [(i, x[rows]) for i, x in enumerate(features)]
            values = {name: value.detach() for name, value in trained.items()}
            for name, found in grad(values, weights, batch, labels[rows]).items():
                trained[name].grad = found
            adam.step()

    return epoch
