"""Fig. 1(e) as JAX's guides would write it: nn.RNN, and one vmap over the lanes."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from workloads import MODALITIES, BenchmarkLane, Workload, draw_data


class Network(nn.Module):
    """A branch for each modality and one shared stack, of `flax.linen.GRUCell`."""

    workload: Workload

    def setup(self) -> None:
        """Declares the layers."""
        sizes = self.workload

        def stack() -> list[nn.RNN]:
            cells = [nn.GRUCell(sizes.hidden_size) for _ in range(sizes.layers)]
            return [nn.RNN(cell) for cell in cells]

        self.branches = [stack() for _ in MODALITIES]
        self.shared = stack()
        self.output = nn.Dense(sizes.outputs)

    def __call__(self, features, modality):
        """Predicts from one modality: (B, T, F) -> (B, T, O)."""
        for layer in [*self.branches[modality], *self.shared]:
            features = layer(features)
        return self.output(features)

    def all(self, features):
        """Predicts from every modality."""
        return [self(x, i) for i, x in enumerate(features)]


def make_epoch(workload: Workload, lanes: Sequence[BenchmarkLane]) -> Callable:
    """Prepares the lanes."""
    train, dev = draw_data(workload)
    train, dev = jax.tree.map(jnp.asarray, (train, dev))
    network, adam = Network(workload), optax.adam(1e-3)
    batch_size = workload.batch_size

    def loss_of(outputs, labels):
        if workload.outputs == 1:
            return jnp.mean(jnp.square(outputs[..., 0] - labels))
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    def joint(params, weights, features, labels):
        outputs = network.apply(params, features, method="all")
        return sum(
            w * loss_of(p, labels) for w, p in zip(weights, outputs, strict=True)
        )

    def lane_epoch(state, weights, main, key):
        order = jax.random.permutation(key, workload.train)
        whole = workload.train // batch_size * batch_size
        slices, rest = order[:whole].reshape(-1, batch_size), order[whole:]

        def update(state, rows):
            params, moments, *best = state
            features = [x[rows] for x in train.features]
            grads = jax.grad(joint)(params, weights, features, train.labels[rows])
            updates, moments = adam.update(grads, moments)
            return (optax.apply_updates(params, updates), moments, *best), None

        state, _ = jax.lax.scan(update, state, slices)
        if len(rest):
            state, _ = update(state, rest)
        params, moments, best, least = state
        losses = [
            loss_of(network.apply(params, x, i), dev.labels)
            for i, x in enumerate(dev.features)
        ]
        loss = jnp.stack(losses)[main]
        best = jax.tree.map(
            lambda new, old: jnp.where(loss < least, new, old), params, best
        )
        return params, moments, best, jnp.minimum(loss, least)

    def init(_):
        features = [x[:1] for x in train.features]
        params = network.init(jax.random.key(0), features, method="all")
        return params, adam.init(params), params, jnp.inf

    run = jax.jit(jax.vmap(lane_epoch, in_axes=(0, 0, 0, None)), donate_argnums=0)
    weights = jnp.array([lane.weights for lane in lanes])
    main = jnp.array([MODALITIES.index(x.main) for x in lanes])
    held = [jax.jit(lambda n: jax.lax.map(init, n))(jnp.arange(len(lanes)))]

    def epoch() -> None:
        state = run(held.pop(), weights, main, jax.random.key(1))
        held.append(jax.block_until_ready(state))

    return epoch
