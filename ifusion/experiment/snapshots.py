"""Saves snapshots of a training stage in the background, and reads them again."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from ifusion.experiment.signals import DeferSignals
from ifusion.lanes import LaneArrays
from ifusion.storage import (
    make_folder,
    read_arrays,
    read_facts,
    remove_folder,
    write_folder,
)
from ifusion.terminal import note
from ifusion.training.loop import Snapshot
from ifusion.training.snapshot import restore_snapshot, snapshot_arrays
from ifusion.training.sweep import Sweep

FORMAT = 3


class Snapshots:
    """The snapshots of a stage, each a numbered folder.

    A snapshot gets its name only once it is on disk. While this context is open, Ctrl-C
    and SIGTERM wait for the end of an epoch, which is then saved.

    Attributes:
      before: how long earlier starts trained, up to the newest snapshot [s].
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, str],
        trains: Mapping[str, Any],
        every: float,
        keep: int,
    ) -> None:
        """Finds existing snapshots.

        Args:
          folder: folder of the stage; created if missing.
          identity: identity of run and fold, see `ifusion.storage.read_facts`.
          trains: program and lanes, for JSON; snapshots of others are refused.
          every: time between snapshots [s].
          keep: how many to keep.
        """
        make_folder(folder)
        self._folder, self._identity = folder, dict(identity)
        self._trains = dict(trains)
        self._every, self._keep = every, keep
        self._number = max((int(p.name) for p in _numbered(folder)), default=0)
        self._good: list[Path] = []
        self._begun = self._started = time.monotonic()
        self.before = 0.0
        self._signals = DeferSignals()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    @property
    def seconds(self) -> float:
        """How long the stage has been trained, by earlier starts too [s]."""
        return self.before + time.monotonic() - self._started

    def newest(
        self, sweep: Sweep, lanes: LaneArrays, init_data: Any
    ) -> Snapshot | None:
        """Reads the newest undamaged snapshot, or returns None.

        Prints a note about each damaged one.
        """
        there = _numbered(self._folder)
        for path in reversed(there):
            try:
                snapshot = self._read(path, sweep, lanes, init_data)
            except ValueError as error:
                note(f"{error}; skipped")
                continue
            self._good = [path]
            note(f"continuing from {path}")
            return snapshot
        if there:
            note(f"{self._folder}: no usable snapshot; training starts over")
        return None

    def offer(self, take: Callable[[], Snapshot]) -> None:
        """Takes a snapshot if one is due; stops the program after a signal.

        Raises:
          OSError: if the previous snapshot could not be written.
          Stopped: if a signal came; the epoch is saved.
        """
        if self._signals.received:
            snapshot = take()
            self._wait()
            self._write(snapshot)
            self._signals.stop(
                f"stopped after epoch {snapshot.epoch}, which is saved; pass --resume "
                "to continue"
            )
        if self._writing is not None and self._writing.done():
            self._wait()
        due = time.monotonic() - self._begun >= self._every
        if due and self._writing is None:
            self._begun = time.monotonic()
            self._writing = self._writer.submit(self._write, take())

    def clear(self) -> None:
        """Removes all snapshots, once the trained lanes are saved."""
        self._wait()
        for path in _numbered(self._folder):
            remove_folder(path)

    def __enter__(self) -> Self:
        """Starts to defer Ctrl-C and SIGTERM."""
        self._signals.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Waits for the snapshot that is being written."""
        try:
            self._writer.shutdown()
            if error is None:
                self._wait()
        finally:
            self._signals.__exit__(kind, error, trace)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, snapshot: Snapshot) -> None:
        self._number += 1
        path = self._folder / str(self._number)
        facts = {
            "format": FORMAT,
            "finished": snapshot.finished,
            "epoch": snapshot.epoch,
            "seconds": self.seconds,
            "identity": self._identity,
            **self._trains,
        }
        write_folder(path, snapshot_arrays(snapshot), facts)
        self._good = [*self._good, path][-self._keep :]
        for other in _numbered(self._folder):
            if other not in self._good:
                remove_folder(other)

    def _read(
        self, path: Path, sweep: Sweep, lanes: LaneArrays, init_data: Any
    ) -> Snapshot:
        facts = read_facts(path, self._identity)
        if facts.get("format") != FORMAT:
            raise ValueError(f"{path}: not a snapshot of format {FORMAT}")
        if any(facts.get(name) != value for name, value in self._trains.items()):
            raise ValueError(f"{path}: a snapshot of other lanes")
        try:
            snapshot = restore_snapshot(
                read_arrays(path),
                facts["finished"],
                facts["epoch"],
                sweep,
                lanes,
                init_data,
            )
            self.before = float(facts.get("seconds", 0))  # not in earlier versions
            return snapshot
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def _numbered(folder: Path) -> list[Path]:
    """Lists snapshots, the oldest first."""
    there = folder.iterdir() if folder.is_dir() else ()
    named = [path for path in there if path.name.isdigit()]
    return sorted(named, key=lambda path: int(path.name))
