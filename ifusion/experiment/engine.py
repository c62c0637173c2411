"""The engine: choose settings on dev, fit systems, choose among candidates, predict.

Nothing that fits or chooses takes test as an argument; opening it is a separate act.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifusion.corpora.corpus import Corpus
from ifusion.corpora.description import fingerprint
from ifusion.evaluation.outcomes import Outcomes, save_outcomes
from ifusion.evaluation.selection import choose_best
from ifusion.evaluation.traces import Traces, encode_traces
from ifusion.experiment.choice import (
    Predictions,
    choose,
    describe_choice,
    predict_kept,
    score_all,
)
from ifusion.experiment.fitted import load_fitted, save_fitted
from ifusion.experiment.fold_data import load_fold_data, save_fold_data
from ifusion.experiment.gather import (
    Partition,
    fit_standardizers,
    gather_fold,
    gather_partition,
    target_scale_of,
)
from ifusion.experiment.options import options_to_dict
from ifusion.experiment.progress import ProgressLine
from ifusion.experiment.scoring import Scoring
from ifusion.experiment.stages import ONLY, TrainedStage, forget_stages
from ifusion.experiment.store import (
    DATA,
    FUNCTIONALS,
    SETTINGS,
    as_json,
    fit_folder,
    fold_folder,
    give_up,
    make_identity,
    outcome_folder,
    provenance,
    read_identity,
    read_systems,
    trace_file,
)
from ifusion.experiment.study import Study
from ifusion.experiment.tensorboard import open_writers
from ifusion.experiment.trainer import (
    WHOLE,
    LaneTrainer,
    Missing,
    Work,
    cut_lanes,
    train_missing,
)
from ifusion.preprocessing.standardise import Standardizer
from ifusion.storage import (
    make_folder,
    read_json,
    remove_folder,
    require_identity,
    write_atomically,
    write_json,
)
from ifusion.systems.implicit_fusion import BASELINE, IMPLICIT_FUSION
from ifusion.systems.neural import NeuralLane
from ifusion.systems.side_by_side import Ask, side_by_side
from ifusion.systems.system import Fit, Fitted, Fold, Setting, System, UnsuitedError
from ifusion.systems.tuning import make_tuning
from ifusion.terminal import note, say
from ifusion.training.loop import Progress

TUNING = "settings"  # in place of the key of a system
Settings = Mapping[tuple[str, str, float], Setting]


class FoldWork:
    """A fold to fit systems on; its arrays are gathered when first used."""

    def __init__(self, work: Work, name: str) -> None:
        """Prepares the fold `name`; reads nothing yet."""
        self.work, self.name = work, name
        self.folder = fold_folder(work.run, name)
        self._pooled: FoldWork | None = None
        self._stages: dict[Path, TrainedStage] = {}
        self._partitions: dict[str, Partition] = {}

    def view(self, functionals: bool) -> "FoldWork":
        """Returns the fold as seen by systems that read frames, or functionals."""
        study = self.work.study.view(functionals)
        if study is self.work.study:
            return self
        if self._pooled is None:
            self._pooled = FoldWork(self.work._replace(study=study), self.name)
        return self._pooled

    @property
    def corpus(self) -> Corpus:
        """The corpus under the split of the fold."""
        return self.work.study.folds[self.name]

    @property
    def scoring(self) -> Scoring:
        """How predictions are reduced and scored."""
        return Scoring(self.work.study.options, self.corpus, self.target_scale)

    @cached_property
    def standardizers(self) -> Mapping[str, Standardizer]:
        """The statistics of train."""
        return fit_standardizers(self.work.study, self.name)

    @cached_property
    def target_scale(self) -> Standardizer | None:
        """How targets are scaled for training."""
        return target_scale_of(self.work.study, self.name)

    @cached_property
    def fold(self) -> Fold:
        """The arrays that systems are fitted on, without settings."""
        return gather_fold(
            self.work.study, self.name, self.standardizers, self.target_scale
        )

    def partition(self, name: str) -> Partition:
        """Gathers a partition when first used."""
        if name not in self._partitions:
            self._partitions[name] = gather_partition(
                self.work.study, self.name, name, self.standardizers
            )
        return self._partitions[name]

    def predictions(self, system: System, partition: str) -> Predictions:
        """Prepares to predict a partition with a system."""
        problem, gathered = self.work.study.protocol, self.partition(partition)
        return Predictions(self.scoring, problem, system, gathered)

    @cached_property
    def label(self) -> str:
        """The beginning of the progress line."""
        names, share = list(self.work.study.folds), self.work.share
        parts = []
        if share != WHOLE:
            parts.append(f"share {share.number}/{share.total}")
        if len(names) > 1:
            parts.append(f"fold {names.index(self.name) + 1}/{len(names)}")
        return "".join(f"{part}  " for part in parts)

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """The identity in the files of the fold, see `store.make_identity`."""
        options = options_to_dict(self.work.study.options)
        return make_identity(options, fingerprint(self.corpus))

    def trainer(
        self,
        system: str,
        picks: Callable[[NeuralLane], bool] | None = None,
        train: Ask = train_missing,
    ) -> LaneTrainer:
        """Makes the trainer of a system's lanes, or of those that `picks` accepts."""
        return LaneTrainer(
            work=self.work,
            fold=self.name,
            system=system,
            identity=self.identity,
            data=self.fold.train,
            watch=partial(self._watch, system),
            cache=self._stages,
            picks=picks,
            train=train,
        )

    @contextmanager
    def _watch(
        self, system: str, parts: Sequence[Missing]
    ) -> Iterator[Callable[[Progress], None]]:
        """Shows the progress of a stage and, if asked, writes it for TensorBoard."""
        study, kept_by = self.work.study, parts[0].request.program.kept_by
        count, windows, _ = study.protocol.capacity["train"]
        percent = self.scoring.classifies and not kept_by
        score = kept_by or study.options.evaluation.metric
        lanes = [lane for part in parts for lane in part.request.lanes]
        line = ProgressLine(
            steps=-(-count // study.protocol.training.batch_size) * windows,
            epochs=study.protocol.training.epochs,
            score=score + (" [%]" if percent else ""),
            in_percent=percent,
            label=f"{self.label}{system}  {_describe_stages(parts)}",
            mains=[lane.main for lane in lanes],
        )
        with ExitStack() as stack:
            update = stack.enter_context(line)
            for part, here in zip(parts, cut_lanes(parts), strict=True):
                keeper, own = part.keeper, part.request
                if keeper.work.tensorboard is not None:
                    place = keeper.work.tensorboard / keeper.fold / keeper.system
                    place = place / own.stage.name
                    written = open_writers(place, own.lanes, here, update)
                    update = stack.enter_context(written)
            yield update


def _describe_stages(parts: Sequence[Missing]) -> str:
    """Names the stages that train side by side, for the progress line."""
    names = list(dict.fromkeys(part.request.stage.name for part in parts))
    said = "" if names == [ONLY] else " to ".join(names[:1] + names[1:][-1:])
    runs = len({part.keeper.work.run for part in parts})
    together = f"{runs} runs" if runs > 1 else ""
    return "".join(f"{word}  " for word in (said, together) if word)


def _make_tuning(study: Study) -> Fit | None:
    """Makes the fit that settings are chosen with, if there are several."""
    first = study.options.sweep.tuning_epochs
    return make_tuning(study.protocol, study.tuning, first) if study.tuning else None


def fit_all(work: Work, fits: Mapping[System, Fit]) -> None:
    """Fits every system on every fold where it is not fitted yet.

    A system that does not suit a fold gets no score, and the run records why; the
    others go on. `fits` come from `study.make_fits`.
    """
    study, whole = work.study, work.share == WHOLE
    given_up, tune = set[System](), _make_tuning(study)
    for name in study.folds:
        here = FoldWork(work, name)
        if whole and fits:
            if study.functionals is not None:
                _keep_data(here.view(functionals=True), here.folder / FUNCTIONALS)
            _keep_data(here, here.folder / DATA)
        missing = _list_missing(here, fits)
        settings = find_settings(here, tune, missing)
        for system in missing:
            if system in given_up:
                continue
            try:
                _fit_one(here.view(system.functionals), system, fits[system], settings)
            except UnsuitedError as error:
                given_up.add(system)
                note(f"{here.label}{system.key}: {error}")
                if whole:
                    where = f"fold {name}: " if len(study.folds) > 1 else ""
                    give_up(work.run, system.key, f"{where}{error}")
        if all(
            row["impossible"] or fit_folder(work.run, name, row["key"]).exists()
            for row in read_systems(work.run)
        ):
            forget_stages(work.run, name)


def train_ahead(runs: Sequence[tuple[Work, Mapping[System, Fit]]]) -> None:
    """Trains the lanes of whole runs side by side; `fit_all` then finds them trained.

    The runs have the same folds and options, but for labels and seeds.
    """
    tuned = [(work, fits, _make_tuning(work.study)) for work, fits in runs]
    unsuited: set[tuple[Path, System]] = set()
    for name in runs[0][0].study.folds:
        todo, calls = [], []
        for work, fits, tune in tuned:
            here = FoldWork(work, name)
            missing = _list_missing(here, fits, quiet=True)
            todo.append((here, fits, [x for x in missing if x.seeded]))
            calls.append(partial(find_settings, here, tune, missing))
        settings = side_by_side(calls, train_missing)
        for system in dict.fromkeys(x for _, _, missing in todo for x in missing):
            tried = {
                (here.work.run, system): partial(
                    _suits, here.view(system.functionals), system, fits[system], chosen
                )
                for (here, fits, missing), chosen in zip(todo, settings, strict=True)
                if system in missing and (here.work.run, system) not in unsuited
            }
            suits = side_by_side(list(tried.values()), train_missing)
            unsuited |= {x for x, good in zip(tried, suits, strict=True) if not good}


def _suits(
    here: FoldWork, system: System, fit: Fit, settings: Settings, train: Ask
) -> bool:
    """Fits a system for its lanes; returns whether it suits the fold."""
    trainer = here.trainer(system.key, train=train)
    try:
        fit(replace(here.fold, settings=settings), trainer)
    except UnsuitedError:  # `fit_all` says why
        return False
    return True


def _list_missing(
    here: FoldWork, fits: Mapping[System, Fit], quiet: bool = False
) -> list[System]:
    """Lists the systems that are not fitted on a fold yet; says which are."""
    work, missing = here.work, []
    whole = work.share == WHOLE
    for system in fits:
        if whole and is_finished(work.run, here.name, system.key):
            if not quiet:
                say(f"{here.label}{system.key}  already finished")
        elif whole or system.seeded:
            missing.append(system)
    # The sweep comes first: one program then trains its lanes and the baseline's.
    return sorted(missing, key=lambda system: system is not IMPLICIT_FUSION)


def _keep_data(here: FoldWork, data: Path) -> None:
    """Writes what predictors of the fold need, or checks what is there."""
    if not data.exists():
        make_folder(data.parent)
        save_fold_data(
            data,
            here.work.study,
            here.name,
            standardizers=here.standardizers,
            target_scale=here.target_scale,
            identity=here.identity,
        )
        return
    try:
        load_fold_data(data, identity=here.identity)
    except ValueError as error:
        raise ValueError(
            f"{error}; remove that folder, and --resume writes it again"
        ) from None


def _fit_one(here: FoldWork, system: System, fit: Fit, settings: Settings) -> None:
    """Fits a system on a fold, chooses on dev, and saves the result."""
    run = here.work.run
    begin = time.monotonic()
    trainer = here.trainer(system.key)
    fitted = fit(replace(here.fold, settings=settings), trainer)
    seconds = time.monotonic() - begin + trainer.seconds
    if here.work.share != WHOLE:  # the merge chooses and predicts
        return
    predictions = here.predictions(system, "dev")
    found, outcomes, traces = choose(predictions, fitted, seconds)
    _save_predictions(run, outcomes, traces, here.identity)
    outdated = outcome_folder(run, here.name, system.key, "test")
    if outdated.exists():  # of a fit that was removed
        remove_folder(outdated)
    folder = fit_folder(run, here.name, system.key)  # its presence means finished
    make_folder(folder.parent)
    save_fitted(folder, found, here.identity, provenance())
    said = describe_choice(found, here.scoring.classifies)
    say(f"{here.label}{system.key}  fitted in {seconds:.0f} s, on dev: {said}")


def is_finished(run: Path, fold: str, system: str) -> bool:
    """Returns whether a system is fitted on a fold.

    Raises:
      ValueError: if the stored fit is damaged.
    """
    folder = fit_folder(run, fold, system)
    if not folder.exists():
        return False
    try:
        load_fitted(folder, auxiliary=True, identity=read_identity(run, fold))
    except ValueError as error:
        raise ValueError(
            f"{error}; remove that folder, and --resume fits the system again"
        ) from None
    return True


def predict_test(work: Work, systems: Sequence[System]) -> None:
    """Predicts test with every fitted system, without fitting anything.

    Existing predictions are kept.

    Raises:
      ValueError: if a fitted system is damaged.
    """
    for name in work.study.folds:
        whole, identity = FoldWork(work, name), read_identity(work.run, name)
        for system in systems:
            folder = fit_folder(work.run, name, system.key)
            kept = outcome_folder(work.run, name, system.key, "test")
            if not folder.exists() or kept.exists():
                continue
            found = load_fitted(folder, identity=identity)
            predictions = whole.view(system.functionals).predictions(system, "test")
            outcomes, traces = predict_kept(predictions, found, {})
            _save_predictions(work.run, outcomes, traces, identity)


def _save_predictions(
    run: Path, outcomes: Outcomes, traces: Traces | None, identity: Mapping[str, str]
) -> None:
    """Writes outcomes and traces over those of an interrupted run."""
    fold, system, partition = outcomes.fold, outcomes.system, outcomes.partition
    if traces is not None:
        path = trace_file(run, fold, system, partition)
        make_folder(path.parent)
        write_atomically(path, encode_traces(traces, identity))
    folder = outcome_folder(run, fold, system, partition)
    make_folder(folder.parent)
    if folder.exists():
        remove_folder(folder)
    save_outcomes(folder, outcomes, identity)


# ---- settings ----------------------------------------------------------------------


def _needed(work: Work, systems: Sequence[System]) -> set[tuple[str, str]]:
    """Lists the (main, target) whose settings the lanes of a share depend on.

    Baseline and implicit fusion need those of their own main and target; other systems
    may need all.
    """
    grid = work.study.grid
    if work.share == WHOLE or not all(system.curve for system in systems):
        return {(lane.main, lane.target) for lane in grid}
    alone = [lane for lane in grid if lane.alpha == 0]
    mine = [lanes[i] for lanes in (grid, alone) for i in work.share.cut(len(lanes))]
    return {(lane.main, lane.target) for lane in mine}


def find_settings(
    here: FoldWork,
    tune: Fit | None,
    systems: Sequence[System],
    train: Ask = train_missing,
) -> Settings:
    """Reads the settings of a fold, or chooses them on dev with the fit `tune`.

    There are none if no system needs them; of a share, only those that its lanes depend
    on count. `train` is that of `FoldWork.trainer`.

    Raises:
      ValueError: if every setting of a main and target diverged.
    """
    if not any(system.seeded for system in systems):
        return {}
    path = here.folder / SETTINGS
    if path.is_file():
        return _read_settings(path, here.identity)
    rows: list[dict[str, Any]] = []
    if tune is None:
        grid = here.work.study.grid
        settings = {(x.main, x.target, 0.0): Setting(x.l2, x.delay) for x in grid}
    else:
        needed = _needed(here.work, systems)
        trainer = here.trainer(TUNING, lambda x: (x.main, x.target) in needed, train)
        settings, rows = _choose_settings(here, tune(here.fold, trainer))
    if here.work.share == WHOLE:
        listed = [
            {"main": m, "target": t, "alpha": a, "l2": x.l2, "delay": x.delay}
            for (m, t, a), x in settings.items()
        ]
        make_folder(path.parent)
        content = {"identity": here.identity, "settings": listed, "tuning": rows}
        write_json(path, content)
    return settings


def _read_settings(path: Path, identity: Mapping[str, str]) -> Settings:
    facts = read_json(path, ["settings"])
    require_identity(path, facts, identity)
    try:
        return {
            (row["main"], row["target"], row["alpha"]): Setting(row["l2"], row["delay"])
            for row in facts["settings"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: incomplete ({error!r})") from None


def _choose_settings(
    here: FoldWork, fitted: Fitted
) -> tuple[dict[tuple[str, str, float], Setting], list[dict[str, Any]]]:
    """Chooses l2 and delay by the mean dev score over seeds, see `choose_best`."""
    study = here.work.study
    scores, _ = score_all(here.predictions(BASELINE, "dev"), fitted)
    frame = pd.DataFrame([asdict(lane) for lane in study.tuning])
    frame = frame.assign(fold=here.name, dev_score=scores)
    best = choose_best(frame, ["main", "target", "alpha"], ["l2", "delay"])
    lost = best[best["dev_score"].isna()]
    if len(lost) and here.work.share == WHOLE:
        row = lost.iloc[0]
        raise ValueError(
            f"fold {here.name}, {row['main']}, {row['target']}, alpha "
            f"{row['alpha']:g}: training diverged at every setting of sweep.l2 and "
            "sweep.delays; try a smaller training.learning_rate"
        )
    settings = {
        (row["main"], row["target"], row["alpha"]): Setting(
            float(row["l2"]), int(row["delay"])
        )
        for row in best.to_dict("records")
    }
    chosen = [
        settings[x.main, x.target, x.alpha] == Setting(x.l2, x.delay)
        for x in study.tuning
    ]
    step = study.protocol.frame_step or 0.0
    frame = frame.assign(delay_seconds=frame["delay"] * step, chosen=chosen)
    frame["dev_score"] = (
        frame["dev_score"].astype(object).where(~np.isnan(scores), None)
    )
    return settings, as_json(frame.to_dict("records"))
