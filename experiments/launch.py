"""What the programs share: flags, devices, and errors in one sentence."""

import difflib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # configs import configs.base

from absl import app, flags  # noqa: E402
from ml_collections import ConfigDict, config_flags  # noqa: E402

DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def define_config() -> flags.FlagHolder[ConfigDict]:
    """Defines --config, a file of configs/, and --config.section.entry=value."""
    holder: flags.FlagHolder[ConfigDict] = config_flags.DEFINE_config_file(
        "config", None, "Experiment, for example configs/ravdess.py."
    )
    return holder


def define_cache() -> flags.FlagHolder[str | None]:
    """Defines --compilation_cache, for programs that call `keep_compiled`."""
    return flags.DEFINE_string(
        "compilation_cache",
        None,
        "Folder in which compiled programs are kept, so that the same program starts "
        "faster the next time.",
    )


class Stopped(KeyboardInterrupt):
    """The program was asked to end, by Ctrl-C or SIGTERM."""

    def __init__(self, number: int, said: str = "") -> None:
        """Takes the signal's number, and what is left behind."""
        super().__init__(said)
        self.number, self.said = number, said


class PutOff:
    """While open, Ctrl-C and SIGTERM wait to be heeded; asked twice, they do not.

    Attributes:
      asked: the number of the signal that came, 0 for none.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def stop(self, said: str) -> NoReturn:
        """Heeds the signal.

        Args:
          said: what is left behind.
        """
        raise Stopped(self.asked, said)

    def __enter__(self) -> Self:
        """Begins to wait; a signal that is ignored stays so."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Heeds what came too late to be heeded inside."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked and error is None:
            raise Stopped(self.asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise Stopped(number)
        self.asked = number
        # not by print, which the signal may have come in the middle of
        os.write(2, b"\nstops after this epoch; asked again, at once\n")


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def run(main: Callable[[], None], stopped: str = "stopped") -> None:
    """Runs a program; what a user did wrong ends it with one sentence and status 1.

    Wrong flags end it with status 2, Ctrl-C with status 130, SIGTERM with 143.

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
            _fail(str(error), 1)
        except RuntimeError as error:  # which jax's own error is a kind of
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if DEBUG.value:
                traceback.print_exc()
            _fail(
                "the memory of a device does not suffice: set sweep.memory_gib to less "
                f"than it has, or training.batch_size lower ({_first_line(error)})",
                1,
            )
        except Stopped as error:
            _fail(error.said or stopped, 128 + error.number)
        except KeyboardInterrupt:
            _fail(stopped, 130)

    signal.signal(signal.SIGTERM, _stop)
    # jax tells at level INFO of accelerators that are not there, and of connecting
    for name in ("xla_bridge", "distributed"):
        logging.getLogger(f"jax._src.{name}").setLevel(logging.WARNING)
    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    if {"--help", "-h", "--helpfull", "--helpshort"} & set(argv):
        return list(app.parse_flags_with_usage(argv))  # prints the help and exits
    for path in _config_paths(argv):
        if not Path(path.partition(":")[0]).is_file():
            _fail(f"--config={path}: no such file; see configs/", 2)
    try:
        return list(flags.FLAGS(argv))
    except (flags.Error, ImportError, SyntaxError, OSError) as error:
        _fail(str(error), 2)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        for sentence in _unknown_entries(argv):
            _fail(sentence, 2)
        words = " ".join(str(word) for word in error.args)
        _fail(f"an entry of --config: {words}".replace("\\n", " "), 2)


def _unknown_entries(argv: Sequence[str]) -> Iterator[str]:
    """Says which --config.section.entry is none of the config, and what is near it."""
    parser = config_flags.config_flags.ConfigFileFlagParser("config")
    for path in _config_paths(argv):
        try:
            config = parser.parse(path)
        except (AttributeError, KeyError, TypeError, ValueError):  # wrong in itself
            continue
        entries = list(_entries(config))
        for argument in argv[1:]:
            flag = argument.lstrip("-").partition("=")[0]
            name = flag.removeprefix("config.").partition("[")[0]
            known = name == flag or any(f"{e}.".startswith(f"{name}.") for e in entries)
            if argument.startswith("-") and not known:
                section = f"{name.partition('.')[0]}."
                near = (
                    difflib.get_close_matches(name, entries, 3)
                    or [entry for entry in entries if entry.startswith(section)]
                    or list(config)
                )
                found = ", ".join(f"--config.{entry}" for entry in near)
                yield f"--config.{name}: the config has no such entry; near: {found}"


def _entries(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Lists the entries of all sections, as section.entry."""
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ConfigDict):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _config_paths(argv: Sequence[str]) -> Iterator[str]:
    """Finds what --config=PATH or --config PATH names."""
    for argument, following in pairwise([*argv[1:], ""]):
        flag, equals, path = argument.partition("=")
        if flag in ("--config", "-config"):
            yield path if equals else following


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _fail(sentence: str, status: int) -> NoReturn:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(status)


def use_all_cores() -> None:
    """Shows every CPU core to JAX as a device, so that lanes are spread over them.

    Must come before the first computation; changes nothing where there is an
    accelerator.
    """
    import jax

    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", cores)


def keep_compiled(folder: str | None) -> None:
    """Lets JAX keep compiled programs in a folder, if one is given."""
    import jax

    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
