"""Finds the data of corpora that this project may not ship."""

import os
from pathlib import Path

from ifusion.paths import expand_path


def find_folder(path: Path | str | None, name: str) -> Path:
    """Returns the path, or else the folder of that name in `IFUSION_DATA`.

    Raises:
      ValueError: there is neither.
    """
    if path:
        return Path(path)
    if "IFUSION_DATA" not in os.environ:
        raise ValueError(
            "this corpus is not shipped: give its path, or set the environment "
            f"variable IFUSION_DATA to the folder that holds {name}"
        )
    return expand_path(os.environ["IFUSION_DATA"]) / name
