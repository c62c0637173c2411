"""Lanes over several devices and processes, against the same run on one device."""

import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
from starting import SMALL, begin

from ifusion.experiment.hosts import join_hosts, not_waiting_for_hosts

RUN = (
    *SMALL,
    "--config.sweep.save_every_seconds=0",
    "--config.training.epochs=8",
    "--config.sweep.seeds=(0,1,2)",
    "--config.sweep.l2=(0.0,0.05)",
)
FOUR_CORES = (  # of which JAX makes four devices
    "import os, runpy, sys; os.sched_getaffinity = lambda process: range(4); "
    "sys.argv = sys.argv[1:]; sys.path.insert(0, 'experiments'); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def start(*flags, **environment):
    return begin("experiments/sweep.py", *flags, **environment)


def finish(*processes):
    ends = [(p.communicate(timeout=600), p.returncode) for p in processes]
    assert [status for _, status in ends] == [0] * len(ends), ends
    return [said for (_, said), _ in ends]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run on one device."""
    run = tmp_path_factory.mktemp("alone") / "run"
    finish(start(*RUN, f"--workdir={run}", "--mesh=single"))
    return run


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def speak_http(port, peers):
    """Lets strangers speak another protocol to a job until it ends."""
    strangers = []
    while all(peer.poll() is None for peer in peers):
        with suppress(OSError):  # before the port is opened
            strangers.append(socket.create_connection(("localhost", port), timeout=5))
            strangers[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        time.sleep(0.5)
    for stranger in strangers:
        stranger.close()
    assert strangers


@pytest.mark.slow
def test_four_devices_make_the_run_of_one(alone, tmp_path, assert_same_runs):
    run = tmp_path / "run"
    finish(begin("-c", FOUR_CORES, "experiments/sweep.py", *RUN, f"--workdir={run}"))
    assert_same_runs(run, alone)


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(alone, tmp_path, port, assert_same_runs):
    """They are found as SLURM would start them."""
    run = tmp_path / "run"
    job = {
        "JAX_COORDINATOR_PORT": str(port),
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
    }
    environments = [{**job, "SLURM_PROCID": i, "SLURM_LOCALID": i} for i in "01"]
    flags = (*RUN, f"--workdir={run}", "--distributed")
    peers = [start(*flags, **e) for e in environments]
    speak_http(port, peers)
    said = finish(*peers)
    assert "share 1/2" in said[0] and "share 2/2" in said[1]
    assert_same_runs(run, alone)


@pytest.mark.slow
def test_a_killed_peer_ends_the_others_and_fewer_go_on(
    tmp_path, port, assert_same_runs
):
    """Three processes, one of them killed; then one, which needs no flags."""
    long = (*RUN, "--config.training.epochs=300", "--config.training.patience=300")
    finish(start(*long, f"--workdir={tmp_path / 'alone'}", "--mesh=single"))
    run, heartbeat = tmp_path / "run", 10
    job = (f"--coordinator=localhost:{port}", "--processes=3")
    flags = (*long, f"--workdir={run}", *job, f"--heartbeat={heartbeat}")
    peers = [start(*flags, f"--process={i}") for i in range(3)]
    end = time.monotonic() + 300
    while not any(run.glob("shares/3-of-3/stages/*/*/*/[0-9]*")):
        assert time.monotonic() < end and all(p.poll() is None for p in peers)
        time.sleep(0.01)
    peers[2].kill()
    begin = time.monotonic()
    statuses = [(peer.communicate(), peer.returncode)[1] for peer in peers]
    assert time.monotonic() - begin < 2 * heartbeat
    assert statuses[2] == -signal.SIGKILL and 0 not in statuses
    (said,) = finish(start(*long, f"--workdir={run}", "--resume"))
    assert "share 3/3" in said  # the others may have ended before they noticed
    assert_same_runs(run, tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_for_a_peer_is_ended_by_a_signal(tmp_path, port, number):
    place = (f"--coordinator=localhost:{port}", "--processes=2", "--process=0")
    with start(*RUN, *place, f"--workdir={tmp_path / 'run'}") as process:
        assert "waiting for the other processes" in process.stderr.readline()
        time.sleep(2.0)  # until it is in JAX
        process.send_signal(number)
        assert process.wait(timeout=60) == -number


def listening(port):
    """Addresses that are listened at, as the kernel writes them: 0100007F is local."""
    found = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        places = [line.split()[1].split(":") for line in lines if " 0A " in line]
        found += [address for address, number in places if int(number, 16) == port]
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table")
def test_the_program_opens_the_address_that_is_named(tmp_path, port):
    flags = (*RUN, f"--workdir={tmp_path / 'run'}", "--processes=2", "--process=0")
    with start(*flags, f"--coordinator=127.0.0.1:{port}") as process:
        try:
            assert "waiting for the other processes" in process.stderr.readline()
            end, found = time.monotonic() + 100, []
            while not found and time.monotonic() < end:
                time.sleep(0.05)
                found = listening(port)
            assert len(found) == 1 and found[0].endswith("0100007F")  # or mapped to v6
        finally:
            process.kill()


@pytest.fixture
def joined(monkeypatch):
    """What JAX is asked for, instead of a job."""
    asked = {}
    monkeypatch.setattr("jax.distributed.initialize", lambda *_, **x: asked.update(x))
    return asked


@pytest.mark.parametrize(
    ("error", "status"),
    [(SystemExit(), 0), (SystemExit(130), 130), (SystemExit("no"), 1), (OSError(), 1)],
)
def test_a_process_leaves_its_job_with_its_status(monkeypatch, error, status):
    """At once: JAX would wait for the others, also in a job of one process."""
    monkeypatch.setattr("jax.distributed.is_initialized", lambda: True)
    statuses = []
    monkeypatch.setattr("os._exit", statuses.append)
    with not_waiting_for_hosts():
        raise error
    assert statuses == [status]


def test_only_the_address_that_is_named_is_opened(port, joined):
    place = f"127.0.0.1:{port}"
    join_hosts(place, 2, 0, heartbeat=100)
    assert joined["coordinator_bind_address"] == place


def test_a_port_in_use_is_told_before_the_start(port, joined):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ValueError, match=r"cannot listen there \(Address already"):
            join_hosts(f"127.0.0.1:{port}", 2, 0, heartbeat=100)
    with pytest.raises(ValueError, match=r"cannot listen there \(Cannot assign"):
        join_hosts(f"192.0.2.1:{port}", 2, 0, heartbeat=100)
    assert not joined


def test_a_first_process_that_never_comes_is_told(port, joined, monkeypatch):
    monkeypatch.setattr("ifusion.experiment.hosts.MEET", 0)
    with pytest.raises(ValueError, match=r"process 0 of the job does not answer"):
        join_hosts(f"127.0.0.1:{port}", 2, 1, heartbeat=100)
    assert not joined


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
