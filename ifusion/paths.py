"""Paths as users write them."""

from pathlib import Path


def expand_path(path: Path | str) -> Path:
    """Replaces a leading "~" by the home folder; none is left for libraries to expand.

    Example:
      >>> expand_path("runs/a~b")
      PosixPath('runs/a~b')
    """
    found = Path(path).expanduser() if str(path).startswith("~") else Path(path)
    return found.absolute() if str(found).startswith("~") else found
