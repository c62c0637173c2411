"""The report of a run: tables and figures as files, and one self-contained page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ifusion import __version__
from ifusion.corpora.corpus import JOIN
from ifusion.corpora.names import file_names
from ifusion.evaluation.agreement import MOMENTS
from ifusion.evaluation.outcomes import PROCESSED, Outcomes
from ifusion.evaluation.result import BASELINE_KEY, FUSION_KEY, Result
from ifusion.evaluation.significance import SIGNIFICANCE_LEVEL
from ifusion.evaluation.traces import Traces, join_systems
from ifusion.reporting import figures, views
from ifusion.reporting.page import data_url, render_page
from ifusion.reporting.wording import (
    METRIC_TITLES,
    caution,
    evidence,
    headline,
    notation,
)
from ifusion.storage import make_folder, write_atomically, write_csv

LEFT = (
    "main",
    "target",
    "chosen",
    "setting",
    "remark",
    "gain of",
    "a gain says",
)  # text


class _Tables(NamedTuple):
    """Tables that go into files and onto the page.

    Attributes:
      paper: Table 1, or Table 2 for each metric, with titles.
      comparison: of systems.
      missing: scores when a modality is missing; may be empty.
      controls: implicit fusion minus controls; may be empty.
    """

    paper: list[tuple[str, pd.DataFrame]]
    comparison: pd.DataFrame
    missing: pd.DataFrame
    controls: pd.DataFrame


def write_report(result: Result, folder: Path) -> Path:
    """Writes the report of a result: report.html and the files it is made from.

    The page needs neither scripts nor a network. Written next to it are table1 or
    table2 and comparison (.md and .csv), choices.csv, differences.csv, predictions.csv
    (for values over time moments.csv) of the chosen predictors given their main; where
    they apply, tuning.csv, history.csv and postprocessing.csv; the figures as .png and
    .svg; and, for values over time, one picture per recording in the folder traces.
    Existing files are replaced.

    Example:
      >>> write_report(result, Path("report")).name
      'report.html'

    Args:
      result: of a run.
      folder: created if it is missing.

    Returns:
      The path of report.html.

    Raises:
      ValueError: no system has a labelled prediction on dev of every fold, or parts of
        the result contradict each other.
    """
    if "dev" not in result.partitions:
        reasons = [f"{key}: {said}" for key, said in views.remarks(result).items()]
        raise ValueError(
            "no system has labelled predictions on dev of every fold, so there is "
            f"nothing to report ({'; '.join(reasons) or 'the result has no systems'})"
        )
    make_folder(folder)
    tables = _Tables(
        paper=_paper_tables(result),
        comparison=views.comparison(result),
        missing=_missing(result),
        controls=views.controls(result),
    )
    _write_tables(result, tables, folder)
    last = result.partitions[-1]
    html = render_page(
        "report.html",
        result=result,
        corpus=result.corpus,
        metric=METRIC_TITLES[result.scorer.metric],
        cluster=result.scorer.cluster,
        last=last,
        regression=result.corpus["task"] == "regression",
        over_time=result.over_time,
        mono=all(JOIN not in main for main in result.mains),
        verdict=_verdict(result),
        test=_test_status(result),
        failed=_failed(result),
        paper_tables=tables.paper,
        paper_caption=_caption(result),
        fusion=views.fusion_table(result),
        comparison=tables.comparison,
        caution=caution(_versus_baseline(result), result.scorer.cluster),
        missing=tables.missing,
        controls=tables.controls,
        pictures=_pictures(result, tables, folder),
        classes=_class_table(result),
        metrics=[(name, views.metrics(result, name)) for name in result.partitions],
        choices=views.choice_table(result),
        chance=max(views.choice_gains(result)["baselines"], default=0),
        chose=views.CHOICE_KEY in {entry.key for entry in result.systems},
        tried=views.tuning_table(result),
        gains=views.gain_table(result),
        **_background(result),
    )
    write_atomically(folder / "report.html", html.encode())
    return folder / "report.html"


def main_table(result: Result) -> str:
    """Names the file of the table that sums up a run.

    Returns:
      "table1.md" or "table2.md" for implicit fusion and its baseline alone, else
      "comparison.md".
    """
    if any(entry.key not in (BASELINE_KEY, FUSION_KEY) for entry in result.systems):
        return "comparison.md"
    return "table1.md" if result.corpus["task"] == "classification" else "table2.md"


def _write_tables(result: Result, tables: _Tables, folder: Path) -> None:
    """Writes all files of text."""
    regression = result.corpus["task"] == "regression"
    name = "table2" if regression else "table1"
    blocks = [
        (f"**{title}**\n\n" if regression else "") + views.to_markdown(table, LEFT)
        for title, table in tables.paper
    ]
    text = "\n".join([*blocks, f"{_caption(result)}\n"])
    write_atomically(folder / f"{name}.md", text.encode())
    write_csv(folder / f"{name}.csv", tables.paper[0][1])
    parts = [
        f"## Scores on {result.partitions[-1]}, with evidence and cost\n",
        views.to_markdown(tables.comparison, LEFT),
    ]
    for title, table in (
        ("When a modality is missing", tables.missing),
        ("Gains over each control", tables.controls),
    ):
        if len(table):
            parts += [f"## {title}\n", views.to_markdown(table, LEFT)]
    write_atomically(folder / "comparison.md", "\n".join(parts).encode())
    write_csv(folder / "comparison.csv", views.tidy_scores(result))
    write_csv(folder / "choices.csv", views.choices(result))
    write_csv(folder / "differences.csv", views.differences(result))
    kind = "moments" if result.over_time else "predictions"
    write_csv(folder / f"{kind}.csv", _predictions(result))
    for name, frame in (
        ("tuning", result.tuning),
        ("history", result.history),
        ("postprocessing", result.gains),
    ):
        if len(frame):
            write_csv(folder / f"{name}.csv", frame)


def _predictions(result: Result) -> pd.DataFrame:
    """Lists the predictions of chosen predictors, given their main."""
    parts = [_predicted(result, each) for each in result.outcomes]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _predicted(result: Result, outcomes: Outcomes) -> pd.DataFrame:
    frame = outcomes.predictors
    kept = np.flatnonzero(
        frame["chosen"] & (frame["given"] == frame["main"]) & ~frame["failed"]
    )
    count = len(outcomes.recordings)
    named = frame.iloc[np.repeat(kept, count)].reset_index(drop=True)
    named = named[["main", "target", "seed", "setting", "alpha", "processing"]]
    named.insert(0, "fold", outcomes.fold)
    named.insert(1, "system", outcomes.system)
    named.insert(2, "partition", outcomes.partition)
    for name in outcomes.recordings:
        named[name] = np.tile(outcomes.recordings[name], len(kept))
    values = outcomes.values[kept]
    if outcomes.labels is None:
        moments = values.reshape(-1, len(MOMENTS))
        table = named.assign(**dict(zip(MOMENTS, moments.T, strict=True)))
        table = table[table["frames"] > 0]
        if result.over_time:
            return table
        single = {"label_mean": "label", "prediction_mean": "prediction"}
        return table[[*named, *single]].rename(columns=single)
    classes = np.array([*result.corpus["classes"], ""])  # the last one: no label
    named["label"] = np.tile(classes[outcomes.labels], len(kept))
    named["prediction"] = classes[values.ravel()]
    return named.drop(columns="processing")


def _paper_tables(result: Result) -> list[tuple[str, pd.DataFrame]]:
    """Makes Table 1, or Table 2 for each kind of CCC."""
    if result.corpus["task"] == "classification":
        return [(METRIC_TITLES[result.scorer.metric], views.table1(result))]
    both = views.CCC if result.over_time else ()
    metrics = dict.fromkeys([result.scorer.metric, *both])
    return [(_title(result, m), views.table2(result, m)) for m in metrics]


def _title(result: Result, metric: str) -> str:
    """Names a metric so that both kinds of CCC can be told apart."""
    if metric == "ccc_pooled" and result.over_time:
        return "CCC over the frames of all recordings"
    return METRIC_TITLES[metric]


def _caption(result: Result) -> str:
    """Says what Table 1 or 2 shows, and how to read it."""
    regression = result.corpus["task"] == "regression"
    chosen = f" by {_title(result, result.scorer.metric)}" if regression else ""
    sentences = [
        f"Mean ± standard deviation over seeds; dev chose alpha and the settings of "
        f"other systems{chosen}."
    ]
    if len(result.folds) > 1:
        sentences.append(
            f"The {len(result.folds)} folds are pooled: each recording is predicted by "
            "what was chosen on the dev partition of its own fold."
        )
    if result.scorer.processing == PROCESSED:
        sentences.append(
            "Post-processing was learnt on dev, predictor by predictor, and frozen for "
            "test."
        )
    sentences.append("Dev scores are optimistic, since choices were made there.")
    if result.over_time:
        sentences.append(
            "The paper's figures are for RECOLA, post-processed; it does not say which "
            "CCC they are. They are comparable only if this corpus is RECOLA."
        )
    elif not regression:
        sentences.append(
            "The paper's F1, most likely micro-F1, is for the dev partition of "
            "OMG-Emotion; it is comparable only if this corpus is OMG-Emotion. The "
            "constant class is the most frequent one in train."
        )
    return " ".join(sentences)


def _verdict(result: Result) -> dict[str, Any]:
    """Makes the headline of the page, and the evidence below it."""
    last = result.partitions[-1]
    fusion = views.fusion_differences(result)
    fusion = fusion[
        (fusion["partition"] == last)
        & (fusion["processing"] == result.scorer.processing)
    ]
    versus = _versus_baseline(result)
    names = {entry.key: entry.name for entry in result.systems}
    others: dict[str, list[str]] = {"gain": [], "loss": []}
    for row in versus.to_dict("records"):
        clear = row["verdict"] in others and row["p_holm"] < SIGNIFICANCE_LEVEL
        if row["system"] != FUSION_KEY and clear:
            several = len(result.targets) > 1
            where = ", ".join([row["main"], *([row["target"]] if several else [])])
            others[row["verdict"]].append(f"{names[row['system']]} ({where})")
    many = bool((versus["system"] != FUSION_KEY).any())
    return {
        "headline": headline(fusion, last) if len(fusion) else "",
        "evidence": [
            (row["name"], row["verdict"], evidence(row))
            for row in fusion.to_dict("records")
        ],
        "others": list(others.items()) if many else [],
    }


def _versus_baseline(result: Result) -> pd.DataFrame:
    """Takes the differences to the baseline on the last partition."""
    frame = result.differences
    return frame[
        (frame["reference"] == BASELINE_KEY)
        & (frame["partition"] == result.partitions[-1])
        & (frame["processing"] == result.scorer.processing)
    ]


def _test_status(result: Result) -> str:
    """Says whether the test partition was opened."""
    opened = [x for x in result.openings if x.get("partition") == "test"]
    if opened:
        times = "once" if len(opened) == 1 else f"{len(opened)} times"
        said = f"Test was opened {times}, first on {str(opened[0].get('time'))[:10]}."
        if "test" in result.partitions:
            return said
        return f"{said} It has no labels to score the predictions by."
    if "test" in result.partitions:
        return ""
    if any("test" in parts for parts in result.corpus["partitions"].values()):
        return "The test partition has not been opened."
    return "The corpus has no test partition."


def _failed(result: Result) -> list[str]:
    """Names the candidates whose training diverged."""
    frame = result.candidates
    names = {entry.key: entry.name for entry in result.systems}
    said = []
    for row in frame[frame["failed_step"] >= 0].to_dict("records"):
        where = [f"fold {row['fold']}"] if len(result.folds) > 1 else []
        where += [str(row["main"])]
        where += [str(row["target"])] if len(result.targets) > 1 else []
        where += [str(row["setting"])] if row["setting"] else []
        where += [f"seed {row['seed']}"]
        said.append(
            f"{names.get(row['system'], row['system'])}, {', '.join(where)} "
            f"(at update {row['failed_step']})"
        )
    return said


def _missing(result: Result) -> pd.DataFrame:
    """`missing_modality`, empty where no system needs several modalities."""
    several = any(JOIN in main for main in result.mains)
    return views.missing_modality(result) if several else pd.DataFrame()


def _class_table(result: Result) -> pd.DataFrame:
    if result.corpus["task"] == "regression":
        return pd.DataFrame()
    return views.class_table(result, result.partitions[-1])


def _pictures(result: Result, tables: _Tables, folder: Path) -> dict[str, Any]:
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

    The page shows those of the last partition with the least, the median and the
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
    """Names the recordings of least, median and largest score, {name: what it is}."""
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
    places = {0: "least", len(order) // 2: "median", len(order) - 1: "largest"}
    names = pooled.recordings["recording"]
    return {
        str(names[i]): f"{names[i]}: {said} CCC, {style.score(scores[i])}"
        for i, said in ((order[place], said) for place, said in places.items())
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


def _background(result: Result) -> dict[str, Any]:
    """Describes the corpus, the configuration and the provenance of the run."""
    corpus, config = result.corpus, result.config
    settings = {k: v for k, v in config.items() if k not in ("provenance", "format")}
    partitions = [
        {
            "fold": fold,
            "partition": partition,
            "recordings": counts["recordings"],
            "speakers": counts["speakers"],
            **_labels(corpus["task"], counts),
        }
        for fold, parts in corpus["partitions"].items()
        for partition, counts in parts.items()
    ]
    kind = "Classes" if corpus["task"] == "classification" else "Targets"
    provenance = config.get("provenance", {})
    return {
        "version": __version__,
        "labels": f"{kind}: {', '.join(corpus[kind.lower()])}.",
        "partitions": pd.DataFrame(partitions).fillna(""),
        "config": pd.DataFrame(_flatten(settings), columns=["entry", "value"]),
        "provenance": pd.DataFrame(_flatten(provenance), columns=["what", "value"]),
    }


def _labels(task: str, counts: Mapping[str, Any]) -> dict[str, str]:
    """Describes the labels of a partition."""
    if task == "classification":
        classes = counts.get("classes", {}).items()
        return {"classes": ", ".join(f"{name} {count}" for name, count in classes)}
    targets = counts.get("targets", {}).items()
    said = [f"{name} {t['mean']:.2f} ± {t['sd']:.2f}" for name, t in targets]
    frames = {"frames": str(counts["frames"])} if "frames" in counts else {}
    return {**frames, "mean ± sd": ", ".join(said)}


def _flatten(
    nested: Mapping[str, Any], path: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Walks a nested mapping: ("training.epochs", "50"), ..."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, key))
        elif isinstance(value, list | tuple):
            yield ".".join((*path, key)), ", ".join(map(str, value))
        else:
            yield ".".join((*path, key)), str(value)
