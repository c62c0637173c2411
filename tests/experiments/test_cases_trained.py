"""What people bring, and runs whose files were spoilt, trained to their end."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
import zlib

import h5py
import numpy as np
import pandas as pd
import pytest
from folders import AUDIO, edit, series, utterances
from starting import ROOT, program

import ifusion as ifn
from ifusion.storage import read_arrays, read_facts, write_folder

pytestmark = pytest.mark.slow

FEW = (
    "--config.model.hidden_size=4",
    "--config.training.epochs=3",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,)",
)
OVER_TIME = (
    "--config=configs/folder.py:continuous",
    "--config.sweep.delays=(0.0,)",
    "--config.training.window=64",
    "--config.training.hop=32",
)
ODD = "$\\frac{$"


def sweep(folder, run, *flags, config="--config=configs/folder.py", **environment):
    place = (f"--config.corpus.path={folder}", f"--workdir={run}")
    return program("sweep", config, *place, *FEW, *flags, **environment)


def succeed(done):
    assert done.returncode == 0, done.stderr
    return done


def refuse(done, words):
    """One sentence, on the last line, and no traceback."""
    assert done.returncode == 1, done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# ---- values and names --------------------------------------------------------------


def test_the_score_does_not_depend_on_the_unit(tmp_path):
    scores = {}
    for unit in (1, 100, 1000):
        folder = tmp_path / str(unit)
        series(folder)
        scaled = edit("labels.csv", lambda t, u=unit: t.assign(arousal=u * t.arousal))
        scaled(folder)
        run = tmp_path / f"run_{unit}"
        more = ("--config.training.epochs=20", "--config.model.hidden_size=16")
        succeed(sweep(folder, run, *OVER_TIME[1:], *more, config=OVER_TIME[0]))
        table = pd.read_csv(run / "scores.csv")
        scores[unit] = table.query("metric == 'ccc_pooled' and main == 'audio'").value
    np.testing.assert_allclose(scores[1000], scores[100], atol=1e-4)
    assert scores[1].min() > 0.7 and scores[100].min() > 0.7


def test_odd_classes_are_drawn_and_written(tmp_path):
    utterances(tmp_path / "mine")
    for name in ("corpus.json", "labels.csv"):
        path = tmp_path / "mine" / name
        odd = json.dumps(ODD)[1:-1] if name.endswith("json") else ODD
        path.write_text(path.read_text("utf-8").replace("tense", odd), "utf-8")
    run = tmp_path / "run"
    succeed(sweep(tmp_path / "mine", run))
    assert ODD in (run / "report.html").read_text("utf-8")
    assert set(pd.read_csv(run / "predictions.csv")["label"]) == {"calm", ODD}


def test_names_are_no_paths_and_each_has_its_file(tmp_path):
    names = ["rec_1", "rec_2", "rec_3", "../../dev", "a b", "a_b"]
    home = tmp_path / "in" / "in"
    series(home / "mine", 100, names=names, targets=("../../out", ODD))
    run, sent = home / "run", home / "sent"
    succeed(sweep(home / "mine", run, *OVER_TIME[1:], config=OVER_TIME[0]))
    succeed(program("evaluate", f"--run={run}"))
    succeed(program("submission", f"--run={run}", f"--folder={sent}"))
    assert {path.name for path in home.iterdir()} == {"mine", "run", "sent"}
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["in"]
    assert len([*(run / "traces/dev").iterdir()]) == 1
    assert len([*(run / "traces/test").iterdir()]) == 2
    folders = [*(sent / "audio").iterdir()]
    assert len(folders) == 2
    for folder in folders:
        cells = {x.read_text().splitlines()[1].split(";")[0] for x in folder.iterdir()}
        assert cells == {"a b", "a_b"}


# ---- sizes -------------------------------------------------------------------------


def many_keys(folder):
    header = json.loads((folder / "corpus.json").read_text("utf-8"))
    header |= {f"key{i}": i for i in range(30_000)}
    (folder / "corpus.json").write_text(json.dumps(header), "utf-8")


def many_columns(folder):
    line = ",".join(f"f{i}" for i in range(10**6))
    (folder / AUDIO).write_text(f"recording,{line}\n", "utf-8")


def inflating(folder):
    """Two GiB of zeros, a 60 x 9000000 array, in two MB."""
    (folder / AUDIO).unlink()
    zeros, width = bytes(2**24), 2**29 // 60
    deflate = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(folder / "features/audio.npz", "w", **deflate) as archive:
        for name, array in (
            ("recording", np.array([f"{i:03d}" for i in range(1, 61)])),
            ("names", np.array(["a"])),
        ):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
        with archive.open("values.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (60, width)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(128):
                file.write(zeros)


def inflating_hdf5(folder):
    """The same array of zeros, compressed by HDF5."""
    (folder / AUDIO).unlink()
    with h5py.File(folder / "features/audio.h5", "w") as file:
        file["recording"] = [f"{i:03d}" for i in range(1, 61)]
        file["names"] = ["a"]
        width, chunk = 2**29 // 60, 2**16
        sizes = {"shape": (60, width), "chunks": (60, chunk)}
        values = file.create_dataset("values", dtype="f4", compression=1, **sizes)
        zeros = zlib.compress(bytes(4 * 60 * chunk), 1)
        for first in range(0, width, chunk):
            values.id.write_direct_chunk((0, first), zeros)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (many_keys, "key 'key0' is unknown"),
        (many_columns, "the file has 1000001 columns, expected 100000 at most"),
        (inflating, "would grow from"),
        (inflating_hdf5, "would grow from"),
    ],
)
def test_what_is_too_large_is_refused_soon_and_small(tmp_path, change, words):
    utterances(tmp_path / "mine")
    change(tmp_path / "mine")
    begin = time.monotonic()
    code = (
        "import resource, subprocess, sys; "
        "status = subprocess.call([sys.executable, *sys.argv[1:]]); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
        "print(used); sys.exit(status)"
    )
    flags = ("--config=configs/folder.py", f"--workdir={tmp_path / 'run'}")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "experiments/sweep.py",
            *flags,
            f"--config.corpus.path={tmp_path / 'mine'}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    refuse(done, words)
    assert time.monotonic() - begin < 60
    if sys.platform == "linux":
        assert int(done.stdout) < 1024**2  # [KiB], of which most are libraries


# ---- OMG ---------------------------------------------------------------------------

ENDINGS = (".mp4", ".MP4", ".wav", "")


def omg(folder, spoil, column):
    """Twenty utterances a partition, whose names end as they like in the features."""
    folder.mkdir()
    sheets = {"TrainVideos": "t", "ValidationVideos": "v", "TestVideos_WithLabels": "x"}
    tables = {
        "audio": [f"video,utterance,{column}"],
        "video": ["video,utterance,v0"],
    }
    for sheet, letter in sheets.items():
        rows = ["link,start,end,video,utterance,arousal,valence,EmotionMaxVote"]
        for i in range(20):
            rows.append(f"{letter}{i},0,4,{letter}{i},utterance_1.mp4,0.5,0.1,{i % 7}")
            name = f"utterance_1{ENDINGS[i % 4]}"
            tables["video"].append(f"{letter}{i},{name},{(i * i) % 11}")
            tables["audio"].append(f"{letter}{i},{spoil(name, i)},{(i * i) % 13}")
        (folder / f"omg_{sheet}.csv").write_text("\n".join(rows))
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "column", "words"),
    [
        (lambda name, i: name, "a0", "evaluation.cluster is 'x'"),
        (lambda name, i: name, "end", "end: the column is named like what is to be pr"),
        (lambda name, i: "clip" if i % 4 == 0 else name, "a0", "are the ids right?"),
        (lambda name, i: "clip" if i % 4 else name, "a0", "corpus.max_missing (0.5)"),
    ],
)
def test_ids_may_end_as_they_like_and_few_may_be_lost(tmp_path, spoil, column, words):
    omg(tmp_path / "omg", spoil, column)
    done = program(
        "sweep",
        "--config=configs/omg.py",
        f"--config.corpus.path={tmp_path / 'omg'}",
        "--config.corpus.features.audio=audio.csv",
        "--config.corpus.features.video=video.csv",
        "--config.evaluation.cluster=x",
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.returncode == 1 and words in done.stderr
    assert "Traceback" not in done.stderr
    assert ("have no audio features" in done.stderr) == (spoil("", 0) != spoil("", 1))


# ---- predictors --------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, next to its folder."""
    home = tmp_path_factory.mktemp("run")
    utterances(home / "mine")
    succeed(sweep("~/mine", "~/run", HOME=str(home)))
    assert (home / "run/report.html").exists() and not (ROOT / "~").exists()
    return home / "run"


@pytest.fixture(scope="module")
def other(run):
    """The run of another learning rate."""
    place = run.with_name("other")
    succeed(sweep(run.parent / "mine", place, OTHER))
    return place


def test_a_predictor_goes_by_the_names_of_columns(run, tmp_path):
    model, told = tmp_path / "model.ifusion", tmp_path / "told/predictions.csv"
    succeed(program("export", f"--run={run}", "--main=audio", f"--out={model}"))
    table = pd.read_csv(run.parent / "mine" / AUDIO, dtype={"recording": str})

    def predict(table):
        table.to_csv(tmp_path / "new.csv", index=False)
        place = (f"--input={tmp_path / 'new.csv'}", f"--out={told.parent}")
        return program("predict", f"--model={model}", *place)

    succeed(predict(table))
    expected = pd.read_csv(told)
    assert expected.select_dtypes(float).to_numpy().std() > 1e-4
    succeed(predict(table[["recording", *table.columns[:0:-1]]]))
    pd.testing.assert_frame_equal(pd.read_csv(told), expected)
    gap = table.assign(audio2=table["audio2"].where(table.index != 7))
    refuse(predict(gap), "new.csv, row 9, column audio2: nan is not a finite number")
    predictor = ifn.load(run, main="audio")
    found = predictor.predict(table.drop(columns="recording"))
    columns = [c for c in found if found[c].dtype == float]
    np.testing.assert_allclose(found[columns], expected[columns], atol=1e-6)


# ---- printing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "shell", ["", "| head -1", ">&-", "2>&-", ">&- 2>&-", "> /dev/full 2>&1"]
)
def test_what_cannot_be_printed_fails_no_run(copy, shell):
    home = {"HOME": str(copy.parent), "PYTHONIOENCODING": "ascii"}
    done = succeed(program("evaluate", "--run=~/run", shell=shell, **home))
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert "test" in pd.read_csv(copy / "scores.csv")["partition"].to_list()
    assert (copy / "report.html").read_text("utf-8").endswith("</html>")


# ---- files of a run ----------------------------------------------------------------


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def nested(run):
    (run / "folds/fixed/fits/baseline/manifest.json").write_text("[" * 200_000)


def rewrite(folder, facts):
    """Writes other facts, with the digest that they have."""
    text = json.dumps(facts).encode()
    (folder / "checkpoint.json").write_bytes(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["facts"] = hashlib.sha256(text).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def no_facts(run):
    rewrite(run / "folds/fixed/fits/baseline", [])


def more_candidates(run):
    folder = run / "folds/fixed/fits/baseline"
    facts = read_facts(folder)
    rewrite(folder, {**facts, "candidates": 2 * facts["candidates"]})


def no_deviations(run):
    folder = run / "folds/fixed/data"
    arrays, facts = read_arrays(folder), read_facts(folder)
    name = next(name for name in arrays if name.endswith("audio/std"))
    shutil.rmtree(folder)
    write_folder(folder, {**arrays, name: np.full_like(arrays[name], np.nan)}, facts)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (nested, "fits/baseline"),
        (no_facts, "fits/baseline"),
        (more_candidates, "histories of other than 4 lanes"),
    ],
)
def test_spoilt_files_of_a_run_are_named(copy, spoil, words):
    spoil(copy)
    refuse(program("evaluate", f"--run={copy}"), words)
    assert not (copy / "evaluations.jsonl").exists()


def test_files_of_another_learning_rate_are_not_used(run, other, copy):
    part = "folds/fixed/fits/baseline"
    shutil.rmtree(copy / part)
    shutil.copytree(other / part, copy / part)
    words = f"{part}: made by a run of another config"
    refuse(program("evaluate", f"--run={copy}"), words)
    refuse(sweep(run.parent / "mine", copy, "--resume"), words)


def test_spoilt_statistics_are_named(run, copy):
    no_deviations(copy)
    done = sweep(run.parent / "mine", copy, "--resume")
    refuse(done, "the statistics of audio are not finite means and deviations")


LONG = ("--config.training.epochs=600", "--config.training.patience=600")
KEPT = "--config.sweep.save_every_seconds=0"
OTHER = "--config.training.learning_rate=0.01"


def interrupt(folder, run, *flags):
    """Trains until there is a snapshot, then ends the program."""
    process = subprocess.Popen(
        [
            sys.executable,
            "experiments/sweep.py",
            "--config=configs/folder.py",
            f"--config.corpus.path={folder}",
            f"--workdir={run}",
            *FEW,
            *LONG,
            KEPT,
            *flags,
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while process.poll() is None and not any(run.glob("stages/*/*/*/[0-9]*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 143, said


def test_snapshots_of_another_learning_rate_are_not_used(tmp_path, assert_same_runs):
    folder = tmp_path / "mine"
    utterances(folder)
    own, other, whole = (tmp_path / name for name in ("own", "other", "whole"))
    interrupt(folder, own)
    interrupt(folder, other, OTHER)
    shutil.rmtree(own / "stages")
    shutil.copytree(other / "stages", own / "stages")
    done = succeed(sweep(folder, own, *LONG, KEPT, "--resume"))
    assert "made by a run of another config; skipped" in done.stderr
    assert "training starts over" in done.stderr
    succeed(sweep(folder, whole, *LONG, KEPT))
    assert_same_runs(own, whole)


def test_shares_of_another_learning_rate_are_not_merged(tmp_path):
    utterances(tmp_path / "mine")
    own, other = tmp_path / "own", tmp_path / "other"
    succeed(sweep(tmp_path / "mine", own, "--lanes=1/2"))
    succeed(sweep(tmp_path / "mine", other, "--lanes=2/2", OTHER))
    shutil.copytree(other / "shares/2-of-2", own / "shares/2-of-2")
    refuse(program("merge", f"--workdir={own}"), "they are shares of different runs")


def test_snapshots_may_be_on_another_disk(tmp_path):
    utterances(tmp_path / "mine")
    run, disk = tmp_path / "run", tmp_path / "disk"
    run.mkdir()
    disk.mkdir()
    (run / "stages").symlink_to(disk)
    succeed(sweep(tmp_path / "mine", run, KEPT))
    succeed(sweep(tmp_path / "mine", run, KEPT, "--resume"))
    assert (run / "report.html").exists()
