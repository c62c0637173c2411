"""Where the features of a folder come from, as `extraction.json` states it.

    {"audio": {"asked": "egemaps", "extractor": ..., "opensmile": "2.6.0", "rate": null,
               "step": null, "sound_rate": {"least": ..., "mean": ..., "most": ...}}}

`asked` is what `--audio` or `--video` was. Entries of numbers and text are what the
features depend on: extractor, versions, options. Those with `least`, `mean` and `most`
sum up the recordings. An extractor of a version fixes the units of its features; those
of other features may be stated in `units`, {name of a feature: unit}.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ifusion.corpora.corpus import Corpus, CorpusError

PROVENANCE = "extraction.json"
ASKED, SOUND_RATE, FEATURE_UNITS = "asked", "sound_rate", "units"
UNITS = {"rate": " Hz", "step": " s", "window": " s", "smallest_face": " pixels"}
Provenance = dict[str, Any]  # of one modality


def read_provenance(folder: Path) -> dict[str, Provenance]:
    """Reads {modality: provenance}; {} where nothing is stated.

    Raises:
      CorpusError: the file is damaged.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"it cannot be read as JSON ({error})", path) from error
    if not isinstance(found, dict):
        raise CorpusError("expected an object with one entry per modality", path)
    known = {m: p for m, p in found.items() if isinstance(p, dict)}
    known = {m: p for m, p in known.items() if p.keys() & {"extractor", FEATURE_UNITS}}
    for m, stated in known.items():
        units = stated.get(FEATURE_UNITS, {})
        texts = [*units.values()] if isinstance(units, dict) else [None]
        if not all(isinstance(text, str) and text for text in texts):
            reason = f"expected units of {m} as {{name of a feature: unit}}"
            raise CorpusError(reason, path)
    return known


def write_provenance(folder: Path, provenance: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes {modality: provenance}, one line per entry."""
    modalities = []
    for name, stated in provenance.items():
        entries = [f"    {_json(k)}: {_json(v)}" for k, v in stated.items()]
        modalities.append(f"  {_json(name)}: {{\n" + ",\n".join(entries) + "\n  }")
    text = "{\n" + ",\n".join(modalities) + "\n}\n"
    (folder / PROVENANCE).write_text(text, "utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def provenance_of(corpus: Corpus) -> dict[str, Provenance]:
    """Returns {modality: provenance} of a corpus, with the `step` of its frames [s]."""
    found = {m: dict(p) for m, p in corpus.provenance.items()}
    for m, frames in corpus.frames.items():
        if frames.step is not None:
            found.setdefault(m, {}).setdefault("step", frames.step)
    return found


def provenance_of_table(path: Path, modality: str) -> Provenance:
    """Returns the provenance of the table of a modality; {} where nothing is stated.

    extraction.json is in the folder of the table, or in that above `features`.

    Raises:
      CorpusError: the file is damaged.
    """
    above = path.parent.parent if path.parent.name == "features" else path.parent
    stated = read_provenance(path.parent) or read_provenance(above)
    return stated.get(modality, {})


def describe_provenance(stated: Mapping[str, Any]) -> str:
    """Names the extractor of a modality, its versions, options and sampling rate."""
    parts = [
        f"{name.replace('_', ' ')} {_say(name, value)}"
        for name, value in stated.items()
        if name not in (ASKED, "extractor") and isinstance(value, str | int | float)
    ]
    least, most = _span(stated)
    if least == most:
        parts.append(f"sound at {least:g} Hz")
    return ", ".join(filter(None, [stated.get("extractor"), *parts]))


def describe_differences(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], whose: str = "training"
) -> str:
    """Says in a sentence how a provenance differs from another of the same modality.

    Returns:
      The sentence; "" if they agree in all that `theirs` state, or if either states
      nothing.
    """
    if not mine or not theirs:
        return ""
    parts = _other_units(mine, theirs)
    for name in theirs:
        a, b = mine.get(name), theirs.get(name)
        if name == ASKED or isinstance(a, dict) or isinstance(b, dict) or a == b:
            continue
        long = isinstance(a, list) or isinstance(b, list) or _is_digest(a, b)
        said = "differs" if long else f"{_say(name, a)}, not {_say(name, b)}"
        parts.append(f"{name.replace('_', ' ')} {said}")
    low, high = _span(mine)
    least, most = _span(theirs)
    if low > most or high < least:
        parts.append(f"sound at {low:g} Hz, not {least:g} Hz")
    if not parts:
        return ""
    return f"features are not extracted as those of {whose}: {'; '.join(parts)}"


def _other_units(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Lists the features that both state, in other units."""
    a, b = mine.get(FEATURE_UNITS, {}), theirs.get(FEATURE_UNITS, {})
    return [
        f"{name} in {a[name]}, not {b[name]}"
        for name in b
        if name in a and a[name] != b[name]
    ]


def _say(name: str, value: Any) -> str:
    if value is None or value == "":
        return "none"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}{UNITS.get(name, '')}" if number else str(value)


def _is_digest(*values: Any) -> bool:
    return all(isinstance(v, str) and len(v) == 64 for v in values)


def _span(provenance: Mapping[str, Any]) -> tuple[float, float]:
    """Returns the least and the highest sampling rate [Hz]."""
    rates = provenance.get(SOUND_RATE)
    if not isinstance(rates, dict):
        return float("-inf"), float("inf")
    return rates["least"], rates["most"]
