"""Snapshots of a stage: what stays, what is found again, and what a signal does."""

import json
import signal
import threading
from dataclasses import asdict
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import snapshots as room
from files import forget_snapshots, locked, refuse_existing
from fold import failures_of
from replay import Wanted, parse_lane
from snapshots import Snapshots, newest_snapshot

from ifusion.core import TrainState
from ifusion.training.checkpoint import Outcome
from ifusion.training.lanes import lane_arrays, make_grid
from ifusion.training.loop import Snapshot
from ifusion.training.sweep import LaneState
from launch import PutOff, Stopped

LANES = make_grid(("audio",), ("emotion",), (0.0, 0.5), (0, 1))
ARRAYS = lane_arrays(LANES, ("audio",), ("emotion",))


def state_of(epoch):
    """A state in which every number is the epoch, and no lane has failed."""
    params = {"output": {"bias": np.full((len(LANES), 3), epoch, np.float32)}}
    step = np.full(len(LANES), epoch, np.int32)
    return LaneState(
        TrainState(params, (), step, step - epoch - 1),
        params,
        np.full(len(LANES), epoch, np.float32),
        step,
    )


def snapshot_of(epoch):
    history = {"joint": np.full((epoch, len(LANES)), 0.5, np.float32)}
    return Snapshot(0, epoch, state_of(epoch), history)


SWEEP = SimpleNamespace(
    width=2,
    init=lambda lanes, given: LaneState(
        *(
            TrainState(
                {"output": {"bias": jnp.zeros((2, 3))}},
                (),
                *jnp.zeros((2, 2), jnp.int32),
            ),
            {"output": {"bias": jnp.zeros((2, 3))}},
            jnp.zeros(2),
            jnp.zeros(2, jnp.int32),
        )
    ),
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "snapshots" / "fixed" / "grid"


def opened(folder, every=0.0, keep=2, lanes=LANES):
    return Snapshots(folder, lanes, {"jax": "0.0"}, every, keep)


def save_epochs(folder, *epochs, **options):
    with opened(folder, **options) as snapshots:
        for epoch in epochs:
            snapshots.save(snapshot_of(epoch))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def newest(folder, lanes=LANES):
    return newest_snapshot(folder, lanes, SWEEP, ARRAYS)


def spoil(path):
    data = bytearray((path / "arrays.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "arrays.safetensors").write_bytes(data)


def test_the_newest_comes_back(folder):
    save_epochs(folder, 3, 7)
    found = newest(folder)
    assert found.path == folder / "2"
    assert found.snapshot.epoch == 7
    np.testing.assert_array_equal(
        found.snapshot.state.train.params["output"]["bias"], np.full((4, 3), 7.0)
    )
    np.testing.assert_array_equal(found.snapshot.history["joint"], np.full((7, 4), 0.5))
    facts = json.loads((folder / "2" / "checkpoint.json").read_text("utf-8"))
    assert facts["provenance"] == {"jax": "0.0"}
    assert facts["lanes"] == [asdict(lane) for lane in LANES]


def test_the_last_few_stay(folder):
    save_epochs(folder, 1, 2, 3, 4, keep=3)
    assert names_in(folder) == ["2", "3", "4"]


def test_where_there_is_none_there_is_nothing_to_say(folder, capsys):
    assert newest(folder) is None
    with opened(folder) as snapshots:
        assert snapshots.newest(SWEEP, ARRAYS) is None
    assert capsys.readouterr().err == ""


def test_a_damaged_one_is_named_and_the_one_before_it_taken(folder, capsys):
    save_epochs(folder, 3, 7)
    spoil(folder / "2")
    with opened(folder) as snapshots:
        assert snapshots.newest(SWEEP, ARRAYS).epoch == 3
        said = capsys.readouterr().err
        assert f"{folder / '2'}: the array" in said and "it is left out" in said
        assert f"goes on from {folder / '1'}" in said
        snapshots.save(snapshot_of(4))
        assert names_in(folder) == ["1", "3"]  # the good one stays, the other goes


def test_where_all_are_damaged_training_begins_anew(folder, capsys):
    save_epochs(folder, 3, 7)
    spoil(folder / "1")
    spoil(folder / "2")
    assert newest(folder) is None
    assert "begins anew" in capsys.readouterr().err


def test_snapshots_of_other_lanes_or_programs_are_left_out(folder, capsys):
    save_epochs(folder, 3)
    assert newest(folder, LANES[:2]) is None
    assert "a snapshot of other lanes" in capsys.readouterr().err
    other = SimpleNamespace(width=2, init=lambda lanes, given: {"bias": jnp.zeros(2)})
    assert newest_snapshot(folder, LANES, other, ARRAYS) is None
    said = capsys.readouterr().err
    assert f"{folder / '1'}: the array" in said and "program alone" in said


# ---- in the background --------------------------------------------------------------


def test_offers_are_taken_when_they_are_due(folder, monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=0.0)
    monkeypatch.setattr(room, "time", clock)
    taken = []

    def take():
        taken.append(clock.now)
        return snapshot_of(1)

    with opened(folder, every=10.0) as snapshots:
        for now in (1.0, 9.9, 10.0, 15.0, 19.9, 20.5, 31.0):
            clock.now = now
            snapshots.offer(take)
            snapshots._wait()
    assert taken == [10.0, 20.5, 31.0]


def test_a_snapshot_has_no_name_before_it_is_on_the_disk(folder, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    write = room.write_folder

    def slowly(path, arrays, facts):
        begun.set()
        assert go_on.wait(30)
        write(path, arrays, facts)

    monkeypatch.setattr(room, "write_folder", slowly)
    with opened(folder) as snapshots:
        snapshots.offer(lambda: snapshot_of(1))
        assert begun.wait(30)
        assert names_in(folder) == []
        snapshots.offer(lambda: pytest.fail("two at once"))
        go_on.set()
    assert names_in(folder) == ["1"]


@pytest.mark.parametrize("how", ["offer", "save", "end"])
def test_what_could_not_be_written_is_told(folder, monkeypatch, how):
    def fail(path, arrays, facts):
        raise OSError(28, "No space left on device", str(path))

    save_epochs(folder, 3)
    monkeypatch.setattr(room, "write_folder", fail)
    with pytest.raises(OSError, match=r"No space left on device.*grid/2"):  # noqa: SIM117
        with opened(folder) as snapshots:
            snapshots.offer(lambda: snapshot_of(4))
            snapshots._writing.exception()
            if how == "offer":
                snapshots.offer(lambda: snapshot_of(5))
            elif how == "save":
                snapshots.save(snapshot_of(5))
    assert newest(folder).snapshot.epoch == 3


# ---- signals ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heeded_after_the_epoch_which_is_saved(folder, number, capfd):
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(Stopped, match="epoch 6, which is saved") as caught:  # noqa: SIM117
            with opened(folder, every=1e6) as snapshots:
                snapshots.offer(lambda: pytest.fail("not due"))
                signal.raise_signal(number)
                assert "stops after this epoch" in capfd.readouterr().err
                snapshots.offer(lambda: snapshot_of(6))
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert caught.value.number == number
    assert "--resume" in caught.value.said
    assert newest(folder).snapshot.epoch == 6


def test_a_second_signal_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Stopped), PutOff():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("went on")
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_after_the_last_epoch_is_not_lost():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = []
    try:
        with pytest.raises(Stopped), PutOff():
            signal.raise_signal(signal.SIGINT)
            reached.append("end")
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with PutOff() as signals:
            signal.raise_signal(signal.SIGINT)
        assert not signals.asked
    finally:
        signal.signal(signal.SIGINT, before)


# ---- the run around them ------------------------------------------------------------


def test_snapshots_of_a_finished_fold_go(tmp_path, folder):
    save_epochs(folder, 3)
    save_epochs(tmp_path / "snapshots" / "other" / "grid", 3)
    forget_snapshots(tmp_path, "fixed")
    assert names_in(tmp_path / "snapshots") == ["other"]
    forget_snapshots(tmp_path, "other")
    assert names_in(tmp_path) == []
    forget_snapshots(tmp_path, "other")


def test_the_lock_clears_what_dead_writers_left(tmp_path):
    left = tmp_path / "snapshots" / "fixed" / "grid" / ".3.12.part"
    left.mkdir(parents=True)
    (left / "arrays.safetensors").write_bytes(b"half")
    (tmp_path / ".scores.csv.12.part").write_bytes(b"half")
    with locked(tmp_path):
        assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("resume", [True, False])
def test_a_start_that_was_killed_is_no_hindrance(tmp_path, resume):
    refuse_existing(tmp_path / "none", resume)
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.12.part").write_bytes(b"{")
    refuse_existing(tmp_path, resume)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="no run to resume" if resume else "already"):
        refuse_existing(tmp_path, resume)


def test_a_lane_that_failed_is_told_with_its_alpha_and_update():
    outcomes = (*[Outcome(1, 0.5, -1)] * 3, Outcome(2, 0.5, 17))
    (sentence,) = failures_of(SimpleNamespace(lanes=LANES, outcomes=outcomes))
    assert "main=audio,alpha=0.5,seed=1,target=emotion" in sentence
    assert "update 17" in sentence


def test_a_lane_is_named_by_its_parts():
    assert parse_lane("main=audio,alpha=0.3,seed=2") == Wanted("audio", 0.3, 2)
    assert parse_lane("fold=1, seed=2, alpha=0, main=a, target=b") == Wanted(
        "a", 0.0, 2, "b", "1"
    )


@pytest.mark.parametrize(
    "text", ["", "main=audio", "main=a,alpha=x,seed=2", "main=a,alpha=1,seed=1,hue=3"]
)
def test_what_names_no_lane_is_refused(text):
    with pytest.raises(ValueError, match=r"expected main=audio,alpha=0\.3,seed=2"):
        parse_lane(text)
