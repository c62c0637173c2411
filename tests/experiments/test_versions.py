"""What is trained under one version of Python and JAX is trained under another.

The numbers below are those of Python 3.11 and jax 0.10.2.
"""

import numpy as np
import pytest
from course import open_folds
from fold import train_fold
from study import make_plan

from configs import synthetic, synthetic_continuous

TOLERANCE = 1e-5  # of losses and scores, after 20 epochs
LOSSES = {  # of audio with alpha 0 and 0.5, and of video
    "classes": [0.6927863, 1.0477643, 0.7020306, 1.0523647],
    "time": [0.1206689, 0.1595544, 0.0650712, 0.1304716],
}
SCORES = {  # the best on dev
    "classes": [0.5, 0.5, 0.4, 0.4],
    "time": [-0.2727079, -0.2651740, 0.1988759, 0.1951141],
}


def config_of(task):
    config = {"classes": synthetic, "time": synthetic_continuous}[task].get_config()
    config.corpus.recordings = (40, 20, 20) if task == "classes" else (4, 2, 2)
    config.corpus.speakers = 8
    if task == "time":
        config.corpus.frames = 100
        config.sweep.update(targets=("arousal",), delays=(0.8,))
    config.model.hidden_size = 8
    config.training.update(epochs=20, patience=20)
    config.sweep.update(alphas=(0.0, 0.5), seeds=(0,))
    return config


@pytest.mark.parametrize("task", LOSSES)
def test_lanes_are_those_of_other_versions(task, mesh, unwatched, unsaved):
    config = config_of(task)
    folds = open_folds(config, False)
    ((name, corpus),) = folds.items()
    plan = make_plan(config, folds, mesh)
    result = train_fold(plan, corpus, name, unwatched, unsaved)
    losses = result.trained.history["joint"][-1]
    np.testing.assert_allclose(losses, LOSSES[task], atol=TOLERANCE)
    scores = [outcome.best_score for outcome in result.trained.outcomes]
    np.testing.assert_allclose(scores, SCORES[task], atol=TOLERANCE)
