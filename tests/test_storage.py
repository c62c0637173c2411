"""What is written is found whole or not at all, and no damage goes unseen."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ifusion import storage
from ifusion.storage import (
    read_arrays,
    read_facts,
    read_json,
    remove_folder,
    remove_leftovers,
    require_kinds,
    write_atomically,
    write_csv,
    write_folder,
    write_json,
)

ARRAYS = {
    "a/weight": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "a/step": np.array(7, np.int32),
    "b/mean": np.array([0.1, np.nan, np.inf]),
    "b/none": np.zeros((0, 3), np.float32),
    "b/yes": np.array([True, False]),
}
FACTS = {"epoch": 3, "names": ["Ä", "b"]}


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "saved", ARRAYS, FACTS)
    return tmp_path / "saved"


def assert_same_arrays(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name], strict=True)


def test_round_trip(folder):
    assert read_facts(folder) == FACTS
    assert_same_arrays(read_arrays(folder), ARRAYS)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_arrays_are_picked_by_name(folder):
    picked = read_arrays(folder, lambda name: name.startswith("a/"))
    assert_same_arrays(picked, {k: v for k, v in ARRAYS.items() if k[0] == "a"})


def test_the_manifest_has_the_digests_that_any_tool_computes(folder):
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    facts = (folder / "checkpoint.json").read_bytes()
    assert manifest["facts"] == hashlib.sha256(facts).hexdigest()
    assert manifest["arrays"]["a/weight"] == {
        "dtype": "float32",
        "shape": [2, 3],
        "sha256": hashlib.sha256(ARRAYS["a/weight"].tobytes()).hexdigest(),
    }


def test_a_view_that_is_not_contiguous_is_written_as_it_reads(tmp_path):
    view = np.arange(24.0).reshape(4, 6)[::-1, ::2].T
    write_folder(tmp_path / "saved", {"view": view}, {})
    np.testing.assert_array_equal(read_arrays(tmp_path / "saved")["view"], view)


# ---- damage -------------------------------------------------------------------------


def read(folder):
    return read_facts(folder), read_arrays(folder)


@pytest.mark.parametrize(
    "name", ["arrays.safetensors", "checkpoint.json", "manifest.json"]
)
def test_no_flipped_bit_lost_end_or_lost_file_goes_unseen(folder, name):
    """One random bit of every byte, every length, and no file at all."""
    path, rng = folder / name, np.random.default_rng(0)
    whole = path.read_bytes()
    for i in range(len(whole)):
        for damaged in (
            whole[:i] + bytes([whole[i] ^ 1 << int(rng.integers(8))]) + whole[i + 1 :],
            whole[:i],
        ):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="saved") as caught:
                read(folder)
            assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    read(folder)
    path.unlink()
    with pytest.raises(ValueError, match="saved"):
        read(folder)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a/weight", ARRAYS["a/weight"].astype(np.float64)),
        ("a/weight", ARRAYS["a/weight"].reshape(3, 2)),
        ("b/none", np.zeros((3, 0), np.float32)),
        ("a/step", np.array([7], np.int32)),
        ("a/step", np.array(7, np.uint32)),
    ],
)
def test_another_type_or_shape_is_refused(folder, name, array):
    save_file({**ARRAYS, name: array}, folder / "arrays.safetensors")
    with pytest.raises(ValueError, match=f"saved: the array '{name}' is damaged"):
        read_arrays(folder)


def test_an_array_too_many_is_refused(folder):
    arrays = load_file(folder / "arrays.safetensors")
    save_file({**arrays, "c": np.ones(1)}, folder / "arrays.safetensors")
    with pytest.raises(ValueError, match="differ in the array 'c'"):
        read_arrays(folder)


# ---- whole or not at all ------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("save_file", SafetensorError("I/O error: No space left on device")),
        ("json.dumps", OSError(errno.ENOSPC, "No space left on device")),
        ("os.fsync", OSError(errno.EIO, "Input/output error")),
        ("os.replace", OSError(errno.EROFS, "Read-only file system")),
    ],
)
def test_a_write_that_fails_leaves_nothing_and_is_named(
    tmp_path, monkeypatch, where, error
):
    def fail(*arguments, **options):
        raise error

    write_folder(tmp_path / "earlier", ARRAYS, FACTS)
    with monkeypatch.context() as patched:
        patched.setattr(f"{storage.__name__}.{where}", fail)
        with pytest.raises(OSError, match="later") as caught:
            write_folder(tmp_path / "later", ARRAYS, FACTS)
    assert getattr(error, "strerror", str(error)) in str(caught.value)
    assert ".part" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
    assert_same_arrays(read_arrays(tmp_path / "earlier"), ARRAYS)


STARVED = """
import resource, sys
from pathlib import Path
import numpy as np
from ifusion.storage import write_atomically, write_folder

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for write in (
    lambda path: write_folder(path, {"a": np.zeros(20_000, np.float32)}, {}),
    lambda path: write_folder(path, {}, {"a": "a" * 60_000}),
    lambda path: write_atomically(path, bytes(60_000)),
):
    try:
        write(Path(sys.argv[1]) / "later")
    except OSError as error:
        print(error)
"""


def test_a_file_that_finds_no_room_leaves_nothing_and_is_named(folder):
    """By a limit of the system, at which a write fails as on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED, folder.parent],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("File too large" in x and f"{folder.parent}/later" in x for x in lines)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]
    read(folder)


def test_a_write_that_is_broken_off_leaves_nothing(tmp_path, monkeypatch):
    def half(arrays, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "saved", ARRAYS, FACTS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_has_vanished_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file.*gone/saved'"):
        write_folder(tmp_path / "gone" / "saved", ARRAYS, FACTS)
    with pytest.raises(FileNotFoundError, match=r"No such file.*gone/x\.csv'"):
        write_atomically(tmp_path / "gone" / "x.csv", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_written_over(folder):
    before = (folder / "arrays.safetensors").read_bytes()
    with pytest.raises(OSError, match="saved"):
        write_folder(folder, {}, {})
    assert (folder / "arrays.safetensors").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_all_is_flushed_before_it_has_its_name(tmp_path, monkeypatch):
    """The files and their folder under the hidden name, then the folder around it."""
    done, fsync, replace = [], os.fsync, os.replace

    def flush(number):
        fsync(number)
        done.append(os.readlink(f"/proc/self/fd/{number}"))

    def rename(source, target):
        done.append("renamed")
        replace(source, target)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", rename)
    write_folder(tmp_path / "saved", ARRAYS, FACTS)
    part = tmp_path / f".saved.{os.getpid()}.part"
    files = {"arrays.safetensors", "checkpoint.json", "manifest.json"}
    assert set(done[:3]) == {str(part / name) for name in files}
    assert done[3:] == [str(part), "renamed", str(tmp_path)]


def test_what_dead_writers_left_is_removed(tmp_path, folder):
    left = tmp_path / "deep" / f".other.{os.getpid()}.part"
    left.mkdir(parents=True)
    (left / "arrays.safetensors").write_bytes(b"half")
    (tmp_path / ".x.csv.12.part").write_bytes(b"half")
    (tmp_path / ".lock").touch()
    assert remove_leftovers(tmp_path) == 2
    assert {path.name for path in tmp_path.rglob("*")} >= {".lock", "deep", "saved"}
    assert not list(tmp_path.rglob("*.part"))
    read(folder)


def test_a_leftover_of_the_same_number_is_no_hindrance(tmp_path):
    left = tmp_path / f".saved.{os.getpid()}.part"
    left.mkdir()
    (left / "arrays.safetensors").write_bytes(b"half")
    write_folder(tmp_path / "saved", ARRAYS, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    read(tmp_path / "saved")


def test_a_removal_that_is_broken_off_leaves_no_torn_folder(folder, monkeypatch):
    def fail(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", fail)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(folder)
    assert not folder.exists()
    assert remove_leftovers(folder.parent) == 1
    assert list(folder.parent.iterdir()) == []


SAVER = """
import sys
from pathlib import Path
import numpy as np
from ifusion.storage import write_folder

folder = Path(sys.argv[1])
for number in range(int(sys.argv[2]), 10**6):
    arrays = {"a": np.full(20_000, number, np.float32), "b": np.arange(number)}
    write_folder(folder / str(number), arrays, {"number": number})
    print(number, flush=True)
"""


def test_a_kill_tears_nothing_and_loses_nothing_that_was_acknowledged(tmp_path):
    rng, number = np.random.default_rng(0), 0
    for _ in range(4):
        command = [sys.executable, "-c", SAVER, tmp_path, str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as saver:
            told = [int(saver.stdout.readline())]
            time.sleep(rng.uniform(0, 0.1))
            saver.kill()
            told += map(int, saver.stdout.read().split())
        remove_leftovers(tmp_path)
        found = {path.name for path in tmp_path.iterdir()}
        assert found >= {str(i) for i in told}
        for name in found:
            number = int(name)
            assert read_facts(tmp_path / name) == {"number": number}
            arrays = read_arrays(tmp_path / name)
            assert (arrays["a"] == number).all() and len(arrays["b"]) == number
        number = max(map(int, found)) + 1
    assert number > 4


# ---- single files -------------------------------------------------------------------


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "x.txt"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match=r"x\.txt: disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_and_csv_survive_their_files(tmp_path):
    content = {"a": {"b": [1, "é"]}}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json", ["a"]) == content
    frame = pd.DataFrame({"a": [0.1 + 0.2, np.nan], "b": ["x,y", ""]})
    write_csv(tmp_path / "x.csv", frame)
    found = pd.read_csv(tmp_path / "x.csv", keep_default_na=False, na_values={"a": ""})
    pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": 1,\n}', "x.json: not valid JSON"),
        (b"[1]", "x.json: expected a JSON object"),
        (b'{"a": {}}', "x.json: the key b is missing"),
        (b"\xff", "x.json: not UTF-8 text"),
        (None, "x.json: No such file"),
    ],
)
def test_other_json_is_refused(text, message, tmp_path):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        read_json(path, ["b"])


def test_values_of_other_types_are_refused():
    kinds = {"a": (int, float), "b": str}
    require_kinds("here", {"a": 1.5, "b": "", "c": None}, kinds)
    with pytest.raises(ValueError, match="here: the key b is missing"):
        require_kinds("here", {"a": 1}, kinds)
    with pytest.raises(ValueError, match="here: the key a has the value 'x'"):
        require_kinds("here", {"a": "x", "b": ""}, kinds)
    with pytest.raises(ValueError, match="here: expected a JSON object"):
        require_kinds("here", [], kinds)
