from types import SimpleNamespace

import numpy as np
import pytest

from ifusion.training.memory import choose_group, lane_bytes, parameter_bytes
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


def group_of(model, num_features, mesh, num_lanes=20, budget=None):
    return choose_group(model, num_features, OPTIONS, CAPACITY, num_lanes, mesh, budget)


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


def test_a_processor_takes_one_lane_at_a_time(make_model, num_features):
    assert group_of(make_model(), num_features, devices("cpu")) == 1


@pytest.mark.parametrize(("lanes", "count", "group"), [(20, 1, 20), (20, 8, 3)])
def test_an_accelerator_takes_all_lanes_it_is_given(
    make_model, num_features, lanes, count, group
):
    mesh = devices("gpu", 1e9, count)
    assert group_of(make_model(), num_features, mesh, lanes) == group


def test_short_memory_makes_groups(make_model, num_features):
    model = make_model()
    waiting, running = needs(model, num_features)
    for fit in (1, 7, 19):
        limit = DATA + 20 * waiting + (fit + 0.5) * running
        assert group_of(model, num_features, devices("gpu", limit)) == fit
        assert group_of(model, num_features, devices("gpu"), budget=limit) == fit


@pytest.mark.parametrize("given", ["limit", "budget"])
def test_too_little_memory_is_refused_with_what_is_needed(
    make_model, num_features, given
):
    model = make_model()
    waiting, running = (x * 2**20 for x in needs(model, num_features))
    lanes = 20 * 2**20  # so many that the sentence counts in GiB
    limit = DATA + 20 * waiting - 1
    mesh = devices("gpu", limit) if given == "limit" else devices("gpu")
    budget = limit if given == "budget" else None
    gib = (DATA + 20 * waiting + running / 2**20) / 2**30
    with pytest.raises(ValueError, match=f"about {gib:.2f} GiB a device"):
        group_of(model, num_features, mesh, lanes, budget)


def test_long_recordings_are_evaluated_in_parts(make_model, num_features):
    """Ten times the length costs the outputs, far less than the layers."""
    model = make_model(recurrent=True)
    short, long = (
        lane_bytes(model, num_features, 1, 1, (9, steps)) for steps in (750, 7500)
    )
    outputs = 4 * 2 * 9 * (7500 - 750) * 2 * 3
    assert long - short == outputs
