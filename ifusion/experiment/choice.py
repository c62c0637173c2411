"""Chooses among a fitted system's candidates on dev, and predicts with them.

Axes: C candidates, N sequences, T time, R rows of a partition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.agreement import MOMENTS
from ifusion.evaluation.outcomes import PREDICTORS, Outcomes
from ifusion.evaluation.postprocessing import Trial, kept_adjustments
from ifusion.evaluation.selection import choose_best
from ifusion.evaluation.traces import Traces
from ifusion.experiment.fitted import FittedSystem, describe_candidate, describe_setting
from ifusion.experiment.gather import Partition
from ifusion.experiment.scoring import (
    Scoring,
    learn_postprocessing,
    make_traces,
    reduce_outputs,
    score_values,
    summarise,
)
from ifusion.systems.system import Candidate, Fitted, Predict, Problem, System

MOST_BYTES = 2**29  # of predictions on dev that are held in memory


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of a partition with candidates of a system, made on demand.

    Attributes:
      scoring: how they are reduced and scored.
      problem: what is predicted.
      system: the system.
      partition: the partition.
      functions: {main: predict}, those built so far.
    """

    scoring: Scoring
    problem: Problem
    system: System
    partition: Partition
    functions: dict[str, Predict] = field(default_factory=dict)

    def of(self, candidate: Candidate, params: Any, given: str) -> np.ndarray:
        """Predicts from some modalities of a candidate's main, joined by `JOIN`.

        Returns:
          (R,), reduced, of the recordings that have one of these modalities.
        """
        main, own = candidate.main, self.partition.having(given)
        if main not in self.functions:
            self.functions[main] = self.system.make_predict(self.problem, main)
        features = {m: own.features[m] for m in given.split(JOIN)}
        outputs = np.zeros((0, 1, self.problem.num_outputs), np.float32)
        if len(own.rows):
            outputs = np.asarray(self.functions[main](params, features, own.mask))
        return reduce_outputs(self.scoring, candidate, outputs, own)


def score_all(
    predictions: Predictions, fitted: Fitted
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Scores every candidate on dev.

    Returns:
      (C,) float64, NaN for failed ones; and {position: (R,)}, the first predictions, as
      many as fit in `MOST_BYTES`.
    """
    scores, held, size = [], {}, 0
    for position, (candidate, params) in enumerate(
        zip(fitted.candidates, fitted.params, strict=True)
    ):
        if candidate.failed:
            scores.append(np.nan)
            continue
        values = predictions.of(candidate, params, candidate.main)
        own = predictions.partition.having(candidate.main)
        scores.append(score_values(predictions.scoring, candidate, values, own))
        size += values.nbytes
        if size <= MOST_BYTES:
            held[position] = values
    return np.array(scores, np.float64), held


def choose(
    predictions: Predictions, fitted: Fitted, seconds: float
) -> tuple[FittedSystem, Outcomes, Traces | None]:
    """Chooses among the candidates of a system, fitted in `seconds`, on dev.

    Returns:
      The fitted system, and its outcomes and traces on dev, see `predict_kept`.

    Raises:
      ValueError: if two candidates of a main, target and seed have the same setting.
    """
    system, dev = predictions.system, predictions.partition
    scores, held = score_all(predictions, fitted)
    chosen = mark_chosen(system.key, fitted.candidates, scores)
    kept = [i for i, wanted in enumerate(chosen) if wanted or system.curve]
    trials = {}
    for i in kept:
        candidate = fitted.candidates[i]
        if i not in held:
            held[i] = predictions.of(candidate, fitted.params[i], candidate.main)
        own = dev.having(candidate.main)
        trials[i] = learn_postprocessing(predictions.scoring, candidate, held[i], own)
    explained = system.curve and any(fitted.auxiliary)
    found = FittedSystem(
        system=system.key,
        fold=dev.fold,
        candidates=fitted.candidates,
        dev_scores=scores,
        chosen=chosen,
        params={i: fitted.params[i] for i in kept},
        adjustments={i: kept_adjustments(trials[i]) for i in kept},
        gains=list_gains(trials),
        history=fitted.history,
        seconds=seconds,
        auxiliary={i: fitted.auxiliary[i] for i in kept} if explained else {},
    )
    return found, *predict_kept(predictions, found, held)


def mark_chosen(
    system: str, candidates: Sequence[Candidate], scores: np.ndarray
) -> np.ndarray:
    """Marks the candidates of the setting that dev chooses for each main and target.

    Scores are (C,) on dev, NaN for failed ones.

    Returns:
      (C,) bool.

    Raises:
      ValueError: if two candidates of a main, target and seed have the same setting.
    """
    frame = pd.DataFrame(map(describe_candidate, candidates)).assign(dev_score=scores)
    keys = ["main", "target", "setting"]
    twice = frame[frame.duplicated([*keys, "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise ValueError(
            f"{system}: two candidates of {row['main']}, {row['target']}, seed "
            f"{row['seed']} have the setting {row['setting']!r}"
        )
    best = choose_best(frame, ["main", "target"], ["setting"])
    wanted = pd.MultiIndex.from_frame(best.dropna(subset="dev_score")[keys])
    return np.asarray(pd.MultiIndex.from_frame(frame[keys]).isin(wanted))


def list_gains(trials: Mapping[int, Sequence[Trial]]) -> list[dict[str, Any]]:
    """Lists what each step of post-processing changed."""
    return [
        {
            "position": position,
            "step": trial.adjustment.step,
            "value": trial.adjustment.value,
            "before": trial.before,
            "after": trial.after,
            "kept": bool(trial.kept),
        }
        for position, steps in trials.items()
        for trial in steps
    ]


def predict_kept(
    predictions: Predictions, found: FittedSystem, held: Mapping[int, np.ndarray]
) -> tuple[Outcomes, Traces | None]:
    """Predicts a partition with the candidates that were kept.

    Chosen candidates predict from all that `list_given` lists, others from their main.
    `held` has predictions from the main made earlier, {position: (R,)}.

    Returns:
      The outcomes; and, over time, the predictions of the chosen candidates of a curve,
      else None.
    """
    scoring, partition = predictions.scoring, predictions.partition
    rows: list[dict[str, Any]] = []
    values: list[np.ndarray] = []
    traced: dict[int, np.ndarray] = {}
    for position, params in found.params.items():
        candidate, chosen = found.candidates[position], bool(found.chosen[position])
        main, sets = candidate.main, [candidate.main]
        known = held.get(position)
        if known is None:
            known = predictions.of(candidate, params, main)
        if chosen:
            sets = list_given(predictions.problem.modalities, main)
            traced[position] = known
        for given in sets:
            read = JOIN.join(m for m in main.split(JOIN) if m in given.split(JOIN))
            reduced = known
            if read != main:
                reduced = predictions.of(candidate, params, read)
            adjustments, own = found.adjustments[position], partition.having(read)
            summary = summarise(scoring, candidate, reduced, adjustments, own)
            predictor = {
                **describe_candidate(candidate),
                "given": given,
                "chosen": chosen,
                "failed": candidate.failed or not _is_finite(reduced),
            }
            rows += [{**predictor, "processing": kind} for kind in summary]
            values += [_among_all(x, own, partition) for x in summary.values()]
    tail = (len(partition.recordings), *(() if scoring.classifies else (len(MOMENTS),)))
    outcomes = Outcomes(
        fold=found.fold,
        system=found.system,
        partition=partition.name,
        predictors=pd.DataFrame(rows, columns=list(PREDICTORS)),
        recordings=partition.recordings,
        values=np.array(values).reshape(-1, *tail),
        labels=partition.labels[:, 0].astype(np.int16) if scoring.classifies else None,
    )
    if not (scoring.over_time and predictions.system.curve and traced):
        return outcomes, None
    return outcomes, make_traces(scoring, found, traced, partition)


def _among_all(summary: np.ndarray, own: Partition, partition: Partition) -> np.ndarray:
    """Places classes or moments among all recordings; -1 or 0 is no answer."""
    if own is partition:
        return summary
    nothing = -1 if summary.dtype == np.int16 else 0
    placed = np.full((len(partition.rows), *summary.shape[1:]), nothing, summary.dtype)
    placed[np.isin(partition.rows, own.rows)] = summary
    return placed


def list_given(modalities: Sequence[str], main: str) -> list[str]:
    """Lists the sets of modalities to predict from, names joined.

    All modalities; those of the main; these with any one missing; and each alone.
    """
    own = main.split(JOIN)
    without = [[m for m in own if m != missing] for missing in own]
    sets = [list(modalities), own, *filter(None, without), *([m] for m in own)]
    return list(dict.fromkeys(map(JOIN.join, sets)))


def _is_finite(reduced: np.ndarray) -> bool:
    if reduced.dtype == np.int16:
        return bool((reduced >= 0).all())
    return bool(np.isfinite(reduced).all())


def describe_choice(found: FittedSystem, in_percent: bool) -> str:
    """Says what dev chose: "audio 51.2 (alpha = 0.5)  video 60.1"."""
    several = len({c.target for c in found.candidates}) > 1
    cells: dict[str, list[int]] = {}
    for i, c in enumerate(found.candidates):
        name = f"{c.main}, {c.target}" if several else c.main
        cells.setdefault(name, []).append(i)
    said = []
    for name, positions in cells.items():
        mine = [i for i in positions if found.chosen[i]]
        if not mine:
            said.append(f"{name} failed")
            continue
        mean = float(np.mean(found.dev_scores[mine]))
        text = f"{100 * mean:.1f}" if in_percent else f"{mean:.3f}"
        setting = describe_setting(found.candidates[mine[0]])
        said.append(f"{name} {text}" + (f" ({setting})" if setting else ""))
    return "  ".join(said)
