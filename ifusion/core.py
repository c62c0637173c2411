"""Implicit fusion on one page: the model, the joint loss, an update, an epoch, lanes.

    model = ImplicitFusion(("audio", "video"), num_outputs, architecture)  # Eqs. 1, 2
    loss = make_joint_loss(model, cross_entropy)  # Eqs. 3, 4
    train_step = make_train_step(loss, by_optimizer(optax.adam(1e-3)))
    epoch = jax.jit(over_lanes(make_train_epoch(train_step)))

A lane is one training run, and all that sets it apart is data: the weights of its
losses, its seed, its target. So all lanes of an experiment are one program.
`ifusion.training` spreads it over devices, scores epochs on dev and saves them.

Axes: L lanes, R seeds, M modalities, B batch, T time, F features of a modality, H
hidden units, S layers in series, O classes or regressed dimensions, U updates.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ifusion.losses import joint_loss
from ifusion.models.architecture import Architecture
from ifusion.models.gru import GRUStack
from ifusion.models.head import SharedHead
from ifusion.models.network import Hidden
from ifusion.preprocessing.minibatches import (
    add_noise,
    epoch_keys,
    find_bucket,
    take_batch,
    take_target,
)
from ifusion.preprocessing.ragged import Bucket, Buckets
from ifusion.preprocessing.sequences import Batch, steps_of

Features = Mapping[str, Any]
TaskLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
ExtraLoss = Callable[[Mapping[str, jax.Array], Batch, Any], jax.Array]
Losses = dict[str, jax.Array]
Loss = Callable[..., tuple[jax.Array, tuple[Losses, Any]]]

# ---- the model: Eqs. 1 and 2 ---------------------------------------------------------


class ImplicitFusion(nn.Module):
    """A branch SP_m for each modality m and one head SH for all, Fig. 1(e).

    Attributes:
      modalities: names of the branches, for example ("audio", "video").
      num_outputs: O.
      architecture: sizes.
    """

    modalities: tuple[str, ...]
    num_outputs: int
    architecture: Architecture

    def setup(self) -> None:
        """Declares `branch_<modality>`, and what the head declares."""
        sizes = self.architecture
        self.branch = {
            m: GRUStack(sizes.branch_layers, sizes.hidden_size, sizes.recurrent)
            for m in self.modalities
        }
        self.head = SharedHead(self.num_outputs, sizes)
        nn.share_scope(self, self.head)  # its parameters lie beside the branches

    def represent(
        self, features: Features, mask: Any, state: Any = None
    ) -> tuple[Any, Any]:
        """r_m = SP_m(f_m), Eq. 1: ({m: (B, T, H)}, {m: (S, B, H)})."""
        passed = {
            m: self.branch[m](
                features[m], steps_of(mask, m), state[m].branch if state else None
            )
            for m in self.modalities
            if m in features
        }
        last = {m: state for m, (_, state) in passed.items()}
        return {m: r for m, (r, _) in passed.items()}, last

    def decide(
        self, representations: Features, mask: Any, state: Any = None
    ) -> tuple[Any, Any]:
        """p_m = SH(r_m), Eq. 2: ({m: (B, T, O)}, {m: (states (S, B, H), sums)})."""
        decided: tuple[Any, Any] = self.head(representations, mask, state)
        return decided

    def __call__(
        self, features: Features, mask: Any, state: Any = None
    ) -> tuple[Any, Any]:
        """p_m = SH(SP_m(f_m)): ({m: (B, T, O)}, {m: Hidden})."""
        representations, branch = self.represent(features, mask, state)
        outputs, shared = self.decide(representations, mask, state)
        return outputs, {m: Hidden(branch[m], *shared[m]) for m in outputs}


def predict(
    model: ImplicitFusion,
    params: Any,
    features: Features,
    mask: Any,
    state: Mapping[str, Hidden] | None = None,
) -> tuple[Any, dict[str, Hidden]]:
    """Predicts p_m = SH(SP_m(f_m)) from each given modality on its own.

    Args:
      model: architecture, static.
      params: of `init_params`; branches of modalities that are not given may be absent.
      features: {m: (B, T, F_m)}; training gives every modality, evaluation one.
      mask: (B, T), 1 where a step exists, or {m: (B, T_m)}; states are held where it is
        0.
      state: final states of the preceding part of the recordings; zeros by default.

    Returns:
      ({m: (B, T, O)}, {m: Hidden}), logits or regressed values, and the final states.
      Pooled over time, T of the outputs is 1.
    """
    predicted: tuple[Any, Any] = model.apply({"params": params}, features, mask, state)
    return predicted


def init_params(
    model: ImplicitFusion, key: jax.Array, num_features: Mapping[str, int]
) -> Any:
    """Draws parameters for {m: F_m} features, a nested dict of float32 arrays."""
    features = {m: jnp.zeros((1, 1, size)) for m, size in num_features.items()}
    return model.init(key, features, jnp.ones((1, 1)))["params"]


# ---- the joint loss of a lane: Eqs. 3 and 4 ------------------------------------------


class LaneArrays(NamedTuple):
    """Lanes as arrays, L in front; without L where a function is of one lane.

    Attributes:
      weights: (L, M) float32, of the losses: 1 for the main modality, alpha for others.
      main: (L,) int32, index of the main modality.
      seed: (L,) uint32, of initial weights, minibatch order and noise.
      target: (L,) int32, index of the target.
      l2: (L,) float32, penalty on squared weights, not biases; not in the paper.
      delay: (L,) int32 [frame] by which annotators lag behind.
      extra_weight: (L,) float32, of the loss that a learner adds; not in the paper.
      frozen: tree of arrays that a lane reads but does not train, or None.
    """

    weights: Any
    main: Any
    seed: Any
    target: Any
    l2: Any
    delay: Any
    extra_weight: Any
    frozen: Any = None


def make_joint_loss(
    model: ImplicitFusion, task_loss: TaskLoss, extra_loss: ExtraLoss | None = None
) -> Loss:
    """Builds J = sum_m weights[m] * L_m, Eqs. 3 and 4 in one line.

    L_m counts only sequences that have m. A modality of weight 0 is absent, not
    multiplied by 0: its representation becomes zeros, so that not even a NaN of it
    reaches the lane.

    Args:
      model: architecture.
      task_loss: (outputs, labels, mask) -> (), L_m.
      extra_loss: (representations {m: (B, T, H)}, batch, lane) -> (), added to J times
        `extra_weight`.

    Returns:
      (params, batch, lane, epoch, hidden) -> (J, ({m: L_m}, hidden after the batch)).
    """

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        apply = partial(model.apply, {"params": params})
        represent = partial(apply, method="represent")
        representations: dict[str, Any] = {}
        branch: dict[str, Any] = {}
        for m, weight in zip(model.modalities, lane.weights, strict=True):
            inputs = ({m: batch.features[m]}, batch.inputs_mask, hidden)
            r, last = _zeros_where(weight == 0, represent, *inputs)
            representations |= r
            branch |= last
        outputs, shared = apply(
            representations, batch.inputs_mask, hidden, method="decide"
        )
        losses = {
            m: task_loss(p, batch.labels, batch.labelled * batch.has(m))
            for m, p in outputs.items()
        }
        joint = joint_loss(losses, lane.weights)
        if extra_loss:
            losses["extra"] = extra_loss(representations, batch, lane)
            joint = joint + lane.extra_weight * losses["extra"]
        return joint, (losses, {m: Hidden(branch[m], *shared[m]) for m in outputs})

    return loss


def _zeros_where(absent: jax.Array, function: Callable[..., Any], *inputs: Any) -> Any:
    """Calls a function, or returns zeros; a lane that runs alone saves the call."""
    shapes = jax.eval_shape(function, *inputs)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.cond(absent, lambda *_: zeros, function, *inputs)


# ---- an update, an epoch, all lanes --------------------------------------------------


class TrainState(NamedTuple):
    """What an update changes. Arrays only, so that it vmaps, donates and saves.

    Attributes:
      params: nested dict of arrays.
      opt_state: of the optimiser.
      step: (), int32, updates made.
      failed_step: (), int32, the update at which the lane diverged; -1 if it has not.
      hidden: {m: Hidden} where training carries it from window to window, else None.
    """

    params: Any
    opt_state: optax.OptState
    step: jax.Array
    failed_step: jax.Array
    hidden: Any = None


TrainStep = Callable[..., tuple[TrainState, Losses]]


def init_state(
    params: Any, optimizer: optax.GradientTransformation, hidden: Any = None
) -> TrainState:
    """Makes the state before the first update."""
    step = jnp.zeros((), jnp.int32)
    return TrainState(params, optimizer.init(params), step, step - 1, hidden)


Change = Callable[..., tuple[jax.Array, Callable[[], tuple[Any, Any]]]]


def by_optimizer(optimizer: optax.GradientTransformation) -> Change:
    """Lets an optimiser of optax change parameters.

    Returns:
      (grads, params, opt_state, l2, {part: () bool, whether it is trained}) -> (whether
      all gradients are finite, what returns params and opt_state after an update).
    """

    def change(
        grads: Any, params: Any, opt_state: Any, l2: Any, trained: Mapping[str, Any]
    ) -> tuple[jax.Array, Callable[[], tuple[Any, Any]]]:
        grads = jax.tree.map(
            lambda g, p: g + 2 * l2 * p if p.ndim > 1 else g, grads, params
        )
        for part, trains in trained.items():
            keep = partial(jnp.where, trains)
            grads[part] = jax.tree.map(lambda g, keep=keep: keep(g, 0), grads[part])

        def apply() -> tuple[Any, Any]:
            updates, state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), state

        return jnp.isfinite(optax.tree.norm(grads)), apply

    return change


def make_train_step(
    loss: Loss,
    change: Change,
    trains: Callable[[LaneArrays], Mapping[str, Any]] = lambda lane: {},
) -> TrainStep:
    """Builds the update of one lane, (state, batch, lane, epoch) -> (state, losses).

    A lane whose loss or gradient is not finite has diverged: it keeps its last finite
    parameters. A batch without labels changes nothing but the hidden state, and no
    gradient flows back through that state.

    Args:
      loss: as `make_joint_loss` builds it.
      change: how gradients change parameters, such as `by_optimizer`.
      trains: lane -> {part of params: () bool}, for parts that not every lane trains.
    """

    def train_step(
        state: TrainState, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[TrainState, Losses]:
        grad_fn = jax.value_and_grad(loss, has_aux=True)
        (joint, (losses, hidden)), grads = grad_fn(
            state.params, batch, lane, epoch, state.hidden
        )
        finite, update = change(
            grads, state.params, state.opt_state, lane.l2, trains(lane)
        )
        finite &= jnp.isfinite(joint)
        alive = state.failed_step < 0
        proceeds = alive & finite & (jnp.sum(batch.labelled) > 0)
        # On a CPU a select would copy both states, and double the cost.
        params, opt_state = jax.lax.cond(
            proceeds, update, lambda: (state.params, state.opt_state)
        )
        failed_step = jnp.where(alive & ~finite, state.step, state.failed_step)
        step = state.step + proceeds
        hidden = hidden if state.hidden else None
        state = TrainState(params, opt_state, step, failed_step, hidden)
        return state, {"joint": joint, **losses}

    return train_step


def make_train_epoch(
    train_step: TrainStep,
    input_noise: float = 0.0,
    windows: int = 1,
    buckets: Buckets = (),
) -> Callable[..., tuple[TrainState, Losses]]:
    """Builds an epoch of one lane: a scan over its minibatches.

    Args:
      train_step: of `make_train_step`.
      input_noise: standard deviation of Gaussian noise on the features.
      windows: per recording; the hidden state is carried from one to the next.
      buckets: where modalities have steps of their own, the shapes of minibatches; each
        is padded to the first that holds it.

    Returns:
      (state, lane, (seed, order), epoch, first, data) -> (state, losses): the updates
      number `first` and following by the sequences order (U, B) of data; losses are
      {name: (U,)} and "labels", how many each update has.
    """

    def train_epoch(
        state: TrainState,
        lane: LaneArrays,
        minibatches: tuple[jax.Array, jax.Array],
        epoch: jax.Array,
        first: jax.Array,
        data: Batch,
    ) -> tuple[TrainState, Losses]:
        seed, order = minibatches
        _, noise_key = epoch_keys(seed, epoch)

        def update(
            bucket: Bucket | None, state: TrainState, number: jax.Array, rows: jax.Array
        ) -> tuple[TrainState, Losses]:
            key = jax.random.fold_in(noise_key, number)
            batch = add_noise(key, take_batch(data, rows, bucket), input_noise)
            batch = take_target(batch, lane.target, lane.delay)
            begins = number % windows == 0
            hidden = jax.tree.map(lambda x: jnp.where(begins, 0, x), state.hidden)
            state = state._replace(hidden=hidden)
            state, losses = train_step(state, batch, lane, epoch)
            return state, {**losses, "labels": jnp.sum(batch.labelled)}

        def body(state: TrainState, inputs: Any) -> tuple[TrainState, Losses]:
            if not buckets:
                return update(None, state, *inputs)
            branches = [partial(update, bucket) for bucket in buckets]
            held: tuple[TrainState, Losses] = jax.lax.switch(
                find_bucket(data, inputs[1]), branches, state, *inputs
            )
            return held

        return jax.lax.scan(body, state, (first + jnp.arange(len(order)), order))

    return train_epoch


def over_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function of one lane for R seeds times L / R lanes of each, side by side.

    Lanes of a seed share their minibatches, so these are gathered once a seed.

    Args:
      function: (state, lane, minibatches, *shared), such as an epoch.

    Returns:
      The same with (R, L / R) in front of state and lane, and R of minibatches.
    """

    def run(states: Any, lanes: Any, minibatches: Any, *shared: Any) -> Any:
        everywhere = (None,) * len(shared)
        of_one_seed = jax.vmap(function, in_axes=(0, 0, None, *everywhere))
        of_all = jax.vmap(of_one_seed, in_axes=(0, 0, 0, *everywhere))
        return of_all(states, lanes, minibatches, *shared)

    return run
