"""Prediction files in AVEC's layout, since RECOLA's test labels are not public.

    <folder>/<target>/test_1.csv    name;frameTime;prediction

The organisers, who have the labels, score them as `ifusion.evaluation.submission` does.
Axes: T frames of a recording.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.folder.writing import require_new, whole_folder
from ifusion.corpora.names import file_names
from ifusion.evaluation.outcomes import SUFFIXES, score_table
from ifusion.evaluation.result import Result
from ifusion.evaluation.traces import load_traces


def write_submission(
    folder: Path,
    predictions: Mapping[str, np.ndarray],
    frame_step: float,
    extents: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Writes one file per recording; the folder appears whole or not at all.

    A file has the name of its recording, as far as file systems allow.

    Args:
      folder: folder of the target; must not exist, or be empty.
      predictions: {recording: (T,)}, in the unit of the target.
      frame_step: [s].
      extents: {recording: (first, begin, end)} [frame]: predictions start at frame
        `first`; the file holds frames begin, ..., end - 1, with the first and last
        prediction repeated at the ends. None for frames 0, ..., T - 1.

    Raises:
      CorpusError: if the folder is not empty, a prediction is not finite, or a
        recording's name cannot be a cell.
    """
    require_new(folder)
    whole = {name: (0, 0, len(values)) for name, values in predictions.items()}
    extents = whole if extents is None else extents
    for name, values in predictions.items():
        if not name or set(name) & set(";,\"'\n\r"):
            raise CorpusError(
                f"recording {name!r} cannot be a cell: it holds a comma, a semicolon, "
                "a quote or a line end"
            )
        wrong = ~np.isfinite(values)
        if wrong.any():
            time = frame_step * (extents[name][0] + int(wrong.argmax()))
            raise CorpusError(
                f"recording {name!r}: the prediction at {time:g} s is "
                f"{values[wrong.argmax()]}, expected a finite number"
            )
    files = file_names(predictions)
    with whole_folder(folder) as part:
        for name, values in predictions.items():
            first, begin, end = extents[name]
            frames = np.arange(begin, end)
            held = values[np.clip(frames - first, 0, len(values) - 1)]
            columns = {"name": name, "frameTime": frame_step * frames}
            table = pd.DataFrame({**columns, "prediction": held})
            text = table.to_csv(
                sep=";", index=False, float_format="%.9g", lineterminator="\n"
            )
            (part / f"{files[name]}.csv").write_text(text, "utf-8", newline="\n")


def export_submission(
    result: Result,
    folder: Path,
    partition: str = "test",
    system: str = "implicit_fusion",
    seed: int | None = None,
) -> Iterator[str]:
    """Writes the predictions of the lanes that dev chose, over all folds.

    Args:
      result: result of a regression over time.
      folder: where to write `<main>/<target>/<recording>.csv`.
      partition: "dev" or "test", which must have been opened.
      system: "implicit_fusion" or "baseline".
      seed: seed of the predictions; the best on dev by default.

    Yields:
      One sentence per file or folder written.

    Raises:
      ValueError: if the partition was not opened, predictions are in shifted time, or
        there is no such seed.
    """
    if result.config["training"]["delay_scoring"] == "shifted":
        raise ValueError(
            f"{result.name}: predictions are in shifted time; files need a run with "
            "--config.training.delay_scoring=original"
        )
    paths = [p for p in result.traces if p.name == f"{system}-{partition}.safetensors"]
    if len(paths) < len(result.folds):
        raise ValueError(
            f"{result.name}: {system} has no predictions on {partition} in every fold; "
            f"open the partition with evaluate.py first"
        )
    best = _best_lanes(result, system, seed)
    predictions: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    extents: dict[str, list[int]] = {}
    left_out: dict[str, None] = {}
    for path in paths:
        traces = load_traces(path)
        extents |= zip(traces.recording.tolist(), traces.extents.tolist(), strict=True)
        left_out |= dict.fromkeys(traces.left_out)
        for lane in best[best["fold"] == traces.fold].to_dict("records"):
            keys = ["main", "target", "seed"]
            found = (traces.lanes[keys] == [lane[k] for k in keys]).all(axis=1)
            values = traces.processed[found.to_numpy().argmax()]
            cut = np.split(values, traces.offsets[1:-1])
            recordings = dict(zip(traces.recording.tolist(), cut, strict=True))
            pair = (lane["main"], lane["target"])
            predictions.setdefault(pair, {}).update(recordings)
            yield (
                f"{lane['main']}, {lane['target']}, {lane['setting']}, seed "
                f"{lane['seed']}, fold {traces.fold}: {len(cut)} recordings"
            )
    mains, targets = file_names(result.mains), file_names(result.targets)
    for (main, target), recordings in predictions.items():
        place = folder / mains[main] / targets[target]
        write_submission(place, recordings, traces.frame_step, extents)
        yield f"written: {place}"
    if left_out:
        yield (
            f"incomplete: {len(left_out)} recordings of {partition} lack a file in the "
            f"corpus, so there are no predictions for {', '.join(left_out)}"
        )


def _best_lanes(result: Result, system: str, seed: int | None) -> pd.DataFrame:
    """Finds the chosen lane of each fold, main and target that is best on dev."""
    metric = result.scorer.metric + SUFFIXES[result.scorer.processing]
    dev = [x for x in result.outcomes if (x.system, x.partition) == (system, "dev")]
    scores = score_table(dev, result.scorer)
    scores = scores[scores["chosen"] & (scores["metric"] == metric)]
    if seed is not None:
        scores = scores[scores["seed"] == seed]
        if scores.empty:
            raise ValueError(f"--seed={seed}: the run has no such seed")
    scores = scores[scores["given"] == scores["main"]]
    scores = scores.sort_values("value", ascending=False, kind="stable")
    return scores.drop_duplicates(["fold", "main", "target"]).sort_index()
