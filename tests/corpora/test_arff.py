import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import arff as scipy_arff

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arff import read_header, write_arff
from ifusion.corpora.tabular import read_columns, read_table

# as AVEC distributes the gold standard, blank lines and all
GOLD = """@relation GOLDSTANDARD

@attribute Instance_name string
@attribute frameTime numeric
@attribute GoldStandard numeric


@data

dev_1,0,-0.022925
dev_1,0.04,-0.021258
dev_1,0.08,?
"""
HARD = (
    b"\xef\xbb\xbf% written by hand: Universit\xe9\r\n"
    b'@RELATION "a relation"\r\n'
    b"  @Attribute\t'it\\'s a name'\tSTRING\r\n"
    b"@attribute frameTime   Integer\r\n"
    b'@ATTRIBUTE "F0, [Hz]" real\r\n'
    b"@attribute class {happy, 'very sad'}\r\n"
    b"@DATA\r\n"
    b"% a comment\r\n"
    b"\r\n"
    b"'a, \"b\"', 1 , -2.5e-1, happy\r\n"
    b"  \"it's, 100 %\",2,NaN,'very sad'\r\n"
    b"   \r\n"
    b"?,3,  ?, ?\r\n"
    b"plain,4,7,happy"
)


def save(folder, text):
    path = folder / "a.arff"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_gold_standard_of_avec_is_read(tmp_path):
    path = save(tmp_path, GOLD)
    assert read_columns(path) == ("Instance_name", "frameTime", "GoldStandard")
    table = read_table(path, ("Instance_name",), ("frameTime",))
    assert table.text["Instance_name"].tolist() == ["dev_1"] * 3
    assert table.numbers["frameTime"].tolist() == [0, 0.04, 0.08]
    assert table.names == ("GoldStandard",)
    expected = np.float32([[-0.022925], [-0.021258], [np.nan]])
    np.testing.assert_array_equal(table.values, expected)
    assert [table.line(row) for row in range(3)] == [10, 11, 12]


def test_quotes_comments_blanks_and_line_ends_are_understood(tmp_path):
    path = save(tmp_path, HARD)
    kinds = [(a.name, a.kind) for a in read_header(path).attributes]
    assert kinds == [
        ("it's a name", "string"),
        ("frameTime", "numeric"),
        ("F0, [Hz]", "numeric"),
        ("class", "nominal"),
    ]
    table = read_table(path, ("it's a name", "class"), ("frameTime",))
    assert table.text["it's a name"].tolist() == [
        *('a, "b"', "it's, 100 %", "", "plain"),
    ]
    assert table.text["class"].tolist() == ["happy", "very sad", "", "happy"]
    assert table.numbers["frameTime"].tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(table.values[:, 0], [-0.25, np.nan, np.nan, 7])
    assert [table.line(row) for row in range(4)] == [10, 11, 13, 14]


@pytest.mark.parametrize("comment", ["", "% read line by line\n"])
def test_the_nan_of_c_is_a_missing_value(tmp_path, comment):
    text = f"@relation x\n@attribute a numeric\n@attribute b numeric\n@data\n{comment}"
    path = save(tmp_path, f"{text}-nan,1\n2,-NAN\n")
    expected = np.float32([[np.nan, 1], [2, np.nan]])
    np.testing.assert_array_equal(read_table(path).values, expected)


def test_numbers_are_those_that_scipy_reads(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 4)) * 10.0 ** rng.integers(-9, 9, (50, 4))
    values[rng.random(values.shape) < 0.1] = np.nan
    names = ["a", "b", "c", "d"]
    path = tmp_path / "a.arff"
    write_arff(path, "numbers", {}, names, values.astype(np.float32))
    records, _ = scipy_arff.loadarff(io.StringIO(path.read_text("utf-8")))
    expected = np.stack([records[name] for name in names], 1).astype(np.float32)
    table = read_table(path)
    np.testing.assert_array_equal(table.values, expected)
    np.testing.assert_array_equal(table.values, values.astype(np.float32))


def test_what_is_written_is_read_back(tmp_path):
    names = np.array(["it's", 'a "b"', "c,d,", "back\\slash", "%", "?"])
    values = np.float32(np.linspace(-1, 1, 12).reshape(6, 2)) ** 3
    path = tmp_path / "a.arff"
    times = np.arange(6) * 0.04
    columns = ["t", "x'", "y z"]
    write_arff(path, "r", {"who, me": names}, columns, np.c_[times, values])
    table = read_table(path, ("who, me",), ("t",))
    assert table.text["who, me"].tolist() == [*names[:5].tolist(), ""]
    np.testing.assert_allclose(table.numbers["t"], times, rtol=1e-8)
    assert table.names == ("x'", "y z")
    np.testing.assert_array_equal(table.values, values)


HEAD = "@relation r\n@attribute name string\n@attribute x numeric\n@attribute y real\n"
BAD_HEADERS = {
    "empty": ("", "there is no line @data"),
    "no relation": (GOLD[22:], "row 3: found '@attribute Instance_name string', exp"),
    "no data": (HEAD, "there is no line @data"),
    "no attributes": ("@relation r\n@data\n1\n", "row 2: @data comes before any"),
    "two relations": ("@relation r\n@relation s\n", "row 2: .*expected @attribute or"),
    "stray line": (HEAD + "@atribute z real\n", "row 5: found '@atribute z real'"),
    "data early": (HEAD + "a,1,2\n@data\n", "row 5: found 'a,1,2', expected @attr"),
    "data and more": (HEAD + "@data a,1,2\n", "row 5: found '@data a,1,2'"),
    "no type": ("@relation r\n@attribute x\n", "row 2: @attribute 'x' is no name and"),
    "no name": ("@relation r\n@attribute numeric\n", "'numeric' is no name and type"),
    "bad type": (HEAD + "@attribute z float\n", "row 5, column 'z': type 'float' is n"),
    "range": (HEAD + "@attribute z real [0,1]\n", r"column 'z': type 'real \[0,1\]'"),
    "relational": (HEAD + "@attribute z relational\n", "type 'relational' is none of"),
    "open quote": ("@relation r\n@attribute 'x numeric\n", "is no name and type"),
    "open nominal": (HEAD + "@attribute z {a,b\n", "column 'z': type '{a,b'"),
    "twice": (HEAD + "@attribute x real\n@data\na,1,2,3\n", "'x' occurs more than onc"),
    "blank name": ("@relation r\n@attribute ' ' real\n@data\n1\n", "column 1 has no n"),
    "latin 1": (HEAD.encode() + b"@attribute \xe9 real\n", "row 5: not UTF-8 text"),
    "old mac": (GOLD.replace("\n", "\r"), "there is no line @data"),
}
BAD_ROWS = {
    "none": ("", "there are no rows"),
    "short": ("a,1,2\na,1\n", "row 7, column 'y': the row has 2 values, expected 3"),
    "long": ("a,1,2,3\n", "row 6, column 'y': the row has 4 values, expected 3"),
    "comma at the end": ("a,1,2,\n", "the row has 4 values"),
    "sparse": ("{0 a, 1 2}\n", "row 6: the row is sparse"),
    "weight": ("a,1,2,{5}\n", "the row has 4 values"),
    "word": ("a,1,2\n\na,one,2\n", "row 8, column 'x': 'one' is not a number"),
    "blank": ("a,,2\n", "row 6, column 'x': '' is not a number"),
    "underscore": ("a,1_000,2\n", "column 'x': '1_000' is not a number"),
    "quote": ("'a,1,2\n", "row 6: value 1 holds a quote that is not closed"),
    "double quote": ('a,1,2\nb,"1,2\n', "row 7: value 2 holds a quote that is not"),
    "inner quote": ("O'Brien,1,2\n", "row 6: value 1 holds a quote"),
    "after a quote": ("'a'b,1,2\n", "row 6: value 1 holds a quote"),
    "blanks between": ("a 1 2\n", "the row has 1 values, expected 3"),
    "semicolons": ("a;1;2\n", "the row has 1 values, expected 3"),
    "control character": ("a,1,2\nb\x1fc,1,2\n", "row 7: holds a control character"),
    "missing name": ("1,2\n", "row 6, column 'y': the row has 2 values"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_broken_header_is_named(tmp_path, case):
    text, sentence = BAD_HEADERS[case]
    with pytest.raises(CorpusError, match=sentence):
        read_table(save(tmp_path, text), rest="text")


@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_broken_rows_are_named(tmp_path, case, end):
    rows, sentence = BAD_ROWS[case]
    text = f"{HEAD}@data\n{rows}".replace("\n", end)
    with pytest.raises(CorpusError, match=sentence):
        read_table(save(tmp_path, text), ("name",))


def test_nominal_and_text_where_numbers_are_due_are_named(tmp_path):
    text = HEAD + "@attribute z {low,high}\n@data\na,1,2,low\n"
    path = save(tmp_path, text)
    sentence = "row 5, column 'z': the attribute is nominal, expected numeric"
    with pytest.raises(CorpusError, match=sentence):
        read_table(path, ("name",))
    with pytest.raises(CorpusError, match="column 'name': the attribute is string"):
        read_table(path, ("z",), ("name",))
    table = read_table(path, ("name", "z"))
    assert table.text["z"].tolist() == ["low"]
    with pytest.raises(CorpusError, match="column 'time' is missing"):
        read_table(path, ("name", "z"), ("time",))


def test_a_file_as_wide_as_video_is_read(tmp_path):
    path, num_features = tmp_path / "a.arff", 640
    values = np.random.default_rng(0).standard_normal((300, num_features), np.float32)
    names = [f"f{i}" for i in range(num_features)]
    text = {"name": np.full(300, "train_1")}
    write_arff(path, "r", text, ["t", *names], np.c_[np.arange(300), values])
    table = read_table(path, ("name",), ("t",))
    np.testing.assert_array_equal(table.values, values)


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "drop", "insert", "repeat"]),
        st.floats(0, 1),
        st.integers(1, 12),
        st.one_of(
            st.sampled_from([b"'", b'"', b",", b"\n", b"\r", b"{", b"}", b"%"]),
            st.sampled_from([b"?", b"\\", b"\x00", b"\x1f", b"\xff", b"nan", b" "]),
            st.binary(max_size=4),
        ),
    ),
    min_size=1,
    max_size=6,
)


def mutate(data, mutations):
    for kind, place, length, piece in mutations:
        at = int(place * len(data))
        if kind == "cut":
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + length :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        else:
            data = data[:at] + data[at : at + length] * 3 + data[at + length :]
    return data


def outcome(path, data, arguments):
    """The columns as text, or a refusal."""
    path.write_bytes(data)
    try:
        table = read_table(path, *arguments)
    except CorpusError as error:
        assert str(error).startswith(str(path))
        return "refused"
    lines = [table.line(row) for row in range(len(table))]
    assert lines == sorted(set(lines))
    return repr([[c.tolist() for c in table.text.values()], table.values.tolist()])


@settings(max_examples=250, deadline=20_000)
@given(st.sampled_from([GOLD.encode(), HARD]), MUTATIONS)
def test_mutated_files_are_read_or_refused_in_one_sentence(
    tmp_path_factory, data, mutations
):
    path, data = tmp_path_factory.getbasetemp() / "a.arff", mutate(data, mutations)
    as_gold = (("Instance_name",), ("frameTime",), "numeric")
    for arguments in (as_gold, ((), (), "text")):
        # a comment at the end changes nothing, but keeps pandas from the whole file
        assert outcome(path, data, arguments) == outcome(
            path, data + b"\n% comment", arguments
        )
