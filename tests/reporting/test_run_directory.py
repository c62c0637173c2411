import json

import pandas as pd
import pytest

from ifusion.reporting.run import read_run


def test_reads_what_was_written(make_run):
    run = read_run(make_run(classes=("None", "1", "nan", "NA")))
    assert run.name == "fake"
    assert set(run.predictions["label"]) == {"None", "1", "nan", "NA"}
    assert run.predictions["fold"].unique().tolist() == ["fixed"]
    assert "p_1" not in run.predictions
    assert run.scores["alpha"].unique().tolist() == [0.0, 0.5, 1.0]
    assert run.scores["seed"].dtype == run.history["epoch"].dtype == "int64"
    assert run.history["best"].dtype == bool
    assert run.history["best"].any()


def test_numbers_are_read_to_the_last_bit(make_run):
    path = make_run()
    scores = pd.read_csv(path / "scores.csv")
    scores["value"] = [i / 7**9 for i in range(len(scores))]
    scores.to_csv(path / "scores.csv", index=False)
    assert read_run(path).scores["value"].tolist() == scores["value"].tolist()


def test_empty_values_are_nan_and_empty_labels_stay(make_run):
    path = make_run(failed="alpha == 0.5 & seed == 1")
    assert read_run(path).scores["value"].isna().any()
    predictions = pd.read_csv(path / "predictions.csv")
    predictions["label"] = ""
    predictions.to_csv(path / "predictions.csv", index=False)
    assert set(read_run(path).predictions["label"]) == {""}


def spoil_json(name, change):
    def spoil(path):
        content = json.loads((path / name).read_text())
        change(content)
        (path / name).write_text(json.dumps(content))

    return spoil


def spoil_csv(name, change):
    def spoil(path):
        change(pd.read_csv(path / name)).to_csv(path / name, index=False)

    return spoil


def make_text(frame):
    frame["value"] = frame["value"].astype(object)
    frame.loc[2, "value"] = "0,5"
    return frame


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "config.json").unlink(), r"config\.json: no such file"),
        (lambda p: (p / "scores.csv").unlink(), r"scores\.csv: no such file"),
        (
            lambda p: (p / "config.json").write_text("{\n a"),
            r"config\.json, row 2: no JSON",
        ),
        (
            spoil_json("config.json", lambda c: c["evaluation"].pop("metric")),
            r"config\.json: the key evaluation\.metric is missing",
        ),
        (
            spoil_json("corpus.json", lambda c: c.pop("classes")),
            r"corpus\.json: the key classes is missing",
        ),
        (
            spoil_csv("history.csv", lambda f: f.drop(columns="epoch")),
            r"history\.csv: the column 'epoch' is missing",
        ),
        (
            spoil_csv("predictions.csv", lambda f: f.drop(columns="speaker")),
            r"predictions\.csv: the column 'speaker' is missing",
        ),
        (
            spoil_csv("scores.csv", make_text),
            r"scores\.csv, row 4, column value: '0,5' is no number",
        ),
    ],
)
def test_names_what_is_wrong(make_run, spoil, message):
    path = make_run()
    spoil(path)
    with pytest.raises(ValueError, match=message):
        read_run(path)
