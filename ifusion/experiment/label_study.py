"""A study of few labels: the same systems on shares of the labels, draw by draw.

Each share and draw is a run in `share_<share>/draw_<draw>` of a folder, with its own
seeds, test partition, report and snapshots. With all labels there is one run, with the
seeds of all draws. Not in the paper.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jax.sharding import Mesh

from ifusion.corpora.corpus import JOIN, UNLABELLED, Corpus, Hiding
from ifusion.corpora.hiding import with_few_labels
from ifusion.corpora.splits import FIXED, split_corpus
from ifusion.evaluation.result import Result
from ifusion.experiment import runs
from ifusion.experiment.choice import make_predictions
from ifusion.experiment.engine import FoldWork, Work
from ifusion.experiment.fitted import load_fitted
from ifusion.experiment.options import with_sweep
from ifusion.experiment.scoring import Task, score_values
from ifusion.experiment.store import fit_folder, read_config, read_identity
from ifusion.systems.catalogue import find_systems
from ifusion.terminal import say

SYSTEMS = (
    "baseline",
    "implicit_fusion",
    "early_fusion",
    "pseudo_labels",
    "self_training",
    "pseudo_labels_shuffled",
)
TEACHERS = ("baseline", "early_fusion", "late_fusion", "model_level_fusion")
PAIRS = (
    ("implicit_fusion", "baseline"),
    ("self_training", "baseline"),
    ("pseudo_labels_shuffled", "baseline"),
    ("pseudo_labels", "baseline"),
    ("pseudo_labels", "self_training"),
    ("pseudo_labels", "pseudo_labels_shuffled"),
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
    for share, draw in list_draws(shares, draws):
        corpus = with_few_labels(plan.corpus, Hiding(share, draw, by))
        seeds = draw_seeds(
            plan.options.sweep.seeds, draws, None if share == 1 else draw
        )
        options = with_sweep(plan.options, seeds=seeds)
        run = run_folder(folder, share, draw)
        say(f"{share:.4g} of the labels, draw {draw}: {run}")
        runs.train(run, plan._replace(corpus=corpus, options=options), mesh, resume)
        if test and "test" not in runs.read_result(run).partitions:
            runs.open_test(run, corpus, mesh=mesh)


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
    """Scores teachers on the train recordings whose labels were hidden.

    Only this function looks at hidden labels, after all is trained and chosen.

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
        if UNLABELLED not in study.folds[name].partition:
            continue
        here = FoldWork(Work(run, study), name)
        truth = _all_labels(known[name], study.protocol.targets)
        partition = here.partition(UNLABELLED)
        opened = partition._replace(labels=truth[partition.rows])
        task: Task = here.task
        for system in find_systems(TEACHERS):
            place = fit_folder(run, name, system.key)
            if not place.exists():
                continue
            found = load_fitted(place, identity=read_identity(run, name))
            predictions = make_predictions(task, study.protocol, system, partition)
            for i, params in found.params.items():
                candidate = found.candidates[i]
                if found.chosen[i]:
                    own = candidate.main.split(JOIN)
                    values = predictions.of(candidate, params, own)
                    score = score_values(task, candidate, values, opened)
                    cell = {"main": candidate.main, "target": candidate.target}
                    rows.append({"system": system.key, **cell, "score": score})
    return rows


def _all_labels(corpus: Corpus, targets: Sequence[str]) -> np.ndarray:
    """Labels of the study's targets, whatever their partition: (R, K)."""
    return corpus.labels[:, [corpus.targets.index(target) for target in targets]]
