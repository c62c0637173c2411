from dataclasses import replace

import numpy as np
import pytest
from formats import refused
from small import make_corpus, make_frames

from ifusion import corpora
from ifusion.corpora.additions import with_unlabelled
from ifusion.corpora.columns import Columns
from ifusion.corpora.corpus import UNLABELLED, Modality
from ifusion.corpora.folder import write_corpus
from ifusion.corpora.folder.reading import read_folder
from ifusion.corpora.readers import open_corpus
from ifusion.corpora.splits import split_corpus

RNG = np.random.default_rng(1)


def others(**changes):
    """Three utterances of other people, the features in another order."""
    fields = {
        "name": "others",
        "recording": np.array(["x", "y", "z"]),
        "partition": np.full(3, UNLABELLED),
        "speaker": np.array(["7", "7", "8"]),
        "modalities": {
            "video": Modality(("more", "g0"), RNG.normal(size=(3, 2))),
            "audio": Modality(("f1", "f0"), RNG.normal(size=(3, 2))),
        },
        "labels": np.array([[1], [0], [-1]]),
        "raters": {},
    }
    return make_corpus(**fields | changes)


def test_recordings_are_added_without_labels():
    corpus, more = make_corpus(), others()
    both = with_unlabelled(corpus, more)
    assert both.recording.tolist() == ["a", "b", "c", "d", "x", "y", "z"]
    assert both.partition[4:].tolist() == [UNLABELLED] * 3
    assert both.speaker[4:].tolist() == ["7", "7", "8"]
    assert both.labels[4:].tolist() == [[-1]] * 3
    assert np.isnan(both.raters["emotion"][4:]).all()
    audio, video = both.modalities["audio"], both.modalities["video"]
    np.testing.assert_array_equal(audio.values[:4], corpus.modalities["audio"].values)
    theirs = more.modalities
    np.testing.assert_array_equal(audio.values[4:], theirs["audio"].values[:, ::-1])
    np.testing.assert_array_equal(video.values[4:], theirs["video"].values[:, 1:])
    assert "3 recordings of 'others' were added, without labels." in both.notes


def test_a_blank_fold_is_trained_on_in_every_fold():
    corpus = make_corpus(
        partition=np.array(["train", "train", "dev", "test"]),
        labels=np.array([[0], [1], [0], [1]]),
        attributes={"fold": np.array(["1", "1", "2", "3"])},
    )
    folds = split_corpus(with_unlabelled(corpus, others()), True)
    assert all(x.partition[4:].tolist() == [UNLABELLED] * 3 for x in folds.values())


def test_recordings_over_time_are_added():
    more = make_frames(
        recording=["x", "y", "z"],
        modalities={"audio": Modality(("f0",), np.arange(10.0, 16)[:, None])},
    )
    both = with_unlabelled(make_frames(), more)
    assert both.offsets.tolist() == [0, 2, 5, 6, 8, 11, 12]
    assert both.modalities["audio"].values[:, 0].tolist() == [*range(6), *range(10, 16)]
    assert np.isnan(both.labels[6:]).all()
    assert both.files.frames.tolist() == [[0, 0, n] for n in (2, 3, 1)] * 2


def test_what_is_scored_cannot_be_added():
    corpus = make_corpus()
    with refused(reason="have names of 'four', which may be scored: d$|: d;"):
        with_unlabelled(corpus, others(recording=np.array(["x", "d", "z"])))
    audio, video = (corpus.modalities[m].values for m in ("audio", "video"))
    same = {
        "audio": Modality(("f0", "f1"), np.vstack([RNG.normal(size=(2, 2)), audio[3]])),
        "video": Modality(("g0",), np.vstack([RNG.normal(size=(2, 1)), video[3]])),
    }
    with refused(reason="are in the corpus already, by all of their features: z;"):
        with_unlabelled(corpus, others(modalities=same))
    half = same | {"video": others().modalities["video"]}
    assert with_unlabelled(corpus, others(modalities=half)).num_recordings == 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audio": Modality(("f1",), np.zeros((3, 1)))}, "lacks features of audio: f0"),
        ({"audio": None}, "'others' lacks the modality: audio"),
    ],
)
def test_what_differs_is_named(changes, words):
    found = {**others().modalities, **changes}
    kept = {m: x for m, x in found.items() if x is not None}
    with refused(reason=words):
        with_unlabelled(make_corpus(), others(modalities=kept))


def test_steps_must_agree():
    series = make_frames()
    one = replace(series, frame_step=0.1, recording=np.array(["x", "y", "z"]))
    with refused(reason=r"labels every 0.1 s; expected labels every 0.04 s, as"):
        with_unlabelled(series, one)


def test_a_config_names_the_folder(tmp_path):
    small = {"recordings": (4, 2, 2), "speakers": 8, "features": (6, 6)}
    write_corpus(corpora.synthetic(**small), tmp_path / "mine")
    new = corpora.synthetic(**small, seed=9)
    names = [f"new {i}" for i in range(8)]
    write_corpus(replace(new, recording=np.array(names)), tmp_path / "new")
    (tmp_path / "new/labels.csv").unlink()
    (tmp_path / "new/raters.csv").unlink(missing_ok=True)
    sheet = (tmp_path / "new/recordings.csv").read_text("utf-8")
    for partition in ("train", "dev", "test"):
        sheet = sheet.replace(f",{partition},", ",unlabelled,")
    (tmp_path / "new/recordings.csv").write_text(sheet)
    with refused(reason="no recording with a label in partition 'train'"):
        corpora.read_corpus(tmp_path / "new")
    options = {"path": str(tmp_path / "mine"), "impute": False, "tolerance": 0}
    plain = open_corpus("folder", options | {"unlabelled": ""})
    both = open_corpus("folder", options | {"unlabelled": str(tmp_path / "new")})
    assert (plain.num_recordings, both.num_recordings) == (8, 16)
    again = open_corpus(both.source["kind"], both.source)
    assert again.recording.tolist() == both.recording.tolist()


@pytest.mark.parametrize("tolerance", [0, 3])
def test_a_folder_of_recordings_over_time_needs_no_labels(tmp_path, tolerance):
    small = {"recordings": (2, 1, 1), "speakers": 4, "frames": 20}
    small |= {"features": (3, 2), "latent": 2}
    series = corpora.synthetic(**small)
    apart = replace(series, partition=np.full(4, UNLABELLED), raters={})
    write_corpus(apart, tmp_path / "new")
    (tmp_path / "new/labels.csv").unlink(missing_ok=True)
    found = read_folder(tmp_path / "new", Columns(), False, tolerance, "refuse")
    assert np.isnan(found.labels).all() and len(found.labels) == 80
    for m, x in series.modalities.items():
        np.testing.assert_array_equal(found.modalities[m].values, x.values)
