from types import SimpleNamespace

import numpy as np
import pytest

from ifusion.core import ImplicitFusion
from ifusion.models.architecture import Architecture
from ifusion.training.memory import choose_schedule, lane_bytes, parameter_bytes
from ifusion.training.options import TrainingOptions

CAPACITY = {"train": (200, 1, 1), "dev": (50, 1)}
DATA = 4 * (200 + 50) * (3 + 5)  # [byte] of both partitions, features of both
OPTIONS = TrainingOptions(batch_size=16)
# T = 1, H = 4: a layer on F features has F * 12 + 12 + 4 parameters
PARAMETERS = (3 * 12 + 16) + (5 * 12 + 16) + (4 * 12 + 16) + (4 * 3 + 3)


def devices(platform, bytes_limit=None, count=1):
    """As many devices as wanted of a kind that may not be in this machine."""
    stats = None if bytes_limit is None else {"bytes_limit": bytes_limit}
    device = SimpleNamespace(platform=platform, memory_stats=lambda: stats)
    return SimpleNamespace(devices=np.array([device] * count, object))


def schedule_of(model, num_features, mesh, num_lanes=20, budget=None):
    return choose_schedule(
        model, num_features, OPTIONS, CAPACITY, num_lanes, mesh, budget
    )


def needs(model, num_features):
    """[byte] of a lane while it waits, and beyond that while it runs."""
    running = lane_bytes(model, num_features, 16, 1, CAPACITY["dev"])
    return 4 * parameter_bytes(model, num_features), running


def test_parameters_are_counted(make_model, num_features):
    assert parameter_bytes(make_model(), num_features) == 4 * PARAMETERS


@pytest.mark.parametrize(
    "changes", [{"batch_size": 1000}, {"train_steps": 100}, {"dev_shape": (5000, 1)}]
)
def test_more_data_at_once_needs_more(make_model, num_features, changes):
    usual = {"batch_size": 16, "train_steps": 1, "dev_shape": (50, 1)}
    model = make_model()
    small = lane_bytes(model, num_features, **usual)
    assert small > 3 * 4 * PARAMETERS
    assert lane_bytes(model, num_features, **{**usual, **changes}) > small


@pytest.mark.parametrize(("count", "chunk"), [(1, 20), (2, 20), (8, 24)])
def test_a_processor_takes_one_lane_at_a_time(make_model, num_features, count, chunk):
    mesh = devices("cpu", count=count)
    assert schedule_of(make_model(), num_features, mesh) == (1, chunk)


@pytest.mark.parametrize(("lanes", "count", "group"), [(20, 1, 20), (20, 8, 3)])
def test_an_accelerator_takes_all_lanes_it_is_given(
    make_model, num_features, lanes, count, group
):
    mesh = devices("gpu", 1e9, count)
    schedule = schedule_of(make_model(), num_features, mesh, lanes)
    assert schedule == (group, count * group)


def test_short_memory_makes_groups(make_model, num_features):
    model = make_model()
    waiting, running = needs(model, num_features)
    for fit, chunk in ((1, 20), (7, 21), (19, 38)):
        limit = DATA + 20 * waiting + (fit + 0.5) * running
        expected = (fit, chunk)  # whole groups, of which the last may be padded
        mesh = devices("gpu", limit)
        assert schedule_of(model, num_features, mesh) == expected
        mesh = devices("gpu")
        assert schedule_of(model, num_features, mesh, budget=limit) == expected


@pytest.mark.parametrize(("platform", "group"), [("cpu", 1), ("gpu", 5)])
def test_shorter_memory_makes_chunks(make_model, num_features, platform, group):
    """Room for the states of some lanes, and for as many at work as may be."""
    model = make_model()
    waiting, running = needs(model, num_features)
    limit = DATA + 5.5 * waiting + group * running
    mesh = devices(platform, limit, count=2)
    assert schedule_of(model, num_features, mesh, 300) == (group, 2 * 5)


@pytest.mark.parametrize("given", ["limit", "budget"])
def test_too_little_memory_is_refused_with_what_is_needed(num_features, given):
    architecture = Architecture(hidden_size=2000, recurrent=True)
    model = ImplicitFusion(("audio", "video"), 3, architecture)
    needed = DATA + sum(needs(model, num_features))  # so much that it counts in GiB
    limit = needed - 1
    mesh = devices("gpu", limit) if given == "limit" else devices("gpu")
    budget = limit if given == "budget" else None
    sentence = f"one lane on each of 1 devices need about {needed / 2**30:.2f} GiB"
    with pytest.raises(ValueError, match=sentence):
        schedule_of(model, num_features, mesh, budget=budget)
    assert schedule_of(model, num_features, devices("gpu", needed)) == (1, 1)


def test_small_needs_are_told_in_mib(make_model, num_features):
    mesh = devices("gpu", 1e3)
    needed = DATA + sum(needs(make_model(), num_features))
    with pytest.raises(ValueError, match=rf"about {needed / 2**20:.1f} MiB a device"):
        schedule_of(make_model(), num_features, mesh)


def test_long_recordings_are_evaluated_in_parts(make_model, num_features):
    """Ten times the length costs the outputs, far less than the layers."""
    model = make_model(recurrent=True)
    short, long = (
        lane_bytes(model, num_features, 1, 1, (9, steps)) for steps in (750, 7500)
    )
    outputs = 4 * 2 * 9 * (7500 - 750) * 2 * 3
    assert long - short == outputs


def test_of_data_that_are_read_in_blocks_two_are_held(make_model, num_features):
    """The block at work and the next, instead of all of train."""
    model, block = make_model(), 500
    dev = 4 * 50 * (3 + 5)
    waits, runs = needs(model, num_features)
    arguments = (model, num_features, OPTIONS, CAPACITY, 20, devices("gpu"))
    enough = dev + 2 * block + waits + runs
    assert choose_schedule(*arguments, enough, block).group == 1
    for budget, size in ((enough - 1, block), (enough, 0)):
        with pytest.raises(ValueError, match=r"or in sweep\.py sweep\.block_mib if"):
            choose_schedule(*arguments, budget, size)
