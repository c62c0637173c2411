"""Snapshots of training: saved in the background, and found again afterwards."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from files import CONFIG, SNAPSHOTS
from ml_collections import ConfigDict

from ifusion.reporting.run import read_json
from ifusion.storage import (
    make_folder,
    read_arrays,
    read_facts,
    remove_folder,
    write_folder,
)
from ifusion.training.lanes import Lane, LaneArrays
from ifusion.training.loop import Snapshot
from ifusion.training.snapshot import restore_snapshot, snapshot_arrays
from ifusion.training.sweep import Sweep
from launch import PutOff

FORMAT = 1


class Snapshots:
    """The snapshots of a stage, each a folder whose name is its number.

    A snapshot has its name only once it is on the disk. While this is open, Ctrl-C and
    SIGTERM are put off to the end of an epoch, which is then saved.
    """

    def __init__(
        self,
        folder: Path,
        lanes: Sequence[Lane],
        provenance: Mapping[str, Any],
        every: float,
        keep: int,
    ) -> None:
        """Finds what is there.

        Args:
          folder: of this stage; made where it is missing.
          lanes: of this stage.
          provenance: versions and configuration, kept as they are.
          every: [s] between two snapshots.
          keep: how many stay.
        """
        make_folder(folder)
        self._folder, self._every, self._keep = folder, every, keep
        self._lanes = lanes
        self._provenance = provenance
        self._number = max((int(p.name) for p in _numbered(folder)), default=0)
        self._good: list[Path] = []
        self._begun = time.monotonic()
        self._signals = PutOff()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def newest(self, sweep: Sweep, lanes: LaneArrays) -> Snapshot | None:
        """Reads the newest snapshot that is whole, and says which; None without one.

        Args:
          sweep: the program that is to go on.
          lanes: those of this stage, as it takes them.
        """
        found = newest_snapshot(self._folder, self._lanes, sweep, lanes)
        if found is None:
            return None
        self._good = [found.path]
        print(f"note: goes on from {found.path}", file=sys.stderr)
        return found.snapshot

    def offer(self, take: Callable[[], Snapshot]) -> None:
        """Takes a snapshot if one is due, and ends the program if it is to end.

        Raises:
          OSError: the last one could not be written.
          Stopped: it was asked for; what there is has been saved.
        """
        if self._signals.asked:
            snapshot = take()
            self.save(snapshot)
            self._signals.stop(
                f"stopped after epoch {snapshot.epoch}, which is saved; the same "
                "command with --resume goes on"
            )
        if self._writing is not None and self._writing.done():
            self._wait()
        due = time.monotonic() - self._begun >= self._every
        if due and self._writing is None:
            self._begun = time.monotonic()
            self._writing = self._writer.submit(self._write, take())

    def save(self, snapshot: Snapshot) -> None:
        """Saves a snapshot; on return it is on the disk.

        Raises:
          OSError: it, or the one before, could not be written.
        """
        self._wait()
        self._writing = self._writer.submit(self._write, snapshot)
        self._wait()

    def __enter__(self) -> Self:
        """Puts off Ctrl-C and SIGTERM."""
        self._signals.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for what is being written."""
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
            "lanes": [asdict(lane) for lane in self._lanes],
            "provenance": dict(self._provenance),
        }
        write_folder(path, snapshot_arrays(snapshot), facts)
        self._good = [*self._good, path][-self._keep :]
        for other in _numbered(self._folder):
            if other not in self._good:
                remove_folder(other)


class Found(NamedTuple):
    """A snapshot, and where it was found."""

    path: Path
    snapshot: Snapshot


def newest_snapshot(
    folder: Path, lanes: Sequence[Lane], sweep: Sweep, arrays: LaneArrays
) -> Found | None:
    """Reads the newest snapshot of a stage that is whole; None without one.

    Those that are not are named and left out.

    Args:
      folder: of the stage, which need not exist.
      lanes: of the stage.
      sweep: the program that is to go on.
      arrays: the lanes, as it takes them.
    """
    there = _numbered(folder)
    for path in reversed(there):
        try:
            return Found(path, _read(path, lanes, sweep, arrays))
        except ValueError as error:
            print(f"note: {error}; it is left out", file=sys.stderr)
    if there:
        print(f"note: {folder}: there is no other; begins anew", file=sys.stderr)
    return None


def _read(
    path: Path, lanes: Sequence[Lane], sweep: Sweep, arrays: LaneArrays
) -> Snapshot:
    facts = read_facts(path)
    if facts.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a snapshot of format {FORMAT}")
    if facts["lanes"] != [asdict(lane) for lane in lanes]:
        raise ValueError(f"{path}: a snapshot of other lanes")
    stored, counts = read_arrays(path), (facts["finished"], facts["epoch"])
    try:
        return restore_snapshot(stored, *counts, sweep, arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _numbered(folder: Path) -> list[Path]:
    """Lists snapshots, the oldest first."""
    there = folder.iterdir() if folder.is_dir() else ()
    named = [path for path in there if path.name.isdigit()]
    return sorted(named, key=lambda path: int(path.name))


def open_snapshots(
    workdir: Path, section: ConfigDict, fold: str, stage: str, lanes: Sequence[Lane]
) -> Snapshots:
    """Opens the snapshots of a run's fold and stage.

    Args:
      workdir: of the run.
      section: `sweep` of its config.
      fold: name.
      stage: name.
      lanes: of this stage.
    """
    return Snapshots(
        workdir / SNAPSHOTS / fold / stage,
        lanes,
        read_json(workdir / CONFIG, []),
        section.save_every_seconds,
        section.keep_snapshots,
    )
