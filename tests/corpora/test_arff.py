import io

import numpy as np
import pytest
from formats import refused
from mutation import mutate
from scipy.io import arff as scipy_arff

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arff import read_arff_header, write_arff
from ifusion.corpora.tables.reading import read_columns, read_table

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
    kinds = [(a.name, a.kind) for a in read_arff_header(path).attributes]
    assert kinds == [
        ("it's a name", "string"),
        ("frameTime", "numeric"),
        ("F0, [Hz]", "numeric"),
        ("class", "nominal"),
    ]
    table = read_table(path, ("it's a name", "class"), ("frameTime",))
    names = table.text["it's a name"].tolist()
    assert names == ['a, "b"', "it's, 100 %", "", "plain"]
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
# (text, row, column, word of the reason)
BAD_HEADERS = [
    ("", None, None, "no line @data"),
    (HEAD, None, None, "no line @data"),
    (GOLD.replace("\n", "\r"), None, None, "no line @data"),
    (GOLD[22:], 3, None, "found '@attribute Instance_name string', expected @relation"),
    ("@relation r\n@data\n1\n", 2, None, "before @data"),
    ("@relation r\n@relation s\n", 2, None, "expected @attribute or @data"),
    (HEAD + "@atribute z real\n", 5, None, "found '@atribute z real'"),
    (HEAD + "a,1,2\n@data\n", 5, None, "found 'a,1,2'"),
    (HEAD + "@data a,1,2\n", 5, None, "found '@data a,1,2'"),
    ("@relation r\n@attribute x\n", 2, None, "'x' is not a name and a type"),
    ("@relation r\n@attribute numeric\n", 2, None, "not a name and a type"),
    ("@relation r\n@attribute 'x numeric\n", 2, None, "not a name and a type"),
    (HEAD + "@attribute z float\n", 5, "z", "type 'float'"),
    (HEAD + "@attribute z real [0,1]\n", 5, "z", r"type 'real \[0,1\]'"),
    (HEAD + "@attribute z relational\n", 5, "z", "type 'relational'"),
    (HEAD + "@attribute z {a,b\n", 5, "z", "type '{a,b'"),
    (HEAD + "@attribute x real\n@data\na,1,2,3\n", 1, "x", "more than once"),
    ("@relation r\n@attribute ' ' real\n@data\n1\n", 1, None, "column 1 has no name"),
    (HEAD.encode() + b"@attribute \xe9 real\n", 5, None, "UTF-8"),
]
BAD_ROWS = [
    ("", None, None, "no rows"),
    ("a,1,2\na,1\n", 7, "y", "the row has 2 values"),
    ("a,1,2,3\n", 6, "y", "the row has 4 values"),
    ("a,1,2,{5}\n", 6, "y", "the row has 4 values"),
    ("a 1 2\n", 6, "x", "the row has 1 values"),
    ("{0 a, 1 2}\n", 6, None, "sparse"),
    ("a,1,2\n\na,one,2\n", 8, "x", "'one' is not a number"),
    ("a,,2\n", 6, "x", "'' is not a number"),
    ("'a,1,2\n", 6, None, "value 1 holds a stray"),
    ('a,1,2\nb,"1,2\n', 7, None, "value 2 holds a stray"),
    ("O'Brien,1,2\n", 6, None, "value 1 holds a stray"),
    ("a,1,2\nb\x1fc,1,2\n", 7, None, "control character"),
]


@pytest.mark.parametrize(("text", "row", "column", "reason"), BAD_HEADERS)
def test_a_broken_header_is_named(tmp_path, text, row, column, reason):
    with refused("a.arff", row, column, reason):
        read_table(save(tmp_path, text), rest="text")


@pytest.mark.parametrize(("rows", "row", "column", "reason"), BAD_ROWS)
def test_broken_rows_are_named(tmp_path, rows, row, column, reason):
    for end in ("\n", "\r\n"):
        path = save(tmp_path, f"{HEAD}@data\n{rows}".replace("\n", end))
        with refused("a.arff", row, column, reason):
            read_table(path, ("name",))


def test_nominal_and_text_where_numbers_are_due_are_named(tmp_path):
    path = save(tmp_path, HEAD + "@attribute z {low,high}\n@data\na,1,2,low\n")
    with refused("a.arff", 5, "z", "nominal, expected numeric"):
        read_table(path, ("name",))
    with refused("a.arff", 2, "name", "string, expected numeric"):
        read_table(path, ("z",), ("name",))
    assert read_table(path, ("name", "z")).text["z"].tolist() == ["low"]


def test_a_file_as_wide_as_video_is_read(tmp_path):
    path, num_features = tmp_path / "a.arff", 640
    values = np.random.default_rng(0).standard_normal((300, num_features), np.float32)
    names = [f"f{i}" for i in range(num_features)]
    text = {"name": np.full(300, "train_1")}
    write_arff(path, "r", text, ["t", *names], np.c_[np.arange(300), values])
    table = read_table(path, ("name",), ("t",))
    np.testing.assert_array_equal(table.values, values)


def outcome(path, data, arguments):
    """The columns as text, or a refusal."""
    path.write_bytes(data)
    try:
        table = read_table(path, *arguments)
    except CorpusError as error:
        assert error.file == path
        return "refused"
    lines = [table.line(row) for row in range(len(table))]
    assert lines == sorted(set(lines))
    return repr([[c.tolist() for c in table.text.values()], table.values.tolist()])


@pytest.mark.parametrize("text", [GOLD.encode(), HARD], ids=["gold", "hard"])
def test_damaged_files_are_read_alike_by_both_parsers(tmp_path, text):
    as_gold = (("Instance_name",), ("frameTime",), "numeric")
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = mutate(rng, text, "text")
        for arguments in (as_gold, ((), (), "text")):
            # a comment at the end changes nothing, but keeps pandas from the whole file
            ends = (data, data + b"\n% comment")
            first, second = (outcome(tmp_path / "a.arff", d, arguments) for d in ends)
            assert first == second
