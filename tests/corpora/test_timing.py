"""What times of a folder tell of units, stamps, rates and drift."""

import json

import pytest
from formats import refused

from ifusion.corpora.description import corpus_warnings
from ifusion.corpora.folder import read_corpus
from ifusion.corpora.timing import step_warnings

PARTS = {"a": "train", "b": "train", "c": "dev", "d": "test"}
SAME = dict.fromkeys(PARTS, 40)


def rows(lengths, step, start=0.0):
    """Times of each recording, and values that count up."""
    return "".join(
        f"{name},{start + step * t:.6g},{1000 * 'abcd'.index(name) + t}\n"
        for name, length in lengths.items()
        for t in range(length)
    )


def write(folder, step=0.5, lengths=SAME, raters="", **files):
    """A folder of four recordings; of each file, (lengths, step, start)."""
    usual = (lengths, step, 0.0)
    audio, video, labels = (files.get(k, usual) for k in ("audio", "video", "labels"))
    text = {
        "corpus.json": json.dumps(
            {
                "name": "four",
                "task": "regression",
                "targets": ["arousal"],
                "frame_step": step,
                "modalities": ["audio", "video"],
            }
        ),
        "recordings.csv": "recording,partition,speaker\n"
        + "".join(f"{name},{part},{name}\n" for name, part in PARTS.items()),
        "labels.csv": f"recording,time,arousal\n{rows(*labels)}",
        "features/audio.csv": f"recording,time,f\n{rows(*audio)}",
        "features/video.csv": f"recording,time,g\n{rows(*video)}",
    }
    if raters:
        text["raters.csv"] = f"recording,time,rater,arousal\n{raters}"
    (folder / "features").mkdir(parents=True)
    for name, content in text.items():
        (folder / name).write_text(content, "utf-8")
    return folder


def test_times_that_agree_are_not_doubted(tmp_path):
    corpus = read_corpus(write(tmp_path), tolerance=5)
    assert corpus.notes == () == tuple(step_warnings(corpus))


def test_a_frame_step_in_ms_is_doubted(tmp_path):
    corpus = read_corpus(write(tmp_path, 40))
    (warning,) = [s for s in corpus_warnings(corpus) if "frame step" in s]
    assert warning.startswith("The frame step is 40 s; if times are in ms")
    assert "frame_step (0.04)" in warning


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        (500, "are times in ms. Write them in seconds"),
        (0.1, r"average to a row every 0\.5 s, or change the frame step if all"),
        (1.0, r"interpolate to a row every 0\.5 s \(if times number frames, mul"),
        (2.0, r"interpolate to a row every 0\.5 s, or change the frame step if"),
    ],
)
def test_another_rate_is_named_and_what_to_do_about_it(tmp_path, step, hint):
    write(tmp_path, video=(SAME, step, 0.0))
    reason = rf"belongs to a frame step of {step:g} s.*\(frame step 0.5 s\); {hint}"
    with refused("video.csv", 3, "time", reason):
        read_corpus(tmp_path)


@pytest.mark.parametrize(("step", "unit"), [(25, "Hz"), (40, "ms")])
def test_a_frame_step_in_another_unit_is_told(tmp_path, step, unit):
    write(tmp_path, step, audio=(SAME, 0.04, 0.0))
    reason = rf"\(frame step {step} s\); is frame_step in {unit}\? Write 0\.04, in sec"
    with refused("audio.csv", 3, "time", reason):
        read_corpus(tmp_path)


def test_rows_in_no_order_are_told(tmp_path):
    path = write(tmp_path) / "features/audio.csv"
    head, *lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([head, *lines[1:40], lines[0], *lines[40:]]), "utf-8")
    with refused("audio.csv", 41, "time", "its rows are not in order of time: sort"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_stamps_inside_the_window_are_told(tmp_path, share):
    write(tmp_path, labels=(SAME, 0.5, 0.5 * share))
    (note,) = read_corpus(tmp_path).notes
    assert note.startswith(
        f"labels.csv begins {0.5 * share:.3g} s ({share:g} of a frame step) after "
        f"audio in 4 of 4 recordings (in a at {0.5 * share:.3g} s, not 0 s)"
    )
    assert "Row 1 of labels.csv was matched with row 1 of audio" in note


def test_stamps_at_the_end_of_windows_are_told(tmp_path):
    write(tmp_path, labels=(SAME, 0.5, 0.5))
    reason = "starts at 0.5 s, in .*audio.csv at 0 s; change the times of one, or let"
    with refused("labels.csv", 2, "time", reason):
        read_corpus(tmp_path)
    corpus = read_corpus(tmp_path, tolerance=1)
    assert corpus.labels[:3, 0].tolist() == [0, 1, 2]
    assert corpus.modalities["audio"].values[:3, 0].tolist() == [1, 2, 3]
    note, cut = corpus.notes
    assert note.startswith("labels.csv begins 0.5 s (1 of a frame step) after audio")
    assert "Row 1 of labels.csv was matched with row 2 of audio" in note
    assert cut.startswith("4 of 4 recordings were cut to the frames that all files")
    assert "(audio 40 from 0 s, video 40 from 0 s, labels.csv 40 from 0.5 s)" in cut


def test_stamps_of_the_first_file_are_told_too(tmp_path):
    write(tmp_path, audio=(SAME, 0.5, 1.0))
    *notes, _ = read_corpus(tmp_path, tolerance=2).notes
    assert [note.split(",")[0] for note in notes] == [
        f"{name} begins 1 s (2 of a frame step) before audio in 4 of 4 recordings "
        "(in a at 0 s"
        for name in ("video", "labels.csv")
    ]
    assert all("was matched with row 1 of audio" in note for note in notes)
    assert notes[0].count("Row 3 of video") == 1


LENGTHS = {"a": 500, "b": 250, "c": 1000, "d": 750}
DRIFTED = {name: round(0.98 * n) for name, n in LENGTHS.items()}
CUT = {name: n - 10 for name, n in LENGTHS.items()}
LEVEL, SHORTER = dict.fromkeys(PARTS, 500), dict.fromkeys(PARTS, 490)


@pytest.mark.parametrize(
    ("whole", "shorter", "kind"),
    [
        (LENGTHS, DRIFTED, "a drift."),
        (LENGTHS, CUT, None),
        (LEVEL, SHORTER, "a drift or an early end."),
    ],
)
def test_a_drift_is_told_from_an_early_end(tmp_path, whole, shorter, kind):
    write(tmp_path, lengths=whole, video=(shorter, 0.5, 0.0))
    *notes, _ = read_corpus(tmp_path, tolerance=30).notes
    if kind is None:
        assert notes == []
        return
    (note,) = notes
    assert note.startswith("video has 2 % fewer rows than audio from the same start")
    assert f"in 4 recordings: {kind} If it is a drift (a rate of 1.96 rows per" in note
    assert "resample video to a row every 0.5 s" in note


def rated(step, count, order="time", start=0.0):
    times = [f"{start + step * t:.6g}" for t in range(count)]
    pairs = [(t, r) for t in times for r in "xy"]
    if order == "rater":
        pairs = [(t, r) for r in "xy" for t in times]
    return "".join(f"a,{t},{r},1\n" for t, r in pairs)


def test_stamps_of_ratings_are_told(tmp_path):
    write(tmp_path / "centre", raters=rated(0.5, 40, start=0.25))
    corpus = read_corpus(tmp_path / "centre")
    assert (corpus.raters["arousal"][:40] == 1).all()
    note = "raters.csv begins 0.25 s (0.5 of a frame step) after audio.csv in 1 of 1"
    assert corpus.notes[0].startswith(note)
    write(tmp_path / "end", raters=rated(0.5, 40, start=0.5))
    reason = r"outside recording 'a' \(ratings begin 0\.5 s after audio\.csv\)"
    with refused("raters.csv", 80, "time", reason):
        read_corpus(tmp_path / "end")
    corpus = read_corpus(tmp_path / "end", tolerance=1)
    assert corpus.notes[0].startswith("raters.csv begins 0.5 s (1 of a frame step)")


@pytest.mark.parametrize("order", ["time", "rater"])
def test_raters_at_another_rate_are_told(tmp_path, order):
    write(tmp_path / "slow", raters=rated(1.0, 20, order))
    (note,) = read_corpus(tmp_path / "slow").notes
    assert note.endswith(
        "raters.csv has ratings every 1 s, while frames come every 0.5 s; interpolate "
        "to a row every 0.5 s (if times number frames, multiply them by 0.5); frames "
        "between them have none"
    )
    write(tmp_path / "fast", raters=rated(0.1, 20, order))
    reason = "more than once at the same time .*every 0.1 s.*average to a row every"
    with refused("raters.csv", 4 if order == "time" else 3, "rater", reason):
        read_corpus(tmp_path / "fast")
    write(tmp_path / "ms", raters=rated(500, 20, order))
    reason = "is outside recording 'a' .*are times in ms"
    with refused("raters.csv", 4 if order == "time" else 3, "time", reason):
        read_corpus(tmp_path / "ms")
    write(tmp_path / "same", raters=rated(0.5, 20, order))
    (note,) = read_corpus(tmp_path / "same").notes
    assert note.endswith("raters.csv: nobody rated arousal in 88% of all rows")
