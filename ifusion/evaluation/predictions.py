"""The predictions of lanes as a tidy frame.

Axes: L lanes, R recordings, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def prediction_frame(
    probabilities: np.ndarray,
    lanes: pd.DataFrame,
    labels: np.ndarray,
    classes: Sequence[str],
    columns: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Lists what every lane predicts for every recording.

    Args:
      probabilities: (L, R, K), of the classes.
      lanes: L rows: fold, main, target, alpha, seed, partition.
      labels: (R,) class indices, -1 = unlabelled.
      classes: K class names in code order.
      columns: {name: (R,)}: recording, the cluster column, ...

    Returns:
      L x R rows: the columns of lanes, `columns`, label, prediction (class names, the
      label "" where there is none), and p_<class>, rounded to four digits.
    """
    frame = answer_frame(probabilities.argmax(-1), lanes, labels, classes, columns)
    for k, name in enumerate(classes):
        frame[f"p_{name}"] = probabilities[..., k].ravel().round(4)
    return frame


def answer_frame(
    guesses: np.ndarray,
    lanes: pd.DataFrame,
    labels: np.ndarray,
    classes: Sequence[str],
    columns: Mapping[str, np.ndarray],
) -> pd.DataFrame:
    """Lists the classes that every lane names.

    Args:
      guesses: (L, R) class indices.
      lanes: L rows of any columns.
      labels: (R,) class indices, -1 = unlabelled.
      classes: K class names in code order.
      columns: {name: (R,)}: recording, the cluster column, ...

    Returns:
      L x R rows: the columns of lanes, `columns`, label and prediction.
    """
    num_lanes, num_recordings = guesses.shape
    names = np.array([*classes, ""])
    frame = lanes.loc[lanes.index.repeat(num_recordings)].reset_index(drop=True)
    for name, column in {**columns, "label": names[labels]}.items():
        frame[name] = np.tile(column, num_lanes)
    frame["prediction"] = names[guesses.ravel()]
    return frame
