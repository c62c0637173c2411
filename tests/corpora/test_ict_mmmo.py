import os
from pathlib import Path

import numpy as np
import pytest
from formats import refused
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ifusion.corpora.sources.ict_mmmo import FILE, read_ict_mmmo
from ifusion.corpora.splits import fold_names, fold_partition

DATA = Path(os.environ.get("IFUSION_DATA", "")) / "ict_mmmo"
real = pytest.mark.skipif(
    "IFUSION_DATA" not in os.environ or not DATA.is_dir(),
    reason="IFUSION_DATA names no folder with ict_mmmo",
)


def ccc(x, y):
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return 2 * np.cov(x, y, ddof=0)[0, 1] / spread


def score(corpus, modality, splits):
    """Accuracy in two classes, and CCC, of linear models on functionals.

    Logistic regression, and a ridge whose penalty dev chooses, on test of all splits.
    """
    values = np.nan_to_num(corpus.modalities[modality].values)
    labels = corpus.labels[:, 0]
    positive = labels > corpus.neutral
    right, said, truth = [], [], []
    for split in splits:
        train, dev, test = (split == part for part in ("train", "dev", "test"))
        classes = LogisticRegression(C=0.01, max_iter=3000)
        classes = make_pipeline(StandardScaler(), classes)
        classes.fit(values[train], positive[train])
        ridges = [
            make_pipeline(StandardScaler(), Ridge(penalty)).fit(
                values[train], labels[train]
            )
            for penalty in (1, 10, 100, 1000, 10000)
        ]
        best = max(ridges, key=lambda x: ccc(x.predict(values[dev]), labels[dev]))
        right.append(classes.predict(values[test]) == positive[test])
        said.append(best.predict(values[test]))
        truth.append(labels[test])
    return np.concatenate(right).mean(), ccc(
        np.concatenate(said), np.concatenate(truth)
    )


@pytest.mark.data
@real
@pytest.mark.parametrize(
    ("modality", "known", "linear"), [("audio", 0.738, 0.253), ("video", 0.637, 0.055)]
)
def test_logistic_regression_comes_near_what_is_known(modality, known, linear):
    corpus = read_ict_mmmo(DATA)
    counts = {p: int((corpus.partition == p).sum()) for p in ("train", "dev", "test")}
    assert counts == {"train": 220, "dev": 40, "test": 80}
    found = score(corpus, modality, [corpus.partition])
    assert found[0] == pytest.approx(known, abs=0.06)
    assert found[1] == pytest.approx(linear, abs=0.02)


@pytest.mark.slow
@pytest.mark.data
@real
@pytest.mark.parametrize(
    ("modality", "known", "linear"), [("audio", 0.760, 0.372), ("video", 0.604, 0.174)]
)
def test_so_it_does_over_repeated_folds(modality, known, linear):
    found = []
    for deal in range(3):
        corpus = read_ict_mmmo(DATA, deal)
        splits = [fold_partition(corpus, fold) for fold in fold_names(corpus)]
        found.append(score(corpus, modality, splits))
    assert np.mean(found, 0)[0] == pytest.approx(known, abs=0.03)
    assert np.mean(found, 0)[1] == pytest.approx(linear, abs=0.02)


def write(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "audio": rng.standard_normal((6, 4, 3)).astype(np.float32),
        "video": rng.standard_normal((6, 4, 2)).astype(np.float32),
        "sentiment": np.linspace(1, 5, 6, dtype=np.float32),
        "split": np.array(["train"] * 4 + ["dev", "test"]),
    }
    np.savez(folder / FILE, **{**arrays, **changes})
    return arrays


def test_steps_of_zeros_do_not_count(tmp_path):
    audio = np.ones((6, 4, 3), np.float32)
    audio[:, 1] = 3
    audio[:, 2:] = 0
    audio[5] = 0
    write(tmp_path, audio=audio)
    corpus = read_ict_mmmo(tmp_path)
    found = corpus.modalities["audio"].values
    np.testing.assert_array_equal(found[:5], [[2, 2, 2, 1, 1, 1]] * 5)
    assert np.isnan(found[5]).all()
    assert corpus.task == "regression" and corpus.frame_step is None


@pytest.mark.parametrize(
    ("changes", "row", "column", "words"),
    [
        ({"video": np.zeros((5, 4, 2), np.float32)}, None, "video", "shape"),
        (
            {"sentiment": np.full(6, np.nan)},
            1,
            "sentiment",
            "found nan, expected a finite number",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, row, column, words):
    write(tmp_path, **changes)
    with refused(FILE, row, column, words):
        read_ict_mmmo(tmp_path)


def test_deals_are_repeated_folds(tmp_path):
    write(tmp_path)
    deals = [read_ict_mmmo(tmp_path, deal).attributes["fold"] for deal in (0, 1, 1)]
    assert all(sorted(x) == sorted("001234") for x in deals)
    assert (deals[0] != deals[1]).any() and (deals[1] == deals[2]).all()
    with pytest.raises(ValueError, match="deal is -1, expected 0, 1"):
        read_ict_mmmo(tmp_path, -1)
