"""A system on a fold: fitted, chosen on dev, and what it answers.

Axes: l candidates, N sequences, T time, O outputs.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from files import CANDIDATES, FIT, write_json
from judging import Adjustments, Judge, Sheet

from ifusion.evaluation.selection import choose_listed
from ifusion.reporting.comparison_run import read_facts
from ifusion.reporting.run import write_csv
from ifusion.systems.system import JOIN, Candidate, Fit, Fitted, Fold, Watch

GROUP = ["main", "target"]
BLOCK = 32  # candidates without seeds that predict at once


def score_candidates(judge: Judge, fitted: Fitted, sheet: Sheet) -> np.ndarray:
    """Scores every candidate on dev: (l,) float64, NaN where it failed."""
    scores = np.full(len(fitted.candidates), np.nan)
    groups = _alike(fitted.candidates)
    if max(map(len, groups)) == 1:  # systems that nothing is drawn for
        count = len(fitted.candidates)
        groups = [[*range(i, min(i + BLOCK, count))] for i in range(0, count, BLOCK)]
    for positions in groups:
        outputs = fitted.predict(sheet.features, sheet.mask, positions)
        for i, mine in zip(positions, outputs, strict=True):
            if not fitted.candidates[i].failed:
                scores[i] = judge.score(sheet, fitted.candidates[i], mine)
    return scores


def _alike(candidates: Sequence[Candidate]) -> list[list[int]]:
    """Groups the positions of candidates that differ in their seed alone.

    Few at a time, so that predictions fit the memory; and as many each time, so that
    one compiled program serves all.
    """
    groups: dict[Any, list[int]] = {}
    for i, candidate in enumerate(candidates):
        key = (candidate.main, candidate.target, describe_setting(candidate))
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def describe_setting(candidate: Candidate) -> str:
    """What tells a candidate from others of its main, target and seed, as text."""
    return ", ".join(f"{k} = {v:g}" for k, v in candidate.setting.items())


def list_candidates(
    candidates: Sequence[Candidate], scores: np.ndarray
) -> pd.DataFrame:
    """Lists candidates with their dev scores, and which of them are chosen.

    Returns:
      A row a candidate: main, target, seed, setting, delay, parameters, failed,
      dev_score, chosen.

    Raises:
      ValueError: two candidates cannot be told apart.
    """
    frame = pd.DataFrame(
        [
            {
                **{"main": c.main, "target": c.target, "seed": c.seed},
                **{"setting": describe_setting(c), "delay": c.delay},
                **{"parameters": c.parameters, "failed": c.failed},
            }
            for c in candidates
        ]
    ).assign(dev_score=scores)
    keys = [*GROUP, "setting"]
    if frame.duplicated([*keys, "seed"]).any():
        twice = frame[frame.duplicated([*keys, "seed"])].iloc[0]
        raise ValueError(
            f"two candidates of {twice['main']}, {twice['target']}, seed "
            f"{twice['seed']} have the setting {twice['setting']!r}"
        )
    best = choose_listed(frame, GROUP, ["setting"]).dropna(subset="dev_score")
    picked = pd.MultiIndex.from_frame(frame[keys]).isin(
        pd.MultiIndex.from_frame(best[keys])
    )
    return frame.assign(chosen=picked)


def answer(
    judge: Judge,
    fitted: Fitted,
    chosen: np.ndarray,
    sheets: Mapping[str, Sheet],
) -> pd.DataFrame:
    """Predicts with the chosen candidates, given what `list_given` says.

    What is learnt of predictions, it is learnt on dev with all modalities given.

    Args:
      judge: of the corpus.
      fitted: candidates.
      chosen: (l,) bool.
      sheets: dev first, and what else is predicted.

    Returns:
      Rows of the judge's table: fold, partition, main, target, seed, given, ...
    """
    parts: list[pd.DataFrame] = []
    for positions in _alike(fitted.candidates):
        mine = [i for i in positions if chosen[i]]
        if mine:
            parts.extend(_answer_alike(judge, fitted, mine, sheets))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def list_given(modalities: Sequence[str], main: str) -> list[str]:
    """Lists what a system is given in turn, joined where several.

    All modalities; those of its main; of these all but one, whichever is missing; and
    each alone. What lacks all of its main it cannot be asked with.
    """
    own = main.split(JOIN)
    without = [[m for m in own if m != missing] for missing in own]
    sets = [list(modalities), own, *filter(None, without), *([m] for m in own)]
    return list(dict.fromkeys(map(JOIN.join, sets)))


def _answer_alike(
    judge: Judge, fitted: Fitted, positions: list[int], sheets: Mapping[str, Sheet]
) -> Iterator[pd.DataFrame]:
    """Predicts with candidates that differ in their seed alone."""
    candidates = [fitted.candidates[i] for i in positions]
    main, modalities = candidates[0].main, list(sheets["dev"].features)
    adjustments: list[Adjustments] = []
    for given in list_given(modalities, main):
        present = given.split(JOIN)
        for sheet in sheets.values():
            features = {m: sheet.features[m] for m in present}
            outputs = fitted.predict(features, sheet.mask, positions)
            if not adjustments:
                pairs = zip(candidates, outputs, strict=True)
                adjustments = [judge.learn(sheet, *pair) for pair in pairs]
            columns = pd.DataFrame({"seed": [c.seed for c in candidates]}).assign(
                fold=sheet.fold,
                partition=sheet.partition,
                main=main,
                target=candidates[0].target,
                given=given,
            )
            yield judge.rows(sheet, candidates, outputs, adjustments, columns)


def run_system(
    fit: Fit,
    fold: Fold,
    sheets: Mapping[str, Sheet],
    judge: Judge,
    watch: Watch,
    folder: Path,
) -> pd.DataFrame:
    """Fits a system on a fold, chooses on dev, and writes what came out.

    Args:
      fit: of the system.
      fold: what it is fitted on.
      sheets: {"dev" and perhaps "test": what is predicted}.
      judge: of the corpus.
      watch: opens the progress lines of stages.
      folder: of the system and fold; made or written over. Its file `FIT` is written
        last and makes the fold finished.

    Returns:
      The candidates, see `list_candidates`.
    """
    begin = time.monotonic()
    fitted = fit(fold, watch)
    seconds = time.monotonic() - begin
    scores = score_candidates(judge, fitted, sheets["dev"])
    candidates = list_candidates(fitted.candidates, scores)
    rows = answer(judge, fitted, candidates["chosen"].to_numpy(), sheets)
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / CANDIDATES, candidates)
    write_csv(folder / judge.table, rows)
    write_json(folder / FIT, {"seconds": seconds, "partitions": list(sheets)})
    return candidates


def is_finished(folder: Path, partitions: Sequence[str]) -> bool:
    """Tells whether a system is done with a fold, and the partitions are predicted."""
    path = folder / FIT
    return path.is_file() and set(partitions) <= set(read_facts(path)["partitions"])


def describe_choice(
    candidates: pd.DataFrame, in_words: Callable[[float, float], str]
) -> str:
    """What dev chose, in a line: "audio 51.2 (alpha = 0.5), video 60.1"."""
    chosen = candidates[candidates["chosen"]]
    several = candidates["target"].nunique() > 1
    said = []
    for main, target in product(
        dict.fromkeys(candidates["main"]), dict.fromkeys(candidates["target"])
    ):
        mine = chosen[(chosen["main"] == main) & (chosen["target"] == target)]
        name = f"{main}, {target}" if several else main
        if mine.empty:
            said.append(f"{name} failed")
            continue
        setting = mine["setting"].iloc[0]
        mean = in_words(float(mine["dev_score"].mean()), float("nan"))
        said.append(f"{name} {mean}" + (f" ({setting})" if setting else ""))
    return "  ".join(said)
