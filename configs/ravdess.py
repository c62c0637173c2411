r"""RAVDESS speech, seven classes: eGeMAPS audio and facial action units.

    python experiments/sweep.py --config=configs/ravdess.py --workdir=runs/ravdess

About two and a half minutes on two cores, five times that with --folds. Expected
micro-F1 on test, five folds: audio 52 % and video 59 %, with and without implicit
fusion; there is no clear difference.

    python experiments/labels.py --config=configs/ravdess.py:few_labels --folds \
        --workdir=runs/labels --mesh=single --test

The variant few_labels suits a tenth of the labels: minibatches are smaller, so that
there are enough updates, and unlabelled recordings also count for standardisation.
"""

from ml_collections import ConfigDict

from configs.base import base_config


def get_config(variant: str = "") -> ConfigDict:
    """Returns the configuration.

    Args:
      variant: "" or "few_labels".

    Raises:
      ValueError: it is something else.
    """
    if variant not in ("", "few_labels"):
        raise ValueError(f"configs/ravdess.py:{variant}; expected :few_labels, or none")
    config = base_config(
        kind="ravdess",
        path="",  # folder of ravdess_av.npz; "" = $IFUSION_DATA/ravdess_av
        classes=7,  # 7 = those of OMG-Emotion, 8 = with calm
        impute=False,  # whether missing values (NaN) become the train mean
        units="joined",  # | "split": intensities and presences as two modalities
    )
    config.sweep.l2 = (0.0, 0.003, 0.006, 0.012)
    config.training.patience = 30
    if variant:
        config.sweep.l2 = (0.0, 0.003, 0.012)
        config.sweep.alphas = (0.0, 0.1, 0.3, 0.5, 1.0)
        config.sweep.seeds = (0,)  # of each draw
        config.training.batch_size = 32
        config.training.learning_rate = 2e-3
        config.training.input_noise = 0.5
        config.training.standardise = "all"
    return config
