"""Files that are not what their name says, or declare more than they may."""

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import refused
from test_folder import FRAMES, UTTERANCES, write

from ifusion.corpora.description import corpus_warnings
from ifusion.corpora.folder import read_corpus
from ifusion.corpora.tables import arrays, reading

AUDIO = "features/audio.csv"
TEXT = UTTERANCES[AUDIO]
ROWS = TEXT.partition("\n")[2]
VALUES = np.float32([[1, 2], [3, 4.5], [5, -6e-3], [7, 8]])
ARFF = (
    "% of openSMILE\n@RELATION r\n@attribute recording string\n@attribute f0 numeric\n"
    f"@attribute f1 numeric\n@data\n{ROWS}"
)


def corpus_with(folder, name, content):
    """A folder whose audio features are in another file."""
    write(folder, UTTERANCES)
    (folder / AUDIO).unlink()
    path = folder / "features" / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def archive(member, compression=zipfile.ZIP_STORED):
    def make(path):
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr(member, TEXT)

    return make


def frame():
    return pd.DataFrame({"recording": list("abcd"), "f0": VALUES[:, 0]}).assign(
        f1=VALUES[:, 1]
    )


def parts(path):
    path.mkdir()
    frame().iloc[:2].to_parquet(path / "part-0.parquet")
    frame().iloc[2:].to_parquet(path / "part-1.parquet")


def viewed(path):
    """As polars writes text, nulls behind its last row."""
    names = pa.array([*"abcd", None], pa.string_view())
    columns = {"f0": [*VALUES[:, 0], None], "f1": [*VALUES[:, 1], None]}
    pq.write_table(pa.table({"recording": names, **columns}), path)


def datasets(transpose=True, **changes):
    """As MATLAB's h5write leaves it: transposed, and vectors as matrices."""
    found = {"recording": [list("abcd")], "names": [["f0"], ["f1"]]}
    found |= {"values": VALUES.T if transpose else VALUES} | changes

    def make(path):
        with h5py.File(path, "w") as file:
            for name, values in found.items():
                if values is not None:
                    file[name] = values

    return make


READ = {
    "tabs": ("audio.csv", TEXT.replace(",", "\t")),
    "semicolons": ("audio.csv", TEXT.replace(",", ";")),
    "empty rows of Excel": ("audio.csv", TEXT + ",,\n,,\r\n"),
    "empty rows between tabs": ("audio.csv", (TEXT + ",,\n,,\n").replace(",", "\t")),
    "ARFF": ("audio.arff", ARFF),
    "text of polars": ("audio.parquet", viewed),
    "text in bytes": (
        "audio.parquet",
        lambda path: (
            frame().assign(recording=[b"a", b"b", b"c", b"d"]).to_parquet(path)
        ),
    ),
    "MATLAB": ("audio.h5", datasets()),
    "vectors of MATLAB": ("audio.h5", datasets(transpose=False)),
}


@pytest.mark.parametrize("what", READ)
def test_what_is_certain_is_read(tmp_path, what):
    corpus = read_corpus(corpus_with(tmp_path, *READ[what]))
    np.testing.assert_array_equal(corpus.modalities["audio"].values, VALUES)
    assert corpus.modalities["audio"].names == ("f0", "f1")
    notes = [note for note in corpus.notes if "transposed, as MATLAB writes" in note]
    assert len(notes) == (what == "MATLAB")


def test_a_square_of_hdf5_is_noted(tmp_path):
    names, square = [f"f{i}" for i in range(4)], np.arange(16.0).reshape(4, 4)
    make = datasets(names=names, values=square)
    folder = corpus_with(tmp_path, "audio.h5", make)
    (folder / "corpus.json").write_text(
        UTTERANCES["corpus.json"].replace('"audio": 2', '"audio": 4')
    )
    corpus = read_corpus(folder)
    np.testing.assert_array_equal(corpus.modalities["audio"].values, square)
    assert "there are as many rows as features, 4" in corpus.notes[0]


def pickled(path):
    frame().to_pickle(path)


def by_pandas(path):
    """As `DataFrame.to_hdf` leaves it."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = "frame"
        group["block0_values"] = VALUES


def cells(path):
    """As MATLAB saves a cell array of text (-v7.3)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["values"], file["names"] = VALUES.T, [["f0", "f1"]]
        texts = [file.create_dataset(f"#refs#/{i}", data=[[97 + i]]) for i in range(4)]
        references = np.array([[text.ref for text in texts]], h5py.ref_dtype)
        file.create_dataset("recording", data=references, dtype=h5py.ref_dtype)
        file["recording"].attrs["MATLAB_class"] = np.bytes_("cell")


# (file, content, row and column of the error, words of its reason)
NAMED = {
    "ARFF": ("audio.csv", ARFF, 1, None, "is ARFF; name it .arff"),
    "UTF-16": (
        "audio.csv",
        TEXT.encode("utf-16"),
        1,
        None,
        "UTF-16 .*save it as UTF-8",
    ),
    "UTF-16-BE": ("audio.csv", TEXT.encode("utf-16-be"), 1, None, "UTF-16 text"),
    "UTF-32": ("audio.csv", TEXT.encode("utf-32"), 1, None, "UTF-32 text"),
    "sep=": ("audio.csv", "sep=;\n" + TEXT, 1, None, "'sep=;', is for Excel .*delete"),
    "bars": (
        "audio.csv",
        TEXT.replace(",", "|"),
        1,
        "recording",
        r"separated by '\|'\?",
    ),
    "another case": (
        *("audio.csv", TEXT.replace("recording", "Recording"), 1, "recording"),
        r"is missing \(is it 'Recording'\? Then rename that\)",
    ),
    "decimal commas": (
        "audio.csv",
        TEXT.replace(",", ";").replace("4.5", "4,5"),
        3,
        "f1",
        "decimals with a point",
    ),
    "an empty row": ("audio.csv", TEXT + ",,\nd,1,2\n", 6, "recording", "row is empty"),
    "gzip": ("audio.csv", gzip.compress(TEXT.encode()), 1, None, "gzip; unpack it"),
    "zip": ("audio.csv", archive("audio.csv"), 1, None, "a zip archive; unpack it"),
    "xlsx": ("audio.csv", archive("xl/a.xml"), 1, None, "an Excel workbook; save it"),
    "xls": ("audio.csv", b"\xd0\xcf\x11\xe0" + bytes(99), 1, None, "an Excel workbook"),
    "Parquet": ("audio.csv", frame().to_parquet(), 1, None, "name it .parquet"),
    "npz": ("audio.csv", archive("values.npy"), 1, None, "is npz; name it .npz"),
    "pickle": ("audio.csv", pickled, 1, None, "pickle of Python; write CSV"),
    "web page": ("audio.csv", "<!DOCTYPE html>\n<p>404", 1, None, "web page; download"),
    "Git LFS": (
        "audio.csv",
        "version https://git-lfs.x\n",
        1,
        None,
        "pointer of Git LFS",
    ),
    "gzip as npz": (
        "audio.npz",
        gzip.compress(b""),
        None,
        None,
        "is compressed by gzip",
    ),
    "HDF5 as npz": ("audio.npz", datasets(), None, None, "it is HDF5; name it .h5"),
    "pandas": ("audio.h5", by_pandas, None, "recording", "that pandas wrote .*Parquet"),
    "cells": ("audio.h5", cells, None, "recording", "MATLAB, .*h5write, not a cell"),
    "other names": (
        "audio.h5",
        datasets(values=[1.0], names=[["x"]]),
        None,
        "values",
        r"shape \(1,\), expected \(4, 1\)",
    ),
    "groups": (
        "audio.h5",
        lambda p: datasets(**{"a/b": VALUES, "recording": None})(p),
        None,
        "recording",
        r"the file holds a/b \(4, 2\), names \(2, 1\), v",
    ),
    "other arrays": (
        "audio.npz",
        lambda p: np.savez(p, X=VALUES),
        None,
        "recording",
        "is missing; the file holds X",
    ),
    "objects": (
        "audio.npz",
        lambda p: np.savez(
            p, recording=np.array([*"abcd"], object), names=["a", "b"], values=VALUES
        ),
        None,
        "recording",
        r"never unpickled; save text by astype\(str\)",
    ),
    "transposed": (
        "audio.npz",
        lambda p: np.savez(p, recording=[*"abcd"], names=["a", "b"], values=VALUES.T),
        None,
        "values",
        r"\(2, 4\), expected \(4, 2\); is it transposed\?",
    ),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_a_file_is_instead_is_named(tmp_path, what):
    name, content, row, column, reason = NAMED[what]
    with refused(name, row, column, reason):
        read_corpus(corpus_with(tmp_path, name, content))


MISSING = {
    "Audio.csv": (TEXT, "there is Audio.csv, but names must agree in case"),
    "audio.CSV": (TEXT, "there is audio.CSV, but names must agree in case and ending"),
    "audio.csv.gz": (gzip.compress(TEXT.encode()), "there is audio.csv.gz"),
    "audio.xlsx": (b"PK", "there is audio.xlsx"),
    "audio.parquet": (parts, "audio.parquet is a folder: join its parts in one file"),
    "other.csv": (TEXT, r"'.hdf5'\)$"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_there_instead_of_a_missing_file_is_named(tmp_path, name):
    content, reason = MISSING[name]
    with refused("audio.csv", reason=f"no such file for modality 'audio'.*{reason}"):
        read_corpus(corpus_with(tmp_path, name, content))


def test_folders_and_tables_of_another_case_are_named(tmp_path):
    folder = write(tmp_path, UTTERANCES)
    (folder / "features").rename(folder / "Features")
    with refused("audio.csv", reason="there is Features, but"):
        read_corpus(folder)
    (folder / "recordings.csv").rename(folder / "Recordings.CSV")
    with refused("recordings.csv", reason="no such file; there is Recordings.CSV"):
        read_corpus(folder)


def test_tables_that_are_not_read_are_named(tmp_path):
    folder = write(tmp_path, UTTERANCES)
    shutil.copy(folder / "features/audio.csv", folder / "features/text.csv")
    (folder / "features/._audio.csv").write_bytes(b"of a Mac")
    told = "not read, since corpus.json names no such modality: text.csv"
    assert told in read_corpus(folder).notes


def test_a_locked_file_is_named(tmp_path, monkeypatch):
    """Root may read everything, so the system's refusal is played."""
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "audio.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    folder = write(tmp_path, UTTERANCES)
    monkeypatch.setattr(Path, "open", refuse)
    with refused("audio.csv", reason=r"^\S+: the file cannot be read \(Permission den"):
        read_corpus(folder)


# ---- sizes --------------------------------------------------------------------------


def declare(shape, recordings=4):
    """An npz file that declares values of a shape, and holds none of them."""

    def make(path):
        np.savez(path, recording=np.array([*"abcd"] * (recordings // 4)), names=["a"])
        with zipfile.ZipFile(path, "a") as file, file.open("values.npy", "w") as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)

    return make


def test_an_archive_is_measured_before_it_is_unpacked(tmp_path):
    """In either case, numpy would allocate all that is declared."""
    size = 2**40
    with refused("audio.npz", None, "values", f"to {4 * size} bytes, expected at most"):
        read_corpus(corpus_with(tmp_path / "a", "audio.npz", declare((size, 1))))
    free = arrays.FREE_SIZE // 8
    with refused("audio.npz", None, "values", rf"\({free}, 1\), expected \(4, 1\)"):
        read_corpus(corpus_with(tmp_path / "b", "audio.npz", declare((free, 1))))


@pytest.mark.parametrize("name", ["audio.npz", "audio.h5", "audio.parquet"])
def test_tables_that_grow_too_much_are_named(tmp_path, monkeypatch, name):
    """Zeros, which are compressed more than 100 times."""
    keys = np.array([f"{i * 7919 % 20_000:05}" for i in range(20_000)])
    zeros = np.zeros((20_000, 99), np.float32)

    def make(path):
        names = [f"f{i}" for i in range(99)]
        if name == "audio.npz":
            np.savez_compressed(path, recording=keys, names=names, values=zeros)
        elif name == "audio.h5":
            datasets(recording=keys.tolist(), names=names, values=[])(path)
            with h5py.File(path, "r+") as file:
                del file["values"]
                file.create_dataset("values", data=zeros, compression="gzip")
        else:
            table = pd.DataFrame(zeros, columns=names).assign(recording="a")
            table.to_parquet(path, compression="zstd")

    folder = corpus_with(tmp_path, name, make)
    monkeypatch.setattr(arrays, "FREE_SIZE", 1000)
    column = None if name == "audio.parquet" else "values"
    with refused(name, None, column, "would grow from .* 100 times .*uncompressed"):
        read_corpus(folder)
    monkeypatch.undo()
    monkeypatch.setattr(reading, "MANY_ROWS", 1000)
    with refused(name, reason="20000 rows, expected 4 at most"):
        read_corpus(folder)


def test_more_columns_than_any_model_bears_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_COLUMNS", 2)
    with refused("recordings.csv", 1, reason="4 columns, expected 2 at most; .* rows"):
        read_corpus(write(tmp_path, UTTERANCES))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_text_cell_in_a_wide_table_is_found(tmp_path, kind):
    """Minutes, where each column is looked for among all."""
    rows, names = 40, [f"f{i}" for i in range(2000)]
    table = pd.DataFrame(np.ones((rows, len(names))), columns=names)
    table["f1999"] = ["1"] * (rows - 1) + ["x"]
    table.insert(0, "recording", [*map(str, range(rows))])
    path = tmp_path / f"a.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    with refused(path.name, rows + 1 if kind == "csv" else 1, "f1999", "number"):
        reading.read_table(path, ("recording",))


def test_keys_of_corpus_json_are_compared_once(tmp_path):
    """Of 30,000, which took a minute."""
    header = json.loads(UTTERANCES["corpus.json"])
    header |= dict.fromkeys(map(str, range(30_000)))
    folder = write(tmp_path, UTTERANCES | {"corpus.json": json.dumps(header)})
    with refused("corpus.json", reason="key '0' is unknown"):
        read_corpus(folder)


# ---- one file for another -----------------------------------------------------------


def test_modalities_of_one_file_are_warned_of(tmp_path):
    def warned(audio, video):
        files = FRAMES | {AUDIO: audio, "features/video.csv": video}
        found = corpus_warnings(read_corpus(write(tmp_path, files)))
        return [sentence for sentence in found if "a copy of the other" in sentence]

    audio, video = FRAMES[AUDIO], FRAMES["features/video.csv"]
    assert warned(audio, video.replace("6", "9")) == []
    assert (
        "audio and video have the same values in all 1 features"
        in warned(audio, audio)[0]
    )
    assert warned(audio, audio.replace("6", "9")) == []  # f0 says nothing
    named = audio.replace("f0", "loudness")
    assert (
        "audio and video have the same names"
        in warned(named, named.replace("6", "9"))[0]
    )


@pytest.mark.parametrize("first", ["PAR1", "FEA1", "arrow1", "MATLAB", "PK", "@r"])
def test_columns_named_like_a_signature_are_columns(tmp_path, first):
    text = f"{first},recording,f1\n1,a,2\n3,b,4.5\n5,c,-6e-3\n7,d,8\n"
    corpus = read_corpus(corpus_with(tmp_path, "audio.csv", text))
    assert corpus.modalities["audio"].names == (first, "f1")
    np.testing.assert_array_equal(corpus.modalities["audio"].values, VALUES)
