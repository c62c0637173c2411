import dataclasses

import numpy as np
import pytest

from ifusion.corpora.corpus import (
    EXTENT,
    Corpus,
    CorpusError,
    Modality,
    corpus_warnings,
    fingerprint,
    fold_names,
    fold_partition,
    frame_extents,
    natural_order,
    with_partition,
)

RNG = np.random.default_rng(0)


def make_corpus(**changes):
    """Four utterances of three speakers."""
    fields = {
        "name": "four",
        "recording": np.array(["a", "b", "c", "d"]),
        "partition": np.array(["train", "train", "dev", "test"]),
        "speaker": np.array(["1", "1", "2", "3"]),
        "modalities": {
            "audio": Modality(("f0", "f1"), RNG.normal(size=(4, 2))),
            "video": Modality(("g0",), RNG.normal(size=(4, 1))),
        },
        "targets": ("emotion",),
        "labels": np.array([[0], [1], [0], [-1]]),
        "classes": ("no", "yes"),
        "raters": {"emotion": np.array([[0, 1], [1, np.nan], [0, 0], [1, 1]])},
    }
    return Corpus(**{**fields, **changes})


def make_frames(**changes):
    """Three recordings of 2, 3 and 1 frames of 40 ms."""
    fields = {
        "name": "frames",
        "recording": ["a", "b", "c"],
        "partition": ["train", "dev", "test"],
        "speaker": ["1", "2", "3"],
        "modalities": {"audio": Modality(("f0",), np.arange(6.0)[:, None])},
        "targets": ("arousal", "valence"),
        "labels": np.arange(12.0).reshape(6, 2),
        "frame_step": 0.04,
        "offsets": [0, 2, 5, 6],
    }
    return Corpus(**{**fields, **changes})


def test_extents_are_those_of_attributes_or_whole():
    assert frame_extents(make_frames()).tolist() == [[0, 0, 2], [0, 0, 3], [0, 0, 1]]
    columns = ([2, 0, 1], [1, 0, 1], [5, 3, 2])
    cut = make_frames(attributes=dict(zip(EXTENT, columns, strict=True)))
    assert frame_extents(cut).tolist() == [[2, 1, 5], [0, 0, 3], [1, 1, 2]]
    other = make_frames(attributes={name: ["0", "1.5", "2"] for name in EXTENT})
    with pytest.raises(CorpusError, match="hold something else than whole numbers"):
        frame_extents(other)
    elsewhere = make_frames(attributes={"start": ["90.5", "0", "1"]})
    assert frame_extents(elsewhere).tolist() == frame_extents(make_frames()).tolist()


def test_types_are_normalised_and_counts_right():
    corpus = make_corpus(attributes={"fold": np.array([0, 1, 2, 0])})
    assert (corpus.task, corpus.num_recordings, corpus.num_rows) == (
        "classification",
        4,
        4,
    )
    assert corpus.labels.dtype == np.int32
    assert corpus.modalities["audio"].values.dtype == np.float32
    assert corpus.raters["emotion"].dtype == np.float32
    assert corpus.num_raters == 2
    assert corpus.attributes["fold"].tolist() == ["0", "1", "2", "0"]
    assert corpus.offsets.tolist() == [0, 1, 2, 3, 4]
    assert make_frames().task == "regression"
    assert make_frames().labels.dtype == np.float32


@pytest.mark.parametrize(
    "array",
    [
        lambda c: c.recording,
        lambda c: c.labels,
        lambda c: c.offsets,
        lambda c: c.raters["emotion"],
        lambda c: c.modalities["audio"].values,
    ],
)
def test_arrays_are_read_only(array):
    with pytest.raises(ValueError, match="read-only"):
        array(make_corpus())[...] = array(make_corpus())


def test_fields_and_mappings_are_read_only():
    corpus = make_corpus()
    with pytest.raises(dataclasses.FrozenInstanceError):
        corpus.name = "other"
    with pytest.raises(TypeError):
        corpus.modalities["audio"] = corpus.modalities["video"]


def test_features_are_viewed_not_copied():
    values = np.zeros((4, 1), np.float32)
    assert np.shares_memory(Modality(("f",), values).values, values)
    assert values.flags.writeable


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recording": ["a", "b", "c", "a"]}, "recording 'a' occurs more than once"),
        ({"recording": ["a", "b", "c", ""]}, "a recording has no name"),
        ({"speaker": ["1"]}, "'speaker' has shape"),
        ({"partition": ["train", "val", "dev", "test"]}, "'b' has partition 'val'"),
        ({"modalities": {}}, "no modality"),
        (
            {"modalities": {"audio": Modality(("f",), np.zeros((3, 1)))}},
            "'audio' has 3 rows, the labels have 4",
        ),
        ({"labels": np.array([[0], [1], [-1], [0]])}, "'c' of partition 'dev' has no"),
        ({"labels": np.array([[0], [1], [2], [0]])}, "from 0 to 2, expected -1"),
        ({"labels": np.zeros((4, 2))}, "one column for each"),
        ({"targets": ("x", "x")}, "target 'x' occurs more than once"),
        ({"classes": ("no", "no")}, "class 'no' occurs more than once"),
        ({"offsets": [0, 1, 2, 4, 4]}, "offsets do not cut 4 rows"),
        ({"frame_step": 0.0}, "frame_step is 0.0"),
        ({"attributes": {"fold": ["0"]}}, "'fold' has shape"),
        ({"attributes": {"speaker": ["0"] * 4}}, "may not be called"),
        ({"raters": {"emotion": np.zeros((3, 2))}}, "ratings of 'emotion' have shape"),
    ],
)
def test_bad_corpora_are_refused(changes, sentence):
    with pytest.raises(CorpusError, match=sentence):
        make_corpus(**changes)


def test_bad_frames_are_refused():
    labels = np.arange(12.0).reshape(6, 2)
    labels[4, 1] = np.nan
    with pytest.raises(CorpusError, match="'b' of partition 'dev' has no label"):
        make_frames(labels=labels)
    with pytest.raises(CorpusError, match="need a frame_step"):
        make_frames(frame_step=None)
    make_frames(labels=np.where(np.arange(12).reshape(6, 2) > 9, np.nan, 0.0))


@pytest.mark.parametrize(
    ("names", "shape"),
    [(("a", "a"), (3, 2)), (("a",), (3, 2)), ((), (3, 0)), (("",), (3, 1))],
)
def test_bad_modalities_are_refused(names, shape):
    with pytest.raises(CorpusError):
        Modality(names, np.zeros(shape))


@pytest.mark.parametrize("name", ["a/b", "a\\b", ".audio", ""])
def test_a_modality_that_cannot_name_a_file_is_refused(name):
    modality = make_corpus().modalities["audio"]
    with pytest.raises(CorpusError, match="cannot name a file"):
        make_corpus(modalities={name: modality})


def test_with_partition_refuses_an_empty_partition_and_unlabelled_dev():
    corpus = make_corpus()
    moved = with_partition(corpus, np.array(["dev", "train", "train", "test"]))
    assert moved.partition.tolist() == ["dev", "train", "train", "test"]
    with pytest.raises(CorpusError, match="no recording in partition 'dev'"):
        with_partition(corpus, np.array(["train", "train", "train", "test"]))
    with pytest.raises(CorpusError, match="'d' of partition 'dev'"):
        with_partition(corpus, np.array(["train", "train", "train", "dev"]))


def test_folds_rotate():
    corpus = make_corpus(attributes={"fold": ["2", "10", "9", "10"]})
    assert fold_names(corpus) == ("2", "9", "10")
    assert fold_partition(corpus, "9").tolist() == ["train", "dev", "test", "dev"]
    assert fold_partition(corpus, "10").tolist() == ["dev", "test", "train", "test"]
    with pytest.raises(CorpusError, match="fold '3' is none of"):
        fold_partition(corpus, "3")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [({}, "no column 'fold'"), ({"fold": ["0", "1", "0", "1"]}, "three or more")],
)
def test_folds_that_do_not_serve_are_refused(attributes, sentence):
    with pytest.raises(CorpusError, match=sentence):
        fold_names(make_corpus(attributes=attributes))


def test_natural_order():
    assert natural_order(["10", "9", "9"]) == ("9", "10")
    assert natural_order(["b", "10", "9"]) == ("10", "9", "b")


def test_a_clean_corpus_has_no_warnings():
    labels = np.array([[0], [1], [0], [1]])
    modality = Modality(("f",), np.arange(4.0)[:, None])
    clean = make_corpus(
        labels=labels,
        partition=["train", "train", "dev", "test"],
        modalities={"audio": modality},
    )
    # the labels of test, which lack "no", stay closed
    assert corpus_warnings(clean) == ("No dev recording is labelled yes.",)


def test_warnings_name_what_is_suspicious():
    values = np.array([[7, 1, np.nan], [7, np.nan, np.nan], [8, 2, 0], [9, 3, 0]])
    corpus = make_corpus(
        speaker=["1", "1", "1", "3"],
        labels=np.array([[0], [0], [1], [-1]]),
        modalities={"audio": Modality(("flat", "gap", "empty"), values)},
    )
    text = "\n".join(corpus_warnings(corpus))
    assert "Partitions train and dev share 1 speakers (1)" in text
    assert "No train recording is labelled yes." in text
    assert "1 of 1 test rows have no label." in text
    assert "constant in train (kept, scaled to 0): flat, gap." in text
    assert "without any value in train: empty." in text
    assert "with missing values in train: gap." in text


def test_the_fingerprint_follows_what_is_trained_and_chosen_on():
    corpus = make_corpus()
    assert fingerprint(corpus) == fingerprint(make_corpus(modalities=corpus.modalities))
    values = corpus.modalities["audio"].values.copy()
    values[0, 1] += 1
    louder = {**corpus.modalities, "audio": Modality(("f0", "f1"), values)}
    renamed = {**corpus.modalities, "audio": Modality(("f0", "f2"), values)}
    changes = [
        {"labels": np.array([[1], [1], [0], [-1]])},
        {"modalities": louder},
        {"modalities": renamed},
        {"recording": np.array(["a", "b", "e", "d"])},
        {"partition": np.array(["train", "dev", "dev", "test"])},
        {"classes": ("yes", "no")},
        {"speaker": np.array(["1", "1", "1", "2"])},
        {"attributes": {"video": np.array(["x", "x", "y", "y"])}},
        {"raters": {"emotion": np.zeros((4, 2))}},
        {"raters": {"emotion": np.eye(4)[:, :2]}},
    ]
    prints = [
        fingerprint(dataclasses.replace(corpus, **change)) for change in ({}, *changes)
    ]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_leaves_test_out():
    corpus = make_corpus()
    later = dataclasses.replace(corpus, labels=np.array([[0], [1], [0], [1]]))
    assert fingerprint(later) == fingerprint(corpus)
