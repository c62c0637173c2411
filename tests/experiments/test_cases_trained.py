"""What people bring, trained to its end, and runs that cannot print or were spoilt."""

import json
import shutil
import sys
import time
import zipfile
import zlib

import h5py
import numpy as np
import pandas as pd
import pytest
from folders import AUDIO, series, utterances
from starting import ROOT, program, python, succeed

pytestmark = pytest.mark.slow

FEW = (
    "--config.model.hidden_size=4",
    "--config.training.epochs=3",
    "--config.sweep.alphas=(0.0,0.5)",
    "--config.sweep.seeds=(0,)",
)


def sweep(folder, run, *flags, task="", **environment):
    config = f"--config=configs/folder.py{task}"
    place = (f"--config.corpus.path={folder}", f"--workdir={run}")
    return program("sweep", config, *place, *FEW, *flags, **environment)


def refuse(done, words):
    """One sentence, on the last line, and no traceback."""
    assert done.returncode == 1, done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# ---- names -------------------------------------------------------------------------


def test_names_are_no_paths_and_each_has_its_file(tmp_path):
    names = ["rec_1", "rec_2", "rec_3", "../../dev", "a b", "a_b"]
    home = tmp_path / "in" / "in"
    series(home / "mine", 100, names=names, targets=("../../out", "$\\frac{$"))
    run, sent = home / "run", home / "sent"
    flags = ("--config.training.window=64", "--config.training.hop=32")
    flags = (*flags, "--config.sweep.delays=(0.0,)")
    succeed(sweep(home / "mine", run, *flags, task=":continuous"))
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
    flags += (f"--config.corpus.path={tmp_path / 'mine'}",)
    done = python("-c", code, "experiments/sweep.py", *flags)
    refuse(done, words)
    assert time.monotonic() - begin < 60
    if sys.platform == "linux":
        assert int(done.stdout) < 1024**2  # [KiB], of which most are libraries


# ---- a finished run ----------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, next to its folder."""
    home = tmp_path_factory.mktemp("run")
    utterances(home / "mine")
    succeed(sweep("~/mine", "~/run", HOME=str(home)))
    assert (home / "run/report.html").exists() and not (ROOT / "~").exists()
    return home / "run"


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


@pytest.mark.parametrize(
    "shell", ["", "| head -1", ">&-", "2>&-", ">&- 2>&-", "> /dev/full 2>&1"]
)
def test_what_cannot_be_printed_fails_no_run(copy, shell):
    home = {"HOME": str(copy.parent), "PYTHONIOENCODING": "ascii"}
    done = succeed(program("evaluate", "--run=~/run", shell=shell, **home))
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert "test" in pd.read_csv(copy / "scores.csv")["partition"].to_list()
    assert (copy / "report.html").read_text("utf-8").endswith("</html>")


def test_spoilt_files_of_a_run_are_named(copy):
    (copy / "folds/fixed/fits/baseline/manifest.json").write_text("[" * 200_000)
    refuse(program("evaluate", f"--run={copy}"), "fits/baseline")
    assert not (copy / "evaluations.jsonl").exists()


def test_shares_of_another_learning_rate_are_not_merged(tmp_path):
    utterances(tmp_path / "mine")
    own, other = tmp_path / "own", tmp_path / "other"
    succeed(sweep(tmp_path / "mine", own, "--lanes=1/2"))
    rate = "--config.training.learning_rate=0.01"
    succeed(sweep(tmp_path / "mine", other, "--lanes=2/2", rate))
    shutil.copytree(other / "shares/2-of-2", own / "shares/2-of-2")
    refuse(program("merge", f"--workdir={own}"), "they are shares of different runs")
