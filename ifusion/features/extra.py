"""The libraries of the extra `features`, loaded when first needed."""

from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class MissingExtraError(ValueError):
    """A library of the extra is not installed."""


def import_extra(name: str, distribution: str = "") -> Any:
    """Imports a module of the extra.

    Args:
      name: of the module.
      distribution: that it comes with, if its name differs.

    Raises:
      MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(distribution or name) from error


def extra_version(distribution: str) -> str:
    """Returns the version of a distribution of the extra.

    Raises:
      MissingExtraError: it is not installed.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise _missing(distribution) from error


def extra_folder(name: str, distribution: str = "") -> Path:
    """Returns the folder of a package of the extra, which is not imported.

    Arguments and errors are those of `import_extra`.
    """
    spec = find_spec(name)  # imports nothing, since it has no parent package
    if spec is None or spec.origin is None:
        raise _missing(distribution or name)
    return Path(spec.origin).parent


def _missing(distribution: str) -> MissingExtraError:
    return MissingExtraError(
        f'{distribution} is not installed: pip install -e ".[features]"'
    )
