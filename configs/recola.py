r"""RECOLA, arousal and valence over time: the paper's Table 2.

    python experiments/sweep.py --config=configs/recola.py --workdir=runs/recola \
        --config.corpus.path=DIR
    python experiments/evaluate.py --run=runs/recola
    python experiments/submission.py --run=runs/recola --partition=test \
        --folder=submission

`ifusion.corpora.sources.recola` describes DIR; the default is the layout of AVEC 2015.
AVEC 2016 has features of each target in sub-folders, so train one target at a time:

    --config.corpus.targets="('arousal',)" \
    --config.corpus.features.audio="features_audio/{target}/{recording}" \
    --config.corpus.features.video="features_video_geometric/{target}/{recording}"

Other modalities than audio and video are named all at once, in quotes:

    --config.corpus.features="{'audio': 'features_audio/{recording}', \
        'heart': 'features_ECG/{recording}'}"

The corpus cannot be redistributed, and its organisers keep the test labels: send them
the files of the third command. No score was measured here. A synthetic corpus of the
same size and format takes four seconds per epoch and lane on two cores, and 4 GiB. The
paper reports a CCC on dev of .766 / .504 (arousal / valence from audio) and .499 / .619
(from video) alone, .769 / .513 and .515 / .622 with implicit fusion; see Table 2 for
test.
"""

import dataclasses

from ml_collections import ConfigDict

from configs.base import continuous_config
from ifusion.corpora.sources.recola import FRAME_STEP, RecolaFiles


def get_config() -> ConfigDict:
    """Returns the configuration."""
    config = continuous_config(
        kind="recola",
        path="",  # folder of the corpus; required
        **dataclasses.asdict(RecolaFiles()),
        targets=("arousal", "valence"),
        gold="given",  # | "mean" | "avec", made of the raters
        tolerance=5,  # [frame] that files of a recording may begin or end apart
        frame_step=FRAME_STEP,  # [s]
        ignore=(),  # columns that are not features: names or patterns such as "pose_*"
        keep=(),  # columns that are features, whatever their name
        impute=False,  # whether missing values (NaN) become the train mean
    )
    # row "SVR [11]": windows of AVEC 2016, delays of AVEC 2018
    config.systems.svr_windows = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
    config.systems.svr_delays = tuple(round(0.4 * i, 1) for i in range(25))
    return config
