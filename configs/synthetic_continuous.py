r"""The embedded synthetic corpus as arousal and valence over time, known delay 2.4 s.

    python experiments/sweep.py --config=configs/synthetic_continuous.py \
        --workdir=runs/synthetic_continuous

About two and a half minutes on two cores. Expected CCC on test, pooled, post-processed:
arousal .92 from audio and from video, valence .95; joint training adds nothing.

Both modalities show both targets on one curved surface, audio with more noise. The
annotation follows 2.4 s later, and the search over delays should find that within one
step. It finds 2.0 s: a causal network gains from looking back a little.
"""

import dataclasses

from ml_collections import ConfigDict

from configs.base import continuous_config
from ifusion.corpora.sources.synthetic import SyntheticOptions


def get_config() -> ConfigDict:
    """Returns the configuration."""
    corpus = SyntheticOptions(
        features=(16, 16),
        noise=(0.3, 0.1),
        recordings=(9, 6, 9),
        speakers=24,
        frames=1000,
        smoothness=0.8,
        annotation_delay=2.4,
    )
    config = continuous_config(kind="synthetic", **dataclasses.asdict(corpus))
    config.model.branch_layers = config.model.shared_layers = 1
    config.model.hidden_size = 16
    config.training.epochs = 12
    config.training.batch_size = 16
    config.training.learning_rate = 5e-3
    config.sweep.delays = tuple(round(0.4 * i, 1) for i in range(13))
    config.sweep.alphas = (0.0, 0.2, 0.5, 1.0)
    config.sweep.seeds = (0, 1, 2)
    config.sweep.tuning_seeds = (0,)
    return config
