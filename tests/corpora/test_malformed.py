"""What is wrong with a file, format by format, and where the reader says it is.

`test_arff.py` and `test_table.py` hold more of headers, quotes and whole folders.
"""

import sys
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import ARRAYS, BINARY, TEXT, read, save

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tabular import read_table

HEADS = {
    "csv": "recording,time,f0,f1\n",
    "arff": (
        "@relation r\n@attribute recording string\n@attribute time numeric\n"
        "@attribute f0 real\n@attribute f1 numeric\n@data\n"
    ),
}
ROWS = "a,0.0,1,2\na,0.04,3,4.5\nb,0.0,5,-6e-3\nb,.04,0.1,8\n"
SECOND = "a,0.04,3,4.5\n"  # line 3 of CSV
# {what: (instead of SECOND, what is said; {} stands for the line)}
BAD_ROWS = {
    "short": ("a,0.04,3\n", "row {}, column 'f1': the row has 3 "),
    "over-long": ("a,0.04,3,4.5,6\n", "row {}, column 'f1': the row has 5 "),
    "trailing comma": ("a,0.04,3,4.5,\n", "row {}, column 'f1': the row has 5 "),
    "decimal comma": ("a,0.04,3,4,5\n", "row {}, column 'f1': the row has 5 "),
    "quoted decimal comma": ('a,0.04,3,"4,5"\n', "row {}, column 'f1': '4,5' is not"),
    "text": ("a,0.04,three,4.5\n", "row {}, column 'f0': 'three' is not a number"),
    "text as time": ("a,now,3,4.5\n", "row {}, column 'time': 'now' is not a number"),
    "underscore": ("a,0.04,1_0,4.5\n", "row {}, column 'f0': '1_0' is not a number"),
    "hexadecimal": ("a,0.04,0x10,4.5\n", "row {}, column 'f0': '0x10' is not a numb"),
    "two numbers": ("a,0.04,3 4,4.5\n", "row {}, column 'f0': '3 4' is not a number"),
    "NaN": ("a,0.04,nan,4.5\n", "row {}, column 'f0': value is missing"),
    "infinite": ("a,0.04,3,-inf\n", "row {}, column 'f1': value is infinite"),
    "beyond float32": ("a,0.04,3,1e39\n", "row {}, column 'f1': value is infinite"),
    "time infinite": ("a,inf,3,4.5\n", "row {}, column 'time': value is inf"),
    "time far": (
        "a,1e10,3,4.5\n",
        "row {}, column 'time': time 1e[+]10 s, expected at",
    ),
    "duplicate time": ("a,0.0,3,4.5\n", "row {}, column 'time': time 0 .*a duplicate"),
    "time goes back": ("a,-.04,3,4.5\n", "row {}, column 'time': time -0.04 .*back"),
    "gap": ("a,.12,3,4.5\n", "row {}, column 'time': time 0.12 .*follows a gap"),
    "twice": (SECOND * 2, "row {next}, column 'time': time 0.04 .*a duplicate"),
    "open quote": ('"a,0.04,3,4.5\n', "row {}: "),
    "open quote at the end": ('a,0.04,3,"4.5\n', "row {}: "),
    "text behind a quote": ('"a"x,0.04,3,4.5\n', "row {}: "),
    "zero byte": ("a,0.04,3\0,4.5\n", "row {}: holds a zero byte"),
    "latin 1": ("\udce9,0.04,3,4.5\n", "row {}: not UTF-8 text"),
    "latin 1 number": ("a,0.04,3\udca0,4.5\n", "row {}: not UTF-8 text|row {}, column"),
}
SPARSE = ("{0 a, 1 0.04, 2 3}\n", "row {}: the row is sparse")
BAD_TEXTS = {
    **{("csv", k): v for k, v in BAD_ROWS.items()},
    **{("arff", k): v for k, v in BAD_ROWS.items()},
    ("arff", "sparse"): SPARSE,
    ("csv", "blanks alone"): ("  \n", "row {}, column 'time': the row has 1 "),
    ("csv", "other separator"): ("a;0.04;3;4.5\n", "row {}, column 'time': the row h"),
}
# {what: (whole file, what is said)}
BAD_FILES = {
    ("csv", "empty"): ("", "row 1: the file is empty"),
    ("csv", "only blank lines"): ("\n\n", "row 1: the file is empty"),
    ("csv", "header only"): (HEADS["csv"], "there are no rows"),
    ("csv", "no header"): (ROWS, "row 1: column 'recording' is missing"),
    ("csv", "duplicate column"): (
        HEADS["csv"].replace("f1", "f0") + ROWS,
        "row 1, column 'f0' occurs more than once",
    ),
    ("csv", "unnamed column"): (
        HEADS["csv"].replace("f1", "") + ROWS,
        "row 1: column 4 has no name",
    ),
    ("csv", "UTF-16"): ((HEADS["csv"] + ROWS).encode("utf-16"), "row 1: not UTF-8"),
    ("csv", "UTF-16 without mark"): (
        (HEADS["csv"] + ROWS).encode("utf-16-le"),
        "row 1: holds a zero byte",
    ),
    ("arff", "empty"): ("", "there is no line @data"),
    ("arff", "header only"): (HEADS["arff"], "there are no rows"),
    ("arff", "no @data"): (
        HEADS["arff"].replace("@data\n", "") + ROWS,
        "row 6: found 'a,0.0,1,2', expected @attribute or @data",
    ),
    ("arff", "no @relation"): (HEADS["arff"][12:] + ROWS, "row 1: .*@relation first"),
    ("arff", "broken attribute"): (
        HEADS["arff"].replace("f0 real", "f0") + ROWS,
        "row 4: @attribute 'f0' is no name and type",
    ),
    ("arff", "nominal"): (
        HEADS["arff"].replace("f0 real", "f0 {1,3,5}") + ROWS,
        "row 4, column 'f0': the attribute is nominal, expected numeric",
    ),
    ("arff", "duplicate column"): (
        HEADS["arff"].replace("f0", "f1") + ROWS,
        "row 1, column 'f1' occurs more than once",
    ),
    ("arff", "UTF-16"): ((HEADS["arff"] + ROWS).encode("utf-16"), "row 1: not UTF-8"),
    ("arff", "CR"): ((HEADS["arff"] + ROWS).replace("\n", "\r"), "no line @data"),
}
GOOD_FILES = {
    "as it is": lambda text: text,
    "byte order mark": lambda text: "\ufeff" + text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "no line end": lambda text: text[:-1],
    "blank lines": lambda text: text.replace(SECOND, "\n" + SECOND + "\n\n"),
    "quotes": lambda text: text.replace("\na,", '\n"a",').replace("b,", '"b",'),
    "quoted numbers": lambda text: text.replace(",3,", ',"3",'),
    "blanks behind commas": lambda text: text.replace(",3,4.5", ", 3 , 4.5 "),
    "signs and exponents": lambda text: text.replace(",3,4.5", ",+3.0e0,0.45E+1"),
}


def fails(path, sentence):
    with pytest.raises(CorpusError, match=sentence) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


def write(path, text):
    is_text = isinstance(text, str)
    path.write_bytes(text.encode("utf-8", "surrogateescape") if is_text else text)
    return path


@pytest.mark.parametrize(("suffix", "what"), BAD_TEXTS)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_bad_rows_of_text_are_named(tmp_path, suffix, what, end):
    row, sentence = BAD_TEXTS[suffix, what]
    text = HEADS[suffix] + ROWS.replace(SECOND, row)
    line = HEADS[suffix].count("\n") + 2
    sentence = sentence.replace("{next}", str(line + 1)).replace("{}", str(line))
    fails(write(tmp_path / f"a.{suffix}", text.replace("\n", end)), sentence)


@pytest.mark.parametrize(("suffix", "what"), BAD_FILES)
def test_bad_files_of_text_are_named(tmp_path, suffix, what):
    text, sentence = BAD_FILES[suffix, what]
    fails(write(tmp_path / f"a.{suffix}", text), sentence)


@pytest.mark.parametrize("suffix", TEXT)
@pytest.mark.parametrize("what", GOOD_FILES)
def test_unusual_but_legitimate_text_is_read(tmp_path, suffix, what):
    text = GOOD_FILES[what](HEADS[suffix] + ROWS)
    table = read(write(tmp_path / f"a.{suffix}", text))
    assert table.names == ("f0", "f1")
    assert table.text["recording"].tolist() == ARRAYS["recording"].tolist()
    np.testing.assert_array_equal(table.numbers["time"], ARRAYS["time"])
    np.testing.assert_array_equal(table.values, ARRAYS["values"])


def test_lines_of_csv_may_end_as_on_an_old_mac(tmp_path):
    text = (HEADS["csv"] + ROWS).replace("\n", "\r")
    table = read(write(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(table.values, ARRAYS["values"])
    bad = text.replace("3,4.5", "3")
    fails(write(tmp_path / "a.csv", bad), "row 3, column 'f1': the row has 3 fields")


def test_a_row_of_several_lines_is_called_after_the_first(tmp_path):
    text = HEADS["csv"] + ROWS.replace("a,0.04,3", '"a\nb",0.04,three')
    fails(write(tmp_path / "a.csv", text), "row 3, column 'f0': 'three' is not a numb")


@pytest.mark.parametrize("arguments", [((), (), "text"), (("recording", "f1"),)])
def test_short_rows_of_arff_that_is_read_as_text_are_named(tmp_path, arguments):
    path = write(tmp_path / "a.arff", HEADS["arff"] + ROWS + "b,0.08,1\n")
    with pytest.raises(CorpusError, match="row 11, column 'f1': the row has 3 values"):
        read_table(path, *arguments)


def test_one_column_of_blanks_is_not_skipped_in_silence(tmp_path):
    path = write(tmp_path / "a.csv", "x\n1\n \n3\n")
    with pytest.raises(CorpusError, match="rows of blanks"):
        read_table(path)


def changed(name, place, value):
    array = ARRAYS[name].copy()
    array[place] = value
    return {name: array}


AS_TEXT = ARRAYS["values"].astype(str)
MOVED = ARRAYS["values"] * 1j
# {what: (arrays instead, what is said)}
BAD_ARRAYS = {
    "NaN": (changed("values", (1, 0), np.nan), "row 2, column 'f0': value is missing"),
    "infinite": (changed("values", (1, 1), np.inf), "row 2, column 'f1': value is inf"),
    "text": (
        {"values": AS_TEXT},
        "column '(values|f0)': values are of type .*expected",
    ),
    "time as text": (
        {"time": ARRAYS["time"].astype(str)},
        "column 'time': values are of type .*expected numbers",
    ),
    "time missing": (
        changed("time", 1, np.nan),
        "row 2, column 'time': value is nan, expected a finite number",
    ),
    "duplicate time": (changed("time", 1, 0.0), "row 2, column 'time': time 0 .*a dup"),
    "time goes back": (changed("time", 1, -1), "row 2, column 'time': time -1 .*back"),
    "gap": (
        changed("time", 1, 0.12),
        "row 2, column 'time': time 0.12 .*follows a gap",
    ),
    "recording twice": (
        {"recording": np.array(["a"] * 4)},
        "row 3, column 'time': time 0 of recording 'a' goes back",
    ),
    "no recording": ({"recording": None}, "'recording' is missing"),
    "no time": ({"time": None}, "'time' is missing"),
    "no rows": (
        {name: ARRAYS[name][:0] for name in ("recording", "time", "values")},
        "there are no rows",
    ),
    "no features": (
        {"names": np.array([], "U1"), "values": ARRAYS["values"][:, :0]},
        "expected column names|there is no feature column",
    ),
    "unnamed feature": ({"names": np.array(["f0", " "])}, "column . has no name|blank"),
}
# of what npz and HDF5 can hold and a table cannot
BAD_SHAPES = {
    "flat": ({"values": ARRAYS["values"].ravel()}, r"'values' has shape \(8,\)"),
    "cube": ({"values": ARRAYS["values"][None]}, r"'values' has shape \(1, 4, 2\)"),
    "a number": ({"values": np.float32(1)}, r"'values' has shape \(\)"),
    "narrow": ({"values": ARRAYS["values"][:, :1]}, r"'values' has shape \(4, 1\)"),
    "short times": ({"time": ARRAYS["time"][:3]}, r"'time' has shape \(3,\)"),
    "names in rows": ({"names": ARRAYS["names"][:, None]}, r"'names' has shape \(2, 1"),
    "same names": (
        {"names": np.array(["f0", "f0"])},
        "row 1, column 'f0' occurs more than once",
    ),
    "complex": ({"values": MOVED}, "column 'values': values are of type complex64"),
    "latin 1": (
        {"recording": np.array([b"\xe9"] * 4)},
        "'recording': not UTF-8|not a readable HDF5",
    ),
    "numbers as names": ({"names": np.array([1j, 2j])}, "'names': values are of type"),
    "no values": ({"values": None}, "array 'values' is missing"),
    "no names": ({"names": None}, "array 'names' is missing"),
}


@pytest.mark.parametrize("suffix", BINARY)
@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_bad_arrays_are_named(tmp_path, suffix, what):
    changes, sentence = BAD_ARRAYS[what]
    fails(save(tmp_path / f"a.{suffix}", **changes), sentence)


@pytest.mark.parametrize("suffix", ["npz", "h5"])
@pytest.mark.parametrize("what", BAD_SHAPES)
def test_arrays_that_do_not_fit_are_named(tmp_path, suffix, what):
    changes, sentence = BAD_SHAPES[what]
    fails(save(tmp_path / f"a.{suffix}", **changes), sentence)


@pytest.mark.parametrize("suffix", [*BINARY, "hdf5"])
def test_good_files_are_read(tmp_path, suffix):
    table = read(save(tmp_path / f"a.{suffix}"))
    assert table.names == ("f0", "f1")
    assert table.text["recording"].tolist() == ARRAYS["recording"].tolist()
    np.testing.assert_array_equal(table.numbers["time"], ARRAYS["time"])
    np.testing.assert_array_equal(table.values, ARRAYS["values"])


@pytest.mark.parametrize("suffix", BINARY)
def test_a_truncated_file_is_named_wherever_it_ends(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}")
    whole = path.read_bytes()
    for size in {0, 1, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1}:
        path.write_bytes(whole[:size])
        fails(path, "not a readable")


@pytest.mark.parametrize("suffix", BINARY)
def test_a_file_of_another_format_is_named(tmp_path, suffix):
    for other in {*BINARY, *TEXT} - {suffix}:
        content = save(tmp_path / f"other.{other}").read_bytes()
        (tmp_path / f"a.{suffix}").write_bytes(content)
        fails(tmp_path / f"a.{suffix}", "not a readable|expected an npz archive")


class Bomb:
    """Unpickling it would fail the test."""

    def __reduce__(self):
        return pytest.fail, ("was unpickled",)


def test_pickles_are_never_opened(tmp_path):
    bombs = np.array([Bomb()] * 4)
    np.savez(tmp_path / "a.npz", **ARRAYS | {"values": bombs}, allow_pickle=True)
    fails(tmp_path / "a.npz", "not a readable npz file .*pickle")
    np.save(tmp_path / "a.npy", bombs, allow_pickle=True)
    fails(tmp_path / "a.npy", "not a readable npy file .*objects")
    bombs.dump(tmp_path / "a.npz")
    fails(tmp_path / "a.npz", "not a readable npz file")
    bombs.dump(tmp_path / "a.npy")
    fails(tmp_path / "a.npy", "not a readable npy file")


def test_npy_without_fields_or_with_more_bytes_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, ARRAYS["values"])
    fails(path, "expected a structured array")
    np.save(path, np.zeros((2, 2), [("recording", "U1"), ("time", "f8")]))
    fails(path, r"array has shape \(2, 2\), expected \(rows,\)")
    path.write_bytes(save(path).read_bytes() + b"more")
    fails(path, "there are 4 bytes behind the 4 rows")


def test_npz_of_damaged_values_or_two_arrays_of_one_name_is_named(tmp_path):
    path = save(tmp_path / "a.npz")
    value = np.float32(4.5).tobytes()
    assert path.read_bytes().count(value) == 1
    path.write_bytes(path.read_bytes().replace(value, np.float32(5.5).tobytes()))
    fails(path, "not a readable npz file .*CRC")
    save(path)
    with zipfile.ZipFile(path) as archive:
        again = archive.read("values.npy")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("values.npy", again)
    fails(path, "array 'values' occurs more than once")


def put(name, make):
    """A change of an HDF5 file: removes a dataset and makes another thing of it."""

    def change(file):
        del file[name]
        make(file, name)

    return change


BAD_DATASETS = {
    "group": put("values", lambda f, n: f.create_group(n)),
    "soft link": put("values", lambda f, n: f.update({n: h5py.SoftLink("/names")})),
    "other file": put(
        "values", lambda f, n: f.update({n: h5py.ExternalLink("b.h5", n)})
    ),
    "external values": put(
        "values",
        lambda f, n: f.create_dataset(n, (4, 2), "f4", external=[("/etc/x", 0, 32)]),
    ),
    "empty": put("time", lambda f, n: f.update({n: h5py.Empty("f8")})),
    "references": put(
        "values", lambda f, n: f.create_dataset(n, (4, 2), h5py.ref_dtype)
    ),
    "lists": put(
        "time", lambda f, n: f.create_dataset(n, (4,), h5py.vlen_dtype(np.float64))
    ),
    "compound": put("time", lambda f, n: f.update({n: np.zeros(4, [("t", "f8")])})),
    "never written": put("values", lambda f, n: f.create_dataset(n, (4, 2), "f4")),
    "huge": put("values", lambda f, n: f.create_dataset(n, (2**40, 2), "f4")),
}


@pytest.mark.parametrize("what", BAD_DATASETS)
def test_odd_datasets_are_named(tmp_path, what):
    path = save(tmp_path / "a.h5")
    save(tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        BAD_DATASETS[what](file)
    fails(
        path, "'(values|time)'.* (lies elsewhere|no values|expected numbers|are there)"
    )


def test_text_of_any_length_in_hdf5_is_read(tmp_path):
    path = save(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["recording"]
        file["recording"] = ["é", "é", "long", "long"]
    assert read(path).text["recording"].tolist() == ["é", "é", "long", "long"]


@pytest.mark.parametrize("size", [0, 8, 2**40])
def test_a_damaged_heap_of_hdf5_does_not_hang(tmp_path, size):
    path = save(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["recording"]
        file["recording"] = list("aabb")
    data = bytearray(path.read_bytes())
    first = data.index(b"GCOL") + 16  # of its objects: number, size
    data[first : first + 16] = np.array([0, size], np.uint64).tobytes()
    path.write_bytes(data)
    fails(path, "not a readable HDF5 file .damaged heap")


def test_npz_of_what_is_no_array_is_named(tmp_path):
    path = save(tmp_path / "a.npz", values=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("values.npy", b"rubbish")
    fails(path, "'values' is not an array")


def test_hdf5_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    path = save(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)  # importing it fails
    fails(path, r"reading HDF5 needs h5py \(pip install h5py\)")


def parquet(path, **columns):
    arrays = {"recording": pa.array(list("aabb")), "time": pa.array(ARRAYS["time"])}
    pq.write_table(pa.table({**arrays, **columns}), path)
    return path


def test_parquet_of_any_plain_type_is_read(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        recording=pa.array(list("aabb")).dictionary_encode(),
        whole=pa.array([1, 2, 3, 4], pa.int16()),
        truth=pa.array([True, False, True, False]),
        half=pa.array([0.5, 1, 1.5, 2], pa.float16()),
    )
    table = read(path)
    assert table.text["recording"].tolist() == list("aabb")
    expected = [[1, 1, 0.5], [2, 0, 1], [3, 1, 1.5], [4, 0, 2]]
    np.testing.assert_array_equal(table.values, np.float32(expected))


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (pa.array([1, None, 3, 4]), "row 2, column 'x': value is missing"),
        (pa.array([None] * 4), "row 1, column 'x': value is missing"),
        (pa.array([True, None, True, True]), "row 2, column 'x': value is missing"),
        (pa.array([[1.0]] * 4), "row 1, column 'x': values are of type list"),
        (pa.array(["1"] * 4), "row 1, column 'x': values are of type string"),
        (pa.array([1, 2, 3, 4], pa.timestamp("s")), "column 'x': .* timestamp"),
        (pa.array([1, 2, 3, 4], pa.decimal128(5)), "column 'x': .* decimal128"),
    ],
)
def test_bad_columns_of_parquet_are_named(tmp_path, column, sentence):
    fails(parquet(tmp_path / "a.parquet", x=column), sentence)


def test_odd_tables_of_parquet_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    names = ["recording", "time", "x", "x"]
    columns = [pa.array(list("aabb")), *[pa.array(ARRAYS["time"])] * 3]
    pq.write_table(pa.Table.from_arrays(columns, names), path)
    fails(path, "row 1, column 'x' occurs more than once")
    fails(
        parquet(path, recording=pa.array([["a"]] * 4)),
        "row 1, column 'recording': values are of type list.*expected text",
    )
