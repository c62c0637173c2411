import json
from dataclasses import replace

import numpy as np
import pytest

from ifusion.corpora.corpus import Corpus, CorpusError, Modality
from ifusion.corpora.folder import read_corpus, write_corpus
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


def write(folder, files):
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


def swap(name, old, new):
    """One replacement in one file of UTTERANCES."""
    assert old in UTTERANCES[name]
    return {name: UTTERANCES[name].replace(old, new, 1)}


def swap_frames(name, old, new):
    assert old in FRAMES[name]
    return {name: FRAMES[name].replace(old, new, 1)}


AUDIO, VIDEO = "features/audio.csv", "features/video.csv"
BAD_UTTERANCES = {
    "short row": (
        swap(AUDIO, "b,3,4.5", "b,3"),
        "audio.csv, row 3, column 'f1': the row has 2 fields, expected 3",
    ),
    "over-long row": (
        swap(AUDIO, "b,3,4.5", "b,3,4,5"),
        "audio.csv, row 3, .*4 fields, expected 3 .*decimal commas",
    ),
    "quoted decimal comma": (
        swap(AUDIO, "b,3,4.5", 'b,3,"4,5"'),
        "audio.csv, row 3, column 'f1': '4,5' is not a number; write decimals",
    ),
    "not numeric": (
        swap(AUDIO, "c,5", "c,five"),
        "audio.csv, row 4, column 'f0': 'five' is not a number",
    ),
    "infinite": (
        swap(AUDIO, "d,7", "d,-inf"),
        "audio.csv, row 5, column 'f0': value is infinite",
    ),
    "too large for float32": (
        swap(AUDIO, "d,7", "d,1e39"),
        "audio.csv, row 5, column 'f0': value is infinite",
    ),
    "missing value": (
        swap(AUDIO, "c,5", "c,"),
        "audio.csv, row 4, column 'f0': value is missing .*impute",
    ),
    "NaN": (
        swap(AUDIO, "c,5", "c,nan"),
        "audio.csv, row 4, column 'f0': value is missing",
    ),
    "after a blank line": (
        swap(AUDIO, "b,3,4.5\nc,5", "b,3,4.5\n\nc,x"),
        "audio.csv, row 5, column 'f0': 'x'",
    ),
    "duplicate column": (
        swap(AUDIO, "f0,f1", "f0,f0"),
        "audio.csv, row 1, column 'f0' occurs more than once",
    ),
    "unnamed column": (
        swap(AUDIO, "f0,f1", "f0,"),
        "audio.csv, row 1: column 3 has no name",
    ),
    "missing column": (
        swap(AUDIO, "recording", "file"),
        "audio.csv, row 1: column 'recording' is missing",
    ),
    "semicolons": (
        {AUDIO: UTTERANCES[AUDIO].replace(",", ";")},
        "'recording' is missing .*separated by ';'",
    ),
    "no feature": (
        {VIDEO: "recording\na\nb\nc\nd\n"},
        "video.csv, row 1: found 0 feature columns, expected 1",
    ),
    "feature count": (
        swap("corpus.json", '"audio": 2', '"audio": 88'),
        "audio.csv, row 1: found 2 feature columns, expected 88",
    ),
    "empty file": ({AUDIO: ""}, "audio.csv, row 1: the file is empty"),
    "only a header": ({AUDIO: "recording,f0,f1\n"}, "audio.csv: there are no rows"),
    "no features": (
        swap(VIDEO, "b,2\n", ""),
        "recordings.csv, row 3, column 'recording': 'b' has no row in .*video.csv",
    ),
    "modality of others": (
        swap(VIDEO, "b,2", "x,2"),
        "video.csv, row 4, column 'recording': 'x' is not in recordings.csv",
    ),
    "features twice": (
        swap(VIDEO, "b,2\n", "b,2\nb,2\n"),
        "video.csv, row 5, column 'recording': 'b' occurs more than once",
    ),
    "time without frame step": (
        {
            VIDEO: "recording,time,g0\na,0,1\nb,0,1\nc,0,1\nd,0,1\n",
            "corpus.json": UTTERANCES["corpus.json"].replace(
                '"video": 1', '"video": 2'
            ),
        },
        "video.csv, row 1, column 'time'",
    ),
    "recording twice": (
        swap("recordings.csv", "b,train", "a,train"),
        "recordings.csv, row 3, column 'recording': 'a' occurs more than once",
    ),
    "unnamed recording": (
        swap("recordings.csv", "b,train", ",train"),
        "recordings.csv, row 3, column 'recording': '' found",
    ),
    "unknown partition": (
        swap("recordings.csv", "c,dev", "c,valid"),
        "recordings.csv, row 4, column 'partition': .*'valid'",
    ),
    "empty partition": (
        swap("recordings.csv", "c,dev", "c,train"),
        "recordings.csv, column 'partition': no recording is in 'dev'",
    ),
    "no speaker": (
        swap("recordings.csv", "speaker", "who"),
        "recordings.csv, row 1: column 'speaker' is missing",
    ),
    "unknown class": (
        swap("labels.csv", "a,happy", "a,merry"),
        "labels.csv, row 3, column 'emotion': unknown class 'merry', .*'sad', 'happy'",
    ),
    "class code": (
        swap("labels.csv", "a,happy", "a,1"),
        "labels.csv, row 3, column 'emotion': unknown class '1'",
    ),
    "no label row": (
        swap("labels.csv", "c,happy\n", ""),
        "recordings.csv, row 4, column 'recording': 'c' has no row in .*labels.csv",
    ),
    "blank label": (
        swap("labels.csv", "c,happy", "c,"),
        "labels.csv, row 4, column 'emotion': recording 'c' of partition 'dev'",
    ),
    "label twice": (
        swap("labels.csv", "a,happy\n", "a,happy\na,sad\n"),
        "labels.csv, row 4, column 'recording': 'a' occurs more than once",
    ),
    "label of another": (
        swap("labels.csv", "b,sad", "z,sad"),
        "labels.csv, row 2, column 'recording': 'z' is not in recordings.csv",
    ),
    "two targets": (
        {"labels.csv": "recording,x,y\na,sad,sad\n"},
        "labels.csv, row 1: found the columns .*'targets'",
    ),
    "unknown vote": (
        swap("raters.csv", "bob,happy", "bob,merry"),
        "raters.csv, row 3, column 'emotion': unknown class 'merry'",
    ),
    "vote twice": (
        swap("raters.csv", "a,bob", "a,anna"),
        "raters.csv, row 3, column 'rater': rater 'anna' rates recording 'a' more",
    ),
    "rating of another": (
        swap("raters.csv", "c,bob", "z,bob"),
        "raters.csv, row 4, column 'recording': 'z' is not",
    ),
    "infinite rating": (
        swap("raters.csv", "2.5", "inf"),
        "raters.csv, row 3, column 'effort': value is infinite",
    ),
    "bad JSON": (
        swap("corpus.json", ",", ",,"),
        "corpus.json, row 1, column .*not JSON",
    ),
    "JSON list": ({"corpus.json": "[]"}, "corpus.json: expected an object"),
    "no task": (
        swap("corpus.json", '"task"', '"tusk"'),
        "corpus.json, key 'tusk' is unknown",
    ),
    "wrong task": (
        swap("corpus.json", "classification", "ranking"),
        "corpus.json, key 'task' is 'ranking'",
    ),
    "no name": (
        swap("corpus.json", '"name": "small", ', ""),
        "corpus.json: key 'name' is missing",
    ),
    "no classes": (
        swap("corpus.json", '["sad", "happy"]', "[]"),
        "corpus.json, key 'classes' is",
    ),
    "same classes": (
        swap("corpus.json", '["sad", "happy"]', '["sad", "sad"]'),
        "corpus.json, key 'classes' is .*distinct",
    ),
    "modalities a number": (
        swap("corpus.json", '{"audio": 2, "video": 1}', "3"),
        "corpus.json, key 'modalities' is 3",
    ),
    "negative step": (
        swap("corpus.json", '"licence"', '"frame_step": -1, "licence"'),
        "corpus.json, key 'frame_step' is -1",
    ),
    "modality not there": (
        swap("corpus.json", '"video": 1', '"eeg": 1'),
        "eeg.csv: there is no such file",
    ),
    "modality twice": (
        {"features/audio.npz": ""},
        "features: there are audio.csv and audio.npz",
    ),
}
BAD_FRAMES = {
    "gap": (
        swap_frames(AUDIO, "b,0.5,4\n", ""),
        "audio.csv, row 5, column 'time': time 1 of recording 'b' follows a gap",
    ),
    "duplicate time": (
        swap_frames(AUDIO, "b,0.5,4", "b,0,4"),
        "audio.csv, row 5, column 'time': .* is a duplicate, expected 0.5",
    ),
    "unsorted": (
        swap_frames(AUDIO, "b,0.5,4\nb,1,5", "b,1,4\nb,0.5,5"),
        "audio.csv, row 5, column 'time': ",
    ),
    "goes back": (
        swap_frames(AUDIO, "b,1,5", "b,-1,5"),
        "audio.csv, row 6, column 'time': time -1 of recording 'b' goes back",
    ),
    "wrong step": (
        {"corpus.json": FRAMES["corpus.json"].replace("0.5", "0.3")},
        "audio.csv, row 3, column 'time': .*frame step 0.3 s",
    ),
    "time not finite": (
        swap_frames(AUDIO, "b,0.5,4", "b,inf,4"),
        "audio.csv, row 5, column 'time': value is inf",
    ),
    "time blank": (
        swap_frames(AUDIO, "b,0.5,4", "b,,4"),
        "audio.csv, row 5, column 'time': value is nan",
    ),
    "no time": (
        swap_frames(AUDIO, "time", "clock"),
        "audio.csv, row 1: column 'time' is missing",
    ),
    "unequal lengths": (
        swap_frames(VIDEO, "b,1,5\n", ""),
        "video.csv, row 3, column 'time': .*'b' ends after 2 frames, expected 3",
    ),
    "later start": (
        swap_frames(VIDEO, "c,0,6", "c,2,6"),
        "video.csv, row 5, column 'time': .*'c' starts at 2 s, expected 0 s",
    ),
    "fewer labels": (
        swap_frames("labels.csv", "a,.5,.2\n", ""),
        "labels.csv, row 2, column 'time': .*'a' ends after 1 frames, expected 2",
    ),
    "blank label": (
        swap_frames("labels.csv", "b,.5,.4", "b,.5,"),
        "labels.csv, row 5, column 'arousal': recording 'b' of partition 'dev'",
    ),
    "infinite label": (
        swap_frames("labels.csv", ".4", "inf"),
        "labels.csv, row 5, column 'arousal': value is inf",
    ),
    "label beyond float32": (
        swap_frames("labels.csv", ".4", "1e39"),
        "labels.csv, row 5, column 'arousal': value 1e[+]39 is too large for float32",
    ),
    "tiny step": (
        {"corpus.json": FRAMES["corpus.json"].replace("0.5", "1e-300")},
        "corpus.json, key 'frame_step' is 1e-300, expected a number from 1e-06 to",
    ),
    "huge step": (
        {"corpus.json": FRAMES["corpus.json"].replace("0.5", "9" * 400)},
        "corpus.json, key 'frame_step' is 9+, expected a number from",
    ),
    "rating outside": (
        swap_frames("raters.csv", "b,1,2", "b,7,2"),
        "raters.csv, row 3, column 'time': time 7 s is outside recording 'b'",
    ),
    "classes of a regression": (
        swap_frames("corpus.json", '"targets"', '"classes": ["a"], "targets"'),
        "key 'classes' does not go with",
    ),
    "no targets": (
        swap_frames("corpus.json", '"targets": ["arousal"], ', ""),
        "corpus.json: key 'targets' is missing",
    ),
    "target not there": (
        swap_frames("labels.csv", "arousal", "valence"),
        "labels.csv, row 1: column 'arousal' is missing",
    ),
}


@pytest.mark.parametrize("case", BAD_UTTERANCES)
def test_malformed_utterances_are_named(tmp_path, case):
    change, sentence = BAD_UTTERANCES[case]
    with pytest.raises(CorpusError, match=sentence):
        read_corpus(write(tmp_path, UTTERANCES | change))


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_malformed_frames_are_named(tmp_path, case):
    change, sentence = BAD_FRAMES[case]
    with pytest.raises(CorpusError, match=sentence):
        read_corpus(write(tmp_path, FRAMES | change))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CorpusError, match="nowhere: there is no such folder"):
        read_corpus(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [n for n in UTTERANCES if n != "raters.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = write(tmp_path, UTTERANCES)
    (folder / name).unlink()
    with pytest.raises(CorpusError, match=f"{name}: there is no such file"):
        read_corpus(folder)


def test_text_that_is_not_utf8_is_named(tmp_path):
    folder = write(tmp_path, UTTERANCES)
    (folder / "labels.csv").write_bytes(b"recording,emotion\na,\xff\n")
    with pytest.raises(CorpusError, match=r"labels.csv, row 2: not UTF-8"):
        read_corpus(folder)


def test_missing_values_are_allowed_on_request(tmp_path):
    folder = write(tmp_path, UTTERANCES | swap(AUDIO, "c,5", "c,"))
    values = read_corpus(folder, allow_nan=True).modalities["audio"].values
    assert np.isnan(values).sum() == 1
    assert np.isnan(values[2, 0])
    folder = write(tmp_path, UTTERANCES | swap(AUDIO, "c,5", "c,inf"))
    with pytest.raises(CorpusError, match="infinite"):
        read_corpus(folder, allow_nan=True)


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
    with pytest.raises(CorpusError, match="does not keep the frame step"):
        read_corpus(write(tmp_path, files))


def assert_equal(first: Corpus, second: Corpus):
    for name in ("name", "targets", "classes", "frame_step", "licence", "citation"):
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
    note = "b was cut to 2 common frames (audio 3, video 4, labels 3)"
    assert corpus.notes == (note,)
    with pytest.raises(CorpusError, match="'b' ends after 4 frames, expected 3"):
        read_corpus(tmp_path)
    with pytest.raises(CorpusError, match="expected 0 or more"):
        read_corpus(tmp_path, tolerance=-1)


def test_files_further_apart_than_tolerated_are_refused(tmp_path):
    labels = "recording,time,arousal\na,0,.1\na,.5,.2\nb,0,.3\n"
    write(tmp_path, {**FRAMES, "labels.csv": labels})
    sentence = (
        r"recordings.csv, row 3, column 'recording': the files of 'b' begin or end 2 "
        r"frames apart \(audio 3, video 3, labels 1\), expected at most 1"
    )
    with pytest.raises(CorpusError, match=sentence):
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
    return {"utterances": utterances, "frames": frames, "awkward": awkward} | {
        "gaps": uneven
    }


@pytest.mark.parametrize("features", ["csv", "npz", "npy", "parquet", "h5"])
@pytest.mark.parametrize("name", ["utterances", "frames", "awkward", "gaps"])
def test_round_trip_is_exact(tmp_path, name, features):
    pytest.importorskip({"parquet": "pyarrow", "h5": "h5py"}.get(features, "numpy"))
    corpus = examples()[name]
    write_corpus(corpus, tmp_path / "out", features)
    assert_equal(corpus, read_corpus(tmp_path / "out", allow_nan=True))
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
    with pytest.raises(CorpusError, match="already exists and is not an empty folder"):
        write_corpus(replace(corpus, name="other"), tmp_path / "empty")
    assert (tmp_path / "empty" / "corpus.json").read_text() == before


def test_a_name_that_cannot_be_a_column_is_refused(tmp_path):
    corpus = make_synthetic(SMALL)
    features = Modality(("time",), corpus.modalities["audio"].values[:, :1])
    with pytest.raises(CorpusError, match="feature 'time' cannot be a column"):
        write_corpus(replace(corpus, modalities={"a": features}), tmp_path / "out")
    assert not list(tmp_path.iterdir())
