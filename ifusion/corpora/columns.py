"""Which columns of users' tables are features: one rule for every reader.

The name decides, in upper or lower case. Indices, times, frame counters, row names and
OpenFace's bookkeeping are dropped with a note. Labels, speakers and partitions are
refused, since they would give the label away. Doubtful names stay, with a note; so do
names made of such words, as speaker_id or arousal_mean. `ignore` and `keep` override
the rule. Not in the paper.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.tables.checks import IMPUTE
from ifusion.corpora.tables.table import Table

# all in lower case
NAMES = frozenset({"name", "instance_name", "file", "filename", "file_name"})
TIMES = frozenset({"time", "frametime", "timestamp"})
COUNTERS = frozenset({"frame", "frameindex"})
INDEX = re.compile(r"index|level_\d+|unnamed: \d+|__index_level_\d+__")  # of pandas
CONFIDENCE, SUCCESS = "confidence", "success"  # together: a table of OpenFace
DROPPED = {
    **dict.fromkeys(NAMES, "names of rows"),
    **dict.fromkeys(TIMES, "times"),
    **dict.fromkeys(COUNTERS, "frame counters"),
    "face_id": "bookkeeping of OpenFace",
}
REFUSED = {
    **dict.fromkeys(("label", "labels", "class", "target", "goldstandard"), "a label"),
    **dict.fromkeys(("recording", "speaker", "rater"), "bookkeeping"),
    **dict.fromkeys(("partition", "split", "fold"), "bookkeeping"),
}
DOUBTFUL = frozenset(
    {"id", "subject", "participant", "actor", "session", "video", "utterance", "clip"}
    | {"start", "end", CONFIDENCE, SUCCESS}
    | {"emotion", "sentiment", "arousal", "valence", "dominance"}
    | {"gold", "ground_truth", "y_true"}
)
# words that leave a name above what it is, as in speaker_id or EmotionMaxVote
QUALIFIERS = frozenset(
    {"id", "no", "nr", "num", "number", "index", "idx", "code", "name", "s", "ms"}
    | {"sec", "seconds", "mean", "max", "vote", "rating", "score", "true", "gold"}
)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class Columns:
    """Tells features from other columns, table by table, and remembers what it did."""

    def __init__(
        self, ignore: Sequence[str] | str = (), keep: Sequence[str] | str = ()
    ) -> None:
        """Takes the user's exceptions to the rule.

        Args:
          ignore: names or glob patterns of columns that are not features; case does not
            matter.
          keep: of columns that are features, whatever their name or `ignore` says.

        Raises:
          ValueError: an entry holds a comma.
        """
        self._patterns: dict[str, tuple[str, ...]] = {}
        for entry, patterns in (("ignore", ignore), ("keep", keep)):
            whole = (patterns,) if isinstance(patterns, str) else tuple(patterns)
            self._patterns[entry] = whole
            for pattern in whole:
                if "," in pattern:
                    raise ValueError(
                        f"corpus.{entry} holds {pattern!r}; expected one column in "
                        "each entry (? stands for a comma inside a name)"
                    )
        self._used: set[tuple[str, str]] = set()
        self._dropped: dict[tuple[str, str], list[Path]] = {}  # by what it is, and name
        self._features: dict[tuple[str, ...], list[Path]] = {}
        self._success: dict[Path, str] = {}
        self._notes: list[str] = []

    def keeps(self, name: str) -> bool:
        """Returns whether the user calls a column a feature."""
        return self._says("keep", name)

    def ignores(self, name: str) -> bool:
        """Returns whether the user ignores a column."""
        return self._says("ignore", name) and not self.keeps(name)

    def choose(
        self, path: Path, names: Sequence[str], features: bool = True
    ) -> tuple[str, ...]:
        """Picks the columns to read, of those that a reader does not ask for by name.

        `features` says whether the table holds features, rather than labels or ratings.
        """
        success = success_column(names) if features else None
        chosen = []
        for name in names:
            if self.ignores(name):
                continue
            if not self.keeps(name):
                if name == success:
                    self._success[path] = name
                elif self._drops(path, name, success is not None):
                    continue
            chosen.append(name)
        if features:
            own = tuple(n for n in chosen if n != self._success.get(path))
            self._features.setdefault(own, []).append(path)
        return tuple(chosen)

    def choose_rated(self, path: Path, names: Sequence[str]) -> tuple[str, ...]:
        """Picks the columns of raters; `ignore` and `keep` are about features."""
        return tuple(name for name in names if not self._drops(path, name))

    def settle(self, table: Table, impute: bool) -> Table:
        """Turns rows in which OpenFace found no face into gaps (NaN).

        Raises:
          CorpusError: there are such rows, and gaps are not allowed.
        """
        name = self._success.get(table.path)
        if name is None:
            return table
        place = table.names.index(name)
        failed = lost_face(table.values[:, place])
        if failed.any():
            row, count = int(failed.argmax()), int(failed.sum())
            sentence = f"OpenFace found no face in {count} of {len(failed)} rows"
            if not impute:
                raise table.error(row, name, sentence + IMPUTE)
            self._notes.append(
                f"{table.path}: {sentence}, the first of them row {table.line(row)}, "
                "which are filled with the mean of train"
            )
        values = np.delete(table.values, place, axis=1)
        values[failed] = np.nan
        names = (*table.names[:place], *table.names[place + 1 :])
        return replace(table, names=names, values=values)

    def finish(
        self, labels: Iterable[str], attributes: Iterable[str] = ()
    ) -> list[str]:
        """Lists notes, once all tables of a corpus are read.

        Args:
          labels: targets, rated quantities and all else that gives the label away.
          attributes: further columns that describe recordings.

        Raises:
          CorpusError: a feature is named like a label, or like bookkeeping.
          ValueError: an entry of `ignore` or `keep` names no column.
        """
        for entry, patterns in self._patterns.items():
            for pattern in patterns:
                if (entry, pattern) not in self._used:
                    raise ValueError(
                        f"corpus.{entry} holds {pattern!r}, but no table has such a "
                        "column"
                    )
        predicted = {a.lower(): "what is to be predicted" for a in labels}
        refused = REFUSED | predicted
        known = {name.lower() for name in attributes} | predicted.keys()
        notes = []
        for names, paths in self._features.items():
            own = [name for name in names if not self.keeps(name)]
            for name in own:
                if name.lower() in refused:
                    raise CorpusError(
                        f"the column is named like {refused[name.lower()]}; add it to "
                        "corpus.ignore, or to corpus.keep if it is a feature",
                        paths[0],
                        column=name,
                    )
            odd = [name for name in own if _is_doubtful(name, known)]
            if odd:
                notes.append(
                    f"{_where(paths)}: {shorten(odd)} may not be features; add each to "
                    "corpus.ignore if it is not, to corpus.keep if it is"
                )
        dropped: dict[tuple[str, tuple[Path, ...]], list[str]] = {}
        for (what, name), paths in self._dropped.items():
            dropped.setdefault((what, tuple(paths)), []).append(name)
        notes += [
            f"{_where(paths)}: dropped as {what}: {shorten(names)}"
            for (what, paths), names in dropped.items()
        ]
        return [*notes, *self._notes]

    def _drops(self, path: Path, name: str, openface: bool = False) -> bool:
        """Returns whether a column is dropped by its name, and remembers it."""
        what = _dropped_as(name, openface)
        if what:
            self._dropped.setdefault((what, name), []).append(path)
        return what is not None

    def _says(self, entry: str, name: str) -> bool:
        low = name.lower()
        found = [
            pattern
            for pattern in self._patterns[entry]
            if low == pattern.lower() or fnmatchcase(low, pattern.lower())
        ]
        self._used |= {(entry, pattern) for pattern in found}
        return bool(found)


def success_column(names: Iterable[object]) -> str | None:
    """Finds the column of a table of OpenFace that says where it found a face."""
    known = {str(name).strip().lower(): str(name) for name in names}
    return known.get(SUCCESS) if CONFIDENCE in known else None


def lost_face(success: np.ndarray) -> np.ndarray:
    """Returns where OpenFace found no face: (R,) -> (R,) bool."""
    return ~(np.asarray(success) == 1)


def is_bookkeeping(name: str) -> bool:
    """Returns whether a column of this name says where a row is from."""
    name = name.strip()
    dropped = _dropped_as(name, openface=True) is not None
    return dropped or name.lower() in REFUSED or _is_doubtful(name)


def require_feature_names(names: Iterable[str], labels: Iterable[str]) -> None:
    """Checks that features with these names can be read back from a table.

    Raises:
      CorpusError: one would be dropped or refused.
    """
    refused = {*REFUSED, *(label.lower() for label in labels)}
    for name in names:
        if name.lower() in refused or _dropped_as(name, openface=False):
            raise CorpusError(f"feature {name!r} cannot be a column: rename it")


def is_index(name: str) -> bool:
    """Returns whether a column of this name numbers rows, as pandas writes it."""
    return INDEX.fullmatch(name.lower()) is not None


def _is_doubtful(name: str, more: Set[str] = frozenset()) -> bool:
    """Returns whether a name is known, or each of its words but `QUALIFIERS`."""
    if name.lower() in DOUBTFUL | more:
        return True
    if any(letter.isdigit() for letter in name):  # one of many, such as video_12
        return False
    words = {word.lower() for word in WORD.findall(name)} - QUALIFIERS
    words = {w if w in REFUSED else w.removesuffix("s") for w in words}
    return bool(words) and words <= DOUBTFUL | more | REFUSED.keys() | DROPPED.keys()


def _dropped_as(name: str, openface: bool) -> str | None:
    low = name.lower()
    if is_index(low):
        return "an index"
    if openface and low == CONFIDENCE:
        return DROPPED["face_id"]
    return DROPPED.get(low)


def _where(paths: Sequence[Path]) -> str:
    return f"{paths[0]}" + f" and {len(paths) - 1} more files" * (len(paths) > 1)
