"""Reads the command line: flags, --config, and --config.section.entry."""

import difflib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from ifusion.paths import expand_path

HELP = frozenset({"--help", "-h", "-?", "--helpfull", "--helpshort"})


NOT_A = {  # what Python says of a value, and what was expected
    r"invalid literal for int\(\) with base 10": "an integer",
    "could not convert string to float": "a number",
}


class UsageError(Exception):
    """A flag is wrong; the message is one sentence."""


def parse_flags(argv: list[str]) -> list[str]:
    """Reads the flags of a program; returns the arguments that are not flags.

    Raises:
      UsageError: if a flag is wrong.
      SystemExit: after help, with status 0.
    """
    asks_for_help = not HELP.isdisjoint(argv)
    argv, path = _read_config_flags(argv)
    if path is not None and not Path(path.partition(":")[0]).is_file():
        raise UsageError(f"--config={path}: no such file; see configs/")
    try:
        if asks_for_help:
            _print_help(argv, path)
        return list(flags.FLAGS(argv))
    except (flags.Error, ImportError, SyntaxError, OSError) as error:
        last = str(error).rpartition("\nValueError: ")[2]  # a config's own sentence
        if missing := re.match(r"flag (--\w+)=None: ", last):
            last = f"{missing[1]} is missing; --help says what it is"
        for python, wanted in NOT_A.items():
            said = f"^flag (--.*): {python}: .*"
            last = re.sub(said, rf"\1: expected {wanted}", last)
        raise UsageError(last) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        for sentence in _unknown_entries(path, argv) if path else ():
            raise UsageError(sentence) from None
        words = " ".join(str(word) for word in error.args)
        raise UsageError(f"an entry of --config: {words}".replace("\\n", " ")) from None


def _print_help(argv: Sequence[str], path: str | None) -> NoReturn:
    """Prints the flags of the program and the entries of its config; then exits."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in defined if module.startswith("ifusion.") else ():
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.usage(shorthelp="--helpfull" not in argv, writeto_stdout=True)
    if path is not None:
        print(f"entries of {path}:\n")
        for name, value in _entries(_read_config(path)).items():
            print(f"  --config.{name}={shlex.quote(str(value))}")
    elif "config" in flags.FLAGS:
        print("With --config=FILE, --help also lists the entries of the config.")
    sys.exit(0)


def _read_config_flags(argv: Sequence[str]) -> tuple[list[str], str | None]:
    """Reads --config=PATH and its entries, each in one argument or two.

    Returns:
      The arguments, where the last of repeated entries replaces the others, since
      tuples would otherwise be joined; and the path, or None.
    """
    given: dict[str, str] = {}
    others = [argv[0]]
    left = list(reversed(argv[1:]))
    while left:
        argument = left.pop()
        flag, equals, value = argument.partition("=")
        name = flag.lstrip("-")
        if not argument.startswith("-") or not f"{name}.".startswith("config."):
            others.append(argument)
            continue
        if not equals and left and not re.match("--?[a-z]", left[-1]):
            argument = f"{flag}={left.pop()}"
        if name == "config":
            if name in given:
                raise UsageError("--config is given twice; expected one config")
            value = str(expand_path(argument.partition("=")[2]))
            argument = f"{flag}={value}"
        given.pop(name, None)  # the last one's place counts
        given[name] = argument
    path = given.get("config", "").partition("=")[2]
    return [others[0], *given.values(), *others[1:]], path or None


def _unknown_entries(path: str, argv: Sequence[str]) -> Iterator[str]:
    """Names each --config.section.entry that does not exist, and similar ones."""
    try:
        entries = _entries(_read_config(path))
    except (AttributeError, KeyError, TypeError, ValueError):  # the config is wrong
        return
    for argument in argv[1:]:
        flag = argument.lstrip("-").partition("=")[0]
        name = flag.removeprefix("config.").partition("[")[0]
        known = name == flag or any(f"{e}.".startswith(f"{name}.") for e in entries)
        if argument.startswith("-") and not known:
            section = f"{name.partition('.')[0]}."
            near = (
                difflib.get_close_matches(name, entries, 3)
                or [entry for entry in entries if entry.startswith(section)]
                or list(dict.fromkeys(entry.partition(".")[0] for entry in entries))
            )
            found = ", ".join(f"--config.{entry}" for entry in near)
            yield f"--config.{name}: the config has no such entry; similar: {found}"


def _read_config(path: str) -> ConfigDict:
    return config_flags.config_flags.ConfigFileFlagParser("config").parse(path)


def _entries(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns the entries of all sections, as section.entry, and their values."""
    entries: dict[str, Any] = {}
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ConfigDict):
            entries |= _entries(value, f"{prefix}{name}.")
        else:
            entries[prefix + name] = value
    return entries
