"""Joins the processes of a job, and waits for them at the end.

Processes share the work, never a computation: each runs programs on its own devices.
`jax.distributed` numbers them, lets them wait for each other, and ends all if one dies.
"""

import faulthandler
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import NamedTuple

from ifusion.terminal import note, say

MEET = 300  # [s] for all to join
WAIT = 365 * 24 * 3600  # [s] for all to finish


class Host(NamedTuple):
    """One of `processes` processes, number `process`, counted from 0."""

    process: int
    processes: int


ALONE = Host(0, 1)


def join_hosts(
    coordinator: str | None, processes: int | None, process: int | None, heartbeat: int
) -> Host:
    """Joins the processes of a job; returns once all have joined.

    Call it before the first computation. From then on, all processes end if one is
    silent for `heartbeat` seconds.

    Args:
      coordinator: HOST:PORT that process 0 listens on, at that address only, and the
        others connect to; None lets JAX get it and the next two from SLURM, Open MPI or
        Kubernetes.
      processes: number of processes.
      process: number of this one, counted from 0.
      heartbeat: [s].

    Raises:
      ValueError: if there is no job, the port cannot be opened, or the processes do not
        find each other.
    """
    import jax

    if coordinator is not None:
        address = _read_address(coordinator)
        if processes is None or process is None:
            raise ValueError("--coordinator needs --processes=n and --process=i")
        if not 0 <= process < processes:
            raise ValueError(f"--process={process}: expected 0 to {processes - 1}")
        if process == 0:
            _require_free(coordinator, address)
    # its handler of SIGTERM would replace the one that saves first
    jax.config.update("jax_enable_preemption_service", False)
    # JAX ends processes by SIGABRT; a dump of Python's stack would only distract
    faulthandler.disable()
    say("waiting for the other processes of this job")
    if coordinator is not None and process:
        _reach(coordinator, address)
    try:
        with _warned_when_late(), _ended_by_signals():
            jax.distributed.initialize(
                coordinator,
                processes,
                process,
                heartbeat_timeout_seconds=heartbeat,
                initialization_timeout=MEET,
                shutdown_timeout_seconds=WAIT,
                coordinator_bind_address=coordinator,
            )
        here = Host(jax.process_index(), jax.process_count())
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"--distributed: JAX finds no job that this process is part of ({error}); "
            "name it with --coordinator=HOST:PORT, --processes=n and --process=i"
        ) from None
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the processes cannot reach each other: {reason}") from None
    note(
        f"process {here.process} of {here.processes} has joined the job; if others are "
        "lost, JAX ends it and lists their numbers as unhealthy tasks"
    )
    return here


def _read_address(coordinator: str) -> tuple[str, int]:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"--coordinator={coordinator}: expected HOST:PORT, PORT 1 to 65535"
        )
    return host.strip("[]"), int(port)


def _require_free(coordinator: str, place: tuple[str, int]) -> None:
    """Checks that a port can be opened, with a clearer error than JAX's."""
    try:
        found = socket.getaddrinfo(place[0], place[1], type=socket.SOCK_STREAM)
        kind, *_, address = found[0]
        with socket.socket(kind, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        raise ValueError(
            f"--coordinator={coordinator}: process 0 cannot listen there "
            f"({error.strerror}); name an address of its machine and a free port"
        ) from None


def _reach(coordinator: str, place: tuple[str, int]) -> None:
    """Waits until process 0 listens; JAX would end this process instead."""
    end = time.monotonic() + MEET
    while True:
        try:
            socket.create_connection(place, timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise ValueError(
                    f"--coordinator={coordinator}: process 0 of the job does not "
                    f"answer ({error})"
                ) from None
            time.sleep(0.5)


def wait_for_hosts() -> None:
    """Waits until all processes have finished, then leaves the job."""
    import jax

    with _ended_by_signals():
        jax.distributed.shutdown()


@contextmanager
def _warned_when_late() -> Iterator[None]:
    """Says so shortly before JAX ends a process that waits in vain."""
    missing = f"not all processes of this job have joined within {MEET} s"
    late = Timer(MEET - 5, note, [missing])
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the process at once, since JAX waits outside Python.

    There is nothing to save at that point.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


@contextmanager
def not_waiting_for_hosts() -> Iterator[None]:
    """Lets a process that fails end at once, and the others soon after.

    Otherwise JAX would wait at exit until the others have finished.
    """
    try:
        yield
    except BaseException as error:
        jax = sys.modules.get("jax")
        if jax is None or not jax.distributed.is_initialized():
            raise
        status = 1
        if isinstance(error, SystemExit):  # its code is None after success
            status = (
                error.code if isinstance(error.code, int) else int(bool(error.code))
            )
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
