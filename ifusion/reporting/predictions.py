"""Predictions for people: lines, a table, and curves over time.

Axes: R rows, T frames of a recording.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ifusion.corpora.names import file_names
from ifusion.reporting.figures import (
    COLOURS,
    MOST_POINTS,
    RULE,
    STYLE,
    clock,
    label_minutes,
    render_figure,
)
from ifusion.storage import make_folder, write_atomically, write_csv

MOST_LINES = 20  # rows or recordings that are printed
RECORDING, TIME = "recording", "time"


def describe_predictions(
    table: pd.DataFrame, targets: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """Describes predictions in one line per row, or per recording over time.

    The columns `targets` of the table hold predictions, `classes` probabilities.
    """
    if TIME in table:
        lines = [_curve_line(*part, targets) for part in by_recording(table)]
    else:
        rows = table.head(MOST_LINES).reset_index(drop=True).iterrows()
        lines = [_row_line(i, row, targets, classes) for i, (_, row) in enumerate(rows)]
    total = table[RECORDING].nunique() if RECORDING in table else 1
    rest = (total if TIME in table else len(table)) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"... and {rest} more"] if rest > 0 else [])]


def by_recording(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Splits a table over time; a single unnamed recording is "recording"."""
    if RECORDING not in table:
        yield RECORDING, table
        return
    for name, part in table.groupby(RECORDING, sort=False):
        yield str(name), part


def write_predictions(
    folder: Path,
    table: pd.DataFrame,
    targets: Sequence[str],
    failures: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Writes predictions.csv and, over time, <recording>.png; returns the paths.

    The folder is created if missing; existing files are replaced. With `failures`,
    {file: reason}, there is also failures.csv.

    Raises:
      OSError: if a file cannot be written.
    """
    make_folder(folder)
    written = [folder / "predictions.csv"]
    write_csv(written[0], table)
    (folder / "failures.csv").unlink(missing_ok=True)  # of an earlier call
    if failures:
        written.append(folder / "failures.csv")
        columns = {"file": [*failures], "reason": [*failures.values()]}
        write_csv(written[1], pd.DataFrame(columns))
    if TIME not in table:
        return written
    parts = dict(by_recording(table))
    names = file_names(parts)
    for recording, part in parts.items():
        path = folder / f"{names[recording]}.png"
        write_atomically(
            path, render_figure(draw_curves(recording, part, targets), "png")
        )
        written.append(path)
    return written


def draw_curves(recording: str, part: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """Draws each target over time [s], from the rows of one recording."""
    stride = max(1, len(part) // MOST_POINTS)
    time = part[TIME].to_numpy()[::stride]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.0), layout="constrained")
        axes = figure.subplots()
        for target, colour in zip(
            targets, np.resize(COLOURS, len(targets)), strict=True
        ):
            values = part[target].to_numpy()[::stride]
            axes.plot(time, values, color=colour, lw=1.3, label=target)
        axes.set_title(recording[:60])
        label_minutes(axes, float(time[-1]))
        axes.grid(color=RULE, lw=0.5)
        axes.margins(x=0)
        axes.legend(
            ncols=len(targets),
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0,
        )
    return figure


def _row_line(
    place: int, row: "pd.Series", targets: Sequence[str], classes: Sequence[str]
) -> str:
    name = row.get(RECORDING, f"row {place + 1}")
    if not classes:
        return f"{name}: " + ", ".join(f"{t} {row[t]:.3f}" for t in targets)
    likely = sorted(classes, key=lambda c: -row[c])[:3]
    chances = ", ".join(f"{c} {100 * row[c]:.0f} %" for c in likely)
    return f"{name}: {row[targets[0]]} ({chances})"


def _curve_line(recording: str, part: pd.DataFrame, targets: Sequence[str]) -> str:
    step = part[TIME].iloc[1] - part[TIME].iloc[0] if len(part) > 1 else 0.0
    said = ", ".join(
        f"{t} {part[t].mean():.3f} ({part[t].min():.3f} to {part[t].max():.3f})"
        for t in targets
    )
    return f"{recording}, {clock(part[TIME].iloc[-1] + step)} min: {said}"
