"""What is trained under one version of Python and JAX is trained under another.

The numbers below are those of Python 3.11 and jax 0.10.2.
"""

from dataclasses import replace

import numpy as np
import pytest

from configs import synthetic, synthetic_continuous
from ifusion.corpora.readers import open_corpus
from ifusion.experiment import runs
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.options import options_from_dict, with_sweep
from ifusion.experiment.runs import Plan
from ifusion.experiment.store import fit_folder

TOLERANCE = 1e-5  # of losses and scores, after 20 epochs
LOSSES = {  # of audio with alpha 0 and 0.5, and of video
    "classes": [0.6927863, 1.0477643, 0.7020306, 1.0523647],
    "time": [0.1206689, 0.1595544, 0.0650712, 0.1304716],
}
SCORES = {  # the best on dev
    "classes": [0.5, 0.5, 0.4, 0.4],
    "time": [-0.2727079, -0.2651740, 0.1988759, 0.1951141],
}


def plan_of(task):
    config = {"classes": synthetic, "time": synthetic_continuous}[task].get_config()
    config.corpus.recordings = (40, 20, 20) if task == "classes" else (4, 2, 2)
    config.corpus.speakers = 8
    config.model.hidden_size = 8
    config.training.update(epochs=20, patience=20)
    sections = config.to_dict()
    if task == "time":
        sections["corpus"]["frames"] = 100
    source = sections.pop("corpus")
    options = options_from_dict(sections)
    options = with_sweep(options, alphas=(0.0, 0.5), seeds=(0,), tuning_seeds=())
    if task == "time":
        options = with_sweep(options, targets=("arousal",), delays=(0.8,))
    options = replace(options, postprocessing=replace(options.postprocessing, steps=()))
    corpus = open_corpus(source.pop("kind"), source)
    return Plan(corpus, options, ("implicit_fusion",))


@pytest.mark.parametrize("task", LOSSES)
def test_lanes_are_those_of_other_versions(task, mesh, tmp_path):
    runs.train(tmp_path / "run", plan_of(task), mesh)
    found = load_fitted(fit_folder(tmp_path / "run", "fixed", "implicit_fusion"))
    losses = found.history["joint"][-1]
    np.testing.assert_allclose(losses, LOSSES[task], atol=TOLERANCE)
    scores = np.nanmax(found.history["dev_score"], axis=0)
    np.testing.assert_allclose(scores, SCORES[task], atol=TOLERANCE)
