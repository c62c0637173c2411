"""The kinds of corpora that a configuration can name, and the reader of each.

A reader takes the entries of a configuration's section as keyword arguments; the module
behind it is imported when a corpus of that kind is opened.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ifusion import corpora
from ifusion.corpora.additions import with_unlabelled
from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import UNLABELLED, Corpus, Hiding
from ifusion.corpora.folder.reading import read_folder
from ifusion.corpora.hiding import ENTRIES, with_few_labels
from ifusion.corpora.sources.synthetic import SyntheticOptions, read_synthetic
from ifusion.paths import expand_path

COLUMNS = ("ignore", "keep")  # entries for readers of users' tables
OPTIONAL = (*COLUMNS, "missing", "deal")  # absent from older configs


class Reader(NamedTuple):
    """The reader of a kind of corpus, which takes the entries as keyword arguments."""

    read: Callable[..., Corpus]
    entries: tuple[str, ...]
    required: tuple[str, ...] = ()  # entries that must not be empty


def open_corpus(kind: str, options: Mapping[str, Any]) -> Corpus:
    """Reads the corpus that a configuration names.

    Args:
      kind: one of `READERS`.
      options: its entries; labelled, draw, labelled_by and adapt, see
        `ifusion.corpora.corpus.Hiding`; and unlabelled, a folder in the open format
        whose recordings are added without their labels. Others are ignored.

    Raises:
      CorpusError: the corpus is missing or wrong.
      ValueError: the kind is unknown, or an entry is missing or invalid.
    """
    if kind not in READERS:
        kinds = ", ".join(READERS)
        raise ValueError(f"corpus.kind is {kind!r}, expected one of {kinds}")
    reader = READERS[kind]
    for name in reader.entries:
        if name not in options and name not in OPTIONAL:
            raise ValueError(
                f"corpus.kind is {kind!r}, but this config has no corpus.{name}; use "
                f"configs/{kind}.py"
            )
    for name in reader.required:
        if not options[name]:
            raise ValueError(f"corpus.{name} is missing: expected a path")
    entries = {n: _expand(options[n]) for n in reader.entries if n in options}
    corpus = reader.read(**entries)
    source = {"kind": kind, **entries}
    if options.get(UNLABELLED):
        source[UNLABELLED] = _expand(options[UNLABELLED])
        more = read_folder(
            Path(source[UNLABELLED]),
            Columns(entries.get("ignore", ()), entries.get("keep", ())),
            impute=entries.get("impute", False),
            tolerance=0,
            missing=entries.get("missing", "refuse"),
        )
        corpus = with_unlabelled(corpus, more)
    corpus = replace(corpus, source=source)
    for name in ("labelled", "draw"):
        if not isinstance(options.get(name, 0), int | float):
            raise ValueError(f"corpus.{name} is {options[name]!r}; expected a number")
    hidden = {own: options[name] for name, own in ENTRIES.items() if name in options}
    return with_few_labels(corpus, Hiding(**hidden)) if hidden else corpus


def _expand(value: Any) -> Any:
    """Expands a leading "~" of a path, also within a dict."""
    if isinstance(value, Mapping):
        return {key: _expand(inner) for key, inner in value.items()}
    tilde = isinstance(value, str) and value.startswith("~")
    return str(expand_path(value)) if tilde else value


def _omg(path: str, features: Mapping[str, str], **entries: Any) -> Corpus:
    for name, file in features.items():
        if not file:
            raise ValueError(
                f"corpus.features.{name} is missing: expected a path; other modalities "
                "are named all at once, as in --config.corpus.features="
                "\"{'video': 'facet.csv', 'text': 'lsa.csv'}\""
            )
    return corpora.omg(path, features, **entries)


def _recola(
    features: Mapping[str, str],
    gold_standard: str,
    raters: str,
    recordings: int,
    **entries: Any,
) -> Corpus:
    from ifusion.corpora.sources.recola import RecolaFiles

    files = RecolaFiles(features, gold_standard, raters, recordings)
    return corpora.recola(files=files, **entries)


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "synthetic": Reader(
            read_synthetic,
            entries=tuple(field.name for field in fields(SyntheticOptions)),
        ),
        "ravdess": Reader(
            lambda **entries: corpora.ravdess(**entries),
            entries=("path", "classes", "impute", "units"),
        ),
        "omg": Reader(
            _omg,
            entries=(
                "path",
                "features",
                "target",
                "links",
                "impute",
                "max_missing",
                "missing",
                "frame_steps",
                *COLUMNS,
            ),
            required=("path", "features"),
        ),
        "folder": Reader(
            lambda **entries: corpora.read_corpus(**entries),
            entries=("path", "impute", "tolerance", "missing", *COLUMNS),
            required=("path",),
        ),
        "recola": Reader(
            _recola,
            entries=(
                "path",
                "targets",
                "features",
                "gold_standard",
                "raters",
                "recordings",
                "gold",
                "tolerance",
                "frame_step",
                "impute",
                *COLUMNS,
            ),
            required=("path",),
        ),
        "ict_mmmo": Reader(
            lambda **entries: corpora.ict_mmmo(**entries), entries=("path", "deal")
        ),
        "rml": Reader(lambda **entries: corpora.rml(**entries), entries=("path",)),
        "studyforrest": Reader(
            lambda **entries: corpora.studyforrest(**entries),
            entries=("path", "hop", "window", "gold"),
        ),
    }
)
