from dataclasses import replace

import numpy as np
import pytest
from small import make_corpus, make_frames

from ifusion.corpora.corpus import (
    LEFT_OUT,
    UNLABELLED,
    CorpusError,
    Hiding,
    Modality,
    has_labels,
)
from ifusion.corpora.description import corpus_warnings, fingerprint
from ifusion.corpora.hiding import hide_labels, with_few_labels
from ifusion.corpora.readers import open_corpus
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.corpora.splits import fold_partition, split_corpus, summarise_corpus

LABELS = np.array([[0], [-1], [0], [-1]])


@pytest.fixture(scope="module")
def corpus():
    """60 train utterances of 6 speakers, some speak more than others."""
    return make_synthetic(
        SyntheticOptions(
            recordings=(60, 20, 20), features=(4, 3), latent=2, speakers=10, raters=2
        )
    )


def kept(split):
    return split.recording[split.partition == "train"].tolist()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.33, 0.5, 0.9])
def test_each_speaker_keeps_the_share_of_its_clips(corpus, share):
    split = split_corpus(with_few_labels(corpus, Hiding(share)), False)["fixed"]
    train = corpus.partition == "train"
    still = split.partition == "train"
    assert still.sum() == round(share * train.sum())
    for name in np.unique(corpus.speaker[train]):
        mine = corpus.speaker == name
        count = share * (mine & train).sum()
        assert np.floor(count) <= (mine & still).sum() <= np.ceil(count)


def test_what_is_hidden_is_as_if_never_read(corpus):
    split = hide_labels(with_few_labels(corpus, Hiding(0.2)))
    gone = (corpus.partition == "train") & (split.partition == UNLABELLED)
    assert gone.sum() == 48
    assert (split.labels[gone] == -1).all()
    assert np.isnan(split.raters["emotion"][gone]).all()
    np.testing.assert_array_equal(split.labels[~gone], corpus.labels[~gone])
    ratings = split.raters["emotion"][~gone]
    np.testing.assert_array_equal(ratings, corpus.raters["emotion"][~gone])
    for m, x in corpus.modalities.items():
        assert split.modalities[m] is x
    others = split.partition[~gone].tolist()
    assert others == corpus.partition[~gone].tolist()


def test_draws_differ_and_repeat(corpus):
    one, again, other = (
        kept(hide_labels(with_few_labels(corpus, Hiding(0.2, draw))))
        for draw in (0, 0, 1)
    )
    assert one == again != other


def test_whole_speakers_keep_all_their_clips_or_none(corpus):
    split = hide_labels(with_few_labels(corpus, Hiding(0.34, by="speaker")))
    train = corpus.partition == "train"
    names = np.unique(corpus.speaker[train])
    still = {n for n in names if (split.speaker[split.partition == "train"] == n).any()}
    assert len(still) == round(0.34 * len(names))
    for name in still:
        mine = train & (corpus.speaker == name)
        assert (split.partition[mine] == "train").all()


def test_over_time_minutes_are_hidden():
    offsets = [0, 9000, 10500, 12000]  # 6, 1 and 1 minutes of 40 ms
    frames = make_frames(
        modalities={"audio": Modality(("f0",), np.arange(12000.0)[:, None])},
        labels=np.arange(24000.0).reshape(-1, 2),
        offsets=offsets,
    )
    split = hide_labels(with_few_labels(frames, Hiding(0.5)))
    assert split.partition.tolist() == ["train", "dev", "test"]
    known = ~np.isnan(split.labels).any(1)
    assert known[9000:].all()
    minutes = known[:9000].reshape(6, 1500)  # a minute is hidden as a whole
    assert (minutes.all(1) | ~minutes.any(1)).all()
    assert minutes[:, 0].sum() == 3
    assert "3 of 6 minutes of train keep theirs" in split.notes[-1]


def test_a_share_that_keeps_nothing_is_refused(corpus):
    with pytest.raises(CorpusError, match=r"labelled is 0.001, which keeps none"):
        hide_labels(with_few_labels(corpus, Hiding(0.001)))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"share": 0.0}, "corpus.labelled is 0.0; expected above 0"),
        ({"share": 1.5}, "corpus.labelled is 1.5; expected above 0"),
        ({"share": 0.5, "draw": -1}, "corpus.draw is -1"),
        ({"share": 0.5, "draw": 0.5}, "corpus.draw is 0.5"),
        ({"share": 0.5, "by": "clips"}, "corpus.labelled_by is 'clips'"),
    ],
)
def test_bad_draws_are_refused(entries, sentence):
    with pytest.raises(ValueError, match=sentence):
        Hiding(**entries)


def test_without_hiding_nothing_changes(corpus):
    assert (
        split_corpus(with_few_labels(corpus, Hiding()), False)["fixed"].hiding is None
    )
    same = split_corpus(corpus, False)["fixed"]
    assert same is corpus and fingerprint(same) == fingerprint(corpus)
    parts = summarise_corpus({"fixed": corpus})["partitions"]["fixed"]
    assert list(parts) == ["train", "dev", "test"]


def test_a_config_hides_labels_and_the_source_says_so():
    options = {"labelled": 0.5, "draw": 3, "labelled_by": "clip"}
    small = {"recordings": (40, 20, 20), "speakers": 8}
    defaults = {k: v for k, v in SyntheticOptions().__dict__.items()} | small
    corpus = open_corpus("synthetic", defaults | options)
    assert corpus.hiding == Hiding(0.5, 3)
    again = open_corpus(corpus.source["kind"], corpus.source)
    assert kept(hide_labels(again)) == kept(hide_labels(corpus))
    full = open_corpus("synthetic", defaults | options | {"labelled": 1.0})
    assert full.hiding is None and "labelled" not in full.source
    with pytest.raises(ValueError, match=r"corpus.labelled is 'a'; expected a number"):
        open_corpus("synthetic", defaults | {"labelled": "a"})


def test_the_summary_says_what_was_hidden(corpus):
    split = split_corpus(with_few_labels(corpus, Hiding(0.2)), False)
    summary = summarise_corpus(split)
    parts = summary["partitions"]["fixed"]
    assert parts["train"]["recordings"] == 12
    assert parts[UNLABELLED] == {"recordings": 48, "speakers": 6}
    assert sum(parts["train"]["classes"].values()) == 12
    assert "12 of 60 recordings of train keep theirs" in summary["notes"][-1]
    assert fingerprint(split["fixed"]) != fingerprint(corpus)


# ---- adaptation to new speakers -----------------------------------------------------


def test_adaptation_trains_on_what_is_not_scored(corpus):
    spoken = np.where(np.arange(corpus.num_recordings) % 3, "dogs", "kids")
    folds = np.array(["a", "b", "c"])[
        np.unique(corpus.speaker, return_inverse=True)[1] % 3
    ]
    attributes = {"sentence": spoken, "fold": folds}
    whole = replace(corpus, attributes=attributes)
    splits = split_corpus(with_few_labels(whole, Hiding(adapt="sentence")), True)
    assert list(splits) == [f"{f}-{s}" for f in "abc" for s in ("dogs", "kids")]
    scored = []
    for name, split in splits.items():
        fold, value = name.split("-")
        test, new = split.partition == "test", split.partition == UNLABELLED
        assert (folds[test | new] == fold).all() and not (test & new).any()
        assert (spoken[test] == value).all() and (spoken[new] != value).all()
        assert (split.labels[new] == -1).all() and (split.labels[test] >= 0).all()
        assert set(split.speaker[new]) & set(split.speaker[test])
        assert "are trained on without their labels" in split.notes[-1]
        scored += split.recording[test].tolist()
    assert sorted(scored) == sorted(corpus.recording)


def test_bad_adaptation_is_refused(corpus):
    few = with_few_labels(corpus, Hiding(adapt="sentence"))
    with pytest.raises(CorpusError, match="needs the folds of cross-validation"):
        split_corpus(few, False)
    folds = {"fold": np.array(["a", "b", "c"] * 34)[: corpus.num_recordings]}
    with pytest.raises(CorpusError, match="adapt is 'sentence'; the attributes of"):
        split_corpus(replace(few, attributes=folds), True)
    one = folds | {"sentence": np.full(corpus.num_recordings, "x")}
    with pytest.raises(CorpusError, match="whose values are x; expected two"):
        split_corpus(replace(few, attributes=one), True)


# ---- recordings that never had a label ----------------------------------------------


def test_a_train_recording_without_a_label_is_unlabelled():
    corpus = make_corpus(labels=LABELS)
    assert corpus.partition.tolist() == ["train", UNLABELLED, "dev", "test"]
    assert has_labels(corpus).tolist() == [True, False, True, False]


def test_labels_of_unlabelled_recordings_are_blanked():
    partition = np.array(["train", UNLABELLED, "dev", "test"])
    corpus = make_corpus(partition=partition, labels=np.array([[0], [1], [0], [1]]))
    assert corpus.labels.ravel().tolist() == [0, -1, 0, 1]


def test_a_gap_in_the_labels_of_train_is_warned_of():
    labels = np.arange(12.0).reshape(6, 2)
    labels[1, 0] = np.nan
    corpus = make_frames(labels=labels)
    assert corpus.partition[0] == "train"
    assert "1 of 2 train rows have no label." in corpus_warnings(corpus)
    summary = summarise_corpus({"fixed": corpus})["partitions"]["fixed"]["train"]
    assert summary["targets"]["arousal"]["mean"] == 0.0


def test_train_without_any_label_is_refused():
    corpus = make_corpus(labels=np.array([[-1], [-1], [0], [0]]))
    with pytest.raises(CorpusError, match="no recording with a label in partition 'tr"):
        split_corpus(corpus, False)


def test_unlabelled_recordings_follow_their_fold():
    corpus = make_corpus(
        partition=np.array(["train", UNLABELLED, "dev", "test"]),
        labels=np.array([[0], [-1], [0], [1]]),
        attributes={"fold": np.array(["a", "a", "b", "c"])},
    )
    found = {fold: fold_partition(corpus, fold)[:2].tolist() for fold in "abc"}
    assert found["a"] == ["test", LEFT_OUT]
    assert found["b"] == ["train", UNLABELLED]
    assert found["c"] == ["dev", LEFT_OUT]
    free = replace(corpus, attributes={"fold": np.array(["a", "", "b", "c"])})
    assert all(fold_partition(free, fold)[1] == UNLABELLED for fold in "abc")
