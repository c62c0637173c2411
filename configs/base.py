"""The entries every config has, with the paper's values and our defaults.

The entries of a section are those of the dataclass behind it, which documents them:
`model` is `ifusion.models.architecture.Architecture`, `training`
`ifusion.training.options.TrainingOptions` and
`ifusion.preprocessing.sequences.SequenceOptions`, `postprocessing`
`ifusion.evaluation.postprocessing.PostProcessingOptions`, `systems`
`ifusion.systems.options.SystemOptions`.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from ifusion.evaluation.postprocessing import PostProcessingOptions
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import SequenceOptions
from ifusion.systems.options import SystemOptions
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
            # kind: synthetic | ravdess | omg | folder | recola | studyforrest, and what
            # its reader takes
            "corpus": corpus,
            "model": model,
            "training": {
                **dataclasses.asdict(TrainingOptions()),
                **dataclasses.asdict(SequenceOptions()),
            },
            "sweep": {
                "modalities": (),  # () = all of the corpus
                "mains": (),  # () = every modality
                "targets": (),  # () = all of the corpus
                "alphas": tuple(round(0.1 * i, 1) for i in range(11)),
                "seeds": (0, 1, 2, 3, 4),
                "l2": (0.0,),  # penalties, of which dev chooses one
                # annotation delays [s], of which dev chooses one; those that fall on
                # the same frame count once
                "delays": (0.0,),
                # "baseline": settings are chosen for alpha = 0 and kept along the grid;
                # "alpha": for each alpha on its own, at the price of the whole grid
                "tune": "baseline",
                "tuning_seeds": (),  # those that settings are chosen with, () = all
                # of a device, for data, states and one group of lanes; 0 = as the
                # device has, and on a CPU no limit
                "memory_gib": 0.0,
                # above 0: train is not held, but read in blocks of so many MiB while
                # lanes train, for corpora larger than the memory; 0 = held whole
                "block_mib": 0.0,
                # where training stands is saved in the background, at the end of an
                # epoch, and --resume goes on from there; 0 = after every epoch
                "save_every_seconds": 60.0,
                "keep_snapshots": 2,  # the newest, in case one is damaged
            },
            "evaluation": {
                "metric": "micro_f1",
                "cluster": "speaker",  # what significance resamples
                "resamples": 10_000,
            },
            # of experiments/tables.py
            "systems": dataclasses.asdict(SystemOptions()),
        }
    )


def continuous_config(**corpus: Any) -> ConfigDict:
    """Returns the defaults of a regression over time, such as RECOLA (Sec. 4.1.2).

    Sec. 4.2: two GRU layers in each branch, two shared. Not in the paper: the loss,
    windows (128 frames, which are 5 s at 40 ms) and their overlap, that the 128 of a
    minibatch are windows, the delays searched, the CCC that alpha is chosen by (the
    paper names none of pooled and mean over recordings), what is resampled.
    """
    config = base_config(**corpus)
    config.model.branch_layers = config.model.shared_layers = 2
    config.training.window = 128
    config.training.hop = 64
    config.training.loss = "squared_error"  # | "ccc" | "ccc_sequences"
    config.sweep.delays = tuple(round(0.4 * i, 1) for i in range(21))
    config.evaluation.metric = "ccc_pooled"  # | "ccc_recordings"
    config.evaluation.convention = "population"  # of CCC: | "sample" | "avec_ces"
    config.evaluation.cluster = "recording"
    config.postprocessing = dataclasses.asdict(PostProcessingOptions())
    return config
