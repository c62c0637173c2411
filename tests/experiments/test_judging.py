"""What candidates are judged by is that of their own fold."""

import numpy as np
import pytest
from comparison import gather_fold, make_study
from data import split_corpus

from configs.base import continuous_config
from ifusion.corpora.corpus import row_partition
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.systems.system import Candidate


@pytest.fixture(scope="module")
def study():
    corpus = make_synthetic(
        SyntheticOptions(
            recordings=(6, 2, 1), speakers=9, frames=30, frame_step=0.4, folds=3
        )
    )
    config = continuous_config()
    config.sweep.update({"targets": ("arousal",), "delays": (0.0,)})
    config.postprocessing.steps = ("centre",)
    return make_study(config, split_corpus(corpus, True))


def test_predictions_are_centred_on_dev_of_their_own_fold(study):
    """Right but for an offset, they lose it in every fold."""
    assert len(study.folds) == 3
    means = []
    for name, corpus in study.folds.items():
        sheet = gather_fold(study, name, ("dev",)).sheets["dev"]
        outputs = np.zeros((*sheet.mask.shape, 1))
        outputs[sheet.mask > 0] = sheet.labels + 1.0
        candidate = Candidate("audio", "arousal", 0)
        (offset,) = study.judges[name].learn(sheet, candidate, outputs)
        assert offset.value == pytest.approx(-1.0, abs=1e-5)
        means.append(corpus.labels[row_partition(corpus) == "dev"].mean())
    assert np.ptp(means) > 0.05  # or one fold's mean would do for all
