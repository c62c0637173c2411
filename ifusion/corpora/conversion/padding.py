"""Which steps of padded arrays are real.

Axes: N recordings, T steps as the file pads them, F features.
"""

from collections.abc import Sequence

import numpy as np

from ifusion.corpora.corpus import shorten


def remove_padding(
    modality: str,
    steps: Sequence[np.ndarray],
    lengths: np.ndarray | None,
    recording: Sequence[str],
) -> tuple[list[np.ndarray], list[str]]:
    """Cuts each recording to its real steps.

    With lengths, these are the first steps of a recording, or the last if those before
    them are zero. Without, rows of zeros at either end are padding, since MMSA pads at
    the end and the CMU MultimodalSDK at the beginning; zeros in between are steps.

    Args:
      modality: for the notes.
      steps: N arrays (T, F).
      lengths: (N,) int64, none beyond T; None = unknown.
      recording: N names, for the notes.

    Returns:
      N arrays (t, F), t = 0 where a recording has no step, and notes.
    """
    if lengths is None:
        said = (
            f"{modality}: no lengths are given; rows of zeros at either end are padding"
        )
        return [_between(values) for values in steps], [said]
    found, beyond = [], []
    for name, values, length in zip(recording, steps, lengths.tolist(), strict=True):
        gap = len(values) - length
        if not values[length:].any():
            found.append(values[:length])
        elif not values[:gap].any():
            found.append(values[gap:])
        else:
            beyond.append(name)
            found.append(values[:length])
    notes = []
    if beyond:
        notes.append(
            f"{modality}: {len(beyond)} of {len(found)} recordings have values beyond "
            f"their length, which are left out: {shorten(beyond)}"
        )
    return found, notes


def _between(values: np.ndarray) -> np.ndarray:
    """Cuts rows of zeros at either end: (T, F) -> (t, F)."""
    real = np.flatnonzero(values.any(1))  # NaN is not zero
    return values[real[0] : real[-1] + 1] if len(real) else values[:0]
