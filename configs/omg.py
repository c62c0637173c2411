"""OMG-Emotion, seven classes: the paper's Table 1 and Fig. 2.

    python experiments/sweep.py --config=configs/omg.py --workdir=runs/omg \
        --config.corpus.path=DIR --config.corpus.audio=egemaps.csv \
        --config.corpus.video=vggface.parquet

The corpus cannot be redistributed: neither run time nor score was measured here. The
paper reports F1 on dev of 36.5 % (audio) and 37.9 % (video) alone, 40.2 % and 42.1 %
with implicit fusion.
"""

from ml_collections import ConfigDict

from configs.base import base_config


def get_config() -> ConfigDict:
    """Returns the configuration."""
    config = base_config(
        kind="omg",
        path="",  # folder of the official label CSVs; required
        audio="",  # in path: table of features, keyed by video and utterance; required
        video="",  # likewise; required
        impute=False,  # whether missing values (NaN) become the train mean
        ignore=(),  # columns that are no features: names or patterns such as "pose_*"
        keep=(),  # columns that are features, whatever their name
        max_missing=0.5,  # share of a partition that may lack features of a modality
    )
    config.evaluation.cluster = "video"
    return config
