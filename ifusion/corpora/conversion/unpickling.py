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
from typing import Any, BinaryIO, Literal

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
            return _Machine(path, NAMES).run(data)
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
        order = "=" if self.order == "|" else self.order
        return np.dtype("O" if self.code[0] == "O" else order + self.code)


@dataclass
class _Blank:
    """An array whose contents follow, and its places in the memo."""

    keys: list[int] = field(default_factory=list)


class _RefusedError(Exception):
    """What a file must not ask for."""


class _Machine:
    """A stack, a memo, and the operations that build plain values."""

    def __init__(
        self,
        path: Path,
        names: Mapping[str, Callable[..., Any] | None],
        load: Callable[[Any], Any] | None = None,
    ) -> None:
        self._path, self._names, self._load = path, names, load
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: mmap.mmap | BinaryIO) -> Any:
        """Carries out the operations up to the first STOP."""
        operations = enumerate(pickletools.genops(data))  # type: ignore[arg-type]
        try:
            for count, (operation, argument, _) in operations:
                if count >= MAX_OPERATIONS:
                    raise _RefusedError(
                        f"more than {MAX_OPERATIONS} values outside of arrays"
                    )
                if operation.name in PUSHED:  # most operations
                    self._stack.append(argument)
                else:
                    self._carry_out(operation.name, argument)
            value = self._stack.pop()
            if isinstance(value, Name | _Type | _Blank):
                raise _RefusedError("a type in place of values")
            return value
        except _RefusedError as refused:
            reason = f"the file asks for {refused}; only {PLAIN} are read"
            raise CorpusError(reason, self._path) from refused

    def _carry_out(self, operation: str, argument: Any) -> None:
        match operation:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MEMOIZE":
                self._keep(len(self._memo))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._keep(argument)
            case "GET" | "BINGET" | "LONG_BINGET":
                self._push(self._memo[argument])
            case _ if operation in MADE:
                self._push(MADE[operation]())
            case "MARK":
                self._marked.append(self._stack)
                self._stack = []
            case "POP":
                if self._stack:
                    self._stack.pop()
                else:
                    self._stack = self._marked.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                self._push(self._stack[-1])
            case "LIST":
                self._push(self._since_mark())
            case "TUPLE":
                self._push(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(operation[-1])
                parts = tuple(self._stack[-size:])
                if len(parts) < size:
                    raise ValueError("pop from an empty stack")
                self._stack[-size:] = [parts]
            case "DICT":
                self._push(_put({}, self._since_mark()))
            case "FROZENSET":
                self._push(_make_frozenset(self._since_mark()))
            case "APPEND":
                value = self._stack.pop()
                self._top(list).append(value)
            case "APPENDS":
                values = self._since_mark()
                self._top(list).extend(values)
            case "SETITEM":
                value, key = self._stack.pop(), self._stack.pop()
                _put(self._top(dict), [key, value])
            case "SETITEMS":
                pairs = self._since_mark()
                _put(self._top(dict), pairs)
            case "ADDITEMS":
                values = self._since_mark()
                self._top(set).update(map(_plain_key, values))
            case "GLOBAL":
                self._name(argument)
            case "STACK_GLOBAL":
                name, module = self._stack.pop(), self._stack.pop()
                if not (isinstance(name, str) and isinstance(module, str)):
                    raise _RefusedError("a name that is not text")
                self._name(f"{module} {name}")
            case "REDUCE":
                self._call()
            case "BUILD":
                self._build()
            case "BINPERSID" if self._load is not None:
                self._push(self._load(self._stack.pop()))
            case _:
                raise _RefusedError(f"the operation {operation}{self._named(argument)}")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise _RefusedError(f"{kind.__name__} operations on another value")
        return self._stack[-1]

    def _keep(self, key: int) -> None:
        self._memo[key] = value = self._stack[-1]
        if isinstance(value, _Blank):
            value.keys.append(key)

    def _name(self, text: str) -> None:
        if text not in self._names:
            raise _RefusedError(_dotted(text))
        self._push(Name(text))

    def _named(self, argument: Any) -> str:
        """Names what a refused operation was about."""
        for found in (argument, *self._stack[-1:]):
            if isinstance(found, str | int):
                return f" of {_dotted(str(found))}"
        return ""

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Name):
            raise _RefusedError(f"a call of a {type(function).__name__.strip('_')}")
        make = self._names[function.text]
        if make is None or not isinstance(arguments, tuple):
            raise _RefusedError(f"a call of {_dotted(function.text)}")
        try:
            self._push(make(*arguments))
        except (TypeError, ValueError) as error:
            what = f"a call of {_dotted(function.text)} with other arguments"
            raise CorpusError(
                f"the file asks for {what} ({error})", self._path
            ) from error

    def _build(self) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        if isinstance(value, _Type):
            _set_order(value, state)
        elif isinstance(value, _Blank):
            array = _fill(state)
            self._stack[-1] = array
            self._memo.update(dict.fromkeys(value.keys, array))
        elif not (self._load and isinstance(value, dict)):
            # attributes of an OrderedDict of PyTorch are left out: nothing reads them
            raise _RefusedError(f"the state of a {type(value).__name__.strip('_')}")


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
    return _make_array(contents, type_, shape, "F" if fortran is True else "C")


def _make_scalar(type_: Any, contents: Any) -> Any:
    """Stands for numpy's scalar: a number or text of numpy."""
    if not isinstance(contents, bytes | str):
        raise _RefusedError("a number of numpy without contents")
    return _make_array(contents, type_, (1,), "C")[0]


def _make_array(contents: Any, type_: Any, shape: Any, order: Any) -> np.ndarray:
    """Stands for numpy's _frombuffer; the contents fill the array to the byte."""
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


def _put(into: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    """Puts key, value, key, value, ... into a dict."""
    into.update(zip(map(_plain_key, pairs[::2]), pairs[1::2], strict=True))
    return into


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
