"""The course of a run: its folds one after another, in whole or in shares, a report."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from data import FIXED, open_corpus, require_unchanged, split_corpus, warnings_of
from directory import prepare_run
from files import (
    CHECKPOINTS,
    CONFIG,
    CORPUS,
    SHARES,
    SWEEP,
    TRAINED,
    forget_snapshots,
    locked,
    refuse_existing,
)
from fold import TrainedFold, failures_of, is_finished, save_fold, train_fold
from jax.sharding import Mesh
from ml_collections import ConfigDict
from progress import ProgressLine
from settings import Share
from shares import (
    begun_beside,
    count_shares,
    find_shares,
    is_trained,
    join_shares,
    load_trained,
    require_agreement,
    require_finished,
    save_trained,
    share_folder,
)
from snapshots import open_snapshots
from study import Plan, make_plan, steps_of

from ifusion.corpora.corpus import Corpus
from ifusion.reporting.report import TABLES, write_report
from ifusion.reporting.run import read_json
from ifusion.storage import make_folder

Folds = Mapping[str, Corpus]


def open_folds(config: ConfigDict, cross_validate: bool) -> Folds:
    """Opens the corpus of a config under each split, and says what is odd about it."""
    corpus = open_corpus(config.corpus)
    folds = split_corpus(corpus, cross_validate)
    for sentence in (*corpus.notes, *warnings_of(folds)):
        print(f"note: {sentence}", file=sys.stderr)
    return folds


def train_run(
    workdir: Path, config: ConfigDict, folds: Folds, mesh: Mesh, resume: bool
) -> None:
    """Trains all folds that are not finished, and reports.

    Args:
      workdir: of the run.
      config: of the run.
      folds: the corpus under each split.
      mesh: devices.
      resume: whether to go on with what is there.
    """
    plan = make_plan(config, folds, mesh)
    with locked(workdir):
        refuse_existing(workdir, resume)  # another may have come first
        train = partial(_train, workdir, config, plan, "", len(folds))
        _complete(workdir, config, folds, plan, {}, train)


def train_shares(
    workdir: Path,
    config: ConfigDict,
    folds: Folds,
    mesh: Mesh,
    shares: Sequence[Share],
    resume: bool,
) -> None:
    """Trains shares of a run, one after another, each in its folder.

    Args:
      workdir: of the run.
      config: of the run.
      folds: the corpus under each split.
      mesh: devices.
      shares: those to train.
      resume: whether to go on with what is there.

    Raises:
      ValueError: the run is split into another number of shares, another share of it
        was begun with another config, or in its directory is something else.
    """
    _refuse_others(workdir)
    for share in shares:
        total = count_shares(workdir)
        if total not in (None, share.total):
            raise ValueError(
                f"--lanes={share.number}/{share.total}: the run in {workdir} is split "
                f"into {total} shares"
            )
        folder = share_folder(workdir, share)
        refuse_existing(folder, resume)
        plan = make_plan(config, folds, mesh, share)
        with locked(folder):
            refuse_existing(folder, resume)  # another may have come first
            prepare_run(folder, SWEEP, config, folds, {"lanes": len(plan.lanes)})
            require_agreement([folder, *begun_beside(workdir, folder)])
            make_folder(folder / TRAINED)
            label = f"share {share.number}/{share.total}  "
            train = partial(_train, folder, config, plan, label, len(folds))
            _go_through(folder, folds, label, is_trained, train, _keep_trained)


def merge_shares(workdir: Path, roots: Sequence[Path], mesh: Mesh) -> None:
    """Joins the shares of a run, and goes on as if they had been trained here.

    Args:
      workdir: of the run.
      roots: directories that the shares were trained in.
      mesh: devices to predict on.

    Raises:
      ValueError: shares are missing, unfinished or not of one run.
    """
    _refuse_others(workdir)
    folders = find_shares(roots)
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(locked(folder))
        known = require_agreement(folders)
        names = known.pop("folds")
        require_finished(folders, names)
        config = ConfigDict(known)
        folds = open_folds(config, names != [FIXED])
        require_unchanged(folders[0] / CORPUS, folds)
        plan = make_plan(config, folds, mesh)
        stack.enter_context(locked(workdir))

        def join(number: int, name: str, split: Corpus) -> TrainedFold:
            return join_shares(
                plan, [load_trained(x / TRAINED / name) for x in folders]
            )

        facts = {
            "shares": [
                read_json(x / CONFIG, ["provenance"])["provenance"] for x in folders
            ]
        }
        _complete(workdir, config, folds, plan, facts, join)


def _refuse_others(workdir: Path) -> None:
    """Refuses a directory in which there is something beside a run and its shares."""
    if not (workdir / CONFIG).exists():
        refuse_existing(workdir, resume=False, beside=SHARES)


def _complete(
    workdir: Path,
    config: ConfigDict,
    folds: Folds,
    plan: Plan,
    facts: Mapping[str, Any],
    train: Callable[[int, str, Corpus], TrainedFold],
) -> None:
    """Finishes all folds of a run that is locked, and reports."""
    prepare_run(workdir, SWEEP, config, folds, {"lanes": len(plan.lanes), **facts})
    make_folder(workdir / CHECKPOINTS)
    save = partial(save_fold, plan)
    _go_through(workdir, folds, "", is_finished, train, save)
    report = write_report(workdir, config.evaluation.resamples)
    task = next(iter(folds.values())).task
    print((workdir / TABLES[task]).read_text("utf-8"))
    print(f"report: {report}")


def _keep_trained(folder: Path, fold: str, corpus: Corpus, result: TrainedFold) -> None:
    save_trained(folder / TRAINED / fold, result, read_json(folder / CONFIG, []))


def _go_through(
    folder: Path,
    folds: Folds,
    label: str,
    finished: Callable[[Path, str], bool],
    train: Callable[[int, str, Corpus], TrainedFold],
    save: Callable[[Path, str, Corpus, TrainedFold], None],
) -> None:
    """Trains and saves the folds that are not finished."""
    for number, (name, split) in enumerate(folds.items(), 1):
        if finished(folder, name):
            print(f"{label}fold {name} was finished before", file=sys.stderr)
        else:
            save(folder, name, split, train(number, name, split))
        forget_snapshots(folder, name)


def _train(
    folder: Path,
    config: ConfigDict,
    plan: Plan,
    label: str,
    count: int,
    number: int,
    name: str,
    split: Corpus,
) -> TrainedFold:
    """Trains fold `number` of `count`, with its snapshots in a folder."""
    if count > 1:
        label += f"fold {number}/{count}  "
    watch = partial(
        ProgressLine,
        *(steps_of(plan), plan.options.epochs, plan.sweep.width),
        *(config.evaluation.metric, label),
    )
    keep = partial(open_snapshots, folder, config.sweep, name)
    begin = time.monotonic()
    result = train_fold(plan, split, name, watch, keep)
    print(f"{label}trained in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    for sentence in failures_of(result.trained):
        print(f"note: {label}{sentence}", file=sys.stderr)
    return result
