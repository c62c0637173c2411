"""Runs a program: user errors end it with one sentence and a status."""

import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from absl import app, flags

from ifusion.experiment.hosts import not_waiting_for_hosts
from ifusion.experiment.signals import Stopped
from ifusion.launch import startup
from ifusion.launch.command_line import UsageError, parse_flags
from ifusion.terminal import say

DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def run(main: Callable[[], None], stopped: str = "stopped") -> None:
    """Runs a program; user errors end it with one sentence and status 1.

    Wrong flags end it with status 2, Ctrl-C with 130, SIGTERM with 143.

    Args:
      main: the program.
      stopped: what to say after Ctrl-C and SIGTERM, such as what is left behind.
    """

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}; expected only flags", 2)
        try:
            main()
        except (ValueError, OSError) as error:
            if DEBUG.value:
                traceback.print_exc()
            _fail(_sentence_of(error), 1)
        except RuntimeError as error:  # as JAX's own errors are
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if DEBUG.value:
                traceback.print_exc()
            _fail(
                "out of device memory: set sweep.memory_gib below what the device has, "
                f"or lower training.batch_size ({str(error).splitlines()[0]})",
                1,
            )
        except Stopped as error:
            _end(error.message or stopped, 128 + error.number)
        except KeyboardInterrupt:
            _end(stopped, 130)

    # which accelerators are absent, connections, and that fonts were listed
    for name in ("jax._src.xla_bridge", "jax._src.distributed", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    startup.handle_signals(_stop)
    with not_waiting_for_hosts():
        try:
            app.run(guarded, flags_parser=parse_flags)
        except UsageError as error:
            _fail(str(error), 2)
        except Stopped as error:  # before the program has begun
            _end("stopped", 128 + error.number)
        finally:
            startup.handle_signals(startup.end)  # nothing is left to save


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Stops the program; at once during an import, which may swallow exceptions."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            startup.end(number)
        frame = frame.f_back
    raise Stopped(number)


def _sentence_of(error: Exception) -> str:
    """Leaves out the number of an error of the system."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(sentence: str, status: int) -> NoReturn:
    _end(f"error: {sentence}", status)


def _end(sentence: str, status: int) -> NoReturn:
    say(" ".join(sentence.split()))
    sys.exit(status)
