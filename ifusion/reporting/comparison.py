"""What a run that compares systems found, as numbers, before it is laid out.

Each system was chosen on dev, fold by fold; the folds are pooled, as in the reports of
a sweep. The score of a system is what it reaches given the modalities of its main: of a
mono-modal system one, of an explicit fusion all. What it reaches given others is kept
beside.

Axes: S seeds, C clusters of recordings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.agreement import make_measures
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS, Metric
from ifusion.evaluation.scores import (
    PROCESSED,
    RAW,
    keep_whole,
    score_moments,
    score_predictions,
)
from ifusion.evaluation.significance import (
    Difference,
    cluster_counts,
    cluster_sums,
    paired_difference,
    require_same_labels,
    seed_intervals,
)
from ifusion.reporting.comparison_run import (
    ComparisonRun,
    Entry,
    SystemRows,
    read_system,
)
from ifusion.reporting.wording import verdict

BASELINE, FUSION = "baseline", "implicit_fusion"  # keys of systems
BY = ["main", "target", "partition", "given", "seed"]
CELL = ["main", "target", "partition"]


class Comparison(NamedTuple):
    """The numbers of a comparison.

    Attributes:
      entries: of all systems, in the order of the tables.
      cluster: what significance resamples.
      metric: by which candidates were chosen and systems are compared.
      targets: in the order of the corpus.
      mains: modalities, then several joined.
      partitions: those with labels and predictions, "dev" and, once opened, "test".
      folds: names.
      processing: what the scores are of: "post-processed" where there is any, "raw",
        or "" of a classification.
      scores: a row a system, main, target, partition, given, processing and metric:
        mean, sd (ddof 1), low and high (95 % t-interval of the mean over seeds), seeds.
      differences: a row a system, main, target and partition: the system minus the
        baseline named in the column against, its main.
      controls: likewise, implicit fusion minus a control.
      facts: a row a system, main and target: parameters, setting.
      seconds: {key: of fitting, all mains, targets, seeds, candidates and folds}.
      remarks: {key: what else to know of a row, in words}.
    """

    entries: tuple[Entry, ...]
    cluster: str
    metric: str
    targets: tuple[str, ...]
    mains: tuple[str, ...]
    partitions: tuple[str, ...]
    folds: tuple[str, ...]
    processing: str
    scores: pd.DataFrame
    differences: pd.DataFrame
    controls: pd.DataFrame
    facts: pd.DataFrame
    seconds: Mapping[str, float]
    remarks: Mapping[str, str]


class Scorer(NamedTuple):
    """What classification and regression do differently with rows.

    Attributes:
      score: rows of one system -> `BY`, processing, metric, value.
      statistics: rows of one cell of it, headline processing alone -> (S, C, ...).
      formula: sums over clusters -> scores.
      headline: of rows: those that the headline is about.
      processing: its name.
    """

    score: Callable[[pd.DataFrame], pd.DataFrame]
    statistics: Callable[[pd.DataFrame], np.ndarray]
    formula: Metric
    headline: Callable[[pd.DataFrame], pd.DataFrame]
    processing: str


def compare(run: ComparisonRun, resamples: int) -> Comparison:
    """Computes all numbers of a comparison from the files of a run.

    Args:
      run: of `read_comparison`.
      resamples: of `paired_difference`.

    Raises:
      ValueError: a file contradicts another, or nothing can be compared.
    """
    scorer = make_scorer(run)
    known = {entry.key: entry for entry in run.systems}
    first = [key for key in (BASELINE, FUSION) if key in known]
    kept: dict[str, pd.DataFrame] = {}
    parts: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("scores", "differences", "controls", "facts")
    }
    seconds, remarks = {}, {}
    for key in dict.fromkeys([*first, *known]):
        found = read_system(run, key)
        with _naming(run.folder / "systems" / key):
            whole = _whole(run, found)
            remarks[key] = _remark(known[key], run, found, whole)
            if whole.empty:
                continue
            seconds[key] = found.seconds
            parts["scores"].append(_summarise(scorer.score(whole)).assign(system=key))
            parts["facts"].append(_facts(found.candidates).assign(system=key))
            own = scorer.headline(whole[whole["given"] == whole["main"]])
            if key in first:
                kept[key] = own
            for name, reference, sign in (
                ("differences", BASELINE, 1),
                ("controls", FUSION, -1),
            ):
                wanted = known[key].control if name == "controls" else key != reference
                if wanted and reference in kept:
                    frame = _differences(own, kept[reference], scorer, resamples, sign)
                    parts[name].append(frame.assign(system=key))
    if not parts["scores"]:
        reasons = "; ".join(f"{key}: {said}" for key, said in remarks.items() if said)
        raise ValueError(
            f"{run.folder}: no system has a labelled prediction on dev of every fold; "
            f"there is nothing to compare ({reasons or 'no system is listed'})."
        )
    frames = {
        name: pd.concat(mine, ignore_index=True) if mine else pd.DataFrame()
        for name, mine in parts.items()
    }
    scores = frames["scores"]
    for key in _unopened(scores):
        remarks[key] = "; ".join(filter(None, [remarks[key], "test not opened"]))
    found_mains = list(dict.fromkeys(scores["main"]))
    return Comparison(
        entries=run.systems,
        cluster=run.config["evaluation"]["cluster"],
        metric=run.config["evaluation"]["metric"],
        targets=tuple(t for t in run.corpus["targets"] if t in set(scores["target"])),
        mains=tuple(sorted(found_mains, key=lambda m: (JOIN in m, _place(run, m)))),
        partitions=tuple(p for p in ("dev", "test") if p in set(scores["partition"])),
        folds=run.folds,
        processing=scorer.processing,
        **frames,
        seconds=seconds,
        remarks=remarks,
    )


@contextmanager
def _naming(place: Path) -> Iterator[None]:
    """Says of what system or folder an error is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _place(run: ComparisonRun, main: str) -> int:
    """The place of a main's first modality in the corpus."""
    return list(run.corpus["features"]).index(main.split(JOIN)[0])


def make_scorer(run: ComparisonRun) -> Scorer:
    """Builds the scorer of a run.

    Raises:
      ValueError: the metric is unknown.
    """
    evaluation = run.config["evaluation"]
    name, cluster = evaluation["metric"], evaluation["cluster"]
    if run.corpus["task"] == "classification":
        classes = run.corpus["classes"]
        _require_metric(name, CLASSIFICATION_METRICS)
        return Scorer(
            lambda rows: score_predictions(rows, classes, BY).assign(processing=""),
            lambda rows: cluster_counts(rows, cluster, classes),
            CLASSIFICATION_METRICS[name],
            lambda rows: rows,
            "",
        )
    measures = make_measures(evaluation["convention"])
    _require_metric(name, measures)
    steps = run.config["postprocessing"]["steps"]
    processing = PROCESSED if steps else RAW
    return Scorer(
        lambda rows: score_moments(rows, measures, BY),
        lambda rows: cluster_sums(rows, cluster, measures[name]),
        measures[name].formula,
        lambda rows: rows[rows["processing"] == processing],
        processing,
    )


def _require_metric(name: str, known: Mapping[str, Any]) -> None:
    if name not in known:
        raise ValueError(
            f"config.json: evaluation.metric is {name!r}, expected one of: "
            f"{', '.join(known)}."
        )


def _whole(run: ComparisonRun, found: SystemRows) -> pd.DataFrame:
    """The labelled rows of seeds that every fold has."""
    rows = found.rows
    if rows.empty:
        return rows
    if "label" in rows:
        rows = rows[rows["label"] != ""]
    folds = dict.fromkeys(("dev", "test"), len(run.folds))
    by = ["main", "target", "given", "seed"]
    return keep_whole(rows, by, folds) if len(rows) else rows


def _remark(
    entry: Entry, run: ComparisonRun, found: SystemRows, whole: pd.DataFrame
) -> str:
    said = [entry.impossible] if entry.impossible else []
    if entry.explicit:
        said.append("needs all modalities at test time")
    if not entry.seeded:
        said.append("no seed changes it")
    if not entry.impossible and len(found.folds) < len(run.folds):
        said.append(f"{len(found.folds)} of {len(run.folds)} folds are finished")
    elif not entry.impossible and whole.empty:
        said.append("training diverged at every setting")
    return "; ".join(said)


def _unopened(scores: pd.DataFrame) -> list[str]:
    """Lists the systems without a score on test, where others have one."""
    opened = set(scores.loc[scores["partition"] == "test", "system"])
    return [key for key in scores["system"].unique() if opened and key not in opened]


def _summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean, deviation and interval over seeds of each cell."""
    keys = ["main", "target", "partition", "given", "processing", "metric"]
    return seed_intervals(scores.groupby(keys, sort=False)["value"]).reset_index()


def _facts(candidates: pd.DataFrame) -> pd.DataFrame:
    """Parameters and settings of the chosen candidates, over folds."""
    chosen = candidates[candidates["chosen"]]
    grouped = chosen.groupby(["main", "target"], sort=False)
    return pd.DataFrame(
        {
            "parameters": grouped["parameters"].median(),
            "setting": grouped["setting"].agg(lambda x: "; ".join(dict.fromkeys(x))),
        }
    ).reset_index()


def _differences(
    own: pd.DataFrame,
    reference: pd.DataFrame,
    scorer: Scorer,
    resamples: int,
    sign: int,
) -> pd.DataFrame:
    """A system minus a reference, or where sign is -1 the other way round."""
    rows = []
    for (main, target, partition), mine in own.groupby(CELL, sort=False):
        cell: dict[str, Any] = {"main": main, "target": target, "partition": partition}
        against = _opponent(str(main), str(target), reference, scorer)
        theirs = reference[
            (reference["main"] == against)
            & (reference["target"] == target)
            & (reference["partition"] == partition)
        ]
        pair = (mine, theirs) if sign > 0 else (theirs, mine)
        difference = difference_of(*pair, scorer, resamples)
        rows.append(
            {
                **cell,
                "against": against,
                **difference,
                "verdict": verdict(difference),
            }
        )
    return pd.DataFrame(rows)


def _opponent(
    main: str, target: str, reference: pd.DataFrame, scorer: Scorer
) -> str | None:
    """The main that a system is compared with: of several the best on dev."""
    scores = {}
    for name in main.split(JOIN):
        dev = reference[
            (reference["main"] == name)
            & (reference["target"] == target)
            & (reference["partition"] == "dev")
        ]
        if len(dev):
            scores[name] = float(np.mean(_seed_scores(dev, scorer)))
    return max(scores, key=scores.__getitem__) if scores else None


def _seed_scores(rows: pd.DataFrame, scorer: Scorer) -> np.ndarray:
    """Scores of one cell: (S,)."""
    return np.asarray(scorer.formula(scorer.statistics(rows).sum(1)))


def difference_of(
    rows_a: pd.DataFrame, rows_b: pd.DataFrame, scorer: Scorer, resamples: int
) -> dict[str, float]:
    """Compares two systems on the same recordings, over the seeds that both have.

    A system of a single seed, which none changes, is paired with every seed of the
    other.

    Args:
      rows_a: of one main, target and partition.
      rows_b: likewise.
      scorer: of the run.
      resamples: of `paired_difference`.

    Returns:
      The fields of a `Difference`, a minus b; NaN where nothing is shared.

    Raises:
      ValueError: the two were not scored on the same labels.
    """
    seeds = [set(rows["seed"]) for rows in (rows_a, rows_b)]
    if min(map(len, seeds)) > 1:
        common = seeds[0] & seeds[1]
        rows_a, rows_b = (rows[rows["seed"].isin(common)] for rows in (rows_a, rows_b))
    if rows_a.empty or rows_b.empty:
        return dict.fromkeys(Difference._fields, float("nan"))
    if set(rows_a["recording"]) != set(rows_b["recording"]):
        raise ValueError("the two systems were not scored on the same recordings.")
    a, b = scorer.statistics(rows_a), scorer.statistics(rows_b)
    count = max(len(a), len(b))
    a, b = (np.broadcast_to(x, (count, *x.shape[1:])) for x in (a, b))
    if "label" in rows_a:
        require_same_labels(a, b)
    elif _labels_differ(rows_a, rows_b):
        raise ValueError("the two systems were not scored on the same labels.")
    return paired_difference(a, b, scorer.formula, resamples)._asdict()


def _labels_differ(rows_a: pd.DataFrame, rows_b: pd.DataFrame) -> bool:
    """Whether a recording has other labels in one of two frames of moments."""
    both = pd.concat([rows_a, rows_b])
    return bool((both.groupby("recording")["label_mean"].nunique() > 1).any())


def headline_scores(comparison: Comparison, own: bool = True) -> pd.DataFrame:
    """The scores of the metric that systems are compared by.

    Args:
      comparison: of `compare`.
      own: whether only those given the modalities of the main.
    """
    scores = comparison.scores
    picked = (scores["metric"] == comparison.metric) & (
        scores["processing"] == comparison.processing
    )
    if own:
        picked &= scores["given"] == scores["main"]
    return scores[picked]


def verdicts(comparison: Comparison) -> Sequence[tuple[str, list[str]]]:
    """Which systems gain or lose against the baseline on the last partition."""
    said: dict[str, list[str]] = {"gain": [], "loss": []}
    frame = comparison.differences
    last = comparison.partitions[-1]
    titles = {entry.key: entry.name for entry in comparison.entries}
    several = len(comparison.targets) > 1
    order = list(titles)
    for row in sorted(
        frame.to_dict("records"), key=lambda row: order.index(row["system"])
    ):
        if row["partition"] == last and row["verdict"] in said:
            where = [row["main"], *([row["target"]] if several else [])]
            said[row["verdict"]].append(f"{titles[row['system']]} ({', '.join(where)})")
    return list(said.items())
