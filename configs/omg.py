r"""OMG-Emotion, seven classes: the paper's Table 1 and Fig. 2.

    python experiments/sweep.py --config=configs/omg.py --workdir=runs/omg \
        --config.corpus.path=DIR --config.corpus.features.audio=egemaps.csv \
        --config.corpus.features.video=vggface.parquet

Other modalities than audio and video are named all at once, in quotes:

    --config.corpus.features="{'video': 'facet.csv', 'text': 'lsa.csv'}"

and --config=configs/omg.py:dimensions predicts arousal and valence of an utterance.

The corpus cannot be redistributed: neither run time nor score was measured here. The
paper reports F1 on dev of 36.5 % (audio) and 37.9 % (video) alone, 40.2 % and 42.1 %
with implicit fusion.
"""

from ml_collections import ConfigDict

from configs.base import base_config, value_config


def get_config(task: str = "emotion") -> ConfigDict:
    """Returns the configuration of "emotion", or of arousal and valence, "dimensions".

    Intervals and p-values are over links, which stand for speakers.
    """
    tasks = {
        "emotion": (base_config, ("emotion",)),
        "dimensions": (value_config, ("arousal", "valence")),
    }
    if task not in tasks:
        raise ValueError(f"configs/omg.py:{task}; expected {' or '.join(tasks)}")
    config_of, target = tasks[task]
    return config_of(
        kind="omg",
        path="",  # folder of the official label CSVs; required
        # in path: tables of features, keyed by video and utterance; required
        features={"audio": "", "video": ""},
        target=target,  # | ("arousal",) | ("valence",), with omg.py:dimensions
        links="official",  # | "unseen": train has no link that dev or test has
        impute=False,  # whether missing values (NaN) become the train mean
        ignore=(),  # columns that are not features: names or patterns such as "pose_*"
        keep=(),  # columns that are features, whatever their name
        # [s] of tables that have a row per frame and a column `time`, or None of those
        # with a column `step`, as in "{'video': 0.04, 'audio': None}"
        frame_steps={},
        missing="leave_out",  # utterances that lack a modality | "mask", by frames
        max_missing=0.5,  # share of a partition that may lack features of a modality
    )
