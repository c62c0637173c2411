"""Runs: started, resumed, split into shares, merged, opened and read.

Every function leaves the run directory complete or resumable.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jax.sharding import Mesh

from ifusion.corpora.corpus import Corpus
from ifusion.corpora.description import opened_warnings
from ifusion.corpora.splits import FIXED, split_corpus, warnings_of
from ifusion.evaluation.outcomes import (
    join_rows,
    load_outcomes,
    make_scorer,
    score_table,
)
from ifusion.evaluation.result import COLUMNS, Result
from ifusion.evaluation.traces import require_traces
from ifusion.experiment.engine import (
    fit_all,
    is_finished,
    predict_test,
    train_ahead,
)
from ifusion.experiment.fitted import (
    candidate_frame,
    gains_frame,
    history_frame,
    load_fitted,
)
from ifusion.experiment.options import Options, with_sweep
from ifusion.experiment.shares import (
    count_shares,
    find_shares,
    list_shares,
    other_shares,
    require_agreement,
    share_folder,
)
from ifusion.experiment.store import (
    CONFIG,
    CORPUS,
    SETTINGS,
    SHARES,
    SYSTEMS_FILE,
    add_systems,
    fit_folder,
    fold_folder,
    locked,
    log_opening,
    outcome_folder,
    prepare_run,
    read_config,
    read_corpus_facts,
    read_entries,
    read_identity,
    read_openings,
    read_options,
    read_systems,
    refuse_existing,
    require_same_corpus,
    trace_file,
)
from ifusion.experiment.study import Study, lane_mesh, make_fits, make_study
from ifusion.experiment.trainer import Share, Work
from ifusion.preprocessing.sequences import order_notes, require_frames, whole_notes
from ifusion.storage import read_json, require_identity, write_csv, write_json
from ifusion.systems.catalogue import SYSTEMS, find_systems
from ifusion.systems.system import Fit, System
from ifusion.terminal import note, say

SCORES = "scores.csv"
FINISHED = "finished"  # of a share, once its lanes are trained
CURVES = frozenset(system.key for system in SYSTEMS if system.curve)


class Plan(NamedTuple):
    """What to run.

    Attributes:
      corpus: corpus to train and evaluate on.
      options: options of the experiment.
      systems: keys.
      folds: whether to cross-validate over the folds of the corpus.
      tensorboard: folder to write TensorBoard files to, or None.
      strict: whether to refuse a corpus with a note or warning.
    """

    corpus: Corpus
    options: Options
    systems: tuple[str, ...]
    folds: bool = False
    tensorboard: Path | None = None
    strict: bool = False


def train(
    run: Path, plan: Plan, mesh: Mesh | None = None, resume: bool = False
) -> None:
    """Fits every system that is not fitted yet, on all devices of this host by default.

    If `resume`, it continues the run, or starts it if there is none.

    Raises:
      ValueError: if the directory holds something else, or an option makes no sense.
    """
    train_together({run: plan}, mesh, resume)


def train_together(
    plans: Mapping[Path, Plan], mesh: Mesh | None = None, resume: bool = False
) -> None:
    """Trains several runs as `train` does, their lanes side by side.

    Their plans have the same folds and options, but for labels and seeds.

    Raises:
      ValueError: as `train`.
    """
    with ExitStack() as stack:
        started = []
        for run, plan in plans.items():
            refuse_existing(run, resume)
            if len(plans) > 1:
                say(f"{run}:")
            study = _begin(run, plan, mesh)
            shares = tuple(list_shares(run).values())  # of an interrupted merge
            work = Work(run, study, sources=shares, tensorboard=plan.tensorboard)
            fits = stack.enter_context(_opened(plan, work, resume))
            started.append((work, fits))
        if len(started) > 1:
            train_ahead(started)
        for work, fits in started:
            if len(started) > 1:
                say(f"{work.run}:")
            fit_all(work, fits)
            write_scores(work.run)


def train_shares(
    run: Path,
    plan: Plan,
    shares: Sequence[Share],
    mesh: Mesh | None = None,
    resume: bool = False,
) -> None:
    """Trains shares of a run's lanes one after another, each in its own folder.

    Raises:
      ValueError: if the run is split into another number of shares, another share was
        started with other options, or the directory holds something else.
    """
    _refuse_others(run)
    study = _begin(run, plan, mesh)
    fits, impossible = make_fits(study, find_systems(plan.systems))
    for share in shares:
        total = count_shares(run)
        if total not in (None, share.total):
            raise ValueError(
                f"--lanes={share.number}/{share.total}: the run in {run} is split into "
                f"{total} shares"
            )
        if share.total > len(study.grid):
            raise ValueError(
                f"--lanes={share.number}/{share.total}: the sweep has only "
                f"{len(study.grid)} lanes"
            )
        folder = share_folder(run, share)
        refuse_existing(folder, resume)
        with locked(folder):
            refuse_existing(folder, resume)  # another process may have come first
            fresh = not (folder / CONFIG).exists()
            prepare_run(folder, plan.corpus.source, study.options, study.folds)
            add_systems(folder, plan.systems, impossible)
            try:
                require_agreement([folder, *other_shares(run, folder)])
            except ValueError:
                for name in (CONFIG, CORPUS, SYSTEMS_FILE) if fresh else ():
                    (folder / name).unlink()
                raise
            fit_all(Work(folder, study, share, tensorboard=plan.tensorboard), fits)
            (folder / FINISHED).touch()


def merge(
    run: Path, roots: Sequence[Path], corpus: Corpus, mesh: Mesh | None = None
) -> None:
    """Merges the shares trained in `roots`, and completes the run as if never split.

    Raises:
      ValueError: if shares are missing, unfinished or not of one run.
    """
    _refuse_others(run)
    folders = find_shares(roots)
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(locked(folder))
        require_agreement(folders)
        left = [str(x) for x in folders if not (x / FINISHED).exists()]
        if left:
            raise ValueError(
                f"unfinished shares: {', '.join(left)}; continue each with --lanes=i/n "
                "--resume"
            )
        first = folders[0]
        keys = tuple(row["key"] for row in read_systems(first))
        crossed = read_config(first)["folds"] != [FIXED]
        plan = Plan(corpus, read_options(first), keys, crossed)
        study = _begin(run, plan, mesh)
        require_same_corpus(first, study.folds)
        work = Work(run, study, sources=folders, complete=True)
        shares = [read_config(folder)["provenance"] for folder in folders]
        with _opened(plan, work, resume=True, shares=shares) as fits:
            fit_all(work, fits)
            write_scores(run)


def open_test(run: Path, corpus: Corpus, mesh: Mesh | None = None) -> None:
    """Predicts test with every system of a run and logs it; fits nothing.

    Raises:
      ValueError: if the run is not finished, or the corpus is not the run's.
    """
    study = restore_study(run, corpus, mesh)
    systems = find_systems([row["key"] for row in read_systems(run)])
    for name, split in study.folds.items():
        if "test" not in split.partition:
            raise ValueError(
                f"corpus {split.name!r} has no recording in 'test' (fold {name})"
            )
    given_up = {row["key"] for row in read_systems(run) if row["impossible"]}
    missing = [
        f"{system.key} (fold {name})"
        for name in study.folds
        for system in systems
        if system.key not in given_up and not is_finished(run, name, system.key)
    ]
    if missing:
        raise ValueError(
            f"{run}: not fitted yet: {', '.join(missing[:5])}; finish the run with "
            "--resume first"
        )
    with locked(run):
        times = log_opening(run, "test")
        if times:
            note(f"test was opened before, {times} times")
        _warn_of_test(run, study)
        predict_test(Work(run, study), systems)
        write_scores(run)


def _warn_of_test(run: Path, study: Study) -> None:
    """Prints warnings about test labels and adds them to corpus.json."""
    found = warnings_of(study.folds, opened_warnings)
    for sentence in found:
        note(sentence)
    known = read_json(run / CORPUS, ["warnings"])
    new = [sentence for sentence in found if sentence not in known["warnings"]]
    if new:
        known["warnings"] += new
        write_json(run / CORPUS, known)


def restore_study(run: Path, corpus: Corpus, mesh: Mesh | None = None) -> Study:
    """Builds the study of a run again.

    Raises:
      ValueError: if the corpus is not the run's.
    """
    config = read_config(run)
    folds = split_corpus(corpus, config["folds"] != [FIXED])
    study = make_study(read_options(run), folds, mesh or lane_mesh())
    require_same_corpus(run, study.folds)
    return study


def _begin(run: Path, plan: Plan, mesh: Mesh | None) -> Study:
    """Splits the corpus, prints its warnings, and checks the options.

    "auto" of sweep.native stands for what the run or its shares started with.
    """
    corpus, options, sequences = plan.corpus, plan.options, plan.options.sequences
    folders = (run, *list_shares(run).values())
    started = [folder for folder in folders if (folder / CONFIG).exists()]
    if options.sweep.native == "auto" and started:
        native = read_options(started[0]).sweep.native
        options = with_sweep(options, native=native)
    doubts = [
        *order_notes(corpus, sequences.sequence),
        *require_frames(corpus, sequences),
        *whole_notes(corpus, sequences),
    ]
    corpus = replace(corpus, notes=(*corpus.notes, *doubts)) if doubts else corpus
    folds = split_corpus(corpus, plan.folds)
    said = (*corpus.notes, *warnings_of(folds))
    if plan.strict and said:
        listed = " ".join(f"({i}) {text}" for i, text in enumerate(said, 1))
        raise ValueError(f"strict: the corpus has notes or warnings: {listed}")
    hidden = next(iter(folds.values())).notes[len(corpus.notes) :]
    for sentence in (*said, *hidden):
        note(sentence)
    study = make_study(options, folds, mesh or lane_mesh())
    native = study.options.sweep.native
    say(f"GRU layers: {'in JAX' if native == 'off' else f'in C++, {native}'}")
    return study


@contextmanager
def _opened(
    plan: Plan, work: Work, resume: bool, **facts: Any
) -> Iterator[Mapping[System, Fit]]:
    """Locks a run, and writes what it holds before anything is fitted.

    Yields:
      The fits of the systems that suit the corpus.
    """
    run, study = work.run, work.study
    fits, impossible = make_fits(study, find_systems(plan.systems))
    for key, reason in impossible.items():
        note(f"{key} has no score: {reason}")
    with locked(run):
        # another process may have come first
        refuse_existing(run, resume, allowed=(SHARES,) if work.complete else ())
        prepare_run(run, plan.corpus.source, study.options, study.folds, **facts)
        add_systems(run, plan.systems, impossible)
        yield fits


def _refuse_others(run: Path) -> None:
    """Refuses a directory that holds something other than a run and its shares."""
    if not (run / CONFIG).exists():
        refuse_existing(run, resume=False, allowed=(SHARES,))


def write_scores(run: Path) -> None:
    """Writes scores.csv, the scores of all predictions."""
    result = read_result(run)
    scorer = make_scorer(result.config, result.corpus)
    write_csv(run / SCORES, score_table(result.outcomes, scorer))


def read_result(run: Path) -> Result:
    """Reads the results of a run so far.

    Raises:
      ValueError: if it is not a run, or one of its files is damaged.
    """
    config = read_config(run)
    read_options(run)  # refuses entries of another type
    corpus = read_corpus_facts(run)
    step = float(corpus["frame_step"] or 0)
    entries = read_entries(run)
    frames: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("candidates", "history", "gains", "seconds", "tuning")
    }
    outcomes, traces = [], []
    for fold in config["folds"]:
        identity = read_identity(run, fold)
        settings = fold_folder(run, fold) / SETTINGS
        if settings.is_file():
            facts = read_json(settings, ["tuning"])
            require_identity(settings, facts, identity)
            frames["tuning"].append(pd.DataFrame(facts["tuning"]))
        for entry in entries:
            place = fit_folder(run, fold, entry.key)
            if not place.exists():
                continue
            found = load_fitted(place, lambda *_: False, identity=identity)
            frames["candidates"].append(candidate_frame(found))
            frames["gains"].append(gains_frame(found, step))
            took = {"fold": [fold], "system": entry.key, "seconds": found.seconds}
            frames["seconds"].append(pd.DataFrame(took))
            if entry.key in CURVES:
                frames["history"].append(history_frame(found))
            for partition in ("dev", "test"):
                place = outcome_folder(run, fold, entry.key, partition)
                if place.exists():
                    outcomes.append(load_outcomes(place, identity))
                path = trace_file(run, fold, entry.key, partition)
                if path.exists():
                    require_traces(path, identity)
                    traces.append(path)
    joined = {name: join_rows(parts, COLUMNS[name]) for name, parts in frames.items()}
    return Result(
        name=run.resolve().name,
        config=config,
        corpus=corpus,
        systems=entries,
        outcomes=tuple(outcomes),
        traces=tuple(traces),
        openings=tuple(read_openings(run)),
        **joined,
    )
