"""Scores prediction files in AVEC's layout, for those who have the labels.

`ifusion.reporting.submission` writes such files. Axes: T frames of a recording.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion.concordance import Convention
from ifusion.corpora.corpus import CorpusError, shorten
from ifusion.corpora.sources.recola import Series, read_series
from ifusion.evaluation.agreement import make_measures, measure, recording_moments


class SubmissionScores(NamedTuple):
    """How predictions agree with the gold standard of one target.

    Attributes:
      overall: {metric: value}, see `agreement.make_measures`.
      recordings: {recording: CCC}.
    """

    overall: dict[str, float]
    recordings: dict[str, float]


def score_submission(
    predictions: Mapping[str, Series],
    gold: Mapping[str, Series],
    convention: Convention = "population",
) -> SubmissionScores:
    """Scores predictions of one target against its gold standard.

    Recordings of other partitions (the name before the last "_") are left out of the
    gold standard.

    Args:
      predictions: from `ifusion.corpora.sources.recola.read_series`.
      gold: from the same function; frames without a value are not scored.
      convention: convention of the CCC, see `ifusion.concordance`.

    Raises:
      CorpusError: if a recording is missing on either side, its times do not match, a
        prediction is missing, or the two sides seem swapped or are the same files.
    """
    _require_sides(predictions, gold)
    _require_recordings(predictions, gold)
    for name, series in predictions.items():
        _require_fit(name, series, gold[name])
    values = np.concatenate([series.values for series in predictions.values()])
    labels = np.concatenate([gold[name].values for name in predictions])
    lengths = [len(series.values) for series in predictions.values()]
    moments = recording_moments(values, labels, np.cumsum([0, *lengths]))
    scored = moments[:, 0] > 0
    if not scored.any():
        raise CorpusError("the gold standard has no value for any recording")
    measures = make_measures(convention)
    alone = measure(moments[:, None], measures["ccc_recordings"])
    return SubmissionScores(
        {name: float(measure(moments, m)) for name, m in measures.items()},
        {
            name: float(ccc)
            for name, ccc, known in zip(predictions, alone, scored, strict=True)
            if known
        },
    )


def score_folders(
    folder: Path, gold: Path, convention: Convention, frame_step: float
) -> Iterator[str]:
    """Scores the files of each target, a sub-folder of both `folder` and `gold`.

    Args:
      folder: folder of predictions.
      gold: folder of gold standards.
      convention: convention of the CCC.
      frame_step: [s].

    Yields:
      One line per target, then one per recording.

    Raises:
      CorpusError: if there is no sub-folder; see also `score_submission`.
    """
    targets = sorted(path.name for path in folder.glob("*") if path.is_dir())
    if not targets:
        raise CorpusError("no sub-folder found; expected one per target", folder)
    for target in targets:
        scores = score_submission(
            read_series(folder / target, frame_step),
            read_series(gold / target, frame_step),
            convention,
        )
        overall = "  ".join(f"{k} {v:.4f}" for k, v in scores.overall.items())
        yield f"{target}: {overall}"
        for name, ccc in scores.recordings.items():
            yield f"  {name}: ccc {ccc:.4f}"


def _require_sides(
    predictions: Mapping[str, Series], gold: Mapping[str, Series]
) -> None:
    """Refuses sides that are identical, or swapped, which no score would show."""
    one, other = next(iter(predictions.values())), next(iter(gold.values()))
    if one.path.resolve() == other.path.resolve():
        reason = "predictions and gold standard are the same file"
        raise CorpusError(reason, one.path)
    pairs = (
        ("predictions", "gold", one, other),
        ("gold standard", "predict", other, one),
    )
    for what, word, mine, theirs in pairs:
        if word in mine.column.lower() and word not in theirs.column.lower():
            reason = (
                f"the file of {what} has the column {mine.column!r}; are --folder and "
                "--gold swapped?"
            )
            raise CorpusError(reason, mine.path)


def _require_recordings(
    predictions: Mapping[str, Series], gold: Mapping[str, Series]
) -> None:
    """Refuses recordings that only one side has."""

    def partition(name: str) -> str:
        return name.rpartition("_")[0] or name

    partitions = {partition(name) for name in predictions}
    expected = [name for name in gold if partition(name) in partitions]
    sides = {
        "gold standard": ([n for n in predictions if n not in gold], gold),
        "prediction": ([n for n in expected if n not in predictions], predictions),
    }
    for what, (missing, files) in sides.items():
        if missing:
            place = next(iter(files.values())).path.parent
            raise CorpusError(f"{place}: no {what} for {shorten(missing)}")


def _require_fit(name: str, series: Series, gold: Series) -> None:
    """Refuses gaps, and frames other than those of the gold standard."""
    found, expected = len(series.values), len(gold.values)
    if found != expected or series.start != gold.start:
        raise CorpusError(
            f"{series.path}: {found} predictions from frame {series.start} on, "
            f"expected {expected} from frame {gold.start} on as in {gold.path}"
        )
    missing = np.isnan(series.values)
    if missing.any():
        raise CorpusError(
            f"{series.path}: the prediction of frame {int(missing.argmax())} is missing"
        )
