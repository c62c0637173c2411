"""The entries every config has, with the paper's values and our defaults.

The entries of a section are those of the dataclass behind it, which documents them:
`model` is `ifusion.models.architecture.Architecture`, `training`
`ifusion.training.options.TrainingOptions`.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from ifusion.models.architecture import Architecture
from ifusion.training.options import TrainingOptions


def base_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults, with the entries of `corpus` for the section of that name.

    Sec. 4.2: alpha from 0.0 to 1.0 in steps of 0.1. Not in the paper: the number of
    seeds, the metric that alpha and epoch are chosen by, what is resampled.
    """
    model = dataclasses.asdict(Architecture())
    del model["recurrent"]  # follows from the sequences
    return ConfigDict(
        {
            # kind: synthetic | ravdess | omg | folder, and what its reader takes
            "corpus": corpus,
            "model": model,
            "training": {
                **dataclasses.asdict(TrainingOptions()),
                # attribute that joins utterances to one sequence ("video"), "" = none
                "sequence": "",
            },
            "sweep": {
                "modalities": (),  # () = all of the corpus
                "mains": (),  # () = every modality
                "targets": (),  # () = all of the corpus
                "alphas": tuple(round(0.1 * i, 1) for i in range(11)),
                "seeds": (0, 1, 2, 3, 4),
                # penalties, of which dev chooses one for alpha = 0, see
                # `ifusion.evaluation.selection.choose_settings`
                "l2": (0.0,),
                "tuning_seeds": (),  # those that settings are chosen with, () = all
                "memory_gib": 0.0,  # for the lanes of a group; 0 = as the device has
            },
            "evaluation": {
                "metric": "micro_f1",
                "cluster": "speaker",  # what significance resamples
                "resamples": 10_000,
            },
        }
    )
