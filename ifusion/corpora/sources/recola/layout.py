"""Where the files of RECOLA are, and what they hold."""

import glob
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from ifusion.corpora.corpus import PARTITIONS, UNLABELLED, CorpusError
from ifusion.corpora.gold_standard import Gold

FRAME_STEP = 0.04  # [s]
RATERS = ("FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
Kind = Literal["features", "gold standard", "ratings"]
FORMATS = (".arff", ".csv")
LABELLED = "dev"  # the partition whose recordings need labels


@dataclass(frozen=True)
class RecolaFiles:
    """Where the files are, relative to the folder of the corpus.

    {recording} becomes train_1, ..., {target} arousal or valence. A pattern that does
    not end in .arff or .csv finds either.

    Attributes:
      features: {modality: pattern}.
      gold_standard: pattern.
      raters: pattern; the files need not exist.
      recordings: number of recordings in each partition.
    """

    features: Mapping[str, str] = field(
        default_factory=lambda: {
            "audio": "features_audio/{recording}",
            "video": "features_video_geometric/{recording}",
        }
    )
    gold_standard: str = "ratings_gold_standard/{target}/{recording}"
    raters: str = "ratings_individual/{target}/{recording}"
    recordings: int = 9


class Source(NamedTuple):
    """The contents of a file."""

    of: str  # modality or target
    kind: Kind  # of data about it

    def __str__(self) -> str:
        return f"{self.of} {self.kind}"


def partition_of(recording: str) -> str:
    """Returns the partition that a recording is named after."""
    return recording.partition("_")[0]


def recording_names(files: RecolaFiles) -> list[str]:
    """Lists the recordings to look for."""
    return [f"{p}_{k + 1}" for p in PARTITIONS for k in range(files.recordings)]


def absent_recordings(
    files: RecolaFiles, found: Container[str]
) -> dict[str, tuple[str, ...]]:
    """Lists by partition the recordings that are not among those found."""
    absent = [name for name in recording_names(files) if name not in found]
    return {p: tuple(n for n in absent if partition_of(n) == p) for p in PARTITIONS}


def list_sources(
    files: RecolaFiles, targets: Sequence[str], gold: Gold
) -> dict[Source, str]:
    """Lists what to read, each with its pattern, {target} filled in.

    Raises:
      ValueError: targets or patterns are invalid.
    """
    if not targets or len(set(targets)) < len(targets):
        raise ValueError(f"targets are {tuple(targets)}, expected distinct names")
    if not files.features:
        raise ValueError("features is empty, expected a pattern for each modality")
    sources = {
        Source(m, "features"): (p, targets[0]) for m, p in files.features.items()
    }
    if gold == "given":
        for target in targets:
            sources[Source(target, "gold standard")] = (files.gold_standard, target)
    for target in targets:
        sources[Source(target, "ratings")] = (files.raters, target)
    for source, (pattern, _) in sources.items():
        rest = pattern.replace("{recording}", "", 1).replace("{target}", "")
        if len(rest) == len(pattern) or "{recording}" not in pattern or "{" in rest:
            raise ValueError(
                f"the pattern of {source} is {pattern!r}, expected it to contain "
                "{recording} and no braces but those of {target}"
            )
        if len(targets) > 1 and ("{target}" in pattern) == (source.kind == "features"):
            raise ValueError(
                f"the pattern of {source} is {pattern!r} with the targets "
                f"{', '.join(targets)}: ratings need {{target}}, and features may "
                "depend on the target only if there is one target"
            )
    return {s: p.replace("{target}", target) for s, (p, target) in sources.items()}


def find_file(folder: Path, pattern: str, recording: str) -> Path | None:
    """Finds the file of a recording in either format; None if there is none.

    Raises:
      CorpusError: there are both.
    """
    name = pattern.replace("{recording}", recording)
    endings = ("",) if name.endswith(FORMATS) else FORMATS
    paths = [p for ending in endings if (p := folder / f"{name}{ending}").is_file()]
    if len(paths) > 1:
        raise CorpusError(f"{paths[1].name} exists too, expected one", paths[0])
    return paths[0] if paths else None


def list_unread(
    folder: Path, pattern: str, source: Source, names: Sequence[str]
) -> list[str]:
    """Notes files whose numbers are beyond those of the expected recordings."""
    named = _list_numbered(folder, pattern, PARTITIONS)
    beyond = [name for name in named if name not in names]
    if not beyond:
        return []
    known = [name for name in names if partition_of(name) != UNLABELLED]
    return [
        f"{len(beyond)} files of {source} were not read, because they are not among "
        f"the {len(known)} recordings {known[0]} to {known[-1]}: {', '.join(beyond)}"
    ]


def list_unlabelled(folder: Path, patterns: Iterable[str]) -> list[str]:
    """Lists the recordings outside the split that have a file of features."""
    found = {n for p in patterns for n in _list_numbered(folder, p, (UNLABELLED,))}
    return sorted(found, key=_by_number)


def _list_numbered(folder: Path, pattern: str, partitions: Sequence[str]) -> list[str]:
    """Lists the recordings with a file that are called partition_number."""
    before, after = pattern.split("{recording}")
    before = os.path.join(folder, before)
    endings = ("",) if after.endswith(FORMATS) else FORMATS
    found = set()
    for partition, ending in product(partitions, endings):
        places = map(glob.escape, (before, after + ending))
        for path in glob.glob(f"{partition}_*".join(places)):
            name = path.removeprefix(before).removesuffix(after + ending)
            if name.removeprefix(f"{partition}_").isdecimal():
                found.add(name)
    return sorted(found, key=_by_number)


def _by_number(name: str) -> tuple[int, str]:
    return len(name), name


def made_of(gold: Gold) -> Kind:
    """Returns the kind of files that make the labels."""
    return "gold standard" if gold == "given" else "ratings"


def is_needed(source: Source, recording: str, gold: Gold) -> bool:
    """Returns whether a recording that lacks this file is left out."""
    if source.kind == "features":
        return True
    return source.kind == made_of(gold) and partition_of(recording) == LABELLED
