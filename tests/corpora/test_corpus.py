import dataclasses

import numpy as np
import pytest
from small import make_corpus, make_frames

from ifusion.corpora.corpus import (
    CorpusError,
    FileExtents,
    Modality,
    frame_extents,
    missing_recordings,
    natural_order,
    with_partition,
)


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
        ({"offsets": [0, 1, 2, 4, 4]}, "offsets do not split 4 rows"),
        ({"frame_step": 0.0}, "frame_step is 0.0"),
        ({"attributes": {"fold": ["0"]}}, "'fold' has shape"),
        ({"attributes": {"speaker": ["0"] * 4}}, "no attribute may be called"),
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


def test_natural_order():
    assert natural_order(["10", "9", "9"]) == ("9", "10")
    assert natural_order(["b", "10", "9"]) == ("10", "9", "b")


def test_extents_are_those_of_the_files_or_of_the_rows():
    corpus = make_frames()
    assert frame_extents(corpus).tolist() == [[0, 0, 2], [0, 0, 3], [0, 0, 1]]
    assert missing_recordings(corpus, "test") == ()
    frames = np.array([[2, 1, 5], [0, 0, 3], [1, 1, 2]])
    cut = make_frames(files=FileExtents(frames, {"test": ("d",)}))
    np.testing.assert_array_equal(frame_extents(cut), frames)
    assert missing_recordings(cut, "test") == ("d",)
    assert missing_recordings(cut, "dev") == ()
    with pytest.raises(CorpusError, match="three entries for each recording"):
        make_frames(files=FileExtents(frames[:2]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "bad"),
        ({"file": "a.csv"}, "a.csv: bad"),
        ({"file": "a.csv", "row": 12, "column": "f0"}, "a.csv, row 12, column f0: bad"),
        ({"column": "f0"}, "column f0: bad"),
    ],
)
def test_an_error_says_where_it_is(fields, message):
    error = CorpusError("bad", **fields)
    assert str(error) == message
    assert (error.reason, error.row) == ("bad", fields.get("row"))


def test_a_corpus_prints_what_it_is():
    assert repr(make_corpus()) == (
        "Corpus(name='four', task='classification', targets=('emotion',), "
        "recordings={'train': 2, 'dev': 1, 'test': 1}, "
        "modalities={'audio': 2, 'video': 1})"
    )
    assert repr(make_corpus().modalities["audio"]) == "Modality(2 features, 4 rows)"
