"""The progress line: epochs, speed, time left, best score so far."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ifusion.terminal import say
from ifusion.training.loop import Progress

EVERY = 10.0  # [s] between lines where the output is not a terminal


class ProgressLine:
    """Rewrites a line of the terminal after every epoch, or prints one every 10 s."""

    def __init__(
        self,
        *,
        steps: int,
        epochs: int,
        score: str,
        in_percent: bool,
        label: str,
        mains: Sequence[str],
    ) -> None:
        """Starts the clock of `steps` updates per epoch and at most `epochs` epochs."""
        self._label = label
        self._steps, self._epochs = steps, epochs
        self._score, self._in_percent = score, in_percent
        self._mains = np.array(mains)
        self._first = self._printed = time.monotonic()
        self._done = self._untimed = 0
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Callable[[Progress], None]:
        """Says that compilation starts; returns the callback for each epoch."""
        self._write(f"compiling for {len(self._mains)} lanes")
        return self.update

    def update(self, progress: Progress) -> None:
        """Shows the state after an epoch."""
        now = time.monotonic()
        trained = np.sum(~np.isnan(progress.metrics["dev_score"]))
        if not self._done:  # the first epoch compiles, so it gives no rate
            self._first, self._untimed = now, trained * self._steps
        self._done += trained * self._steps
        last = not progress.active or progress.epoch == self._epochs
        if not self._terminal and now - self._printed < EVERY and not last:
            return
        self._printed = now
        self._write(self._describe(progress, now))

    def _describe(self, progress: Progress, now: float) -> str:
        epochs, rate, left = self._epochs, "...", "..."
        timed = self._done - self._untimed
        if timed:
            per_second = timed / (now - self._first)
            ahead = progress.active * (epochs - progress.epoch)
            ahead = self._steps * (ahead + progress.waiting * epochs)
            rate, left = f"{per_second:.0f}", f"{ahead / per_second:.0f}"
        best = "  ".join(
            f"{m} {self._best(progress.best_score[self._mains == m])}"
            for m in dict.fromkeys(self._mains.tolist())
        )
        lanes = f"{progress.active} of {len(self._mains)} lanes"
        if progress.waiting:
            lanes += f", {progress.waiting} waiting"
        return (
            f"epoch {progress.epoch}/{epochs}  {lanes}  "
            f"{rate} lane-steps/s  <= {left} s left  best dev {self._score}: {best}"
        )

    def _best(self, scores: np.ndarray) -> str:
        """The best score of some lanes; "-" if all failed or none started."""
        best = float(np.max(scores))
        if not np.isfinite(best):
            return "-"
        return f"{100 * best:.1f}" if self._in_percent else f"{best:.3g}"

    def _write(self, text: str) -> None:
        start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        say(self._label + text, start=start, end=end)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Ends the line."""
        if self._terminal:
            say("")
