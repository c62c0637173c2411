"""The report of a run that compares systems: tables, figures, one page."""

from pathlib import Path

import pandas as pd

from ifusion.reporting.comparison import Comparison, compare, verdicts
from ifusion.reporting.comparison_controls import gains, tidy_gains
from ifusion.reporting.comparison_figures import draw_controls, draw_missing_modality
from ifusion.reporting.comparison_run import read_comparison
from ifusion.reporting.comparison_tables import (
    all_metrics,
    caption,
    caveat,
    details,
    details_caption,
    missing_modality,
    overview,
    tidy,
)
from ifusion.reporting.figures import save_figure
from ifusion.reporting.page import background, data_uri, render
from ifusion.reporting.run import write_csv
from ifusion.reporting.tables import to_markdown
from ifusion.reporting.wording import METRIC_TITLES
from ifusion.storage import write_atomically


def write_comparison(folder: Path, resamples: int = 10_000) -> Path:
    """Writes the report of a run that compares systems, from its files alone.

    Writes comparison.csv, .md and .html, missing_modality.png and .svg and, where there
    are controls, controls.csv, .png and .svg. Those that exist are replaced; the test
    partition is in them once it was opened.

    Args:
      folder: the run directory, see `ifusion.reporting.comparison_run`.
      resamples: of the bootstrap.

    Returns:
      The path of comparison.html.

    Raises:
      ValueError: a file, key or column is missing, or the files contradict each other.
    """
    run = read_comparison(folder)
    found = compare(run, resamples)
    write_csv(folder / "comparison.csv", tidy(found))
    overviews = [(target, overview(found, target)) for target in found.targets]
    detailed, missing, said = details(found), missing_modality(found), caption(found)
    metrics, evidence = all_metrics(found), details_caption(found)
    title, last = METRIC_TITLES[found.metric], found.partitions[-1]
    parts = [
        *(f"## {title} of {name}\n\n{_markdown(table)}" for name, table in overviews),
        f"{said}\n",
        f"## Evidence and price, {last}\n\n{_markdown(detailed)}",
        f"{evidence}\n",
        f"## All metrics, {last}\n\n{_markdown(metrics)}",
        f"## Given one modality alone, {last}\n\n{_markdown(missing)}",
    ]
    controls, gained = _controls(folder, found), gains(found)
    if controls:
        parts.append(
            f"## Implicit fusion minus each control, {last}\n\n{_markdown(gained)}"
        )
    write_atomically(folder / "comparison.md", "\n".join(parts).encode())
    _, svg = save_figure(draw_missing_modality(found), folder / "missing_modality")
    html = render(
        "comparison.html",
        {
            "run": run,
            "findings": found,
            "metric": title,
            "overviews": overviews,
            "caption": said,
            "details": detailed,
            "details_caption": evidence,
            "metrics": metrics,
            "missing": missing,
            "missing_figure": data_uri(svg.read_bytes(), "svg+xml"),
            "controls": controls,
            "gains": gained,
            "verdicts": verdicts(found),
            "few_clusters": caveat(found),
            **background(run),
        },
    )
    write_atomically(folder / "comparison.html", html.encode())
    return folder / "comparison.html"


def _markdown(table: pd.DataFrame) -> str:
    return to_markdown(table, ("main", "target", "setting", "remark", "a gain says"))


def _controls(folder: Path, found: Comparison) -> str:
    """Writes what is known of controls; their figure as an address, "" = none."""
    if found.controls.empty:
        return ""
    write_csv(folder / "controls.csv", tidy_gains(found))
    _, svg = save_figure(draw_controls(found), folder / "controls")
    return data_uri(svg.read_bytes(), "svg+xml")
