"""What is right and what is wrong with a file, format by format, and where."""

import sys
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import ARRAYS, BINARY, STEP, TEXT, read, refused, save

from ifusion.corpora.tables.checks import require_steps
from ifusion.corpora.tables.reading import read_columns, read_table

HEADS = {
    "csv": "recording,time,f0,f1\n",
    "arff": (
        "@relation r\n@attribute recording string\n@attribute time numeric\n"
        "@attribute f0 real\n@attribute f1 numeric\n@data\n"
    ),
}
ROWS = "a,0.0,1,2\na,0.04,3,4.5\nb,0.0,5,-6e-3\nb,.04,0.1,8\n"
SECOND = "a,0.04,3,4.5\n"  # line 3 of CSV
# (instead of SECOND, column of the error, word of its reason)
BAD_ROWS = [
    ("a,0.04,3\n", "f1", "the row has 3 "),
    ("a,0.04,3,4.5,6\n", "f1", "the row has 5 "),
    ("a,0.04,3,4.5,\n", "f1", "the row has 5 "),
    ('a,0.04,3,"4,5"\n', "f1", "'4,5' is not a number"),
    ("a,0.04,three,4.5\n", "f0", "'three' is not a number"),
    ("a,now,3,4.5\n", "time", "'now' is not a number"),
    ("a,0.04,1_0,4.5\n", "f0", "'1_0' is not a number"),
    ("a,0.04,0x10,4.5\n", "f0", "'0x10' is not a number"),
    ("a,0.04,3 4,4.5\n", "f0", "'3 4' is not a number"),
    ("a,0.04,nan,4.5\n", "f0", "missing"),
    ("a,0.04,3,-inf\n", "f1", "infinite"),
    ("a,0.04,3,1e39\n", "f1", "infinite"),
    ("a,inf,3,4.5\n", "time", "inf is not a finite number"),
    ("a,1e10,3,4.5\n", "time", "beyond"),
    ("a,0.0,3,4.5\n", "time", "duplicate"),
    ("a,-.04,3,4.5\n", "time", "goes back"),
    ("a,.12,3,4.5\n", "time", "gap"),
    ('"a,0.04,3,4.5\n', None, "quote|stray"),
    ('a,0.04,3,"4.5\n', None, "quote|stray"),
    ('"a"x,0.04,3,4.5\n', None, "quote|stray"),
    ("a,0.04,3\0,4.5\n", None, "zero byte"),
    ("\udce9,0.04,3,4.5\n", None, "UTF-8"),
]
BAD_TEXTS = [(kind, *case) for kind in TEXT for case in BAD_ROWS] + [
    ("arff", "{0 a, 1 0.04, 2 3}\n", None, "sparse"),
    ("csv", "  \n", "time", "the row has 1 "),
    ("csv", "a;0.04;3;4.5\n", "time", "the row has 1 "),
]
# (format, whole file, row, column, word)
BAD_FILES = [
    ("csv", "", 1, None, "empty"),
    ("csv", "\n\n", 1, None, "empty"),
    ("csv", HEADS["csv"], None, None, "no rows"),
    ("csv", ROWS, 1, "recording", "missing"),
    ("csv", HEADS["csv"].replace("f1", "f0") + ROWS, 1, "f0", "more than once"),
    ("csv", HEADS["csv"].replace("f1", "") + ROWS, 1, None, "column 4 has no name"),
    ("csv", HEADS["csv"].replace(",", ";") + ROWS, 2, "time", "separated by ','"),
    ("csv", HEADS["csv"].replace(",", "|") + ROWS, 1, "recording", "separated by '|'"),
    ("csv", "0;0.5\n0.04;0.6\n".replace(";", ","), 1, None, "found the numbers"),
    ("csv", (HEADS["csv"] + ROWS).encode("utf-16"), 1, None, "UTF-8"),
    ("csv", (HEADS["csv"] + ROWS).encode("utf-16-le"), 1, None, "UTF-16"),
    ("arff", "", None, None, "no line @data"),
    ("arff", HEADS["arff"], None, None, "no rows"),
    ("arff", HEADS["arff"].replace("f0 real", "f0 {1,3}") + ROWS, 4, "f0", "nominal"),
    ("arff", HEADS["arff"].replace("f0", "f1") + ROWS, 1, "f1", "more than once"),
    ("arff", (HEADS["arff"] + ROWS).encode("utf-16"), 1, None, "UTF-8"),
]
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


def write(path, text):
    is_text = isinstance(text, str)
    path.write_bytes(text.encode("utf-8", "surrogateescape") if is_text else text)
    return path


def holds_arrays(table):
    assert table.names == ("f0", "f1")
    assert table.text["recording"].tolist() == ARRAYS["recording"].tolist()
    np.testing.assert_array_equal(table.numbers["time"], ARRAYS["time"])
    np.testing.assert_array_equal(table.values, ARRAYS["values"])


@pytest.mark.parametrize(("kind", "row", "column", "reason"), BAD_TEXTS)
def test_bad_rows_of_text_are_named(tmp_path, kind, row, column, reason):
    text = HEADS[kind] + ROWS.replace(SECOND, row)
    line = HEADS[kind].count("\n") + 2
    for end in ("\n", "\r\n"):
        path = write(tmp_path / f"a.{kind}", text.replace("\n", end))
        with refused(path.name, line, column, reason):
            read(path)


@pytest.mark.parametrize(("kind", "text", "row", "column", "reason"), BAD_FILES)
def test_bad_files_of_text_are_named(tmp_path, kind, text, row, column, reason):
    with refused(f"a.{kind}", row, column, reason):
        read(write(tmp_path / f"a.{kind}", text))


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("what", GOOD_FILES)
def test_unusual_but_legitimate_text_is_read(tmp_path, kind, what):
    text = GOOD_FILES[what](HEADS[kind] + ROWS)
    holds_arrays(read(write(tmp_path / f"a.{kind}", text)))


def test_lines_of_csv_may_end_as_on_an_old_mac(tmp_path):
    text = (HEADS["csv"] + ROWS).replace("\n", "\r")
    holds_arrays(read(write(tmp_path / "a.csv", text)))
    with refused("a.csv", 3, "f1", "the row has 3 fields"):
        read(write(tmp_path / "a.csv", text.replace("3,4.5", "3")))


def test_a_row_of_several_lines_goes_by_the_first(tmp_path):
    text = HEADS["csv"] + ROWS.replace("a,0.04,3", '"a\nb",0.04,three')
    with refused("a.csv", 3, "f0", "'three' is not a number"):
        read(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize("arguments", [((), (), "text"), (("recording", "f1"),)])
def test_short_rows_of_arff_that_is_read_as_text_are_named(tmp_path, arguments):
    path = write(tmp_path / "a.arff", HEADS["arff"] + ROWS + "b,0.08,1\n")
    with refused("a.arff", 11, "f1", "the row has 3 values"):
        read_table(path, *arguments)


def test_one_column_of_blanks_is_not_skipped_silently(tmp_path):
    with refused("a.csv", reason="blank"):
        read_table(write(tmp_path / "a.csv", "x\n1\n \n3\n"))


# as AVEC distributes individual ratings: blanks behind the names, CRLF, C's -nan
RATINGS = (
    "time;FM1 ;FM2 ;FF3\r\n0;0.1;-nan;0.3\r\n0.04;0.1;;-NAN\r\n0.08;0.2;-0.1;1e-3\r\n"
)


@pytest.mark.parametrize("separator", [";", ","])
def test_separators_and_blanks_behind_names_are_understood(tmp_path, separator):
    path = write(tmp_path / "a.csv", RATINGS.replace(";", separator))
    assert read_columns(path, ";,") == ("time", "FM1", "FM2", "FF3")
    table = read_table(path, numbers=("time",), separators=";,")
    assert table.numbers["time"].tolist() == [0, 0.04, 0.08]
    assert table.names == ("FM1", "FM2", "FF3")
    expected = [[0.1, np.nan, 0.3], [0.1, np.nan, np.nan], [0.2, -0.1, 1e-3]]
    np.testing.assert_array_equal(table.values, np.float32(expected))


def test_decimal_commas_between_semicolons_are_hinted_at(tmp_path):
    path = write(tmp_path / "a.csv", RATINGS.replace("0.04;0.1;", "0.04;0,1;"))
    with refused("a.csv", 3, "FM1", "decimals with a point"):
        read_table(path, numbers=("time",), separators=";,")


@pytest.mark.parametrize(
    ("times", "row", "reason"),
    [
        ([0, 0.04, 0.04, 0.08, 0.12], 4, "0.04 is a duplicate, expected 0.08"),
        ([0, 0.04, 0.12, 0.16, 0.2], 4, "0.12 follows a gap, expected 0.08"),
        ([0, 0.08, 0.04, 0.12, 0.16], 3, "0.08 follows a gap, expected 0.04"),
        ([0, 0.04, 0.08, 0.04, 0.08], 5, "0.04 goes back, expected 0.12"),
        ([0, 0.4, 0.8, 1.2], 3, "0.4 belongs to a frame step of 0.4 s"),
        ([0, 0.04, 0.08, 0.145, 0.16], 5, "0.145 follows a gap"),
        ([0.0, 0.0], 3, "duplicate"),
    ],
)
def test_times_that_are_no_steps_are_named(tmp_path, times, row, reason):
    path = write(tmp_path / "a.csv", "time,x\n" + "".join(f"{t},1\n" for t in times))
    table = read_table(path, numbers=("time",))
    with refused("a.csv", row, "time", reason):
        require_steps(table, "time", STEP)


def test_rounded_times_are_steps(tmp_path):
    times = 3.0 + np.arange(7501) * STEP
    rows = "".join(f"{t:.2f},1\n" for t in times)
    table = read_table(write(tmp_path / "a.csv", "time,x\n" + rows), numbers=("time",))
    require_steps(table, "time", STEP)


def changed(name, place, value):
    array = ARRAYS[name].copy()
    array[place] = value
    return {name: array}


EMPTY = {name: ARRAYS[name][:0] for name in ("recording", "time", "values")}
NO_FEATURES = {"names": np.array([], "U1"), "values": ARRAYS["values"][:, :0]}
# (arrays instead, row, column, word)
BAD_ARRAYS = [
    (changed("values", (1, 0), np.nan), 2, "f0", "missing"),
    (changed("values", (1, 1), np.inf), 2, "f1", "infinite"),
    (changed("time", 1, np.nan), 2, "time", "nan is not a finite number"),
    (changed("time", 1, 0.0), 2, "time", "duplicate"),
    (changed("time", 1, -1), 2, "time", "goes back"),
    (changed("time", 1, 0.12), 2, "time", "gap"),
    ({"recording": np.array(["a"] * 4)}, 3, "time", "of recording 'a' goes back"),
    ({"time": ARRAYS["time"].astype(str)}, 1, "time", "expected numbers"),
    (EMPTY, None, None, "no rows"),
]
# of what npz and HDF5 can hold and a table cannot
BAD_SHAPES = [
    ({"values": ARRAYS["values"].ravel()}, None, "values", r"shape \(8,\)"),
    ({"values": ARRAYS["values"][None]}, None, "values", r"shape \(1, 4, 2\)"),
    ({"values": np.float32(1)}, None, "values", r"shape \(\)"),
    ({"values": ARRAYS["values"][:, :1]}, None, "values", r"shape \(4, 1\)"),
    ({"values": ARRAYS["values"].astype(str)}, 1, "values", "expected numbers"),
    ({"values": ARRAYS["values"] * 1j}, 1, "values", "complex64 values"),
    ({"time": ARRAYS["time"][:3]}, None, "time", r"shape \(3,\)"),
    ({"names": np.array(["f0", "f0"])}, 1, "f0", "more than once"),
    ({"names": np.array(["f0", " "])}, 1, None, "column 2 has no name"),
    ({"names": np.array([1j, 2j])}, None, "names", "expected text"),
    (NO_FEATURES, 1, None, "expected column names"),
    *(({name: None}, None, name, "the array is missing") for name in ARRAYS),
]


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize(("changes", "row", "column", "reason"), BAD_ARRAYS)
def test_bad_arrays_are_named(tmp_path, kind, changes, row, column, reason):
    with refused(f"a.{kind}", row, column, reason):
        read(save(tmp_path / f"a.{kind}", **changes))


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize(("changes", "row", "column", "reason"), BAD_SHAPES)
def test_arrays_that_do_not_fit_are_named(tmp_path, kind, changes, row, column, reason):
    with refused(f"a.{kind}", row, column, reason):
        read(save(tmp_path / f"a.{kind}", **changes))


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_columns_that_do_not_fit_are_named(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    for column in ("recording", "time"):
        with refused(path.name, 1, column, "missing"):
            read(save(path, **{column: None}))
    with refused(path.name, reason="no feature column"):
        read(save(path, **NO_FEATURES))
    with refused(path.name, 1, "f0", "expected numbers"):
        read(save(path, values=ARRAYS["values"].astype(str)))


@pytest.mark.parametrize("kind", [*BINARY, "hdf5"])
def test_good_files_are_read(tmp_path, kind):
    holds_arrays(read(save(tmp_path / f"a.{kind}")))


@pytest.mark.parametrize("kind", BINARY)
def test_files_that_are_truncated_or_of_another_format_are_named(tmp_path, kind):
    path = save(tmp_path / f"a.{kind}")
    whole = path.read_bytes()
    for size in {0, 1, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with refused(path.name, reason="not a readable"):
            read(path)
    for other in {*BINARY, *TEXT} - {kind}:
        path.write_bytes(save(tmp_path / f"other.{other}").read_bytes())
        with refused(path.name, reason="not a readable|expected an npz archive"):
            read(path)


def test_unknown_formats_and_missing_libraries_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.xlsx").touch()
    with refused("a.xlsx", reason="expected a name ending in"):
        read_table(tmp_path / "a.xlsx")
    for kind, library in (("parquet", "pyarrow"), ("h5", "h5py")):
        path = save(tmp_path / f"a.{kind}")
        monkeypatch.setitem(sys.modules, library, None)  # importing it fails
        with refused(path.name, reason=rf"needs {library} \(pip install {library}\)"):
            read(path)


class Bomb:
    """Unpickling it would fail the test."""

    def __reduce__(self):
        return pytest.fail, ("was unpickled",)


def test_pickles_are_never_opened(tmp_path):
    bombs, npz, npy = np.array([Bomb()] * 4), tmp_path / "a.npz", tmp_path / "a.npy"
    np.savez(npz, **ARRAYS | {"values": bombs}, allow_pickle=True)
    np.save(npy, bombs, allow_pickle=True)
    for path in (npz, npy):
        column = "values" if path is npz else None
        with refused(path.name, column=column, reason="never unpickled|pickle|objects"):
            read(path)
        bombs.dump(path)
        with refused(path.name, reason="not a readable"):
            read(path)


def test_npy_of_any_numeric_types_in_any_order_is_read(tmp_path):
    fields = [("x", "f8"), ("recording", "S2"), ("y", "i2")]
    np.save(tmp_path / "a.npy", np.array([(0.5, "a", 7), (1.5, "b", 8)], fields))
    table = read_table(tmp_path / "a.npy", ("recording",))
    assert table.text["recording"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(table.values, np.float32([[0.5, 7], [1.5, 8]]))


def test_npy_without_fields_or_with_more_bytes_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, ARRAYS["values"])
    with refused("a.npy", reason="expected a structured array"):
        read(path)
    np.save(path, np.zeros((2, 2), [("recording", "U1"), ("time", "f8")]))
    with refused("a.npy", reason=r"shape \(2, 2\), expected \(rows,\)"):
        read(path)
    path.write_bytes(save(path).read_bytes() + b"more")
    with refused("a.npy", reason="4 bytes after the 4 rows"):
        read(path)


def test_damaged_members_of_npz_are_named(tmp_path):
    path = save(tmp_path / "a.npz")
    value = np.float32(4.5).tobytes()
    assert path.read_bytes().count(value) == 1
    path.write_bytes(path.read_bytes().replace(value, np.float32(5.5).tobytes()))
    with refused("a.npz", reason="not a readable npz file .*CRC"):
        read(path)
    save(path)
    with zipfile.ZipFile(path) as archive:
        again = archive.read("values.npy")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("values.npy", again)
    with refused("a.npz", column="values", reason="more than once"):
        read(path)
    save(path, values=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("values.npy", b"rubbish")
    with refused("a.npz", column="values", reason="not an array"):
        read(path)
    save(path, recording=np.array([b"\xe9"] * 4))
    with refused("a.npz", column="recording", reason="UTF-8"):
        read(path)


BAD_DATASETS = {
    "group": ("values", lambda f, n: f.create_group(n)),
    "soft link": ("values", lambda f, n: f.update({n: h5py.SoftLink("/names")})),
    "other file": ("values", lambda f, n: f.update({n: h5py.ExternalLink("b.h5", n)})),
    "external values": (
        "values",
        lambda f, n: f.create_dataset(n, (4, 2), "f4", external=[("/etc/x", 0, 32)]),
    ),
    "empty": ("time", lambda f, n: f.update({n: h5py.Empty("f8")})),
    "references": ("values", lambda f, n: f.create_dataset(n, (4, 2), h5py.ref_dtype)),
    "lists": ("time", lambda f, n: f.create_dataset(n, (4,), h5py.vlen_dtype("f8"))),
    "never written": ("values", lambda f, n: f.create_dataset(n, (4, 2), "f4")),
    "huge": ("values", lambda f, n: f.create_dataset(n, (2**40, 2), "f4")),
}


@pytest.mark.parametrize("what", BAD_DATASETS)
def test_odd_datasets_are_named(tmp_path, what):
    path, (name, make) = save(tmp_path / "a.h5"), BAD_DATASETS[what]
    save(tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        del file[name]
        make(file, name)
    with refused("a.h5", column=name, reason="elsewhere|no values|objects|stores"):
        read(path)


def test_compound_datasets_are_named(tmp_path):
    path = save(tmp_path / "a.h5", time=None)
    with h5py.File(path, "r+") as file:
        file["time"] = np.zeros(4, [("t", "f8")])
    with refused("a.h5", 1, "time", "expected numbers"):
        read(path)


def save_lists_of_text(path):
    """Text of any length, which HDF5 keeps in a heap."""
    save(path, recording=None)
    with h5py.File(path, "r+") as file:
        file["recording"] = ["é", "é", "long", "long"]
    return path


def test_text_of_any_length_in_hdf5_is_read(tmp_path):
    table = read(save_lists_of_text(tmp_path / "a.h5"))
    assert table.text["recording"].tolist() == ["é", "é", "long", "long"]


@pytest.mark.parametrize("size", [0, 8, 2**40])
def test_a_damaged_heap_of_hdf5_does_not_hang(tmp_path, size):
    path = save_lists_of_text(tmp_path / "a.h5")
    data = bytearray(path.read_bytes())
    first = data.index(b"GCOL") + 16  # of its objects: number, size
    data[first : first + 16] = np.array([0, size], np.uint64).tobytes()
    path.write_bytes(data)
    with refused("a.h5", reason="damaged heap"):
        read(path)


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
    ("column", "values", "row", "reason"),
    [
        ("x", pa.array([1, None, 3, 4]), 2, "missing"),
        ("x", pa.array([None] * 4), 1, "missing"),
        ("x", pa.array([True, None, True, True]), 2, "missing"),
        ("x", pa.array([[1.0]] * 4), 1, "list"),
        ("x", pa.array(["1"] * 4), 1, "string"),
        ("x", pa.array([1, 2, 3, 4], pa.timestamp("s")), 1, "timestamp"),
        ("x", pa.array([1, 2, 3, 4], pa.decimal128(5)), 1, "decimal128"),
        ("recording", pa.array([["a"]] * 4), 1, "expected text"),
    ],
)
def test_bad_columns_of_parquet_are_named(tmp_path, column, values, row, reason):
    path = parquet(tmp_path / "a.parquet", **{column: values})
    with refused("a.parquet", row, column, reason):
        read(path)


def test_columns_of_parquet_that_share_a_name_are_named(tmp_path):
    columns = [pa.array(list("aabb")), *[pa.array(ARRAYS["time"])] * 3]
    table = pa.Table.from_arrays(columns, ["recording", "time", "x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    with refused("a.parquet", 1, "x", "more than once"):
        read(tmp_path / "a.parquet")
