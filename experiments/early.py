"""What must hold before anything else is loaded; imported first, for its effect.

Ctrl-C and SIGTERM end a program that is still loading in one line. Standard streams
that the caller has closed lead nowhere, instead of into the next file that is opened.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def end(number: int, frame: FrameType | None = None) -> NoReturn:
    """Ends the program at once, with the status of a signal."""
    try:
        os.write(2, b"error: stopped\n")
    finally:
        os._exit(128 + number)


def handle(handler: signal.Handlers | object) -> None:
    """Lets a handler see Ctrl-C and SIGTERM, unless the caller has them ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


def _open_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        else:
            getattr(sys, name).reconfigure(errors="backslashreplace")


handle(end)
_open_streams()
