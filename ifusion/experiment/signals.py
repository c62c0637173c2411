"""Lets a run save before Ctrl-C or SIGTERM ends it."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, Self


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM asked the program to end.

    Attributes:
      number: number of the signal.
      message: what is left behind, a sentence; "" if unknown.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number, self.message = number, message


class DeferSignals:
    """Defers Ctrl-C and SIGTERM while open; a second signal acts at once.

    Does nothing outside the main thread, which alone receives signals.

    Attributes:
      received: number of the deferred signal, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def stop(self, message: str) -> NoReturn:
        """Acts on the signal; `message` says what is left behind."""
        raise Stopped(self.received, message)

    def __enter__(self) -> Self:
        """Starts to defer; an ignored signal stays ignored."""
        with suppress(ValueError):  # outside the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Acts on a signal that nothing has acted on yet."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.received and error is None:
            raise Stopped(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise Stopped(number)
        self.received = number
        # os.write, since the signal may have interrupted a print
        with suppress(OSError):
            os.write(
                2, b"\nstopping after this epoch; press Ctrl-C again to stop now\n"
            )
