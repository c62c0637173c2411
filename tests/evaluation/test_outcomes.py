from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from ifusion.concordance import concordance
from ifusion.evaluation.agreement import recording_moments
from ifusion.evaluation.outcomes import (
    Outcomes,
    load_outcomes,
    make_scorer,
    save_outcomes,
    score_table,
)
from ifusion.storage import write_folder

CLASSES = ["a", "b", "c"]
CLASSIFICATION = make_scorer(
    {"evaluation": {"metric": "uar", "cluster": "speaker"}},
    {"task": "classification", "classes": CLASSES},
)
REGRESSION = make_scorer(
    {
        "evaluation": {
            "metric": "ccc_pooled",
            "cluster": "speaker",
            "convention": "population",
        },
        "postprocessing": {"steps": ["centre"]},
    },
    {"task": "regression", "frame_step": 0.04},
)
COUNT, LENGTH = 20, 15  # recordings, frames of each


def list_predictors(seeds=(0, 1), processing=""):
    return pd.DataFrame(
        {
            "main": "audio",
            "target": "emotion",
            "seed": list(seeds),
            "setting": "alpha = 0.5",
            "alpha": 0.5,
            "given": "audio",
            "processing": processing,
            "chosen": True,
            "failed": False,
        }
    )


def list_recordings(fold):
    names = [f"{fold}{i:02d}" for i in range(COUNT)]
    return pd.DataFrame({"recording": names, "speaker": [n[:-1] for n in names]})


def classified(fold="x", seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, COUNT).astype(np.int16)
    labels[3] = -1
    guesses = rng.integers(0, 3, (2, COUNT)).astype(np.int16)
    recordings = list_recordings(fold)
    predictors = list_predictors()
    return Outcomes(fold, "baseline", "dev", predictors, recordings, guesses, labels)


def followed(fold="x", seed=0, processing="raw"):
    """Outcomes of a regression, and its frames: (2, R) predictions, (R,) labels."""
    rng = np.random.default_rng(seed)
    labels = rng.standard_normal(COUNT * LENGTH)
    labels[:LENGTH] = np.nan
    predictions = 0.5 * rng.standard_normal((2, COUNT * LENGTH)) + labels
    predictions[:, :LENGTH] = 0
    offsets = np.arange(COUNT + 1) * LENGTH
    moments = recording_moments(predictions, labels, offsets)
    predictors = list_predictors(processing=processing)
    recordings = list_recordings(fold)
    outcomes = Outcomes(fold, "baseline", "dev", predictors, recordings, moments)
    return outcomes, predictions[:, LENGTH:], labels[LENGTH:]


@pytest.mark.parametrize("make", [classified, lambda: followed()[0]])
def test_outcomes_survive_their_folder(make, tmp_path):
    outcomes = make()
    outcomes = replace(outcomes, predictors=outcomes.predictors.assign(alpha=np.nan))
    save_outcomes(tmp_path / "found", outcomes)
    found = load_outcomes(tmp_path / "found")
    assert (found.fold, found.system, found.partition) == ("x", "baseline", "dev")
    pd.testing.assert_frame_equal(found.predictors, outcomes.predictors)
    pd.testing.assert_frame_equal(found.recordings, outcomes.recordings)
    np.testing.assert_array_equal(found.values, outcomes.values)
    assert found.values.dtype == outcomes.values.dtype
    np.testing.assert_array_equal(found.labels, outcomes.labels)


def test_a_folder_of_something_else_is_refused(tmp_path):
    write_folder(tmp_path / "other", {"values": np.zeros(3)}, {"fold": "x"})
    with pytest.raises(ValueError, match="other: not a folder of outcomes"):
        load_outcomes(tmp_path / "other")


def test_arrays_of_other_sizes_are_refused():
    outcomes = classified()
    with pytest.raises(ValueError, match="values of shape"):
        replace(outcomes, values=outcomes.values[:1])
    with pytest.raises(ValueError, match="labels of shape"):
        replace(outcomes, labels=outcomes.labels[:1])


def test_scores_of_a_classification_equal_scikit_learn():
    outcomes = classified()
    table = score_table([outcomes], CLASSIFICATION)
    known = outcomes.labels >= 0
    labels = outcomes.labels[known]
    for seed in (0, 1):
        guesses = outcomes.values[seed, known]
        expected = {
            "micro_f1": f1_score(labels, guesses, average="micro"),
            "macro_f1": f1_score(labels, guesses, average="macro"),
            "weighted_f1": f1_score(labels, guesses, average="weighted"),
            "uar": recall_score(labels, guesses, average="macro"),
            "accuracy": accuracy_score(labels, guesses),
        }
        mine = table[table["seed"] == seed].set_index("metric")["value"]
        assert mine.to_dict() == pytest.approx(expected)
    columns = (
        "fold system main target alpha seed partition metric value setting given chosen"
    )
    assert list(table) == columns.split()


@pytest.mark.parametrize("processing", ["raw", "post-processed"])
def test_scores_of_a_regression_equal_those_of_the_frames(processing):
    outcomes, predictions, labels = followed(processing=processing)
    table = score_table([outcomes], REGRESSION).set_index(["seed", "metric"])["value"]
    suffix = "_post" if processing == "post-processed" else ""
    for seed, values in enumerate(predictions):
        found = table[seed]
        each = [
            concordance(values[i : i + LENGTH], labels[i : i + LENGTH])
            for i in range(0, len(values), LENGTH)
        ]
        expected = {
            "ccc_pooled": concordance(values, labels),
            "ccc_recordings": np.mean(each),
            "pearson": np.corrcoef(values, labels)[0, 1],
            "rmse": np.sqrt(np.mean((values - labels) ** 2)),
        }
        expected = {f"{name}{suffix}": float(x) for name, x in expected.items()}
        assert found.to_dict() == pytest.approx(expected)


def test_folds_are_pooled_not_averaged():
    outcomes = [classified("x", 0), classified("y", 1)]
    found = CLASSIFICATION.score(outcomes)
    labels = np.concatenate([x.labels for x in outcomes])
    known = labels >= 0
    for seed in (0, 1):
        guesses = np.concatenate([x.values[seed] for x in outcomes])
        expected = recall_score(labels[known], guesses[known], average="macro")
        mine = found[(found["seed"] == seed) & (found["metric"] == "uar")]
        assert mine["value"].item() == pytest.approx(expected)


def test_frames_of_folds_are_pooled():
    parts = [followed("x", 0), followed("y", 1)]
    found = REGRESSION.score([part[0] for part in parts])
    labels = np.concatenate([part[2] for part in parts])
    for seed in (0, 1):
        values = np.concatenate([part[1][seed] for part in parts])
        mine = found[(found["seed"] == seed) & (found["metric"] == "ccc_pooled")]
        assert mine["value"].item() == pytest.approx(float(concordance(values, labels)))


def test_what_lacks_a_fold_or_failed_is_not_pooled():
    first, second = classified("x", 0), classified("y", 1)
    other = replace(classified("x", 2), system="svm")
    failed = second.predictors.assign(failed=second.predictors["seed"] == 1)
    found = CLASSIFICATION.score([first, replace(second, predictors=failed), other])
    assert set(found["system"]) == {"baseline"}
    assert set(found["seed"]) == {0}


def test_a_failed_predictor_has_no_value():
    outcomes = classified()
    failed = outcomes.predictors.assign(failed=outcomes.predictors["seed"] == 0)
    values = outcomes.values.copy()
    values[0] = -7  # is never read
    table = score_table(
        [replace(outcomes, predictors=failed, values=values)], CLASSIFICATION
    )
    assert table.loc[table["seed"] == 0, "value"].isna().all()
    assert table.loc[table["seed"] == 1, "value"].notna().all()


def test_a_partition_without_labels_has_no_scores():
    outcomes = classified()
    outcomes = replace(outcomes, labels=np.full(COUNT, -1, np.int16))
    assert score_table([outcomes], CLASSIFICATION).empty
    assert CLASSIFICATION.score([outcomes]).empty
    empty = replace(followed()[0], values=np.zeros((2, COUNT, 6)))
    assert score_table([empty], REGRESSION).empty


def test_contradictions_are_refused():
    outcomes = classified()
    twice = replace(outcomes, predictors=list_predictors(seeds=(1, 1)))
    with pytest.raises(ValueError, match="two predictors of a fold share"):
        CLASSIFICATION.score([twice])
    with pytest.raises(ValueError, match="'x00' is predicted twice"):
        test = replace(outcomes, partition="test")
        CLASSIFICATION.score([test, replace(test, fold="y")])
    wrong = replace(outcomes, values=outcomes.values + 2)
    with pytest.raises(ValueError, match="outside 0 to 2"):
        score_table([wrong], CLASSIFICATION)


def test_splits_may_share_their_dev():
    outcomes = classified()
    one = CLASSIFICATION.score([outcomes])
    both = CLASSIFICATION.score([outcomes, replace(outcomes, fold="y")])
    pd.testing.assert_frame_equal(one, both)


def test_an_unknown_metric_is_refused():
    config = {"evaluation": {"metric": "f2", "cluster": "speaker"}}
    with pytest.raises(ValueError, match="is 'f2'; expected one of"):
        make_scorer(config, {"task": "classification", "classes": CLASSES})
