"""One more recording to the features that a corpus has.

Axes: R frames, F features.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.provenance import (
    ASKED,
    SOUND_RATE,
    Provenance,
    describe_differences,
)
from ifusion.features.extracted import SUFFIXES
from ifusion.features.extractors import Features, Options, make_extractor, state
from ifusion.features.media import MediaError, Recording, sound_rate


class Reused(NamedTuple):
    """Features of a recording.

    Attributes:
      features: names, (R, F) values, and facts such as the share with a face.
      times: (R,) of the frames [s]; None = one row of the whole recording.
      provenance: where they come from, as that of a corpus.
      differences: a sentence on what is not as in the corpus; "" if all is.
    """

    features: Features
    times: np.ndarray | None
    provenance: Provenance
    differences: str

    def columns(self, recording: str) -> dict[str, np.ndarray]:
        """Returns the table: recording, time where there are frames, and features."""
        rows = len(self.features.values)
        table = {"recording": np.repeat(recording, rows)}
        if self.times is not None:
            table["time"] = self.times
        return table | dict(
            zip(self.features.names, self.features.values.T, strict=True)
        )


def extract_as(
    path: Path,
    modality: str,
    provenance: Mapping[str, Any],
    extractor: str | None = None,
) -> Reused:
    """Extracts the features of a media file as those of a corpus were extracted.

    Sound is resampled to the rate of the corpus, if all its recordings have one.

    Args:
      path: of the media; of a table, if the corpus was made of tables of a tool.
      modality: "audio" or "video".
      provenance: of the modality, as `ifusion.corpora.provenance.read_provenance` has
        it; what only sums up its recordings may be absent.
      extractor: as for `--audio` and `--video`, where a file that it needs has moved;
        None = as the corpus states it.

    Raises:
      MediaError: the file cannot be read, or has no face, voice and so on.
      CorpusError: what the extractor needs is missing, or the provenance is unusable.
      MissingExtraError: a library is not installed.

    Example:
      >>> stated = read_provenance(corpus)["audio"]  # doctest: +SKIP
      >>> extract_as(clip, "audio", stated).columns("clip")  # doctest: +SKIP
    """
    name = extractor or provenance.get(ASKED)
    if not isinstance(name, str) or modality not in ("audio", "video"):
        raise CorpusError(
            f"the features of {modality} do not state their extractor; give a table"
        )
    known = {f.name for f in fields(Options)} & set(provenance)
    options = Options(**{n: provenance[n] for n in known})
    recording = Recording(path)
    made = make_extractor(modality, name, options)
    tables = made.tables is not None
    if tables != (path.suffix.lower() in SUFFIXES):
        kind = "a table of that tool" if tables else "a recording"
        reason = f"{provenance['extractor']} are the features; expected {kind}"
        raise MediaError(reason, path)
    resampled = ""
    rate = None if tables or options.rate else _rate(provenance)
    if rate is not None and (own := sound_rate(recording)) != rate:
        made = make_extractor(modality, name, replace(options, rate=rate))
        resampled = f"its sound of {own} Hz is resampled to {rate} Hz"
    extracted = made.extract(recording)
    states = dict(made.states)
    if made.fit:  # what was fitted is stated
        fitted = {n: v for n, v in provenance.items() if not isinstance(v, dict)}
        states = {**fitted, **states}
    features = made.finish(extracted, states)
    mine = state(made, states, [features])
    asked = {**mine, "rate": provenance.get("rate")} if resampled else mine
    said = [describe_differences(asked, provenance), resampled]
    times = None
    if options.step is not None:
        times = np.round(np.arange(len(features.values)) * options.step, 9)
    return Reused(features, times, mine, "; ".join(filter(None, said)))


def _rate(provenance: Mapping[str, Any]) -> int | None:
    """Returns the sampling rate of all sound [Hz], if there is one."""
    rates = provenance.get(SOUND_RATE)
    if not rates or rates["least"] != rates["most"]:
        return None
    return int(rates["most"])
