"""Runs that are stopped, killed and damaged, against one that nothing interrupts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from replay import replay_lane

from ifusion.storage import read_arrays, read_facts, write_folder

ROOT = Path(__file__).resolve().parents[2]
RUN = (  # settings are chosen first: two stages, of 300 epochs each
    "--config=configs/synthetic.py",
    "--config.corpus.recordings=(60,30,30)",
    "--config.corpus.speakers=12",
    "--config.training.epochs=300",
    "--config.training.patience=300",
    "--config.model.hidden_size=8",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.l2=(0.0,0.05)",
    "--config.sweep.save_every_seconds=0",
    "--config.evaluation.resamples=50",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(cache):
    """Starts the program, with SIGINT and SIGTERM as a terminal leaves them."""
    heed = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    started = []

    def begin(*arguments):
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", heed, "experiments/sweep.py"),
                *map(str, arguments),
                f"--compilation_cache={cache}",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    def finish(*arguments):
        process = start(*arguments)
        out, said = process.communicate(timeout=300)
        return process.returncode, out, said

    return finish


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(
        [
            *(sys.executable, "experiments/sweep.py", *RUN),
            *(f"--workdir={workdir}", f"--compilation_cache={cache}"),
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=300,
    )
    return workdir


def wait_for(process, workdir, stage, number):
    """Waits until a stage has saved so many snapshots."""
    folder, end = workdir / "snapshots" / "fixed" / stage, time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if any(int(p.name) >= number for p in folder.glob("[0-9]*")):
            return folder
        time.sleep(0.002)
    pytest.fail(f"no snapshot {number} of {stage}: {process.communicate()}")


def test_a_run_that_was_killed_goes_on_bit_for_bit(
    start, run, undisturbed, tmp_path, assert_same_runs
):
    """Killed in both stages, by kill -9, and in between while another may not come."""
    workdir = tmp_path / "run"
    first = start(*RUN, f"--workdir={workdir}")
    wait_for(first, workdir, "settings", 1)
    first.send_signal(signal.SIGSTOP)  # or it would be in its second stage by then
    assert run(*RUN, f"--workdir={workdir}", "--resume")[::2] == (
        1,
        f"error: {workdir}: another program is writing to this run; wait for it, or "
        "choose another directory\n",
    )
    first.kill()
    first.wait()
    left = workdir / ".scores.csv.1.part"
    left.write_text("half")
    second = start(*RUN, f"--workdir={workdir}", "--resume")
    folder = wait_for(second, workdir, "grid", 1)
    second.kill()
    assert f"goes on from {folder.parent / 'settings'}" in second.communicate()[1]
    assert not left.exists()
    status, _, said = run(*RUN, f"--workdir={workdir}", "--resume")
    assert status == 0, said
    assert said.count("goes on from") == 2
    assert_same_runs(workdir, undisturbed)


def test_a_run_that_was_stopped_and_damaged_goes_on_bit_for_bit(
    start, run, undisturbed, tmp_path, assert_same_runs
):
    workdir = tmp_path / "run"
    first = start(*RUN, f"--workdir={workdir}")
    folder = wait_for(first, workdir, "grid", 2)
    first.send_signal(signal.SIGTERM)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == 143
    last = said.splitlines()[-1]
    assert last.startswith("error: stopped after epoch ") and "--resume goes on" in last
    assert "Traceback" not in said
    *_, before, newest = sorted(folder.iterdir(), key=lambda path: int(path.name))
    assert f"after epoch {read_facts(newest)['epoch']}," in last
    path = newest / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    status, _, said = run(*RUN, f"--workdir={workdir}", "--resume")
    assert status == 0, said
    assert f"note: {newest}: arrays.safetensors cannot be read" in said
    assert f"goes on from {before}" in said
    assert_same_runs(workdir, undisturbed)


# ---- a lane trained again -----------------------------------------------------------

LANE = "--replay-lane=main=audio,alpha=0.5,seed=1"


@pytest.mark.parametrize("alpha", ["0.5", "0"])
def test_a_lane_is_replayed_bit_for_bit(run, undisturbed, alpha):
    lane = f"main=audio,alpha={alpha},seed=1"
    status, out, said = run(f"--replay-lane={lane}", f"--workdir={undisturbed}")
    assert status == 0, said
    named = f"main=audio,alpha={float(alpha)},seed=1,target=emotion"
    assert out.startswith(f"{named}: trained again for 300 epochs; all ")
    assert out.endswith(f"are those in {undisturbed}/checkpoints/fixed, bit for bit\n")


@pytest.mark.slow
def test_a_lane_is_replayed_of_a_run_that_was_killed(start, run, tmp_path):
    workdir = tmp_path / "run"
    process = start(*RUN, f"--workdir={workdir}")
    wait_for(process, workdir, "settings", 1)
    process.kill()
    process.wait()
    status, _, said = run(LANE, f"--workdir={workdir}")
    assert status == 1 and "the settings of lanes are not chosen yet" in said
    process = start(*RUN, f"--workdir={workdir}", "--resume")
    folder = wait_for(process, workdir, "grid", 1)
    process.kill()
    process.wait()
    newest = max(folder.glob("[0-9]*"), key=lambda path: int(path.name))
    epoch = read_facts(newest)["epoch"]
    status, out, said = run(LANE, f"--workdir={workdir}")
    assert status == 0, said
    assert f"trained again for {epoch} epochs" in out and f"in {newest}, bit" in out


def test_a_lane_that_differs_is_told(run, undisturbed, tmp_path):
    workdir = Path(shutil.copytree(undisturbed, tmp_path / "copy"))
    folder = workdir / "checkpoints" / "fixed"
    arrays, facts = read_arrays(folder), read_facts(folder)
    lane = facts["lanes"].index(
        next(x for x in facts["lanes"] if x["alpha"] == 0.5 and x["seed"] == 1)
    )
    bias = arrays["params/output/bias"]
    bias[lane, 0] = np.nextafter(bias[lane, 0], np.float32(np.inf))
    shutil.rmtree(folder)
    write_folder(folder, arrays, facts)
    status, out, said = run(LANE, f"--workdir={workdir}")
    assert status == 1 and not out
    assert "1 of " in said and "state/best_params/output/bias" in said


@pytest.mark.parametrize(
    ("lane", "words"),
    [
        ("main=audio,alpha=0.7,seed=1", "no lane of main 'audio', alpha 0.7 and seed"),
        ("main=audio,alpha=0.5,seed=1,fold=7", "fold is '7'; expected one of fixed"),
        ("main=audio,alpha=0,seed=1,target=x", "target is 'x'; expected one of emoti"),
    ],
)
def test_a_lane_that_is_not_there_is_told(undisturbed, mesh, lane, words):
    with pytest.raises(ValueError, match=words):
        replay_lane(undisturbed, lane, mesh)


def test_a_config_does_not_go_with_a_replay(run, undisturbed):
    status, _, said = run(LANE, RUN[0], f"--workdir={undisturbed}")
    assert status == 1 and "omit --config" in said


# ---- damage of what is finished -----------------------------------------------------


def test_a_damaged_checkpoint_is_refused_by_its_name(run, undisturbed, tmp_path):
    workdir = Path(shutil.copytree(undisturbed, tmp_path / "copy"))
    folder = workdir / "checkpoints" / "fixed"
    path = folder / "arrays.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.write_bytes(data)
    status, _, said = run(*RUN, f"--workdir={workdir}", "--resume")
    assert status == 1
    assert f"error: {folder}: the array" in said and "trains the fold again" in said


# ---- the long versions --------------------------------------------------------------


def benchmark(*arguments):
    return subprocess.run(
        [sys.executable, "benchmarks/reliability.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("work", ["kills --count=20", "damage --count=600"])
def test_nothing_is_torn_lost_or_silent(work):
    done = benchmark(*work.split())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
def test_a_run_outlives_its_disk():
    done = benchmark("faults")
    if "must be superuser" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("mounting is not allowed")
    assert done.returncode == 0, done.stdout + done.stderr
