import os
from pathlib import Path

import numpy as np
import pytest
from formats import refused
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ifusion.corpora.sources.ict_mmmo import FILE, read_ict_mmmo

DATA = Path(os.environ.get("IFUSION_DATA", "")) / "ict_mmmo"
real = pytest.mark.skipif(
    "IFUSION_DATA" not in os.environ or not DATA.is_dir(),
    reason="IFUSION_DATA names no folder with ict_mmmo",
)


@pytest.mark.data
@real
@pytest.mark.parametrize(("modality", "known"), [("audio", 0.738), ("video", 0.637)])
def test_logistic_regression_comes_near_what_is_known(modality, known):
    corpus = read_ict_mmmo(DATA)
    counts = {p: int((corpus.partition == p).sum()) for p in ("train", "dev", "test")}
    assert counts == {"train": 220, "dev": 40, "test": 80}
    values = np.nan_to_num(corpus.modalities[modality].values)
    positive = corpus.labels[:, 0] > corpus.neutral
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=3000))
    train, test = corpus.partition == "train", corpus.partition == "test"
    model.fit(values[train], positive[train])
    score = model.score(values[test], positive[test])
    assert score == pytest.approx(known, abs=0.06)


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
