"""The files of a folder, by name."""

import os
from collections.abc import Sequence, Set
from pathlib import Path

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.names import normalise


class FileIndex:
    """The files in a folder and its subfolders.

    A file is found by its path in the folder or by its name alone, with or without
    suffix. Names are compared in composed Unicode.
    """

    def __init__(self, folder: Path, suffixes: Sequence[Set[str]]) -> None:
        """Lists the files whose suffix is in one of the sets, in lower case.

        Of files that differ only in their suffix, the one in the earliest set is taken.

        Raises:
          CorpusError: there is no such folder, or no such file in it.
        """
        if not folder.is_dir():
            raise CorpusError("no such folder", folder)
        self.folder, self._suffixes = folder, suffixes
        wanted = frozenset().union(*suffixes)
        self.paths = sorted(
            Path(place) / name
            for place, _, names in os.walk(folder)
            for name in names
            if Path(name).suffix.lower() in wanted and not name.startswith(".")
        )
        if not self.paths:
            kinds = shorten(sorted(wanted), 40)
            raise CorpusError(f"there is no file in it that ends in {kinds}", folder)
        self._files: dict[str, set[Path]] = {}
        for path in self.paths:
            inside = path.relative_to(folder)
            whole = inside.as_posix()
            for name in {whole, self.name(path), path.name, path.stem}:
                self._files.setdefault(normalise(name), set()).add(path)

    def name(self, path: Path) -> str:
        """Returns the path of a file in the folder, without suffix."""
        return path.relative_to(self.folder).with_suffix("").as_posix()

    def find(self, name: str) -> Path | None:
        """Returns the file with this name, None if there is none.

        Raises:
          CorpusError: several files have it.
        """
        found = self._files.get(normalise(name), set())
        for suffixes in self._suffixes:
            fitting = sorted(p for p in found if p.suffix.lower() in suffixes)
            if len(fitting) > 1:
                places = shorten(str(p.relative_to(self.folder)) for p in fitting)
                reason = f"{name!r} may be any of {places}; name folder and suffix"
                raise CorpusError(reason, self.folder)
            if fitting:
                return fitting[0]
        return None
