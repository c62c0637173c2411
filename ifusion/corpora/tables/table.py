"""The columns of one file.

Axes: R rows, F numeric columns that are not requested by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import CorpusError


def record_number(row: int) -> int:
    """Counts records from 1."""
    return row + 1


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of one file.

    `line` turns a 0-based row into the row as the user counts, see `CorpusError`.
    """

    path: Path
    text: Mapping[str, np.ndarray]  # {column: (R,) str}
    numbers: Mapping[str, np.ndarray]  # {column: (R,) float64}, NaN where blank
    names: tuple[str, ...]  # of the F other numeric columns, as in the file
    values: np.ndarray  # (R, F) float32; of an npy file a memory map where possible
    line: Callable[[int], int] = record_number
    notes: tuple[str, ...] = ()  # what was assumed about the file

    def __len__(self) -> int:
        columns = [*self.text.values(), *self.numbers.values(), self.values]
        return len(columns[0])

    def error(self, row: int, column: str, reason: str) -> CorpusError:
        """Returns the error that names a cell by its 0-based row and its column."""
        return CorpusError(reason, self.path, self.line(int(row)), column)

    def require_none(
        self, wrong: np.ndarray, column: str, reason: Callable[[int], str]
    ) -> None:
        """Names the first row where `wrong`, (R,) bool, is true, if there is one.

        Raises:
          CorpusError: a row is wrong; `reason` is called with its 0-based number.
        """
        if wrong.any():
            row = int(wrong.argmax())
            raise self.error(row, column, reason(row))
