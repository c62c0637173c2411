"""Reads files into a `Corpus`: the only module that opens data sets.

Everything here returns a validated, immutable `Corpus`, or raises a `CorpusError` that
names file, row and column. This package has attributes that are imported on first use:

    ravdess, omg, recola, studyforrest,
    rml, ict_mmmo                             readers of public corpora as distributed
    synthetic                                 a corpus drawn from a known model
    read_corpus, write_corpus                 the open folder format, for your own data
    with_few_labels, Hiding                   a corpus with most of its labels hidden

Its modules:

- `corpus`: the `Corpus` itself; `description` and `splits`: its warnings, summary and
  folds; `hiding`: labels of train that are hidden for a study; `additions`: recordings
  without labels to add.
- `names`: normalised names, and safe file names; `likeness`: names and recordings that
  may be duplicates; `timing`: what the times of files imply.
- `plausibility`: values that cannot be right; `columns`: which columns are features;
  `provenance`: where features come from.
- `readers`: the table of readers that configurations name.
- `folder`: the open folder format. `sources`: the readers of corpora.
- `conversion`: from files of other toolkits to folders.
- `gold_standard`: one label from several raters.
- `tables`: from one file to one checked table, for all readers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifusion.corpora.corpus import Corpus as Corpus
    from ifusion.corpora.corpus import CorpusError as CorpusError
    from ifusion.corpora.corpus import Hiding as Hiding
    from ifusion.corpora.folder import read_corpus as read_corpus
    from ifusion.corpora.folder import write_corpus as write_corpus
    from ifusion.corpora.hiding import with_few_labels as with_few_labels
    from ifusion.corpora.sources.ict_mmmo import read_ict_mmmo as ict_mmmo
    from ifusion.corpora.sources.omg import read_omg as omg
    from ifusion.corpora.sources.ravdess import read_ravdess as ravdess
    from ifusion.corpora.sources.recola import read_recola as recola
    from ifusion.corpora.sources.rml import read_rml as rml
    from ifusion.corpora.sources.studyforrest import read_studyforrest as studyforrest
    from ifusion.corpora.sources.synthetic import read_synthetic as synthetic

_LAZY = {  # {attribute: (module, its name there)}
    "Corpus": ("corpus", "Corpus"),
    "CorpusError": ("corpus", "CorpusError"),
    "Hiding": ("corpus", "Hiding"),
    "read_corpus": ("folder", "read_corpus"),
    "write_corpus": ("folder", "write_corpus"),
    "ict_mmmo": ("sources.ict_mmmo", "read_ict_mmmo"),
    "omg": ("sources.omg", "read_omg"),
    "ravdess": ("sources.ravdess", "read_ravdess"),
    "recola": ("sources.recola", "read_recola"),
    "rml": ("sources.rml", "read_rml"),
    "studyforrest": ("sources.studyforrest", "read_studyforrest"),
    "synthetic": ("sources.synthetic", "read_synthetic"),
    "with_few_labels": ("hiding", "with_few_labels"),
}
__all__ = [
    "Corpus",
    "CorpusError",
    "Hiding",
    "ict_mmmo",
    "omg",
    "ravdess",
    "read_corpus",
    "recola",
    "rml",
    "studyforrest",
    "synthetic",
    "with_few_labels",
    "write_corpus",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
