"""The tables of a report, as files and on its page."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.agreement import MOMENTS
from ifusion.evaluation.outcomes import PROCESSED, Outcomes
from ifusion.evaluation.result import Result
from ifusion.reporting import views
from ifusion.reporting.wording import METRIC_TITLES
from ifusion.storage import write_atomically, write_csv

LEFT = ("main", "target", "chosen", "setting", "remark", "gain of", "a gain says")


class Tables(NamedTuple):
    """Tables that go into files and onto the page.

    Attributes:
      paper_tables: Table 1, or Table 2 for each metric, with titles.
      comparison: of systems.
      missing: scores when a modality is missing; may be empty.
      controls: implicit fusion minus controls; may be empty.
    """

    paper_tables: list[tuple[str, pd.DataFrame]]
    comparison: pd.DataFrame
    missing: pd.DataFrame
    controls: pd.DataFrame


def make_tables(result: Result) -> Tables:
    """Makes the tables that go both into files and onto the page."""
    several = any(JOIN in main for main in result.mains)
    return Tables(
        paper_tables=_paper_tables(result),
        comparison=views.comparison(result),
        missing=views.missing_modality(result) if several else pd.DataFrame(),
        controls=views.controls(result),
    )


def write_tables(result: Result, tables: Tables, folder: Path) -> None:
    """Writes all files of text."""
    regression = result.corpus["task"] == "regression"
    name = "table2" if regression else "table1"
    blocks = [
        (f"**{title}**\n\n" if regression else "") + views.to_markdown(table, LEFT)
        for title, table in tables.paper_tables
    ]
    text = "\n".join([*blocks, f"{paper_caption(result)}\n"])
    write_atomically(folder / f"{name}.md", text.encode())
    write_csv(folder / f"{name}.csv", tables.paper_tables[0][1])
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
    classes = np.array([*result.corpus["classes"], ""])  # the last: none
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
    """Names a metric so that the two kinds of CCC cannot be confused."""
    if metric == "ccc_pooled" and result.over_time:
        return "CCC over the frames of all recordings"
    return METRIC_TITLES[metric]


def paper_caption(result: Result) -> str:
    """Says what Table 1 or 2 shows and how to read it."""
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
