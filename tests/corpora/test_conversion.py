"""Small files in the formats of other toolkits, made here, and the folders they become.

Axes: N recordings, T steps, F features.
"""

import json
import pickle
from contextlib import suppress

import h5py
import numpy as np
import pytest
from formats import refused
from mutation import mutate

from ifusion.corpora.conversion import (
    ConversionOptions,
    read_csd,
    read_mmsa,
    read_padded,
)
from ifusion.corpora.conversion.csd import common_step
from ifusion.corpora.conversion.frames import describe, join_frames
from ifusion.corpora.conversion.options import name_inputs, parse_frame_steps
from ifusion.corpora.conversion.padding import remove_padding
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.folder import read_corpus, write_corpus
from ifusion.corpora.tables.reading import read_table

# ---- MMSA ----------------------------------------------------------------------------


def part(ids, lengths=True, seed=0, **changes):
    """A part of an MMSA file: audio (N, 4, 2), vision (N, 3, 3), text (N, 2, 2)."""
    rng = np.random.default_rng(seed)
    num = len(ids)
    shapes = {"audio": (num, 4, 2), "vision": (num, 3, 3), "text": (num, 2, 2)}
    entries = {m: rng.normal(5, 1, s).astype(np.float32) for m, s in shapes.items()}
    entries["audio"][:, 3] = 0
    entries["vision"][:, 2] = 0
    codes = np.arange(num) % 2
    entries |= {
        "id": list(ids),
        "raw_text": ["=cmd|' /C calc'!A0"] * num,
        "text_bert": np.zeros((num, 3, 2), np.int64),
        "regression_labels": np.linspace(-1, 1, num).astype(np.float32),
        "classification_labels": codes,
        "annotations": [("Negative", "Positive")[i] for i in codes],
        "index": list(range(num)),
    }
    if lengths:
        entries |= {"audio_lengths": [3] * num, "vision_lengths": [2] * num}
    return {k: v for k, v in (entries | changes).items() if v is not None}


def parts(**changes):
    data = {
        "train": part(["v1$_$0", "v1$_$1", "-v2$_$0"]),
        "valid": part(["v3$_$2", "v3$_$3"], seed=1),
        "test": part(["v4$_$0"], seed=2),
    }
    data["train"] |= changes
    return data


def pickled(folder, data, protocol=4):
    path = folder / "small.pkl"
    path.write_bytes(pickle.dumps(data, protocol))
    return path


def mmsa(folder, data, **options):
    return read_mmsa([str(pickled(folder, data))], ConversionOptions(**options))


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet", "h5", "npy"])
def test_an_mmsa_file_becomes_a_folder(tmp_path, suffix):
    data = parts()
    corpus = mmsa(tmp_path, data)
    write_corpus(corpus, tmp_path / "out", suffix)
    header = json.loads((tmp_path / "out/corpus.json").read_text("utf-8"))
    assert header["name"] == "small" and header["task"] == "regression"
    assert header["targets"] == ["sentiment"] and "frame_step" not in header
    assert header["modalities"] == {"audio": 2, "vision": 3, "text": 2}
    assert header["frame_steps"] == {"audio": None, "vision": None, "text": None}
    rows = read_table(tmp_path / "out/recordings.csv", rest="text").text
    ids = ["v1$_$0", "v1$_$1", "-v2$_$0", "v3$_$2", "v3$_$3", "v4$_$0"]
    assert rows["recording"].tolist() == ids
    assert rows["partition"].tolist() == ["train"] * 3 + ["dev"] * 2 + ["test"]
    assert rows["speaker"].tolist() == ["v1", "v1", "-v2", "v3", "v3", "v4"]
    labels = read_table(tmp_path / "out/labels.csv", ("recording",), ("sentiment",))
    assert labels.text["recording"].tolist() == ids
    np.testing.assert_allclose(labels.numbers["sentiment"], [-1, 0, 1, -1, 1, -1])
    audio = read_table(
        tmp_path / f"out/features/audio.{suffix}", ("recording",), ("step",)
    )
    assert audio.text["recording"].tolist() == np.repeat(ids, 3).tolist()
    assert audio.numbers["step"].tolist() == [0, 1, 2] * 6
    assert audio.names == ("audio0", "audio1")
    values = np.concatenate([data[p]["audio"][:, :3].reshape(-1, 2) for p in data])
    np.testing.assert_allclose(audio.values, values, rtol=1e-6)


def test_a_known_step_becomes_times(tmp_path):
    corpus = mmsa(tmp_path, parts(), frame_steps={"vision": 0.04})
    write_corpus(corpus, tmp_path / "out", "csv")
    vision = read_table(tmp_path / "out/features/vision.csv", ("recording",), ("time",))
    assert vision.numbers["time"].tolist() == [0, 0.04] * 6
    header = json.loads((tmp_path / "out/corpus.json").read_text("utf-8"))
    assert header["frame_steps"]["vision"] == 0.04
    assert "vision 3 features, 2 to 2 frames every 0.04 s" in describe(corpus)


def test_without_lengths_rows_of_zeros_at_the_ends_are_padding(tmp_path):
    data = parts(audio_lengths=None)
    audio = data["train"]["audio"]
    audio[0, 0] = 0  # padded in front, as by the CMU MultimodalSDK
    audio[1, 1] = 0  # a frame of zeros, not padding
    audio[2] = 0  # nothing at all
    corpus = mmsa(tmp_path, data)
    assert corpus.frames["audio"].lengths.tolist() == [2, 3, 0, 3, 3, 3]
    np.testing.assert_array_equal(corpus.frames["audio"].values[:2], audio[0, 1:3])
    notes = "\n".join(corpus.notes)
    assert "audio: no lengths are given; rows of zeros at either end" in notes
    assert (
        "audio: 1 of 6 recordings have no frame, and no row in the table: -v2" in notes
    )
    write_corpus(corpus, tmp_path / "out", "npz")
    table = read_table(tmp_path / "out/features/audio.npz", ("recording",), ("step",))
    assert "-v2$_$0" not in table.text["recording"]
    assert read_corpus(tmp_path / "out", missing="mask").num_recordings == 6
    alone = mmsa(tmp_path, data, modalities=("audio",))
    assert alone.num_recordings == 5
    said = "1 of 6 recordings have no frame and are left out: -v2$_$0"
    assert said in alone.notes


def test_lengths_count_from_the_end_where_padding_is_in_front():
    front = np.array([[0.0], [0], [3], [4]])
    behind = np.array([[1.0], [2], [0], [0]])
    full = np.array([[1.0], [2], [3], [4]])
    real, notes = remove_padding("m", [front, behind, full], np.array([2] * 3), "abc")
    assert [r.ravel().tolist() for r in real] == [[3, 4], [1, 2], [1, 2]]
    assert len(notes) == 1 and "1 of 3 recordings have values beyond" in notes[0]
    real, notes = remove_padding("m", [full, full[:0]], np.array([4, 0]), "ab")
    assert [len(r) for r in real] == [4, 0] and not notes


def test_infinite_values_are_missing_and_counted(tmp_path):
    data = parts()
    data["train"]["audio"][0, 0] = [-np.inf, np.nan]
    corpus = mmsa(tmp_path, data)
    note = "audio: 2 of 36 values are missing (1 of them infinite) and stay missing"
    assert any(note in said and "corpus.impute" in said for said in corpus.notes)
    write_corpus(corpus, tmp_path / "out", "csv")
    lines = (tmp_path / "out/features/audio.csv").read_text().splitlines()
    assert lines[0] == "recording,step,audio0,audio1" and lines[1] == "v1$_$0,0,,"


def test_values_beyond_float32_are_missing():
    frames, lost = join_frames([np.array([[1e39, 1.0]]), np.empty((0, 2))], ["a", "b"])
    assert np.isnan(frames.values[0, 0]) and lost == 1
    assert frames.lengths.tolist() == [1, 0]


def test_classes_are_named_by_annotations_or_codes(tmp_path):
    corpus = mmsa(tmp_path, parts(), targets=("class",))
    assert corpus.classes == ("Negative", "Positive")
    expected = ["Negative", "Positive"]
    assert corpus.labels[:2, 0].tolist() == [0, 1]
    write_corpus(corpus, tmp_path / "out")
    labels = read_table(tmp_path / "out/labels.csv", rest="text").text["class"]
    assert labels[:2].tolist() == expected
    header = json.loads((tmp_path / "out/corpus.json").read_text("utf-8"))
    assert (header["task"], header["classes"]) == ("classification", expected)
    corpus = mmsa(tmp_path, parts(annotations=None) | {
        "train": part(["a$_$0", "b$_$0"], annotations=None)
    }, targets=("class",))  # fmt: skip
    assert corpus.classes == ("0", "1")


def test_text_may_be_absent_and_modalities_chosen(tmp_path):
    data = parts()
    for entries in data.values():
        del entries["text"]
    assert list(mmsa(tmp_path, data).modalities) == ["audio", "vision"]
    corpus = mmsa(tmp_path, data, modalities=("vision",))
    assert list(corpus.modalities) == ["vision"]
    del data["test"]["vision"]
    corpus = mmsa(tmp_path, data)
    assert list(corpus.modalities) == ["audio"]
    assert "vision is left out: test has none" in corpus.notes


def test_other_forms_of_ids_labels_and_arrays_are_read(tmp_path):
    data = parts(
        id=np.array([["v1", "0"], ["v1", "1"], ["v2", "0"]]),
        regression_labels=[np.float32(1), -1.0, np.array([[0.5]])],
        audio=[np.ones((n, 2)) for n in (1, 2, 3)],
        audio_lengths=np.array([1.0, 2.0, 3.0]),
    )
    data["valid"]["id"] = np.array([b"v3$_$2", b"v3$_$3"])
    data["test"]["id"] = np.array(["v4$_$0"], object)
    corpus = mmsa(tmp_path, data)
    assert corpus.recording[:3].tolist() == ["v1$_$0", "v1$_$1", "v2$_$0"]
    assert corpus.labels[:3, 0].tolist() == [1, -1, 0.5]
    assert np.diff(corpus.frames["audio"].offsets)[:3].tolist() == [1, 2, 3]


ONES = np.ones((3, 4, 2), np.float32)
BOMB = [0.0]
for _ in range(60):
    BOMB = [BOMB, BOMB]


# (changes of train, column, reason)
BAD_MMSA = [
    ({"audio": ONES[0]}, "train/audio", r"shape \(4, 2\), expected .recordings, steps"),
    ({"audio": ONES[:2]}, "train/audio", "has 2 recordings, train/id has 3"),
    ({"audio": ONES[:, :, :0]}, "train/audio", "has shape"),
    ({"audio": "loud"}, "train/audio", "holds a str, expected an array"),
    ({"audio": None}, "train/audio", "holds a NoneType"),
    ({"audio": BOMB}, "train/audio", "holds a list of list, expected numbers"),
    ({"audio": ONES.astype(str)}, "train/audio", "holds a array of <U"),
    ({"audio": [ONES[0], ONES[0][:, :1], ONES[0]]}, "train/audio", "the first"),
    ({"audio_lengths": [3, 3]}, "train/audio_lengths", r"shape \(2,\), .* of 3 rec"),
    ({"audio_lengths": [3, 5, 3]}, "train/audio_lengths", "length 5 is not between 0"),
    ({"audio_lengths": [3, -1, 3]}, "train/audio_lengths", "length -1 is not"),
    ({"audio_lengths": [3, 1.5, 3]}, "train/audio_lengths", "1.5 is not a whole"),
    ({"audio_lengths": [3, np.nan, 3]}, "train/audio_lengths", "nan is not a whole"),
    ({"audio_lengths": [3, 2**70, 3]}, "train/audio_lengths", "not a whole number"),
    ({"audio_lengths": BOMB}, "train/audio_lengths", "holds a list of list, expected"),
    ({"id": ["a", "b"]}, "train/regression_labels", "one number for each of 2 rec"),
    ({"id": 3}, "train/id", "holds a int, expected text"),
    ({"id": [1.5, 2, 3]}, "train/id", "holds a float, expected text"),
    ({"id": BOMB}, "train/id", "holds a list of list, expected text"),
    ({"id": ["a", "b", "c" * 2000]}, "train/id", "a text has 2000 characters"),
    ({"id": ["a", "b", "a"]}, None, "recording 'a' occurs more than once"),
    ({"id": ["a", "b", "v4$_$0"]}, None, r"'v4\$_\$0' occurs more than once"),
    ({"id": ["a", "b", "\x1b[2J"]}, None, "control character"),
    ({"id": ["a", "b", "=cmd()"]}, None, "is a formula"),
    ({"id": ["a", "b", ""]}, None, "a recording has no name"),
    ({"regression_labels": ["x"] * 3}, "train/regression_labels", "expected numbers"),
    ({"regression_labels": [1.0]}, "train/regression_labels", r"shape \(1,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "column", "reason"), BAD_MMSA)
def test_bad_entries_of_mmsa_are_named(tmp_path, changes, column, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        mmsa(tmp_path, parts(**changes))
    assert caught.value.column == column and caught.value.file.name == "small.pkl"


def test_train_of_mmsa_may_lack_labels(tmp_path):
    corpus = mmsa(tmp_path, parts(regression_labels=[1, np.nan, 1]))
    said = "1 of 3 recordings of train have no label and count as unlabelled: v1$_$1"
    assert said in corpus.notes
    write_corpus(corpus, tmp_path / "out", "npz")
    read = read_corpus(tmp_path / "out", impute=True)
    assert (read.partition == "unlabelled").tolist().count(True) == 1


def test_bad_files_of_mmsa_are_named(tmp_path):
    with refused("small.pkl", reason="holds a list, expected a dict of"):
        mmsa(tmp_path, [1])
    with refused("small.pkl", reason="there is no part 'valid', found train, dev"):
        mmsa(tmp_path, {"train": {}, "dev": {}})
    with refused("small.pkl", None, "valid", "holds a int, expected a dict"):
        mmsa(tmp_path, parts() | {"valid": 3})
    with refused("small.pkl", None, "train/id", "is missing, found audio, "):
        mmsa(tmp_path, parts() | {"train": part(["a"], id=None)})
    with refused("small.pkl", reason="there is no modality 'video', found audio, vis"):
        mmsa(tmp_path, parts(), modalities=("video",))
    with refused(reason="target joy; expected sentiment or class"):
        mmsa(tmp_path, parts(), targets=("joy",))
    with refused(reason="--labels does not apply to MMSA"):
        mmsa(tmp_path, parts(), labels=tmp_path)
    with refused(reason="found 2 input files"):
        read_mmsa(["a", "b"], ConversionOptions())
    contradictory = parts(annotations=["Negative", "Positive", "Positive"])
    with refused("small.pkl", None, "train/annotations", "contradict each other"):
        mmsa(tmp_path, contradictory, targets=("class",))
    blank = part(["v3$_$2"], regression_labels=[np.nan])
    with refused("small.pkl", reason=r"'v3\$_\$2' of partition 'dev' has no"):
        mmsa(tmp_path, parts() | {"valid": blank})
    empty = {name: part([]) for name in ("train", "valid", "test")}
    with pytest.raises(ValueError, match=r"no recordings|expected one number"):
        mmsa(tmp_path, empty)


def test_a_modality_without_any_frame_is_refused(tmp_path):
    data = parts()
    for entries in data.values():
        entries["vision"][:] = 0
        del entries["vision_lengths"]
    with refused("small.pkl", reason="no recording has a frame of vision"):
        mmsa(tmp_path, data)


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    corpus = mmsa(tmp_path, parts())
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with refused("full", reason="already exists and is not an empty folder"):
        write_corpus(corpus, tmp_path / "full")

    with refused(reason="format 'xlsx', expected one of"):
        write_corpus(corpus, tmp_path / "out", "xlsx")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("ifusion.corpora.folder.writing.write_features", fail)
    with pytest.raises(OSError, match="disk full"):
        write_corpus(corpus, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "small.pkl"]


# ---- the CMU MultimodalSDK -----------------------------------------------------------


def sequence(path, root, videos, **metadata):
    """Writes a computational sequence: {video: (features, intervals)}."""
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in videos.items():
            group = file.create_group(f"{root}/data/{video}")
            group["features"], group["intervals"] = features, intervals
        for key, value in metadata.items():
            text = file.create_dataset(
                f"{root}/metadata/{key.replace('_', ' ')}", (1,), h5py.string_dtype()
            )
            text[0] = json.dumps(value)
    return path


def regular(count, step, start=0.0):
    begins = start + step * np.arange(count)
    features = np.stack([np.arange(count), np.arange(count) + 0.5], 1)
    return features.astype(np.float32), np.stack([begins, begins + step], 1)


LABELS = {
    "v1": ([[1.0], [-2.0]], [[0.0, 0.35], [0.35, 1.0]]),
    "v2": ([[3.0]], [[0.5, 1.0]]),
    "v3": ([[0.5]], [[0.0, 1.0]]),
    "v4": ([[0.0], [1.0]], [[0.0, 0.5], [0.5, 0.500001]]),
}
SPLIT = "video,partition\nv1,train\nv2,valid\nv3,test\n"


def csd(folder, labels=None, split=SPLIT, audio=None, vision=None, **options):
    audio = audio or {f"v{i}": regular(10, 0.1) for i in (1, 2, 3)}
    vision = vision or {
        "v1": (np.arange(4.0)[:, None], [[0, 0.2], [0.2, 0.4], [0.6, 0.9], [2, 3]]),
        "v3": ([[7.0]], [[0.0, 5.0]]),
    }
    sequence(folder / "a.csd", "COVAREP", audio, dimension_names=["f0", "VUV"])
    sequence(folder / "v.csd", "FACET 4.2", vision)
    facts = {"dataset_bib_citation": "Zadeh 2016"}
    sequence(folder / "l.csd", "Opinion Labels", labels or LABELS, **facts)
    (folder / "split.csv").write_text(split)
    chosen = {"labels": folder / "l.csd", "split": folder / "split.csv"} | options
    inputs = [f"audio={folder / 'a.csd'}", str(folder / "v.csd")]
    return read_csd(inputs, ConversionOptions(**chosen))


def test_sequences_are_cut_to_the_segments_of_the_labels(tmp_path):
    corpus = csd(tmp_path)
    assert corpus.recording.tolist() == ["v1[0]", "v1[1]", "v2[0]", "v3[0]"]
    assert corpus.partition.tolist() == ["train", "train", "dev", "test"]
    assert corpus.speaker.tolist() == ["v1", "v1", "v2", "v3"]
    assert corpus.labels.ravel().tolist() == [1, -2, 3, 0.5]
    assert (corpus.targets, corpus.citation) == (("sentiment",), "Zadeh 2016")
    assert corpus.attributes["start"].tolist() == ["0", "0.35", "0.5", "0"]
    audio = corpus.frames["audio"]
    assert audio.names == ("f0", "VUV") and audio.step == pytest.approx(0.1)
    # the frame from 0.3 to 0.4 s is of both segments of v1
    expected = [*range(4), *range(3, 10), *range(5, 10), *range(10)]
    assert audio.values[:, 0].tolist() == expected
    vision = corpus.frames["FACET 4.2"]
    assert vision.step is None and vision.names == ("FACET 4.20",)
    assert vision.values[~np.isnan(vision.values)].tolist() == [0, 1, 1, 2, 7]
    assert vision.lengths.tolist() == [2, 2, 0, 1]
    notes = "\n".join(corpus.notes)
    assert "FACET 4.2: 1 of 4 recordings have no frame" in notes and "v2[0]" in notes
    assert "names no partition of 1 of 5 recordings" in notes and "v4[0]" in notes
    write_corpus(corpus, tmp_path / "out", "csv")
    table = read_table(tmp_path / "out/features/audio.csv", ("recording",), ("time",))
    np.testing.assert_allclose(table.numbers["time"][:4], [0, 0.1, 0.2, 0.3], atol=1e-9)


def reference_rows(intervals, start, end, epsilon=1e-5):
    """Frame by frame, what the SDK's `align` keeps, written from its description."""
    rows = []
    for row, (begin, stop) in enumerate(intervals):
        touches = begin < end + epsilon and stop > start - epsilon
        if touches and abs(min(stop, end) - max(begin, start)) > epsilon:
            rows.append(row)
    return rows


def test_overlap_is_that_of_the_sdk(tmp_path):
    rng = np.random.default_rng(0)
    begins = np.sort([*rng.uniform(0, 10, 190), *[4.0] * 10])
    ends = begins + rng.choice([0, 1e-6, 0.05, 2], 200)
    ends[begins == 4] = [4.0, 4.000001, 4.00002, 4.1, 4.5, 4.6, 9, 4, 4, 4]
    frames = (np.arange(200.0)[:, None], np.stack([begins, ends], 1))
    cuts = [[0, 4], [4, 4.5], [4.5, 9], [9, 12]]
    labels = {"v1": (np.zeros((4, 1)), cuts), "v2": ([[0.0]], [[0, 10]])}
    videos = {"v1": frames, "v2": frames}
    corpus = csd(tmp_path, labels, audio=videos, vision=videos)
    found = corpus.frames["FACET 4.2"]
    for i, (start, end) in enumerate(cuts):
        own = found.values[found.offsets[i] : found.offsets[i + 1], 0]
        assert own.tolist() == reference_rows(frames[1], start, end)


def test_sequences_that_are_aligned_already_are_joined(tmp_path):
    whole = {f"v{i}": regular(10, 0.1) for i in (1, 2, 3)}
    features, intervals = whole["v1"]
    split = {
        "v1[1]": (features[6:], intervals[6:]),
        "v1[0]": (features[:6], intervals[:6]),
    }
    one = csd(tmp_path, audio=whole).frames["audio"]
    two = csd(tmp_path, audio=whole | split | {"v1": whole["v1"]}).frames["audio"]
    assert len(two.values) == 2 * 11 + 15  # of v1 twice
    del whole["v1"]
    two = csd(tmp_path, audio=whole | split).frames["audio"]
    np.testing.assert_array_equal(one.values, two.values)
    labels = {"v1[7]": ([[1.0]], [[0, 0.35]]), **{k: LABELS[k] for k in ("v2", "v3")}}
    assert csd(tmp_path, labels).recording[0] == "v1[7]"


def test_columns_of_labels_are_named(tmp_path):
    labels = {v: (np.ones((len(i), 2)), i) for v, (_, i) in LABELS.items()}
    with refused("l.csd", reason="the labels have 2 columns, .* --target"):
        csd(tmp_path, labels)
    corpus = csd(tmp_path, labels, targets=("sentiment", "joy"))
    assert corpus.labels.shape == (4, 2)
    with refused("l.csd", reason="the labels have 2 columns"):
        csd(tmp_path, labels, targets=("joy", "joy"))


TWO = [[0.0, 1.0]]
NAN = [[0.0, np.nan]]
BAD_CSD = [
    ({"audio": {"v1": ([[1.0]], [[0.0, 1.0], [1.0, 2.0]])}}, "a.csd", "has shape"),
    ({"audio": {"v1": (np.ones((1, 2, 2)), TWO)}}, "a.csd", "has shape"),
    ({"audio": {"v1": ([[1.0]], NAN)}}, "a.csd", "not a beginning and an end"),
    ({"audio": {"v1": ([[1.0]], [[1.0, 0.5]])}}, "a.csd", "not a beginning and an end"),
    ({"audio": {"v1": ([[b"um"]], TWO)}}, "a.csd", "expected numbers"),
    ({"audio": {"x": ([[1.0]], TWO)}}, "a.csd", "'COVAREP' has no video of the labels"),
    ({"audio": {"v1": ([[1.0]], TWO), "v2": ([[1.0, 2]], TWO)}}, "a.csd", "2 features"),
    ({"labels": {"v1": ([[1.0]], TWO), "v2": ([[1.0, 2]], TWO)}}, "l.csd", "2 labels"),
    ({"labels": {"v1": ([[1.0]], [[1.0, 1.0]])}}, "l.csd", "no segment has a length"),
    (
        {"labels": {"v1": ([[np.nan]], TWO)}, "split": "video,partition\nv1,valid\n"},
        "l.csd",
        r"'v1\[0\]' of partition 'dev' has no label",
    ),
    ({"split": "name,partition\nv1,train\n"}, "split.csv", "'recording' or 'video'"),
    ({"split": "video,partition\nv1,trian\n"}, "split.csv", "'trian', expected one of"),
    ({"split": "video,partition\nv1,dev\nv1,dev\n"}, "split.csv", "more than once"),
    ({"split": "video,partition\nx,train\n"}, "split.csv", "names no video of the"),
]


@pytest.mark.parametrize(("changes", "file", "reason"), BAD_CSD)
def test_bad_sequences_are_named(tmp_path, changes, file, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        csd(tmp_path, **changes)
    assert caught.value.file.name == file


def test_other_files_than_sequences_are_named(tmp_path):
    csd(tmp_path)
    options = ConversionOptions(labels=tmp_path / "l.csd", split=tmp_path / "split.csv")
    other = tmp_path / "other.csd"
    with h5py.File(other, "w") as file:
        file["x"] = [1.0]
    with refused("other.csd", reason="expected one group, .* found no group"):
        read_csd([str(other)], options)
    with h5py.File(other, "w") as file:
        file["COVAREP"] = h5py.ExternalLink(tmp_path / "a.csd", "COVAREP")
    with refused("other.csd", reason="expected one group"):
        read_csd([str(other)], options)
    with h5py.File(other, "w") as file:
        file.create_group("COVAREP/data")
        file["COVAREP/data/v1"] = h5py.ExternalLink("a.csd", "COVAREP/data/v1")
    with refused("other.csd", reason="data/v1 is not a group of this file"):
        read_csd([str(other)], options)
    with h5py.File(other, "w") as file:
        file.create_group("COVAREP/data/v1")["features"] = [[1.0]]
    with refused("other.csd", None, "COVAREP/data/v1/intervals", "is missing"):
        read_csd([str(other)], options)
    other.write_text("a,b\n1,2\n")
    with refused("other.csd", reason="not a readable HDF5 file"):
        read_csd([str(other)], options)
    with refused("gone.csd", reason="no such file"):
        read_csd([str(tmp_path / "gone.csd")], options)
    with refused(reason="need --labels"):
        read_csd([str(other)], ConversionOptions())
    with refused("a.csd", reason="modality 'COVAREP' occurs more than once"):
        read_csd([str(tmp_path / "a.csd")] * 2, options)


def test_a_step_is_common_to_all_recordings():
    step = 1 / 30
    times = [
        step * np.arange(n) + s for n, s in ((900, 0.0), (2, -0.01), (1, 3), (0, 0))
    ]
    assert common_step(times) == pytest.approx(step, abs=1e-9)
    assert common_step([*times, np.array([0, 0.1])]) is None  # a gap
    assert common_step([np.array([0.0]), np.array([1.0])]) is None
    assert common_step([np.zeros(3)]) is None


# ---- arrays --------------------------------------------------------------------------

ARRAYS = {
    "audio": np.arange(24, dtype=np.float64).reshape(3, 4, 2) + 1,
    "audio_lengths": np.array([4, 2, 1]),
    "audio_names": np.array(["loudness", "pitch"]),
    "video": np.ones((3, 2, 1), np.uint8),
    "labels": np.array([0.5, -1, 2]),
    "recording": np.array(["a", "b", "c"]),
    "partition": np.array(["train", "valid", "test"]),
    "speaker": np.array(["1", "2", "3"]),
}


def arrays(folder, changes=None, **options):
    found = {k: v for k, v in (ARRAYS | (changes or {})).items() if v is not None}
    np.savez(folder / "x.npz", **found)
    return read_padded([str(folder / "x.npz")], ConversionOptions(**options))


def test_arrays_are_read_from_npz_and_npy(tmp_path):
    whole = arrays(tmp_path)
    assert whole.recording.tolist() == ["a", "b", "c"]
    assert whole.partition.tolist() == ["train", "dev", "test"]
    assert whole.labels.tolist() == [[0.5], [-1], [2]] and whole.targets == ("label",)
    audio = whole.frames["audio"]
    assert audio.names == ("loudness", "pitch")
    assert np.diff(audio.offsets).tolist() == [4, 2, 1]
    # beyond the lengths of b and c stand values, which is said
    assert any("2 of 3 recordings have values beyond" in n for n in whole.notes)
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array)
    files = [str(tmp_path / f"{name}.npy") for name in ARRAYS if name != "audio"]
    (tmp_path / "audio.npy").rename(tmp_path / "sound.npy")
    parts = read_padded(
        [f"audio={tmp_path / 'sound.npy'}", *files], ConversionOptions()
    )
    assert list(parts.modalities) == ["audio", "video"]
    for name, frames in parts.frames.items():
        np.testing.assert_array_equal(frames.values, whole.frames[name].values)


def test_arrays_have_defaults(tmp_path):
    (tmp_path / "s.csv").write_text("recording;partition\nr0;train\nr2;dev\n")
    changes = dict.fromkeys(("recording", "partition", "speaker", "audio_lengths"))
    audio = ARRAYS["audio"].copy()
    audio[2, 1:] = 0
    corpus = arrays(tmp_path, changes | {"audio": audio}, split=tmp_path / "s.csv")
    assert corpus.recording.tolist() == corpus.speaker.tolist() == ["r0", "r2"]
    assert corpus.labels.ravel().tolist() == [0.5, 2]
    assert np.diff(corpus.frames["audio"].offsets).tolist() == [4, 1]


def test_labels_of_arrays_are_values_names_or_codes(tmp_path):
    two = {"labels": np.ones((3, 2)), "targets": np.array(["arousal", "valence"])}
    assert arrays(tmp_path, two).targets == ("arousal", "valence")
    assert arrays(tmp_path, targets=("joy",)).targets == ("joy",)
    named = arrays(tmp_path, {"labels": np.array(["sad", "calm", ""])})
    assert named.classes == ("calm", "sad")
    assert named.labels.ravel().tolist() == [1, 0, -1]
    codes = {"labels": np.array([1, 0, -1]), "classes": np.array(["calm", "sad"])}
    coded = arrays(tmp_path, codes)
    assert coded.classes == ("calm", "sad")
    assert coded.labels.ravel().tolist() == [1, 0, -1]


# (changes, column, reason)
BAD_ARRAYS = [
    ({"labels": None}, "labels", "is missing, found audio"),
    ({"partition": None}, None, "expected an array `partition`, or else"),
    ({"partition": np.array(["train", "dve", "dev"])}, "partition", "'dve', expected"),
    ({"partition": np.array(["train", "dev"])}, "partition", "has 2 recordings"),
    ({"labels": np.ones(2)}, "labels", r"shape \(2,\), expected \(3,\)"),
    ({"labels": np.ones((3, 2))}, "labels", "has 2 columns"),
    ({"labels": np.ones(3, complex)}, "labels", "array of complex128"),
    ({"labels": np.ones(3), "classes": np.array(["a"])}, "labels", "indices of 1 cl"),
    ({"labels": np.array(["x", "a", "a"]), "classes": np.array(["a", "b"])}, "labels",
     "unknown class 'x'"),
    ({"video": np.ones((3, 2))}, "video", r"shape \(3, 2\), expected \(recordings"),
    ({"video": np.ones((2, 2, 1))}, "video", "has 2 recordings, audio has 3"),
    ({"audio_lengths": np.array([5, 1, 1])}, "audio_lengths", "length 5 is not"),
    ({"audio_names": np.array(["a", "a"])}, "audio_names", "2 distinct names"),
    ({"audio_names": np.array(["label", "a"])}, "audio_names", "2 distinct names"),
    ({"audio": np.array([[[None]]])}, "audio", "Python objects|never unpickled"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "column", "reason"), BAD_ARRAYS)
def test_bad_arrays_are_named(tmp_path, changes, column, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        arrays(tmp_path, changes)
    assert caught.value.column == column and caught.value.file.name == "x.npz"


def test_other_files_than_arrays_are_named(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    with refused("x.csv", reason="expected a file ending in .npz or .npy"):
        read_padded([str(tmp_path / "x.csv")], ConversionOptions())
    (tmp_path / "x.npz").write_text("a\n1\n")
    with refused("x.npz", reason="not a readable npz file"):
        read_padded([str(tmp_path / "x.npz")], ConversionOptions())
    np.save(tmp_path / "labels.npy", np.array([None]), allow_pickle=True)
    with refused("labels.npy", reason="not a readable npy file"):
        read_padded([str(tmp_path / "labels.npy")], ConversionOptions())
    np.savez(tmp_path / "x.npz", **ARRAYS)
    with refused("x.npz", None, "audio", "the array is in x.npz, too"):
        read_padded([str(tmp_path / "x.npz")] * 2, ConversionOptions())


def test_flags_are_read(tmp_path):
    assert parse_frame_steps(["audio:0.01", "a:b:1"]) == {"audio": 0.01, "a:b": 1.0}
    for wrong in ("audio", "audio:", "audio:x", ":1", "audio:0", "audio:nan"):
        with refused(reason="expected MODALITY:SECONDS"):
            parse_frame_steps([wrong])
    odd = tmp_path / "a=b.npz"
    odd.write_text("")
    found = name_inputs(["a=b", str(odd)])
    assert [(n, p.name) for n, p in found] == [("a", "b"), ("", "a=b.npz")]
    with refused(reason="no input file is given"):
        name_inputs([])


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_damaged_files_of_mmsa_are_read_or_named(tmp_path, protocol):
    rng = np.random.default_rng(protocol)
    path = pickled(tmp_path, parts(), protocol)
    data = path.read_bytes()
    for _ in range(150):
        path.write_bytes(mutate(rng, data, "bytes"))
        with suppress(CorpusError):
            read_mmsa([str(path)], ConversionOptions(targets=("class",)))


def test_damaged_sequences_are_read_or_named(tmp_path):
    csd(tmp_path)
    rng = np.random.default_rng(0)
    options = ConversionOptions(labels=tmp_path / "l.csd", split=tmp_path / "split.csv")
    path = tmp_path / "a.csd"
    data = path.read_bytes()
    for _ in range(50):
        path.write_bytes(mutate(rng, data, "bytes"))
        with suppress(CorpusError):
            read_csd([str(path)], options)
