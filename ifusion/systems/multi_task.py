"""Multi-task learning, Fig. 1(d): one modality, shared layers, one head per task.

J = L_y + lambda L_2; dev chooses lambda. The second task makes the row: the other
targets; features of the other modalities; the features themselves, i.e. learning from
the reconstruction error (RE) as in [22] and [30]; the disagreement of raters, i.e. the
perception uncertainty (PU) of [12].

Not in the paper: the layers below the heads are the baseline's; all losses are means
over steps; uncertainty is in the unit of the labels.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial, reduce
from operator import and_

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.losses import (
    masked_mean,
    mean_over_steps,
    reconstruction_error,
    squared_error,
)
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, Outputs
from ifusion.preprocessing.disagreement import UNCERTAINTY
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import (
    LAMBDA,
    Program,
    build_program,
    make_fit_by_main,
    make_recurrent_predict,
    recurrent_parts,
    with_extras,
)
from ifusion.systems.shapes import SECOND
from ifusion.systems.system import (
    Fit,
    Fold,
    Protocol,
    System,
    UnsuitedError,
    other_modalities,
)
from ifusion.training.learner import Learner, make_network_learner, two_task_objective

SecondLoss = Callable[[Outputs, Batch], jax.Array]
SecondTask = Callable[[Protocol, str], tuple[int, SecondLoss]]


def make_learner(protocol: Protocol, main: str, task: SecondTask) -> Learner:
    """Builds the learner of a main and a second task."""
    size, second_loss = task(protocol, main)
    network = make_multi_head(
        {main: protocol.num_features[main]},
        {OUTPUT: protocol.num_outputs, SECOND: size},
        protocol.architecture,
    )
    objective = two_task_objective(protocol.loss, second_loss)
    return make_network_learner(network, main, objective)


@lru_cache(maxsize=8)
def task_program(protocol: Protocol, main: str, task: SecondTask) -> Program:
    """Builds the program of a main and a second task, once per protocol.

    Multi-task learning and the first stage of DDAT share it, and so its lanes.
    """
    key = f"multi_task {task.__name__} {main}"
    return build_program(protocol, key, make_learner(protocol, main, task))


def lambda_settings(protocol: Protocol) -> list[dict[str, float]]:
    """Lists one setting per lambda."""
    return [{LAMBDA: value} for value in protocol.systems.lambdas]


def make_fit(
    protocol: Protocol,
    task: SecondTask,
    prepare: Callable[[Fold, str], Fold] = lambda fold, main: fold,
) -> Fit:
    """Builds the fit of the lanes mains x targets x seeds x lambdas.

    `task` gives the outputs of the second head and its loss; `prepare` changes the fold
    to train a main on.
    """
    return make_fit_by_main(
        protocol,
        lambda main: task_program(protocol, main, task),
        recurrent_parts,
        lambda_settings(protocol),
        prepare,
    )


def answered(batch: Batch, modality: str) -> jax.Array:
    """Takes the features of each step that has an output: (B, T, F)."""
    features: jax.Array = batch.features[modality]
    if not batch.steps:
        return features
    return mean_over_steps(features, batch.steps[modality])[:, None]


# ---- second tasks -------------------------------------------------------------------


def reconstruction(protocol: Protocol, main: str) -> tuple[int, SecondLoss]:
    """L_rec, mean of (x - x_hat)^2 over steps and features."""
    return features_of(protocol, (main,))


def other_features(protocol: Protocol, main: str) -> tuple[int, SecondLoss]:
    """L of the features of the other modalities, see `features_of`.

    Implicit fusion reads them; here they are predicted.

    Raises:
      UnsuitedError: if there is no other modality.
    """
    return features_of(protocol, other_modalities(protocol, main))


def features_of(
    protocol: Protocol, modalities: Sequence[str]
) -> tuple[int, SecondLoss]:
    """L of the features of some modalities, concatenated.

    Of recordings with one label, their means over steps; those that lack one of the
    modalities do not count.
    """

    def second(outputs: Outputs, batch: Batch) -> jax.Array:
        values = jnp.concatenate([answered(batch, m) for m in modalities], axis=-1)
        mask = batch.mask * reduce(and_, [batch.has(m) for m in modalities])
        return masked_mean(reconstruction_error(outputs[SECOND], values), mask)

    return sum(protocol.num_features[m] for m in modalities), second


def uncertainty(protocol: Protocol, main: str) -> tuple[int, SecondLoss]:
    """L_u, squared error of the raters' disagreement, where known."""

    def second(outputs: Outputs, batch: Batch) -> jax.Array:
        values = batch.extras[UNCERTAINTY]
        known = jnp.isfinite(values)
        values = jnp.where(known, values, 0)
        return squared_error(outputs[SECOND], values, batch.labelled * known)

    return 1, second


def other_targets(protocol: Protocol, main: str) -> tuple[int, SecondLoss]:
    """Mean of the losses of the other targets.

    Raises:
      UnsuitedError: if there is only one target.
    """
    count = len(protocol.targets) - 1
    if not count:
        raise UnsuitedError(
            f"{protocol.targets[0]} is the only target; expected a second one"
        )

    def second(outputs: Outputs, batch: Batch) -> jax.Array:
        losses = [
            protocol.loss(
                outputs[SECOND][..., i : i + 1],
                batch.extras[f"target_{i}"],
                batch.labelled,
            )
            for i in range(count)
        ]
        return jnp.mean(jnp.stack(losses))

    return count, second


def with_other_targets(fold: Fold) -> Fold:
    """Adds the labels of the other targets, in turn, as extras."""
    labels = np.asarray(fold.train_batch.labels)
    others = {
        f"target_{i}": np.roll(labels, -1 - i, axis=-1)
        for i in range(labels.shape[-1] - 1)
    }
    return with_extras(fold, others)


MULTI_TASK_TARGETS = System(
    key="multi_task_targets",
    title="Multi-task learning (other target)",
    make_fit=partial(
        make_fit,
        task=other_targets,
        prepare=lambda fold, main: with_other_targets(fold),
    ),
    make_predict=make_recurrent_predict,
)
MULTI_TASK_MODALITIES = System(
    key="multi_task_modalities",
    title="Multi-task learning (other modality as output)",
    make_fit=partial(make_fit, task=other_features),
    make_predict=make_recurrent_predict,
)
MTL_RE = System(
    key="mtl_re",
    title="MTL (RE based)",
    source="[30]",
    make_fit=partial(make_fit, task=reconstruction),
    make_predict=make_recurrent_predict,
)
MTL_PU = System(
    key="mtl_pu",
    title="MTL (PU based)",
    source="[12]",
    make_fit=partial(make_fit, task=uncertainty),
    make_predict=make_recurrent_predict,
    needs=frozenset({"raters"}),
)
