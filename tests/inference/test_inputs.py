"""The forms in which people have features, and what does not fit a predictor."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifusion.inference import predictor as predictor_module
from ifusion.inference.opening import load_predictor


@pytest.fixture(scope="module")
def classes(trained):
    return load_predictor(trained, "audio")


@pytest.fixture(scope="module")
def curves(trained_series):
    return load_predictor(trained_series, "audio")


@pytest.fixture(scope="module")
def frames(series, table_of):
    """Features of test as a file has them."""
    table = table_of(series, "audio", "test")
    names = series.recording[series.partition == "test"]
    table.insert(0, "time", np.tile(np.arange(90) * series.frame_step, 3))
    table.insert(0, "recording", np.repeat(names, 90))
    return table


def test_every_form_of_the_same_features_gives_the_same(classes, small, table_of):
    table = table_of(small, "audio", "dev")
    expected = classes.predict(table)
    turned = table[[*reversed(table.columns)]]
    columns = {name: turned[name].tolist() for name in turned}
    for features in (columns, {"audio": table}, {"audio": columns}):
        pd.testing.assert_frame_equal(classes.predict(features), expected)
    found = classes.predict(turned.to_numpy(), names=list(turned))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_files_say_whose_rows_they_have_and_when(curves, frames, tmp_path, ending):
    path = tmp_path / f"audio.{ending}"
    keys, table = (
        frames[["recording", "time"]],
        frames.drop(columns=["recording", "time"]),
    )
    if ending == "csv":
        frames.to_csv(path, index=False)
    elif ending == "parquet":
        frames.to_parquet(path)
    else:
        np.savez(
            path,
            recording=keys["recording"].to_numpy(str),
            time=keys["time"],
            names=np.array(list(table)),
            values=table.to_numpy(np.float32),
        )
    found = curves.predict(str(path))
    expected = curves.predict(table, keys["recording"])
    assert list(found) == ["recording", "time", *curves.targets]
    pd.testing.assert_frame_equal(found, expected, atol=1e-5, rtol=0)


def test_a_corpus_is_predicted_as_a_whole(curves, series, table_of):
    found = curves.predict(series)
    table = table_of(series, "audio", "test")
    mine = series.recording[series.partition == "test"]
    tail = found[found["recording"].isin(mine)].reset_index(drop=True)
    expected = curves.predict(table, np.repeat(mine, 90))
    pd.testing.assert_frame_equal(tail, expected, atol=1e-5, rtol=0)


def test_seeds_are_picked_and_averaged(classes, small, table_of):
    """Probabilities are averaged: numpy's mean of each seed's own."""
    table = table_of(small, "audio", "dev")
    each = [classes.pick([seed]).predict(table) for seed in classes.seeds]
    assert len(each) == 2
    names = list(classes.classes)
    mean = np.mean([t[names].to_numpy() for t in each], axis=0)
    found = classes.predict(table)
    np.testing.assert_allclose(found[names], mean, atol=1e-6)
    best = np.array(names)[mean.argmax(1)]
    assert found[classes.targets[0]].tolist() == best.tolist()
    with pytest.raises(ValueError, match="no member has the seed 9; there are 0, 1"):
        classes.pick([9])


def test_values_are_averaged_after_each_ones_own_processing(curves, frames):
    table = frames.drop(columns=["recording", "time"])
    names = frames["recording"]
    each = [curves.pick([seed]).predict(table, names) for seed in curves.seeds]
    mean = np.mean([t["arousal"] for t in each], axis=0)
    found = curves.predict(table, names)["arousal"]
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_many_sequences_are_cut_into_runs(curves, frames, monkeypatch):
    table, names = frames.drop(columns=["recording", "time"]), frames["recording"]
    expected = curves.predict(table, names)
    monkeypatch.setattr(predictor_module, "STEPS_AT_ONCE", 100)
    found = curves.predict(table, names)
    pd.testing.assert_frame_equal(found, expected, atol=1e-6, rtol=0)


def test_features_in_other_units_are_doubted(classes, small, table_of):
    table = table_of(small, "audio", "dev")
    name = table.columns[1]
    with pytest.warns(
        UserWarning, match=f"1 of 5 features lie far.*{name}.*units"
    ) as told:
        classes.predict(table.assign(**{name: 1000 + table[name]}))
    assert told[0].filename == __file__
    assert classes.predict_table(table).notes == ()


def test_recordings_of_one_frame_are_doubted(curves, frames):
    table = frames.drop(columns=["recording", "time"]).iloc[:4]
    (note,) = curves.predict_table(table, ["a", "b", "c", "d"]).notes
    assert "every recording has one row, but the model reads a frame every" in note


def change_step(table):
    return table.assign(time=table["time"] * 25)


def run_backwards(table):
    return table.assign(time=-table["time"])


def lose_rows(table):
    return table.drop(index=range(3, 6))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lose_rows, "row 5, column time: follows a gap; expected a row every 0.04 s"),
        (change_step, "rows are 1 s apart, but the model reads one every 0.04 s"),
        (run_backwards, "times do not increase"),
        (lambda t: t.iloc[:0], "there are no rows"),
        (lambda t: t.drop(columns=t.columns[-1]), "1 of 5 columns are missing: audio"),
        (
            lambda t: t.assign(audio_01=[1.0, *[np.inf] * (len(t) - 1)]),
            "row 3, column audio_01: inf is not a finite number; 269 of 270 rows",
        ),
        (lambda t: t.assign(**{t.columns[3]: np.nan}), "nan is not a finite number"),
        (
            lambda t: t.assign(audio_01="x"),
            "row 2, column audio_01: 'x' is not a number$",
        ),
        (lambda t: pd.concat([t, t]), "rows of a recording must be contiguous"),
    ],
)
def test_files_that_do_not_fit_are_named(curves, frames, tmp_path, spoil, words):
    path = tmp_path / "audio.csv"
    spoil(frames).to_csv(path, index=False, na_rep="nan")
    with pytest.raises(ValueError, match=words):
        curves.predict(path)


def test_frames_are_no_utterances(classes, small, table_of):
    table = table_of(small, "audio", "dev")
    with pytest.raises(ValueError, match="recording 'a' has 20 rows, but the model"):
        classes.predict(table, ["a"] * 20)


def test_nothing_to_predict_is_refused(classes, curves, small, table_of):
    empty = table_of(small, "audio", "dev").iloc[:0]
    with pytest.raises(ValueError, match="audio: there are no rows"):
        classes.predict(empty)
    with pytest.raises(ValueError, match=re.escape("no such file")):
        classes.predict("nowhere.csv")
    with pytest.raises(ValueError, match="the frame step is None, that of the model"):
        curves.predict(small)
    lacking = replace(small, modalities={"video": small.modalities["video"]})
    with pytest.raises(ValueError, match="no modality 'audio'; it has video"):
        classes.predict(lacking)
