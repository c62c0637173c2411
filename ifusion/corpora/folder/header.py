"""corpus.json: what a folder says of itself."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifusion.corpora.corpus import CorpusError, require_file_name
from ifusion.corpora.names import normalise
from ifusion.corpora.tables.arrays import require_file

KEYS = ("name", "task", "classes", "targets", "modalities", "frame_step", "frame_steps")
OPTIONAL: dict[str, Any] = {"licence": "", "citation": "", "notes": [], "neutral": None}
TASKS = ("classification", "regression")
FRAME_STEPS = (1e-6, 1e6)  # [s], smallest and largest


@dataclass(frozen=True)
class Header:
    """The contents of corpus.json; fields as in `Corpus`.

    `frame_steps`, {modality: [s], None = not known}, are those of modalities that have
    frames where a recording has one label; {} = they have none.
    """

    name: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]  # () where labels.csv decides
    widths: Mapping[str, int | None]  # {modality: number of features, None = not said}
    frame_step: float | None
    licence: str
    citation: str
    notes: tuple[str, ...]
    neutral: float | None
    frame_steps: Mapping[str, float | None]


def read_header(path: Path) -> Header:
    """Reads and checks corpus.json.

    Raises:
      CorpusError: it is missing or not JSON, or a key is missing, unknown or wrong.
    """
    data = OPTIONAL | _read_json(path)
    for key in data:
        if key not in KEYS and key not in OPTIONAL:
            reason = f"key {key!r} is unknown, expected one of {(*KEYS, *OPTIONAL)}"
            raise CorpusError(reason, path)
    task = _text(path, data, "task")
    if task not in TASKS:
        raise _wrong(path, data, "task", f"one of {TASKS}")
    classes = _names(path, data, "classes") if task == "classification" else ()
    targets = () if classes and "targets" not in data else _names(path, data, "targets")
    if classes and len(targets) > 1:
        raise _wrong(path, data, "targets", "one target of a classification")
    if task == "regression" and "classes" in data:
        raise CorpusError("a regression cannot have the key 'classes'", path)
    if task == "classification" and data["neutral"] is not None:
        raise CorpusError("a classification cannot have the key 'neutral'", path)
    widths = _widths(path, data)
    return Header(
        name=_text(path, data, "name"),
        classes=classes,
        targets=targets,
        widths=widths,
        frame_step=_frame_step(path, data),
        licence=_text(path, data, "licence"),
        citation=_text(path, data, "citation"),
        notes=_texts(path, data, "notes"),
        neutral=_neutral(path, data),
        frame_steps=_frame_steps(path, data, widths),
    )


def _read_json(path: Path) -> dict[str, Any]:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, count in Counter(key for key, _ in pairs).items():
            if count > 1:
                raise CorpusError(f"key {key!r} occurs more than once", path)
        return dict(pairs)

    try:
        text = require_file(path).read_text("utf-8-sig")
        data = json.loads(text, object_pairs_hook=distinct)
        json.dumps(data, ensure_ascii=False).encode("utf-8")  # lone surrogates
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg}, character {error.colno})"
        raise CorpusError(reason, path, error.lineno) from error
    except UnicodeError as error:
        raise CorpusError(f"not UTF-8 text ({error})", path) from error
    except CorpusError:
        raise
    except (ValueError, RecursionError) as error:  # endless digits or brackets
        raise CorpusError(f"not JSON ({error})", path) from error
    if not isinstance(data, dict):
        raise CorpusError("expected a JSON object {...}", path)
    return data


def _wrong(path: Path, data: Mapping[str, Any], key: str, expected: str) -> CorpusError:
    return CorpusError(f"key {key!r} is {data[key]!r}, expected {expected}", path)


def _value(path: Path, data: Mapping[str, Any], key: str) -> Any:
    if key not in data:
        raise CorpusError(f"key {key!r} is missing", path)
    return data[key]


def _text(path: Path, data: Mapping[str, Any], key: str) -> str:
    value = _value(path, data, key)
    if not isinstance(value, str):
        raise _wrong(path, data, key, "a string")
    return value


def _texts(path: Path, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = _value(path, data, key)
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise _wrong(path, data, key, "a list of strings")
    return tuple(value)


def _names(path: Path, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = tuple(map(normalise, _texts(path, data, key)))
    if not names or not all(names) or len(set(names)) < len(names):
        raise _wrong(path, data, key, "one or more distinct names")
    return names


def _widths(path: Path, data: Mapping[str, Any]) -> dict[str, int | None]:
    value = _value(path, data, "modalities")
    if isinstance(value, list):
        widths: dict[str, Any] = dict.fromkeys(_names(path, data, "modalities"))
    else:
        whole = isinstance(value, dict) and all(
            isinstance(v, int) and v > 0 and v is not True for v in value.values()
        )
        widths = {normalise(k): v for k, v in value.items()} if whole else {}
        if not widths or len(widths) < len(value):
            expected = "a list of names, or an object of names and numbers of features"
            raise _wrong(path, data, "modalities", expected)
    for name in widths:
        require_file_name("modality", name, path)
    return widths


def _neutral(path: Path, data: Mapping[str, Any]) -> float | None:
    value = data["neutral"]
    if value is None:
        return None
    if not _is_number(value) or not math.isfinite(value):
        raise _wrong(path, data, "neutral", "a number, in the unit of the targets")
    return float(value)


def _frame_step(path: Path, data: Mapping[str, Any]) -> float | None:
    step = data.get("frame_step")
    if step is None:
        return None
    if not _is_step(step):
        low, high = FRAME_STEPS
        raise _wrong(path, data, "frame_step", f"a number from {low:g} to {high:g} [s]")
    return float(step)


def _frame_steps(
    path: Path, data: Mapping[str, Any], widths: Mapping[str, int | None]
) -> dict[str, float | None]:
    steps = data.get("frame_steps", {})
    if not isinstance(steps, dict) or not all(
        step is None or _is_step(step) for step in steps.values()
    ):
        low, high = FRAME_STEPS
        expected = f"an object of modalities and null or {low:g} to {high:g} [s]"
        raise _wrong(path, data, "frame_steps", expected)
    named = {normalise(m): None if s is None else float(s) for m, s in steps.items()}
    if named and data.get("frame_step") is not None:
        reason = "has both 'frame_step', labels over time, and 'frame_steps', one label"
        raise CorpusError(f"{reason} per recording; expected one of them", path)
    if named and named.keys() != widths.keys():
        raise _wrong(path, data, "frame_steps", f"the modalities {(*widths,)}")
    return named


def _is_step(step: Any) -> bool:
    return _is_number(step) and FRAME_STEPS[0] <= step <= FRAME_STEPS[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
