"""Chains of layers against the systems that they describe, with drawn parameters."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from ifusion.inference.running import run_chain, zero_state
from ifusion.models.architecture import Architecture
from ifusion.models.multi_head import make_multi_head
from ifusion.systems import curriculum
from ifusion.systems.catalogue import SYSTEMS, find_systems
from ifusion.systems.chains import chain_of, looks_ahead
from ifusion.systems.cnn import make_network
from ifusion.systems.neural import make_recurrent_predict
from ifusion.systems.options import SystemOptions
from ifusion.systems.shapes import FIRST
from ifusion.systems.system import Problem

SIZE, HIDDEN = 4, 3
ERRORS = {"re_two_stage": "reconstruction", "ddat_re": "second", "ddat_pu": "second"}


def make_problem(**options):
    return Problem(
        num_features={"audio": SIZE},
        mains=("audio",),
        targets=("arousal",),
        num_classes=0,
        frame_step=0.04,
        architecture=Architecture(2, 1, HIDDEN),
        systems=SystemOptions(**options),
    )


def draw(problem, head, outputs, inputs, draw_like, seed):
    """Parameters of a network of one head."""
    network = make_multi_head({"audio": inputs}, {head: outputs}, problem.architecture)
    return draw_like(jax.eval_shape(network.init, jax.random.key(0)), seed=seed)


def two_stages(problem, key, draw_like):
    """Parameters of both stages, as fits return them."""
    vector = key == "re_two_stage" and problem.systems.error_vector
    width = SIZE if vector else 1
    outputs = 1 if key == "ddat_pu" else SIZE
    first = draw(problem, ERRORS[key], outputs, SIZE, draw_like, 1)
    second = draw(problem, "output", 1, SIZE + width, draw_like, 2)
    scale = {"mean": np.full(width, 0.3, "f"), "std": np.full(width, 2.0, "f")}
    return {**second, FIRST: {"estimator": first, **scale}}


def assert_same(key, problem, params):
    """Compares a system's own predictions with its chain, on two recordings."""
    (system,) = find_systems([key])
    x = np.random.default_rng(0).standard_normal((2, 9, SIZE)).astype(np.float32)
    predict = system.make_predict(problem, "audio")
    expected = predict(params, {"audio": x}, np.ones((2, 9), np.float32))
    chain = chain_of(system, problem, "audio", params)
    found, _ = jax.jit(run_chain)(chain, x, zero_state(chain, 2))
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)
    return chain


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("key", ERRORS)
def test_two_stages_are_a_chain(key, vector, draw_like):
    problem = make_problem(error_vector=vector)
    assert_same(key, problem, two_stages(problem, key, draw_like))


def test_one_network_is_a_chain(draw_like):
    problem = make_problem()
    params = draw(problem, "output", 1, SIZE, draw_like, 3)
    chain = assert_same("implicit_fusion", problem, params)
    assert looks_ahead(chain) == 0 and len(chain) == 4


def test_the_control_of_capacity_is_a_chain_of_its_own_size(draw_like):
    wide = replace(make_problem(), architecture=Architecture(2, 1, HIDDEN + 2))
    params = draw(wide, "output", 1, SIZE, draw_like, 4)
    assert_same("control_capacity", make_problem(), params)


def test_a_curriculum_is_a_chain(draw_like):
    problem = make_problem()
    network = curriculum.make_network(problem, "audio")
    params = draw_like(jax.eval_shape(network.init, jax.random.key(0)))
    assert_same("curriculum", problem, params)


def test_convolutions_are_a_chain_that_looks_ahead(draw_like):
    problem = make_problem(cnn_units=5, cnn_width=3)
    shapes = jax.eval_shape(make_network(problem, "audio").init, jax.random.key(0))
    chain = assert_same("cnn", problem, draw_like(shapes))
    assert looks_ahead(chain) == 2


def test_a_network_of_utterances_is_a_chain(draw_like):
    problem = make_problem(cnn_units=5)
    single = replace(
        problem, architecture=replace(problem.architecture, recurrent=False)
    )
    shapes = jax.eval_shape(make_network(single, "audio").init, jax.random.key(0))
    assert looks_ahead(assert_same("cnn", single, draw_like(shapes))) == 0


def test_every_system_is_a_chain_or_says_why_not():
    problem, told = make_problem(), {}
    for system in SYSTEMS:
        main = "audio+video" if system.explicit else "audio"
        if system.make_predict is make_recurrent_predict:
            continue
        try:
            chain_of(system, problem, main, {})
        except ValueError as error:
            told[system.key] = str(error)
        except KeyError:  # a chain, of parameters that are not there
            continue
    explicit = {system.key for system in SYSTEMS if system.explicit}
    assert told.keys() == {"constant", "svm", "svr"} | explicit
    assert all("is not a chain of layers: it " in x for x in told.values())
