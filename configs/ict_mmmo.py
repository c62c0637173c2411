"""ICT-MMMO, the sentiment of web videos: one value per recording, natural speech.

    python experiments/sweep.py --config=configs/ict_mmmo.py --workdir=runs/ict_mmmo

Implicit fusion took a minute and a half on two busy cores. Expected CCC on test: audio
.29, video .10, alone as with implicit fusion; see docs/results.md. With --folds it was
not measured.
"""

from ml_collections import ConfigDict

from configs.base import value_config


def get_config() -> ConfigDict:
    """Returns the configuration."""
    config = value_config(
        kind="ict_mmmo",
        path="",  # folder of ict_mmmo.npz; "" = $IFUSION_DATA/ict_mmmo
    )
    config.sweep.l2 = (0.003, 0.012, 0.05)
    config.training.batch_size = 32
    config.training.patience = 30
    return config
