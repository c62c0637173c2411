"""Tables of features that openSMILE or OpenFace wrote, one file a recording.

Without a step, a table of frames becomes the means and standard deviations of its
columns, and one of a single row stays as it is. With a step, the row that is the last
one at each time is taken.

Axes: R rows, F features.
"""

from functools import partial
from pathlib import Path

import numpy as np

from ifusion.corpora.columns import CONFIDENCE, SUCCESS, is_bookkeeping, lost_face
from ifusion.corpora.functionals import name_functionals, pool
from ifusion.corpora.tables.reading import read_columns, read_table
from ifusion.features.extractors import Extractor, Features, Options
from ifusion.features.media import MediaError, Recording
from ifusion.paths import expand_path

SUFFIXES = {".csv", ".arff"}
TIMES = ("frametime", "timestamp", "time")
FACE = "face_id"


def openface(name: str, rest: str, options: Options) -> Extractor:
    """Reads what OpenFace 2 wrote: of several faces, the one seen in most frames.

    Frames in which it found no face are gaps.
    """
    return _tables(name, rest, options, "OpenFace")


def opensmile(name: str, rest: str, options: Options) -> Extractor:
    """Reads what openSMILE wrote, CSV or ARFF."""
    return _tables(name, rest, options, "openSMILE")


def _tables(name: str, rest: str, options: Options, tool: str) -> Extractor:
    if not rest:
        raise ValueError(f"{name}: expected {name.rstrip(':')}:FOLDER, of its tables")
    states = {"extractor": f"tables of {tool}", "step": options.step}
    extract = partial(_extract, options=options)
    return Extractor(name, states, extract, tables=expand_path(rest))


def _extract(recording: Recording, options: Options) -> Features:
    names, times, values, facts = _read(recording.path)
    if times is not None:
        inside = (times >= recording.start) & (times < recording.end)
        times, values = times[inside] - recording.start, values[inside]
    if not len(values):
        raise MediaError("there is no row in this part", recording.path)
    if options.step is None:
        if len(values) == 1:
            return Features(names, values, facts)
        return Features(name_functionals(names), pool(values)[None], facts)
    if times is None:
        raise MediaError("it has no times, which --step needs", recording.path)
    interval = np.median(np.diff(times)) if len(times) > 1 else options.step
    frames = max(1, int((times[-1] + interval) / options.step + 1e-6))
    wanted = np.arange(frames) * options.step
    rows = np.searchsorted(times, wanted + 1e-6, "right") - 1
    return Features(names, values[np.maximum(rows, 0)], facts)


def _read(
    path: Path,
) -> tuple[tuple[str, ...], np.ndarray | None, np.ndarray, dict[str, float]]:
    """Reads a table: F names, (R,) times [s] or None, (R, F) values, and facts."""
    known = {column.lower(): column for column in read_columns(path)}
    asked = {n: known[n] for n in (*TIMES, SUCCESS, CONFIDENCE, FACE) if n in known}
    table = read_table(
        path,
        numbers=list(asked.values()),
        choose=lambda _, names: tuple(n for n in names if not is_bookkeeping(n)),
    )
    if not table.names:
        raise MediaError("no column of it is a feature", path)
    numbers = {n: table.numbers[column] for n, column in asked.items()}
    times = next((numbers[n] for n in TIMES if n in numbers), None)
    values, facts = table.values.copy(), {}
    if SUCCESS in numbers and CONFIDENCE in numbers:
        lost = lost_face(numbers[SUCCESS])
        values[lost] = np.nan
        if FACE in numbers:
            faces, counts = np.unique(numbers[FACE][~lost], return_counts=True)
            if not len(faces):
                raise MediaError("OpenFace found no face", path)
            mine = numbers[FACE] == faces[counts.argmax()]
            facts["most_faces"] = float(len(np.unique(numbers[FACE])))
            values, lost = values[mine], lost[mine]
            times = None if times is None else times[mine]
        if lost.all():
            raise MediaError("OpenFace found no face", path)
        facts["face_share"] = float(1 - lost.mean())
    if times is not None and not (np.diff(times) > 0).all():
        raise MediaError("its times do not ascend", path)
    return table.names, times, values, facts
