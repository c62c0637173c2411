"""The entries every config has, with the paper's values and our defaults.

The sections are those of `ifusion.experiment.options.Options`, whose dataclasses
document their entries; `training` also holds the entries of `SequenceOptions` and the
loss. `corpus` names the kind of corpus and what its reader takes.
"""

from typing import Any

from ml_collections import ConfigDict

from ifusion.experiment.options import (
    Options,
    continuous_options,
    options_to_dict,
    value_options,
)


def base_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a classification.

    Args:
      corpus: kind ("synthetic", "ravdess", "omg", "folder", "recola", "rml",
        "ict_mmmo" or "studyforrest") and what its reader takes.
    """
    return ConfigDict({"corpus": corpus, **options_to_dict(Options())})


def continuous_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a regression over time, such as RECOLA (Sec. 4.1.2)."""
    return ConfigDict({"corpus": corpus, **options_to_dict(continuous_options())})


def value_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a regression of one value per recording."""
    return ConfigDict({"corpus": corpus, **options_to_dict(value_options())})
