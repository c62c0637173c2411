"""Predictions of recordings as arrays, and how they are scored.

Classification and regression share one scheme: each recording has sums that add up over
the recordings of a cluster, a fold or all folds, and a formula turns such a sum into a
score. The sums are confusion counts in a classification and moments in a regression
(see `agreement`). Scores, scores pooled over folds, and the differences in
`significance` all follow from them.

Axes: P predictors, N recordings, C clusters, K classes, D sums; ... axes of a sum.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.evaluation.agreement import MOMENTS, make_measures
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS
from ifusion.storage import read_arrays, read_facts, write_folder

RAW, PROCESSED = "raw", "post-processed"
SUFFIXES: Mapping[str, str] = {"": "", RAW: "", PROCESSED: "_post"}  # of metric names
PREDICTORS = (
    "main",
    "target",
    "seed",
    "setting",
    "alpha",
    "given",
    "processing",
    "chosen",
    "failed",
)
CELL = ("main", "target", "given", "processing")
Sums = Callable[[np.ndarray, Any, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the predictors of a system predict for the recordings of a partition.

    Attributes:
      fold: name of the fold.
      system: key.
      partition: "dev" or "test".
      predictors: P rows: main, target, seed, setting ("alpha = 0.5"), alpha (NaN if
        none), given (modalities joined by "+"), processing ("raw" or "post-processed";
        "" in a classification), chosen (bool), failed (bool).
      recordings: N rows: recording, and the column of the cluster.
      values: (P, N) int16, the predicted class, or -1 where a recording lacks what the
        predictor reads; in a regression (P, N, 6) float64 in the order of `MOMENTS`, or
        0 there. Those of a failed predictor are never read.
      labels: (N,) int16, -1 if unlabelled; None in a regression.
    """

    fold: str
    system: str
    partition: str
    predictors: pd.DataFrame
    recordings: pd.DataFrame
    values: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuses arrays whose sizes differ from the tables."""
        tail = (len(MOMENTS),) if self.labels is None else ()
        expected = (len(self.predictors), len(self.recordings), *tail)
        if self.values.shape != expected:
            raise ValueError(
                f"values of shape {self.values.shape}, expected {expected}"
            )
        if self.labels is not None and self.labels.shape != expected[1:]:
            raise ValueError(
                f"labels of shape {self.labels.shape}, expected {expected[1:]}"
            )


def save_outcomes(
    folder: Path, outcomes: Outcomes, identity: Mapping[str, str] | None = None
) -> None:
    """Writes outcomes as a new folder, see `ifusion.storage`."""
    arrays = {"values": outcomes.values}
    if outcomes.labels is not None:
        arrays["labels"] = outcomes.labels
    alpha = [None if np.isnan(a) else a for a in outcomes.predictors["alpha"]]
    facts = {
        "identity": identity,
        "fold": outcomes.fold,
        "system": outcomes.system,
        "partition": outcomes.partition,
        "predictors": {**outcomes.predictors.to_dict("list"), "alpha": alpha},
        "recordings": outcomes.recordings.to_dict("list"),
    }
    write_folder(folder, arrays, facts)


def load_outcomes(folder: Path, identity: Mapping[str, str] | None = None) -> Outcomes:
    """Reads what `save_outcomes` wrote.

    Raises:
      ValueError: if the folder is missing, damaged, from another run, or something
        else.
    """
    facts, arrays = read_facts(folder, identity), read_arrays(folder)
    try:
        predictors = pd.DataFrame(facts["predictors"])
        for column in PREDICTORS:
            if column not in predictors:
                raise KeyError(column)
        return Outcomes(
            fold=facts["fold"],
            system=facts["system"],
            partition=facts["partition"],
            predictors=predictors.assign(alpha=predictors["alpha"].astype(float)),
            recordings=pd.DataFrame(facts["recordings"]),
            values=arrays["values"],
            labels=arrays.get("labels"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: not a folder of outcomes ({error})") from None


class Statistic(NamedTuple):
    """A metric: sums over recordings, and a formula of them.

    Attributes:
      sums: (values (P, N, ...), labels (N,) or None, cluster of each recording (N,) in
        [0, C)) -> (P, C, ...).
      formula: (..., sums) -> (...), takes the sum over clusters, weighted or not.
    """

    sums: Sums
    formula: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scorer:
    """How the outcomes of a run are scored.

    Attributes:
      metric: chooses candidates and compares systems.
      cluster: column of the recordings whose values are independent draws.
      processing: predictions that are compared: "post-processed" if there is
        post-processing, else "raw"; "" in a classification.
      statistics: {metric: statistic}, all that are reported.
    """

    metric: str
    cluster: str
    processing: str
    statistics: Mapping[str, Statistic]

    def values(
        self, values: np.ndarray, labels: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Scores predictors on all recordings together: {metric: (P,)}."""
        together = np.zeros(values.shape[1], np.int64)
        known: dict[Sums, np.ndarray] = {}
        scores = {}
        for name, (sums, formula) in self.statistics.items():
            if sums not in known:
                known[sums] = sums(values, labels, together)[:, 0]
            scores[name] = np.asarray(formula(known[sums]))
        return scores

    def score(
        self, outcomes: Sequence[Outcomes], by: Sequence[str] = (*CELL, "seed")
    ) -> pd.DataFrame:
        """Scores predictors on the recordings of all folds together, by every metric.

        Predictors of different folds that agree in the columns `by` count as one. Those
        that failed, or lack a fold that others of the partition have, are left out, so
        that systems are compared on the same recordings.

        Args:
          outcomes: outcomes of any systems, folds and partitions.
          by: columns of the predictors.

        Returns:
          Columns system, partition, those of `by`, metric and value.

        Raises:
          ValueError: if a fold has two predictors of the same `by`, or a recording is
            in two folds (other than dev).
        """
        columns = ["system", "partition", *by, "metric", "value"]
        parts = []
        for system, partition, pooled in pool(outcomes, by):
            frame = pooled.predictors.assign(system=system, partition=partition)
            for name, values in self.values(pooled.values, pooled.labels).items():
                parts.append(frame.assign(metric=name, value=values)[columns])
        return join_rows(parts, columns)


def make_scorer(config: Mapping[str, Any], corpus: Mapping[str, Any]) -> Scorer:
    """Builds the scorer of a run.

    Args:
      config: as in config.json: the sections evaluation and, for a regression,
        postprocessing.
      corpus: as in corpus.json: task, classes, frame_step and, for sentiment, neutral.

    Raises:
      ValueError: if evaluation.metric or evaluation.convention is unknown.
    """
    section = config["evaluation"]
    if corpus["task"] == "classification":
        count = _make_counts(len(corpus["classes"]))
        statistics = {
            name: Statistic(count, metric)
            for name, metric in CLASSIFICATION_METRICS.items()
        }
        processing = ""
    else:
        shared: dict[Any, Sums] = {}
        statistics = {}
        measures = make_measures(
            section["convention"], corpus["frame_step"] is None, corpus.get("neutral")
        )
        for name, (sums, formula) in measures.items():
            own = shared.setdefault(sums, _make_moment_sums(sums))
            statistics[name] = Statistic(own, formula)
        processing = PROCESSED if config["postprocessing"]["steps"] else RAW
    if section["metric"] not in statistics:
        raise ValueError(
            f"evaluation.metric is {section['metric']!r}; expected one of "
            f"{', '.join(statistics)}"
        )
    return Scorer(section["metric"], section["cluster"], processing, statistics)


def score_table(outcomes: Sequence[Outcomes], scorer: Scorer) -> pd.DataFrame:
    """Scores every predictor fold by fold: the rows of scores.csv.

    Returns:
      Columns fold, system, main, target, alpha, seed, partition, metric, value,
      setting, given, chosen. Metrics of post-processed predictions end in "_post"; a
      failed predictor has NaN; predictors of a target without labels have no row.
    """
    first = ["fold", "system", "main", "target", "alpha", "seed", "partition"]
    columns = [*first, "metric", "value", "setting", "given", "chosen"]
    parts = []
    for each in outcomes:
        sound = ~each.predictors["failed"].to_numpy(bool)
        scored = _has_labels(each)
        kept = each.predictors[scored].assign(
            fold=each.fold, system=each.system, partition=each.partition
        )
        found = scorer.values(each.values[sound & scored], each.labels)
        for name, values in found.items():
            column = np.full(len(kept), np.nan)
            column[sound[scored]] = values
            metric = name + kept["processing"].map(SUFFIXES)
            parts.append(kept.assign(metric=metric, value=column)[columns])
    return join_rows(parts, columns)


def join_rows(parts: Sequence[pd.DataFrame], columns: Iterable[str]) -> pd.DataFrame:
    """Joins tables; without rows the result has these columns."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(filled, ignore_index=True)


def keep_predictors(
    outcomes: Sequence[Outcomes], kept: Callable[[pd.DataFrame], Any]
) -> list[Outcomes]:
    """Keeps the predictors for which `kept`, (P rows) -> (P,) bool, is true."""
    found = []
    for each in outcomes:
        rows = np.asarray(kept(each.predictors), bool)
        predictors = each.predictors[rows].reset_index(drop=True)
        found.append(replace(each, predictors=predictors, values=each.values[rows]))
    return found


class Pooled(NamedTuple):
    """Predictors and the labelled recordings of all folds, sorted by name.

    Attributes:
      predictors: P rows, the columns they were matched by.
      recordings: N rows, as in `Outcomes`.
      values: (P, N, ...).
      labels: (N,), or None in a regression.
    """

    predictors: pd.DataFrame
    recordings: pd.DataFrame
    values: np.ndarray
    labels: np.ndarray | None


def pool(
    outcomes: Sequence[Outcomes], by: Sequence[str]
) -> Iterator[tuple[str, str, Pooled]]:
    """Joins the folds of each system and partition.

    The columns `by` identify the same predictor in different folds.

    Yields:
      System, partition, and the joined folds; nothing if no predictor has all folds or
      no recording has a label.

    Raises:
      ValueError: if a fold has two predictors of the same `by`, or a recording is in
        two folds; splits may share dev.
    """
    folds: dict[str, set[str]] = {}
    groups: dict[tuple[str, str], list[Outcomes]] = {}
    for each in outcomes:
        if _has_labels(each).any():
            folds.setdefault(each.partition, set()).add(each.fold)
            groups.setdefault((each.system, each.partition), []).append(each)
    for (system, partition), mine in groups.items():
        if len(mine) == len(folds[partition]):
            try:
                pooled = _join(mine, list(by), once=partition != "dev")
            except ValueError as error:
                raise ValueError(f"{system}, {partition}: {error}") from None
            if len(pooled.predictors):
                yield system, partition, pooled


def _join(outcomes: Sequence[Outcomes], by: list[str], once: bool) -> Pooled:
    frames = []
    for fold, each in enumerate(outcomes):
        sound = ~each.predictors["failed"].to_numpy(bool) & _has_labels(each)
        rows = np.flatnonzero(sound)
        frames.append(each.predictors.loc[sound, by].assign(fold=fold, row=rows))
    table = pd.concat(frames, ignore_index=True)
    group = table.groupby(by, sort=False, dropna=False).ngroup().to_numpy()
    rows = np.full((len(outcomes), group.max(initial=-1) + 1), -1)
    rows[table["fold"], group] = table["row"]
    if len(table) > (rows >= 0).sum():
        raise ValueError(f"two predictors of a fold share {', '.join(by)}")
    whole = np.all(rows >= 0, axis=0)
    first = np.unique(group, return_index=True)[1][whole]
    recordings = pd.concat([x.recordings for x in outcomes], ignore_index=True)
    twice = recordings["recording"].duplicated()
    if twice.any() and once:
        name = recordings["recording"][twice].iloc[0]
        raise ValueError(f"recording {name!r} is predicted twice by one seed")
    pairs = list(zip(outcomes, rows[:, whole], strict=True))
    values = np.concatenate([x.values[mine] for x, mine in pairs], axis=1)
    labels = None
    if outcomes[0].labels is not None:
        labels = np.concatenate([np.asarray(x.labels) for x in outcomes])
    known = np.any(values[..., 0] > 0, axis=0) if labels is None else labels >= 0
    order = np.argsort(recordings["recording"].to_numpy(), kind="stable")
    order = order[known[order]]
    return Pooled(
        table.loc[first, by].reset_index(drop=True),
        recordings.iloc[order].reset_index(drop=True),
        values[:, order],
        None if labels is None else labels[order],
    )


def counted(values: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Where predictors are scored: with a label and an answer, (P, N) bool."""
    if labels is None:
        return np.asarray(values[..., 0] > 0)
    return np.asarray((labels >= 0) & (values >= 0))


def _has_labels(outcomes: Outcomes) -> np.ndarray:
    """Whether each predictor answers a recording with a label: (P,) bool.

    A failed one, whose answers are never read, counts if there is such a recording.
    """
    labels = outcomes.labels
    there = np.any(counted(outcomes.values, labels), axis=1)
    some = there.any() if labels is None else (labels >= 0).any()
    return there | (outcomes.predictors["failed"].to_numpy(bool) & some)


def _make_counts(num_classes: int) -> Sums:
    """Confusion counts for a classification: -> (P, C, K, K)."""

    def sums(values: np.ndarray, labels: Any, owners: np.ndarray) -> np.ndarray:
        known = labels >= 0
        shape = (len(values), owners.max(initial=0) + 1, num_classes, num_classes)
        guesses = values[:, known].astype(np.int64)
        for codes in (guesses, labels[known]):
            if ((codes < -1) | (codes >= num_classes)).any():
                raise ValueError(f"a class index is outside 0 to {num_classes - 1}")
        cells = np.arange(shape[0])[:, None] * shape[1] + owners[known]
        cells = (cells * num_classes + labels[known]) * num_classes + guesses
        flat = np.bincount(cells[guesses >= 0], minlength=int(np.prod(shape)))
        return flat.reshape(shape)

    return sums


def _make_moment_sums(measure: Callable[[np.ndarray], np.ndarray]) -> Sums:
    """Sums for a measure from `agreement`: -> (P, C, D)."""

    def sums(values: np.ndarray, labels: Any, owners: np.ndarray) -> np.ndarray:
        count = owners.max(initial=0) + 1
        membership = (owners == np.arange(count)[:, None]).astype(np.float64)
        return np.einsum("cn,pnd->pcd", membership, measure(values))

    return sums
