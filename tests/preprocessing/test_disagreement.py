"""Disagreement of raters against numpy and scikit-learn, and in the batches."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from ifusion.corpora.corpus import Corpus, Modality
from ifusion.preprocessing.disagreement import rater_disagreement
from ifusion.preprocessing.sequences import make_batch, sequence_rows
from ifusion.preprocessing.standardise import fit_standardizer


@pytest.fixture
def continuous():
    """Two recordings of 4 and 3 frames, two targets, three raters with gaps."""
    rng = np.random.default_rng(0)
    raters = {name: rng.normal(0, 1, (7, 3)).astype("f4") for name in ("a", "v")}
    raters["a"][2, 1] = np.nan
    raters["a"][3, :2] = np.nan
    return Corpus(
        name="small",
        recording=np.array(["x", "y"]),
        partition=np.array(["train", "dev"]),
        speaker=np.array(["x", "y"]),
        modalities={"audio": Modality(("f",), rng.normal(0, 1, (7, 1)))},
        targets=("a", "v"),
        labels=np.stack([np.nanmean(r, axis=1) for r in raters.values()], axis=1),
        frame_step=0.04,
        offsets=np.array([0, 4, 7]),
        raters=raters,
    )


def test_values_spread_by_their_standard_deviation(continuous):
    found = rater_disagreement(continuous)
    assert found.dtype == np.float32 and found.shape == (7, 2)
    whole = np.std(continuous.raters["v"], axis=1, ddof=1)
    np.testing.assert_allclose(found[:, 1], whole, rtol=1e-6)
    np.testing.assert_allclose(
        found[2, 0], np.std(continuous.raters["a"][2, [0, 2]], ddof=1), rtol=1e-6
    )
    assert np.isnan(found[3, 0])  # one rater alone


def test_votes_spread_by_their_entropy(corpus):
    votes = np.array(
        [
            [0, 0, 0],
            [0, 1, 1],
            [0, 1, 2],
            [2, np.nan, 1],
            [0, 0, 1],
            [np.nan, np.nan, np.nan],
            [2, 2, np.nan],
        ]
    )
    found = rater_disagreement(replace(corpus, raters={"emotion": votes}))[:, 0]
    assert np.isnan(found[5])  # nobody
    for i in (0, 1, 2, 3, 4, 6):  # the entropy [bit] of a tree's root
        mine = votes[i][~np.isnan(votes[i])]
        tree = DecisionTreeClassifier(criterion="entropy").fit(mine[:, None], mine)
        expected = tree.tree_.impurity[0] * np.log(2)
        assert found[i] == pytest.approx(expected, abs=1e-6)


def test_a_target_without_raters_has_none(continuous):
    fewer = {"a": continuous.raters["a"], "liking": continuous.raters["v"]}
    assert rater_disagreement(replace(continuous, raters=fewer)) is None
    assert rater_disagreement(replace(continuous, raters={})) is None


def test_batches_look_ahead_in_disagreement_as_in_labels(continuous):
    spread = rater_disagreement(continuous)
    standardizers = {"audio": fit_standardizer([continuous.modalities["audio"].values])}
    rows = sequence_rows(continuous, "train")[:, :2]  # a window within the recording
    batch = make_batch(continuous, rows, standardizers, 4, {"uncertainty": spread})
    found = batch.extras["uncertainty"]
    assert found.shape == batch.labels.shape == (1, 6, 2)
    np.testing.assert_array_equal(found[0, :4], spread[:4])
    assert not found[0, 4:].any()
