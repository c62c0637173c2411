import os
from pathlib import Path

import numpy as np
import pytest
from formats import refused
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ifusion.corpora.description import corpus_warnings
from ifusion.corpora.sources.ravdess import FILE, read_ravdess
from ifusion.corpora.splits import fold_names

DATA = Path(os.environ.get("IFUSION_DATA", "")) / "ravdess_av"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        "IFUSION_DATA" not in os.environ or not DATA.is_dir(),
        reason="IFUSION_DATA names no folder with ravdess_av",
    ),
]


@pytest.fixture(scope="module")
def corpus():
    return read_ravdess(DATA)


def test_counts_are_those_of_the_description(corpus):
    assert corpus.num_recordings == 1248
    classes = "anger disgust fear happy neutral sad surprise"
    assert corpus.classes == tuple(classes.split())
    assert np.bincount(corpus.labels[:, 0]).tolist() == [192] * 4 + [96] + [192] * 2
    shapes = {m: v.values.shape for m, v in corpus.modalities.items()}
    assert shapes == {"audio": (1248, 88), "video": (1248, 35)}
    assert {
        p: int((corpus.partition == p).sum()) for p in ("train", "dev", "test")
    } == {"train": 15 * 52, "dev": 5 * 52, "test": 4 * 52}
    assert not [w for w in corpus_warnings(corpus) if "speaker" in w]


def test_eight_classes_keep_calm():
    corpus = read_ravdess(DATA, classes=8)
    assert corpus.num_recordings == 1440
    counts = np.bincount(corpus.labels[:, 0])
    assert dict(zip(corpus.classes, counts.tolist(), strict=True))["calm"] == 192


def test_folds_hold_the_published_actors(corpus):
    assert fold_names(corpus) == ("0", "1", "2", "3", "4")
    held = {
        fold: sorted(
            {int(s[-2:]) for s in corpus.speaker[corpus.attributes["fold"] == fold]}
        )
        for fold in fold_names(corpus)
    }
    assert held == {
        "0": [2, 5, 14, 15, 16],
        "1": [3, 6, 7, 13, 18],
        "2": [10, 11, 12, 19, 20],
        "3": [8, 17, 21, 23, 24],
        "4": [1, 4, 9, 22],
    }


def test_attributes_agree_with_the_file_names(corpus):
    # channel-emotion-intensity-statement-repetition-actor; odd actors are male
    codes = np.array([name.split("-") for name in corpus.recording]).astype(int)
    emotion = dict(
        enumerate(
            ["neutral", "calm", "happy", "sad", "anger", "fear", "disgust", "surprise"],
            1,
        )
    )
    labels = np.array(corpus.classes)[corpus.labels[:, 0]]
    assert labels.tolist() == [emotion[code] for code in codes[:, 1]]
    strong = corpus.attributes["intensity"] == "strong"
    np.testing.assert_array_equal(strong, codes[:, 2] == 2)
    for i, name in ((3, "statement"), (4, "repetition")):
        np.testing.assert_array_equal(corpus.attributes[name].astype(int), codes[:, i])
    np.testing.assert_array_equal(
        corpus.attributes["sex"] == "male", codes[:, 5] % 2 == 1
    )
    assert corpus.speaker.tolist() == [f"actor {code:02d}" for code in codes[:, 5]]


@pytest.mark.parametrize(("modality", "accuracy"), [("audio", 0.518), ("video", 0.611)])
def test_logistic_regression_reaches_the_published_accuracy(corpus, modality, accuracy):
    """Features and labels that were not aligned would score at chance, .15."""
    features, labels = corpus.modalities[modality].values, corpus.labels[:, 0]
    hits = []
    for fold in fold_names(corpus):
        held = corpus.attributes["fold"] == fold
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.05, solver="newton-cholesky")
        )
        model.fit(features[~held].astype(float), labels[~held])
        hits.append(model.predict(features[held].astype(float)) == labels[held])
    assert np.concatenate(hits).mean() == pytest.approx(accuracy, abs=0.005)


def test_bad_requests_are_refused(tmp_path):
    with refused(FILE, reason="no such file"):
        read_ravdess(tmp_path)
    with pytest.raises(ValueError, match="expected 7 or 8"):
        read_ravdess(DATA, classes=6)
    np.savez(tmp_path / "ravdess_av.npz", ids=np.array(["a"]))
    with refused(FILE, column="label", reason="missing"):
        read_ravdess(tmp_path)


def spoilt(folder, name, place, value):
    """The real file with one value replaced."""
    with np.load(DATA / "ravdess_av.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file}
    arrays[name][place] = value
    np.savez(folder / "ravdess_av.npz", **arrays)
    return folder


@pytest.mark.parametrize(
    ("name", "place", "value", "row", "reason"),
    [
        ("audio", (7, 3), np.nan, 8, "nan in column 4, expected a finite number"),
        ("video", (0, 1), np.inf, 1, "inf in column 2, expected a finite number"),
        ("split", 5, 3, 6, "found 3, expected 0 to 2"),
        ("label7", 9, 7, 10, "found 7, expected -1 to 6"),
    ],
)
def test_bad_values_are_named(tmp_path, name, place, value, row, reason):
    with refused(FILE, row, name, reason):
        read_ravdess(spoilt(tmp_path, name, place, value))


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("actor", lambda a: a[:5], r"shape \(5,\) .* of shape \(1440,\)"),
        ("audio", lambda a: a[:, :87], r"shape \(1440, 87\)"),
        ("label", lambda a: a[:, None], r"shape \(1440, 1\)"),
        ("fold", lambda a: a.astype(str), "expected whole numbers"),
        ("video", lambda a: a.astype(str), "expected numbers"),
        ("ids", lambda a: a.astype("S"), "expected text"),
    ],
)
def test_arrays_of_another_shape_or_type_are_named(tmp_path, name, change, reason):
    with np.load(DATA / "ravdess_av.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file}
    np.savez(tmp_path / FILE, **arrays | {name: change(arrays[name])})
    with refused(FILE, column=name, reason=reason):
        read_ravdess(tmp_path)


def test_missing_values_may_be_let_through(tmp_path):
    corpus = read_ravdess(spoilt(tmp_path, "audio", (0, 3), np.nan), impute=True)
    assert np.isnan(corpus.modalities["audio"].values).sum() == 1
    with refused(FILE, 1, "audio", "found inf"):
        read_ravdess(spoilt(tmp_path, "audio", (0, 3), np.inf), impute=True)


def test_action_units_may_be_two_modalities(corpus):
    split = read_ravdess(DATA, units="split")
    shapes = {m: v.values.shape[1] for m, v in split.modalities.items()}
    assert shapes == {"audio": 88, "au_intensity": 17, "au_presence": 18}
    joined = [split.modalities[m].values for m in ("au_intensity", "au_presence")]
    np.testing.assert_array_equal(
        np.concatenate(joined, axis=1), corpus.modalities["video"].values
    )
    with pytest.raises(ValueError, match="units is 'both', expected one of joined"):
        read_ravdess(DATA, units="both")
