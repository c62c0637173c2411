import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tabular import read_columns, read_table, require_steps

RECORDING = np.array(["a", "b"])
VALUES = np.array([[1.0, 2.0], [3.0, 4.0]])


def save_npz(path, **changes):
    arrays = {"recording": RECORDING, "names": np.array(["x", "y"]), "values": VALUES}
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"names": None}, "array 'names' is missing"),
        (
            {"names": np.array(["x"])},
            r"'values' has shape \(2, 2\), expected \(rows, 1\)",
        ),
        ({"names": np.array(["x", "x"])}, "column 'x' occurs more than once"),
        ({"recording": np.array(["a"])}, r"'recording' has shape \(1,\)"),
        ({"values": VALUES.astype(str)}, "column 'values': .*expected numbers"),
        ({"values": VALUES.astype(object)}, "not a readable npz file"),
        ({"values": VALUES[0]}, "'values' has shape"),
    ],
)
def test_bad_npz_is_named(tmp_path, changes, sentence):
    with pytest.raises(CorpusError, match=sentence):
        read_table(save_npz(tmp_path / "a.npz", **changes), ("recording",))


def test_npz_is_read(tmp_path):
    table = read_table(save_npz(tmp_path / "a.npz"), ("recording",))
    assert table.names == ("x", "y")
    assert table.values.dtype == np.float32
    np.testing.assert_array_equal(table.values, VALUES)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet"])
def test_rubbish_is_named(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"rubbish")
    with pytest.raises(CorpusError, match=rf"a\{suffix}: "):
        read_table(path, ("recording",))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ([("recording", "U2"), ("x", "U3")], "column 'x': .*expected numbers"),
        ([("name", "U2"), ("x", "f4")], "column 'recording' is missing"),
    ],
)
def test_bad_npy_is_named(tmp_path, fields, sentence):
    np.save(tmp_path / "a.npy", np.zeros(2, fields))
    with pytest.raises(CorpusError, match=sentence):
        read_table(tmp_path / "a.npy", ("recording",))


def test_plain_and_pickled_npy_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(CorpusError, match="expected a structured array"):
        read_table(tmp_path / "a.npy", ("recording",))
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CorpusError, match="not a readable npy file"):
        read_table(tmp_path / "b.npy", ("recording",))


def test_npy_of_any_numeric_types_in_any_order_is_read(tmp_path):
    fields = [("x", "f8"), ("recording", "S2"), ("y", "i2")]
    np.save(tmp_path / "a.npy", np.array([(0.5, "a", 7), (1.5, "b", 8)], fields))
    table = read_table(tmp_path / "a.npy", ("recording",))
    assert table.text["recording"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(table.values, np.float32([[0.5, 7], [1.5, 8]]))


def test_an_unknown_format_is_named(tmp_path):
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(CorpusError, match=r"a\.xlsx: expected a file ending in"):
        read_table(tmp_path / "a.xlsx", ("recording",))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    for engine in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, engine, None)  # importing it fails
    (tmp_path / "a.parquet").touch()
    with pytest.raises(CorpusError, match="needs pyarrow"):
        read_table(tmp_path / "a.parquet", ("recording",))


def test_parquet_with_text_for_numbers_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    frame = pd.DataFrame({"recording": ["a"], "x": ["one"]})
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"column 'x': .*expected numbers"):
        read_table(tmp_path / "a.parquet", ("recording",))


# as AVEC distributes individual ratings: blanks behind the names, CRLF
RATINGS = (
    "time;FM1 ;FM2 ;FF3\r\n0;0.1;-0.2;0.3\r\n0.04;0.1;;0.35\r\n0.08;0.2;-0.1;1e-3\r\n"
)


def save(folder, text, name="a.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_semicolons_and_blanks_behind_names_are_understood(tmp_path):
    path = save(tmp_path, RATINGS)
    assert read_columns(path, ";,") == ("time", "FM1", "FM2", "FF3")
    table = read_table(path, numbers=("time",), separators=";,")
    assert table.numbers["time"].tolist() == [0, 0.04, 0.08]
    assert table.names == ("FM1", "FM2", "FF3")
    expected = [[0.1, -0.2, 0.3], [0.1, np.nan, 0.35], [0.2, -0.1, 1e-3]]
    np.testing.assert_array_equal(table.values, np.float32(expected))
    commas = read_table(
        save(tmp_path, RATINGS.replace(";", ",")), numbers=("time",), separators=";,"
    )
    np.testing.assert_array_equal(commas.values, table.values)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "0.04;0.1;;0.35",
            "0.04;0.1;0.35",
            "row 3, column 'FF3': the row has 3 fields",
        ),
        ("0.04;0.1;;0.35", "0.04;0.1;;0.35;", "row 3, column 'FF3': the row has 5 fi"),
        ("0.04;0.1;", "0.04;0,1;", "row 3, column 'FM1': '0,1' is not a number; write"),
        ("0.1;-0.2", "0.1;low", "row 2, column 'FM2': 'low' is not a number"),
        ("FM2 ", "FM1", "row 1, column 'FM1' occurs more than once"),
        ("FM2 ", "  ", "row 1: column 3 has no name"),
        ("time", "seconds", "row 1: column 'time' is missing"),
        (";", "\t", "row 1: column 'time' is missing"),
    ],
)
def test_broken_semicolon_files_are_named(tmp_path, old, new, sentence):
    path = save(tmp_path, RATINGS.replace(old, new))
    with pytest.raises(CorpusError, match=sentence):
        read_table(path, numbers=("time",), separators=";,")


@pytest.mark.parametrize(
    "text", ["0.5\n0.6\n", "0;0.5;0.5\n0.04;0.6;0.6\n", "0,nan,-1e-3\n1,2,3\n"]
)
def test_a_csv_without_a_header_is_refused(tmp_path, text):
    path = save(tmp_path, text)
    sentence = r"a.csv, row 1: found the numbers .*, expected a line of column names"
    with pytest.raises(CorpusError, match=sentence):
        read_columns(path, ";,")
    with pytest.raises(CorpusError, match=sentence):
        read_table(path, separators=";,")


def test_the_nan_of_c_is_a_missing_value(tmp_path):
    path = save(tmp_path, RATINGS.replace("-0.2", "-nan").replace("0.35", "-NAN"))
    values = read_table(path, numbers=("time",), separators=";,").values
    expected = [[0.1, np.nan, 0.3], [0.1, np.nan, np.nan], [0.2, -0.1, 1e-3]]
    np.testing.assert_array_equal(values, np.float32(expected))


def test_another_separator_is_hinted_at(tmp_path):
    with pytest.raises(
        CorpusError, match=r"'time' is missing \(are the fields separated"
    ):
        read_table(save(tmp_path, RATINGS), numbers=("time",))


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (
            [0, 0.04, 0.04, 0.08, 0.12],
            "row 4, .*time 0.04 is a duplicate, expected 0.08",
        ),
        ([0, 0.04, 0.12, 0.16, 0.2], "row 4, .*time 0.12 follows a gap, expected 0.08"),
        (
            [0, 0.08, 0.04, 0.12, 0.16],
            "row 3, .*time 0.08 follows a gap, expected 0.04",
        ),
        ([0, 0.04, 0.08, 0.04, 0.08], "row 5, .*time 0.04 goes back, expected 0.12"),
        ([0, 0.4, 0.8, 1.2], "row 3, .*time 0.4 belongs to a frame step of 0.4 s, exp"),
        ([0, 0.04, 0.08, 0.15, 0.16], "row 5, .*time 0.15 follows a gap"),
        ([0, 0.04, 0.08, 0.145, 0.16], "row 5, .*time 0.145 follows a gap"),
        ([0.0, 0.0], "row 3, .*is a duplicate"),
    ],
)
def test_times_that_are_no_steps_are_named(tmp_path, times, sentence):
    path = save(tmp_path, "time,x\n" + "".join(f"{t},1\n" for t in times))
    table = read_table(path, numbers=("time",))
    with pytest.raises(CorpusError, match=sentence):
        require_steps(table, "time", 0.04)


def test_rounded_times_are_steps(tmp_path):
    times = 3.0 + np.arange(7501) * 0.04
    path = save(tmp_path, "time,x\n" + "".join(f"{t:.2f},1\n" for t in times))
    require_steps(read_table(path, numbers=("time",)), "time", 0.04)


@settings(max_examples=200, deadline=20_000)
@given(
    st.sampled_from([RATINGS.encode(), RATINGS.replace(";", ",").encode()]),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 9),
            st.one_of(
                st.sampled_from([b'"', b";", b",", b"\n", b"\r", b"\0"]),
                st.binary(max_size=4),
            ),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_mutated_files_are_read_or_refused_in_one_sentence(
    tmp_path_factory, data, mutations
):
    for place, length, piece in mutations:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + length :]
    path = save(tmp_path_factory.getbasetemp(), data)
    for arguments in (((), ("time",)), ((), (), "text")):
        try:
            table = read_table(path, *arguments, separators=";,")
            for row in range(len(table)):
                assert "row" in str(table.error(row, "time", "bad"))
        except CorpusError as error:
            assert str(error).startswith(str(path))
