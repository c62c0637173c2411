"""Kills, damage and lost disks, as `benchmarks/reliability.py` counts them."""

import os

import pytest
from starting import python

pytestmark = pytest.mark.slow


def benchmark(*arguments):
    return python("benchmarks/reliability.py", *arguments, timeout=None)


@pytest.mark.parametrize(
    "work", ["kills --count=2", "kills --count=2 --task=tables", "damage --count=100"]
)
def test_nothing_is_torn_lost_or_silent(work):
    done = benchmark(*work.split())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_run_outlives_its_disk():
    done = benchmark("faults")
    if "must be superuser" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("mounting is not allowed")
    assert done.returncode == 0, done.stdout + done.stderr
