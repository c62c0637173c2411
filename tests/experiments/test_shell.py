"""The parts of the shell that need no program round them."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from candidates import is_finished
from classification import make_classification
from comparison import baseline_is_missing, list_systems, read_settings
from data import cluster_column, open_corpus
from directory import log_opening, prepare_run
from files import (
    CONFIG,
    CORPUS,
    EVALUATIONS,
    FIT,
    SETTINGS,
    SWEEP,
    SYSTEMS,
    TABLES,
    read_config,
    read_rows,
    replace_rows,
)
from progress import ProgressLine
from regression import make_regression
from settings import list_lanes

from configs import base, folder
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.systems.catalogue import SYSTEMS as CATALOGUE
from ifusion.training.loop import Progress


@pytest.fixture(scope="module")
def continuous():
    """Frames of 1 s."""
    return make_synthetic(
        SyntheticOptions(recordings=(2, 1, 1), speakers=4, frames=20, frame_step=1.0)
    )


def test_delays_on_the_same_frame_count_once(continuous):
    lanes, tuning = list_lanes(base.continuous_config(), ("audio",), continuous)
    assert list(dict.fromkeys(lane.delay for lane in tuning)) == [*range(9)]  # 0 - 8 s
    assert len(tuning) == 9 * 2 * 5  # delays, targets, seeds
    assert {lane.delay for lane in lanes} == {0}


@pytest.mark.parametrize(
    ("delays", "tune", "scoring"),
    [
        ((0.0, 0.4), "alpha", "shifted"),  # of which one is left
        ((0.0, 2.0), "baseline", "shifted"),
        ((0.0, 2.0), "alpha", "original"),
    ],
)
def test_alphas_may_be_compared_where_labels_are_the_same(
    continuous, delays, tune, scoring
):
    config = base.continuous_config()
    config.sweep.delays, config.sweep.tune = delays, tune
    config.training.delay_scoring = scoring
    assert list_lanes(config, ("audio",), continuous)
    config.update({"sweep": {"delays": (0.0, 2.0), "tune": "alpha"}})
    config.training.delay_scoring = "shifted"
    with pytest.raises(ValueError, match="different labels"):
        list_lanes(config, ("audio",), continuous)


def test_a_config_of_another_corpus_is_refused():
    section = folder.get_config().corpus
    section.kind = "synthetic"
    with pytest.raises(ValueError, match=r"no corpus\.seed; use configs/synthetic\.py"):
        open_corpus(section)


def test_a_regression_names_the_entry_that_its_config_lacks(continuous):
    config = base.continuous_config()
    del config.evaluation.convention
    with pytest.raises(ValueError, match=r"has no entry evaluation\.convention"):
        make_regression(config, continuous)


def test_a_classification_of_frames_is_refused(corpus):
    frames = replace(
        corpus,
        **{name: getattr(corpus, name)[[0, 1, 5]] for name in ("recording", "speaker")},
        partition=np.array(["train", "dev", "test"]),
        attributes={},
        frame_step=0.04,
        offsets=np.array([0, 3, 5, 7]),
    )
    with pytest.raises(ValueError, match="'small' is a classification of frames"):
        make_classification(base.base_config(kind="folder"), frames)
    assert make_classification(base.base_config(kind="folder"), corpus).num_outputs == 3


def test_a_column_that_tables_have_is_no_cluster(corpus):
    attributes = {"prediction": corpus.speaker, "video": corpus.speaker}
    with pytest.raises(CorpusError, match="recording, speaker, video"):
        cluster_column(replace(corpus, attributes=attributes), "prediction")


def test_numbers_are_read_as_they_were_written(tmp_path):
    values = np.random.default_rng(0).standard_normal(2000) * 1e-3
    frame = pd.DataFrame({"fold": "07", "value": values, "metric": "NA"})
    frame.loc[3, "value"] = np.nan
    frame.to_csv(tmp_path / "scores.csv", index=False)
    found = read_rows(tmp_path / "scores.csv", {"fold": "07"}, ("value",))
    assert found["value"].dtype == np.float64
    np.testing.assert_array_equal(found["value"], frame["value"])
    assert read_rows(tmp_path / "scores.csv", {"fold": "7"}, ("value",)).empty


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ([], r"config\.json: expected an object"),
        ({"corpus": 3}, "there is no section 'corpus'"),
        ({"corpus": {}}, r"there is no entry corpus\.kind"),
        ({"folds": []}, "there are no folds"),
    ],
)
def test_a_config_that_lacks_something_is_refused(tmp_path, broken, words):
    config = base.base_config(kind="folder").to_dict()
    config |= {"folds": ["fixed"], "program": SWEEP}
    path = tmp_path / CONFIG
    path.write_text(json.dumps(config), "utf-8")
    assert read_config(tmp_path)["folds"] == ["fixed"]
    path.write_text(json.dumps({**config, **broken} if broken else broken), "utf-8")
    with pytest.raises(ValueError, match=words):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "expected an object"),
        ("{", "row 1: no JSON"),
        ('{"seconds": 1.5}', "the key partitions is missing"),
        ('{"seconds": "long", "partitions": []}', "the key seconds is 'long'"),
        ('{"seconds": 1.5, "partitions": null}', "the key partitions is None"),
    ],
)
def test_a_damaged_fit_is_named(tmp_path, content, words):
    path = tmp_path / FIT
    assert not is_finished(tmp_path, ["dev"])
    path.write_text('{"seconds": 1.5, "partitions": ["dev"]}', "utf-8")
    assert is_finished(tmp_path, ["dev"]) and not is_finished(tmp_path, ["test"])
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=rf"fit\.json.*{words}"):
        is_finished(tmp_path, ["dev"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, r"fixed\.json: expected a list"),
        ([3], r"fixed\.json, entry 1: expected an object"),
        (
            [{"main": "a", "target": "t", "l2": 0.1}],
            "entry 1: the key delay is missing",
        ),
        ([{"main": "a", "target": "t", "l2": "", "delay": 2}], "the key l2 is ''"),
    ],
)
def test_damaged_settings_are_named(tmp_path, content, words):
    (tmp_path / SETTINGS).mkdir()
    path = tmp_path / SETTINGS / "fixed.json"
    whole = [{"main": "a", "target": "t", "l2": 0.1, "delay": 2}]
    path.write_text(json.dumps(whole), "utf-8")
    assert read_settings(tmp_path, "fixed") == {("a", "t"): (0.1, 2)}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ValueError, match=words):
        read_settings(tmp_path, "fixed")


def test_damaged_systems_are_named(tmp_path):
    (tmp_path / SYSTEMS).write_text('[{"key": "svm", "title": "SVM"}]', "utf-8")
    with pytest.raises(ValueError, match=r"systems\.json, entry 1: the key source"):
        list_systems(tmp_path, CATALOGUE, CATALOGUE[:1], {})


def test_what_is_no_run_is_named(tmp_path, continuous):
    folds, config = {"fixed": continuous}, base.continuous_config(kind="synthetic")
    prepare_run(tmp_path, SWEEP, config, folds, {})
    prepare_run(tmp_path, SWEEP, config, folds, {})
    for name, content, words in (
        (CORPUS, [], "expected an object"),
        (CORPUS, {}, "the key fingerprints is missing"),
        (CONFIG, [], "expected an object"),
    ):
        (tmp_path / name).write_text(json.dumps(content), "utf-8")
        with pytest.raises(ValueError, match=rf"{name}: {words}"):
            prepare_run(tmp_path, SWEEP, config, folds, {})


@pytest.mark.parametrize(("mine", "other"), [(SWEEP, TABLES), (TABLES, SWEEP)])
def test_a_run_belongs_to_its_program(tmp_path, continuous, mine, other):
    folds, config = {"fixed": continuous}, base.continuous_config(kind="synthetic")
    prepare_run(tmp_path, mine, config, folds, {})
    with pytest.raises(ValueError, match=rf"made by {mine}\.py, and this needs one of"):
        prepare_run(tmp_path, other, config, folds, {})
    known = json.loads((tmp_path / CONFIG).read_text("utf-8"))
    del known["program"]  # as of older versions
    (tmp_path / CONFIG).write_text(json.dumps(known), "utf-8")
    if mine == TABLES:
        (tmp_path / SYSTEMS).write_text("[]", "utf-8")
    prepare_run(tmp_path, mine, config, folds, {})
    with pytest.raises(ValueError, match=rf"made by {mine}\.py"):
        prepare_run(tmp_path, other, config, folds, {})
    if mine == SWEEP:
        assert read_config(tmp_path)["folds"] == ["fixed"]
        return
    with pytest.raises(ValueError, match=r"made by tables\.py"):
        read_config(tmp_path)  # of evaluate.py, submission.py and others


@pytest.mark.parametrize(
    ("line", "words"),
    [("{}", "the key partition is missing"), ("3", "expected an object"), ("{", "no")],
)
def test_a_damaged_log_is_named(tmp_path, line, words):
    log = tmp_path / EVALUATIONS
    assert log_opening(log, "test") == 0
    assert log_opening(log, "test") == 1
    log.write_text(f"{log.read_text('utf-8')}{line}\n", "utf-8")
    with pytest.raises(ValueError, match=rf"evaluations\.jsonl, row 3: {words}"):
        log_opening(log, "test")


def test_rows_are_replaced_and_all_else_stays(tmp_path):
    path = tmp_path / "tuning.csv"
    path.write_text("fold,l2,more\n0,.1,None\n1,.2,b\n1,.3,c\n", "utf-8")
    replace_rows(path, pd.DataFrame({"fold": ["1"], "l2": [0.5]}), {"fold": "1"})
    assert path.read_text("utf-8") == "fold,l2,more\n0,.1,None\n1,0.5,\n"
    for content, words in (
        ("", "no table"),
        ("l2\n.1\n", "the column 'fold' is missing"),
        ("fold,l2\n0,.1\n1", "cut short in row 3"),
    ):
        path.write_text(content, "utf-8")
        with pytest.raises(ValueError, match=rf"tuning\.csv: {words}"):
            replace_rows(path, pd.DataFrame({"fold": ["1"]}), {"fold": "1"})


def test_without_the_baseline_a_partition_has_no_differences(tmp_path):
    study = SimpleNamespace(folds={"0": None, "1": None})
    systems = {system.key: system for system in CATALOGUE}

    def missing(key, *partitions):
        return baseline_is_missing(tmp_path, study, [systems[key]], partitions)

    assert missing("svm", "dev") and not missing("baseline", "dev", "test")
    for fold in study.folds:
        folder = tmp_path / "systems" / "baseline" / fold
        folder.mkdir(parents=True)
        (folder / FIT).write_text('{"seconds": 1.5, "partitions": ["dev"]}', "utf-8")
        assert missing("svm", "dev") == (fold == "0")
    assert missing("svm", "dev", "test")


def follow(metric, epochs):
    """A progress line of two lanes, told of the best scores after each epoch."""
    mains = ("audio", "video")
    with ProgressLine(2, len(epochs), 8, metric, "", "", mains) as update:
        for epoch, best in enumerate(epochs, 1):
            metrics = {"dev_score": np.array(best)}
            update(Progress(epoch, metrics, np.array(best), 2, 0))


def test_the_last_epoch_is_printed_off_a_terminal(capsys):
    follow("micro_f1", [(0.1, 0.2), (0.3, 0.4), (0.5, 0.612)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # within seconds: of the others none
    assert lines[0] == "compiling the program of 2 lanes, 2 at once"
    assert lines[1].startswith("epoch 3/3  2 of 2 lanes")
    assert lines[1].endswith("best dev micro-F1 [%]: audio 50.0  video 61.2")


def test_scores_are_written_as_in_the_report(capsys):
    follow("ccc_pooled", [(0.1, -np.inf), (0.4321, -np.inf)])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("best dev CCC: audio .432  video -")
