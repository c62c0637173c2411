"""Values that cannot be right, in corpora that are fine but for one thing."""

from dataclasses import replace

import numpy as np
import pytest

from ifusion.corpora.corpus import Modality
from ifusion.corpora.description import corpus_warnings, opened_warnings
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.corpora.splits import warnings_of

CLASSES = make_synthetic(
    SyntheticOptions(recordings=(30, 10, 20), features=(4, 3), latent=3, speakers=6)
)
SERIES = make_synthetic(
    SyntheticOptions(
        recordings=(3, 2, 2), features=(4, 3), latent=3, frames=90, speakers=7
    )
)


def with_audio(corpus, change):
    """Changes the features of audio, (R, F)."""
    audio = corpus.modalities["audio"]
    values = audio.values.copy()
    names = change(values, corpus) or audio.names
    modalities = {**corpus.modalities, "audio": Modality(names, values)}
    return replace(corpus, modalities=modalities)


def put(value, row=7, column=1):
    def change(values, corpus):
        values[row, column] = value

    return change


@pytest.mark.parametrize("corpus", [CLASSES, SERIES], ids=["classes", "series"])
def test_sound_corpora_get_no_warning(corpus):
    assert [w for w in corpus_warnings(corpus) if w[:2] != "No"] == []


@pytest.mark.parametrize("value", [-999, 9999, 1e20, -1e30])
@pytest.mark.parametrize("row", [7, 35, 55])
def test_sentinels_are_named_with_their_row(value, row):
    corpus = with_audio(CLASSES, put(value, row))
    (found,) = [w for w in corpus_warnings(corpus) if w.startswith("audio")]
    assert "In 1 of 4 features, values are far from all others: audio_01 is" in found
    assert f"in 1 of 60 rows, the first {corpus.recording[row]} (others" in found


def test_two_kinds_of_sentinels_are_both_named():
    def change(values, corpus):
        values[[3, 4], 0], values[5, 0] = -999, 9999

    (found,) = corpus_warnings(with_audio(SERIES, change))
    assert "audio_00 is -999 in 2 of 630 rows" in found and "is 9999 in 1 of" in found


@pytest.mark.parametrize(("value", "told"), [(-999, 1), (0, 0)])
def test_a_sentinel_may_be_in_most_rows_but_zeros_are_none(value, told):
    """As where 0 stands for a voice that is silent."""

    def change(values, corpus):
        values[:, 0] = 200 + 50 * np.clip(values[:, 0], -2, 2)
        values[np.arange(630) % 5 < 3, 0] = value

    found = corpus_warnings(with_audio(SERIES, change))
    assert len(found) == told
    assert all(f"audio_00 is {value} in 378 of 630 rows" in x for x in found)


def test_heavy_tails_are_told_as_such():
    def change(values, corpus):
        values[:30, 2] = np.linspace(5, 90, 30)

    (found,) = corpus_warnings(with_audio(SERIES, change))
    assert "audio_02" in found and "a few rows outweigh all others" in found


@pytest.mark.parametrize(
    ("partition", "change"),
    [
        ("dev", lambda inside: np.where(inside, np.arange(630) % 2, 1e-3)),
        ("test", lambda inside: np.where(inside, 1000.0, 1.0)),
    ],
)
def test_features_that_move_elsewhere_only_are_named(partition, change):
    inside = np.repeat(SERIES.partition == partition, 90)

    def move(values, corpus):
        noise = np.random.default_rng(0).normal(0, 1e-4, 630)
        values[:, 3] = change(inside) + noise

    (found,) = corpus_warnings(with_audio(SERIES, move))
    assert f"In 1 of 4 features, {partition} is unlike anything in train" in found
    assert "in train: audio_03; audio_03 is" in found


def test_equal_columns_are_named_across_modalities():
    def change(values, corpus):
        values[:, 0] = corpus.modalities["video"].values[:, 2]

    assert corpus_warnings(with_audio(SERIES, change)) == (
        "Equal features: audio audio_00 and video video_02.",
    )


@pytest.mark.parametrize("factor", [1, -3])
def test_a_feature_that_is_the_label_is_named(factor):
    def change(values, corpus):
        values[:, 0] = 2 + factor * corpus.labels[:, 0] + 1e-4 * values[:, 0]

    (found,) = corpus_warnings(with_audio(SERIES, change))
    assert "train holds arousal itself, except for scale: audio_00" in found
    code = with_audio(CLASSES, change)
    told = "each class of train has a value of its own: audio_00"
    assert any(told in sentence for sentence in corpus_warnings(code))


def test_rows_and_recordings_without_values_are_counted():
    def change(values, corpus):
        values[90:180] = np.nan
        values[200:203] = 0

    found = corpus_warnings(with_audio(SERIES, change))
    name = str(SERIES.recording[1])
    assert f"audio: No value at all in 1 of 7 recordings: {name}." in found
    rows = f"3 of 630 rows are 0 throughout, the first {SERIES.recording[2]}, frame 20"
    assert any(rows in sentence for sentence in found)


def test_labels_far_from_all_others_are_named():
    labels = SERIES.labels.copy()
    labels[5:30, 0] = -5
    (found,) = corpus_warnings(replace(SERIES, labels=labels))
    assert found.startswith("arousal: 25 of 450 labels are -5, far from all others (")
    assert f"the first {SERIES.recording[0]}, frame 5" in found


def test_ratings_far_from_all_others_are_named():
    ratings = np.random.default_rng(0).normal(0, 0.2, (630, 3))
    ratings[10:20, 1] = -5
    (found,) = corpus_warnings(replace(SERIES, raters={"arousal": ratings}))
    assert found.startswith("raters of arousal: 10 of")


def test_a_partition_without_ratings_is_nothing_to_doubt():
    ratings = np.random.default_rng(0).normal(0, 0.2, (630, 3))
    ratings[np.repeat(SERIES.partition == "test", 90)] = np.nan
    corpus = replace(SERIES, raters={"arousal": ratings})
    assert opened_warnings(corpus) == corpus_warnings(corpus) == ()


def test_labels_of_test_are_looked_at_once_it_is_opened():
    test = np.repeat(SERIES.partition == "test", 90)
    labels = SERIES.labels.copy()
    labels[np.flatnonzero(test)[:9], 1] = -999
    corpus = replace(SERIES, labels=labels)
    assert corpus_warnings(corpus) == ()
    assert opened_warnings(corpus)[0].startswith("valence: 9 of 180 labels are -999")
    one = np.where((CLASSES.partition == "test")[:, None], 2, CLASSES.labels)
    assert opened_warnings(replace(CLASSES, labels=one)) == (
        f"All test labels of emotion are {CLASSES.classes[2]}: scores mean little.",
    )
    assert opened_warnings(CLASSES) == ()


def test_folds_do_not_repeat_a_warning():
    a, b = (with_audio(CLASSES, put(9999, row)) for row in (7, 8))
    assert len([w for w in warnings_of({"0": a, "1": b}) if "audio" in w]) == 1
    c = with_audio(CLASSES, put(np.nan))
    assert len([w for w in warnings_of({"0": a, "1": c}) if "audio" in w]) == 2


# ---- rows that count, frames that stop, labels in another unit ---------------------


def test_features_that_count_rows_are_named():
    def change(values, corpus):
        first = corpus.offsets[:-1].repeat(np.diff(corpus.offsets))
        values[:, 1] = 0.5 * (np.arange(len(values)) - first)

    (found,) = corpus_warnings(with_audio(SERIES, change))
    assert "1 of 4 features count rows, so they may be none: audio_01." in found

    def upwards(values, corpus):
        values[:, 2] = 7 + np.arange(len(values))

    assert "count rows" in " ".join(corpus_warnings(with_audio(CLASSES, upwards)))


def test_frames_that_never_change_are_named():
    def change(values, corpus):
        values[90:180] = values[90]

    (found,) = corpus_warnings(with_audio(SERIES, change))
    name = SERIES.recording[1]
    assert found == f"audio is the same in all frames of 1 of 7 recordings: {name}."


def with_labels(rows, change):
    labels = SERIES.labels.copy()
    labels[rows, 0] = change(labels[rows, 0])
    return replace(SERIES, labels=labels, raters={})


DEV, TEST = slice(270, 450), slice(450, 630)


@pytest.mark.parametrize("unit", [0.01, 100])
def test_labels_in_another_unit_are_named(unit):
    (found,) = corpus_warnings(with_labels(DEV, lambda x: unit * x))
    assert found.endswith(" in dev: are both in one unit?")
    test = with_labels(TEST, lambda x: unit * x)
    assert corpus_warnings(test) == ()  # closed
    assert any("in test: are both" in w for w in opened_warnings(test))


def test_ratings_in_another_unit_than_labels_are_named():
    ratings = {"arousal": 1000 * SERIES.raters["arousal"]}
    (found,) = corpus_warnings(replace(SERIES, raters=ratings))
    assert found.endswith(" in ratings: are both in one unit?")


def test_labels_that_never_change_are_named():
    flat = with_labels(slice(90, 180), lambda x: 0 * x)
    (found,) = corpus_warnings(flat)
    assert found.startswith("arousal never changes in 1 of 5 recordings: ")
    assert "All train labels of arousal are 0.5: there is nothing to learn." in (
        corpus_warnings(with_labels(slice(0, 270), lambda x: 0 * x + 0.5))
    )


def test_what_hardly_varies_in_float32_is_named():
    (found,) = corpus_warnings(with_labels(slice(None), lambda x: 1e6 + x))
    assert "in train, and float32 has steps of 0.062 there: subtract 1e+06" in found

    def change(values, corpus):
        values[:, 1] += 1e6

    (found,) = corpus_warnings(with_audio(SERIES, change))
    assert "1 of 4 features hardly vary beside their size" in found


def test_files_that_may_be_exchanged_are_named():
    audio, video = (CLASSES.modalities[m] for m in ("audio", "video"))
    corpus = replace(CLASSES, modalities={"audio": video, "video": audio})
    found = [w for w in corpus_warnings(corpus) if "exchanged" in w]
    assert len(found) == 2
    assert found[0].startswith("all 3 features of audio are named after video (video_")
