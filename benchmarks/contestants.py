"""Contestants: processes that train an epoch of all lanes on request.

Each has its own processes, so that threads and memory do not interfere, and only one
works at a time.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

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


def _serve(connection: Connection, make_epoch: MakeEpoch, arguments: Any) -> None:
    epoch = make_epoch(*arguments)
    connection.send(None)
    while connection.recv():
        begin = time.process_time()
        epoch()
        connection.send(time.process_time() - begin)
    connection.send(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


class Contestant:
    """A contestant, with one process per entry of `arguments`.

    Args:
      name: name in the table.
      make_epoch: importable function, called in each process with its arguments.
      arguments: arguments of each process.
    """

    def __init__(
        self, name: str, make_epoch: MakeEpoch, arguments: Sequence[tuple[Any, ...]]
    ) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connections = []
        for entry in arguments:
            ours, theirs = context.Pipe()
            task = (theirs, make_epoch, entry)
            context.Process(target=_serve, args=task, daemon=True).start()
            self._connections.append(ours)
        self._answers()

    def _answers(self) -> list[Any]:
        return [connection.recv() for connection in self._connections]

    def run(self) -> Took:
        """Trains one epoch of all lanes."""
        begin = time.perf_counter()
        for connection in self._connections:
            connection.send(True)
        processor = sum(self._answers())
        return Took(time.perf_counter() - begin, processor)

    def close(self) -> int:
        """Ends the processes; returns the peak of their memory [byte]."""
        for connection in self._connections:
            connection.send(False)
        return sum(self._answers())
