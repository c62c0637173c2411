"""An experiment in five lines, as the docstring of `ifusion` shows."""

import shutil
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pandas as pd

from ifusion.corpora.corpus import Corpus
from ifusion.corpora.readers import open_corpus
from ifusion.evaluation.outcomes import score_table
from ifusion.evaluation.result import Result
from ifusion.experiment import runs
from ifusion.experiment.options import Options, default_options, with_sweep
from ifusion.experiment.store import read_config
from ifusion.inference.opening import load_predictor
from ifusion.inference.predictor import Predictor
from ifusion.paths import expand_path
from ifusion.reporting import views

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Run:
    """A run: its directory, and what it found.

    Attributes:
      folder: run directory.
      corpus: corpus of the run, or None.
    """

    folder: Path
    corpus: Corpus | None = None
    _holder: "_TemporaryFolder | None" = field(default=None, repr=False)

    @cached_property
    def result(self) -> Result:
        """All that the run found, as tidy frames and arrays."""
        return runs.read_result(self.folder)

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of every predictor: fold, system, main, target, alpha, seed, ..."""
        return score_table(self.result.outcomes, self.result.scorer)

    @property
    def choices(self) -> pd.DataFrame:
        """What dev chose for each fold, system, main and target."""
        return views.choices(self.result)

    def report(self, folder: str | Path | None = None) -> Path:
        """Writes tables, figures and the HTML report; returns the path of the page.

        Args:
          folder: folder to write to; the run directory by default.
        """
        from ifusion.reporting.report import write_report  # draws: matplotlib

        place = self.folder if folder is None else expand_path(folder)
        return write_report(self.result, place)


class _TemporaryFolder:
    """A folder that is removed once nothing refers to it."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="ifusion-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def grid(start: float, stop: float, step: float) -> tuple[float, ...]:
    """Lists values from `start` to `stop`, both included.

    Example:
      >>> grid(0, 1, 0.25)
      (0.0, 0.25, 0.5, 0.75, 1.0)

    Raises:
      ValueError: the step is not positive.
    """
    if not step > 0:
        raise ValueError(f"step is {step}; expected above 0")
    count = round((stop - start) / step)
    return tuple(round(start + i * step, 10) for i in range(count + 1))


def run(
    corpus: Corpus,
    systems: str | Sequence[str] = ("baseline", "implicit_fusion"),
    *,
    alphas: Iterable[float] | None = None,
    seeds: Iterable[int] | None = None,
    mains: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
    options: Options | None = None,
    folds: bool = False,
    workdir: str | Path | None = None,
    resume: bool = False,
    strict: bool = False,
) -> Run:
    """Trains systems on a corpus and chooses among their candidates on dev.

    Example:
      >>> run = ifn.run(ifn.corpora.synthetic(), alphas=(0, 0.5), seeds=(0,))
      >>> run.choices

    Args:
      corpus: from `read_corpus` or `ifusion.corpora`.
      systems: one key or several, see `docs/systems.md`.
      alphas: weights of the auxiliary modalities; 0 to 1 in steps of 0.1 by default.
      seeds: 0 to 4 by default.
      mains: modalities to deploy on; every one by default.
      targets: what to predict; all by default.
      options: all other options; defaults depend on the task of the corpus.
      folds: whether to cross-validate over the folds of the corpus.
      workdir: run directory, which can be resumed; by default the run is deleted once
        nothing refers to it.
      resume: whether to continue the run in `workdir`.
      strict: whether to refuse a corpus with a note or warning.

    Raises:
      TypeError: if `corpus` is not a corpus.
      ValueError: if an option does not suit the corpus, `workdir` is not empty, or
        `strict` and the corpus has a note or warning.
    """
    if not isinstance(corpus, Corpus):
        raise TypeError(
            f"corpus is a {type(corpus).__name__}; expected one of ifn.read_corpus"
        )
    chosen = {"alphas": alphas, "seeds": seeds, "mains": mains, "targets": targets}
    entries = {k: None if v is None else tuple(v) for k, v in chosen.items()}
    options = with_sweep(options or default_options(corpus), **entries)
    holder = _TemporaryFolder() if workdir is None else None
    place = holder.path if holder else expand_path(str(workdir))
    keys = (systems,) if isinstance(systems, str) else tuple(systems)
    plan = runs.Plan(corpus, options, keys, folds, strict=strict)
    runs.train(place, plan, resume=resume)
    return Run(place, corpus, holder)


def open_run(folder: str | Path, corpus: Corpus | None = None) -> Run:
    """Opens a run directory.

    Example:
      >>> run = ifn.open_run("runs/ravdess")

    Args:
      folder: run directory.
      corpus: corpus of the run; `open_test` needs it if it was made in Python.

    Raises:
      ValueError: if it is not a run.
    """
    place = expand_path(folder)
    read_config(place)
    return Run(place, corpus)


def open_test(run: Run | str | Path) -> Run:
    """Predicts the test partition with every system of a run; fits nothing.

    Every opening is logged in `evaluations.jsonl` of the run.

    Example:
      >>> run = ifn.open_test(ifn.open_run("runs/ravdess"))

    Args:
      run: a finished run, or its directory.

    Raises:
      ValueError: if the run is not finished, or its corpus has changed or is unknown.
    """
    opened = run if isinstance(run, Run) else open_run(run)
    corpus = corpus_of(opened)
    runs.open_test(opened.folder, corpus)
    return Run(opened.folder, corpus, opened._holder)


def corpus_of(run: Run | str | Path) -> Corpus:
    """Returns the corpus of a run, read again from the source in its config if needed.

    Raises:
      ValueError: if the config names no source, or the corpus cannot be read.
    """
    if isinstance(run, Run) and run.corpus is not None:
        return run.corpus
    folder = run.folder if isinstance(run, Run) else expand_path(run)
    source: dict[str, Any] = dict(read_config(folder)["corpus"])
    if "kind" not in source:
        raise ValueError(
            f"{folder}: the corpus was made in Python; pass it to open_run"
        )
    return open_corpus(source.pop("kind"), source)


def load(
    run: Run | str | Path,
    main: str,
    system: str = "implicit_fusion",
    target: str | None = None,
    seeds: Iterable[int] | None = None,
) -> Predictor:
    """Loads a system of a run as a predictor of one modality.

    Nothing of another modality is read. The predictor averages its members, one per
    seed and fold.

    Example:
      >>> predictor = ifn.load("runs/ravdess", main="audio")
      >>> predictor.predict(features)

    Args:
      run: a run, or its directory.
      main: modality, or several joined by "+" for an explicit fusion.
      system: key.
      target: one of several; all by default.
      seeds: some of them; all by default.

    Raises:
      ValueError: if the run has no such system, main, target or seed.
    """
    folder = run.folder if isinstance(run, Run) else expand_path(run)
    predictor = load_predictor(folder, main, system, target)
    return predictor if seeds is None else predictor.pick(tuple(seeds))


def _result(run: Run | Result) -> Result:
    return run.result if isinstance(run, Run) else run


def table1(run: Run | Result) -> pd.DataFrame:
    """Table 1: scores of a classification, with the paper's numbers alongside."""
    return views.table1(_result(run))


def table2(run: Run | Result) -> pd.DataFrame:
    """Table 2: CCC of a regression over time, with the paper's numbers alongside."""
    return views.table2(_result(run))


def figure2(run: Run | Result) -> "Figure":
    """Fig. 2 of the paper: the score over alpha."""
    from ifusion.reporting.figures import figure2 as draw  # matplotlib

    return draw(_result(run))


def comparison(run: Run | Result) -> pd.DataFrame:
    """Every system, and its paired difference to the baseline."""
    return views.comparison(_result(run))


def missing_modality(run: Run | Result) -> pd.DataFrame:
    """What every system scores when a modality is missing."""
    return views.missing_modality(_result(run))


def controls(run: Run | Result) -> pd.DataFrame:
    """The gain of a system over each control, and what it shows."""
    return views.controls(_result(run))
