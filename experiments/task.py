"""What classification and regression do differently, behind one value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ifusion.core import TaskLoss
from ifusion.corpora.corpus import Corpus
from ifusion.evaluation.scores import BASELINE, IMPLICIT_FUSION
from ifusion.training.checkpoint import Checkpoint
from ifusion.training.dev_score import DevScore


class Task(NamedTuple):
    """A task: how lanes are trained and scored, and what becomes of their predictions.

    Attributes:
      num_outputs: O of the network.
      loss: of a minibatch.
      dev_score: that a lane is kept by, computed inside the program.
      predict: (checkpoint, corpus, fold, partition) -> predictions of all lanes, each
        from its main modality alone.
      freeze: (run directory, checkpoint, predictions on dev, corpus) -> the checkpoint
        with what is learnt from them, to be applied to every partition.
      record: (run directory, checkpoint, predictions) -> None; scores them and adds the
        rows of their fold and partition to the run.
    """

    num_outputs: int
    loss: TaskLoss
    dev_score: DevScore
    predict: Callable[[Checkpoint, Corpus, str, str], Any]
    freeze: Callable[[Path, Checkpoint, Any, Corpus], Checkpoint]
    record: Callable[[Path, Checkpoint, Any], None]


def lane_rows(checkpoint: Checkpoint, main: str, **columns: str) -> pd.DataFrame:
    """Lists the lanes of a main modality: `columns`, main, target, alpha, seed."""
    lanes = [lane for lane in checkpoint.lanes if lane.main == main]
    return pd.DataFrame(
        {**columns, "main": main}
        | {"target": [lane.target for lane in lanes]}
        | {"alpha": [lane.alpha for lane in lanes]}
        | {"seed": [lane.seed for lane in lanes]}
    )


def finish_scores(scores: pd.DataFrame, checkpoint: Checkpoint) -> pd.DataFrame:
    """Names the systems, and makes every score of a lane that failed NaN."""
    failed = {
        (lane.main, lane.target, lane.alpha, lane.seed)
        for lane, outcome in zip(checkpoint.lanes, checkpoint.outcomes, strict=True)
        if outcome.failed_step >= 0
    }
    columns = (scores[name] for name in ("main", "target", "alpha", "seed"))
    lost = np.array([lane in failed for lane in zip(*columns, strict=True)])
    return scores.assign(
        value=scores["value"].mask(lost),
        system=np.where(scores["alpha"] == 0, BASELINE, IMPLICIT_FUSION),
    )
