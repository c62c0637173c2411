"""Explicit fusion of features or representations, Fig. 1(a) and (c), Sec. 3.1.

Early fusion reads [f_A; f_V]; model-level fusion joins r_A = SP_A(f_A) and r_V =
SP_V(f_V) to [r_A; r_V] for the shared layers. Not in the paper: layer sizes are those
of implicit fusion, and dev chooses among the settings of the baselines. Modalities with
different frame steps are first brought to common steps, see
`preprocessing.ragged.to_common_steps`.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

from ifusion.corpora.corpus import JOIN
from ifusion.models.architecture import Architecture
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, Inputs, Network
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.ragged import (
    common_buckets,
    fill_missing,
    pad_recordings,
    to_common_steps,
)
from ifusion.preprocessing.sequences import Batch, steps_of
from ifusion.systems.neural import (
    NeuralLane,
    Output,
    Trainer,
    build_program,
    list_candidates,
    make_neural_predict,
)
from ifusion.systems.system import (
    Fit,
    Fitted,
    Fold,
    Params,
    Predict,
    Problem,
    Protocol,
    System,
    UnsuitedError,
)
from ifusion.training.learner import Learner, make_network_learner, task_objective


def joined_mains(problem: Problem) -> str:
    """Names what explicit fusion predicts from; UnsuitedError for a single main."""
    if len(problem.mains) < 2:
        raise UnsuitedError(
            f"explicit fusion needs at least two mains; got {', '.join(problem.mains)}"
        )
    return JOIN.join(problem.mains)


def network_inputs(main: str, early: bool, features: Mapping[str, Any]) -> Inputs:
    """Turns {m: (B, T, F_m)} into the inputs of the network."""
    taken = {m: features[m] for m in main.split(JOIN)}
    return {main: jnp.concatenate(list(taken.values()), axis=-1)} if early else taken


def make_network(problem: Problem, main: str, early: bool) -> Network:
    """Builds the network; `early` joins features, else representations."""
    sizes = tuple((m, problem.num_features[m]) for m in main.split(JOIN))
    return _build(main, early, sizes, problem.num_outputs, problem.architecture)


@lru_cache(maxsize=8)  # teachers predict again and again
def _build(
    main: str,
    early: bool,
    sizes: tuple[tuple[str, int], ...],
    num_outputs: int,
    architecture: Architecture,
) -> Network:
    inputs = {main: sum(size for _, size in sizes)} if early else dict(sizes)
    return make_multi_head(inputs, {OUTPUT: num_outputs}, architecture)


def make_learner(protocol: Protocol, early: bool) -> Learner:
    """Builds the learner that reads all mains at once."""
    main = joined_mains(protocol)
    return make_network_learner(
        make_network(protocol, main, early),
        main,
        task_objective(protocol.loss),
        lambda batch: (
            network_inputs(main, early, batch.features),
            steps_of(batch.inputs_mask, main),
        ),
    )


def make_fit(protocol: Protocol, key: str, early: bool) -> Fit:
    """Builds the fit of the lanes targets x seeds x settings of the mains."""
    main, learner = joined_mains(protocol), make_learner(protocol, early)
    grid = list(product(protocol.targets, protocol.seeds, protocol.mains))
    buckets = common_buckets(protocol.buckets, protocol.incomplete)
    program = build_program(protocol, key, learner, buckets=buckets)
    bring = partial(_on_common_steps, main=main, incomplete=protocol.incomplete)
    step = protocol.frame_step or 0

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        tried = {  # once, where modalities agree
            (target, seed, fold.setting(m, target)): None for target, seed, m in grid
        }
        lanes = [
            NeuralLane(
                main=main,
                target=target,
                seed=seed,
                weights={},
                setting={"l2": x.l2, **({"delay": x.delay * step} if step else {})},
                l2=x.l2,
                delay=x.delay,
            )
            for target, seed, x in tried
        ]
        trained = trainer(program, lanes, bring(fold))
        return list_candidates(lanes, trained, lambda main: tuple(trained.params))

    return fit


def _on_common_steps(fold: Fold, main: str, incomplete: bool) -> Fold:
    """Brings the modalities of a main to common steps, if theirs differ."""

    def bring(batch: Batch) -> Batch:
        own = {m: batch.features[m] for m in main.split(JOIN)}
        sizes = [len(x.values) for x in own.values()]
        room = sum(sizes) if incomplete else min(sizes)
        common = {
            m: pad_recordings(x, len(x.lengths), room)
            for m, x in to_common_steps(fill_missing(own)).items()
        }
        return batch._replace(features=common)

    if fold.dev.lengths is None:
        return fold
    return replace(fold, train=bring(fold.train_batch), dev=bring(fold.dev))


def make_predict(problem: Problem, main: str, early: bool) -> Predict:
    """Builds predict for several modalities."""
    output = _joined_output(main, early, make_network(problem, main, early))
    return make_neural_predict(problem, main, output, to_common_steps)


@lru_cache(maxsize=8)  # equal problems have one network while `_build` keeps it
def _joined_output(main: str, early: bool, network: Network) -> Output:
    @jax.jit
    def output(params: Params, features: Mapping[str, Any], mask: Any) -> Any:
        inputs = network_inputs(main, early, features)
        return network.apply(params, inputs, mask, EVALUATION_STEPS)[OUTPUT]

    return output


EARLY_FUSION, MODEL_LEVEL_FUSION = (
    System(
        key=key,
        title=title,
        make_fit=partial(make_fit, key=key, early=early),
        make_predict=partial(make_predict, early=early),
        explicit=True,
    )
    for key, title, early in (
        ("early_fusion", "Early fusion", True),
        ("model_level_fusion", "Model-level fusion", False),
    )
)
