"""Tables of features that openSMILE or OpenFace wrote, one file per recording.

Without a step, a table of frames becomes the mean and standard deviation of each
column; a table with a single row stays as it is. With a step, each frame takes the
latest row at or before its time.

Axes: R rows, F features.
"""

from functools import partial
from pathlib import Path

import numpy as np

from ifusion.corpora.columns import CONFIDENCE, SUCCESS, is_bookkeeping, lost_face
from ifusion.corpora.functionals import mean_and_sd, name_functionals
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.features.extractors import Extractor, ExtractorOptions, Features, path_in
from ifusion.features.media import MediaError, Recording
from ifusion.features.windows import ROUNDING, count_frames

SUFFIXES = {".csv", ".arff"}
TIMES = ("frametime", "timestamp", "time")
FACE = "face_id"


def read_tables(
    name: str, rest: str, options: ExtractorOptions, tool: str
) -> Extractor:
    """Makes the extractor that reads the tables of a tool, "openSMILE" or "OpenFace".

    Of several faces it takes the one that OpenFace saw in most frames. Frames where
    OpenFace found no face are gaps.
    """
    folder = path_in(name, rest, "folder")
    states = {"extractor": f"tables of {tool}", "step": options.step}
    extract = partial(_extract, step=options.step)
    return Extractor(name, states, extract, tables=folder)


def _extract(recording: Recording, step: float | None) -> Features:
    names, times, values, facts = _read(recording.path)
    if times is not None:
        inside = (times >= recording.start) & (times < recording.end)
        times, values = times[inside] - recording.start, values[inside]
    if not len(values):
        raise MediaError("there is no row in this part", recording.path)
    if step is None:
        if len(values) == 1:
            return Features(names, values, facts)
        return Features(name_functionals(names), mean_and_sd(values)[None], facts)
    if times is None:
        raise MediaError("it has no times, which --step needs", recording.path)
    interval = np.median(np.diff(times)) if len(times) > 1 else step
    wanted = np.arange(count_frames(float(times[-1] + interval), step)) * step
    rows = np.searchsorted(times, wanted + ROUNDING, "right") - 1
    return Features(names, values[np.maximum(rows, 0)], facts)


def _read(
    path: Path,
) -> tuple[tuple[str, ...], np.ndarray | None, np.ndarray, dict[str, float]]:
    """Reads F names, (R,) times [s] or None, (R, F) values, and facts."""
    known = {column.lower(): column for column in read_columns(path)}
    asked = {n: known[n] for n in (*TIMES, SUCCESS, CONFIDENCE, FACE) if n in known}
    table = read_table(
        path,
        numbers=list(asked.values()),
        choose=lambda _, names: tuple(n for n in names if not is_bookkeeping(n)),
        advice="; if the column is not a feature, remove it from every table",
    )
    if not table.names:
        raise MediaError("none of its columns is a feature", path)
    numbers = {n: table.numbers[column] for n, column in asked.items()}
    times = next((numbers[n] for n in TIMES if n in numbers), None)
    values, facts = table.values.copy(), {}
    if SUCCESS in numbers and CONFIDENCE in numbers:
        lost = lost_face(numbers[SUCCESS])
        values[lost] = np.nan
        if FACE in numbers and not lost.all():
            faces, counts = np.unique(numbers[FACE][~lost], return_counts=True)
            mine = numbers[FACE] == faces[counts.argmax()]
            facts["most_faces"] = float(len(np.unique(numbers[FACE])))
            values, lost = values[mine], lost[mine]
            times = None if times is None else times[mine]
        if lost.all():
            raise MediaError("OpenFace found no face", path)
        facts["face_share"] = float(1 - lost.mean())
    if times is not None and not (np.diff(times) > 0).all():
        raise MediaError("its times do not increase", path)
    return table.names, times, values, facts
