"""Where a program runs: the devices of this host, and the hosts beside it.

Hosts share the work, never a computation: each runs programs on its own devices alone.
They learn of each other by `jax.distributed` in order to know who does what, to wait
for each other at the end, and to end together where one of them dies.
"""

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jax.sharding import Mesh

WAIT = 365 * 24 * 3600  # [s] that a host waits for those that still train


class Host(NamedTuple):
    """A process among others.

    Attributes:
      process: number of this one, counted from 0.
      processes: how many there are.
    """

    process: int
    processes: int


ALONE = Host(0, 1)


def lane_mesh(single: bool = False) -> "Mesh":
    """Lays out the devices of this host, or the first of them, for lanes."""
    import jax
    import numpy as np

    devices = jax.local_devices()
    return jax.sharding.Mesh(np.array(devices[:1] if single else devices), ("lanes",))


def join_hosts(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    heartbeat: int,
) -> Host:
    """Joins the processes of a job; on return all are there.

    Must come before the first computation. From then on, all end once one has not been
    heard of for the time of a heartbeat.

    Args:
      coordinator: HOST:PORT that process 0 opens and the others reach; found out from
        SLURM, Open MPI, Kubernetes or whatever else JAX knows where it is None, and so
        are the others.
      processes: how many there are.
      process: number of this one, counted from 0.
      heartbeat: [s].

    Raises:
      ValueError: no job is found, or its processes do not find each other.
    """
    import jax

    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise ValueError(f"--coordinator={coordinator}: expected HOST:PORT")
        if processes is None or process is None:
            raise ValueError("--coordinator needs --processes=n and --process=i")
        if not 0 <= process < processes:
            raise ValueError(
                f"--process={process}: expected 0 to {processes - 1}, for there are "
                f"{processes} processes"
            )
    # else its handler of SIGTERM takes the place of that which saves first
    jax.config.update("jax_enable_preemption_service", False)
    # JAX ends processes by SIGABRT, which is no matter of where in Python they are
    faulthandler.disable()
    print("waits for the other processes of this job", file=sys.stderr)
    try:
        with _ended_by_signals():
            jax.distributed.initialize(
                coordinator,
                processes,
                process,
                heartbeat_timeout_seconds=heartbeat,
                shutdown_timeout_seconds=WAIT,
            )
        return Host(jax.process_index(), jax.process_count())
    except (ValueError, TypeError) as error:
        raise ValueError(
            "--distributed: JAX knows no job here that this process is part of "
            f"({error}); name it by --coordinator=HOST:PORT, --processes=n and "
            "--process=i"
        ) from None
    except RuntimeError as error:
        raise ValueError(
            f"the processes do not find each other: {str(error).partition(chr(10))[0]}"
        ) from None


def wait_for_hosts() -> None:
    """Waits until all processes have come this far, then parts from them."""
    import jax

    with _ended_by_signals():
        jax.distributed.shutdown()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the process itself, as JAX waits outside of Python.

    There is nothing to save then.
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
    """Lets a program that fails among others end at once, and them soon after.

    JAX would wait at exit until they have done their work.
    """
    try:
        yield
    except BaseException as error:
        jax = sys.modules.get("jax")
        if jax is None or not jax.distributed.is_initialized():
            raise
        status = 1
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else 1
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
