"""One more recording, extracted as a corpus was."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.provenance import (
    ASKED,
    SOUND_RATE,
    Provenance,
    describe_differences,
)
from ifusion.features.extra import MissingExtraError
from ifusion.features.extracted import SUFFIXES
from ifusion.features.extraction import reason_of
from ifusion.features.extractors import (
    Extractor,
    ExtractorOptions,
    Features,
    make_extractor,
    state,
)
from ifusion.features.media import MediaError, Recording, sound_rate


class Reused(NamedTuple):
    """Features of a recording."""

    features: Features
    provenance: Provenance  # where they come from, in the form a corpus states it
    differences: str  # a sentence on what differs from the corpus; "" if nothing does


def extract_as(path: Path, modality: str, provenance: Mapping[str, Any]) -> Reused:
    """Extracts features of a media file as those of a corpus were extracted.

    If all recordings of the corpus have one sampling rate, sound is resampled to it.

    Args:
      path: of the media file; of a table if the corpus was made from a tool's tables.
      modality: "audio" or "video".
      provenance: of the modality, as `ifusion.corpora.provenance.read_provenance`
        returns it; entries that only sum up its recordings may be absent.

    Raises:
      MediaError: the file cannot be read, or has no face, voice and so on.
      CorpusError: what the extractor needs is missing, or the provenance is unusable.
      MissingExtraError: a library is not installed.

    Example:
      >>> stated = read_provenance(corpus)["audio"]  # doctest: +SKIP
      >>> extract_as(clip, "audio", stated).features  # doctest: +SKIP
    """
    name = provenance.get(ASKED)
    if not isinstance(name, str) or modality not in ("audio", "video"):
        raise CorpusError(
            f"the features of {modality} do not state their extractor; give a table"
        )
    known = {f.name for f in fields(ExtractorOptions)} & set(provenance)
    options = ExtractorOptions(**{n: provenance[n] for n in known})
    recording = Recording(path)
    made = _make_again(modality, name, options)
    tables = made.tables is not None
    if tables != (path.suffix.lower() in SUFFIXES):
        kind = "a table of that tool" if tables else "a recording"
        stated = provenance.get("extractor", name)
        raise MediaError(f"the features are {stated}; expected {kind}", path)
    resampled = ""
    rate = None if tables or options.rate else _common_rate(provenance)
    if rate is not None and (own := sound_rate(recording)) != rate:
        made = make_extractor(modality, name, replace(options, rate=rate))
        resampled = f"its sound of {own} Hz is resampled to {rate} Hz"
    states = dict(made.states)
    if made.fit:  # the provenance has what was fitted on train
        fitted = {n: v for n, v in provenance.items() if not isinstance(v, dict)}
        states = {**fitted, **states}
    try:
        features = made.finish(made.extract(recording), states)
    except (CorpusError, MissingExtraError):
        raise
    except Exception as error:  # a damaged file may cause any
        raise MediaError(reason_of(error), path) from error
    mine = state(made, states, [features])
    compared = {**mine, "rate": provenance.get("rate")} if resampled else mine
    said = [describe_differences(compared, provenance), resampled]
    return Reused(features, mine, "; ".join(filter(None, said)))


def _make_again(modality: str, name: str, options: ExtractorOptions) -> Extractor:
    try:
        return make_extractor(modality, name, options)
    except CorpusError as error:  # of a file that it needs
        flag = f"--{modality}={name.rpartition(':')[0]}:FILE"
        reason = f"{error.reason}; if it has moved, say where: {flag}"
        raise CorpusError(reason, error.file) from error


def _common_rate(provenance: Mapping[str, Any]) -> int | None:
    """Returns the sampling rate of all recordings [Hz], if they have one."""
    rates = provenance.get(SOUND_RATE)
    if not rates or rates["least"] != rates["most"]:
        return None
    return int(rates["most"])
