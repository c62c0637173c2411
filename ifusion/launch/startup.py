"""Signals and standard streams of a program, prepared before anything else is loaded.

Ctrl-C and SIGTERM end a program that is still loading with one line. Output that cannot
be written, because a pipe is closed, a disk full or a character unknown, is dropped or
escaped and never fails the program. Streams that the caller has closed lead nowhere,
rather than into the next file that is opened.
"""

import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def prepare_process() -> None:
    """Lets signals end the program, and keeps streams from failing it."""
    handle_signals(end)
    _open_streams()


def end(number: int, frame: FrameType | None = None) -> NoReturn:
    """Ends the program at once, with the status of a signal."""
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(128 + number)


def handle_signals(handler: signal.Handlers | object) -> None:
    """Handles Ctrl-C and SIGTERM, unless the caller ignores them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


class _Lossy(io.FileIO):
    """A stream that drops what cannot be written."""

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        """Writes what can be written."""
        try:
            count = super().write(data)
        except OSError:
            count = None
        return memoryview(data).nbytes if count is None else count


def _open_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number
    for number, name in ((1, "stdout"), (2, "stderr")):
        raw = _Lossy(number, "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=getattr(getattr(sys, name), "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=number == 2 or raw.isatty(),
        )
        setattr(sys, name, stream)
