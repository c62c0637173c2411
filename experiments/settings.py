"""The lanes of a study, and their settings: penalty and annotation delay, by dev.

Either the settings are chosen for the baseline, alpha = 0, and kept along the grid, so
that lanes differ in alpha alone; or for each alpha on its own, so that implicit fusion
and the baseline are both as good as tuning makes them.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.selection import choose_settings
from ifusion.training.checkpoint import Outcome
from ifusion.training.lanes import Lane, make_grid

TUNED = ("baseline", "alpha")  # what settings are chosen for


class Share(NamedTuple):
    """One of the contiguous parts that the lanes of a run are trained in.

    Attributes:
      number: i, counted from 1.
      total: n.
    """

    number: int
    total: int


WHOLE = Share(1, 1)


class Trained(NamedTuple):
    """Lanes that have been trained.

    Attributes:
      lanes: L training runs.
      outcomes: how each ended.
      params: the best of each, L in front.
      history: {metric: (epochs, L)}, NaN after a lane has stopped.
    """

    lanes: tuple[Lane, ...]
    outcomes: tuple[Outcome, ...]
    params: Any
    history: dict[str, np.ndarray]


def list_lanes(
    config: ConfigDict, modalities: tuple[str, ...], corpus: Corpus
) -> tuple[tuple[Lane, ...], tuple[Lane, ...]]:
    """Lists the lanes of the sweep, and those that their settings are chosen by.

    Raises:
      ValueError: an entry makes no sense, or two do not go together.
    """
    section = config.sweep
    if 0 not in section.alphas:
        raise ValueError("sweep.alphas lacks 0.0, the baseline that is compared with")
    mains = tuple(section.mains) or modalities
    targets = tuple(section.targets) or corpus.targets
    seeds = tuple(section.tuning_seeds) or section.seeds
    delays = _delays(section.delays, corpus)
    settings = (tuple(section.l2), delays)
    if section.tune not in TUNED:
        raise ValueError(
            f"sweep.tune is {section.tune!r}; expected one of {', '.join(TUNED)}"
        )
    shifted = config.training.delay_scoring == "shifted"
    if section.tune == "alpha" and shifted and len(delays) > 1:
        raise ValueError(
            "training.delay_scoring 'shifted' scores lanes of different delays on "
            "different labels, so that an alpha with a delay of its own cannot be "
            "compared with the baseline; use 'original', sweep.tune 'baseline' or one "
            "value in sweep.delays"
        )
    alphas = (0.0,) if section.tune == "baseline" else section.alphas
    tuning = make_grid(mains, targets, alphas, seeds, *settings)
    first = (values[:1] for values in settings)
    lanes = make_grid(mains, targets, section.alphas, section.seeds, *first)
    return lanes, tuning if max(map(len, settings)) > 1 else ()


def _delays(seconds: Sequence[float], corpus: Corpus) -> tuple[int, ...]:
    """Turns annotation delays [s] into frames; of those on the same frame one stays."""
    if corpus.frame_step is None:
        if tuple(seconds) != (0.0,):
            raise ValueError(
                f"sweep.delays is {tuple(seconds)}; expected (0.0,), since "
                f"{corpus.name!r} has no frames that an annotation could lag behind"
            )
        return (0,)
    for value in seconds:
        if not (isinstance(value, int | float) and 0 <= value < float("inf")):
            raise ValueError(f"sweep.delays holds {value!r}; expected at least 0 [s]")
    frames = (round(value / corpus.frame_step) for value in seconds)
    return tuple(dict.fromkeys(frames))


def cut_lanes(
    share: Share, lanes: Sequence[Lane], tuning: Sequence[Lane]
) -> tuple[tuple[Lane, ...], tuple[Lane, ...]]:
    """Picks the lanes of a share, and those that the settings of these depend on.

    Args:
      share: which.
      lanes: of the sweep, in the order of the grid: main, target, l2, delay, seed and
        alpha, which changes fastest, so that a share needs the settings of few mains
        and targets.
      tuning: those that settings are chosen by.

    Raises:
      ValueError: there are fewer lanes than shares.
    """
    number, total = share
    if total > len(lanes):
        raise ValueError(
            f"--lanes={number}/{total}: there are only {len(lanes)} lanes in this sweep"
        )
    begin, end = ((i * len(lanes)) // total for i in (number - 1, number))
    mine = tuple(lanes[begin:end])
    needed = {_chosen_for(lane, tuning) for lane in mine}
    return mine, tuple(x for x in tuning if _chosen_for(x, tuning) in needed)


def _chosen_for(lane: Lane, tuning: Sequence[Lane]) -> tuple[str, str, float]:
    """Tells by the main, target and alpha of which lanes the settings are chosen."""
    for_all = all(x.alpha == 0 for x in tuning)
    return lane.main, lane.target, 0.0 if for_all else lane.alpha


def tune_lanes(
    lanes: Sequence[Lane],
    tuning: Sequence[Lane],
    scores: Sequence[float | None],
    fold: str,
) -> tuple[tuple[Lane, ...], pd.DataFrame]:
    """Gives lanes the settings that scored best on dev.

    Args:
      lanes: of the sweep.
      tuning: lanes trained under every setting, at alpha = 0 or at every alpha.
      scores: of those on dev, None or NaN where one failed.
      fold: name.

    Returns:
      The lanes under their settings; and what these were chosen by, a row a lane of
      `tuning`, with the columns of a lane, fold, dev_score and chosen.
    """
    frame = pd.DataFrame([asdict(lane) for lane in tuning])
    frame = frame.assign(fold=fold, dev_score=np.array(scores, np.float64))
    chosen = {
        (row["main"], row["target"], row["alpha"]): (row["l2"], int(row["delay"]))
        for row in choose_settings(frame).to_dict("records")
    }

    def setting(lane: Lane) -> tuple[float, int]:
        return chosen[_chosen_for(lane, tuning)]

    found = tuple(
        replace(lane, l2=l2, delay=delay)
        for lane in lanes
        for l2, delay in [setting(lane)]
    )
    picked = [setting(lane) == (lane.l2, lane.delay) for lane in tuning]
    return found, frame.assign(chosen=picked)


def collect_lanes(parts: Sequence[Trained], lanes: Sequence[Lane]) -> Trained:
    """Picks lanes out of those that have been trained, in the order given."""
    there = [lane for part in parts for lane in part.lanes]
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    index = np.array([there.index(lane) for lane in lanes])
    params = jax.tree.map(
        lambda *leaves: np.concatenate(leaves)[index], *(part.params for part in parts)
    )
    epochs = max(len(part.history["joint"]) for part in parts)

    def column(name: str) -> np.ndarray:
        columns = [part.history[name] for part in parts]
        room = [((0, epochs - len(x)), (0, 0)) for x in columns]
        padded = [
            np.pad(x, r, constant_values=np.nan)
            for x, r in zip(columns, room, strict=True)
        ]
        return np.concatenate(padded, axis=1)[:, index]

    history = {name: column(name) for name in parts[0].history}
    return Trained(
        tuple(lanes), tuple(outcomes[i] for i in index.tolist()), params, history
    )
