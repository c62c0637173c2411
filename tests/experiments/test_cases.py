"""What people bring, trained on by the program as they would: it says what is wrong.

Each case changes one thing of a sound folder of 60 utterances, or of six recordings of
ten seconds; `--strict` ends the program before it trains.
"""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from folders import AUDIO, VIDEO, edit, put, reviews, series, utterances
from starting import program

pytestmark = pytest.mark.slow


def in_milliseconds(folder):
    for name in ("labels.csv", AUDIO, VIDEO):
        edit(name, lambda table: table.assign(time=1000 * table["time"]))(folder)
    header = folder / "corpus.json"
    header.write_text(header.read_text("utf-8").replace("0.04", "40"), "utf-8")


def drifting(table):
    """Every 250th row is lost, and times count up again."""
    table = table.drop(index=table.index[::250])
    return table.assign(time=0.04 * table.groupby("recording").cumcount())


def openface(table):
    success = (table.index % 30 > 0).astype(int)
    return table.assign(
        **{" frame": table.index, " confidence": 0.9, " success": success}
    )


def raw(name, change):
    """Changes the text of a file."""

    def apply(folder):
        path = folder / name
        path.write_text(change(path.read_text("utf-8")), "utf-8")

    return apply


def exchange(folder):
    audio, video = (folder / name for name in (AUDIO, VIDEO))
    text = audio.read_text("utf-8")
    audio.write_text(video.read_text("utf-8"), "utf-8")
    video.write_text(text, "utf-8")


def named(name, change):
    """Changes the names of recordings in one table."""
    return edit(name, lambda t: t.assign(recording=t["recording"].map(change)))


def dev_times(factor):
    def change(table):
        dev = table["recording"] == "rec_4"
        return table.assign(arousal=table.arousal.where(~dev, factor * table.arousal))

    return edit("labels.csv", change)


def in_columns(folder):
    """Writes features as npz, the names of recordings as an array of (N, 1)."""
    table = pd.read_csv(folder / AUDIO, dtype={"recording": str})
    (folder / AUDIO).unlink()
    np.savez(
        folder / "features/audio.npz",
        recording=table[["recording"]].to_numpy(str),
        names=[*table.columns[1:]],
        values=table.to_numpy()[:, 1:].astype(float),
    )


FOLDS = ["1", "01", "2", "2 ", "3", None] * 10
CASES = {
    "named as the target": (
        utterances,
        edit(AUDIO, lambda t: t.rename(columns={"audio0": "emotion"})),
        [],
        "audio.csv, column emotion: the column is named like what is to be predicted",
    ),
    "a code of the label": (
        utterances,
        edit(AUDIO, lambda t: t.assign(audio0=3 + 2 * (t.index % 2))),
        [],
        "each class of train has a value of its own: audio0. Are they labels?",
    ),
    "an index": (
        utterances,
        edit(AUDIO, lambda t: t.assign(**{"Unnamed: 0": t.index})),
        [],
        "audio.csv: dropped as an index: Unnamed: 0",
    ),
    "bookkeeping": (
        utterances,
        edit(AUDIO, lambda t: t.assign(speaker=1)),
        [],
        "column speaker: the column is named like bookkeeping",
    ),
    "OpenFace": (
        utterances,
        edit(VIDEO, openface),
        ["--config.corpus.impute"],
        "OpenFace found no face in 2 of 60 rows, the first of them row 2",
    ),
    "ignored by a comma": (
        utterances,
        lambda folder: None,
        ["--config.corpus.ignore=('audio0,audio1',)"],
        "corpus.ignore holds 'audio0,audio1'; expected one column in each entry",
    ),
    "ignored, but absent": (
        utterances,
        lambda folder: None,
        ["--config.corpus.ignore=('class_',)"],
        "corpus.ignore holds 'class_', but no table has such a column",
    ),
    "a sentinel": (
        utterances,
        put(AUDIO, 3, "audio1", 1e20),
        [],
        "audio1 is 1e+20 in 1 of 60 rows, the first 004",
    ),
    "not rated": (
        series,
        put("labels.csv", range(10, 35), "arousal", -5),
        ["continuous"],
        "arousal: 25 of 1000 labels are -5, far from all others",
    ),
    "a speaker with a blank": (
        utterances,
        put("recordings.csv", 30, "speaker", "s1 "),
        [],
        "Speakers in both train and dev: s1; scores may be",
    ),
    "a speaker in capitals": (
        utterances,
        put("recordings.csv", 30, "speaker", "S1"),
        [],
        "zeros in front or .0 count as different: 's1' = 'S1'",
    ),
    "copies in test": (
        utterances,
        lambda folder: [
            put(name, [*range(10), *range(40, 50)], column, [*values, *values])(folder)
            for name, column, values in (
                *((AUDIO, f"audio{k}", range(10)) for k in range(4)),
                *((VIDEO, f"video{k}", range(10)) for k in range(3)),
            )
        ],
        [],
        "Recordings with exactly the features of one in another partition (10): ",
    ),
    "milliseconds": (
        series,
        in_milliseconds,
        ["continuous"],
        "The frame step is 40 s; if times are in ms",
    ),
    "ends of windows": (
        series,
        edit("labels.csv", lambda t: t.assign(time=t["time"] + 0.04)),
        ["continuous", "--config.corpus.tolerance=1"],
        "labels.csv begins 0.04 s (1 of a frame step) after audio in 6 of 6 recordings",
    ),
    "drift": (
        partial(series, frames=2500),
        edit(VIDEO, drifting),
        ["continuous", "--config.corpus.tolerance=30"],
        "video has 0.4 % fewer rows than audio from the same start in 6 recordings",
    ),
    "a blank fold": (
        utterances,
        put("recordings.csv", range(60), "fold", FOLDS),
        ["--folds"],
        "10 recordings have no fold (006, 012",
    ),
    "a formula": (
        utterances,
        put("recordings.csv", 0, "speaker", "=1+1"),
        [],
        "speaker '=1+1' is a formula to a spreadsheet; rename it",
    ),
    "a control character": (
        utterances,
        put("recordings.csv", 0, "speaker", "a\x1b]0;x\x07"),
        [],
        "holds the control character \\x1b; rename it",
    ),
    "row numbers": (
        utterances,
        edit(AUDIO, lambda t: t.assign(no=t.index)),
        [],
        "audio: 1 of 5 features count rows, so they may be none: no.",
    ),
    "another target's name": (
        series,
        edit(AUDIO, lambda t: t.assign(valence=t["time"] ** 2)),
        ["continuous"],
        "audio.csv: valence may not be features",
    ),
    "a column of ids": (
        utterances,
        edit(AUDIO, lambda t: t.assign(speaker_id=t.index // 10)),
        [],
        "audio.csv: speaker_id may not be features",
    ),
    "an array of (N, 1)": (
        utterances,
        in_columns,
        [],
        "column recording: the array has shape (60, 1), expected (60,)",
    ),
    "times of a clock": (
        series,
        edit(AUDIO, lambda t: t.assign(time=[f"0:00:{x:05.2f}" for x in t["time"]])),
        ["continuous"],
        "column time: '0:00:00.00' is not a number; write times in seconds",
    ),
    "text among features": (
        utterances,
        edit(AUDIO, lambda t: t.assign(start="0 days 00:00:00")),
        [],
        "is not a number; if the column is not a feature, add it to corpus.ignore",
    ),
    "dev in another unit": (
        series,
        dev_times(100),
        ["continuous"],
        "in dev: are both in one unit?",
    ),
    "a target that never changes": (
        series,
        edit("labels.csv", lambda t: t.assign(arousal=0.5)),
        ["continuous"],
        "All train labels of arousal are 0.5: there is nothing to learn",
    ),
    "a sensor that stopped": (
        series,
        edit(AUDIO, lambda t: t.assign(audio0=t.audio0.where(t.recording != "rec_2"))),
        ["continuous", "--config.corpus.impute"],
        "No value at all in 1 of 6 recordings: rec_2",
    ),
    "frozen frames": (
        series,
        put(AUDIO, range(250, 500), "audio0", 1),
        ["continuous"],
        "audio is the same in all frames of 1 of 6 recordings: rec_2",
    ),
    "numbers for names": (
        utterances,
        named(VIDEO, lambda name: str(int(name))),
        [],
        "'1' is not in recordings.csv; did you mean '001'?",
    ),
    "names of media": (
        utterances,
        named(VIDEO, lambda name: f"{name}.mp4"),
        [],
        "'001.mp4' is not in recordings.csv; did you mean '001'?",
    ),
    "a class in capitals": (
        utterances,
        put("labels.csv", 0, "emotion", "Calm"),
        [],
        "unknown class 'Calm', expected one of ('calm', 'tense'); did you mean 'calm'?",
    ),
    "times of the day": (
        series,
        edit(AUDIO, lambda t: t.assign(time=t["time"] + 1.6e9)),
        ["continuous"],
        "is beyond 1e+09 s; count from the start of the recording",
    ),
    "a clock that runs fast": (
        partial(series, frames=2500),
        edit(VIDEO, lambda t: t.assign(time=t.groupby("recording").cumcount() / 25.03)),
        ["continuous", "--config.corpus.tolerance=30"],
        "rows come every 0.0399521 s and drift: resample to every 0.04 s",
    ),
    "audio and video exchanged": (
        utterances,
        exchange,
        [],
        "all 3 features of audio are named after video (video0, ...)",
    ),
    "a comment": (
        utterances,
        raw(AUDIO, lambda text: f"# made by a tool\n{text}"),
        [],
        "(is the first line a comment? Delete it)",
    ),
    "a cell of Excel": (
        utterances,
        put(AUDIO, 3, "audio1", "#N/A"),
        [],
        "'#N/A' is not a number; leave the cell blank if the value is missing",
    ),
    "features beside corpus.json": (
        utterances,
        lambda folder: (folder / AUDIO).rename(folder / "audio.csv"),
        [],
        "no such file for modality 'audio'",
    ),
    "labels by recording and by time": (
        reviews,
        edit("labels.csv", lambda t: t.assign(time=0)),
        ["values"],
        "labels over time need the key 'frame_step' in corpus.json",
    ),
    "a recording without frames": (
        reviews,
        edit(VIDEO, lambda t: t[t.recording != "r3"]),
        ["values"],
        "'r3' has no row in",
    ),
    "a recording without frames, left out": (
        reviews,
        edit(VIDEO, lambda t: t[t.recording != "r3"]),
        ["values", "--config.corpus.missing=leave_out"],
        "left out, since they lack a modality: r3",
    ),
    "a recording without frames, masked": (
        reviews,
        edit(VIDEO, lambda t: t[t.recording != "r3"]),
        ["values", "--config.corpus.missing=mask"],
        "recordings without video: 1 of",
    ),
    "utterances without a modality, masked": (
        utterances,
        lambda folder: None,
        ["--config.corpus.missing=mask"],
        "corpus.missing is 'mask', which needs frames with one label per recording",
    ),
    "a thousand times as long": (
        partial(reviews, long=("r1",)),
        lambda folder: None,
        ["values"],
        "recording 'r1' has 12000 frames, 'r0' only 12: are both right?",
    ),
    "steps that times contradict": (
        reviews,
        raw("corpus.json", lambda text: text.replace("0.01", "0.02")),
        ["values"],
        "frames come every 0.01 s, but corpus.json says every 0.02 s in 'frame_steps'",
    ),
    "a limit below the shortest": (
        reviews,
        lambda folder: None,
        ["values", "--config.training.max_frames=2"],
        "training.max_frames is 2, but the shortest recording, 'r0', has 12 frames",
    ),
    "labels over time, but the config of values": (
        partial(series, frames=1500),
        lambda folder: None,
        ["values"],
        "the config for labels over time, configs/folder.py:continuous, cuts them",
    ),
}
TASKS = ("continuous", "values")


def sweep(home, *flags, task=""):
    config = f"--config=configs/folder.py{task and ':'}{task}"
    place = ("--config.corpus.path=~/mine", f"--workdir={home / 'run'}", "--strict")
    return program("sweep", config, *place, *flags, HOME=str(home))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_before_training(tmp_path, case):
    make, change, flags, words = CASES[case]
    make(tmp_path / "mine")
    change(tmp_path / "mine")
    task, *rest = flags if flags[:1] and flags[0] in TASKS else ["", *flags]
    done = sweep(tmp_path, *rest, task=task)
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "task", "flag", "words"),
    [
        (utterances, "", "--config.evaluation.cluster=x", "evaluation.cluster is 'x'"),
        (series, "continuous", "--config.sweep.delays=(-1.0,)", "delays holds -1.0"),
        (reviews, "values", "--config.evaluation.cluster=x", "evaluation.cluster is"),
    ],
)
def test_of_what_is_sound_nothing_is_said(tmp_path, make, task, flag, words):
    """A flag that makes no sense ends the program after it has looked at the corpus."""
    make(tmp_path / "mine")
    done = sweep(tmp_path, flag, task=task)
    assert done.returncode == 1 and words in done.stderr
    assert "notes or warnings" not in done.stderr
