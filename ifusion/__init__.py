"""Train on several modalities, deploy on one.

    import ifusion as ifn

    corpus = ifn.read_corpus("my_corpus")
    run = ifn.run(corpus, alphas=ifn.grid(0, 1, 0.1), seeds=range(5))
    print(run.choices)
    ifn.figure2(run)

The modules, in the order in which data passes them: `corpora` (files to a `Corpus`),
`preprocessing` (a corpus to arrays), `core`, `models` and `losses` (what is trained),
`training` (all lanes as one program), `systems` (implicit fusion, and what it is
compared with), `evaluation` (scores, choices, significance), `experiment` (the engine
and its run directory), `inference` (one modality in, predictions out), `reporting`
(tables, figures, the HTML report) and `launch` (flags and exit statuses of programs).
`concordance`, `adjustments`, `ties` and `storage` are shared by several of them.

Importing this package loads nothing heavy; attributes are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifusion import corpora as corpora
    from ifusion.api import Run as Run
    from ifusion.api import comparison as comparison
    from ifusion.api import controls as controls
    from ifusion.api import corpus_of as corpus_of
    from ifusion.api import figure2 as figure2
    from ifusion.api import grid as grid
    from ifusion.api import load as load
    from ifusion.api import missing_modality as missing_modality
    from ifusion.api import open_run as open_run
    from ifusion.api import open_test as open_test
    from ifusion.api import run as run
    from ifusion.api import table1 as table1
    from ifusion.api import table2 as table2
    from ifusion.corpora import read_corpus as read_corpus
    from ifusion.experiment.options import Options as Options
    from ifusion.inference.bundle import read_bundle as read_bundle
    from ifusion.inference.bundle import write_bundle as write_bundle
    from ifusion.inference.estimators import (
        ImplicitFusionClassifier as ImplicitFusionClassifier,
    )
    from ifusion.inference.estimators import (
        ImplicitFusionRegressor as ImplicitFusionRegressor,
    )

__version__ = "0.2.0"

_HOMES = {
    **dict.fromkeys(
        (
            "Run",
            "comparison",
            "controls",
            "corpus_of",
            "figure2",
            "grid",
            "load",
            "missing_modality",
            "open_run",
            "open_test",
            "run",
            "table1",
            "table2",
        ),
        "ifusion.api",
    ),
    "Options": "ifusion.experiment.options",
    "read_corpus": "ifusion.corpora",
    "read_bundle": "ifusion.inference.bundle",
    "write_bundle": "ifusion.inference.bundle",
    "ImplicitFusionClassifier": "ifusion.inference.estimators",
    "ImplicitFusionRegressor": "ifusion.inference.estimators",
}
__all__ = ["__version__", "corpora", *_HOMES]


def __getattr__(name: str) -> Any:
    """Loads an attribute when it is first used."""
    if name == "corpora":
        return import_module("ifusion.corpora")
    if name not in _HOMES:
        raise AttributeError(f"module 'ifusion' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
