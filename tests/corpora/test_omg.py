import numpy as np
import pytest
from formats import refused

from configs.omg import get_config
from ifusion.corpora.description import corpus_warnings
from ifusion.corpora.readers import open_corpus
from ifusion.corpora.sources.omg import CLASSES, read_omg

HEADER = "link,start,end,video,utterance,arousal,valence,EmotionMaxVote\n"
LINK = "https://www.youtube.com/watch?v="
FILES = {
    # as in the public files; rows out of time order, a video cut from the link of v1
    "omg_TrainVideos.csv": HEADER
    + f"{LINK}L1,15.4,19.7,v1_1,utterance_4.mp4,0.17,-0.02,4\n"
    + f"{LINK}L1,0.0,3.25,v1_1,utterance_1.mp4,0.41,0.29,3\n"
    + f"{LINK}L1,90,95,v1_3,utterance_9.mp4,0.5,0.1,0\n"
    + f"{LINK}L2,1,2,v2,utterance_1.mp4,0.6,0.2,6\n",
    "omg_ValidationVideos.csv": HEADER
    + f"{LINK}L3,0,4,v3,utterance_1.mp4,0.05,0.11,2\n"
    + f"{LINK}L3,5,6,v3,utterance_2.mp4,0.06,0.12,5\n",
    "omg_TestVideos_WithLabels.csv": HEADER
    + f"{LINK}L4,0,4,v4,utterance_1.mp4,0.7,-0.7,1\n",
    "audio.csv": (
        "video,utterance,f0,f1\n"
        "v4,utterance_1.mp4,40,41\n"
        "v1_1,utterance_1.mp4,10,11\nv1_1,utterance_4.mp4,12,13\n"
        "v1_3,utterance_9.mp4,14,15\n"
        "v3,utterance_1.mp4,30,31\nv3,utterance_2.mp4,32,33\n"
        "v9,utterance_1.mp4,0,0\n"
    ),
    "video.csv": (
        "video,utterance,g0\n"
        "v1_1,utterance_1,1\nv1_1,utterance_4,2\nv1_3,utterance_9,3\n"
        "v2,utterance_1,4\nv3,utterance_1,5\nv4,utterance_1,7\n"
    ),
    "DetailedAnnotation/train/v1_1/utterance_4.mp4/0.txt": (
        "arousal,valence,emotion\n22.2,-56.1,Happy\n"
    ),
    "DetailedAnnotation/train/v1_1/utterance_4.mp4/2.txt": (
        "arousal,valence,emotion\n10.0,100.0,Neutral\n"
    ),
    "DetailedAnnotation/train/v1_1/utterance_1.mp4/utterance_1.mp4/1.txt": (
        "arousal,valence,emotion\n97.6,0.0,Fear\n"
    ),
    "DetailedAnnotation/train/v1_1/utterance_1.mp4/utterance_4.mp4/0.txt": (
        "arousal,valence,emotion\n1,1,Sad\n"
    ),
    "DetailedAnnotation/validation/v3/utterance_1.mp4/0.txt": (
        "arousal,valence,emotion\n"
    ),
}  # fmt: skip


def write(folder, changes=None):
    for name, text in (FILES | (changes or {})).items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
    return folder


def read(folder, **options):
    tables = {m: folder / f"{m}.csv" for m in ("audio", "video")}
    return read_omg(folder, tables, **options)


def test_utterances_are_read_in_order_of_time(tmp_path):
    corpus = read(write(tmp_path))
    places = ("v1_1", 1), ("v1_1", 4), ("v1_3", 9), ("v3", 1), ("v4", 1)
    expected = [f"{video}/utterance_{number}.mp4" for video, number in places]
    assert corpus.recording.tolist() == expected
    assert corpus.partition.tolist() == ["train"] * 3 + ["dev", "test"]
    assert corpus.speaker.tolist() == ["L1", "L1", "L1", "L3", "L4"]
    assert corpus.attributes["video"].tolist() == ["v1_1", "v1_1", "v1_3", "v3", "v4"]
    assert corpus.attributes["start"].astype(float).tolist() == [0, 15.4, 90, 0, 0]
    classes = [CLASSES[i] for i in corpus.labels[:, 0]]
    assert classes == ["happy", "neutral", "anger", "fear", "disgust"]
    audio, video = corpus.modalities["audio"], corpus.modalities["video"]
    assert audio.names == ("f0", "f1")
    assert audio.values[:, 0].tolist() == [10, 12, 14, 30, 40]
    assert video.values[:, 0].tolist() == [1, 2, 3, 5, 7]


def test_the_class_order_is_the_official_one():
    order = "0 anger 1 disgust 2 fear 3 happy 4 neutral 5 sad 6 surprise"
    assert " ".join(f"{i} {name}" for i, name in enumerate(CLASSES)) == order


def test_rows_without_features_are_counted_and_listed(tmp_path):
    notes = "\n".join(read(write(tmp_path)).notes)
    assert "1 of 4 train utterances have no audio features" in notes
    assert "dropped: 25%, are the ids right? v2/utterance_1.mp4" in notes
    assert "1 of 2 dev utterances have no video features" in notes
    assert "dropped: 50%, are the ids right? v3/utterance_2.mp4" in notes
    assert "1 rows of" in notes


def test_raters_are_read_from_both_public_layouts(tmp_path):
    raters = read(write(tmp_path)).raters
    nan = np.nan
    arousal = np.float32([[nan, 0.976, nan], [0.222, nan, 0.1]])
    np.testing.assert_allclose(raters["arousal"][:2], arousal, rtol=1e-6)
    np.testing.assert_allclose(
        raters["valence"][:2], np.float32([[nan, 0, nan], [-0.561, nan, 1]]), rtol=1e-6
    )
    np.testing.assert_array_equal(raters["emotion"][:2], [[nan, 2, nan], [3, nan, 4]])
    assert np.isnan(raters["emotion"][2:]).all()


def test_dimensions_can_be_the_targets(tmp_path):
    corpus = read(write(tmp_path), target=("valence", "arousal"))
    assert corpus.task == "regression"
    assert corpus.targets == ("valence", "arousal")
    expected = [[0.29, 0.41], [-0.02, 0.17], [0.1, 0.5], [0.11, 0.05], [-0.7, 0.7]]
    np.testing.assert_array_equal(corpus.labels, np.float32(expected))


def test_a_table_may_have_a_row_a_frame(tmp_path):
    lines = FILES["video.csv"].splitlines()[1:]
    timed = [
        f"{','.join(cells[:2])},{0.04 * i},{float(cells[2]) + i}"
        for cells in (line.split(",") for line in lines)
        for i in range(int(cells[2]))
    ]
    text = "\n".join(["video,utterance,time,g0", *timed]) + "\n"
    folder = write(tmp_path, {"video.csv": text})
    corpus = read(folder, frame_steps={"video": 0.04})
    audio, video = corpus.frames["audio"], corpus.frames["video"]
    assert audio.lengths.tolist() == [1] * 5 and video.lengths.tolist() == [
        1,
        2,
        3,
        5,
        7,
    ]
    assert video.step == 0.04 and video.values[:6, 0].tolist() == [1, 2, 3, 3, 4, 5]
    assert corpus.modalities["audio"].values[:, 0].tolist() == [10, 12, 14, 30, 40]
    lacking = read(folder, frame_steps={"video": 0.04}, missing="mask")
    both = np.all([x.lengths > 0 for x in lacking.frames.values()], axis=0)
    assert lacking.recording[both].tolist() == corpus.recording.tolist()
    others = ["v2/utterance_1.mp4", "v3/utterance_2.mp4"]
    assert lacking.recording[~both].tolist() == others
    assert any("without video: 1 of 2 dev" in note for note in lacking.notes)
    with pytest.raises(ValueError, match="missing is 'mask', which needs frames"):
        read(folder, missing="mask")
    with pytest.raises(ValueError, match="frame_steps has 'text': 1"):
        read(folder, frame_steps={"text": 1})
    with refused("video.csv", 1, "step", "."):
        read(folder, frame_steps={"video": None})


def test_test_labels_may_be_absent(tmp_path):
    test = f"link,start,end,video,utterance\n{LINK}L4,0,4,v4,utterance_1.mp4\n"
    files = {
        "omg_TestVideos_WithLabels.csv": None,
        "omg_TestVideos_WithoutLabels.csv": test,
    }
    corpus = read(write(tmp_path, files))
    assert corpus.labels[:, 0].tolist() == [3, 4, 0, 2, -1]
    assert corpus.attributes["arousal"][-1] == ""
    assert "1 of 1 test rows have no label." in corpus_warnings(corpus)
    dimensions = read(tmp_path, target="arousal")
    assert np.isnan(dimensions.labels[-1, 0])


def test_the_test_partition_and_the_raters_may_be_absent(tmp_path):
    files = {n: None for n in FILES if "Test" in n or "Detailed" in n}
    corpus = read(write(tmp_path, files))
    assert "test" not in corpus.partition
    assert not corpus.raters
    assert any("no test partition" in note for note in corpus.notes)
    assert any("no raters" in note for note in corpus.notes)


def test_a_repeated_utterance_leaves_train(tmp_path):
    twice = FILES["omg_TrainVideos.csv"] + f"{LINK}L3,0,4,v3,utterance_1.mp4,0,0,3\n"
    corpus = read(write(tmp_path, {"omg_TrainVideos.csv": twice}))
    assert corpus.partition[corpus.recording == "v3/utterance_1.mp4"].tolist() == [
        "dev"
    ]
    assert corpus.labels[3, 0] == 2
    assert "1 repeated utterances were dropped: v3/utterance_1.mp4" in corpus.notes


def test_an_utterance_of_train_may_lack_a_label(tmp_path):
    train = FILES["omg_TrainVideos.csv"]
    assert ",4\n" in train
    files = {"omg_TrainVideos.csv": train.replace(",4\n", ",\n", 1)}
    corpus = read(write(tmp_path, files))
    assert corpus.partition.tolist().count("unlabelled") == 1
    assert any("train have no label and count as" in note for note in corpus.notes)
    dev = FILES["omg_ValidationVideos.csv"]
    files = {"omg_ValidationVideos.csv": dev.rpartition(",")[0] + ",\n"}
    with refused("omg_ValidationVideos.csv", 3, "EmotionMaxVote", "nan"):
        read(write(tmp_path / "dev", files))


TRAIN, AUDIO = "omg_TrainVideos.csv", "audio.csv"
RATING = "DetailedAnnotation/train/v1_1/utterance_4.mp4/0.txt"


@pytest.mark.parametrize(
    ("name", "old", "new", "row", "column", "reason"),
    [
        (TRAIN, ",4\n", ",7\n", 2, "EmotionMaxVote", "unknown class 7"),
        (TRAIN, ",4\n", ",3.5\n", 2, "EmotionMaxVote", "unknown class 3.5"),
        (TRAIN, "0.41", "high", 3, "arousal", "'high' is not a number"),
        (TRAIN, "0.17,", "1e39,", 2, "arousal", "beyond"),
        (TRAIN, "15.4", "", 2, "start", "nan"),
        (TRAIN, "valence", "v", 1, "valence", "missing"),
        (TRAIN, ",19.7", ",19,7", 2, "EmotionMaxVote", "9 fields.* decimal commas"),
        (AUDIO, "12", "inf", 4, "f0", "infinite"),
        (AUDIO, "v4", "v3", 6, "video/utterance", "more than once"),
        (AUDIO, "utterance,", "name,", 1, "utterance", "missing"),
        (RATING, "Happy", "Merry", 2, "emotion", "unknown class 'Merry'"),
        (RATING, "22.2", "x", 2, "arousal", "'x' is not a finite"),
        (RATING, "-56.1", "nan", 2, "valence", "'nan' is not a finite"),
        (RATING, ",Happy", "", 2, None, "expected the fields"),
    ],
)
def test_bad_files_are_named(tmp_path, name, old, new, row, column, reason):
    assert old in FILES[name]
    folder = write(tmp_path, {name: FILES[name].replace(old, new, 1)})
    with refused(name.split("/")[-1], row, column, reason):
        read(folder)


def test_missing_files_are_named(tmp_path):
    with refused(TRAIN, reason="no such file"):
        read(write(tmp_path, {TRAIN: None}))
    write(tmp_path)
    (tmp_path / AUDIO).unlink()
    with refused(AUDIO, reason="no such file"):
        read(tmp_path)


def test_features_of_other_utterances_are_named(tmp_path):
    table = "video,utterance,f0\nx,utterance_1.mp4,1\n"
    reason = (
        "4 of 4 train .* no audio .*'v1_1/utterance_1.mp4', while .*'x/utterance_1'"
    )
    with refused(AUDIO, reason=reason):
        read(write(tmp_path, {AUDIO: table}))
    with refused(reason="no utterance has features in each of"):
        read(tmp_path, max_missing=1)


def test_a_partition_without_features_is_named(tmp_path):
    kept = [r for r in FILES[AUDIO].splitlines() if not r.startswith("v3")]
    with refused(AUDIO, reason="2 of 2 dev utterances have no audio"):
        read(write(tmp_path, {AUDIO: "\n".join(kept)}))
    with refused(reason="no recording in partition 'dev'"):
        read(tmp_path, max_missing=1)


@pytest.mark.parametrize("ending", [".wav", ".WAV", ".Mp4", ".mkv", ""])
def test_any_media_ending_of_an_id_is_cut_off(tmp_path, ending):
    expected = read(write(tmp_path))
    folder = write(tmp_path, {AUDIO: FILES[AUDIO].replace(".mp4", ending)})
    corpus = read_omg(folder, {"audio": folder / AUDIO, "video": folder / "video.csv"})
    assert corpus.recording.tolist() == expected.recording.tolist()
    for name, modality in expected.modalities.items():
        np.testing.assert_array_equal(corpus.modalities[name].values, modality.values)


def test_more_than_half_of_a_partition_may_be_missing_if_the_user_says_so(tmp_path):
    odd = FILES[AUDIO].replace("v1_1,utterance", "v1_1,u").replace("v1_3", "v1-3")
    options = {"path": write(tmp_path, {AUDIO: odd}), "impute": False}
    options |= {"target": "emotion", "links": "official", "frame_steps": {}}
    options["features"] = {m: tmp_path / f"{m}.csv" for m in ("audio", "video")}
    with refused(AUDIO, reason=r"4 of 4 train .*max_missing \(0.5\) allows more"):
        open_corpus("omg", options | {"max_missing": 0.5})
    kept = FILES[AUDIO].replace("v1_1", "v1-1")  # 3 of 4 train are missing
    write(tmp_path, {AUDIO: kept})
    corpus = open_corpus("omg", options | {"max_missing": 0.75})
    assert (corpus.partition == "train").sum() == 1


def test_any_number_of_modalities_is_read(tmp_path):
    text = FILES["video.csv"].replace("g0", "lsa0")
    write(tmp_path, {"lsa.csv": text})
    config = get_config("dimensions")
    config.corpus.path = str(tmp_path)
    config.corpus.features = {"video": "video.csv", "text": "lsa.csv"}
    sections = config.to_dict()
    corpus = open_corpus("omg", sections["corpus"])
    assert {*corpus.modalities} == {"video", "text"}
    assert corpus.targets == ("arousal", "valence") and not corpus.classes
    assert sections["evaluation"]["metric"] == "ccc_pooled"
    with pytest.raises(ValueError, match=r"omg\.py:sad; expected emotion or dimen"):
        get_config("sad")


def test_train_may_be_without_links_that_are_evaluated(tmp_path):
    shared = HEADER + f"{LINK}L1,30,31,v1_1,utterance_7.mp4,0.05,0.11,2\n"
    shared += f"{LINK}L3,0,4,v3,utterance_1.mp4,0.05,0.11,2\n"
    more = {
        "omg_ValidationVideos.csv": shared,
        "audio.csv": FILES["audio.csv"]
        + "v1_1,utterance_7.mp4,1,1\nv2,utterance_1.mp4,1,1\n",
        "video.csv": FILES["video.csv"] + "v1_1,utterance_7,1\n",
    }
    corpus = read(write(tmp_path, more), links="unseen")
    train = {*corpus.speaker[corpus.partition == "train"]}
    others = {*corpus.speaker[corpus.partition != "train"]}
    assert train == {"L2"} and others == {"L1", "L3", "L4"}
    assert "were left out: 3 of 4 train" in "\n".join(corpus.notes)
    assert {*read(tmp_path).speaker} == {"L1", "L2", "L3", "L4"}
    with pytest.raises(ValueError, match="links is 'new', expected 'official'"):
        read(tmp_path, links="new")


@pytest.mark.parametrize("target", ["anger", (), ("emotion", "arousal")])
def test_unknown_targets_are_refused(tmp_path, target):
    with pytest.raises(ValueError, match="expected 'emotion' or some of"):
        read(write(tmp_path), target=target)


def test_a_rating_without_header_is_read(tmp_path):
    raters = read(write(tmp_path, {RATING: "22.2,-56.1,Happy\n"})).raters
    assert raters["arousal"][1, 0] == pytest.approx(0.222)
    assert raters["emotion"][1, 0] == 3


def test_a_stray_number_among_the_raters_is_named(tmp_path):
    name = "DetailedAnnotation/validation/v3/utterance_1.mp4/20180101.txt"
    folder = write(tmp_path, {name: "arousal,valence,emotion\n1,1,Sad\n"})
    with refused("20180101.txt", reason="annotator below"):
        read(folder)


def test_a_name_too_long_for_a_folder_has_no_raters(tmp_path):
    train = FILES["omg_TrainVideos.csv"].replace("utterance_9.mp4", "u" * 300)
    audio = FILES["audio.csv"].replace("utterance_9.mp4", "u" * 300)
    video = FILES["video.csv"].replace("utterance_9", "u" * 300)
    changes = {"omg_TrainVideos.csv": train, "audio.csv": audio, "video.csv": video}
    corpus = read(write(tmp_path, changes))
    assert np.isnan(corpus.raters["arousal"][2]).all()


def test_tables_lie_in_the_folder_which_may_be_at_home(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    features = {"audio": AUDIO, "video": "video.csv"}
    entries = {"features": features, "target": "emotion", "links": "official"}
    entries |= {"impute": False, "max_missing": 0.5, "frame_steps": {}}
    found = open_corpus("omg", {"path": f"~/{tmp_path.name}", **entries})
    assert found.num_recordings == read(tmp_path).num_recordings
    assert found.source["path"] == str(tmp_path)
    assert found.source["features"]["audio"] == AUDIO
