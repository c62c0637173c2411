"""Pickles of other people, and what they must not be able to do.

Hostile ones would make the file `ran`, which each test asserts is not there.
"""

import collections
import os
import pickle
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from formats import refused

from ifusion.corpora.conversion.unpickling import MAX_OPERATIONS, read_plain

PROTOCOLS = (2, 3, 4, 5)
VALUES = {
    "float32": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "float16": np.zeros((0, 3), np.float16),
    "nan": np.array([np.nan, -np.inf]),
    "scalar": np.array(3.5),
    "text": np.array(["a", "bcd", "\u00e9\u4e2d"]),
    "bytes": np.array([b"a", b"bc"]),
    "objects": np.array(["a", None, 3.5, [1, 2]], object),
    "numpy numbers": [np.float64(2.5), np.int64(-3), np.bool_(True), np.str_("x")],
    "numbers": [0, -1, 255, 70_000, 2**31, -(2**70), 1.5, True, None],
    "strings": ["", "a", "\u4e2d" * 300, b"", b"\xff\x00", bytearray(b"xy")],
    "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {"a": {1: [2]}}],
    "sets": [{1, 2}, frozenset(["a"]), set()],
    "ordered": collections.OrderedDict(b=1, a=2),
}


def assert_same(found, expected):
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if expected.dtype.kind == "O":
            assert found.tolist() == expected.tolist()
        else:
            np.testing.assert_array_equal(found, expected)
        return
    assert found == expected
    if isinstance(expected, list):
        assert [type(f) for f in found] == [type(e) for e in expected]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_are_read(tmp_path, name, protocol):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(VALUES[name], protocol))
    assert_same(read_plain(path), VALUES[name])


def test_shared_values_are_shared(tmp_path):
    array, names = np.arange(3.0), ["a"]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([array, names, array, names], 4))
    found = read_plain(path)
    assert found[0] is found[2] and found[1] is found[3]


def old_array(data):
    """An array as Python 2 and numpy 1 wrote it, protocol 2: its contents are str."""
    return (
        b"\x80\x02}q\x00U\x05audioq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02"
        b"cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x01K\x02\x86"
        b"cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(data)])
        + data
        + b"tbs."
    )


def test_arrays_of_python_2_are_read(tmp_path):
    path = tmp_path / "x.pkl"
    values = np.array([[-1.5, 3e38]], "<f4")
    path.write_bytes(old_array(values.tobytes()))
    assert_same(read_plain(path)["audio"], values)
    assert_same(pickle.loads(path.read_bytes(), encoding="latin1")["audio"], values)


class Call:
    """Pickles as a call of a function; `state` and `items` go on after it."""

    def __init__(self, function, *arguments, state=None, items=None):
        self.parts = (function, arguments, state, items)

    def __reduce__(self):
        return self.parts


class Bad(np.ndarray):
    def __setstate__(self, state):
        raise AssertionError


def text(*parts):
    return b"".join(
        p if isinstance(p, bytes) else b"X" + struct.pack("<I", len(p)) + p.encode()
        for p in parts
    )


def touch(path):
    return f"touch '{path}'"


SYSTEM = f"{os.system.__module__}.system"


def calls(ran):
    """{case: (what must be named, hostile value)}."""
    run = f"open({str(ran)!r}, 'w').close()"
    system = Call(os.system, touch(ran))
    array = np.empty(2, object)
    array[:] = ["x", system]
    return {
        "a call": (SYSTEM, system),
        "nested": (SYSTEM, {"train": {"audio": [1, (2, system)]}}),
        "in an object array": (SYSTEM, array),
        "as a key": (SYSTEM, {Call(os.system, touch(ran)): 1}),
        "as a state": (SYSTEM, Call(collections.OrderedDict, state=system)),
        "as an item": (SYSTEM, Call(collections.OrderedDict, items=iter([system]))),
        "eval": ("builtins.eval", Call(eval, run)),
        "exec": ("builtins.exec", [Call(exec, run)]),
        "getattr": ("builtins.getattr", Call(getattr, Call(__import__, "os"), "a")),
        "import": ("builtins.__import__", Call(__import__, "os")),
        "open": (f"{open.__module__}.open", Call(open, str(ran), "w")),
        "numpy.load": ("numpy.load", Call(np.load, str(ran))),
        "defaultdict": ("collections.defaultdict", collections.defaultdict(list)),
        "subclass": ("test_conversion_pickles.Bad", np.zeros(2).view(Bad)),
        "function": ("test_conversion_pickles.touch", touch),
        "class": ("numpy.memmap", np.memmap),
    }


@pytest.mark.parametrize("case", list(calls("ran")))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_file_asks_for_is_refused_by_name(tmp_path, case, protocol):
    path, ran = tmp_path / "x.pkl", tmp_path / "ran"
    word, value = calls(ran)[case]
    path.write_bytes(pickle.dumps(value, protocol))
    word = word.replace("builtins", "(builtins|__builtin__)")  # of Python 2
    with refused("x.pkl", reason=f"asks for '{word}'; only arrays, numbers, text"):
        read_plain(path)
    assert not ran.exists()


# of other libraries: names as their pickles have them, without importing them
FOREIGN = {
    "torch._utils._rebuild_tensor_v2": b"ctorch._utils\n_rebuild_tensor_v2\n",
    "pandas.core.frame.DataFrame": b"cpandas.core.frame\nDataFrame\n",
    "scipy.sparse._csr.csr_matrix": b"cscipy.sparse._csr\ncsr_matrix\n",
    "numpy.ma.core._mareconstruct": b"cnumpy.ma.core\n_mareconstruct\n",
    "numpy.random._pickle.__generator_ctor": (
        b"cnumpy.random._pickle\n__generator_ctor\n"
    ),
    "numpy.core.multiarray.fromfile": b"cnumpy.core.multiarray\nfromfile\n",
    "numpy.dtype.mro": b"cnumpy\ndtype.mro\n",
    "numpy.ndarray.__reduce__": text("numpy", "ndarray.__reduce__", b"\x93"),
    "os.system": text("os", "system", b"\x93"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_names_of_other_libraries_are_refused(tmp_path, name):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + FOREIGN[name] + b")R.")
    before = {*sys.modules}
    with refused("x.pkl", reason=f"asks for '{name}'"):
        read_plain(path)
    assert {*sys.modules} == before


ARRAY = b"cnumpy\nndarray\n"
TYPE = b"cnumpy\ndtype\n"
F4 = TYPE + text("f4") + b"\x89\x88\x87R"
BLANK = b"cnumpy.core.multiarray\n_reconstruct\n" + ARRAY + b"K\x00\x85C\x01b\x87R"
FROM = b"cnumpy._core.numeric\n_frombuffer\n"


def type_state(*parts):
    """The state of a type with other entries from the order of bytes on."""
    return F4 + b"(K\x03" + b"".join(parts) + b"tb."


# (operations, what is named)
OPERATIONS = [
    (b"(ios\nsystem\n.", "the operation INST of 'os.system'"),
    (b"(ios\nsystem\nS'ls'\n.", "the operation INST of 'os.system'"),
    (b"(cos\nsystem\nX\x02\x00\x00\x00lso.", "'os.system'"),
    (b"(" + ARRAY + b"K\x02o.", "the operation OBJ"),
    (ARRAY + b")\x81.", "the operation NEWOBJ"),
    (ARRAY + b")}\x92.", "the operation NEWOBJ_EX"),
    (b"Pstorage\n.", "the operation PERSID of 'storage'"),
    (text("storage") + b"Q.", "the operation BINPERSID of 'storage'"),
    (b"\x82\x07.", "the operation EXT1 of '7'"),
    (b"\x97.", "the operation NEXT_BUFFER"),
    (b"C\x01x\x98.", "the operation READONLY_BUFFER"),
    (ARRAY + b".", "a type in place of values"),
    (BLANK + b".", "a type in place of values"),
    (F4 + b".", "a type in place of values"),
    (ARRAY + b"(K\x02tR.", "a call of 'numpy.ndarray'"),
    (b"]" + b")R.", "a call of a list"),
    (b"]}b.", "the state of a list"),
    (b"}}b.", "the state of a dict"),
    (b"K\x05" + b"K\x01a.", "list operations on another value"),
    (b"]K\x01K\x02s.", "dict operations on another value"),
    (b"}]K\x01s.", "a key or member of type list"),
    (b"})K\x01s.", "a key or member of type tuple"),
    (b"}" + ARRAY + b"K\x01s.", "a key or member of type Name"),
    (b"\x8f(" + BLANK + b"\x90.", "a key or member of type Blank"),
    (b"K\x01K\x02\x93.", "a name that is not text"),
    (BLANK + b"K\x01b.", "an array with another state"),
    (BLANK + b"(K\x01K\x02" + F4 + b"\x89C\x00tb.", "an array of no shape"),
    (BLANK + b"(K\x01\x88\x85" + F4 + b"\x89C\x00tb.", "an array of no shape"),
    (BLANK + b"(K\x01K\x02\x85" + TYPE + b"\x89C\x00tb.", "an array of no type"),
    (BLANK + b"(K\x01K\x02\x85" + F4 + b"\x89Ntb.", "without contents"),
    (BLANK + b"(K\x01K\x02\x85" + F4 + b"\x89C\x01xtb.", r"\(2,\) from 1 bytes"),
    (TYPE + text("V8") + b"\x85R.", "arrays of the type 'V8'"),
    (TYPE + text("U0") + b"\x85R.", "arrays of the type 'U0'"),
    (TYPE + text("f4,f4") + b"\x85R.", "arrays of the type 'f4,f4'"),
    (TYPE + text("(9999,9999)f8") + b"\x85R.", "arrays of the type"),
    (TYPE + text("M8[s]") + b"\x85R.", "arrays of the type 'M8"),
    (TYPE + b"]" + b"\x85R.", r"arrays of the type '\[\]'"),
    (TYPE + text("S9999999") + b"\x85R.", "arrays of the type 'S9999999'"),
    (type_state(text("<"), b"(" + F4 + b"K\x02\x85tNNK\x08K\x04K\x00"), "subarrays"),
    (type_state(text("<"), b"N(X\x01\x00\x00\x00at}K\x04K\x04K\x00"), "fields"),
    (type_state(text("<"), b"NNNK\x04K\x04K\x00}"), "metadata"),
    (type_state(text("x"), b"NNNK\x04K\x04K\x00"), "without a byte order"),
    (type_state(ARRAY, b"NNNK\x04K\x04K\x00"), "without a byte order"),
    (FROM + b"(C\x08abcdefgh" + F4 + b"K\x03\x85" + text("C") + b"tR.", "from 8 bytes"),
    (FROM + b"(C\x04abcd" + F4 + b"K\x01\x85" + text("K") + b"tR.", "in no order"),
    (FROM + b"(]" + F4 + b"K\x01\x85" + text("C") + b"tR.", "without contents"),
    (b"c_codecs\nencode\n" + text("a", "rot13") + b"\x86R.", "_codecs.encode' with"),
    (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "'builtins.bytearray' without"),
    (b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.", "'builtins.bytes' with arguments"),
    (b"cnumpy\nndarray\n)\x81}" + text("data") + b"K\x01sb.", "NEWOBJ"),
]


@pytest.mark.parametrize(("operations", "named"), OPERATIONS)
def test_operations_that_build_anything_else_are_refused(tmp_path, operations, named):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + operations)
    with refused("x.pkl", reason=f"the file asks for .*{named}"):
        read_plain(path)


def test_object_arrays_need_as_many_objects(tmp_path):
    kind = TYPE + text("O8") + b"\x85R"
    path = tmp_path / "x.pkl"
    path.write_bytes(
        b"\x80\x04" + BLANK + b"(K\x01J\xff\xff\xff\x7f\x85" + kind + b"\x89]tb."
    )
    with refused("x.pkl", reason="an array of objects without them"):
        read_plain(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged|empty"),
        (b"\x80\x04", "damaged .pickle exhausted"),
        (b"\x80\x04.", "damaged .pop from empty"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fabc.", "damaged .expected"),
        (b"\x80\x04B\xff\xff\xff\xffabc.", "damaged .expected"),
        (b"\x80\x04h\x09.", "damaged .9"),
        (b"\x80\x04t.", "damaged .pop from empty"),
        (b"\x80\x04K\x01\x87.", "damaged .pop from an empty"),
        (b"\x80\x04\xfe.", "damaged .*unknown"),
        (b"\x80\x04}(K\x01u.", "damaged"),
        (b"\x80\x04\x8b\xff\xff\xff\x7f.", "damaged .not enough"),
        (b"\x80\x04L" + b"9" * 10_000 + b"L\n.", "damaged"),
        (b"id,text\n1,2\n", "not a pickle of protocol 2 to 5"),
        (b"cos\nsystem\n(S'ls'\ntR.", "not a pickle of protocol 2 to 5 .save it with"),
        (b"\x1f\x8b\x08\x00", "it is compressed by gzip; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "it is HDF5"),
        (b"PK\x03\x04" + b"\x00" * 26 + b"archive/data.pkl", "it is a zip archive"),
    ],
)
def test_damaged_and_other_files_are_named(tmp_path, data, reason):
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    with refused("x.pkl", reason=reason):
        read_plain(path)
    with refused("y.pkl", reason="no such file"):
        read_plain(tmp_path / "y.pkl")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_cut_anywhere_is_refused(tmp_path, protocol):
    data = pickle.dumps({"a": np.arange(3.0), "b": ["x", None, 2**40]}, protocol)
    path = tmp_path / "x.pkl"
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with refused("x.pkl", reason="damaged|not a pickle"):
            read_plain(path)


def test_deep_nesting_neither_recurses_nor_crashes(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".")
    assert isinstance(read_plain(path), list)
    path.write_bytes(b"\x80\x04)" + b"\x85" * 200_000 + b".")
    assert isinstance(read_plain(path), tuple)
    path.write_bytes(b"\x80\x04})" + b"\x85" * 200_000 + b"K\x01s.")
    with refused("x.pkl", reason="a key or member of type tuple"):
        read_plain(path)


def test_repeated_values_take_no_memory_beyond_the_file(tmp_path):
    """Two of each level, 2 ** 60 leaves if they were copied."""
    path = tmp_path / "x.pkl"
    levels = b"".join(b"(h\x00h\x00lq\x00" for _ in range(60))
    path.write_bytes(b"\x80\x04]q\x00" + levels + b".")
    tracemalloc.start()
    read_plain(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_self_containing_list_ends(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04]q\x00h\x00a.")
    found = read_plain(path)
    assert found[0] is found


def test_endless_operations_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ifusion.corpora.conversion.unpickling.MAX_OPERATIONS", 1000)
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + b"]" * 2000 + b".")
    with refused("x.pkl", reason="more than 1000 values outside of arrays"):
        read_plain(path)
    assert MAX_OPERATIONS <= 10**7


def test_what_the_memo_keeps_of_an_array_is_the_array(tmp_path):
    """BUILD fills an array that the memo already has; a second BUILD is refused."""
    state = b"(K\x01K\x01\x85" + F4 + b"\x89C\x04\x00\x00\x80?tb"
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04(" + BLANK + b"q\x05" + state + b"h\x05t.")
    first, second = read_plain(path)
    assert first is second and first.tolist() == [1.0]
    path.write_bytes(b"\x80\x04" + BLANK + state + state + b".")
    with refused("x.pkl", reason="the state of a ndarray"):
        read_plain(path)
