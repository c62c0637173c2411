"""The tidy result of a run; tables, figures and the report are views of it."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import JOIN
from ifusion.evaluation.outcomes import (
    CELL,
    PROCESSED,
    RAW,
    Outcomes,
    Pooled,
    Scorer,
    keep_predictors,
    make_scorer,
    pool,
)
from ifusion.evaluation.significance import (
    Difference,
    compare,
    holm,
    in_common,
    seed_intervals,
    verdict,
)
from ifusion.ties import first_best

BASELINE_KEY, FUSION_KEY = "baseline", "implicit_fusion"  # keys of systems
CONSTANT_KEY = "constant"


@dataclass(frozen=True)
class Entry:
    """A system as tables list it, with or without scores.

    Attributes:
      key: key of the system.
      title: name in tables.
      source: the paper it comes from, printed after the title; "" for this one.
      explicit: whether it needs several modalities at test time.
      seeded: whether seeds make a difference.
      control: for a control, what a gain over it means; else "".
      control_of: key of the system that the control is for.
      impossible: why it cannot have a score; else "".
    """

    key: str
    title: str
    source: str = ""
    explicit: bool = False
    seeded: bool = True
    control: str = ""
    control_of: str = FUSION_KEY
    impossible: str = ""

    @property
    def name(self) -> str:
        """The title with its source, as in the tables of the paper."""
        return f"{self.title} {self.source}".strip()


CANDIDATE = ("fold", "system", "main", "target", "setting", "alpha", "seed")
COLUMNS = {
    "candidates": (
        *CANDIDATE,
        "delay",
        "parameters",
        "best_epoch",
        "failed_step",
        "dev_score",
        "chosen",
    ),
    "history": (*CANDIDATE, "epoch", "loss", "dev_score", "best"),
    "tuning": (
        "fold",
        "main",
        "target",
        "alpha",
        "seed",
        "l2",
        "delay",
        "delay_seconds",
        "dev_score",
        "chosen",
    ),
    "gains": (*CANDIDATE, "step", "value", "before", "after", "kept"),
    "seconds": ("fold", "system", "seconds"),
}
DIFFERENCE = (
    "system",
    "reference",
    "main",
    "against",
    "target",
    "partition",
    "processing",
    "metric",
    "setting",
    "score",
    "reference_score",
    *Difference._fields,
    "p_holm",
    "verdict",
)


def _empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS[name]))


@dataclass(frozen=True, eq=False)
class Result:
    """What a run found. Tables have the columns in `COLUMNS`.

    Attributes:
      name: name of the run.
      config: as in config.json: folds, the sections evaluation, sweep, training, ...
        and, for a regression, postprocessing; provenance.
      corpus: as in corpus.json.
      systems: in table order.
      outcomes: one per fold, system and partition.
      candidates: one row per trained candidate; delay in [frame], failed_step -1 if it
        has not failed.
      history: one row per epoch of a candidate on a curve; also loss_<modality>, ...
      tuning: one row per setting tried on dev, with its delay in [frame] and in [s];
        empty if there was one setting.
      gains: one row per step of a candidate's post-processing; before and after are
        scores on dev.
      seconds: one row per fold and system, how long fitting took [s].
      traces: files of chosen candidates, see `evaluation.traces`.
      openings: when test was opened: time, partition, opened_before.
    """

    name: str
    config: dict[str, Any]
    corpus: dict[str, Any]
    systems: tuple[Entry, ...]
    outcomes: tuple[Outcomes, ...]
    candidates: pd.DataFrame = field(default_factory=partial(_empty, "candidates"))
    history: pd.DataFrame = field(default_factory=partial(_empty, "history"))
    tuning: pd.DataFrame = field(default_factory=partial(_empty, "tuning"))
    gains: pd.DataFrame = field(default_factory=partial(_empty, "gains"))
    seconds: pd.DataFrame = field(default_factory=partial(_empty, "seconds"))
    traces: tuple[Path, ...] = ()
    openings: tuple[dict[str, Any], ...] = ()

    @cached_property
    def scorer(self) -> Scorer:
        """Scores the outcomes."""
        return make_scorer(self.config, self.corpus)

    @property
    def over_time(self) -> bool:
        """Whether values are predicted frame by frame."""
        regression = self.corpus["task"] == "regression"
        return regression and self.corpus["frame_step"] is not None

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(self.config["folds"])

    @property
    def names(self) -> dict[str, str]:
        """Names of the systems as in tables, {key: name}."""
        return {entry.key: entry.name for entry in self.systems}

    @cached_property
    def partitions(self) -> tuple[str, ...]:
        """Partitions with scores: "dev" and, once opened and labelled, "test"."""
        found = set(self.scores["partition"])
        return tuple(name for name in ("dev", "test") if name in found)

    @cached_property
    def mains(self) -> tuple[str, ...]:
        """Mains with scores: single modalities, then joined ones."""
        modalities = list(self.corpus["features"])
        order = {name: i for i, name in enumerate(modalities)}
        found = dict.fromkeys(self.scores["main"])
        return tuple(
            sorted(found, key=lambda m: (JOIN in m, order.get(m.split(JOIN)[0], 0)))
        )

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Targets with scores, in the order of the corpus."""
        found = set(self.scores["target"])
        return tuple(name for name in self.corpus["targets"] if name in found)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores of the chosen predictors, folds pooled, as means over seeds.

        Columns: system, main, target, partition, given, processing, metric, and those
        of `seed_intervals`.
        """
        chosen = keep_predictors(self.outcomes, lambda frame: frame["chosen"])
        scores = self.scorer.score(chosen)
        keys = ["system", *CELL[:2], "partition", *CELL[2:], "metric"]
        grouped = scores.groupby(keys, sort=False)["value"]
        return seed_intervals(grouped).reset_index()

    @cached_property
    def curve(self) -> pd.DataFrame:
        """Dev scores of the baseline and of implicit fusion over alpha.

        Folds pooled, before post-processing: main, target, alpha, seed, metric, value.
        """
        kept = [
            each
            for each in self.outcomes
            if each.system in (BASELINE_KEY, FUSION_KEY) and each.partition == "dev"
        ]
        kept = keep_predictors(
            kept,
            lambda frame: (
                (frame["given"] == frame["main"]) & (frame["processing"] != PROCESSED)
            ),
        )
        keys = ["main", "target", "alpha", "seed"]
        scores = self.scorer.score(kept, keys).sort_values("system", kind="stable")
        scores = scores.drop_duplicates([*keys, "metric"])  # both train alpha = 0
        return scores[[*keys, "metric", "value"]].sort_values(keys, ignore_index=True)

    @cached_property
    def settings(self) -> pd.DataFrame:
        """What dev chose: fold, system, main, target, setting, alpha."""
        keys = ["fold", "system", "main", "target", "setting", "alpha"]
        parts = [
            each.predictors[each.predictors["chosen"]].assign(
                fold=each.fold, system=each.system
            )[keys]
            for each in self.outcomes
        ]
        frame = pd.concat(parts) if parts else pd.DataFrame(columns=keys)
        return frame.drop_duplicates(ignore_index=True)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences: systems minus the baseline, and minus their controls.

        One row per comparison: system, reference (keys), main, against (main of the
        reference; for joined mains, the baseline's best on dev, on the recordings that
        have it), target, partition, processing, metric, setting of the system, score,
        reference_score, the fields of a `Difference`, p_holm, and verdict ("same" if
        dev chose alpha = 0). p_holm corrects over all mains, targets and systems that
        are compared with the baseline, or with controls, on a partition and processing.
        Implicit fusion is also compared before post-processing.
        """
        own = self.own
        keys = [entry.key for entry in self.systems]
        pairs = [(key, BASELINE_KEY) for key in keys if key != BASELINE_KEY]
        pairs += [(e.control_of, e.key) for e in self.systems if e.control]
        kinds = dict.fromkeys([RAW, self.scorer.processing])
        rows = []
        for (system, reference), partition in product(pairs, self.partitions):
            mine = own.get((system, partition))
            theirs = own.get((reference, partition))
            if mine is None or theirs is None:
                continue
            fused = (system, reference) == (FUSION_KEY, BASELINE_KEY)
            for kind, target, main in product(kinds, self.targets, self.mains):
                if kind != self.scorer.processing and not fused:
                    continue
                against = self._against(main, target, reference)
                a = take_cell(mine, main, target, kind)
                b = take_cell(theirs, against, target, kind)
                if len(a.predictors) and len(b.predictors):
                    if against != main:
                        a, b = in_common(a, b)
                    scores = compare(a, b, self.scorer)
                    cell = (system, reference, main, against, target, partition, kind)
                    rows.append(self._describe(cell, *scores))
        frame = pd.DataFrame(rows, columns=list(DIFFERENCE))
        if rows:
            first = frame["reference"] == BASELINE_KEY
            tables = frame.groupby([first, "partition", "processing"])["p_value"]
            frame["p_holm"] = tables.transform(holm)
        return frame

    @cached_property
    def own(self) -> dict[tuple[str, str], Pooled]:
        """Chosen predictors given their main, {(system, partition): folds pooled}."""
        kept = keep_predictors(
            self.outcomes,
            lambda frame: frame["chosen"] & (frame["given"] == frame["main"]),
        )
        pooled = pool(kept, (*CELL, "seed"))
        return {(system, partition): found for system, partition, found in pooled}

    def compared(self, frame: pd.DataFrame, partition: str) -> pd.DataFrame:
        """Keeps the rows of scores or differences that systems are compared by."""
        return frame[
            (frame["partition"] == partition)
            & (frame["metric"] == self.scorer.metric)
            & (frame["processing"] == self.scorer.processing)
        ]

    def _against(self, main: str, target: str, reference: str) -> str:
        """Finds the main of a reference that a main is compared with."""
        dev = self.compared(self.scores, "dev").query(
            "system == @reference and target == @target and given == main"
        )
        dev = dev[dev["main"].isin(main.split(JOIN))]
        if JOIN not in main or dev.empty:
            return main
        return str(dev["main"].iloc[first_best(dev["mean"])])

    def _describe(
        self,
        cell: tuple[str, ...],
        score: float,
        reference_score: float,
        difference: Difference,
    ) -> dict[str, Any]:
        named = dict(zip(DIFFERENCE, cell, strict=False))
        chosen = self.settings
        for name in ("system", "main", "target"):
            chosen = chosen[chosen[name] == named[name]]
        same = named["reference"] == BASELINE_KEY and bool((chosen["alpha"] == 0).all())
        return {
            **named,
            "metric": self.scorer.metric,
            "setting": "; ".join(dict.fromkeys(chosen["setting"])),
            "score": score,
            "reference_score": reference_score,
            **difference._asdict(),
            "verdict": "same" if same else verdict(difference),
        }


def take_cell(pooled: Pooled, main: str, target: str, processing: str) -> Pooled:
    """Keeps the predictors, one row per seed, of one main, target and processing."""
    frame = pooled.predictors
    wanted = {"main": main, "target": target, "processing": processing}
    rows = np.flatnonzero((frame[list(wanted)] == pd.Series(wanted)).all(axis=1))
    return pooled._replace(predictors=frame.iloc[rows], values=pooled.values[rows])
