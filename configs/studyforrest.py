"""studyforrest, arousal and valence portrayed in a film, from its sound or picture.

    python experiments/sweep.py --config=configs/studyforrest.py \
        --workdir=runs/studyforrest

With --folds, leave-one-run-out. A ridge regression on the same features reaches a CCC
of .586 (dev) and .275 (test) for arousal from audio, .551 and .308 from video, and
leaving one run out .362 and .399; valence it hardly predicts. Annotators marked
episodes, so the search over delays should find about 0 s.
"""

from ml_collections import ConfigDict

from configs.base import continuous_config


def get_config() -> ConfigDict:
    """Returns the configuration."""
    return continuous_config(
        kind="studyforrest",
        path="",  # folder of studyforrest_av.npz; "" = $IFUSION_DATA/studyforrest_av
        hop=10,  # [frame of 40 ms]: one frame in ten, as the ridge above has it
        window="centred",  # of the features; "causal" looks back only
        gold="given",  # | "mean", the same | "avec"
    )
