"""Lanes are trained once, kept, and never taken for others."""

import signal
from dataclasses import asdict, replace
from functools import partial

import jax
import numpy as np
import pytest

from ifusion.corpora.splits import split_corpus
from ifusion.experiment.engine import FoldWork
from ifusion.experiment.options import with_sweep
from ifusion.experiment.signals import Stopped
from ifusion.experiment.snapshots import Snapshots
from ifusion.experiment.stages import describe_lane
from ifusion.experiment.study import make_study
from ifusion.experiment.trainer import Share, Work, train_missing
from ifusion.systems.implicit_fusion import joint_program
from ifusion.systems.neural import NeuralLane, Stage, plain_trainer
from ifusion.systems.side_by_side import side_by_side
from ifusion.training.schedule import MemoryLimitError


@pytest.fixture(scope="module")
def study(small, options, mesh):
    few = with_sweep(options, l2=(0.0,))
    return make_study(few, split_corpus(small, False), mesh)


@pytest.fixture
def here(study, tmp_path):
    return FoldWork(Work(tmp_path, study), "fixed")


def lane(main="audio", seed=0, alpha=0.5):
    other = {"audio": "video", "video": "audio"}[main]
    return NeuralLane(main, "emotion", seed, {main: 1.0, other: alpha})


LANES = [lane(), lane(seed=1), lane("video")]


@pytest.fixture
def counting(monkeypatch):
    """How many lanes each call of the training loop has trained."""
    from ifusion.experiment import trainer

    original, counts = trainer.train_lanes, []

    def count(sweep, lanes, *arguments, **named):
        counts.append(len(lanes.seed))
        return original(sweep, lanes, *arguments, **named)

    monkeypatch.setattr(trainer, "train_lanes", count)
    return counts


def test_lanes_are_those_of_a_plain_training(study, here):
    program = joint_program(study.protocol)
    mine = here.trainer("x")(program, LANES, here.fold)
    plain = plain_trainer(program, LANES, here.fold)
    for name, value in asdict(lane()).items():
        assert getattr(LANES[0], name) == value
    assert str(mine.params) == str(plain.params)
    np.testing.assert_array_equal(mine.best_score, plain.best_score)
    np.testing.assert_array_equal(mine.history["joint"], plain.history["joint"])


def test_a_lane_is_trained_once_in_a_fold(study, here, counting):
    program = joint_program(study.protocol)
    first = here.trainer("x")(program, LANES[:2], here.fold)
    again = FoldWork(here.work, "fixed")  # as if by another process
    more = again.trainer("y")(program, LANES, again.fold)
    assert counting == [2, 1]
    np.testing.assert_array_equal(more.best_score[:2], first.best_score)


def test_lanes_on_other_data_are_others(study, here, counting):
    program = joint_program(study.protocol)
    here.trainer("x")(program, LANES, here.fold)
    batch = here.fold.train
    changed = replace(here.fold, train=batch._replace(labelled=batch.labelled * 1))
    here.trainer("y")(program, LANES, changed, Stage("seed 0"))
    assert counting == [3, 3]
    here.trainer("y")(program, LANES, changed, Stage("seed 0"))
    assert counting == [3, 3]  # but those are found in their own stage


@pytest.fixture
def pairs(study, here, tmp_path):
    """Two runs, and data of its own for each."""
    other = FoldWork(Work(tmp_path / "other", study), "fixed")
    train, dev = here.fold.train_batch, here.fold.dev
    noisy = {m: x + np.float32(0.1) for m, x in dev.features.items()}
    fewer = replace(
        here.fold,
        train=train._replace(labels=train.labels[::-1]),
        dev=dev._replace(features=noisy),
        num_sequences=30,
    )
    return [(here, here.fold), (other, fewer)]


def train_both(program, pairs):
    def train(work, fold, ask):
        return work.trainer("x", train=ask)(program, LANES, fold)

    calls = [partial(train, work, fold) for work, fold in pairs]
    return side_by_side(calls, train_missing)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found._asdict(), expected._asdict())


def test_lanes_of_two_runs_train_side_by_side(study, pairs, counting):
    """Each on data of its own, with the bits that they get alone."""
    program = joint_program(study.protocol)
    both = train_both(program, pairs)
    for found, (_, fold) in zip(both, pairs, strict=True):
        assert_same(found, plain_trainer(program, LANES, fold))
    later = FoldWork(pairs[0][0].work, "fixed")
    trainer = later.trainer("x")
    trainer(program, LANES, later.fold)
    assert trainer.seconds > 0  # half of what both took
    assert counting == [2 * len(LANES)]


def test_the_time_before_a_stop_counts(study, here, monkeypatch):
    program, offer = joint_program(study.protocol), Snapshots.offer

    def stop(self, take):
        self._signals.received = signal.SIGTERM
        offer(self, take)

    with monkeypatch.context() as once, pytest.raises(Stopped):
        once.setattr(Snapshots, "offer", stop)
        here.trainer("x")(program, LANES, here.fold)
    trainer = here.trainer("x")
    trainer(program, LANES, here.fold)
    later = FoldWork(here.work, "fixed")
    found = later.trainer("x")
    found(program, LANES, later.fold)
    assert 0 < trainer.seconds < found.seconds  # which has this start's, too


def test_lanes_that_do_not_fit_together_train_alone(study, pairs, monkeypatch):
    from ifusion.experiment import trainer

    original, counts = trainer.train_lanes, []

    def refuse(sweep, lanes, *arguments, **named):
        counts.append(len(lanes.seed))
        if counts[-1] > len(LANES):
            raise MemoryLimitError("too large")
        return original(sweep, lanes, *arguments, **named)

    monkeypatch.setattr(trainer, "train_lanes", refuse)
    program = joint_program(study.protocol)
    _, found = train_both(program, pairs)
    assert counts == [6, 3, 3]
    assert_same(found, plain_trainer(program, LANES, pairs[1][1]))


def test_a_share_trains_its_lanes_alone(study, tmp_path, counting):
    program = joint_program(study.protocol)
    here = FoldWork(Work(tmp_path, study, Share(1, 3)), "fixed")
    trained = here.trainer("x")(program, LANES, here.fold)
    assert counting == [1]
    assert trained.failed.tolist() == [False, True, True]
    first = Stage("first", reads=[2, 0, 1])
    trained = here.trainer("x")(program, LANES, here.fold, first)
    assert trained.failed.tolist() == [False, True, False]  # lane 0 was there before


def test_lanes_of_other_options_are_refused(study, here, small, options, mesh):
    program = joint_program(study.protocol)
    here.trainer("x")(program, LANES, here.fold)
    other = replace(options, training=replace(options.training, learning_rate=0.5))
    changed = make_study(other, split_corpus(small, False), mesh)
    work = FoldWork(Work(here.work.run, changed), "fixed")
    with pytest.raises(ValueError, match="a run of another config"):
        work.trainer("x")(joint_program(changed.protocol), LANES, work.fold)


def test_lanes_are_named_with_their_setting():
    named = replace(lane(), setting={"alpha": 0.5, "lambda": 0.3})
    expected = "main=audio,alpha=0.5,lambda=0.3,seed=0,target=emotion"
    assert describe_lane(named) == expected
