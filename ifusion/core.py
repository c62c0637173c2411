"""Implicit fusion on one page: the model, the joint loss, an update, an epoch, lanes.

    model = ImplicitFusion(("audio", "video"), num_outputs, architecture)  # Eqs. 1, 2
    loss = make_joint_loss(model, cross_entropy)  # Eqs. 3, 4
    train_step = make_train_step(loss, by_optimizer(optax.adam(1e-3)))
    epoch = jax.jit(over_lanes(make_train_epoch(train_step)))

A lane is one training run, and all that sets it apart is data, see `ifusion.lanes`. So
all lanes of an experiment are one program; `ifusion.training` spreads it over devices,
scores epochs on dev and saves them.

Axes: L lanes, R seeds, B batch, T time, F features of a modality, H hidden units, S
layers in series, O classes or regressed dimensions, U updates.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ifusion.lanes import LaneArrays
from ifusion.losses import TaskLoss, joint_loss, penalised
from ifusion.models.absent import zeros_where
from ifusion.models.architecture import Architecture
from ifusion.models.gru import GRUStack
from ifusion.models.head import SharedHead
from ifusion.models.network import Hidden
from ifusion.preprocessing.minibatches import (
    add_noise,
    epoch_keys,
    on_batch,
    take_target,
)
from ifusion.preprocessing.ragged import Buckets
from ifusion.preprocessing.sequences import Batch, steps_of

Features = Mapping[str, Any]
Losses = dict[str, jax.Array]

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

    def represent(self, m: str, features: Any, mask: Any, state: Any = None) -> Any:
        """r_m = SP_m(f_m), Eq. 1: (B, T, H), and the last states (S, B, H)."""
        before = state[m].branch if state else None
        return self.branch[m](features, steps_of(mask, m), before)

    def decide(self, representations: Features, mask: Any, state: Any = None) -> Any:
        """p_m = SH(r_m), Eq. 2: {m: (B, T, O)}, and the last states of the head."""
        return self.head(representations, mask, state)

    def __call__(self, features: Features, mask: Any) -> Any:
        """p_m = SH(SP_m(f_m)); declares all parameters."""
        return self.decide(
            {m: self.represent(m, features[m], mask)[0] for m in self.modalities}, mask
        )


def init_params(
    model: ImplicitFusion, key: jax.Array, num_features: Mapping[str, int]
) -> Any:
    """Draws parameters for {m: F_m} features, a nested dict of float32 arrays."""
    features = {m: jnp.zeros((1, 1, size)) for m, size in num_features.items()}
    return model.init(key, features, jnp.ones((1, 1)))["params"]


class ForwardPass(NamedTuple):
    """What the model computes from each given modality m."""

    outputs: dict[str, Any]  # p_m (B, T, O): logits or values; T = 1 if pooled
    hidden: dict[str, Hidden]  # states after the last step
    representations: dict[str, Any]  # r_m (B, T, H)


def predict(
    model: ImplicitFusion,
    params: Any,
    features: Features,
    mask: Any,
    state: Any = None,
    absent: Mapping[str, Any] | None = None,
) -> ForwardPass:
    """Predicts p_m = SH(SP_m(f_m)) from each given modality on its own.

    Args:
      model: architecture, static.
      params: of `init_params`; branches of modalities that are not given may be absent.
      features: {m: (B, T, F_m)}; training gives every modality, evaluation one.
      mask: (B, T), 1 where a step exists, or {m: (B, T_m)}; else states are held.
      state: {m: Hidden} after the preceding part of the recordings; zeros by default.
      absent: {m: () bool}, true where r_m is zeros, whatever the features hold.
    """
    apply = partial(model.apply, {"params": params})
    r, last = {}, {}
    for m in [m for m in model.modalities if m in features]:
        branch = partial(apply, m, features[m], mask, state, method="represent")
        r[m], last[m] = zeros_where(absent[m], branch) if absent else branch()
    outputs, shared = apply(r, mask, state, method="decide")
    return ForwardPass(outputs, {m: Hidden(last[m], *shared[m]) for m in outputs}, r)


# ---- the joint loss of a lane: Eqs. 3 and 4 ------------------------------------------

ExtraLoss = Callable[[Features, Batch, LaneArrays], jax.Array]
Loss = Callable[..., tuple[jax.Array, tuple[Losses, Any]]]


def make_joint_loss(
    model: ImplicitFusion, task_loss: TaskLoss, extra_loss: ExtraLoss | None = None
) -> Loss:
    """Builds J = sum_m weights[m] * L_m, Eqs. 3 and 4 in one line.

    L_m counts only sequences that have m. A modality of weight 0 is absent, not
    multiplied by 0: its representation becomes zeros, so that not even a NaN of it
    reaches the lane, and a lane that runs alone does not compute it.

    Args:
      model: architecture.
      task_loss: (outputs, labels, mask) -> (), L_m.
      extra_loss: (representations {m: (B, T, H)}, batch, lane) -> (), added to J times
        `extra_weight`; not in the paper.

    Returns:
      (params, batch, lane, epoch, hidden) -> (J, ({m: L_m}, hidden after the batch)).
    """

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        features, mask = batch.features, batch.inputs_mask
        absent = dict(zip(model.modalities, lane.weights == 0, strict=True))
        outputs, hidden, r = predict(model, params, features, mask, hidden, absent)
        losses = {
            m: task_loss(p, batch.labels, batch.labelled * batch.has(m))
            for m, p in outputs.items()
        }
        joint = joint_loss(losses, lane.weights)
        if extra_loss:
            losses["extra"] = extra_loss(r, batch, lane)
            joint = joint + lane.extra_weight * losses["extra"]
        return joint, (losses, hidden)

    return loss


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


Change = Callable[..., tuple[jax.Array, Callable[[], tuple[Any, Any]]]]
Stepped = tuple[TrainState, Losses]  # after an update, or several


def init_state(
    params: Any, optimizer: optax.GradientTransformation, hidden: Any = None
) -> TrainState:
    """Makes the state before the first update."""
    step = jnp.zeros((), jnp.int32)
    return TrainState(params, optimizer.init(params), step, step - 1, hidden)


def by_optimizer(optimizer: optax.GradientTransformation) -> Change:
    """Lets an optimiser of optax change parameters.

    Returns:
      (grads, params, opt_state, l2, trains) -> (whether all gradients are finite, what
      makes the update and returns params and opt_state); see `losses.penalised`.
    """

    def change(
        grads: Any, params: Any, opt_state: Any, l2: Any, trains: Mapping[str, Any]
    ) -> tuple[jax.Array, Callable[[], tuple[Any, Any]]]:
        grads = penalised(grads, params, l2, trains)

        def update() -> tuple[Any, Any]:
            updates, state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), state

        return jnp.isfinite(optax.tree.norm(grads)), update

    return change


def make_train_step(
    loss: Loss,
    change: Change,
    trains: Callable[[LaneArrays], Mapping[str, Any]] = lambda lane: {},
) -> Callable[..., Stepped]:
    """Builds the update of one lane, (state, batch, lane, epoch) -> (state, losses).

    A lane whose loss or gradient is not finite has diverged: it keeps its last finite
    parameters. A batch without labels changes nothing but the hidden state, and no
    gradient flows back through that state. The losses also have "joint", J, and
    "labels", how many the batch has.

    Args:
      loss: as `make_joint_loss` builds it.
      change: how gradients change parameters, such as `by_optimizer`.
      trains: lane -> {part of params: () bool}, for parts that not every lane trains.
    """

    def train_step(
        state: TrainState, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> Stepped:
        params, opt_state, step, failed_step, hidden = state
        grad_fn = jax.value_and_grad(loss, has_aux=True)
        (joint, (losses, now)), grads = grad_fn(params, batch, lane, epoch, hidden)
        finite, update = change(grads, params, opt_state, lane.l2, trains(lane))
        finite &= jnp.isfinite(joint)
        alive, labels = failed_step < 0, jnp.sum(batch.labelled)
        proceeds = alive & finite & (labels > 0)
        # On a CPU a select would copy both states, and double the cost.
        params, opt_state = jax.lax.cond(proceeds, update, lambda: (params, opt_state))
        failed_step = jnp.where(alive & ~finite, step, failed_step)
        now = now if hidden else None
        state = TrainState(params, opt_state, step + proceeds, failed_step, now)
        return state, {"joint": joint, "labels": labels, **losses}

    return train_step


def make_train_epoch(
    train_step: Callable[..., Stepped],
    input_noise: float = 0.0,
    windows: int = 1,
    buckets: Buckets = (),
) -> Callable[..., Stepped]:
    """Builds an epoch of one lane: a scan over its minibatches.

    Args:
      train_step: of `make_train_step`.
      input_noise: standard deviation of Gaussian noise on the features.
      windows: per recording; the hidden state is carried from one to the next.
      buckets: shapes of minibatches, where modalities have steps of their own.

    Returns:
      (state, lane, (seed, order), epoch, first, data) -> (state, losses): the updates
      number `first` and following by the sequences order (U, B) of data; losses are
      {name: (U,)}.
    """

    def train_epoch(
        state: TrainState,
        lane: LaneArrays,
        minibatches: tuple[jax.Array, jax.Array],
        epoch: jax.Array,
        first: jax.Array,
        data: Batch,
    ) -> Stepped:
        seed, order = minibatches
        _, noise_key = epoch_keys(seed, epoch)

        def body(state: TrainState, inputs: Any) -> Stepped:
            number, rows = inputs

            def update(batch: Batch, state: TrainState) -> Stepped:
                key = jax.random.fold_in(noise_key, number)
                batch = add_noise(key, batch, input_noise)
                batch = take_target(batch, lane.target, lane.delay)
                keep = partial(jnp.where, number % windows == 0, 0)
                state = state._replace(hidden=jax.tree.map(keep, state.hidden))
                return train_step(state, batch, lane, epoch)

            return on_batch(update, data, rows, buckets, state)

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
