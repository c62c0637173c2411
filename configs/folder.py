r"""Your own corpus, in the open folder format that `ifusion.corpora.folder` describes.

    python experiments/sweep.py --config=configs/folder.py \
        --config.corpus.path=DIR --workdir=runs/mine

--config=configs/folder.py:continuous is for labels over time,
--config=configs/folder.py:values for one value per recording, such as sentiment. Run
time grows with lanes x sequences: RAVDESS, 780 utterances and 123 features, takes two
to three minutes on two cores. The score to beat is the constant class in the report.
"""

from ml_collections import ConfigDict

from configs.base import base_config, continuous_config, value_config


def get_config(task: str = "classification") -> ConfigDict:
    """Returns the configuration of a task.

    Args:
      task: "classification"; or a regression, "continuous" over time or of "values".
    """
    tasks = {
        "classification": base_config,
        "continuous": continuous_config,
        "values": value_config,
    }
    if task not in tasks:
        raise ValueError(f"configs/folder.py:{task}; expected {' or '.join(tasks)}")
    return tasks[task](
        kind="folder",
        path="",  # the folder; required
        impute=False,  # whether missing values (NaN) become the train mean
        missing="refuse",  # recordings that lack a modality | "leave_out" | "mask"
        tolerance=0,  # [frame] that files of a recording may begin or end apart
        ignore=(),  # columns that are not features: names or patterns such as "pose_*"
        keep=(),  # columns that are features, whatever their name
    )
