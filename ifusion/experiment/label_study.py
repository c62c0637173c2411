"""A study of few labels: the same systems on shares of the labels, draw by draw.

Each share and draw is a run in `share_<share>/draw_<draw>` of a folder, with its own
seeds, test partition and report. The lanes of all draws of a share train side by side,
with the results that they have alone. With all labels there is one run, with the seeds
of all draws. Not in the paper.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jax.sharding import Mesh

from ifusion.corpora.corpus import (
    JOIN,
    LEFT_OUT,
    UNLABELLED,
    Corpus,
    Hiding,
    is_unlabelled,
    row_partition,
)
from ifusion.corpora.hiding import with_few_labels
from ifusion.corpora.splits import FIXED, split_corpus
from ifusion.evaluation.result import Result
from ifusion.experiment import runs
from ifusion.experiment.choice import Predictions
from ifusion.experiment.engine import FoldWork
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.gather import Partition, gather_partition
from ifusion.experiment.options import with_sweep
from ifusion.experiment.scoring import score_values
from ifusion.experiment.store import fit_folder, read_config, read_identity
from ifusion.experiment.trainer import Work
from ifusion.preprocessing.ragged import reorder
from ifusion.systems.catalogue import find_systems
from ifusion.systems.controls import shuffled_across
from ifusion.systems.system import Candidate, System
from ifusion.terminal import say

COMPARED = (
    "baseline",
    "implicit_fusion",
    "early_fusion",
    "pseudo_labels",
    "self_training",
    "pseudo_labels_shuffled",
)
SCORED_TEACHERS = ("baseline", "early_fusion", "late_fusion", "model_level_fusion")
PAIRS = (
    ("implicit_fusion", "baseline"),
    ("self_training", "baseline"),
    ("pseudo_labels_shuffled", "baseline"),
    ("pseudo_labels", "baseline"),
    ("pseudo_labels", "self_training"),
    ("pseudo_labels", "pseudo_labels_shuffled"),
    ("pseudo_labels_other", "baseline"),
    ("pseudo_labels_other", "self_training"),
    ("pseudo_labels_implicit_fusion", "baseline"),
    ("pseudo_labels_implicit_fusion", "pseudo_labels"),
    ("matching", "baseline"),
    ("matching", "matching_own"),
    ("matching_own", "baseline"),
    ("generalised_distillation", "baseline"),
)


def run_study(
    folder: Path,
    plan: runs.Plan,
    shares: Sequence[float],
    draws: int,
    by: str = "clip",
    mesh: Mesh | None = None,
    resume: bool = False,
    test: bool = False,
) -> None:
    """Trains every share and draw.

    Args:
      folder: folder of the study.
      plan: plan of each run; its corpus has all labels.
      shares: shares of the labels of train to keep.
      draws: number of draws per share.
      by: "clip" or "speaker", see `Hiding`.
      mesh: devices; all of this host by default.
      resume: whether to continue the study, or start it.
      test: whether to open test, too.

    Raises:
      ValueError: if an argument makes no sense; see also `runs.train`.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; expected at least 1")
    if plan.corpus.hiding is not None:
        raise ValueError(
            f"corpus.labelled is {plan.corpus.hiding.share:g}; expected 1, since the "
            "study hides labels itself"
        )
    for share in sorted(set(shares)):
        plans: dict[Path, runs.Plan] = {}
        for _, draw in list_draws([share], draws):
            corpus = with_few_labels(plan.corpus, Hiding(share, draw, by))
            seeds = draw_seeds(
                plan.options.sweep.seeds, draws, None if share == 1 else draw
            )
            options = with_sweep(plan.options, seeds=seeds)
            run = run_folder(folder, share, draw)
            place = plan.tensorboard and plan.tensorboard / run.relative_to(folder)
            plans[run] = plan._replace(
                corpus=corpus, options=options, tensorboard=place
            )
        said = "1 draw" if len(plans) == 1 else f"{len(plans)} draws"
        say(f"{100 * share:.4g} % of the labels, {said}: {run.parent}")
        runs.train_together(plans, mesh, resume)
        for run, own in plans.items():
            if test and not _is_opened(runs.read_result(run)):
                runs.open_test(run, own.corpus, mesh=mesh)


def _is_opened(result: Result) -> bool:
    """Returns whether every system of a run has predicted test."""
    opened = {system for system, partition in result.own if partition == "test"}
    return all(entry.impossible or entry.key in opened for entry in result.systems)


def parse_shares(texts: Sequence[str]) -> list[float]:
    """Reads the shares of a study from --fractions.

    Raises:
      ValueError: if one is not a number above 0 and at most 1.
    """
    try:
        shares = [float(text) for text in texts]
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ValueError(
            f"--fractions={','.join(texts)}: expected numbers above 0, at most 1"
        )
    return shares


def list_draws(shares: Sequence[float], draws: int) -> list[tuple[float, int]]:
    """Lists the runs of a study, (share, draw); all labels are one draw."""
    return [
        (share, draw)
        for share in sorted(set(shares))
        for draw in range(1 if share == 1 else draws)
    ]


def draw_seeds(seeds: Sequence[int], draws: int, draw: int | None) -> tuple[int, ...]:
    """Gives each draw its own seeds; `None` stands for all draws."""
    step = max(seeds) + 1
    chosen = range(draws) if draw is None else (draw,)
    return tuple(seed + step * i for i in chosen for seed in seeds)


def run_folder(folder: Path, share: float, draw: int) -> Path:
    """The directory of a run."""
    return folder / f"share_{share:g}" / f"draw_{draw}"


def read_study(
    folder: Path, shares: Sequence[float], draws: int
) -> dict[tuple[float, int], Result]:
    """Reads the results of a study."""
    return {
        (share, draw): runs.read_result(run_folder(folder, share, draw))
        for share, draw in list_draws(shares, draws)
    }


def score_teachers(
    folder: Path, corpus: Corpus, shares: Sequence[float], draws: int, by: str = "clip"
) -> pd.DataFrame:
    """Scores teachers on the labels of train that were hidden.

    Only this function looks at hidden labels, after all is trained and chosen. If
    recordings are not sequences, a fusion is also scored with the other modalities of
    another recording, as in the control of shuffled pairs.

    Returns:
      One row per share, draw, system, main and target: score, mean over folds and
      seeds.
    """
    rows: list[dict[str, Any]] = []
    for share, draw in list_draws(shares, draws):
        if share < 1:
            few = with_few_labels(corpus, Hiding(share, draw, by))
            run = run_folder(folder, share, draw)
            place = {"share": share, "draw": draw}
            rows += [place | row for row in _score_hidden(run, few, corpus)]
    cell = ["share", "draw", "system", "main", "target"]
    frame = pd.DataFrame(rows, columns=[*cell, "score"])
    return frame.groupby(cell, sort=False)["score"].mean().reset_index()


def _score_hidden(run: Path, few: Corpus, corpus: Corpus) -> list[dict[str, Any]]:
    """Scores the teachers of a run: one row per fold and chosen candidate."""
    study = runs.restore_study(run, few)
    known = split_corpus(corpus, read_config(run)["folds"] != [FIXED])
    rows: list[dict[str, Any]] = []
    for name in study.folds:
        here = FoldWork(Work(run, study), name)
        hidden = gather_hidden(here, known[name])
        if not len(hidden.rows):
            continue
        for system in find_systems(SCORED_TEACHERS):
            place = fit_folder(run, name, system.key)
            if not place.exists():
                continue
            found = load_fitted(place, identity=read_identity(run, name))
            for i, params in found.params.items():
                if not found.chosen[i]:
                    continue
                candidate = found.candidates[i]
                for key, main, shown in _shown(system.key, candidate.main, hidden):
                    score = _score(here, system, candidate, params, shown)
                    cell = {"system": key, "main": main, "target": candidate.target}
                    rows.append({**cell, "score": score})
    return rows


def gather_hidden(here: FoldWork, known: Corpus) -> Partition:
    """Gathers the train recordings with hidden labels.

    Args:
      here: a fold of a run.
      known: the same split with all labels.

    Returns:
      A partition with the hidden labels, and no others.
    """
    study, split = here.work.study, here.corpus
    columns = [known.targets.index(target) for target in study.protocol.targets]
    truth = known.labels[:, columns]
    missing = is_unlabelled(split.labels) & ~is_unlabelled(truth)
    gone = missing & (row_partition(known) == "train")[:, None]
    where = np.logical_or.reduceat(gone.any(1), split.offsets[:-1])
    apart = replace(split, partition=np.where(where, UNLABELLED, LEFT_OUT))
    alone = study._replace(folds={here.name: apart})
    partition = gather_partition(alone, here.name, UNLABELLED, here.standardizers)
    labels = np.where(gone, truth, -1 if split.classes else np.nan)
    return partition._replace(labels=labels[partition.rows])


def _shown(
    key: str, joined: str, hidden: Partition
) -> Iterator[tuple[str, str, Partition]]:
    """Yields what a teacher is shown: its name, main, and a partition."""
    yield key, joined, hidden
    mains = joined.split(JOIN)
    if len(mains) == 1 or hidden.mask.shape[1] > 1:
        return
    count = len(hidden.mask)
    order = shuffled_across(np.arange(count), np.random.default_rng(0))
    for main in mains:
        others = [m for m in mains if m != main]
        features, has = (
            {**own, **{m: reorder(own[m], order) for m in others if own}}
            for own in (hidden.features, hidden.has)
        )
        name = f"{key}_of_shuffled_pairs"
        yield name, main, hidden._replace(features=features, has=has)


def _score(
    here: FoldWork, system: System, candidate: Candidate, params: Any, shown: Partition
) -> float:
    predictions = Predictions(here.scoring, here.work.study.protocol, system, shown)
    values = predictions.of(candidate, params, candidate.main)
    own = shown.having(candidate.main)
    return score_values(here.scoring, candidate, values, own)
