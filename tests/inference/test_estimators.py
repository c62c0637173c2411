"""The estimators, and how scikit-learn's own tools use them."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from ifusion.inference.estimators import (
    ImplicitFusionClassifier,
    ImplicitFusionRegressor,
    _hold_out,
)

FAST = {"hidden_size": 8, "epochs": 30, "batch_size": 16, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def data():
    """90 utterances of 15 speakers, three classes seen better than heard."""
    rng = np.random.default_rng(0)
    codes = np.arange(90) % 3
    audio = rng.normal(size=(90, 4)) + 2 * np.eye(3, 4)[codes]
    video = rng.normal(size=(90, 3)) + 3 * np.eye(3)[codes]
    return audio, video, np.array(["calm", "glad", "sad"])[codes], np.arange(90) % 15


def test_fits_on_two_and_predicts_from_one(data):
    audio, video, y, groups = data
    model = ImplicitFusionClassifier(main="audio", alpha=0.5, random_state=0, **FAST)
    model.fit({"audio": audio, "video": video}, y, groups=groups)
    assert model.alpha_ == 0.5 and list(model.predictor_.features) == ["audio"]
    assert model.score(audio, y) > 0.6  # a third by chance
    chances = model.predict_proba({"audio": audio})
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-6)
    assert (model.classes_[chances.argmax(1)] == model.predict(audio)).all()
    again = clone(model).fit({"audio": audio, "video": video}, y, groups=groups)
    np.testing.assert_array_equal(again.predict_proba(audio), chances)
    np.testing.assert_array_equal(copy.deepcopy(model).predict_proba(audio), chances)


@pytest.mark.slow
def test_a_table_of_two_levels_is_cut_by_scikit_learn(data):
    audio, video, y, groups = data
    tables = {"audio": pd.DataFrame(audio), "video": pd.DataFrame(video)}
    table = pd.concat(tables, axis=1)
    model = ImplicitFusionClassifier(main="audio", random_state=0, **FAST)
    same = make_pipeline(FunctionTransformer(), model.set_params(alpha=0.5))
    scores = cross_val_score(same, table, y, groups=groups, cv=GroupKFold(2))
    assert len(scores) == 2 and min(scores) > 0.5


@pytest.mark.slow
def test_alpha_is_searched_by_dev_or_by_scikit_learn(data):
    audio, video, y, groups = data
    tables = {"audio": pd.DataFrame(audio), "video": pd.DataFrame(video)}
    model = ImplicitFusionClassifier(main="audio", random_state=0, **FAST)
    model.fit(tables, y, groups=groups)
    assert round(10 * model.alpha_) in range(11)
    search = GridSearchCV(model, {"alpha": [0.0, 0.5]}, cv=GroupKFold(2))
    search.fit(pd.concat(tables, axis=1), y, groups=groups)
    assert search.best_params_["alpha"] in (0.0, 0.5)


def test_values_are_in_their_own_unit(data):
    audio, video, _, groups = data
    y = 100 + 20 * audio[:, 0] + 5 * video[:, 1]
    model = ImplicitFusionRegressor(main="audio", alpha=0.0, random_state=0, **FAST)
    model.fit({"audio": audio, "video": video}, y, groups=groups)
    assert model.score(audio, y) > 0.5
    assert abs(model.predict(audio).mean() - y.mean()) < 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"main": "text"}, "main is 'text'; X has audio, video"),
        ({"alpha": "best"}, "alpha is 'best'; expected 'dev' or a number"),
        ({"dev_share": 1.5}, "dev_share is 1.5; expected between 0 and 1"),
        ({"hidden_size": 0}, "hidden_size is 0"),
    ],
)
def test_options_that_make_no_sense_are_named(data, change, words):
    audio, video, y, groups = data
    model = ImplicitFusionClassifier(**{**FAST, **change})
    with pytest.raises(ValueError, match=words):
        model.fit({"audio": audio, "video": video}, y, groups=groups)


def test_values_that_are_none_are_named(data):
    audio, video, _, _ = data
    tables = {"audio": audio, "video": video}
    y = np.where(np.arange(90) == 5, np.nan, 1.0)
    with pytest.raises(ValueError, match="y contains NaN"):
        ImplicitFusionRegressor(**FAST).fit(tables, y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        ImplicitFusionClassifier(**FAST).fit(tables, ["a", "b"])
    with pytest.raises(ValueError, match="audio contains infinity"):
        ImplicitFusionClassifier(**FAST).fit(
            {**tables, "audio": np.full((90, 4), np.inf)}, y
        )


def test_groups_are_held_out_whole():
    groups = np.repeat(np.arange(10), 5)
    labels = np.tile([0, 1, 1, 0, 1], 10)
    dev = _hold_out(groups, labels, 0.3, np.random.RandomState(0))
    assert 0.3 <= dev.mean() <= 0.4
    assert not set(groups[dev]) & set(groups[~dev])
    rare = np.where(groups == 3, 2, labels)  # a class of one speaker stays in train
    for seed in range(10):
        dev = _hold_out(groups, rare, 0.3, np.random.RandomState(seed))
        assert 3 not in groups[dev]
    with pytest.raises(ValueError, match="no group can be held out"):
        _hold_out(np.zeros(4), np.zeros(4, int), 0.2, np.random.RandomState(0))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [ImplicitFusionClassifier, ImplicitFusionRegressor])
def test_passes_the_checks_of_scikit_learn(kind):
    """All of them: single modality arrays, which is what they bring."""
    check_estimator(kind(random_state=0, **FAST))
