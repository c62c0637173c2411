"""The one tidy result of a run: all that tables, figures and the report are views of.

The engine fills it, in memory or from a run directory.
"""

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from ifusion.evaluation.outcomes import Outcomes, Scorer, make_scorer

BASELINE, IMPLICIT_FUSION = "baseline", "implicit_fusion"  # keys of systems


@dataclass(frozen=True)
class Entry:
    """A system as tables list it, whether or not it has scores.

    Attributes:
      key: of the system.
      title: what tables call it.
      source: put behind the title: the paper it comes from, "" = this one.
      explicit: whether it needs several modalities at test time.
      seeded: whether its seeds differ.
      control: of a control, what a gain of implicit fusion over it says; else "".
      impossible: why it has no score, in words; "" where it may have one.
    """

    key: str
    title: str
    source: str = ""
    explicit: bool = False
    seeded: bool = True
    control: str = ""
    impossible: str = ""

    @property
    def name(self) -> str:
        """The title with its source, as in the tables of the paper."""
        return f"{self.title} {self.source}".strip()


COLUMNS = {
    "candidates": (
        *("fold", "system", "main", "target", "seed", "setting", "alpha", "delay"),
        *("parameters", "best_epoch", "failed_step", "dev_score", "chosen"),
    ),
    "history": (
        *("fold", "system", "main", "target", "setting", "alpha", "seed", "epoch"),
        *("loss", "dev_score", "best"),
    ),
    "tuning": (
        *("fold", "main", "target", "alpha", "seed", "l2", "delay", "delay_seconds"),
        *("dev_score", "chosen"),
    ),
    "gains": (
        *("fold", "system", "main", "target", "setting", "alpha", "seed"),
        *("step", "value", "before", "after", "kept"),
    ),
    "seconds": ("fold", "system", "seconds"),
}


def _empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS[name]))


@dataclass(frozen=True, eq=False)
class Result:
    """What a run found.

    Attributes:
      name: of the run.
      config: of config.json: folds, the sections evaluation, sweep, training, ... and,
        of a regression, postprocessing; provenance.
      corpus: of corpus.json.
      systems: in the order of the tables.
      outcomes: one a fold, system and partition.
      candidates: a row a trained candidate: fold, system, main, target, seed, setting,
        alpha, delay [frame], parameters, best_epoch, failed_step (-1 = none),
        dev_score, chosen.
      history: a row an epoch of a candidate of a curve: fold, system, main, target,
        setting, alpha, seed, epoch, loss, loss_<modality>..., dev_score, best.
      tuning: a row a setting tried on dev: fold, main, target, alpha, seed, l2, delay
        [frame], delay_seconds [s], dev_score, chosen; empty where there is one setting.
      gains: a row a step of post-processing of a candidate: fold, system, main, target,
        setting, alpha, seed, step, value, before, after (scores on dev), kept.
      seconds: fold, system, seconds of fitting.
      traces: files of `evaluation.traces`, of chosen candidates.
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
        """How its outcomes are scored."""
        return make_scorer(self.config, self.corpus)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(self.config["folds"])
