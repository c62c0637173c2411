import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ifusion.adjustments import Adjustment
from ifusion.core import ImplicitFusion
from ifusion.inference.predictor import (
    make_predictor,
    predict_recordings,
    predict_rows,
    predict_sequences,
)
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import sequence_rows
from ifusion.preprocessing.standardise import Standardizer
from ifusion.training.checkpoint import (
    Checkpoint,
    Continuous,
    Outcome,
    load_checkpoint,
    save_checkpoint,
)
from ifusion.training.lanes import make_grid

SIZES = Architecture(hidden_size=4)
LANES = make_grid(("audio", "video"), ("emotion",), (0.0, 0.5), (3,))


@pytest.fixture(scope="module")
def checkpoint(draw_params, num_features):
    params = draw_params(ImplicitFusion(("audio", "video"), 3, SIZES))
    signs = np.array([1.0, -0.5, 0.7, 2.0], np.float32)
    rng = np.random.default_rng(0)
    return Checkpoint(
        lanes=LANES,
        outcomes=tuple(Outcome(1, 0.5, -1) for _ in LANES),
        params=jax.tree.map(lambda x: np.stack([s * x for s in signs]), params),
        standardizers={
            m: Standardizer(rng.normal(5, 1, f), rng.uniform(2, 4, f))
            for m, f in num_features.items()
        },
        features={
            m: tuple(f"{m}{i}" for i in range(f)) for m, f in num_features.items()
        },
        architecture=SIZES,
        targets=("emotion",),
        classes=("anger", "happy", "sad"),
        sequence="video",
    )


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gru_by_hand(layer, sequence):
    """(T, F) -> (T, H)."""
    h, states = np.zeros(len(layer["bias"])), []
    for x in sequence:
        a = np.split(x @ layer["input"]["weight"].T + layer["input"]["bias"], 3)
        u = np.split(h @ layer["kernel"], 3)
        r, z = (1 / (1 + np.exp(-(a[i] + u[i]))) for i in (0, 1))
        h = (1 - z) * np.tanh(a[2] + r * (u[2] + layer["bias"])) + z * h
        states.append(h)
    return np.array(states)


def by_hand(checkpoint, lane, modality, values, rows):
    """Logits of each step of each sequence, {row: (O,)}."""
    p = jax.tree.map(lambda x: x[lane].astype(float), checkpoint.params)
    s = checkpoint.standardizers[modality]
    found = {}
    for sequence in rows:
        sequence = sequence[sequence >= 0]
        x = (values[sequence].astype(float) - s.mean) / s.std
        r = gru_by_hand(p[f"branch_{modality}"]["gru_0"], x)
        h = gru_by_hand(p["shared"]["gru_0"], r)
        for row, out in zip(
            sequence, h @ p["output"]["kernel"] + p["output"]["bias"], strict=True
        ):
            found[row] = out
    return found


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_predictions_equal_the_model_by_hand(checkpoint, corpus, modality):
    predictor = make_predictor(checkpoint, modality)
    mine = [i for i, lane in enumerate(LANES) if lane.main == modality]
    assert predictor.lanes == tuple(LANES[i] for i in mine)
    values = corpus.modalities[modality].values
    rows = sequence_rows(corpus, "train", "video")
    predictions = predict_rows(predictor, values, rows)
    assert predictions.shape == (2, 7, 3) and predictions.dtype == np.float32
    for n, lane in enumerate(mine):
        expected = by_hand(checkpoint, lane, modality, values, rows)
        assert set(expected) == {0, 2, 3, 6}
        for row in range(7):
            if row in expected:
                np.testing.assert_allclose(
                    predictions[n, row], softmax(expected[row]), atol=1e-5
                )
            else:
                assert np.isnan(predictions[n, row]).all()


def test_a_regression_gives_values(checkpoint, corpus):
    predictor = make_predictor(replace(checkpoint, classes=()), "audio")
    values = corpus.modalities["audio"].values
    rows = sequence_rows(corpus, "dev", "video")
    predictions = predict_rows(predictor, values, rows)
    for row, expected in by_hand(checkpoint, 1, "audio", values, rows).items():
        np.testing.assert_allclose(predictions[1, row], expected, atol=1e-5)


def test_padding_changes_no_prediction(checkpoint, corpus):
    predictor = make_predictor(checkpoint, "audio")
    values = corpus.modalities["audio"].values
    rows = np.array([[0, 2, 6], [3, -1, -1]])
    roomy = np.pad(rows, ((0, 1), (0, 2)), constant_values=-1)
    np.testing.assert_allclose(
        predict_rows(predictor, values, roomy),
        predict_rows(predictor, values, rows),
        atol=1e-6,
    )


def test_missing_and_infinite_values_stay_in_their_row(checkpoint, corpus):
    predictor = make_predictor(checkpoint, "audio")
    values = corpus.modalities["audio"].values.copy()
    rows = np.array([[0, 1], [2, -1]])
    clean = predict_rows(predictor, values, rows)
    values[6] = np.nan  # the row that -1 would read
    np.testing.assert_array_equal(predict_rows(predictor, values, rows), clean)
    values[2, 0] = np.nan  # counts as the train mean
    filled = values.copy()
    filled[2, 0] = checkpoint.standardizers["audio"].mean[0]
    np.testing.assert_allclose(
        predict_rows(predictor, values, rows),
        predict_rows(predictor, filled, rows),
        atol=1e-6,
    )


def test_without_video_audio_is_the_same_bit_for_bit(checkpoint, corpus, tmp_path):
    """Every parameter, statistic and feature of video is deleted, then scrambled."""
    rows = sequence_rows(corpus, "dev", "video")
    values = corpus.modalities["audio"].values
    save_checkpoint(tmp_path / "best", checkpoint, {})
    whole = predict_rows(
        make_predictor(load_checkpoint(tmp_path / "best"), "audio"), values, rows
    )

    arrays = load_file(tmp_path / "best" / "arrays.safetensors")
    audio = {name: a for name, a in arrays.items() if "video" not in name}
    save_file(audio, tmp_path / "best" / "arrays.safetensors")
    mono_modal = replace(corpus, modalities={"audio": corpus.modalities["audio"]})
    deleted = predict_rows(
        make_predictor(load_checkpoint(tmp_path / "best", ["audio"]), "audio"),
        mono_modal.modalities["audio"].values,
        sequence_rows(mono_modal, "dev", "video"),
    )
    np.testing.assert_array_equal(deleted, whole)

    nan = jax.tree.map(lambda x: np.full_like(x, np.nan), checkpoint.params)
    params = {**checkpoint.params, "branch_video": nan["branch_video"]}
    scrambled = make_predictor(replace(checkpoint, params=params), "audio")
    np.testing.assert_array_equal(predict_rows(scrambled, values, rows), whole)


def test_a_predictor_holds_nothing_of_another_modality(checkpoint):
    predictor = make_predictor(checkpoint, "audio")
    assert set(predictor.params) == {"branch_audio", "shared", "output"}
    assert predictor.features == ("audio0", "audio1", "audio2")
    assert predictor.standardizer is checkpoint.standardizers["audio"]
    assert all(lane.main == "audio" for lane in predictor.lanes)
    assert predictor.params["output"]["bias"].shape == (2, 3)


@pytest.mark.parametrize("shape", [(7, 5), (7, 2), (3,), (2, 7, 3)])
def test_a_wrong_number_of_features_is_refused(checkpoint, shape):
    predictor = make_predictor(checkpoint, "audio")
    with pytest.raises(ValueError, match="expected 3 columns for 'audio'") as caught:
        predict_rows(predictor, np.zeros(shape, np.float32), np.array([[0]]))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("delay_scoring", ["original", "shifted"])
def test_recordings_are_shifted_back_and_adjusted(
    checkpoint, corpus, tmp_path, delay_scoring
):
    """Lanes of unlike delay and post-processing, by hand, from a loaded checkpoint."""
    params = {**checkpoint.params}
    params["output"] = {k: x[..., :1] for k, x in params["output"].items()}
    lanes = tuple(replace(lane, delay=i) for i, lane in enumerate(checkpoint.lanes))
    adjustments = (
        (),
        (Adjustment("scale", 2.0, 0.5), Adjustment("shift", -1)),
        (Adjustment("centre", 9.0),),
        (),
    )
    continuous = Continuous(0.04, delay_scoring, adjustments)
    given = replace(
        checkpoint,
        params=params,
        lanes=lanes,
        classes=(),
        sequence="",
        continuous=continuous,
    )
    save_checkpoint(tmp_path / "best", given, {})
    loaded = load_checkpoint(tmp_path / "best", ["audio"])
    assert loaded.continuous == continuous
    predictor = make_predictor(loaded, "audio")
    assert predictor.continuous.adjustments == adjustments[:2]
    values = corpus.modalities["audio"].values[:7]
    found = predict_recordings(predictor, values, np.array([0, 4, 7]))
    rows = np.array([[0, 1, 2, 3], [4, 5, 6, -1]])
    outputs = predict_rows(predictor, values, rows)[..., 0]
    np.testing.assert_array_equal(found[0], outputs[0])
    late = [0, 0, 1, 2, 4, 4, 5] if delay_scoring == "original" else range(7)
    ahead = [1, 2, 3, 3, 5, 6, 6]
    expected = (0.5 + 2 * (outputs[1, late] - 0.5))[ahead]
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    raw = predict_recordings(
        predictor, values, np.array([0, 4, 7]), np.array([1]), True
    )
    np.testing.assert_allclose(raw[1], outputs[1, late][4:], rtol=1e-6)
    with pytest.raises(ValueError, match="do not cut 7 rows"):
        predict_recordings(predictor, values, np.array([0, 4, 6]))


def test_a_classification_does_not_predict_over_time(checkpoint, corpus):
    predictor = make_predictor(checkpoint, "audio")
    values = corpus.modalities["audio"].values
    with pytest.raises(ValueError, match="expected one of a regression"):
        predict_recordings(predictor, values, np.array([0, len(values)]))


def test_inference_needs_neither_pandas_nor_scikit_learn():
    program = (
        "import sys; sys.modules.update(pandas=None, sklearn=None); "
        "from ifusion.inference.predictor import predict_recordings"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_modality_without_lanes_is_refused(checkpoint):
    with pytest.raises(ValueError, match="for 'text'; the mains are audio, video"):
        make_predictor(checkpoint, "text")


def test_a_modality_that_was_not_loaded_is_refused(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "best", checkpoint, {})
    audio = load_checkpoint(tmp_path / "best", ["audio"])
    with pytest.raises(ValueError, match="video"):
        make_predictor(audio, "video")


@pytest.mark.parametrize("steps", [1, 3, 7, 8])
def test_parts_of_long_sequences_predict_what_the_whole_does(checkpoint, steps):
    predictor = make_predictor(checkpoint, "audio")
    values = np.random.default_rng(5).normal(5, 3, (12, 3)).astype(np.float32)
    rows = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, *[-1] * 4]])
    outputs = predict_sequences(predictor, values, rows, steps)
    for lane in range(2):
        expected = by_hand(checkpoint, lane, "audio", values, rows)
        for row, logits in expected.items():
            place = tuple(np.argwhere(rows == row)[0])
            np.testing.assert_allclose(
                outputs[(lane, *place)], softmax(logits), atol=1e-6
            )
