"""Which candidates dev chooses."""

import numpy as np
import pytest

from ifusion.experiment.choice import mark_chosen
from ifusion.systems.system import Candidate


def candidates(*settings, main="audio", seeds=(0, 1)):
    return [
        Candidate(main, "emotion", seed, {"alpha": alpha})
        for alpha in settings
        for seed in seeds
    ]


def test_every_seed_of_the_best_mean_is_chosen_for_each_main():
    listed = [*candidates(0, 0.5), *candidates(0, 0.5, main="video")]
    scores = np.array([0.9, 0.1, 0.6, 0.6, 0.7, 0.7, 0.9, 0.2])
    chosen = mark_chosen("implicit_fusion", listed, scores)
    assert chosen.tolist() == [False, False, True, True, True, True, False, False]


def test_a_setting_with_a_failed_seed_is_not_chosen():
    scores = np.array([0.5, 0.5, np.nan, 0.9])
    chosen = mark_chosen("implicit_fusion", candidates(0, 0.5), scores)
    assert chosen.tolist() == [True, True, False, False]
    chosen = mark_chosen("implicit_fusion", candidates(0.5), scores[2:])
    assert not chosen.any()


def test_two_candidates_of_one_setting_are_named():
    words = "svm: two candidates of audio, emotion, seed 1 have the setting 'alpha = 0'"
    with pytest.raises(ValueError, match=words):
        mark_chosen("svm", candidates(0, seeds=(0, 1, 1)), np.zeros(3))
