"""Arrays, numbers, text and plain containers of a pickle, which is never unpickled.

A pickle is a program, and unpickling it does whatever its author wanted. Here
`pickletools`, which only disassembles a file, lists its operations, and `_Machine`
carries out those that build plain values. It imports nothing, and holds no function
that a file could call: a name such as `numpy.ndarray` is compared with the few in
`NAMES` and remains a word, and any other name ends the reading before anything is built
from it. Not in the paper.
"""

import math
import mmap
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.tables.arrays import require_file
from ifusion.corpora.tables.contents import recognise

PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # first two bytes
MAX_OPERATIONS = 5_000_000  # real files have up to 500,000; each may take 300 bytes
MAX_DIMENSIONS, MAX_LENGTH = 32, 2**40  # of an array
TYPE = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9]\d{0,5}|O[48]?")  # of an array
ORDERS = ("<", ">", "=", "|")  # of bytes
PLAIN = "arrays, numbers, text and plain containers"


def read_plain(path: Path) -> Any:
    """Reads the first value of a pickle of protocol 2 to 5, of Python 2 or 3.

    Text of Python 2 is taken as Latin-1, in which it stores arrays.

    Args:
      path: the file; reading takes about its size of memory, for protocol 2 three
        times.

    Returns:
      dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, bool, None,
      `numpy.ndarray` and numpy's numbers, nested as in the file. Arrays are of
      booleans, numbers, text or, as object arrays, of any of these.

    Raises:
      CorpusError: the file is missing, damaged, too large or not such a pickle, or asks
        for anything else, which is named.
    """
    try:
        with (
            require_file(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            if data[:2] not in PROTOCOLS:
                what, remedy = recognise(path)
                hint = f"it is {what}; {remedy}" if what else "save it with protocol=4"
                raise CorpusError(f"not a pickle of protocol 2 to 5 ({hint})", path)
            return _Machine(path).run(data)
    except CorpusError:
        raise
    except Exception as error:  # a damaged file may cause any
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorpusError(f"the pickle is damaged ({reason})", path) from error


def read_with_storage(
    data: BinaryIO,
    path: Path,
    names: Mapping[str, Callable[..., Any] | None],
    load: Callable[[Any], Any],
) -> Any:
    """Reads the next pickle of a file whose arrays are stored outside of it.

    That is how PyTorch saves tensors.

    Args:
      data: the file, at the start of the pickle; left behind its end.
      path: for messages.
      names: what the pickle may also name, as `NAMES`.
      load: carries out persistent ids, which hold plain values and `Name`s.

    Raises:
      CorpusError: the pickle asks for anything else.
    """
    return _Machine(path, {**NAMES, **names}, load).run(data)


@dataclass(frozen=True)
class Name:
    """A name in `NAMES`, which stands for an operation; never the thing itself."""

    text: str


@dataclass
class _Type:
    """A type of arrays, whose byte order follows."""

    code: str
    order: str = "="

    def build(self) -> np.dtype:
        return np.dtype(self.code[:1] if self.code[0] == "O" else self._ordered())

    def _ordered(self) -> str:
        return f"{'=' if self.order == '|' else self.order}{self.code}"


@dataclass
class _Blank:
    """An array whose contents follow, and its places in the memo."""

    keys: list[int] = field(default_factory=list)


class _Machine:
    """A stack, a memo, and the operations that build plain values."""

    def __init__(
        self,
        path: Path,
        names: Mapping[str, Callable[..., Any] | None] | None = None,
        load: Callable[[Any], Any] | None = None,
    ) -> None:
        self._path, self._load = path, load
        self._names = NAMES if names is None else names
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: mmap.mmap | BinaryIO) -> Any:
        """Carries out the operations up to the first STOP."""
        operations = enumerate(pickletools.genops(data))  # type: ignore[arg-type]
        for count, (operation, argument, _) in operations:
            if count >= MAX_OPERATIONS:
                self._refuse(f"more than {MAX_OPERATIONS} values outside of arrays")
            name = operation.name
            if name in PUSHED:
                self._stack.append(argument)
            elif name in MADE:
                self._stack.append(MADE[name]())
            elif name in STEPS:
                STEPS[name](self, argument)
            elif name not in SKIPPED:
                self._refuse(f"the operation {name}{self._named(argument)}")
        value = self._stack.pop()
        if isinstance(value, Name | _Type | _Blank):
            self._refuse("a type in place of values")
        return value

    def _refuse(self, what: str) -> NoReturn:
        reason = f"the file asks for {what}; only {PLAIN} are read"
        raise CorpusError(reason, self._path)

    def _named(self, argument: Any) -> str:
        """Names what a refused operation was about."""
        top = self._stack[-1] if self._stack else None
        for found in (argument, top):
            if isinstance(found, str | int):
                return f" of {_dotted(str(found)[:80])}"
        return ""

    def _since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            self._refuse(f"{kind.__name__} operations on another value")
        return self._stack[-1]

    # ---- containers ----------------------------------------------------------------

    def mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._marked.pop()

    def pop_mark(self, _: Any) -> None:
        self._since_mark()

    def duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def append(self, _: Any) -> None:
        value = self._stack.pop()
        self._top(list).append(value)

    def extend(self, _: Any) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._put(self._top(dict), [key, value])

    def set_items(self, _: Any) -> None:
        pairs = self._since_mark()
        self._put(self._top(dict), pairs)

    def add_items(self, _: Any) -> None:
        values = self._since_mark()
        self._top(set).update(map(self._hashable, values))

    def make_list(self, _: Any) -> None:
        self._push(self._since_mark())

    def make_dict(self, _: Any) -> None:
        pairs = self._since_mark()
        self._push(self._put({}, pairs))

    def make_tuple(self, _: Any) -> None:
        values = self._since_mark()
        self._push(tuple(values))

    def make_frozen(self, _: Any) -> None:
        values = self._since_mark()
        self._push(frozenset(map(self._hashable, values)))

    def _tuple_of(self, size: int) -> None:
        values = tuple(self._stack[-size:])
        if len(values) < size:
            raise ValueError("pop from an empty stack")
        self._stack[-size:] = [values]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _put(self, into: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
        keys, values = pairs[::2], pairs[1::2]
        into.update(zip(map(self._hashable, keys), values, strict=True))
        return into

    def _hashable(self, key: Any) -> Any:
        try:
            return _plain_key(key)
        except _RefusedError as refused:
            self._refuse(str(refused))

    # ---- memo ----------------------------------------------------------------------

    def keep(self, key: int) -> None:
        self._memo[key] = value = self._stack[-1]
        if isinstance(value, _Blank):
            value.keys.append(key)

    def keep_next(self, _: Any) -> None:
        self.keep(len(self._memo))

    def recall(self, key: int) -> None:
        self._stack.append(self._memo[key])

    # ---- names, and the few that are carried out -----------------------------------

    def name(self, text: str) -> None:
        if text not in self._names:
            self._refuse(_dotted(text))
        self._stack.append(Name(text))

    def name_of_stack(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            self._refuse("a name that is not text")
        self.name(f"{module} {name}")

    def call(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Name):
            self._refuse(f"a call of a {type(function).__name__.strip('_')}")
        make = self._names[function.text]
        if make is None or not isinstance(arguments, tuple):
            self._refuse(f"a call of {_dotted(function.text)}")
        try:
            self._stack.append(make(*arguments))
        except _RefusedError as refused:
            self._refuse(str(refused))
        except (TypeError, ValueError) as error:
            what = f"a call of {_dotted(function.text)} with other arguments"
            raise CorpusError(
                f"the file asks for {what} ({error})", self._path
            ) from error

    def persistent(self, _: Any) -> None:
        if self._load is None:
            self._refuse(f"the operation BINPERSID{self._named(None)}")
        self._stack.append(self._load(self._stack.pop()))

    def build(self, _: Any) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        try:
            if isinstance(value, _Type):
                _set_order(value, state)
            elif isinstance(value, _Blank):
                array = _fill(state)
                self._stack[-1] = array
                self._memo.update(dict.fromkeys(value.keys, array))
            elif self._load and isinstance(value, dict):
                pass  # attributes of an OrderedDict, which nothing reads
            else:
                raise _RefusedError(f"the state of a {type(value).__name__.strip('_')}")
        except _RefusedError as refused:
            self._refuse(str(refused))


class _RefusedError(Exception):
    """What a file must not ask for."""


def _dotted(text: str) -> str:
    return repr(text.replace(" ", ".")[:80])


def _make_type(code: Any, *flags: Any) -> _Type:
    """Stands for numpy.dtype(code, align, copy)."""
    known = isinstance(code, str) and TYPE.fullmatch(code)
    if not known or len(flags) > 2:
        raise _RefusedError(f"arrays of the type {str(code)[:40]!r}")
    return _Type(code)


def _set_order(type_: _Type, state: Any) -> None:
    """Sets the byte order; refuses fields, subarrays and metadata."""
    whole = isinstance(state, tuple) and len(state) == 8
    if not whole or any(part is not None for part in state[2:5]):
        raise _RefusedError("arrays with fields, subarrays or metadata")
    if not isinstance(state[1], str) or state[1] not in ORDERS:
        raise _RefusedError("arrays without a byte order")
    type_.order = state[1]


def _make_blank(kind: Any, *_: Any) -> _Blank:
    """Stands for numpy's _reconstruct(ndarray, (0,), b"b"), whose state follows."""
    if kind != Name("numpy ndarray"):
        raise _RefusedError("an array of another kind than numpy.ndarray")
    return _Blank()


def _fill(state: Any) -> np.ndarray:
    """Makes an array from (version, shape, type, Fortran order, contents)."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise _RefusedError("an array with another state")
    _, shape, type_, fortran, contents = state
    return _array(contents, type_, shape, "F" if fortran is True else "C")


def _make_array(contents: Any, type_: Any, shape: Any, order: Any) -> np.ndarray:
    """Stands for numpy's _frombuffer."""
    return _array(contents, type_, shape, order)


def _make_scalar(type_: Any, contents: Any) -> Any:
    """Stands for numpy's scalar: a number or text of numpy."""
    if not isinstance(contents, bytes | str):
        raise _RefusedError("a number of numpy without contents")
    return _array(contents, type_, (1,), "C")[0]


def _array(contents: Any, type_: Any, shape: Any, order: Any) -> np.ndarray:
    """Makes an array from contents that fill it to the byte."""
    whole = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS
    if not whole or not all(type(n) is int and 0 <= n < MAX_LENGTH for n in shape):
        raise _RefusedError("an array of no shape")
    if not isinstance(type_, _Type):
        raise _RefusedError("an array of no type")
    if not isinstance(order, str) or order not in ("C", "F"):
        raise _RefusedError("an array in no order")
    kept: Literal["C", "F"] = "F" if order == "F" else "C"
    dtype, size = type_.build(), math.prod(shape)
    if dtype.hasobject:
        if not isinstance(contents, list) or len(contents) != size:
            raise _RefusedError("an array of objects without them")
        flat = np.empty(size, object)
        for i, value in enumerate(contents):
            flat[i] = value
        return flat.reshape(shape, order=kept)
    if isinstance(contents, str):  # of Python 2
        contents = contents.encode("latin-1")
    if not isinstance(contents, bytes | bytearray):
        raise _RefusedError("an array without contents")
    if len(contents) != size * dtype.itemsize:
        raise _RefusedError(f"an array of {shape} from {len(contents)} bytes")
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer(contents, dtype).reshape(shape, order=kept)


def _encode(text: Any, code: Any) -> bytes:
    """Stands for _codecs.encode, with which protocol 2 stores bytes."""
    if not isinstance(text, str) or code not in ("latin1", "latin-1"):
        raise _RefusedError(f"a call of '_codecs.encode' with {str(code)[:40]!r}")
    return text.encode("latin-1")


def _make_bytes(*contents: Any) -> bytes:
    """Stands for bytes(), with which protocol 2 stores empty bytes."""
    if contents:
        raise _RefusedError("a call of 'builtins.bytes' with arguments")
    return b""


def _make_bytearray(contents: Any = b"", code: Any = "latin-1") -> bytearray:
    """Stands for bytearray(bytes) and, of protocol 2, bytearray(text, "latin-1")."""
    found = _encode(contents, code) if isinstance(contents, str) else contents
    if not isinstance(found, bytes):  # a number would be taken for a length
        raise _RefusedError("a call of 'builtins.bytearray' without bytes")
    return bytearray(found)


def _make_dict(pairs: Any = ()) -> dict[Any, Any]:
    """Stands for OrderedDict(), or in Python 2 OrderedDict([[key, value], ...])."""
    if not isinstance(pairs, list | tuple):
        raise _RefusedError("an ordered dict of something other than pairs")
    found = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise _RefusedError("an ordered dict of something other than pairs")
        found[_plain_key(pair[0])] = pair[1]
    return found


def _make_set(members: Any = ()) -> set[Any]:
    """Stands for set(list), with which protocols 2 and 3 store sets."""
    if not isinstance(members, list | tuple):
        raise _RefusedError("a set of something other than a list")
    return set(map(_plain_key, members))


def _make_frozenset(members: Any = ()) -> frozenset[Any]:
    """Stands for frozenset(list)."""
    return frozenset(_make_set(members))


def _plain_key(key: Any) -> Any:
    """Checks that a key or member is not nested."""
    if not isinstance(key, str | bytes | int | float | np.generic | None):
        raise _RefusedError(f"a key or member of type {type(key).__name__.strip('_')}")
    return key


# what a file may name, and what carries it out; None = is never called
NAMES: dict[str, Callable[..., Any] | None] = {
    "numpy ndarray": None,
    "numpy dtype": _make_type,
    "_codecs encode": _encode,
    "collections OrderedDict": _make_dict,
}
for _module in ("numpy.core", "numpy._core"):  # before and since numpy 2
    NAMES[f"{_module}.multiarray _reconstruct"] = _make_blank
    NAMES[f"{_module}.multiarray scalar"] = _make_scalar
    NAMES[f"{_module}.numeric _frombuffer"] = _make_array
for _module in ("__builtin__", "builtins"):  # of Python 2 and 3
    NAMES[f"{_module} bytes"] = _make_bytes
    NAMES[f"{_module} bytearray"] = _make_bytearray
    NAMES[f"{_module} set"] = _make_set
    NAMES[f"{_module} frozenset"] = _make_frozenset

SKIPPED = frozenset({"PROTO", "FRAME", "STOP"})
PUSHED = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip
MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    "FROZENSET": _Machine.make_frozen,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    "PUT": _Machine.keep,
    "BINPUT": _Machine.keep,
    "LONG_BINPUT": _Machine.keep,
    "MEMOIZE": _Machine.keep_next,
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_of_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
