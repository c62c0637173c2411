"""Where a corpus comes from, so that a run can read it again."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import ParamSpec

from ifusion.corpora.corpus import Corpus
from ifusion.paths import expand_path

P = ParamSpec("P")


def keeps_source(kind: str) -> Callable[[Callable[P, Corpus]], Callable[P, Corpus]]:
    """Makes the reader of a kind of corpus record its arguments in `Corpus.source`."""

    def decorate(read: Callable[P, Corpus]) -> Callable[P, Corpus]:
        signature = inspect.signature(read)

        @wraps(read)
        def reading(*args: P.args, **kwargs: P.kwargs) -> Corpus:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            entries = dict(bound.arguments)
            if entries.get("path"):
                found = bound.arguments["path"] = expand_path(entries["path"])
                entries["path"] = str(found.resolve())  # found from any folder
            corpus = read(*bound.args, **bound.kwargs)
            return replace(corpus, source={"kind": kind, **entries})

        return reading

    return decorate
