"""How close two modalities are in the shared space r_m = SP_m(f_m) of Eq. 1.

Not in the paper, which assumes that one modality's knowledge passes to another through
the shared layers. It can do so only where representations of a class are close.

Both measures compare a reference (such as the main modality) with a query (another
modality), and neither changes when the space is translated, rotated or scaled. Take the
two from different recordings: those of one recording may share more than the class.

Axes: N recordings (or steps), H hidden units, K classes.
"""

import numpy as np
from scipy.spatial.distance import cdist

from ifusion.evaluation.metrics import confusion_matrix, uar


def class_centroids(
    representations: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Averages the representations of each class.

    Args:
      representations: (N, H).
      labels: (N,) class indices in [0, K); others, such as -1, are left out.
      num_classes: K.

    Returns:
      (K, H) float64, NaN for a class without representations.

    Raises:
      ValueError: if there is not one label per representation.
    """
    if representations.ndim != 2 or labels.shape != representations.shape[:1]:
        raise ValueError(
            f"representations of shape {representations.shape} and labels of shape "
            f"{labels.shape}, expected (N, H) and (N,)."
        )
    centroids = np.full((num_classes, representations.shape[1]), np.nan)
    for k in np.intersect1d(labels, np.arange(num_classes)):
        centroids[k] = representations[labels == k].mean(0, dtype=np.float64)
    return centroids


def class_distance(reference: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Measures how far apart the two modalities of each class are.

    With centroids a_k of the reference and b_k of the query,

        d_k = |a_k - b_k| / mean_{j != k} (|a_k - b_j| + |a_j - b_k|) / 2

    It is 0 if the centroids of the class coincide. By chance it is 1: a class is no
    closer to itself in the other modality than to the other classes there.

    Args:
      reference: (K, H), from `class_centroids`.
      query: (K, H), from `class_centroids`.

    Returns:
      (K,) float64; NaN for a class that is missing in either, and where there is no
      other class, or no distance to any.
    """
    distances = cdist(reference, query)
    same = np.diagonal(distances)
    others = np.where(np.eye(len(distances), dtype=bool), np.nan, distances)
    pairs = np.ma.masked_invalid(np.concatenate([others, others.T], axis=1))
    scale = pairs.mean(1).filled(np.nan)
    return np.divide(same, scale, out=np.full_like(same, np.nan), where=scale > 0)


def cross_modal_accuracy(
    reference: np.ndarray, query: np.ndarray, labels: np.ndarray
) -> float:
    """Classifies one modality by the centroids of another.

    Each query gets the class of the nearest centroid (Euclidean) of the reference. The
    score is the unweighted average recall, so chance is 1 / K however frequent the
    classes are.

    Args:
      reference: (K, H), from `class_centroids`.
      query: (N, H), representations of another modality.
      labels: (N,) class indices in [0, K) of the queries.

    Returns:
      In [0, 1].
    """
    distances = np.nan_to_num(cdist(query, reference), nan=np.inf)
    guesses = distances.argmin(1)
    return float(uar(confusion_matrix(labels, guesses, len(reference))))
