import json
from dataclasses import replace

import numpy as np
import pytest
from formats import refused

from ifusion.corpora.corpus import Corpus, Modality
from ifusion.corpora.folder import read_corpus, write_corpus
from ifusion.corpora.folder.header import read_header
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic

UTTERANCES = {
    "corpus.json": json.dumps(
        {
            "name": "small",
            "task": "classification",
            "classes": ["sad", "happy"],
            "modalities": {"audio": 2, "video": 1},
            "licence": "none",
        }
    ),
    "recordings.csv": (
        "recording,partition,speaker,fold\n"
        "a,train,01,0\nb,train,01,1\nc,dev,2,2\nd,test,3,NA\n"
    ),
    "labels.csv": "recording,emotion\nb,sad\na,happy\nc,happy\n",
    "raters.csv": (
        "recording,rater,emotion,effort\na,anna,sad,1\na,bob,happy,2.5\nc,bob,,3\n"
    ),
    "features/audio.csv": ("recording,f0,f1\na,1,2\nb,3,4.5\nc,5,-6e-3\nd,7,8\n"),
    "features/video.csv": "recording,g0\nd,4\nc,3\nb,2\na,1\n",
}
FRAMES = {
    "corpus.json": json.dumps(
        {
            "name": "frames",
            "task": "regression",
            "targets": ["arousal"],
            "frame_step": 0.5,
            "modalities": ["audio", "video"],
        }
    ),
    "recordings.csv": "recording,partition,speaker\na,train,1\nb,dev,2\nc,test,3\n",
    "labels.csv": "recording,time,arousal\na,0,.1\na,.5,.2\nb,0,.3\nb,.5,.4\nb,1,.5\n",
    "raters.csv": "recording,time,rater,arousal\na,0.5,1,.7\nb,1,2,.9\n",
    "features/audio.csv": (
        "recording,time,f0\na,0,1\na,0.5,2\nb,0,3\nb,0.5,4\nb,1,5\nc,0,6\n"
    ),
    "features/video.csv": (
        "recording,time,g0\nb,0,3\nb,0.5,4\nb,1,5\nc,0,6\na,0,1\na,0.5,2\n"
    ),
}


def write(folder, files, name=None, old="", new=""):
    """Writes the files, in one of them something instead of what stands there."""
    if name:
        assert old in files[name]
        files = files | {name: files[name].replace(old, new, 1)}
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return folder


def test_utterances_are_read(tmp_path):
    corpus = read_corpus(write(tmp_path, UTTERANCES))
    assert corpus.recording.tolist() == ["a", "b", "c", "d"]
    assert corpus.partition.tolist() == ["train", "train", "dev", "test"]
    assert corpus.speaker.tolist() == ["01", "01", "2", "3"]
    assert corpus.attributes["fold"].tolist() == ["0", "1", "2", "NA"]
    assert (corpus.targets, corpus.classes) == (("emotion",), ("sad", "happy"))
    assert corpus.labels.ravel().tolist() == [1, 0, 1, -1]
    audio, video = corpus.modalities["audio"], corpus.modalities["video"]
    assert audio.names == ("f0", "f1")
    np.testing.assert_array_equal(
        audio.values, np.float32([[1, 2], [3, 4.5], [5, -0.006], [7, 8]])
    )
    assert video.values.ravel().tolist() == [1, 2, 3, 4]
    nan = np.nan
    votes = [[0, 1], [nan, nan], [nan, nan], [nan, nan]]
    np.testing.assert_array_equal(corpus.raters["emotion"], votes)
    effort = [[1, 2.5], [nan, nan], [nan, 3], [nan, nan]]
    np.testing.assert_array_equal(corpus.raters["effort"], effort)
    assert (corpus.frame_step, corpus.licence) == (None, "none")


def test_raters_whose_names_are_alike_are_told(tmp_path):
    files = {**UTTERANCES, RATERS: UTTERANCES[RATERS].replace("a,bob", "a,Anna", 1)}
    corpus = read_corpus(write(tmp_path, files))
    assert "Raters whose names differ only in case" in "\n".join(corpus.notes)


def test_frames_are_read(tmp_path):
    corpus = read_corpus(write(tmp_path, FRAMES))
    assert (corpus.frame_step, corpus.task) == (0.5, "regression")
    assert corpus.offsets.tolist() == [0, 2, 5, 6]
    assert corpus.modalities["video"].values.ravel().tolist() == [1, 2, 3, 4, 5, 6]
    expected = np.float32([0.1, 0.2, 0.3, 0.4, 0.5, np.nan])
    np.testing.assert_array_equal(corpus.labels.ravel(), expected)
    ratings = np.full((6, 2), np.nan, np.float32)
    ratings[1, 0], ratings[4, 1] = 0.7, 0.9
    np.testing.assert_array_equal(corpus.raters["arousal"], ratings)


def test_a_byte_order_mark_blank_lines_and_padded_names_are_fine(tmp_path):
    text = "\ufeff recording , f0,f1\n\na,1,2\nb,3,4\n\nc,5,6\nd,7,8\n\n"
    files = UTTERANCES | {"features/audio.csv": text}
    corpus = read_corpus(write(tmp_path, files))
    assert corpus.modalities["audio"].names == ("f0", "f1")
    assert corpus.modalities["audio"].values[2].tolist() == [5, 6]


AUDIO, VIDEO = "features/audio.csv", "features/video.csv"
JSON, RECORDINGS, LABELS = "corpus.json", "recordings.csv", "labels.csv"
RATERS = "raters.csv"
# (file, what stands in it, what instead, file of the error, row, column, word)
BAD_UTTERANCES = [
    (AUDIO, "c,5", "c,", "audio.csv", 4, "f0", "missing.*impute"),
    (AUDIO, "b,3,4.5\nc,5", "b,3,4.5\n\nc,x", "audio.csv", 5, "f0", "'x'"),
    (JSON, '"audio": 2', '"audio": 88', "audio.csv", 1, None, "2 feature .* says 88"),
    (VIDEO, "b,2\n", "", RECORDINGS, 3, "recording", "'b' .*video.csv; corpus.missing"),
    (VIDEO, "b,2", "x,2", "video.csv", 4, "recording", "not in recordings.csv"),
    (VIDEO, "b,2\n", "b,2\nb,2\n", "video.csv", 5, "recording", "more than once"),
    (RECORDINGS, "b,train", "a,train", RECORDINGS, 3, "recording", "more than once"),
    (RECORDINGS, "b,train", ",train", RECORDINGS, 3, "recording", "found ''"),
    (RECORDINGS, "c,dev", "c,valid", RECORDINGS, 4, "partition", "'valid'"),
    (RECORDINGS, "c,dev", "c,train", RECORDINGS, None, "partition", "'dev'"),
    (RECORDINGS, "speaker", "who", RECORDINGS, 1, "speaker", "missing"),
    (LABELS, "a,happy", "a,merry", LABELS, 3, "emotion", "'merry'.*'sad', 'happy'"),
    (LABELS, "a,happy", "a,1", LABELS, 3, "emotion", "unknown class '1'"),
    (LABELS, "c,happy\n", "", RECORDINGS, 4, "recording", "no row in .*labels.csv"),
    (LABELS, "c,happy", "c,", LABELS, 4, "emotion", "'c' of partition 'dev'"),
    (LABELS, "a,happy\n", "a,sad\na,sad\n", LABELS, 4, "recording", "more than once"),
    (LABELS, "b,sad", "z,sad", LABELS, 2, "recording", "not in recordings.csv"),
    (LABELS, "emotion", "emotion,y", LABELS, 1, None, "'emotion', 'y'.*'targets'"),
    (RATERS, "bob,happy", "bob,merry", RATERS, 3, "emotion", "'merry'"),
    (RATERS, "a,bob", "a,anna", RATERS, 3, "rater", "'anna' rates recording 'a' more"),
    (RATERS, "c,bob", "z,bob", RATERS, 4, "recording", "not in"),
    (RATERS, "2.5", "inf", RATERS, 3, "effort", "infinite"),
    (JSON, ",", ",,", JSON, 1, None, "not JSON"),
    (JSON, UTTERANCES[JSON], "[]", JSON, None, None, "JSON object"),
    (JSON, '"task"', '"tusk"', JSON, None, None, "'tusk' is unknown"),
    (JSON, "classification", "ranking", JSON, None, None, "'task' is 'ranking'"),
    (JSON, '"name": "small", ', "", JSON, None, None, "'name' is missing"),
    (JSON, '["sad", "happy"]', "[]", JSON, None, None, "'classes'"),
    (JSON, '["sad", "happy"]', '["a", "a"]', JSON, None, None, "'classes'.*distinct"),
    (JSON, '{"audio": 2, "video": 1}', "3", JSON, None, None, "'modalities' is 3"),
    (JSON, '"lic', '"frame_step": -1, "lic', JSON, None, None, "'frame_step' is -1"),
    (JSON, '"lic', '"neutral": 3, "lic', JSON, None, None, "cannot have .* 'neutral'"),
    (JSON, '"video": 1', '"eeg": 1', "eeg.csv", None, None, "no such file"),
]
BAD_FRAMES = [
    (AUDIO, "b,0.5,4\n", "", "audio.csv", 5, "time", "1 of recording 'b' .* a gap"),
    (AUDIO, "b,0.5,4", "b,0,4", "audio.csv", 5, "time", "duplicate, expected 0.5"),
    (AUDIO, "b,1,5", "b,-1,5", "audio.csv", 6, "time", "goes back"),
    (JSON, "0.5", "0.3", "audio.csv", 3, "time", "frame step 0.3 s"),
    (AUDIO, "b,0.5,4", "b,,4", "audio.csv", 5, "time", "nan"),
    (AUDIO, "time", "clock", "audio.csv", 1, "time", "missing"),
    (JSON, '"frame_step": 0.5, ', "", "audio.csv", 1, "time", "'frame_step'"),
    (VIDEO, "b,1,5\n", "", "video.csv", 3, "time", "'b' has 2 frames.* has 3"),
    (VIDEO, "c,0,6", "c,2,6", "video.csv", 5, "time", "'c' starts at 2 s.* at 0 s"),
    (LABELS, "a,.5,.2\n", "", LABELS, 2, "time", "'a' has 1 frames.* has 2"),
    (LABELS, "b,.5,.4", "b,.5,", LABELS, 5, "arousal", "'b' of partition 'dev'"),
    (LABELS, ".4", "inf", LABELS, 5, "arousal", "inf"),
    (LABELS, ".4", "1e39", LABELS, 5, "arousal", "beyond float32"),
    (JSON, "0.5", "1e-300", JSON, None, None, "'frame_step' is 1e-300"),
    (JSON, "0.5", "9" * 400, JSON, None, None, "'frame_step' is 9+"),
    (RATERS, "b,1,2", "b,7,2", RATERS, 3, "time", "7 s is outside recording 'b'"),
    (JSON, '"targets"', '"classes": ["a"], "targets"', JSON, None, None, "'classes'"),
    (JSON, '"targets": ["arousal"], ', "", JSON, None, None, "'targets' is missing"),
    (LABELS, "arousal", "valence", LABELS, 1, "arousal", "missing"),
]


@pytest.mark.parametrize(
    ("files", "name", "old", "new", "file", "row", "column", "reason"),
    [(UTTERANCES, *case) for case in BAD_UTTERANCES]
    + [(FRAMES, *case) for case in BAD_FRAMES],
)
def test_malformed_folders_are_named(
    tmp_path, files, name, old, new, file, row, column, reason
):
    folder = write(tmp_path, files, name, old, new)
    with refused(file, row, column, reason):
        read_corpus(folder)


def test_missing_and_ambiguous_files_are_named(tmp_path):
    with refused("nowhere", reason="no such folder"):
        read_corpus(tmp_path / "nowhere")
    folder = write(tmp_path, UTTERANCES)
    (folder / "features/audio.npz").touch()
    with refused("features", reason="audio.csv and audio.npz"):
        read_corpus(folder)
    (folder / "features/audio.npz").unlink()
    for name in {*UTTERANCES} - {RATERS}:
        text = (folder / name).read_text("utf-8")
        (folder / name).unlink()
        with refused(name.split("/")[-1], reason="no such file"):
            read_corpus(folder)
        (folder / name).write_text(text, "utf-8")


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "9" * 10**4, '{"a": "\\ud800"}', '{"a": 1, "a": 2}']
)
def test_odd_json_is_named(tmp_path, text):
    (tmp_path / JSON).write_text(text)
    with refused(JSON, reason="JSON|UTF-8|more than once"):
        read_header(tmp_path / JSON)


def test_missing_values_are_allowed_on_request(tmp_path):
    values = read_corpus(write(tmp_path, UTTERANCES, AUDIO, "c,5", "c,"), impute=True)
    missing = np.isnan(values.modalities["audio"].values)
    assert missing.sum() == 1 and missing[2, 0]
    with refused("audio.csv", 4, "f0", "infinite"):
        read_corpus(write(tmp_path, UTTERANCES, AUDIO, "c,5", "c,inf"), impute=True)


def test_a_small_drift_of_times_is_rounding_and_a_large_one_is_refused(tmp_path):
    rows = "".join(f"{r},{i / 3:.2f},{i}\n" for r in "abc" for i in range(30))
    files = FRAMES | {
        "corpus.json": FRAMES["corpus.json"].replace("0.5", str(1 / 3)),
        AUDIO: "recording,time,f0\n" + rows,
        VIDEO: "recording,time,g0\n" + rows,
        "labels.csv": "recording,time,arousal\n" + rows,
    }
    del files["raters.csv"]
    assert read_corpus(write(tmp_path, files)).num_rows == 90
    files["corpus.json"] = FRAMES["corpus.json"].replace("0.5", "0.35")
    with refused("audio.csv", 13, "time", "does not keep the frame step"):
        read_corpus(write(tmp_path, files))


def assert_equal(first: Corpus, second: Corpus):
    facts = ("name", "targets", "classes", "frame_step", "licence", "citation")
    for name in (*facts, "neutral"):
        assert getattr(first, name) == getattr(second, name)
    assert first.notes == second.notes
    for name in ("recording", "partition", "speaker", "labels", "offsets"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("attributes", "raters"):
        a, b = getattr(first, name), getattr(second, name)
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
    assert list(first.modalities) == list(second.modalities)
    for key, modality in first.modalities.items():
        assert modality.names == second.modalities[key].names
        np.testing.assert_array_equal(modality.values, second.modalities[key].values)


SMALL = SyntheticOptions(
    recordings=(6, 3, 3), speakers=6, features=(8, 7), raters=11, video_length=2
)


def test_recordings_are_cut_to_the_frames_that_all_files_have(tmp_path):
    """Of b, audio starts a frame late and labels end a frame early."""
    audio = "recording,time,f0\na,0,1\na,0.5,2\nb,.5,4\nb,1,5\nb,1.5,7\nc,0,6\n"
    video = "recording,time,g0\nb,0,3\nb,.5,4\nb,1,5\nb,1.5,8\nc,0,6\na,0,1\na,.5,2\n"
    raters = "recording,time,rater,arousal\na,.5,1,.7\nb,0,2,.8\nb,1,2,.9\n"
    files = {"features/audio.csv": audio, "features/video.csv": video}
    write(tmp_path, {**FRAMES, **files, "raters.csv": raters})
    corpus = read_corpus(tmp_path, tolerance=1)
    assert corpus.offsets.tolist() == [0, 2, 4, 5]
    assert corpus.modalities["audio"].values[:, 0].tolist() == [1, 2, 4, 5, 6]
    assert corpus.modalities["video"].values[:, 0].tolist() == [1, 2, 4, 5, 6]
    expected = np.float32([0.1, 0.2, 0.4, 0.5, np.nan])
    np.testing.assert_array_equal(corpus.labels[:, 0], expected)
    nan = np.nan
    ratings = np.float32([[nan, nan], [0.7, nan], [nan, nan], [nan, 0.9], [nan, nan]])
    np.testing.assert_array_equal(corpus.raters["arousal"], ratings)
    note = (
        "1 of 3 recordings were cut to the frames that all files have: b to 2 (audio 3 "
        "from 0.5 s, video 4 from 0 s, labels.csv 3 from 0 s)"
    )
    nobody = f"{tmp_path / 'raters.csv'}: nobody rated arousal in 60% of all rows"
    assert corpus.notes == (note, nobody)
    with refused("video.csv", 5, "time", "'b' has 4 frames"):
        read_corpus(tmp_path)
    with refused(reason="tolerance is -1"):
        read_corpus(tmp_path, tolerance=-1)


def test_files_further_apart_than_tolerated_are_refused(tmp_path):
    labels = "recording,time,arousal\na,0,.1\na,.5,.2\nb,0,.3\n"
    write(tmp_path, {**FRAMES, "labels.csv": labels})
    reason = r"'b' begin or end 2 frames apart \(audio 3 from 0 s, .*labels.csv 1 from"
    with refused("recordings.csv", 3, "recording", reason):
        read_corpus(tmp_path, tolerance=1)
    assert read_corpus(tmp_path, tolerance=2).num_rows == 4


def examples():
    utterances = make_synthetic(SMALL)
    frames = make_synthetic(replace(SMALL, frames=5))
    labels = np.where(utterances.partition == "test", -1, utterances.labels[:, 0])
    awkward = replace(
        utterances,
        recording=np.array([f'r,"{i} é' for i in range(12)]),
        speaker=np.array([f"{i:03d}" for i in range(12)]),
        labels=labels[:, None],
        attributes={"fold": np.arange(12), "note": np.array(["NA", "", "nan"] * 4)},
        notes=("twice", "twice"),
    )
    values = frames.modalities["audio"].values.copy()
    values[3, 2] = np.nan
    audio = Modality(frames.modalities["audio"].names, values)
    uneven = replace(
        frames, modalities={"audio": audio}, recording=frames.recording[::-1]
    )
    sentiment = replace(
        utterances,
        targets=("sentiment",),
        labels=np.linspace(1, 5, 12, dtype=np.float32)[:, None],
        classes=(),
        raters={},
        neutral=3.0,
    )
    return {
        "utterances": utterances,
        "frames": frames,
        "awkward": awkward,
        "gaps": uneven,
        "sentiment": sentiment,
    }


@pytest.mark.parametrize("features", ["csv", "npz", "npy", "parquet", "h5"])
@pytest.mark.parametrize("name", ["utterances", "frames", "awkward", "gaps"])
def test_round_trip_is_exact(tmp_path, name, features):
    corpus = examples()[name]
    write_corpus(corpus, tmp_path / "out", features)
    assert_equal(corpus, read_corpus(tmp_path / "out", impute=True))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_npy_features_stay_on_disk(tmp_path):
    corpus = make_synthetic(SMALL)
    write_corpus(corpus, tmp_path / "out", "npy")
    values = read_corpus(tmp_path / "out").modalities["audio"].values
    base = values
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_npy_holds_as_many_features_as_vgg_face(tmp_path):
    corpus = make_synthetic(replace(SMALL, features=(8, 4096)))
    write_corpus(corpus, tmp_path / "out", "npy")
    assert_equal(corpus, read_corpus(tmp_path / "out"))


def test_writing_never_overwrites(tmp_path):
    corpus = make_synthetic(SMALL)
    (tmp_path / "empty").mkdir()
    write_corpus(corpus, tmp_path / "empty")
    before = (tmp_path / "empty" / "corpus.json").read_text()
    with refused("empty", reason="not an empty folder"):
        write_corpus(replace(corpus, name="other"), tmp_path / "empty")
    assert (tmp_path / "empty" / "corpus.json").read_text() == before


def test_a_name_that_cannot_be_a_column_is_refused(tmp_path):
    corpus = make_synthetic(SMALL)
    features = Modality(("time",), corpus.modalities["audio"].values[:, :1])
    with refused(reason="feature 'time' cannot be a column"):
        write_corpus(replace(corpus, modalities={"a": features}), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_recordings_without_a_label_are_read(tmp_path):
    files = UTTERANCES | {
        "recordings.csv": UTTERANCES["recordings.csv"] + "e,unlabelled,4,NA\n",
        "labels.csv": "recording,emotion\nb,\na,happy\nc,happy\n",
        "features/audio.csv": UTTERANCES["features/audio.csv"] + "e,0,0\n",
        "features/video.csv": UTTERANCES["features/video.csv"] + "e,0\n",
    }
    corpus = read_corpus(write(tmp_path / "one", files))
    parts = ["train", "unlabelled", "dev", "test", "unlabelled"]
    assert corpus.partition.tolist() == parts
    assert corpus.labels.ravel().tolist() == [1, -1, 1, -1, -1]
    said = "1 of 2 recordings of train have no label and count as unlabelled: b"
    assert said in corpus.notes
    write_corpus(corpus, tmp_path / "two")
    again = read_corpus(tmp_path / "two")
    assert again.partition.tolist() == parts
    np.testing.assert_array_equal(again.labels, corpus.labels)


def test_a_recording_may_be_absent_from_the_labels_of_train(tmp_path):
    files = UTTERANCES | {"labels.csv": "recording,emotion\na,happy\nc,happy\n"}
    corpus = read_corpus(write(tmp_path, files))
    assert corpus.partition.tolist() == ["train", "unlabelled", "dev", "test"]


def test_a_label_of_an_unlabelled_recording_is_refused(tmp_path):
    rows = UTTERANCES["recordings.csv"].replace("b,train", "b,unlabelled")
    folder = write(tmp_path, UTTERANCES | {"recordings.csv": rows})
    with refused("labels.csv", 2, "emotion", "'b' of partition 'unlabelled' has a"):
        read_corpus(folder)
