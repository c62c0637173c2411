"""What people bring, trained on by the program as they would: it says what is wrong.

Each case changes one thing of a sound folder of 60 utterances, or of six recordings of
ten seconds; `--strict` ends the program before it trains.
"""

from functools import partial

import pytest
from folders import AUDIO, VIDEO, edit, put, series, utterances
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
        "Partitions train and dev share 1 speakers (s1)",
    ),
    "a speaker in capitals": (
        utterances,
        put("recordings.csv", 30, "speaker", "S1"),
        [],
        "zeros in front or .0, and count as different: 's1' = 'S1'",
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
        "10 recordings have exactly the features of one in another partition",
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
    "a control character": (
        utterances,
        put("recordings.csv", 0, "speaker", "a\x1b]0;x\x07"),
        [],
        "holds the control character \\x1b; rename it",
    ),
}


def sweep(home, *flags, task=""):
    config = f"--config=configs/folder.py{task and ':'}{task}"
    place = ("--config.corpus.path=~/mine", f"--workdir={home / 'run'}", "--strict")
    return program("sweep", config, *place, *flags, HOME=str(home))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said_before_training(tmp_path, case):
    make, change, flags, words = CASES[case]
    make(tmp_path / "mine")
    change(tmp_path / "mine")
    task, *rest = flags if flags[:1] == ["continuous"] else ["", *flags]
    done = sweep(tmp_path, *rest, task=task)
    assert done.returncode == 1, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "task", "flag", "words"),
    [
        (utterances, "", "--config.evaluation.cluster=x", "evaluation.cluster is 'x'"),
        (series, "continuous", "--config.sweep.delays=(-1.0,)", "delays holds -1.0"),
    ],
)
def test_of_what_is_sound_nothing_is_said(tmp_path, make, task, flag, words):
    """A flag that makes no sense ends the program after it has looked at the corpus."""
    make(tmp_path / "mine")
    done = sweep(tmp_path, flag, task=task)
    assert done.returncode == 1 and words in done.stderr
    assert "notes or warnings" not in done.stderr
