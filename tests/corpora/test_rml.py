import os
from pathlib import Path

import numpy as np
import pytest
from formats import refused
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ifusion.corpora.sources.rml import FILE, read_rml

DATA = Path(os.environ.get("IFUSION_DATA", "")) / "rml"
real = pytest.mark.skipif(
    "IFUSION_DATA" not in os.environ or not DATA.is_dir(),
    reason="IFUSION_DATA names no folder with rml",
)


@pytest.mark.data
@real
def test_counts_are_those_of_the_description():
    corpus = read_rml(DATA)
    assert {m: x.values.shape for m, x in corpus.modalities.items()} == {
        "audio": (287, 105),
        "video": (287, 40),
    }
    assert sorted(np.bincount(corpus.labels[:, 0]).tolist()) == [47] + [48] * 5
    assert {*corpus.attributes["fold"]} == {*map(str, range(8))}
    for partition, blocks in (("train", 5), ("dev", 1), ("test", 2)):
        assert len({*corpus.speaker[corpus.partition == partition]}) == blocks
    assert "guess" in corpus.notes[0]


@pytest.mark.data
@real
@pytest.mark.parametrize(
    ("modality", "published"), [("audio", 0.690), ("video", 0.487)]
)
def test_logistic_regression_over_blocks_comes_near_what_is_known(modality, published):
    corpus = read_rml(DATA)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    scores = cross_val_score(
        model,
        corpus.modalities[modality].values,
        corpus.labels[:, 0],
        groups=corpus.speaker,
        cv=LeaveOneGroupOut(),
    )
    assert scores.mean() == pytest.approx(published, abs=0.05)


def write(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "audio": rng.standard_normal((32, 3), np.float32),
        "video": rng.standard_normal((32, 2), np.float32),
        "label": np.repeat(np.arange(2, dtype=np.int8), 16),
        "class_names": np.array(["calm", "tense"]),
    }
    np.savez(folder / FILE, **{**arrays, **changes})
    return folder


def test_blocks_stand_for_speakers(tmp_path):
    corpus = read_rml(write(tmp_path))
    assert corpus.speaker[:4].tolist() == ["block 0", "block 0", "block 1", "block 1"]
    np.testing.assert_array_equal(corpus.speaker[:16], corpus.speaker[16:])


@pytest.mark.parametrize(
    ("changes", "row", "column", "words"),
    [
        ({"label": np.full(32, 2)}, 1, "label", "found 2, expected 0 to 1"),
        ({"video": np.zeros((31, 2))}, None, "video", "shape"),
        (
            {"audio": np.full((32, 3), np.nan)},
            1,
            "audio",
            "found nan in column 1, expected a finite number",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, row, column, words):
    with refused(FILE, row, column, words):
        read_rml(write(tmp_path, **changes))
