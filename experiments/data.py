"""From a config to a corpus and its splits."""

from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

import ifusion.corpora.readers
from ifusion.corpora import splits
from ifusion.corpora.corpus import Corpus
from ifusion.corpora.splits import (
    FIXED,
    cluster_column,
    split_corpus,
    summarise_corpus,
    warnings_of,
)
from ifusion.reporting.run import read_json, require_kinds

__all__ = [
    "FIXED",
    "cluster_column",
    "open_corpus",
    "require_unchanged",
    "split_corpus",
    "summarise_corpus",
    "warnings_of",
]


def open_corpus(section: ConfigDict) -> Corpus:
    """Reads the corpus that the section `corpus` of a config names."""
    options = section.to_dict()
    return ifusion.corpora.readers.open_corpus(options.pop("kind"), options)


def require_unchanged(path: Path, folds: Mapping[str, Corpus]) -> None:
    """Checks that a corpus is still that of corpus.json of a run."""
    known = read_json(path, [])
    require_kinds(str(path), known, {"fingerprints": dict})
    splits.require_unchanged(known, folds, path)
