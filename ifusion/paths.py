"""Paths as users write them."""

from pathlib import Path


def expand_path(path: Path | str) -> Path:
    """Replaces a leading "~" by the home folder, so that no library has to.

    Raises:
      ValueError: if there is no user of the name in "~name".

    Example:
      >>> expand_path("runs/a~b")
      PosixPath('runs/a~b')
    """
    try:
        found = Path(path).expanduser() if str(path).startswith("~") else Path(path)
    except RuntimeError:
        user = Path(path).parts[0]
        raise ValueError(f"{path}: {user} is not a home folder here") from None
    return found.absolute() if str(found).startswith("~") else found
