"""The pictures of a report, as files and as data URLs for its page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ifusion.corpora.names import file_names
from ifusion.evaluation.result import BASELINE_KEY, FUSION_KEY, Result
from ifusion.evaluation.traces import Traces, join_systems
from ifusion.reporting import figures, views
from ifusion.reporting.page import data_url
from ifusion.reporting.tables import Tables
from ifusion.reporting.wording import notation
from ifusion.storage import make_folder, write_atomically


def draw_pictures(result: Result, tables: Tables, folder: Path) -> dict[str, Any]:
    """Draws all figures: {name: URL, or pairs of title and URL}."""

    def keep(name: str, figure: Figure) -> str:
        return data_url(figures.save_figure(figure, folder / name), "svg+xml")

    def draw_counts(counts: np.ndarray, title: str) -> str:
        drawn = figures.draw_confusion(counts, result.corpus["classes"], title)
        return data_url(figures.render_figure(drawn, "svg"), "svg+xml")

    def draw_curves(target: str) -> str:  # hundreds of lines would bloat an SVG
        drawn = figures.draw_training_curves(result, target)
        return data_url(figures.render_figure(drawn, "png"), "png")

    found: dict[str, Any] = {}
    if result.curve["alpha"].nunique() > 1:
        found["figure2"] = keep("figure2", figures.figure2(result))
    if len(tables.missing):
        drawn = figures.draw_missing_modality(result)
        found["missing_modality"] = keep("missing_modality", drawn)
    if len(tables.controls):
        found["controls"] = keep("controls", figures.draw_controls(result))
    tuning = result.tuning
    if tuning.loc[tuning["alpha"] == 0, "delay_seconds"].nunique() > 1:
        found["delays"] = keep("delays", figures.draw_delays(result))
    if len(views.gain_steps(result)):
        found["gains"] = keep("postprocessing", figures.draw_gains(result))
    if result.corpus["task"] == "classification":
        found["confusions"] = [
            (title, draw_counts(counts, title)) for title, counts in _confusions(result)
        ]
    elif not result.over_time and any(key in figures.CURVES for key, _ in result.own):
        found["values"] = [
            (target, keep(f"values_{i}", figures.draw_values(result, target)))
            for i, target in enumerate(result.targets)
        ]
    if len(result.history):
        targets = [t for t in result.targets if t in set(result.history["target"])]
        found["training"] = [(target, draw_curves(target)) for target in targets]
    found["traces"] = _write_traces(result, folder) if result.traces else []
    return found


def _confusions(result: Result) -> Iterator[tuple[str, np.ndarray]]:
    counts = views.confusions(result, result.partitions[-1])
    for (main, system), each in counts.items():
        yield f"{main}, {figures.CURVES[system][0]}", each.mean(0)


def _write_traces(result: Result, folder: Path) -> list[tuple[str, str]]:
    """Draws every recording into a file; returns those that the page shows.

    The page shows the recordings of the last partition with the smallest, median and
    largest mean CCC of implicit fusion.
    """
    last, pictures = result.partitions[-1], {}
    shown, joined = _spread(result), join_systems(result.traces)
    named = file_names(str(name) for traces in joined for name in traces.recording)
    for traces in joined:
        place = folder / "traces" / traces.partition
        make_folder(place)
        for i, recording in enumerate(map(str, traces.recording)):
            panels = list(_panels(result, traces, i))
            if not panels:
                continue
            figure = figures.draw_traces(recording, traces.frame_step, panels)
            picture = figures.render_figure(figure, "png")
            write_atomically(place / f"{named[recording]}.png", picture)
            if traces.partition == last and recording in shown:
                pictures[recording] = data_url(picture, "png")
    return [(said, pictures[name]) for name, said in shown.items() if name in pictures]


def _spread(result: Result) -> dict[str, str]:
    """Names the recordings with the smallest, median and largest score."""
    last, style = result.partitions[-1], notation("ccc_recordings")
    pooled = result.own.get((FUSION_KEY, last)) or result.own.get((BASELINE_KEY, last))
    if pooled is None:
        return {}
    rows = pooled.predictors["processing"] == result.scorer.processing
    values = pooled.values[rows.to_numpy()]
    sums, formula = result.scorer.statistics["ccc_recordings"]
    ccc = formula(sums(values, None, np.arange(values.shape[1])))
    scores = np.ma.masked_where(values[..., 0] == 0, ccc).mean(0)
    order = np.argsort(scores)
    shown = {order[0]: "least", order[len(order) // 2]: "median", order[-1]: "largest"}
    names = pooled.recordings["recording"]
    return {
        str(names[i]): f"{names[i]}: {said} CCC, {style.score(scores[i])}"
        for i, said in shown.items()
    }


def _panels(result: Result, traces: Traces, i: int) -> Iterator[figures.Trace]:
    """Yields the panels of recording i, one per target and main."""
    inside = slice(traces.offsets[i], traces.offsets[i + 1])
    lanes = traces.lanes
    for target in result.targets:
        for main in result.mains:
            mine = (lanes["main"] == main) & (lanes["target"] == target)
            rows = {
                system: np.flatnonzero(mine & (lanes["system"] == system))
                for system in figures.CURVES
            }
            rows = {system: found for system, found in rows.items() if len(found)}
            if not rows:
                continue
            lane = lanes.iloc[list(rows.values())[-1][0]]
            scored = (target, int(lane["ahead"]))
            chosen = f" (alpha = {lane['alpha']:g})" if FUSION_KEY in rows else ""
            yield figures.Trace(
                f"{target} from {main}{chosen}",
                traces.gold[scored][inside],
                traces.raters.get(scored, np.empty((0, 0)))[:, inside],
                {s: traces.processed[found, inside] for s, found in rows.items()},
            )
