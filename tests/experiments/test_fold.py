"""One split of a corpus trained: from data at hand, and read in blocks."""

import jax
import numpy as np
import pytest
from data import split_corpus
from fold import describe_lane, make_data, train_fold
from study import make_plan

from configs.base import continuous_config
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.training.lanes import Lane
from ifusion.training.stream import Stream


@pytest.fixture(scope="module")
def folds():
    corpus = make_synthetic(
        SyntheticOptions(recordings=(4, 2, 2), speakers=8, frames=50, frame_step=0.4)
    )
    return split_corpus(corpus, False)


def plan_of(folds, mesh, block_mib):
    config = continuous_config()
    config.model.update({"hidden_size": 3, "branch_layers": 1, "shared_layers": 1})
    config.training.update(
        {"window": 16, "hop": 8, "epochs": 2, "patience": 2, "batch_size": 3}
        | {"input_noise": 0.1}
    )
    config.sweep.update(
        {"alphas": (0.0, 0.5), "seeds": (0, 1), "delays": (0.0, 0.8)}
        | {"mains": ("audio",), "targets": ("arousal",), "block_mib": block_mib}
    )
    return make_plan(config, folds, mesh)


@pytest.mark.usefixtures("unoptimised")
def test_what_is_read_in_blocks_trains_the_same_lanes(folds, mesh, unwatched, unsaved):
    """With windows, delays that look ahead, and settings chosen on dev."""
    (name, corpus), *_ = folds.items()
    runs = []
    for block_mib in (0.0, 0.025):
        plan = plan_of(folds, mesh, block_mib)
        streamed = isinstance(make_data(plan, corpus).train, Stream)
        assert streamed == (block_mib > 0)
        runs.append(train_fold(plan, corpus, name, unwatched, unsaved))
    (held, tuning, _), (read, chosen, _) = runs
    assert held.lanes == read.lanes
    jax.tree.map(np.testing.assert_array_equal, read.params, held.params)
    jax.tree.map(np.testing.assert_array_equal, read.history, held.history)
    assert read.outcomes == held.outcomes
    assert tuning.equals(chosen)


def test_a_block_holds_a_minibatch_of_every_seed(folds, mesh):
    (corpus,) = folds.values()
    plan = plan_of(folds, mesh, 0.01)
    with pytest.raises(ValueError, match=r"block_mib is 0\.01; .* 2 seeds has 0\.02"):
        make_data(plan, corpus)


def test_a_lane_is_named_as_a_replay_takes_it():
    lane = Lane("audio", 0.123456789, 3, "arousal")
    assert "main=audio,alpha=0.123456789,seed=3" in describe_lane(lane)
