"""How many lanes are trained at once, on devices that may not be in this machine."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from grids import grid_arrays

from ifusion.lanes import make_grid
from ifusion.losses import cross_entropy
from ifusion.training import schedule, sweep
from ifusion.training.learner import Learner, make_implicit_fusion
from ifusion.training.options import TrainingOptions
from ifusion.training.schedule import chunk_of, deal, even_chunk, fit_lanes, peak_bytes
from ifusion.training.stream import Blocks
from ifusion.training.sweep import build_sweep

OPTIONS = TrainingOptions(batch_size=4)
MIB = 2**20


def negative_loss(outputs, labels, mask):
    return -cross_entropy(outputs, labels, mask)


def lanes_of(count):
    grid = make_grid(("audio",), ("emotion",), (0.0,), range(count))
    return grid_arrays(grid, ("audio", "video"), ("emotion",))


def devices(platform, bytes_limit=None, count=1):
    """A mesh of as many devices as wanted."""
    stats = None if bytes_limit is None else {"bytes_limit": bytes_limit}
    device = SimpleNamespace(platform=platform, memory_stats=lambda: stats)
    return SimpleNamespace(devices=np.array([device] * count, object))


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(20), make_data(12, seed=1)


@pytest.fixture(scope="module")
def build(make_model, num_features, mesh):
    learner = make_implicit_fusion(make_model(), num_features, cross_entropy)

    def make(side_by_side):
        return build_sweep(
            learner,
            lambda *x: -cross_entropy(*x),
            OPTIONS,
            mesh,
            side_by_side=side_by_side,
        )

    return make


@pytest.mark.parametrize(
    ("lanes", "most", "width", "chunk"),
    [
        (110, 108, 1, 55),  # not 108, of which the second would hold two lanes
        (110, 110, 1, 110),
        (110, 108, 2, 56),
        (60, 55, 1, 30),
        (8, 8, 3, 9),
        (1, 55, 1, 1),
    ],
)
def test_chunks_are_of_equal_size(lanes, most, width, chunk):
    assert even_chunk(lanes, most, width) == chunk


def test_devices_take_turns_where_lanes_run_one_after_another():
    mesh = devices("cpu", count=3)
    made = sweep.Sweep(None, None, None, None, None, mesh, side_by_side=False)
    parts = deal(12, made).reshape(3, 4)
    assert parts.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    # side by side, lanes of a seed stay together and share its minibatches
    assert deal(12, replace(made, side_by_side=True)).tolist() == list(range(12))


@pytest.mark.parametrize("fixed", [0, 300])
@pytest.mark.parametrize("limit", [1000, 1009, 1500, 5000, 11000, 20000])
def test_as_few_chunks_as_fit_are_found_in_few_compilations(fixed, limit):
    asked = []

    def needed(lanes):
        asked.append(lanes)
        return fixed + 100 * lanes

    found = fit_lanes(needed, limit, 110)
    largest = min((limit - fixed) // 100, 110)
    assert found <= largest  # it fits
    assert -(-110 // found) == -(-110 // largest)  # and a larger one helps no more
    assert len(asked) <= 5


def test_what_is_not_proportional_still_fits():
    def needed(lanes):
        return 100 * lanes**1.5

    for limit in (100, 1000, 50000):
        assert needed(fit_lanes(needed, limit, 110)) <= limit


@pytest.mark.parametrize(
    ("needs", "words"), [(4 * MIB, r"4\.0 MiB"), (2**31, r"2\.00 GiB")]
)
def test_too_little_memory_is_refused_with_what_is_needed(needs, words):
    with pytest.raises(ValueError, match=f"data and one lane need {words} per device"):
        fit_lanes(lambda lanes: needs * lanes, needs - 1, 2)


@pytest.mark.parametrize(("platform", "side_by_side"), [("cpu", False), ("gpu", True)])
def test_an_accelerator_runs_lanes_side_by_side(monkeypatch, platform, side_by_side):
    used = []
    for name in ("_one_by_one", "_side_by_side"):
        monkeypatch.setattr(sweep, name, lambda change, name=name: used.append(name))
    for name in ("_sharded", "NamedSharding"):
        monkeypatch.setattr(sweep, name, lambda *arguments, **shared: None)
    monkeypatch.setattr(jax, "jit", lambda function=None, **options: function)
    learner = Learner(None, None, None, None)
    made = build_sweep(learner, None, OPTIONS, devices(platform, count=4))
    assert set(used) == {"_side_by_side" if side_by_side else "_one_by_one"}
    assert made.width == 4


def test_a_device_tells_its_memory():
    assert schedule.device_memory(devices("gpu", 5e9)) == 5e9
    assert schedule.device_memory(devices("cpu")) is None


@pytest.mark.parametrize("reported", [False, True])
def test_lanes_are_balanced_over_chunks_that_fit(build, data, monkeypatch, reported):
    """A device that holds 108 of 110 lanes, by its own word or by the config."""
    limit = 108.5 * MIB
    monkeypatch.setattr(
        schedule, "peak_bytes", lambda sweep, size, *arguments: size * MIB
    )
    program = build(True)
    if reported:
        monkeypatch.setattr(schedule, "device_memory", lambda mesh: limit)
    else:
        program = replace(program, memory=limit)
    for count, chunk in ((110, 55), (108, 108), (109, 55), (300, 100), (7, 7)):
        assert chunk_of(program, lanes_of(count), None, *data) == chunk


@pytest.mark.parametrize("side_by_side", [False, True])
def test_what_is_measured_covers_states_frozen_data_and_the_data(
    build, data, side_by_side
):
    program, lanes = build(side_by_side), lanes_of(1)

    @cache
    def needs(count, frozen=0):
        values = {"x": np.zeros((1, frozen), np.float32)} if frozen else None
        return peak_bytes(program, count, lanes._replace(frozen=values), None, *data)

    states = jax.eval_shape(program.init, lanes)
    state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(states))
    parameters = sum(x.size for x in jax.tree.leaves(states.train.params))
    assert state > 4 * 4 * parameters  # with two moments and the best
    each = (needs(9) - needs(1)) / 8
    assert state <= each
    if not side_by_side:  # activations of one lane at a time
        assert each < 1.5 * state
    inputs = sum(np.asarray(x).nbytes for x in jax.tree.leaves(data))
    assert needs(1) > inputs + state
    assert needs(9, 1000) == needs(9) + 9 * 4000


def test_of_data_that_are_read_in_blocks_two_are_held(build, data):
    program, (train, dev) = build(False), data
    one = jax.tree.map(lambda x: x[:1], train)
    size = sum(np.asarray(x).nbytes for x in jax.tree.leaves(one))
    take = lambda numbers: jax.tree.map(lambda x: np.asarray(x)[numbers], train)  # noqa: E731

    def needs(train):
        return peak_bytes(program, 1, lanes_of(1), None, train, dev)

    block = needs(Blocks(take, 2000, size, 8 * size))  # of two minibatches
    assert needs(Blocks(take, 2000, size, 80 * size)) - block >= 2 * 72 * size
    assert block < needs(train) + 16 * size
