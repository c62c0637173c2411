"""Matching a fusion's representation, on recordings with and without a label.

J = L_y + lambda L_m: a second, linear head on the shared layers of one modality
predicts the last hidden layer of a fusion of all modalities, each unit standardised.
L_m is its squared error over all steps of train, labelled or not; dev chooses lambda.

Control: the student matches the last hidden layer of its own baseline, so a gain over
it is due to the other modalities.

Not in the paper; follows Romero et al. (FitNets, 2015) and, across modalities, Gupta,
Hoffman and Malik (2016). Penalty and delay are those of the baseline. Hidden layers are
matched at the same step, whatever the delays.

Axes: N sequences, B batch, T time, H hidden units, O outputs.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import Losses
from ifusion.corpora.corpus import JOIN
from ifusion.lanes import LaneArrays
from ifusion.losses import masked_mean, reconstruction_error
from ifusion.models.architecture import Architecture
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, Outputs
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.ragged import to_common_steps
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.explicit import EARLY_FUSION, joined_mains, network_inputs
from ifusion.systems.multi_task import lambda_settings
from ifusion.systems.neural import (
    Output,
    Program,
    Trainer,
    build_program,
    join_fitted,
    make_neural_predict,
    make_recurrent_predict,
    tuned_lanes,
    with_extras,
)
from ifusion.systems.pseudo_labels import find_own
from ifusion.systems.shapes import SECOND
from ifusion.systems.system import Fit, Fitted, Fold, Params, Protocol, System
from ifusion.systems.teaching import (
    ROW,
    TARGETS,
    Teacher,
    append_unlabelled,
    choose_candidates,
    fit_teacher,
    mark_rows,
    train_students,
)
from ifusion.training.learner import make_network_learner

KNOWN = "known"  # 1 where there is a label


def make_fit(protocol: Protocol, key: str, own: bool) -> Fit:
    """Builds the fit of the students mains x targets x seeds x lambdas.

    `own` students match their own baseline instead of the fusion.
    """
    teacher = find_own(protocol)
    if not own:
        joined = joined_mains(protocol)
        teacher = Teacher(EARLY_FUSION, dict.fromkeys(protocol.mains, joined))
    fit_one = teacher.system.make_fit(protocol)
    programs = {main: make_program(protocol, key, main) for main in protocol.mains}
    settings = lambda_settings(protocol)
    grid = list(product(protocol.targets, protocol.seeds, settings))

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        taught = fit_teacher(fit_one, fold, trainer, len(grid))
        chosen = choose_candidates(protocol, teacher.system, taught, fold)
        whole = append_unlabelled(fold, protocol.buckets)
        marked, fitted = mark_known(whole), []
        for main, program in programs.items():
            lanes = tuned_lanes(fold, main, grid)
            found = [chosen[teacher.mains[main], x.target, x.seed] for x in lanes]
            hidden = [
                hidden_layer(protocol, teacher.mains[main], params, whole.train_batch)
                for _, params in found
            ]
            targets = [{TARGETS: values} for values in hidden]
            failed = [candidate.failed_step for candidate, _ in found]
            students = train_students(
                program, lanes, targets, failed, marked, trainer, main
            )
            fitted.append(students)
        return join_fitted(fitted)

    return fit


def make_program(protocol: Protocol, key: str, main: str) -> Program:
    """Builds the program of the students of one main."""
    network = make_multi_head(
        {main: protocol.num_features[main]},
        {OUTPUT: protocol.num_outputs, SECOND: protocol.architecture.hidden_size},
        protocol.architecture,
    )

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        known = batch.labelled * batch.extras[KNOWN]
        first = protocol.loss(outputs[OUTPUT], batch.labels, known)
        layer = lane.frozen[TARGETS][batch.extras[ROW][:, 0]]
        errors = reconstruction_error(outputs[SECOND], layer)
        second = masked_mean(errors, batch.mask)
        joint = first + lane.extra_weight * second
        return joint, {"first": first, "second": second}

    learner = make_network_learner(network, main, objective)
    return build_program(protocol, f"{key} {main}", learner)


def mark_known(fold: Fold) -> Fold:
    """Numbers the sequences and keeps where they have labels; all steps are trained."""
    batch = fold.train_batch
    known = np.broadcast_to(np.asarray(batch.labelled)[..., None], batch.labels.shape)
    return with_extras(mark_rows(fold), {KNOWN: known})


def hidden_layer(
    protocol: Protocol, main: str, params: Params, batch: Batch
) -> np.ndarray:
    """Computes the last hidden layer of a baseline or of early fusion.

    Returns:
      (N, T, H) float32; each unit has mean 0 and deviation 1 over the existing steps
      of sequences that have the main.
    """
    inputs = sum(protocol.num_features[m] for m in main.split(JOIN))
    output = _hidden_output(main, inputs, protocol.architecture)
    predict = make_neural_predict(protocol, main, output, to_common_steps)
    mask = np.asarray(batch.mask)
    values = predict(params, batch.features, mask)
    seen = values[(mask > 0) & batch.has(main)].astype(np.float64)
    scale = np.maximum(seen.std(0), np.finfo(np.float32).eps)
    return np.asarray((values - seen.mean(0)) / scale, np.float32)


@lru_cache(maxsize=8)
def _hidden_output(main: str, inputs: int, architecture: Architecture) -> Output:
    size = architecture.hidden_size
    network = make_multi_head({main: inputs}, {OUTPUT: size}, architecture)
    bare = {"kernel": jnp.eye(size), "bias": jnp.zeros(size)}

    @jax.jit
    def output(params: Params, features: Mapping[str, Any], mask: Any) -> Any:
        own = {**params, OUTPUT: bare}  # a head that changes nothing
        read = network_inputs(main, True, features)
        return network.apply(own, read, mask, EVALUATION_STEPS)[OUTPUT]

    return output


MATCHING = System(
    key="matching",
    title="RNN (matching the fusion's representation)",
    make_fit=partial(make_fit, key="matching", own=False),
    make_predict=make_recurrent_predict,
)
SELF_MATCHING = System(
    key="matching_own",
    title="Control: matching its own representation",
    make_fit=partial(make_fit, key="matching_own", own=True),
    make_predict=make_recurrent_predict,
    control="the other modalities, instead of a second loss",
    control_of="matching",
)
