"""The report of a run: tables and figures as files, and one self-contained page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ifusion import __version__
from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.result import BASELINE_KEY, FUSION_KEY, Result
from ifusion.evaluation.significance import SIGNIFICANCE_LEVEL
from ifusion.reporting import views
from ifusion.reporting.page import render_page
from ifusion.reporting.pictures import draw_pictures
from ifusion.reporting.tables import make_tables, paper_caption, write_tables
from ifusion.reporting.wording import METRIC_TITLES, caution, evidence, headline
from ifusion.storage import make_folder, write_atomically


def write_report(result: Result, folder: Path) -> Path:
    """Writes the report of a result: report.html and the files it is made from.

    The page needs neither scripts nor a network. Next to it are table1 or table2 and
    comparison (.md and .csv), choices.csv, differences.csv, and predictions.csv
    (moments.csv over time) of the chosen predictors given their main; where they apply,
    tuning.csv, history.csv and postprocessing.csv; the figures as .png and .svg; and,
    over time, one picture per recording in the folder traces. Existing files are
    replaced.

    Example:
      >>> write_report(result, Path("report")).name
      'report.html'

    Args:
      result: result of a run.
      folder: created if missing.

    Returns:
      The path of report.html.

    Raises:
      ValueError: if no system has a labelled prediction on dev of every fold, or parts
        of the result contradict each other.
    """
    _require_dev(result)
    make_folder(folder)
    tables = make_tables(result)
    write_tables(result, tables, folder)
    last, regression = result.partitions[-1], result.corpus["task"] == "regression"
    html = render_page(
        "report.html",
        result=result,
        corpus=result.corpus,
        metric=METRIC_TITLES[result.scorer.metric],
        cluster=result.scorer.cluster,
        last=last,
        regression=regression,
        over_time=result.over_time,
        mono=all(JOIN not in main for main in result.mains),
        verdict=_verdict(result),
        test=_test_status(result),
        failed=_failed(result),
        paper_caption=paper_caption(result),
        remarks=_by_remark(result),
        fusion=views.fusion_table(result),
        caution=caution(_versus_baseline(result), result.scorer.cluster),
        pictures=draw_pictures(result, tables, folder),
        classes=None if regression else views.class_table(result, last),
        metrics=[(name, views.metrics(result, name)) for name in result.partitions],
        choices=views.choice_table(result),
        chance=max(views.choice_gains(result)["baselines"], default=0),
        chose=views.CHOICE_KEY in {entry.key for entry in result.systems},
        tried=views.tuning_table(result),
        gains=views.gain_table(result),
        **tables._asdict(),
        **_background(result),
    )
    write_atomically(folder / "report.html", html.encode())
    return folder / "report.html"


def _require_dev(result: Result) -> None:
    if "dev" not in result.partitions:
        reasons = [f"{key}: {said}" for key, said in views.remarks(result).items()]
        raise ValueError(
            "no system has labelled predictions on dev of every fold, so there is "
            f"nothing to report ({'; '.join(reasons) or 'the result has no systems'})"
        )


def main_table(result: Result) -> str:
    """Names the file of the table that sums up a run.

    Returns:
      "table1.md" or "table2.md" for implicit fusion and its baseline alone, else
      "comparison.md".
    """
    if any(entry.key not in (BASELINE_KEY, FUSION_KEY) for entry in result.systems):
        return "comparison.md"
    return "table1.md" if result.corpus["task"] == "classification" else "table2.md"


def _verdict(result: Result) -> dict[str, Any]:
    """Makes the headline of the page and the evidence below it."""
    last = result.partitions[-1]
    fusion = result.compared(views.fusion_differences(result), last)
    versus = _versus_baseline(result)
    others: dict[str, list[str]] = {"gain": [], "loss": []}
    for row in versus.to_dict("records"):
        clear = row["verdict"] in others and row["p_holm"] < SIGNIFICANCE_LEVEL
        if row["system"] != FUSION_KEY and clear:
            several = len(result.targets) > 1
            where = ", ".join([row["main"], *([row["target"]] if several else [])])
            others[row["verdict"]].append(f"{result.names[row['system']]} ({where})")
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
    frame = result.compared(result.differences, result.partitions[-1])
    return frame[frame["reference"] == BASELINE_KEY]


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


def _by_remark(result: Result) -> dict[str, list[str]]:
    """Lists the systems that each remark is about."""
    found: dict[str, list[str]] = {}
    for key, remark in views.remarks(result).items():
        if remark:
            found.setdefault(remark, []).append(result.names[key])
    return found


def _failed(result: Result) -> list[str]:
    frame, said = result.candidates, []
    for row in frame[frame["failed_step"] >= 0].to_dict("records"):
        where = [f"fold {row['fold']}"] if len(result.folds) > 1 else []
        where += [str(row["main"])]
        where += [str(row["target"])] if len(result.targets) > 1 else []
        where += [str(row["setting"])] if row["setting"] else []
        where += [f"seed {row['seed']}"]
        said.append(
            f"{result.names.get(row['system'], row['system'])}, {', '.join(where)} "
            f"(at update {row['failed_step']})"
        )
    return said


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
