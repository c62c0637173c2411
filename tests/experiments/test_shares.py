"""Shares of a run: how lanes are cut, what is found again, and that nothing differs."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from course import merge_shares, open_folds, train_run, train_shares
from fold import TrainedFold
from settings import WHOLE, Share, Trained, cut_lanes, tune_lanes
from shares import (
    count_shares,
    find_shares,
    is_trained,
    join_shares,
    load_trained,
    parse_share,
    require_agreement,
    require_finished,
    save_trained,
    share_folder,
)

from configs.synthetic import get_config as classes
from configs.synthetic_continuous import get_config as over_time
from ifusion.preprocessing.standardise import Standardizer
from ifusion.training.checkpoint import Outcome
from ifusion.training.lanes import make_grid

NAMES = (("audio", "video"), ("arousal", "valence"))
ALPHAS, SEEDS, SETTINGS = (0.0, 0.3, 1.0), (0, 1), ((0.0, 0.1), (0, 5))
LANES = make_grid(*NAMES, ALPHAS, SEEDS)
TUNING = {
    "baseline": make_grid(*NAMES, (0.0,), SEEDS, *SETTINGS),
    "alpha": make_grid(*NAMES, ALPHAS, SEEDS, *SETTINGS),
}


@pytest.mark.parametrize(("text", "share"), [("1/1", (1, 1)), ("2/4", (2, 4))])
def test_a_share_is_named_by_two_numbers(text, share):
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text", ["3/2", "0/2", "2of4", "", "1/", "-1/2", "1/0", "1/2/3"]
)
def test_what_names_no_share_is_refused(text):
    with pytest.raises(ValueError, match=f"--lanes={text}: expected i/n"):
        parse_share(text)


@pytest.mark.parametrize("total", [1, 2, 5, len(LANES)])
def test_shares_hold_every_lane_once_in_its_order(total):
    parts = [cut_lanes(Share(i + 1, total), LANES, ())[0] for i in range(total)]
    assert sum(parts, ()) == LANES
    assert {len(part) for part in parts} <= {
        len(LANES) // total,
        -(-len(LANES) // total),
    }


def test_there_are_no_more_shares_than_lanes():
    with pytest.raises(ValueError, match="--lanes=4/25: there are only 24 lanes"):
        cut_lanes(Share(4, 25), LANES, ())


@pytest.mark.parametrize("tune", ["baseline", "alpha"])
@pytest.mark.parametrize("total", [1, 2, 5, 24])
def test_a_share_needs_no_other_lanes_for_its_settings(tune, total):
    """Chosen by those it trains alone, settings are those that all would give."""
    tuning = TUNING[tune]
    scores = dict(
        zip(tuning, np.random.default_rng(3).random(len(tuning)), strict=True)
    )
    expected, _ = tune_lanes(LANES, tuning, list(scores.values()), "fixed")
    found = []
    for number in range(1, total + 1):
        mine, needed = cut_lanes(Share(number, total), LANES, tuning)
        found += tune_lanes(mine, needed, [scores[x] for x in needed], "fixed")[0]
    assert tuple(found) == expected
    assert len({(lane.l2, lane.delay) for lane in expected}) > 2


def test_a_share_trains_the_settings_of_its_own_main_and_target():
    _, needed = cut_lanes(Share(2, 4), LANES, TUNING["baseline"])
    assert {(x.main, x.target) for x in needed} == {("audio", "valence")}
    _, needed = cut_lanes(Share(1, 24), LANES, TUNING["alpha"])
    assert {(x.main, x.target, x.alpha) for x in needed} == {("audio", "arousal", 0.0)}
    assert {x.seed for x in needed} == {0, 1}
    assert cut_lanes(WHOLE, LANES, TUNING["alpha"]) == (LANES, TUNING["alpha"])


# ---- what is kept -------------------------------------------------------------------


def trained_of(lanes, tuning, chosen=0):
    """What training may leave: a lane without a score, and numbers of all kinds."""
    rng = np.random.default_rng(len(lanes))
    outcomes = [Outcome(3, 0.1 + 0.2, -1)] * (len(lanes) - 1) + [Outcome(0, None, 17)]
    history = {
        "joint": rng.random((4, len(lanes)), np.float32),
        "dev_score": np.full((4, len(lanes)), np.nan, np.float32),
    }
    params = {"shared": {"kernel": rng.random((len(lanes), 2, 3), np.float32)}}
    frame = pd.DataFrame([vars(lane) for lane in tuning])
    if len(tuning):
        frame = frame.assign(fold="0", dev_score=rng.random(len(tuning)))
        frame.loc[0, "dev_score"] = np.nan
        frame["chosen"] = [lane.delay == chosen for lane in tuning]
    standardizers = {"audio": Standardizer(rng.random(3), rng.random(3))}
    result = Trained(tuple(lanes), tuple(outcomes), params, history)
    return TrainedFold(result, frame, standardizers)


@pytest.mark.parametrize("tuning", [(), TUNING["baseline"]])
def test_what_is_kept_comes_back_as_it_was(tmp_path, tuning):
    result = trained_of(LANES, tuning)
    save_trained(tmp_path / "0", result, {"jax": "0.0"})
    found = load_trained(tmp_path / "0")
    assert found.trained.lanes == LANES
    assert found.trained.outcomes == result.trained.outcomes
    for name, values in result.trained.history.items():
        np.testing.assert_array_equal(found.trained.history[name], values, strict=True)
    np.testing.assert_array_equal(
        found.trained.params["shared"]["kernel"],
        result.trained.params["shared"]["kernel"],
        strict=True,
    )
    pd.testing.assert_frame_equal(found.tuning, result.tuning, check_exact=True)
    for part in ("mean", "std"):
        np.testing.assert_array_equal(
            getattr(found.standardizers["audio"], part),
            getattr(result.standardizers["audio"], part),
            strict=True,
        )


def test_damage_of_what_is_kept_is_told(tmp_path):
    assert not is_trained(tmp_path, "0")
    (tmp_path / "trained").mkdir()
    save_trained(tmp_path / "trained" / "0", trained_of(LANES, ()), {})
    assert is_trained(tmp_path, "0")
    path = tmp_path / "trained" / "0" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(
        ValueError, match=r"trained/0: the array .* trains the fold again"
    ):
        is_trained(tmp_path, "0")


def test_shares_are_joined_in_the_order_of_lanes_each_setting_once():
    tuning = TUNING["baseline"]
    plan = SimpleNamespace(lanes=LANES, tuning=tuning)
    parts = [trained_of(*cut_lanes(Share(i, 5), LANES, tuning)) for i in range(1, 6)]
    joined = join_shares(plan, parts)
    assert joined.trained.lanes == LANES
    np.testing.assert_array_equal(
        joined.trained.params["shared"]["kernel"],
        np.concatenate([part.trained.params["shared"]["kernel"] for part in parts]),
    )
    keys = list(vars(LANES[0]))
    expected = pd.DataFrame([vars(lane) for lane in tuning])
    pd.testing.assert_frame_equal(joined.tuning[keys], expected)


def test_shares_that_chose_differently_are_refused():
    tuning = TUNING["baseline"]
    plan = SimpleNamespace(lanes=LANES, tuning=tuning)
    cuts = [cut_lanes(Share(i, 5), LANES, tuning) for i in range(1, 6)]
    parts = [trained_of(*cut, chosen=5 * (i > 0)) for i, cut in enumerate(cuts)]
    with pytest.raises(
        ValueError, match="different settings for main 'audio' and target"
    ):
        join_shares(plan, parts)


def test_shares_of_other_lanes_are_refused():
    others = [replace(lane, seed=7) for lane in LANES]
    plan = SimpleNamespace(lanes=LANES, tuning=())
    with pytest.raises(ValueError, match="not those of their config"):
        join_shares(plan, [trained_of(others, ())])


# ---- what is found ------------------------------------------------------------------


def make_folders(root, *names, config=None):
    for name in names:
        folder = root / "shares" / name
        folder.mkdir(parents=True)
        known = config or {"sweep": {"seeds": [0]}, "folds": ["fixed"]}
        versions = dict.fromkeys(
            ("ifusion", "jax", "jaxlib", "flax", "optax", "numpy", "devices"), "0.0"
        )
        facts = {**known, "provenance": versions}
        (folder / "config.json").write_text(json.dumps(facts))
        (folder / "corpus.json").write_text(
            json.dumps({"fingerprints": {"fixed": "a"}})
        )


def test_shares_are_found_wherever_they_are(tmp_path):
    make_folders(tmp_path / "a", "10-of-10", *(f"{i}-of-10" for i in range(1, 5)))
    make_folders(tmp_path / "b", *(f"{i}-of-10" for i in range(5, 10)))
    (tmp_path / "b" / "shares" / ".5-of-10.12.part").mkdir()
    found = find_shares([tmp_path / "a", tmp_path / "b"])
    assert [path.name for path in found] == [f"{i}-of-10" for i in range(1, 11)]
    assert require_agreement(found)["folds"] == ["fixed"]


def test_a_run_keeps_its_number_of_shares(tmp_path):
    assert count_shares(tmp_path) is None
    make_folders(tmp_path, "2-of-3")
    assert count_shares(tmp_path) == 3
    make_folders(tmp_path, "1-of-2")
    with pytest.raises(ValueError, match="split differently, in 2 and in 3"):
        count_shares(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((), (), "no shares of a run there"),
        (("1-of-4",), ("3-of-4",), r"elsewhere: --lanes=2/4, 4/4$"),
        (("1-of-2",), ("1-of-2", "2-of-2"), r"same share is in .*a/.* and .*b/"),
        (("1-of-2",), ("2-of-3",), "split differently, in 2 and in 3"),
    ],
)
def test_shares_that_make_no_run_are_told(tmp_path, first, second, words):
    make_folders(tmp_path / "a", *first)
    make_folders(tmp_path / "b", *second)
    with pytest.raises(ValueError, match=words):
        find_shares([tmp_path / "a", tmp_path / "b"])


def test_shares_of_other_configs_are_refused(tmp_path):
    make_folders(tmp_path, "1-of-2")
    make_folders(
        tmp_path, "2-of-2", config={"sweep": {"seeds": [1]}, "folds": ["fixed"]}
    )
    with pytest.raises(
        ValueError, match="differ in sweep: they are shares of different"
    ):
        require_agreement(find_shares([tmp_path]))


def test_shares_of_another_corpus_are_refused(tmp_path):
    make_folders(tmp_path, "1-of-2", "2-of-2")
    path = tmp_path / "shares" / "2-of-2" / "corpus.json"
    path.write_text('{"fingerprints": {"fixed": "b"}}')
    with pytest.raises(ValueError, match="trained on different data"):
        require_agreement(find_shares([tmp_path]))


def test_versions_that_differ_are_told(tmp_path, capsys):
    make_folders(tmp_path, "1-of-2", "2-of-2")
    path = tmp_path / "shares" / "2-of-2" / "config.json"
    path.write_text(path.read_text().replace('"jax": "0.0"', '"jax": "0.1"'))
    require_agreement(find_shares([tmp_path]))
    said = capsys.readouterr().err
    assert "2-of-2: jax is 0.1, but" in said and said.count("\n") == 1


def test_shares_that_are_not_finished_are_named(tmp_path):
    make_folders(tmp_path, "1-of-2", "2-of-2")
    folders = find_shares([tmp_path])
    for folder, folds in zip(folders, (["x", "y"], ["x"]), strict=True):
        (folder / "trained").mkdir()
        for fold in folds:
            save_trained(folder / "trained" / fold, trained_of(LANES[:2], ()), {})
    require_finished(folders, ["x"])
    with pytest.raises(
        ValueError, match=r"to the end: \S*2-of-2 \(fold y\); sweep\.py"
    ):
        require_finished(folders, ["x", "y"])


# ---- shares against the whole -------------------------------------------------------


def of_classes():
    """Settings of the baseline for all alphas; folds."""
    config = classes()
    config.corpus.update(recordings=(40, 20, 20), speakers=8, folds=3)
    config.sweep.update(alphas=(0.0, 0.5), seeds=(0,), l2=(0.0, 0.05))
    config.training.update(epochs=3, patience=3)
    return config


def of_time():
    """Settings of each alpha; delays."""
    config = over_time()
    config.corpus.update(recordings=(4, 3, 3), speakers=10, frames=200)
    config.corpus.annotation_delay = 0.4
    config.sweep.update(alphas=(0.0, 0.5), seeds=(0,), l2=(0.0,), delays=(0.0, 0.4))
    config.sweep.update(tune="alpha", targets=("arousal",))
    config.training.update(epochs=2, window=64, hop=32)
    return config


@pytest.mark.parametrize(
    ("make", "cross_validate", "total"),
    [(of_classes, True, 3), pytest.param(of_time, False, 2, marks=pytest.mark.slow)],
)
def test_shares_make_the_run_of_one_machine(
    tmp_path, mesh, assert_same_runs, make, cross_validate, total
):
    config = make()
    config.model.update(hidden_size=8, branch_layers=1, shared_layers=1)
    config.evaluation.resamples = 20
    folds = open_folds(config, cross_validate)
    train_run(tmp_path / "whole", config, folds, mesh, False)
    places = [tmp_path / "one", tmp_path / "two"]
    for number in range(total, 0, -1):
        place = places[number % 2]
        train_shares(place, config, folds, mesh, [Share(number, total)], False)
    with pytest.raises(ValueError, match="there is something already"):
        train_shares(place, config, folds, mesh, [Share(1, total)], False)
    with pytest.raises(ValueError, match=r"--lanes=1/9: the run in .* into . shares"):
        train_shares(place, config, folds, mesh, [Share(1, 9)], True)
    (places[0] / "notes.txt").touch()
    with pytest.raises(ValueError, match="one: there is something already"):
        train_shares(places[0], config, folds, mesh, [Share(1, total)], True)
    (places[0] / "notes.txt").unlink()
    longer = make()
    longer.model.update(config.model)
    longer.evaluation.resamples = 20
    longer.training.epochs += 1
    with pytest.raises(ValueError, match="differ in training: they are shares of diff"):
        train_shares(places[0], longer, folds, mesh, [Share(1, total)], False)
    shutil.rmtree(share_folder(places[0], Share(1, total)))
    with pytest.raises(ValueError, match="not trained yet, or elsewhere: --lanes=1/"):
        merge_shares(places[0], [places[0]], mesh)
    merge_shares(tmp_path / "merged", places, mesh)
    assert_same_runs(tmp_path / "merged", tmp_path / "whole")
    assert share_folder(places[1], Share(1, total)).exists()
    with pytest.raises(ValueError, match="a run already, which is not in shares"):
        train_shares(tmp_path / "whole", config, folds, mesh, [Share(1, 3)], True)
