"""The entries every config has, with the paper's values and our defaults.

The sections are those of `ifusion.experiment.options.Options`, whose dataclasses
document their entries; `training` also holds the entries of `SequenceOptions` and the
loss. `corpus` names the kind of corpus, what its reader takes, which labels of train
are hidden (`ifusion.corpora.corpus.Hiding`), and recordings without labels to add.
"""

from typing import Any

from ml_collections import ConfigDict

from ifusion.experiment.options import (
    Options,
    continuous_options,
    options_to_dict,
    value_options,
)

HIDING = {
    "labelled": 1.0,  # share of the labels of train that are kept; 1 = all
    "draw": 0,  # number of the random draw of those
    "labelled_by": "clip",  # | "speaker": that share of speakers keeps all labels
    "adapt": "",  # attribute that splits test: one value is scored, others trained on
    "unlabelled": "",  # folder of further recordings, trained on without labels
}


def base_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a classification.

    Args:
      corpus: kind ("synthetic", "ravdess", "omg", "folder", "recola", "rml",
        "ict_mmmo" or "studyforrest") and what its reader takes.
    """
    return _config(corpus, Options())


def continuous_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a regression over time, such as RECOLA (Sec. 4.1.2)."""
    return _config(corpus, continuous_options())


def value_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a regression of one value per recording."""
    return _config(corpus, value_options())


def _config(corpus: dict[str, Any], options: Options) -> ConfigDict:
    return ConfigDict({"corpus": HIDING | corpus, **options_to_dict(options)})
