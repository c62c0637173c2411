import os
from pathlib import Path

import numpy as np
import pytest
from formats import refused
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ifusion.concordance import concordance
from ifusion.corpora.corpus import row_partition
from ifusion.corpora.gold_standard import avec_gold_standard
from ifusion.corpora.sources.studyforrest import (
    FILE,
    RUNS,
    SIGNALS,
    read_studyforrest,
    window_statistics,
)
from ifusion.corpora.splits import fold_names

DATA = Path(os.environ.get("IFUSION_DATA", "")) / "studyforrest_av"
needs_data = pytest.mark.skipif(
    "IFUSION_DATA" not in os.environ or not DATA.is_dir(),
    reason="IFUSION_DATA names no folder with studyforrest_av",
)


def arrays(frames=60, seed=0):
    """Eight short runs in the layout of the real file."""
    rng = np.random.default_rng(seed)
    data = {
        "split": np.array(["train", "train", "test", "dev"] * 2),
        "run_start_s": np.arange(8) * 2.4,
    }
    for run in RUNS:
        t = frames + run
        data[f"run{run}_audio"] = rng.random((t, 2)).astype(np.float32)
        data[f"run{run}_video"] = rng.normal(100, 30, (t, 4)).astype(np.float32)
        votes = rng.integers(-1, 2, (2, t, 9)).astype(np.int8)
        data[f"run{run}_obs_arousal"], data[f"run{run}_obs_valence"] = votes
        data[f"run{run}_labels"] = votes.mean(2).T.astype(np.float32)
    return data


def save(folder, **changes):
    data = {k: v for k, v in (arrays() | changes).items() if v is not None}
    np.savez(folder / FILE, **data)
    return folder


def naive(signals, length, window):
    """Mean, standard deviation and maximum by a loop over frames."""
    back = length // 2 if window == "centred" else length - 1
    padded = np.pad(signals, ((length, length), (0, 0)), "edge")
    parts = [padded[length + t - back :][:length] for t in range(len(signals))]
    rows = [np.concatenate([p.mean(0), p.std(0), p.max(0)]) for p in parts]
    return np.array(rows)


@pytest.mark.parametrize("window", ["centred", "causal"])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 200])
def test_functionals_are_those_of_a_loop(window, length):
    signals = np.random.default_rng(0).normal(1000, 3, (90, 4))
    found = window_statistics(signals, (length * 0.04,), window)
    np.testing.assert_allclose(found, naive(signals, length, window), atol=1e-6)


def test_causal_functionals_do_not_look_ahead():
    signals = np.random.default_rng(0).standard_normal((400, 2))
    changed = signals.copy()
    changed[200:] += 5
    before, after = (window_statistics(x, window="causal") for x in (signals, changed))
    np.testing.assert_allclose(before[:200], after[:200], atol=1e-5)
    ahead = window_statistics(signals)[:200] - window_statistics(changed)[:200]
    assert np.abs(ahead).max() > 1


def test_runs_become_recordings(tmp_path):
    data = arrays()
    corpus = read_studyforrest(save(tmp_path), hop=3)
    assert corpus.recording.tolist() == [f"run{k}" for k in RUNS]
    assert corpus.partition.tolist() == ["train", "train", "test", "dev"] * 2
    assert fold_names(corpus) == tuple("12345678")
    assert corpus.frame_step == pytest.approx(0.12)
    assert np.diff(corpus.offsets).tolist() == [-(-(60 + k) // 3) for k in RUNS]
    rows = slice(*corpus.offsets[1:3])
    np.testing.assert_array_equal(corpus.labels[rows], data["run2_labels"][::3])
    np.testing.assert_array_equal(
        corpus.raters["valence"][rows], data["run2_obs_valence"][::3]
    )
    assert corpus.attributes["start"].tolist()[:3] == ["0", "2.4", "4.8"]


def test_signals_are_as_described(tmp_path):
    data = arrays()
    corpus = read_studyforrest(save(tmp_path))
    rms, difference = data["run3_audio"].astype(float).T
    video = data["run3_video"].astype(float)
    log = np.log(rms + 1e-4)
    signals = {
        "rms": rms,
        "lrdiff": difference,
        "abs_lrdiff": abs(difference),
        "log_rms": log,
        "change_log_rms": np.r_[0, abs(log[1:] - log[:-1])],
        "brmean": video[:, 0],
        "norm_diff": video[:, 3],
        "change_brmean": np.r_[0, abs(video[1:, 0] - video[:-1, 0])],
    }
    rows = slice(*corpus.offsets[2:4])
    for m in ("audio", "video"):
        modality = corpus.modalities[m]
        assert len(modality.names) == 45
        for name in set(SIGNALS[m]) & set(signals):
            expected = naive(signals[name][:, None], 50, "centred")
            for k, functional in enumerate(("mean", "std", "max")):
                column = modality.names.index(f"{name}_{functional}_2s")
                np.testing.assert_allclose(
                    modality.values[rows, column], expected[:, k], rtol=1e-5, atol=1e-5
                )


def test_the_gold_standard_may_be_made_of_the_observers(tmp_path):
    data = arrays()
    save(tmp_path)
    mean = read_studyforrest(tmp_path, gold="mean")
    given = read_studyforrest(tmp_path)
    np.testing.assert_allclose(mean.labels, given.labels, atol=1e-6)
    avec = read_studyforrest(tmp_path, gold="avec")
    np.testing.assert_allclose(
        avec.labels[: avec.offsets[1], 1],
        avec_gold_standard(data["run1_obs_valence"]),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("name", "array", "row", "reason"),
    [
        ("run3_video", None, None, "missing"),
        ("run3_video", np.zeros((5, 4)), None, r"shape \(5, 4\)"),
        ("run3_labels", np.zeros((63, 2), str), None, "expected numbers"),
        ("run1_audio", np.full((61, 2), np.nan), 1, "nan in column 1"),
        ("run1_audio", np.full((61, 2), -1.0), None, "a loudness is negative"),
        ("run1_audio", np.full((61, 2), 1e30), 1, "finite number up to"),
        ("run2_labels", np.float32(1), None, r"shape \(\)"),
        ("run2_labels", np.zeros((0, 2)), None, r"shape \(0, 2\)"),
        ("split", np.array(["train"]), None, r"shape \(1,\)"),
        ("split", np.arange(8), None, "type int64"),
        ("run_start_s", np.array(["0"] * 8), None, "type <U1"),
    ],
)
def test_bad_files_are_named(tmp_path, name, array, row, reason):
    with refused(FILE, row, name, reason):
        read_studyforrest(save(tmp_path, **{name: array}))


def test_an_unknown_partition_is_named(tmp_path):
    with refused(reason="recording 'run8' has partition 'x'"):
        read_studyforrest(save(tmp_path, split=np.array(["train"] * 7 + ["x"])))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hop": 0}, "hop is 0"),
        ({"window": "left"}, "window is 'left', expected centred or causal"),
        ({"gold": "median"}, "gold is 'median'"),
    ],
)
def test_bad_options_are_named(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_studyforrest(save(tmp_path), **options)
    with refused(FILE, reason="no such file"):
        read_studyforrest(tmp_path / "..")


# ---- the real file: the figures that its description reports -------------------------


@pytest.fixture(scope="module")
def corpus():
    return read_studyforrest(DATA, hop=10)


def ridge(corpus, modalities, fit, apply):
    """Predicts arousal and valence of some frames by a ridge on others."""
    features = np.concatenate([corpus.modalities[m].values for m in modalities], 1)
    features = features.astype(np.float64)
    model = make_pipeline(StandardScaler(), Ridge(alpha=100))
    model.fit(features[fit], corpus.labels[fit])
    return model.predict(features[apply])


@pytest.mark.data
@needs_data
def test_counts_are_those_of_the_description():
    corpus = read_studyforrest(DATA)
    frames = [22150, 21652, 21502, 24001, 22702, 21552, 26702, 16871]
    assert np.diff(corpus.offsets).tolist() == frames
    assert corpus.num_raters == 9
    partitions = "train train test dev train test dev train"
    assert corpus.partition.tolist() == partitions.split()
    for k, target in enumerate(("arousal", "valence")):
        mean = corpus.raters[target].mean(1)
        np.testing.assert_allclose(mean, corpus.labels[:, k], atol=1e-5)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("modalities", "dev", "test", "left_out", "tolerance"),
    [
        (("audio",), 0.586, 0.275, 0.362, 0.003),
        (("video",), 0.551, 0.308, 0.399, 0.003),
        (("audio", "video"), 0.622, 0.334, 0.462, 0.02),
    ],
)
def test_a_ridge_reaches_the_published_concordance_of_arousal(
    corpus, modalities, dev, test, left_out, tolerance
):
    partition = row_partition(corpus)
    fit, scores = partition == "train", {}
    for name in ("dev", "test"):
        apply = partition == name
        predictions = ridge(corpus, modalities, fit, apply)
        scores[name] = concordance(predictions[:, 0], corpus.labels[apply, 0])
    assert scores["dev"] == pytest.approx(dev, abs=tolerance)
    assert scores["test"] == pytest.approx(test, abs=tolerance)
    fold = np.repeat(corpus.attributes["fold"], np.diff(corpus.offsets))
    held_out = np.empty(corpus.num_rows)
    for run in fold_names(corpus):
        inside = fold == run
        held_out[inside] = ridge(corpus, modalities, ~inside, inside)[:, 0]
    score = concordance(held_out, corpus.labels[:, 0])
    assert score == pytest.approx(left_out, abs=tolerance)
