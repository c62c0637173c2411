"""Frames with one label per recording: read, written, and refused where wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
from formats import refused

from ifusion.corpora.description import corpus_warnings, fingerprint
from ifusion.corpora.folder import read_corpus, write_corpus
from ifusion.corpora.splits import split_corpus
from ifusion.experiment.options import value_options
from ifusion.experiment.study import make_study

HEADER = {
    "name": "reviews",
    "task": "regression",
    "targets": ["sentiment"],
    "neutral": 0,
    "modalities": ["audio", "video"],
    "frame_steps": {"audio": 0.01, "video": 0.04},
}
PARTITIONS = {"a": "train", "b": "train", "c": "dev"}
LABELS = "recording,sentiment\na,-1\nb,2\nc,0.5\n"
TIMED = "recording,time,sentiment\na,0,-1\nb,0,2\nc,0,0.5\n"
LENGTHS = {"audio": {"a": 300, "b": 3, "c": 97}, "video": {"a": 75, "b": 1, "c": 24}}


def draw(seed=0):
    """{modality: {recording: (t, F)}}, sound at 100 Hz beside a picture at 25 fps."""
    rng = np.random.default_rng(seed)
    sizes = {"audio": 3, "video": 2}
    return {
        m: {r: 100 + rng.standard_normal((t, sizes[m])) for r, t in lengths.items()}
        for m, lengths in LENGTHS.items()
    }


def write(folder, frames, header=HEADER, changes=()):
    """Writes the folder, with (file, before, after) replaced in its files."""
    (folder / "features").mkdir(parents=True)
    text = {
        "corpus.json": json.dumps(header),
        "recordings.csv": "recording,partition,speaker\n"
        + "".join(f"{r},{p},{r}\n" for r, p in PARTITIONS.items()),
        "labels.csv": LABELS,
    }
    for m, recordings in frames.items():
        step = header["frame_steps"][m] if m in header.get("frame_steps", {}) else 0.01
        column = "step" if step is None else "time"
        names = [f"{m}_{k}" for k in range(len(next(iter(recordings.values()))[0]))]
        lines = [",".join(["recording", column, *names])]
        for r, values in recordings.items():
            for i, row in enumerate(values.tolist()):
                place = i if step is None else round(i * step, 9)
                lines.append(",".join(map(str, [r, place, *row])))
        text[f"features/{m}.csv"] = "\n".join(lines) + "\n"
    for file, before, after in changes:
        assert before in text[file]
        text[file] = text[file].replace(before, after, 1)
    for name, content in text.items():
        (folder / name).write_text(content, "utf-8")
    return folder


@pytest.mark.parametrize("known", [True, False])
def test_each_modality_keeps_its_own_frames(tmp_path, known):
    frames = draw()
    steps = HEADER["frame_steps"] if known else {"audio": None, "video": 0.04}
    corpus = read_corpus(write(tmp_path, frames, {**HEADER, "frame_steps": steps}))
    assert corpus.num_rows == 3 and corpus.frame_step is None
    names = [f"audio_{i}_{kind}" for kind in ("mean", "sd") for i in range(3)]
    assert corpus.modalities["audio"].names == tuple(names)
    for m, recordings in frames.items():
        own = corpus.frames[m]
        assert own.step == steps[m] and own.lengths.tolist() == [*LENGTHS[m].values()]
        np.testing.assert_array_equal(
            own.values, np.float32(np.concatenate([*recordings.values()]))
        )
        expected = [np.r_[x.mean(0), x.std(0)] for x in recordings.values()]
        np.testing.assert_allclose(corpus.modalities[m].values, expected, rtol=1e-5)
    assert corpus.notes == ()


def test_frames_are_what_is_trained_on(tmp_path, mesh):
    corpus = read_corpus(write(tmp_path, draw()))
    study = make_study(value_options(), split_corpus(corpus, False), mesh)
    assert study.protocol.num_features == {"audio": 3, "video": 2}
    assert study.functionals.num_features == {"audio": 6, "video": 4}


@pytest.mark.parametrize("features", ["csv", "parquet", "npz", "npy", "h5"])
def test_round_trip_is_exact(tmp_path, features):
    steps = {"audio": None, "video": 0.04}
    corpus = read_corpus(
        write(tmp_path / "a", draw(), {**HEADER, "frame_steps": steps})
    )
    write_corpus(corpus, tmp_path / "b", features)
    again = read_corpus(tmp_path / "b")
    for m, frames in corpus.frames.items():
        assert again.frames[m].names == frames.names
        assert again.frames[m].step == frames.step
        np.testing.assert_array_equal(again.frames[m].offsets, frames.offsets)
        np.testing.assert_array_equal(again.frames[m].values, frames.values)
    assert fingerprint(again) == fingerprint(corpus)


def test_the_fingerprint_covers_frames(tmp_path):
    corpus = read_corpus(write(tmp_path, draw()))
    values = corpus.frames["audio"].values.copy()
    values[[0, 1]] = values[[1, 0]]  # which their functionals do not tell
    swapped = replace(corpus.frames["audio"], values=values)
    other = replace(corpus, frames={**corpus.frames, "audio": swapped})
    assert fingerprint(other) != fingerprint(corpus)


def test_a_recording_a_thousand_times_as_long_is_told(tmp_path):
    frames = draw()
    frames["audio"]["a"] = np.tile(frames["audio"]["a"], (10, 1))
    corpus = read_corpus(write(tmp_path, frames))
    assert any("'a' has 3000 frames, 'b' only 3" in note for note in corpus.notes)


def test_rows_of_a_recording_need_not_stand_together(tmp_path):
    frames = draw()
    expected = read_corpus(write(tmp_path / "a", frames))
    folder = write(tmp_path / "b", frames)
    path = folder / "features/audio.csv"
    header, *lines = path.read_text("utf-8").splitlines()
    lines.sort(key=lambda line: float(line.split(",")[1]))
    path.write_text("\n".join([header, *lines]), "utf-8")
    np.testing.assert_array_equal(
        read_corpus(folder).modalities["audio"].values,
        expected.modalities["audio"].values,
    )


def test_missing_values_are_imputed_if_asked(tmp_path):
    frames = draw()
    frames["audio"]["a"][:, 0] = np.nan
    frames["audio"]["c"][5:, 1] = np.nan
    folder = write(tmp_path, frames)
    with refused("audio.csv", 2, "audio_0", "nan|missing|blank"):
        read_corpus(folder)
    corpus = read_corpus(folder, impute=True)
    audio = corpus.modalities["audio"].values
    assert np.isnan(audio[0, [0, 3]]).all() and np.isfinite(audio[0, [1, 2]]).all()
    few = frames["audio"]["c"][:5, 1]
    np.testing.assert_allclose(audio[2, [1, 4]], [few.mean(), few.std()], rtol=1e-5)


def test_a_recording_without_frames_is_named(tmp_path):
    frames = draw()
    del frames["video"]["b"]
    folder = write(tmp_path / "a", frames)
    words = "'b' has no row in .*video.csv; corpus.missing=leave_out leaves such"
    with refused("recordings.csv", 3, "recording", words):
        read_corpus(folder)
    with refused(None, None, None, "corpus.missing is 'drop', expected one of refuse"):
        read_corpus(folder, missing="drop")
    del frames["audio"]["b"]
    words = "'b' has no row in any table of features; expected one or more"
    with refused("recordings.csv", 3, "recording", words):
        read_corpus(write(tmp_path / "b", frames), missing="mask")
    corpus = read_corpus(tmp_path / "b", missing="leave_out")
    assert corpus.recording.tolist() == ["a", "c"]


@pytest.mark.parametrize("features", ["csv", "npz"])
def test_a_recording_without_frames_keeps_the_others_if_asked(tmp_path, features):
    frames = draw()
    del frames["video"]["b"], frames["audio"]["c"]
    corpus = read_corpus(write(tmp_path / "a", frames), missing="mask")
    assert corpus.recording.tolist() == ["a", "b", "c"]
    note = (
        "recordings without audio: 1 of 1 dev; without video: 1 of 2 train; they count "
        "for what they have"
    )
    assert corpus.notes == (note,)
    for m, own in frames.items():
        lengths = [len(own.get(r, ())) for r in "abc"]
        assert corpus.frames[m].lengths.tolist() == lengths
        blank = np.isnan(corpus.modalities[m].values).all(1)
        assert blank.tolist() == [n == 0 for n in lengths]
    assert not any("value" in x for x in corpus_warnings(corpus))
    write_corpus(replace(corpus, notes=()), tmp_path / "b", features)
    again = read_corpus(tmp_path / "b", missing="mask")
    assert fingerprint(again) == fingerprint(corpus) and again.notes == (note,)


def test_a_recording_without_frames_is_left_out_if_asked(tmp_path):
    frames = draw()
    expected = read_corpus(write(tmp_path / "a", frames))
    del frames["video"]["b"]
    corpus = read_corpus(write(tmp_path / "b", frames), missing="leave_out")
    assert "left out, since they lack a modality: b" in corpus.notes
    kept = expected.recording != "b"
    assert corpus.recording.tolist() == expected.recording[kept].tolist()
    np.testing.assert_array_equal(corpus.labels, expected.labels[kept])
    for m, x in expected.frames.items():
        rows = np.repeat(kept, x.lengths)
        np.testing.assert_array_equal(corpus.frames[m].values, x.values[rows])
        np.testing.assert_array_equal(corpus.frames[m].lengths, x.lengths[kept])
        values = expected.modalities[m].values[kept]
        np.testing.assert_array_equal(corpus.modalities[m].values, values)


@pytest.mark.parametrize(
    ("header", "change", "file", "row", "column", "words"),
    [
        (
            {"frame_step": 0.01},
            (),
            "corpus.json",
            None,
            None,
            "both 'frame_step'.*'frame_steps'",
        ),
        (
            {"frame_steps": {"audio": 0.01}},
            (),
            "corpus.json",
            None,
            None,
            "expected the modalities",
        ),
        (
            {"frame_steps": {"audio": 0.02, "video": 0.04}},
            (),
            "audio.csv",
            None,
            "time",
            "every 0.01 s, but .* every 0.02 s",
        ),
        (
            {},
            ("features/audio.csv", "a,0.02,", "a,0.005,"),
            "audio.csv",
            4,
            "time",
            "0.005 of recording",
        ),
        (
            {},
            ("labels.csv", LABELS, TIMED),
            "labels.csv",
            1,
            "time",
            "one label per recording",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, header, change, file, row, column, words):
    changed = {**HEADER, **header}
    frames = draw()
    listed = {**changed, "frame_steps": HEADER["frame_steps"]}
    folder = write(tmp_path, frames, listed, [change] if change else [])
    (folder / "corpus.json").write_text(json.dumps(changed))
    with refused(file, row, column, words):
        read_corpus(folder)
