"""Contestants: processes that train an epoch of all lanes on request.

Each has its own processes, so that threads and memory do not interfere, and only one
works at a time.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence, Set
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from machine import list_cores

# Given its arguments, prepares everything and returns what runs one epoch.
MakeEpoch = Callable[..., Callable[[], None]]


class Took(NamedTuple):
    """The time of an epoch.

    Attributes:
      wall: [s].
      processor: [s], over all cores; on a shared machine it is more reliable than wall,
        except for threads that wait by spinning.
    """

    wall: float
    processor: float


def _serve(
    connection: Connection, make_epoch: MakeEpoch, arguments: Any, cores: Set[int]
) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    epoch = make_epoch(*arguments)
    connection.send(None)
    while connection.recv():
        begin = time.process_time()
        epoch()
        connection.send(time.process_time() - begin)
    connection.send(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


class Contestant:
    """A contestant, with one process per entry of `arguments`.

    A single process may use every core; of several each is kept to a core of its own.

    Args:
      name: name in the table.
      make_epoch: importable function, called in each process with its arguments.
      arguments: arguments of each process.
      limit: for their preparation [s].
    """

    def __init__(
        self,
        name: str,
        make_epoch: MakeEpoch,
        arguments: Sequence[tuple[Any, ...]],
        limit: float | None = None,
    ) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connections, self._processes = [], []
        cores = list_cores()
        for i, entry in enumerate(arguments):
            ours, theirs = context.Pipe()
            mine = {cores[i]} if len(arguments) > 1 else set(cores)
            task = (theirs, make_epoch, entry, mine)
            process = context.Process(target=_serve, args=task, daemon=True)
            process.start()
            self._processes.append(process)
            self._connections.append(ours)
        self._answers(limit)

    def _answers(self, limit: float | None = None) -> list[Any]:
        for connection in self._connections:
            if limit is not None and not connection.poll(limit):
                for process in self._processes:
                    process.kill()
                raise TimeoutError(f"{self.name}: no answer in {limit:.0f} s")
        return [connection.recv() for connection in self._connections]

    def run(self, limit: float | None = None) -> Took:
        """Trains one epoch of all lanes, within a limit [s] if there is one."""
        begin = time.perf_counter()
        for connection in self._connections:
            connection.send(True)
        processor = sum(self._answers(limit))
        return Took(time.perf_counter() - begin, processor)

    def close(self) -> int:
        """Ends the processes; returns the peak of their memory [byte]."""
        for connection in self._connections:
            connection.send(False)
        return sum(self._answers())
