"""Predictors against what the run itself predicted, and what they are made of."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ifusion.evaluation.traces import load_traces
from ifusion.experiment.runs import read_result
from ifusion.inference.opening import load_predictor
from ifusion.storage import ARRAYS, FACTS, read_arrays, read_facts, write_folder


def test_classes_are_those_of_the_run(trained, small, table_of):
    """One seed at a time, the classes that the run has stored."""
    predictor = load_predictor(trained, "audio", "implicit_fusion")
    (outcomes,) = [
        x for x in read_result(trained).outcomes if x.system == "implicit_fusion"
    ]
    rows = outcomes.predictors
    for member in predictor.members:
        alone = replace(predictor, members=(member,))
        mine = rows[
            (rows["main"] == "audio")
            & (rows["given"] == "audio")
            & rows["chosen"]
            & (rows["seed"] == member.seed)
        ]
        found = alone.predict(table_of(small, "audio", "dev"))["emotion"]
        expected = np.array(small.classes)[outcomes.values[mine.index[0]]]
        assert found.tolist() == expected.tolist()


def test_values_over_time_are_those_of_the_run(trained_series, series, table_of):
    predictor = load_predictor(trained_series, "video", "baseline", "arousal")
    inside = series.partition == "test"
    names = np.repeat(series.recording[inside], np.diff(series.offsets)[inside])
    answers = predictor.predict(table_of(series, "video", "test"), names)
    path = next(
        p for p in read_result(trained_series).traces if p.name.startswith("baseline-t")
    )
    traces = load_traces(path)
    mine = (traces.lanes["main"] == "video") & (traces.lanes["target"] == "arousal")
    expected = traces.processed[mine.to_numpy()].mean(0)
    np.testing.assert_allclose(answers["arousal"], expected, atol=1e-5)
    assert answers["time"].iloc[:3].tolist() == [0.0, 0.04, 0.08]


def test_single_values_are_those_of_the_run(value_run, sentiments, table_of):
    predictor = load_predictor(value_run, "audio", "svr")
    answers = predictor.predict(table_of(sentiments, "audio", "test"))
    (outcomes,) = [
        x
        for x in read_result(value_run).outcomes
        if (x.system, x.partition) == ("svr", "test")
    ]
    rows = outcomes.predictors
    mine = rows[(rows["main"] == "audio") & (rows["given"] == "audio")].index[0]
    np.testing.assert_allclose(
        answers["sentiment"], outcomes.values[mine, :, 2], atol=1e-5
    )
    assert list(answers) == ["sentiment"]


def test_columns_are_matched_by_name(trained, small, table_of):
    predictor = load_predictor(trained, "audio")
    table = table_of(small, "audio", "dev")
    expected = predictor.predict(table)
    mixed = table[[*reversed(table.columns)]].rename(columns=lambda n: f" {n}\u200b")
    records = table[[*reversed(table.columns)]].to_records(index=False)
    for features in (mixed, records, pa.Table.from_pandas(mixed)):
        pd.testing.assert_frame_equal(predictor.predict(features), expected)
    with pytest.warns(UserWarning, match="audio: 1 columns are not used: further"):
        found = predictor.predict(table.assign(further=1.0))
    pd.testing.assert_frame_equal(found, expected)


def test_an_array_is_taken_as_it_is_and_says_so(trained, small, table_of):
    predictor, table = load_predictor(trained, "audio"), table_of(small, "audio", "dev")
    with pytest.warns(UserWarning, match="without names are taken in order") as told:
        found = predictor.predict(table.to_numpy())
    assert told[0].filename == __file__
    pd.testing.assert_frame_equal(found, predictor.predict(table))


def test_a_table_of_openface_is_taken_as_it_is(trained, small, table_of):
    predictor = load_predictor(trained, "audio")
    table = table_of(small, "audio", "dev")
    success = [int(i != 4) for i in range(len(table))]
    raw = table.rename(columns=lambda name: f" {name}")
    raw = raw.assign(**{"frame": 1, " confidence": 0.9, " success": success})
    with pytest.warns(UserWarning, match="found no face in 1 of 20 rows"):
        found = predictor.predict(raw)
    plain = predictor.predict(table)
    pd.testing.assert_frame_equal(found.drop(index=4), plain.drop(index=4))
    mean = pd.DataFrame(
        [predictor.members[0].statistics["audio"]["mean"]], columns=table.columns
    )
    other = predictor.predict(mean).iloc[0, 1:].to_numpy(float)
    np.testing.assert_allclose(found.iloc[4, 1:].to_numpy(float), other, atol=1e-5)
    nobody = predictor.predict_table(raw.assign(**{" success": 0}))
    (note,) = nobody.notes
    assert note.startswith(
        "audio: OpenFace found no face in 20 of 20 rows; they become"
    )
    np.testing.assert_allclose(
        nobody.table.iloc[7, 1:].to_numpy(float), other, atol=1e-5
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda t: t.drop(columns=t.columns[0]),
            "1 of 5 columns are missing: audio_",
        ),
        (lambda t: t.set_axis([*t.columns[:-1], t.columns[0]], axis=1), "missing"),
        (lambda t: pd.concat([t, t], axis=1), "5 of 5 columns occur more than once"),
        (
            lambda t: t.assign(**{t.columns[2]: np.nan}),
            "row 1, column .* 20 of 20",
        ),
        (lambda t: t.astype(str) + "x", "not numbers"),
        (lambda t: {"video": t}, "unknown modality 'video'"),
        (lambda t: t.to_numpy()[:, :-1], "expected 5 columns"),
        (lambda t: t.to_numpy()[0], "expected 5 columns"),
        (lambda t: t.to_numpy().T, "expected 5 columns"),
    ],
)
def test_features_that_do_not_fit_are_named(trained, small, spoil, words, table_of):
    predictor = load_predictor(trained, "audio")
    with pytest.raises(ValueError, match=words):
        predictor.predict(spoil(table_of(small, "audio", "dev")))


def test_nothing_of_the_other_modality_is_read(trained, small, tmp_path, table_of):
    """All arrays of video are taken away; audio predicts the same."""
    copy = shutil.copytree(trained, tmp_path / "run")
    expected = load_predictor(trained, "audio").predict(table_of(small, "audio", "dev"))
    fold = copy / "folds" / "fixed"
    for folder in (fold / "data", fold / "fits" / "implicit_fusion"):
        arrays, facts = read_arrays(folder), read_facts(folder)
        kept = {name: a for name, a in arrays.items() if "video" not in name}
        assert len(kept) < len(arrays)
        if folder.name == "implicit_fusion":  # the group of video's candidates
            mains = [facts["candidates"][g[0]]["main"] for g in facts["groups"]]
            other = f"/{mains.index('video')}/"
            kept = {name: a for name, a in kept.items() if other not in name}
        shutil.rmtree(folder)
        write_folder(folder, kept, facts)
        assert {p.name for p in folder.iterdir()} >= {ARRAYS, FACTS}
    found = load_predictor(copy, "audio").predict(table_of(small, "audio", "dev"))
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(ValueError, match=r"fits/implicit_fusion|data"):
        load_predictor(copy, "video")


@pytest.mark.parametrize(
    ("main", "system", "words"),
    [
        ("text", "baseline", "no modality 'text'"),
        ("audio", "svm", "no system 'svm'"),
    ],
)
def test_what_a_run_lacks_is_named(trained, main, system, words):
    with pytest.raises(ValueError, match=words):
        load_predictor(trained, main, system)
