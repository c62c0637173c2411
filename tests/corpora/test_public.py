"""Public corpora as they are: each warning is known, and there is no other."""

import os
from importlib import import_module

import pytest

from ifusion.corpora.readers import open_corpus
from ifusion.corpora.splits import split_corpus, warnings_of

FAR, FEW = "values are far from all others", "a few rows outweigh all others"
MOVES, CONSTANT = "is unlike anything in train", "are constant in train"
KNOWN = {  # {config: (on its own split, over folds)}
    "synthetic": ((), ()),
    "synthetic_continuous": ((), ()),
    "studyforrest": (("all runs are of one film",),) * 2,
    "rml": (("a guess, stand for them",),) * 2,
    "ict_mmmo": ((FAR, FEW), (CONSTANT, FAR, FEW)),
    "ravdess": ((FAR, FEW), (FAR, FEW, MOVES, MOVES)),
}
EMBEDDED = ("synthetic", "synthetic_continuous")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_only_true_warnings_are_given(name, folds):
    if name not in EMBEDDED and "IFUSION_DATA" not in os.environ:
        pytest.skip("IFUSION_DATA is not set")
    entries = import_module(f"configs.{name}").get_config().corpus.to_dict()
    corpus = open_corpus(entries.pop("kind"), entries)
    said = [*corpus.notes, *warnings_of(split_corpus(corpus, folds))]
    known = list(KNOWN[name][folds])
    for sentence in said:
        (found,) = [words for words in {*known} if words in sentence]
        known.remove(found)
    assert not known
