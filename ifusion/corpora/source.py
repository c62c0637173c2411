"""Where a corpus comes from, so that a run can read it again."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from ifusion.corpora.corpus import Corpus

P = ParamSpec("P")


def keeps_source(kind: str) -> Callable[[Callable[P, Corpus]], Callable[P, Corpus]]:
    """Lets a reader note what it was called with, see `Corpus.source`.

    Args:
      kind: of `readers.READERS`, whose entries are the arguments of the reader.
    """

    def decorate(read: Callable[P, Corpus]) -> Callable[P, Corpus]:
        signature = inspect.signature(read)

        @wraps(read)
        def reading(*args: P.args, **kwargs: P.kwargs) -> Corpus:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            entries = dict(bound.arguments)
            if entries.get("path"):  # found from any folder
                entries["path"] = str(Path(entries["path"]).resolve())
            corpus = read(*args, **kwargs)
            return replace(corpus, source={"kind": kind, **entries})

        return reading

    return decorate
