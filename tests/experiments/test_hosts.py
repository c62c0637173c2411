"""Lanes over several devices and processes, against the same run on one device."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import join_hosts

from ifusion.storage import read_arrays, read_facts

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--config=configs/synthetic.py",
    "--config.corpus.recordings=(40,20,20)",
    "--config.corpus.speakers=8",
    "--config.model.hidden_size=8",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.save_every_seconds=0",
    "--config.evaluation.resamples=20",
)


def epochs(number):
    return (
        f"--config.training.epochs={number}",
        f"--config.training.patience={number}",
    )


RUN = (*SMALL, *epochs(8), "--config.sweep.seeds=(0,1,2)")
LONG = (  # of two stages
    *(*SMALL, *epochs(500)),
    *("--config.sweep.seeds=(0,1)", "--config.sweep.l2=(0.0,0.05)"),
)
FEW = (  # lanes
    *(*SMALL, *epochs(8)),
    *("--config.sweep.seeds=(0,)", "--config.sweep.mains=('audio',)"),
)
FOUR_CORES = (  # of which JAX makes four devices
    "import os, runpy, sys; os.sched_getaffinity = lambda process: range(4); "
    "sys.argv = sys.argv[1:]; sys.path.insert(0, 'experiments'); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
NO_COLLECTIVE = """
import sys
sys.path[:0] = ["experiments", "."]
import jax
import numpy as np
jax.config.update("jax_num_cpu_devices", 4)
from configs.synthetic import get_config
from course import open_folds
from fold import make_data
from hosts import lane_mesh
from ifusion.training.lanes import lane_arrays
from study import make_plan

def collectives(compiled):
    names = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective",
             "send(", "recv(")
    return [name for name in names if name in compiled.as_text()]

mesh = lane_mesh()
assert mesh.devices.size == 4
rows = jax.sharding.PartitionSpec("lanes")
summed = jax.shard_map(lambda x: jax.lax.psum(x, "lanes"), mesh=mesh, in_specs=rows,
                       out_specs=jax.sharding.PartitionSpec())
assert collectives(jax.jit(summed).lower(np.ones(4)).compile()) == ["all-reduce"]

config = get_config()
config.corpus.update(recordings=(40, 20, 20), speakers=8)
config.model.hidden_size = 8
config.sweep.update(alphas=(0.0, 0.5), seeds=(0, 1, 2))
(fold,) = open_folds(config, False).values()
plan = make_plan(config, {"fixed": fold}, mesh)
assert len(plan.lanes) == 12
lanes = lane_arrays(plan.lanes, plan.modalities, plan.targets)
data = make_data(plan, fold)
sweep, dev = plan.sweep, data.dev
state, going = sweep.init(lanes, None), np.ones(12, bool)
minibatches = lanes.seed, np.zeros((12, 2, 4), np.int32)
for program, arguments in (
    (sweep.advance, (state, lanes, going, minibatches, 1, 0, data.train)),
    (sweep.score, (state, lanes, going, None, 1, dev)),
):
    compiled = program.lower(*arguments).compile()
    assert "num_partitions=4" in compiled.as_text()
    assert collectives(compiled) == []
print("none")
"""


def start(*arguments, code=(), environment=None):
    return subprocess.Popen(
        [sys.executable, *code, "experiments/sweep.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, said = process.communicate(timeout=300)
    return process.returncode, out, said


def succeed(*processes):
    ends = [finish(process) for process in processes]
    assert [status for status, *_ in ends] == [0] * len(ends), ends
    return [said for *_, said in ends]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return f"--compilation_cache={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory, cache):
    """The run on one device."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    succeed(start(*RUN, cache, f"--workdir={workdir}", "--mesh=single"))
    return workdir


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_four_devices_make_the_run_of_one(alone, cache, tmp_path, assert_same_runs):
    """12 lanes as 3 on each, against 12 one after another."""
    workdir = tmp_path / "run"
    succeed(start(*RUN, cache, f"--workdir={workdir}", code=("-c", FOUR_CORES)))
    devices = read_facts(workdir / "checkpoints" / "fixed")["provenance"]["provenance"]
    assert len(devices["devices"]) == 4
    assert_same_runs(workdir, alone)


def test_devices_have_nothing_to_say_to_each_other():
    """Neither reduction nor exchange is in the compiled epoch."""
    done = subprocess.run(
        [sys.executable, "-c", NO_COLLECTIVE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "none\n", done.stderr


def test_two_processes_make_the_run_of_one(
    alone, cache, tmp_path, port, assert_same_runs
):
    """They are found as SLURM would start them."""
    workdir = tmp_path / "run"
    job = {
        "JAX_COORDINATOR_PORT": str(port),
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
    }
    said = succeed(
        *(
            start(
                *(*RUN, cache, f"--workdir={workdir}", "--distributed"),
                environment={**job, "SLURM_PROCID": i, "SLURM_LOCALID": i},
            )
            for i in "01"
        )
    )
    assert "share 1/2" in said[0] and "share 2/2" in said[1]
    assert_same_runs(workdir, alone)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_a_peer_is_ended_by_a_signal(tmp_path, port, number):
    place = (f"--coordinator=localhost:{port}", "--processes=2", "--process=0")
    with start(*RUN, *place, f"--workdir={tmp_path / 'run'}") as process:
        assert "waits for the other processes" in process.stderr.readline()
        time.sleep(1.0)  # until it is in JAX
        process.send_signal(number)
        assert process.wait(timeout=20) == -number


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("localhost", 2, 0), "--coordinator=localhost: expected HOST:PORT"),
        ((":80", 2, 0), "--coordinator=:80: expected HOST:PORT"),
        (("host:port", 2, 0), "--coordinator=host:port: expected HOST:PORT"),
        (("host:70000", 2, 0), "--coordinator=host:70000: expected HOST:PORT"),
        (("host:80", None, 0), "needs --processes=n and --process=i"),
        (("host:80", 2, None), "needs --processes=n and --process=i"),
        (("host:80", 2, 2), "--process=2: expected 0 to 1"),
    ],
)
def test_what_names_no_job_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        join_hosts(*arguments, heartbeat=100)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--distributed",), "error: --distributed: JAX knows no job here"),
        (("--processes=2",), "error: --processes and --process need --coordinator"),
        (("--lanes=1/2", "--distributed"), "exclude each other"),
        (("--lanes=1/13",), "error: --lanes=1/13: there are only 12 lanes"),
    ],
)
def test_flags_that_make_no_sense_are_told(tmp_path, arguments, words):
    status, out, said = finish(start(*RUN, f"--workdir={tmp_path / 'run'}", *arguments))
    assert status == 1 and not out
    assert words in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


# ---- the long versions --------------------------------------------------------------


@pytest.fixture(scope="module")
def long_alone(tmp_path_factory, cache):
    """A run of two stages on one device."""
    workdir = tmp_path_factory.mktemp("alone") / "long"
    succeed(start(*LONG, cache, f"--workdir={workdir}", "--mesh=single"))
    return workdir


def start_all(workdir, port, processes, *flags):
    job = (f"--coordinator=localhost:{port}", f"--processes={processes}")
    return [
        start(*LONG, f"--workdir={workdir}", *job, f"--process={i}", *flags)
        for i in range(processes)
    ]


def wait_for_snapshots(processes, folders):
    """Waits until each of the folders has had a snapshot."""
    end, waiting = time.monotonic() + 200, set(folders)
    while waiting:
        waiting -= {folder for folder in waiting if any(folder.glob("[0-9]*"))}
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < end
        time.sleep(0.01)


def ends_of(processes):
    """Waits for the end of processes; returns statuses and what they said."""
    ends = [finish(process) for process in processes]
    return [status for status, *_ in ends], [said for *_, said in ends]


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "left"), [(2, 2), (0, 1)])
def test_a_killed_peer_ends_the_others_and_fewer_go_on(
    long_alone, cache, tmp_path, port, assert_same_runs, victim, left
):
    """Four processes, one of them killed; then two, or one that needs no flags."""
    workdir, heartbeat = tmp_path / "run", 10
    processes = start_all(workdir, port, 4, cache, f"--heartbeat={heartbeat}")
    stages = [
        workdir / "shares" / f"{i + 1}-of-4" / "snapshots" / "fixed" / "settings"
        for i in range(4)
    ]
    wait_for_snapshots(processes, stages)
    processes[victim].kill()
    begin = time.monotonic()
    statuses, _ = ends_of(processes)
    assert time.monotonic() - begin < heartbeat + 5
    assert statuses.pop(victim) == -signal.SIGKILL
    assert statuses == [-signal.SIGABRT] * 3
    saved = [path for stage in stages for path in stage.glob("[0-9]*")]
    assert saved and all(read_arrays(path) for path in saved)  # whole, or refused
    if left == 1:
        again = [start(*LONG, cache, f"--workdir={workdir}", "--resume")]
    else:
        again = start_all(workdir, port, left, cache, "--resume")
    said = succeed(*again)
    assert "share 1/4" in said[0] and "goes on from" in said[0]
    assert "share 3/4" in said[0] and ("share 4/4" in said[-1])
    assert_same_runs(workdir, long_alone)


@pytest.mark.slow
def test_a_peer_that_fails_ends_at_once_and_the_others_after_it(tmp_path, cache, port):
    workdir = tmp_path / "run"
    (workdir / "shares" / "2-of-2" / "notes").mkdir(parents=True)
    first, second = start_all(workdir, port, 2, cache, "--heartbeat=10")
    status, _, said = finish(second)
    begin = time.monotonic()
    assert status == 1 and "2-of-2: there is something already" in said
    assert "Traceback" not in said
    assert finish(first)[0] == -signal.SIGABRT
    assert time.monotonic() - begin < 15


@pytest.mark.slow
def test_more_processes_than_lanes_have_nothing_to_do(
    tmp_path, cache, port, assert_same_runs
):
    """They are found as Open MPI would start them."""
    workdir = tmp_path / "run"
    succeed(start(*FEW, cache, f"--workdir={tmp_path / 'alone'}", "--mesh=single"))
    job = {
        "JAX_COORDINATOR_PORT": str(port),
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "4",
    }
    said = succeed(
        *(
            start(
                *(*FEW, cache, f"--workdir={workdir}", "--distributed"),
                environment={
                    **job,
                    "OMPI_COMM_WORLD_RANK": i,
                    "OMPI_COMM_WORLD_LOCAL_RANK": i,
                },
            )
            for i in "0123"
        )
    )
    assert "process 3 of 4 has nothing to do: the run is split into 2 shares" in said[3]
    assert_same_runs(workdir, tmp_path / "alone")
