from dataclasses import replace

import numpy as np
import pytest

from ifusion.corpora.corpus import Corpus, CorpusError, Modality
from ifusion.preprocessing.sequences import (
    SequenceOptions,
    make_batch,
    pad_rows,
    sequence_rows,
    training_rows,
    unlabelled_sequences,
    window_rows,
)
from ifusion.preprocessing.standardise import Standardizer


@pytest.fixture
def standardizers(num_features):
    return {
        m: Standardizer(np.full(f, 5.0), np.arange(1.0, f + 1))
        for m, f in num_features.items()
    }


@pytest.fixture
def frames():
    """Three recordings of two, three and one frames."""
    return Corpus(
        name="frames",
        recording=np.array(["a", "b", "c"]),
        partition=np.array(["train", "dev", "train"]),
        speaker=np.array(["a", "b", "c"]),
        modalities={"audio": Modality(("x",), np.arange(6.0)[:, None])},
        targets=("arousal",),
        labels=np.linspace(-1, 1, 6)[:, None],
        frame_step=0.04,
        offsets=np.array([0, 2, 5, 6]),
    )


@pytest.mark.parametrize(
    ("partition", "rows"),
    [("train", [[0], [2], [3], [6]]), ("dev", [[1], [4]]), ("test", [[5]])],
)
def test_an_utterance_is_a_sequence_of_one_step(corpus, partition, rows):
    np.testing.assert_array_equal(sequence_rows(corpus, partition), rows)


@pytest.mark.parametrize(
    ("partition", "rows"),
    [("train", [[0, 2, 6], [3, -1, -1]]), ("dev", [[1, 4]]), ("test", [[5]])],
)
def test_utterances_of_a_video_are_one_sequence_in_order(corpus, partition, rows):
    np.testing.assert_array_equal(sequence_rows(corpus, partition, "video"), rows)


def test_a_video_never_joins_two_partitions(corpus):
    split = corpus.partition.copy()
    split[2] = "dev"  # in the middle of video x
    rows = sequence_rows(replace(corpus, partition=split), "train", "video")
    np.testing.assert_array_equal(rows, [[0, 6], [3, -1]])


def test_a_recording_of_frames_is_a_sequence(frames):
    rows = sequence_rows(frames, "train")
    np.testing.assert_array_equal(rows, [[0, 1], [5, -1]])
    np.testing.assert_array_equal(sequence_rows(frames, "dev"), [[2, 3, 4]])


def test_an_empty_partition_has_no_sequences(frames):
    assert len(sequence_rows(frames, "test")) == 0


def test_an_unknown_attribute_is_refused(corpus):
    with pytest.raises(CorpusError, match=r"'film'; the attributes of 'small' are vid"):
        sequence_rows(corpus, "train", "film")
    with pytest.raises(CorpusError, match="are none"):
        sequence_rows(replace(corpus, attributes={}), "train", "film")


def test_frames_are_not_joined_again(frames):
    frames = replace(frames, attributes={"video": np.array(["x", "x", "x"])})
    with pytest.raises(CorpusError, match="is a sequence of frames already"):
        sequence_rows(frames, "train", "video")


def test_a_batch_by_hand(corpus, standardizers):
    rows = sequence_rows(corpus, "train", "video")
    batch = make_batch(corpus, rows, standardizers)
    np.testing.assert_array_equal(batch.labels[..., 0], [[0, 2, 2], [1, 0, 0]])
    np.testing.assert_array_equal(batch.mask, [[1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(batch.labelled, batch.mask)
    assert batch.mask.dtype == np.float32
    assert tuple(batch.features) == ("audio", "video")
    for m, features in batch.features.items():
        values = corpus.modalities[m].values
        assert features.shape == (2, 3, values.shape[1])
        assert features.dtype == np.float32
        expected = (values - 5.0) / np.arange(1.0, values.shape[1] + 1)
        np.testing.assert_allclose(features[0], expected[[0, 2, 6]], rtol=1e-6)
        np.testing.assert_allclose(features[1, 0], expected[3], rtol=1e-6)
        assert not features[1, 1:].any()


def test_a_batch_holds_only_the_modalities_asked_for(corpus, standardizers):
    rows = sequence_rows(corpus, "dev")
    batch = make_batch(corpus, rows, {"video": standardizers["video"]})
    assert set(batch.features) == {"video"}


def test_unlabelled_steps_are_masked(corpus, standardizers):
    batch = make_batch(corpus, sequence_rows(corpus, "test"), standardizers)
    np.testing.assert_array_equal(batch.mask, [[1]])
    np.testing.assert_array_equal(batch.labelled, [[0]])
    np.testing.assert_array_equal(batch.labels, [[[0]]])
    assert batch.features["audio"].any()


def test_regression_labels_keep_their_values(frames):
    standardizers = {"audio": Standardizer(np.zeros(1), np.ones(1))}
    labels = frames.labels.copy()
    labels[3] = np.nan
    frames = replace(
        frames, labels=labels, partition=np.array(["train", "test", "dev"])
    )
    batch = make_batch(frames, np.array([[2, 3, 4], [5, -1, -1]]), standardizers)
    expected = [[-0.2, 0, 0.6], [1, 0, 0]]
    np.testing.assert_allclose(batch.labels[..., 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(batch.mask, [[1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(batch.labelled, [[1, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(batch.features["audio"][1, :, 0], [5, 0, 0])


def test_missing_and_constant_features_are_zero(corpus):
    values = corpus.modalities["audio"].values.copy()
    values[0, 0] = np.nan
    corpus = replace(
        corpus,
        modalities={"audio": Modality(corpus.modalities["audio"].names, values)},
    )
    standardizer = Standardizer(np.zeros(3), np.array([1.0, 0.0, 1.0]))
    batch = make_batch(corpus, np.array([[0], [2]]), {"audio": standardizer})
    features = batch.features["audio"][:, 0]
    np.testing.assert_array_equal(features[:, 1], 0)
    np.testing.assert_array_equal(features[:, 0], [0, values[2, 0]])


def test_room_is_filled_with_nothing(corpus, standardizers):
    rows = sequence_rows(corpus, "train", "video")
    roomy = pad_rows(rows, 4, 5)
    expected = np.full((4, 5), -1)
    expected[0, :3], expected[1, 0] = [0, 2, 6], 3
    np.testing.assert_array_equal(roomy, expected)
    np.testing.assert_array_equal(pad_rows(rows, 2, 3), rows)
    tight, batch = (make_batch(corpus, r, standardizers) for r in (rows, roomy))
    for small, large in zip(
        (*tight.features.values(), *tight[1:4]),
        (*batch.features.values(), *batch[1:4]),
        strict=True,
    ):
        np.testing.assert_array_equal(large[:2, :3], small)
        assert not large[2:].any() and not large[:, 3:].any()


def padded(*lengths):
    """Rows of sequences that follow each other, as `sequence_rows` gives them."""
    rows = np.full((len(lengths), max(lengths)), -1)
    first = 0
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = np.arange(first, first + length)
        first += length
    return rows


def test_windows_worked_out_by_hand():
    windows = window_rows(padded(5, 2), length=3, hop=2)
    assert windows.tolist() == [
        [[0, 1, 2], [2, 3, 4]],
        [[5, 6, -1], [-1, -1, -1]],
    ]
    windows = window_rows(padded(4, 1), length=3, hop=3)
    assert windows.tolist() == [
        [[0, 1, 2], [3, -1, -1]],
        [[4, -1, -1], [-1, -1, -1]],
    ]


@pytest.mark.parametrize(("length", "hop"), [(4, 4), (4, 1), (5, 3), (1, 1), (40, 7)])
def test_windows_cover_every_step_and_never_join_recordings(length, hop):
    rows = padded(23, 4, 17, 1)
    windows = window_rows(rows, length, hop)
    for row, mine in zip(rows, windows, strict=True):
        here = set(row[row >= 0])
        assert set(mine[mine >= 0]) == here
        empty = (mine < 0).all(-1)
        starts = mine[~empty][:, 0] - row[0]
        assert starts.tolist() == [hop * i for i in range(len(starts))]
        ends = starts + length
        assert ends[-1] >= len(here) and (ends[:-1] < len(here)).all()
        # a window goes on without a gap
        for window in mine[~empty]:
            kept = window[window >= 0]
            assert kept.tolist() == list(range(kept[0], kept[0] + len(kept)))
            assert len(kept) == min(length, row[row >= 0][-1] + 1 - kept[0])
    if length == hop:
        assert np.bincount(windows[windows >= 0]).tolist() == [1] * 45


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": -1}, "training.window is -1"),
        ({"hop": 3}, "training.hop is 3, but training.window is 0"),
        ({"window": 4, "hop": 5}, "training.hop is 5 frames"),
        ({"carry": True}, "training.carry needs windows"),
        ({"carry": True, "window": 4, "hop": 2}, "without overlap"),
    ],
)
def test_windows_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SequenceOptions(**options)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [[[0, 1]], [[5, -1]]]),
        ({"window": 1}, [[[0]], [[1]], [[5]]]),
        ({"window": 1, "carry": True}, [[[0], [1]], [[5], [-1]]]),
        ({"window": 2, "hop": 1}, [[[0, 1]], [[5, -1]]]),
    ],
)
def test_training_sequences_of_recordings(frames, options, rows):
    assert training_rows(frames, SequenceOptions(**options)).tolist() == rows


def test_labels_ahead_stay_in_their_recording(frames):
    standardizers = {"audio": Standardizer(np.zeros(1), np.ones(1))}
    rows = np.array([[0, 1], [2, 3], [3, 4], [5, -1], [-1, -1]])
    batch = make_batch(frames, rows, standardizers, ahead=2)
    expected = [[0, 1, -1, -1], [2, 3, 4, -1], [3, 4, -1, -1], [5, *[-1] * 3], [-1] * 4]
    exists = np.array(expected) >= 0
    np.testing.assert_array_equal(batch.labelled, exists)
    np.testing.assert_array_equal(
        batch.labels, np.where(exists[..., None], frames.labels[expected], 0)
    )
    np.testing.assert_array_equal(batch.mask, rows >= 0)


def test_windows_without_a_label_are_set_apart():
    labels = np.linspace(-1, 1, 12)[:, None]
    labels[[0, 1, 3, 10, 11]] = np.nan  # the first window, half of the second, and d
    corpus = Corpus(
        name="frames",
        recording=np.array(["a", "b", "c", "d"]),
        partition=np.array(["train", "dev", "unlabelled", "train"]),
        speaker=np.array(["a", "b", "c", "d"]),
        modalities={"audio": Modality(("x",), np.arange(12.0)[:, None])},
        targets=("arousal",),
        labels=labels,
        frame_step=0.04,
        offsets=np.array([0, 5, 8, 10, 12]),
    )
    options = SequenceOptions(window=2)
    found = training_rows(corpus, options)[:, 0]
    np.testing.assert_array_equal(found, [[2, 3], [4, -1]])
    others = unlabelled_sequences(corpus, options)[:, 0]
    np.testing.assert_array_equal(others, [[0, 1], [8, 9], [10, 11]])
    whole = unlabelled_sequences(corpus, SequenceOptions())[:, 0]
    np.testing.assert_array_equal(whole[:, :2], [[8, 9], [10, 11]])
    assert (whole[:, 2:] == -1).all()
