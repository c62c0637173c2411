"""Damaged files of every format and every corpus are read or refused, never more.

The only exception is a CorpusError that says in one line what is wrong; warnings are
errors. What is accepted is what Python's own csv, a plain ARFF parser or numpy reads.
"""

import csv
import io
import json
import os
import re
import signal
import warnings
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import ARRAYS, read, save
from mutation import mutate
from test_folder import UTTERANCES
from test_folder import write as write_folder
from test_omg import write as write_omg
from test_recola import layout
from test_recola import save as save_recola
from test_studyforrest import arrays as make_studyforrest

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.folder import read_corpus
from ifusion.corpora.names import normalise
from ifusion.corpora.sources.omg import read_omg
from ifusion.corpora.sources.ravdess import read_ravdess
from ifusion.corpora.sources.recola import RecolaFiles, read_recola
from ifusion.corpora.sources.studyforrest import FILE, read_studyforrest
from ifusion.corpora.tables.reading import read_table

LIMIT = 20  # [s] for one input, on a busy machine
KINDS = {".csv": "text", ".arff": "text", ".json": "text", ".txt": "text"}
KINDS |= {".npz": "npz", ".h5": "h5"}
BLANK = {"", "nan", "NaN", "NAN", "-nan", "-NaN", "-NAN", "NA", "n/a"}


class Hang(BaseException):
    """An input took longer than `LIMIT`."""


@contextmanager
def limited():
    def stop(number, frame):
        raise Hang(f"took longer than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- what is damaged ----------------------------------------------------------------


def make_formats(folder):
    """The same table in every format, and a harder one of some."""
    paths = [save(folder / f"a.{k}") for k in ("csv", "arff", "npz", "npy", "parquet")]
    (folder / "quoted.csv").write_text(
        'recording,"time",f0,f1\r\n"a",0,"1",2\r\n"a, b",0.04,3,\r\n\r\nb,0,5,NA\r\n'
    )
    (folder / "quoted.arff").write_text(
        "% \u00e9\n@RELATION 'a b'\n@attribute recording {a,'b c'}\n"
        "@attribute time real\n\n@attribute 'f 0' INTEGER\n@data\n'b c', 0, 1\n"
        "% no row\n\na,0,?\na,0.04,'3'\n",
        "utf-8",
    )
    np.savez_compressed(folder / "packed.npz", **ARRAYS)
    paths.append(save(folder / "a.h5"))
    with h5py.File(folder / "packed.h5", "w") as file:
        for name, values in ARRAYS.items():
            if values.dtype.kind == "U":
                file[name] = values.tolist()
            else:
                file.create_dataset(
                    name, data=values, compression="gzip", fletcher32=True
                )
    columns = {"recording": pa.array(list("aabb")).dictionary_encode()}
    columns |= {"time": pa.array(ARRAYS["time"]), "f0": pa.array([1, None, 3, 4])}
    pq.write_table(pa.table(columns), folder / "packed.parquet", compression="gzip")
    more = ("quoted.csv", "quoted.arff", "packed.npz", "packed.h5", "packed.parquet")
    return [*paths, *(folder / name for name in more)]


def make_folder(folder):
    """A time-continuous corpus with a modality a format."""
    (folder / "features").mkdir()
    kinds = ("csv", "npz", "npy", "h5", "parquet")
    header = {"name": "n", "task": "regression", "targets": ["arousal"]}
    header |= {"frame_step": 0.04, "modalities": {k: 2 for k in kinds}}
    (folder / "corpus.json").write_text(json.dumps(header))
    (folder / "recordings.csv").write_text(
        "recording,partition,speaker,fold\na,train,1,0\nb,dev,2,1\n"
    )
    keys = ("a,0.0", "a,0.04", "b,0.0", "b,0.04")
    rows = "".join(f"{key},{k}\n" for k, key in enumerate(keys))
    (folder / "labels.csv").write_text("recording,time,arousal\n" + rows)
    rows = "".join(f"{key},{r},{k}\n" for k, key in enumerate(keys) for r in "xy")
    (folder / "raters.csv").write_text("recording,time,rater,arousal\n" + rows)
    for kind in kinds:
        save(folder / "features" / f"{kind}.{kind}")


def make_ravdess(folder):
    """Twelve rows of the real file."""
    with np.load(_data("ravdess_av/ravdess_av.npz"), allow_pickle=False) as file:
        rows = np.linspace(0, len(file["ids"]) - 1, 12).astype(int)
        arrays = {
            name: file[name] if name.endswith(("names", "names7")) else file[name][rows]
            for name in file.files
        }
    np.savez(folder / "ravdess_av.npz", **arrays)


def _data(name):
    path = Path(os.environ.get("IFUSION_DATA", "/nowhere")) / name
    return path if path.is_file() else None


RECOLA = {p: text for p, text in layout().items() if "_1." in p and "valence" not in p}
CORPORA = {
    "folder": (make_folder, lambda folder: read_corpus(folder, tolerance=1)),
    "utterances": (lambda folder: write_folder(folder, UTTERANCES), read_corpus),
    "recola": (
        lambda folder: save_recola(folder, texts=RECOLA),
        lambda folder: read_recola(
            folder, ("arousal",), files=RecolaFiles(recordings=1), impute=True
        ),
    ),
    "omg": (
        write_omg,
        lambda folder: read_omg(folder, {"audio": folder / "audio.csv"}),
    ),
    "studyforrest": (
        lambda folder: np.savez(folder / FILE, **make_studyforrest(frames=3)),
        read_studyforrest,
    ),
    "ravdess": (make_ravdess, lambda folder: read_ravdess(folder, 8)),
}
if _data("ravdess_av/ravdess_av.npz") is None:
    del CORPORA["ravdess"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """{name: (files to damage, what reads them)}."""
    folder = tmp_path_factory.mktemp("formats")
    found = {f"{p.name}": ([p], read_single(p)) for p in make_formats(folder)}
    for name, (make, reader) in CORPORA.items():
        folder = tmp_path_factory.mktemp(name)
        make(folder)
        reader(folder)  # what is not damaged is accepted
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        found[name] = (files, lambda reader=reader, folder=folder: reader(folder))
    return found


# ---- what must hold -----------------------------------------------------------------


def read_single(path):
    """Reads a file as a table, and holds the table against another reading."""

    def check():
        refused = []
        for arguments in ((("recording",), ("time",)), ((), (), "text")):
            if arguments[-1] == "text" and KINDS.get(path.suffix) != "text":
                continue
            try:
                table = read_table(path, *arguments)
            except CorpusError as error:
                one_sentence(error)
                refused.append(error)
                continue
            for row in range(len(table)):
                one_sentence(table.error(row, "time", "is wrong"))
            if path.suffix in SEPARATE:
                same(table, *SEPARATE[path.suffix](path))
        if path.stem == "a":
            read(path)
        for error in refused[:1]:
            raise error

    return check


def one_sentence(error):
    message = str(error)
    assert len(message) > 20 and "\n" not in message and "\r" not in message, message
    message.encode("utf-8")


def same(table, columns, rows):
    """Asserts that a table has the cells of (R, columns) text or numbers."""
    assert len(table) == len(rows)
    for name, column in table.text.items():
        cells = [normalise(str(row[columns.index(name)])) for row in rows]
        assert column.tolist() == cells, name
    numbers = dict(table.numbers)
    numbers |= dict(zip(table.names, table.values.T, strict=True))
    for name, column in numbers.items():
        cells = np.array([row[columns.index(name)] for row in rows], dtype=object)
        expected = np.array([np.nan if c in BLANK | {"?"} else float(c) for c in cells])
        with np.errstate(over="ignore"):
            expected = expected.astype(column.dtype)
        # pandas may be a unit in the last place off, and takes the least for 0
        rtol = 2.4e-7 if column.dtype == np.float32 else 4e-16
        np.testing.assert_allclose(column, expected, rtol, 1e-300, err_msg=name)


def csv_apart(path):
    text = path.read_bytes().decode("utf-8-sig")
    text = text.lstrip("\r\n").removeprefix("\ufeff")  # a mark below empty rows, too
    header, *rows = filter(None, csv.reader(io.StringIO(text, newline="")))
    names = [name.strip() for name in header]
    return [names[0] or "Unnamed: 0", *names[1:]], rows  # as pandas calls an index


def arff_apart(path):
    """Splits lines at commas outside quotes, a character at a time."""
    lines = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    lines = [line.strip() for line in re.split("\r\n|\n|\r", lines)]
    data = next(i for i, line in enumerate(lines) if line.lower() == "@data")
    name = r"@attribute\s+(?:'((?:\\.|[^'])*)'|\"((?:\\.|[^\"])*)\"|(\S+))\s"
    found = (re.match(name, f"{line} ", re.I) for line in lines[:data])
    columns = [next(filter(None, m.groups()), "") for m in found if m]
    columns = [re.sub(r"\\(.)", r"\1", c).strip() for c in columns]
    rows = []
    for line in lines[data + 1 :]:
        if line and not line.startswith("%"):
            cells, quote, skip = [""], "", False
            for character in line:
                if skip:
                    skip = False
                    cells[-1] += character
                elif quote and character == "\\":
                    skip = True
                elif character == quote:
                    quote = ""
                elif not quote and character in "'\"" and not cells[-1].strip():
                    quote = character
                elif not quote and character == ",":
                    cells.append("")
                else:
                    cells[-1] += character
            rows.append(["" if c.strip() == "?" else c.strip() for c in cells])
    return columns, rows


def npz_apart(path):
    with warnings.catch_warnings(), np.load(path, allow_pickle=False) as file:
        warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
        names, recording = (
            np.char.decode(a, "utf-8") if a.dtype.kind == "S" else a.astype(np.str_)
            for a in (file["names"], file["recording"])
        )
        columns = [recording, file["time"], *file["values"].T]
    header = ["recording", "time", *(name.strip() for name in names.tolist())]
    return header, list(zip(*columns, strict=True))


SEPARATE = {".csv": csv_apart, ".arff": arff_apart, ".npz": npz_apart}


def fuzz(inputs, name, seed):
    """Damages one file of an input; says whether it was accepted."""
    rng = np.random.default_rng(seed)
    files, reader = inputs[name]
    path = files[rng.integers(len(files))]
    whole = path.read_bytes()
    path.write_bytes(mutate(rng, whole, KINDS.get(path.suffix)))
    try:
        with limited():
            reader()
        return True
    except CorpusError as error:
        one_sentence(error)
        return False
    except BaseException as error:
        error.add_note(f"input {name!r}, seed {seed}, file {path.name}")
        raise
    finally:
        path.write_bytes(whole)


def names_of(formats):
    """Draws formats four times as often as corpora, which take longer."""
    return [name for name in formats if name in CORPORA] + [
        name for name in formats if name not in CORPORA for _ in range(4)
    ]


def test_damaged_files_are_read_or_refused(inputs):
    names = names_of(inputs)
    for seed in range(10_000, 10_300):
        fuzz(inputs, names[seed % len(names)], seed)


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_read_or_refused(inputs):
    names = names_of(inputs)
    counts = dict.fromkeys(inputs, 0)
    for seed in range(10_000):
        name = names[seed % len(names)]
        counts[name] += fuzz(inputs, name, seed)
    # some of each are accepted, so that what is read is compared, too
    assert min(counts.values()) > 0, counts
