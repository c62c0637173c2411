import dataclasses
import json

import numpy as np
import pytest
from formats import refused
from small import make_corpus, make_frames

from ifusion.corpora.corpus import LEFT_OUT, CorpusError, Modality
from ifusion.corpora.description import corpus_warnings, fingerprint
from ifusion.corpora.splits import (
    FIXED,
    RESERVED,
    cluster_column,
    fold_names,
    fold_partition,
    require_unchanged,
    split_corpus,
    summarise_corpus,
    warnings_of,
)
from ifusion.evaluation.agreement import MOMENTS

FOLDS = {"fold": ["a", "b", "b", "c"]}
LABELLED = np.array([[0], [1], [0], [1]])


def test_folds_rotate():
    corpus = make_corpus(attributes={"fold": ["2", "10", "9", "10"]})
    assert fold_names(corpus) == ("2", "9", "10")
    expected = ["train", "dev", "test", LEFT_OUT]  # the last one has no label
    assert fold_partition(corpus, "9").tolist() == expected
    assert fold_partition(corpus, "10").tolist() == ["dev", "test", "train", "test"]
    with pytest.raises(CorpusError, match="fold '3' is not one of"):
        fold_partition(corpus, "3")


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [({}, "no column 'fold'"), ({"fold": ["0", "1", "0", "1"]}, "three or more")],
)
def test_folds_that_do_not_serve_are_refused(attributes, sentence):
    with pytest.raises(CorpusError, match=sentence):
        fold_names(make_corpus(attributes=attributes))


def test_a_corpus_is_split_as_it_is_or_by_folds():
    corpus = make_corpus(attributes=FOLDS, labels=LABELLED)
    assert split_corpus(corpus, cross_validate=False) == {FIXED: corpus}
    folds = split_corpus(corpus, cross_validate=True)
    assert {name: split.partition.tolist() for name, split in folds.items()} == {
        "a": ["test", "dev", "dev", "train"],
        "b": ["train", "test", "test", "dev"],
        "c": ["dev", "train", "train", "test"],
    }
    bad = make_corpus(attributes={"fold": ["../a", "b", "b", "c"]})
    with pytest.raises(CorpusError, match="cannot name a file"):
        split_corpus(bad, cross_validate=True)


def test_the_summary_tells_counts_and_of_test_no_labels():
    corpus = make_corpus()
    summary = json.loads(json.dumps(summarise_corpus({FIXED: corpus})))
    assert summary["features"] == {"audio": 2, "video": 1}
    assert summary["partitions"][FIXED] == {
        "train": {"recordings": 2, "speakers": 1, "classes": {"no": 1, "yes": 1}},
        "dev": {"recordings": 1, "speakers": 1, "classes": {"no": 1, "yes": 0}},
        "test": {"recordings": 1, "speakers": 1},
    }
    assert summary["warnings"] == warnings_of({FIXED: corpus, "again": corpus})
    frames = summarise_corpus({FIXED: make_frames()})["partitions"][FIXED]
    assert frames["dev"]["frames"] == 3
    assert frames["train"]["targets"]["valence"] == {"mean": 2.0, "sd": 1.0}


def test_a_changed_corpus_is_refused():
    corpus = make_corpus()
    known = summarise_corpus({FIXED: corpus})
    require_unchanged(known, {FIXED: corpus}, "corpus.json")
    changed = dataclasses.replace(corpus, speaker=["1", "2", "2", "3"])
    with refused("corpus.json", reason="changed"):
        require_unchanged(known, {FIXED: changed}, "corpus.json")


def test_columns_of_tables_of_predictions_are_no_clusters():
    corpus = make_corpus(attributes={"prediction": list("abcd"), "video": list("xxyy")})
    assert cluster_column(corpus, "video").tolist() == list("xxyy")
    assert cluster_column(corpus, "speaker").tolist() == ["1", "1", "2", "3"]
    with pytest.raises(CorpusError, match="recording, speaker, video"):
        cluster_column(corpus, "prediction")
    assert set(MOMENTS) <= set(RESERVED)


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
    assert "Speakers in both train and dev: 1;" in text
    assert "No train recording is labelled yes." in text
    assert "1 of 1 test rows have no label." in text
    assert "2 of 3 features are constant in train, and scaled to 0: flat, gap." in text
    assert "features have no value in train: empty." in text
    assert "features lack values in train: gap." in text


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
