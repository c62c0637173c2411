"""Ctrl-C and SIGTERM while a run must save first."""

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self


class Stopped(KeyboardInterrupt):
    """The program was asked to end, by Ctrl-C or SIGTERM.

    Attributes:
      number: of the signal.
      message: what is left behind, in a sentence; "" where nothing is known.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number, self.message = number, message


class DeferSignals:
    """Holds back Ctrl-C and SIGTERM while open; a second one is not held back.

    In a thread other than the main one, which gets no signals, it does nothing.

    Attributes:
      received: the number of the signal that came, 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def stop(self, message: str) -> NoReturn:
        """Acts on the signal.

        Args:
          message: what is left behind.
        """
        raise Stopped(self.received, message)

    def __enter__(self) -> Self:
        """Begins to hold back; a signal that is ignored stays so."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        except ValueError:  # not the main thread
            pass
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Acts on a signal that came too late to be acted on inside."""
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
