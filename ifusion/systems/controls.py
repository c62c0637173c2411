"""Controls that show where a gain of implicit fusion comes from; not in the paper.

Three controls train implicit fusion on the same alphas but change auxiliary features:
shuffled across recordings together with their labels (changes which of them share a
minibatch), shuffled across all without labels (keeps only their distribution), or
replaced by noise (a regulariser). The fourth is a baseline with as many parameters as
implicit fusion trains.

Utterances are shuffled or, for recordings over time, training sequences. None gets
features of its own recording, unless more than half of its class belong to that
recording. Features that keep their labels are shuffled within the class. In a
regression, the class is the fifth that the mean label falls into, read at the
annotation delay, and auxiliary features are trained on the labels and mask of the unit
they come from. Each main, target and seed has its own shuffle.

Axes: N sequences, T time, D steps of labels beyond T, F features of a modality, U
shuffled units, K targets.
"""

from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import ImplicitFusion, Losses, init_params
from ifusion.lanes import LaneArrays
from ifusion.models.network import OUTPUT
from ifusion.preprocessing.ragged import Ragged, measure_lengths, reorder
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.implicit_fusion import (
    equal_weights,
    joint_program,
    make_joint_fit,
    make_learner,
    weighted_lane,
)
from ifusion.systems.neural import (
    Stage,
    Trainer,
    build_program,
    join_fitted,
    list_candidates,
    make_recurrent_predict,
    recurrent_parts,
    with_extras,
)
from ifusion.systems.system import (
    Features,
    Fit,
    Fitted,
    Fold,
    Params,
    Predict,
    Problem,
    Protocol,
    System,
    count_parameters,
    other_modalities,
    require_plain_training,
)
from ifusion.training.learner import Learner

FIFTHS = 5
NONE = -1  # the class of what has no label
# Extras of a batch: what moved auxiliary features are trained on.
OWN_LABELS, OWN_LABELLED, OWN_MASK = "own_labels", "own_labelled", "own_mask"


def make_fit(protocol: Protocol, key: str, change: str) -> Fit:
    """Builds the fit of implicit fusion on auxiliary features after `alter`."""
    require_plain_training(protocol)
    program = joint_program(protocol)._replace(key=key)
    if change == "class" and not protocol.num_classes:
        program = build_program(protocol, key, make_unpaired_learner(protocol))
    alphas = protocol.alphas
    tried = {main: equal_weights(protocol, main, alphas) for main in protocol.mains}

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        fitted = []
        groups = product(protocol.mains, protocol.targets, protocol.seeds)
        for main, target, seed in groups:
            lanes = [weighted_lane(fold, main, target, seed, x) for x in tried[main]]
            altered = alter(protocol, change, fold, main, target, seed)
            trained = trainer(program, lanes, altered, Stage(f"seed {seed}"))
            fitted.append(list_candidates(lanes, trained, recurrent_parts))
        return join_fitted(fitted)

    return fit


def alter(
    protocol: Protocol, change: str, fold: Fold, main: str, target: str, seed: int
) -> Fold:
    """Changes the auxiliary features of train.

    "class" shuffles features and labels within the class, "all" shuffles features
    across all, "noise" replaces them.
    """
    column = protocol.targets.index(target)
    rng = np.random.default_rng([seed, column, protocol.modalities.index(main)])
    batch, others = fold.train_batch, other_modalities(protocol, main)
    steps = dict(batch.steps)
    if change == "noise":
        changed = {m: _noise(rng, batch, m) for m in others}
    else:
        delay = fold.setting(main, target).delay
        within = change == "class"
        order = shuffled_units(protocol, fold, column, within, rng, delay)
        changed = {m: _reorder(protocol, batch.features[m], order) for m in others}
        steps |= {m: _reorder(protocol, steps[m], order) for m in others if steps}
        if within and not protocol.num_classes:
            fold = with_extras(fold, own_labels(protocol, batch, order, delay))
            batch = fold.train_batch
    features = {**batch.features, **changed}
    features = {m: features[m] for m in protocol.modalities}
    lengths = batch.lengths
    if lengths is not None:
        lengths = measure_lengths(features, protocol.buckets)
    altered = batch._replace(features=features, steps=steps, lengths=lengths)
    return replace(fold, train=altered)


def own_labels(
    protocol: Protocol, batch: Batch, order: np.ndarray, delay: int
) -> dict[str, np.ndarray]:
    """Orders labels and mask like the auxiliary units, (U,), as extras of a batch.

    Lanes later shift these extras back by the delay [frame].
    """
    labels, mask = np.asarray(batch.labels), np.asarray(batch.mask)
    shifted = np.zeros(labels.shape[:2], np.float32)
    shifted[:, delay : delay + mask.shape[1]] = mask
    flags = {OWN_LABELLED: np.asarray(batch.labelled), OWN_MASK: shifted}
    repeated = {
        k: np.repeat(x[..., None], labels.shape[-1], -1) for k, x in flags.items()
    }
    own = {OWN_LABELS: labels, **repeated}
    return {name: _reorder(protocol, x, order) for name, x in own.items()}


def make_unpaired_learner(protocol: Protocol) -> Learner:
    """Builds Eqs. 3 and 4 with auxiliary losses on `own_labels`."""
    learner = make_learner(protocol)

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        exists = jnp.any(batch.mask > 0, axis=1, keepdims=True)  # of a minibatch
        mask = batch.extras[OWN_MASK] * exists
        own = batch._replace(
            mask=mask,
            labels=batch.extras[OWN_LABELS],
            labelled=batch.extras[OWN_LABELLED] * mask,
        )
        is_main = jnp.arange(len(protocol.modalities)) == lane.main

        def part(mine: jax.Array, batch: Batch) -> tuple[jax.Array, tuple[Losses, Any]]:
            weights = jnp.where(mine, lane.weights, 0)
            alone = lane._replace(weights=weights)
            return learner.loss(params, batch, alone, epoch, hidden)

        joint, (losses, state) = part(is_main, batch)
        auxiliary, (others, _) = part(~is_main, own)
        losses = {
            m: jnp.where(mine, losses[m], others[m])
            for m, mine in zip(protocol.modalities, is_main, strict=True)
        }
        return joint + auxiliary, (losses, state)

    return learner._replace(loss=loss)


def shuffled_units(
    protocol: Protocol,
    fold: Fold,
    column: int,
    within: bool,
    rng: np.random.Generator,
    delay: int = 0,
) -> np.ndarray:
    """Draws which unit replaces which: (U,) int; padding stays in place.

    Units are steps of utterances, or sequences of frames, shuffled within the class or
    across all. The class is that of the labels `delay` [frame] later.
    """
    batch = fold.train_batch
    mask = np.asarray(batch.mask)
    own = np.s_[:, delay : delay + mask.shape[1]]
    labelled = np.asarray(batch.labelled)[own] * mask
    labels = np.asarray(batch.labels)[own][..., column]
    if protocol.frame_step is None:
        mask, labelled, labels = (x.reshape(-1, 1) for x in (mask, labelled, labels))
        recordings = np.arange(len(mask))
    else:
        recordings = np.full(len(mask), NONE)
        recordings[: fold.num_sequences] = fold.window_origins()[:, 0]
    exists = mask.any(1)
    kinds = np.zeros(len(mask), int)
    if within:
        kinds = _kinds(labels, labelled, protocol.num_classes)
    order = np.arange(len(mask))
    for kind in np.unique(kinds[exists]):
        members = np.flatnonzero(exists & (kinds == kind))
        order[members] = members[shuffled_across(recordings[members], rng)]
    return order


def shuffled_across(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a permutation that replaces nothing by a member of its own group.

    Groups and permutation are (U,) int. If a group is more than half of all, some of it
    stays within the group.
    """
    order = rng.permutation(len(groups))
    for i in np.flatnonzero(groups[order] == groups):
        if groups[order[i]] != groups[i]:  # was exchanged for another one
            continue
        fits = (groups[order] != groups[i]) & (groups != groups[order[i]])
        if fits.any():
            k = rng.choice(np.flatnonzero(fits))
            order[[i, k]] = order[[k, i]]
    return order


def _kinds(labels: np.ndarray, labelled: np.ndarray, num_classes: int) -> np.ndarray:
    """Most frequent class, or fifth of the mean label, of units (U, T): (U,)."""
    counts = labelled.sum(1)
    if num_classes:
        votes = (labels[..., None] == np.arange(num_classes)) * labelled[..., None]
        kinds = votes.sum(1).argmax(1)
    else:
        mean = (labels * labelled).sum(1) / np.maximum(counts, 1)
        edges = np.quantile(mean[counts > 0], np.arange(1, FIFTHS) / FIFTHS)
        kinds = np.searchsorted(edges, mean)
    return np.where(counts > 0, kinds, NONE)


def _reorder(protocol: Protocol, values: Any, order: np.ndarray) -> Any:
    """Reorders the units of (N, T, ...)."""
    if isinstance(values, Ragged) or protocol.frame_step is not None:
        return reorder(values, order)
    values = np.asarray(values)
    return values.reshape(len(order), -1)[order].reshape(values.shape)


def _noise(rng: np.random.Generator, batch: Batch, modality: str) -> Any:
    """Draws features of mean 0 and deviation 1, like standardised ones."""
    x = batch.features[modality]
    if isinstance(x, Ragged):
        return x._replace(values=rng.standard_normal(x.values.shape, np.float32))
    shape = np.shape(x)
    return rng.standard_normal(shape, np.float32) * np.asarray(batch.mask)[..., None]


def fit_matched(protocol: Protocol) -> Fit:
    """Builds the fit of baselines with as many parameters as implicit fusion trains."""
    baseline, fits = partial(equal_weights, alphas=(0.0,)), []
    for main in protocol.mains:
        other_modalities(protocol, main)
        hidden_size = matched_size(protocol, main)
        alone = replace(
            protocol,
            mains=(main,),
            num_features={main: protocol.num_features[main]},
            architecture=replace(protocol.architecture, hidden_size=hidden_size),
        )
        key = f"control_capacity {main}"
        program = build_program(alone, key, make_learner(alone))
        fits.append(make_joint_fit(alone, program, baseline))

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        return join_fitted([fit_main(fold, trainer) for fit_main in fits])

    return fit


def predict_matched(problem: Problem, main: str) -> Predict:
    """Builds predict; the parameters give the hidden size."""

    def predict(params: Params, features: Features, mask: np.ndarray) -> np.ndarray:
        sizes = replace(problem.architecture, hidden_size=len(params[OUTPUT]["kernel"]))
        own = replace(problem, architecture=sizes)
        return make_recurrent_predict(own, main)(params, features, mask)

    return predict


def matched_size(problem: Problem, main: str) -> int:
    """Finds the hidden size that makes a baseline about as large as implicit fusion."""

    def size(num_features: dict[str, int], hidden: int) -> int:
        sizes = replace(problem.architecture, hidden_size=hidden)
        model = ImplicitFusion(tuple(num_features), problem.num_outputs, sizes)
        return count_parameters(
            jax.eval_shape(lambda: init_params(model, jax.random.key(0), num_features))
        )

    own = {main: problem.num_features[main]}
    low = high = problem.architecture.hidden_size
    wanted = size(dict(problem.num_features), low)
    while size(own, high) < wanted:
        high *= 2
    while high - low > 1:  # size(low) <= wanted <= size(high)
        middle = (low + high) // 2
        low, high = (middle, high) if size(own, middle) <= wanted else (low, middle)
    return min((low, high), key=lambda hidden: abs(size(own, hidden) - wanted))


def _row(key: str, title: str, change: str, control: str) -> System:
    return System(
        key=key,
        title=title,
        make_fit=partial(make_fit, key=key, change=change),
        make_predict=make_recurrent_predict,
        control=control,
    )


SHUFFLED_WITHIN = _row(
    "control_shuffled_within_class",
    "Control: auxiliary shuffled within class",
    change="class",
    control=(
        "pairing: auxiliary features share a minibatch with their own recording, the "
        "only thing this control changes"
    ),
)
SHUFFLED_ACROSS = _row(
    "control_shuffled_across_all",
    "Control: auxiliary shuffled across all",
    change="all",
    control="information: what auxiliary features say about the class, paired or not",
)
NOISE = _row(
    "control_noise",
    "Control: auxiliary replaced by noise",
    change="noise",
    control="information: informative auxiliary features, not a second loss on noise",
)
MATCHED = System(
    key="control_capacity",
    title="Control: baseline of the same capacity",
    make_fit=fit_matched,
    make_predict=predict_matched,
    control="joint training, whatever it brings, instead of more parameters",
)
