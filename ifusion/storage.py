"""Writes arrays and facts to disk atomically and durably, and checks them on reading.

A stored folder holds `arrays.safetensors`, `checkpoint.json` and `manifest.json`. The
manifest has the SHA-256 of the facts, and type, shape and SHA-256 of every array, so a
reader of some arrays checks only those. A folder is written under a hidden name,
flushed and renamed: readers find all of it or nothing. Once `write_folder` returns, the
folder survives a loss of power if its parent is from `make_folder`.

Unfinished files are called `.NAME.PID.part`; `remove_leftovers` removes those of killed
processes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

if TYPE_CHECKING:
    import pandas as pd

ARRAYS, FACTS, MANIFEST = "arrays.safetensors", "checkpoint.json", "manifest.json"


def make_folder(folder: Path) -> None:
    """Creates a folder and missing parents, and flushes them to disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _flush(path.parent)


def write_folder(
    folder: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> None:
    """Writes a folder, whole or not at all; on return it is on disk.

    Args:
      folder: must not exist; its parent must.
      arrays: {name: array}.
      facts: content of the JSON file.

    Raises:
      OSError: if it cannot be written, or exists already; nothing is left behind.
    """
    part = _part_of(folder)
    with _named(folder):
        _remove(part)
        part.mkdir()
        try:
            arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}
            save_file(arrays, part / ARRAYS)
            text = json.dumps(facts, indent=1).encode()
            (part / FACTS).write_bytes(text)
            manifest = {
                "facts": _digest(text),
                "arrays": {name: _describe(a) for name, a in arrays.items()},
            }
            (part / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            for path in (*part.iterdir(), part):
                _flush(path)
            os.replace(part, folder)
        except BaseException:
            _remove(part)
            raise
        _flush(folder.parent)


def read_facts(
    folder: Path, identity: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Reads the facts of a folder.

    Args:
      folder: from `write_folder`.
      identity: {name: digest} of the config and corpus that the facts must be made
        with; None for any.

    Raises:
      ValueError: if facts are missing, damaged, or of another identity.
    """
    manifest = _read_manifest(folder)
    try:
        text = (folder / FACTS).read_bytes()
        if _digest(text) != manifest.get("facts"):
            raise ValueError(f"{folder}: {FACTS} is damaged (SHA-256 differs)")
        facts: dict[str, Any] = json.loads(text)
    except OSError as error:
        raise ValueError(f"{folder}: {FACTS}: {error.strerror}") from None
    except RecursionError:
        raise ValueError(f"{folder}: {FACTS} is nested too deeply") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{folder}: {FACTS} is not a JSON object, {{...}}")
    require_identity(folder, facts, identity)
    return facts


def require_identity(
    path: Path, facts: Mapping[str, Any], identity: Mapping[str, str] | None
) -> None:
    """Refuses facts made with another config or corpus, see `read_facts`."""
    own = facts.get("identity")
    if identity is None or own == identity:
        return
    known = own if isinstance(own, dict) else {}
    differing = [name for name in identity if known.get(name) != identity[name]]
    raise ValueError(
        f"{path}: made by a run of another {' and another '.join(differing)}"
    )


def read_arrays(
    folder: Path, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray]:
    """Reads arrays of a folder.

    Args:
      folder: from `write_folder`.
      wanted: name -> whether to read it; others are ignored and may be missing.

    Raises:
      ValueError: if an array is missing or damaged.
    """
    expected = {k: v for k, v in _read_manifest(folder)["arrays"].items() if wanted(k)}
    try:
        with safe_open(folder / ARRAYS, framework="numpy") as file:
            names = {name for name in file.keys() if wanted(name)}  # noqa: SIM118
            if names != expected.keys():
                odd = min(names ^ expected.keys())
                raise ValueError(
                    f"{folder}: {ARRAYS} and {MANIFEST} differ in the array {odd!r}"
                )
            arrays = {name: file.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder}: {ARRAYS} cannot be read ({error})") from None
    for name, array in arrays.items():
        if _describe(array) != expected[name]:
            raise ValueError(f"{folder}: the array {name!r} is damaged")
    return arrays


def remove_folder(folder: Path) -> None:
    """Removes a folder so that readers find it whole or not at all.

    A symbolic link is removed, its target stays.
    """
    part = _part_of(folder)
    with _named(folder):
        _remove(part)
        os.replace(folder, part)
        _remove(part)


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file so that readers find the old or the new one, whole.

    Raises:
      OSError: if it cannot be written; the old file stays.
    """
    part = _part_of(path)
    with _named(path):
        try:
            part.write_bytes(data)
            _flush(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        _flush(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    write_atomically(path, f"{json.dumps(content, indent=1)}\n".encode())


def read_json(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
      path: path of the file.
      keys: keys that it must have.

    Raises:
      ValueError: if the file is missing or no JSON object, or a key is missing.
    """
    content: dict[str, Any] = _parse_json(path)
    require_kinds(str(path), content, dict.fromkeys(keys, object))
    return content


def _parse_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from None


def require_kinds(place: str, found: Any, kinds: Mapping[str, Any]) -> None:
    """Requires an object with these keys, of these types.

    Args:
      place: beginning of the message.
      found: parsed JSON.
      kinds: {key: type, or tuple of types, of its value}.

    Raises:
      ValueError: if it is something else.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{place}: expected a JSON object, {{...}}")
    for key, kind in kinds.items():
        if key not in found:
            raise ValueError(f"{place}: the key {key} is missing")
        if not isinstance(found[key], kind):
            raise ValueError(f"{place}: the key {key} has the value {found[key]!r}")


def read_json_list(path: Path, kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Reads a JSON list of objects that have the keys and types of `kinds`.

    Raises:
      ValueError: if the file is missing or holds something else.
    """
    rows = _parse_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list, [...]")
    for number, row in enumerate(rows, 1):
        require_kinds(f"{path}, entry {number}", row, kinds)
    return rows


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Writes a table as CSV, whole or not at all."""
    write_atomically(path, frame.to_csv(index=False, lineterminator="\n").encode())


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Names the leaves of a nested dict by their path, {"a/b/c": array}."""
    flat: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{name}/") if nested else {prefix + name: value}
    return flat


def unflatten(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Undoes `flatten`."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    return tree


def remove_leftovers(folder: Path) -> int:
    """Removes unfinished files of killed processes, at any depth; returns their number.

    No other process may be writing there.
    """
    left = sorted(folder.rglob(".*.part"))
    for path in left:
        _remove(path)
    return len(left)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the final path in errors, instead of the unfinished one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path}: {error}") from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    except SafetensorError as error:  # raised by that library if the disk is full
        raise OSError(f"{path}: {error}") from None


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _describe(array: np.ndarray) -> dict[str, Any]:
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "sha256": _digest(array.reshape(-1).view(np.uint8).data),
    }


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: no checkpoint found ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("arrays"), dict):
        raise ValueError(f"{path}: damaged (it lists no arrays)")
    return manifest
