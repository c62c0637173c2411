"""Extracts the features of a clip that a predictor reads.

The libraries for this are the extra `features`; the first clip loads them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.provenance import ASKED, Provenance
from ifusion.features.extra import MissingExtraError, import_extra
from ifusion.features.extractors import ExtractorOptions, make_extractor
from ifusion.features.media import SOUNDS, VIDEOS, Recording, measure_length
from ifusion.features.reuse import extract_as
from ifusion.inference.predictor import Predictor

ENDINGS = frozenset(SOUNDS | VIDEOS)
LONGEST = 600.0  # [s] of a recording that becomes one row
SEEN = {  # shares below which a clip is doubtful
    "voice_share": (0.05, "a voice is heard in"),
    "face_share": (0.5, "a face is seen in"),
}


def is_clip(path: str | Path) -> bool:
    """Returns whether the ending of a path is one of sound or video."""
    return Path(path).suffix.lower() in ENDINGS


def read_clip(
    predictor: Predictor, modality: str, path: Path
) -> tuple[pd.DataFrame, Provenance, list[str]]:
    """Extracts one modality as the predictor states it, and reads nothing else.

    Returns:
      The features, one row or one per frame, their provenance, and what is doubtful.

    Raises:
      ValueError: the clip cannot be read or lacks the modality, the predictor names no
        extractor, or a library is not installed.
    """
    stated = extraction_of(predictor, modality)
    try:
        if stated["step"] is None:
            _require_short(path)
        found = extract_as(path, modality, stated)
    except MissingExtraError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    values = found.features.values
    if not len(values):
        raise CorpusError("it is shorter than one frame", path)
    table = pd.DataFrame(values, columns=list(found.features.names))
    facts = found.features.facts
    doubts = [
        f"{what} {facts[name]:.0%} of it"
        for name, (least, what) in SEEN.items()
        if facts.get(name, 1.0) < least
    ]
    if "extractor" not in stated:
        doubts.append("the model does not say how its own features were extracted")
    elif found.differences:
        doubts.append(found.differences)
    return table, found.provenance, doubts


def why_no_clips(predictor: Predictor) -> str:
    """Says why clips cannot be predicted here; "" if they can."""
    try:
        for modality in predictor.features:
            name = extraction_of(predictor, modality)[ASKED]
            import_extra("av")
            made = make_extractor(modality, name, ExtractorOptions())
            if made.tables is not None:
                return f"the features of {modality} are {made.states['extractor']}"
    except ValueError as error:
        return str(error)
    return ""


def extraction_of(predictor: Predictor, modality: str) -> Mapping[str, Any]:
    """Returns how a predictor's features of a modality are extracted.

    Raises:
      ValueError: if the predictor does not say.
    """
    stated = predictor.provenance.get(modality, {})
    if ASKED not in stated:
        made = stated.get("extractor")
        known = f" (they are {made})" if made else ""
        raise ValueError(
            f"the model names no extractor of its {modality} features{known}: pass a "
            "table of them instead of a clip"
        )
    return {"step": predictor.frame_step, **stated}


def _require_short(path: Path) -> None:
    """Refuses a file that is longer than any utterance."""
    length = measure_length(Recording(path), LONGEST)
    if length > LONGEST:
        raise CorpusError(
            f"it lasts more than {LONGEST / 60:g} min, but the model gives one answer "
            "per recording; cut it into utterances",
            path,
        )
