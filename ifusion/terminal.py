"""The one place that writes to the terminal; printing never fails a run.

Control characters in names, and characters that cannot be encoded, are escaped; output
to a closed or full pipe or file is dropped.
"""

import re
import sys
import time
from typing import TextIO

EVERY = 10.0  # [s] between lines of progress
UNSEEN = "\u061c\u200b\u200e\u200f\u2060\ufeff"  # without width
# what steers a terminal, turns a line round, or cannot be seen or written
CONTROL = re.compile(
    f"[\x00-\x1f\x7f-\x9f{UNSEEN}\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def say(
    text: str, stream: TextIO | None = None, *, start: str = "", end: str = "\n"
) -> None:
    """Writes a text.

    Args:
      text: any text.
      stream: standard error by default.
      start: written unchanged before the text, such as cursor movements.
      end: written unchanged after it.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:  # the program was started without one
        return
    code = getattr(stream, "encoding", None) or "utf-8"
    safe = "\n".join(map(printable, text.split("\n")))
    safe = safe.encode(code, "backslashreplace").decode(code)
    try:
        stream.write(f"{start}{safe}{end}")
        stream.flush()
    except (OSError, ValueError):  # ValueError: the stream is closed
        pass


def print_result(text: str) -> None:
    """Writes what the user asked for to standard output."""
    if sys.stdout is not None:
        say(text, sys.stdout)


def note(sentence: str) -> None:
    """Writes what the user should know."""
    say(f"note: {sentence}")


def printable(text: str) -> str:
    """Escapes control characters, so that a terminal shows them."""
    return CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


class Tally:
    """Says every 10 s how many are done, how fast, and how long the rest takes.

    Args:
      total: how many there are.
      what: they are called, in the plural.
    """

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._done = self._failed = 0
        self._began = self._said = time.monotonic()

    def count(self, failed: bool) -> None:
        """Counts one that is done, or has failed."""
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        last = self._done == self._total
        if now - self._said < EVERY and not (last and now - self._began > EVERY):
            return
        self._said = now
        rate = self._done / (now - self._began)
        left = (self._total - self._done) / rate
        failures = f", {self._failed} failed" if self._failed else ""
        say(
            f"{self._done} of {self._total} {self._what}{failures}, {rate:.2g} a "
            f"second, {left:.0f} s left"
        )
