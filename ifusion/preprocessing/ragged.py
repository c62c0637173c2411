"""Sequences of very different lengths without padding all to the longest.

Where a recording has one label, every modality keeps its own frames, and so its own
number of steps. They lie one recording after another; a minibatch is gathered from them
inside the program and padded to one of a few shapes, its bucket. Not in the paper.

A minibatch is drawn from recordings of similar length, see `minibatches.length_order`,
which knows nothing of the buckets: these change no result beyond the order of sums.

Axes: N recordings, r steps of all of them, B batch, T time, F features, K buckets.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ifusion.corpora.corpus import concatenated_ranges

Bucket = Mapping[str, int]  # {m: T}, steps that a modality is padded to
Buckets = Sequence[Bucket]  # from the shortest to the longest

NUM_BUCKETS = 4  # at most: each is one more program to compile
WORTH = 0.1  # of all steps, padded ones included, that a bucket must save
CANDIDATES = 64  # lengths that a bucket may end at
PART_ROWS = 64  # recordings that are predicted at once


class Ragged(NamedTuple):
    """The steps of one modality, recording after recording.

    Attributes:
      values: (r, F) float32, standardised.
      starts: (N,) int32, the first step of each recording.
      lengths: (N,) int32, its steps; 0 where there is no recording, or it lacks the
        modality.
    """

    values: Any
    starts: Any
    lengths: Any


class Lengths(NamedTuple):
    """How long recordings are, over all modalities.

    Attributes:
      relative: (N,) float32, of the longest, the largest of all modalities.
      bucket: (N,) int32, the first bucket that holds all modalities.
      groups: K of (n,) int32, the recordings of each bucket, -1 where none is left; ()
        where only minibatches are taken.
    """

    relative: Any
    bucket: Any
    groups: tuple[Any, ...]


# ---- inside the program --------------------------------------------------------------


def take_steps(ragged: Ragged, rows: Any, steps: int) -> tuple[Any, Any]:
    """Gathers recordings, padded: (B,) -> (B, T, F), and (B, T), 1 where a step exists.

    Args:
      ragged: of one modality.
      rows: (B,), -1 stands for none.
      steps: T, at least the longest of them.
    """
    each = jnp.arange(steps)
    exists = (each < ragged.lengths[rows][:, None]) & (rows >= 0)[:, None]
    places = jnp.where(exists, ragged.starts[rows][:, None] + each, 0)
    taken = ragged.values[places] * exists[..., None]
    return taken, exists.astype(jnp.float32)


# ---- on the host ---------------------------------------------------------------------


def to_ragged(values: np.ndarray, lengths: np.ndarray) -> Ragged:
    """Cuts (r, F) into recordings of the lengths (N,), one after another."""
    starts = np.cumsum(lengths) - lengths
    return Ragged(values, starts.astype(np.int32), lengths.astype(np.int32))


def thin(ragged: Ragged, most: int) -> Ragged:
    """Averages consecutive steps of each recording that has more than `most`.

    Not in the paper: as many together as it takes; 0 = no limit.
    """
    own = ragged.lengths
    if not most or (own <= most).all():
        return ragged
    return _average(ragged, thinned_lengths(own, most), -(-own // most))


def thinned_lengths(lengths: np.ndarray, most: int) -> np.ndarray:
    """Returns the lengths (N,) that `thin` leaves."""
    if not most:
        return lengths
    return -(-lengths // np.maximum(-(-lengths // most), 1))


def reorder(features: Any, order: np.ndarray) -> Any:
    """Gives recording i what recording order[i] has: `Ragged`, or an array (N, ...)."""
    if not isinstance(features, Ragged):
        return np.asarray(features)[order]
    starts, lengths = features.starts[order], features.lengths[order]
    return features._replace(starts=starts, lengths=lengths)


def join_recordings(parts: Sequence[Ragged], counts: Sequence[int]) -> Ragged:
    """Joins the first recordings of each part, with all padding at the end."""
    before = np.cumsum([0, *(len(x.values) for x in parts)])
    pairs = list(zip(parts, counts, strict=True))
    starts = [x.starts[:n] + b for (x, n), b in zip(pairs, before, strict=False)]
    joined = Ragged(
        np.concatenate([x.values for x in parts]),
        np.concatenate(starts).astype(np.int32),
        np.concatenate([x.lengths[:n] for x, n in pairs]),
    )
    room = sum(len(x.lengths) for x in parts)
    return pad_recordings(joined, room, len(joined.values))


def pad_recordings(ragged: Ragged, count: int, steps: int) -> Ragged:
    """Adds room for `count` recordings and `steps` steps, at least those there are."""
    more = (0, count - len(ragged.lengths))
    return Ragged(
        np.pad(ragged.values, ((0, steps - len(ragged.values)), (0, 0))),
        np.pad(ragged.starts, more),
        np.pad(ragged.lengths, more),
    )


def fill_missing(features: Mapping[str, Ragged]) -> dict[str, Ragged]:
    """Gives recordings that lack a modality zeros, the train mean, in its place.

    Not in the paper: as many steps as the shortest modality that the recording has.
    """
    lengths = np.stack([x.lengths for x in features.values()])
    if not ((lengths == 0) & lengths.any(axis=0)).any():
        return dict(features)
    shortest = np.where(lengths > 0, lengths, lengths.max(axis=0)).min(axis=0)

    def fill(x: Ragged) -> Ragged:
        empty, width = x.lengths == 0, x.values.shape[1]
        zeros = np.zeros((int(shortest[empty].max(initial=0)), width), np.float32)
        return Ragged(
            np.concatenate([x.values, zeros]),
            np.where(empty, len(x.values), x.starts).astype(np.int32),
            np.where(empty, shortest, x.lengths),
        )

    return {m: fill(x) for m, x in features.items()}


def to_common_steps(features: Mapping[str, Ragged]) -> dict[str, Ragged]:
    """Averages modalities down to the steps of the shortest, in each recording.

    Not in the paper: all modalities of a recording begin and end together. A recording
    is cut into as many equal parts as its shortest modality has steps, and the steps of
    another one that begin in a part are averaged. So 100 Hz beside 25 fps become 25 a
    second, and nothing is invented.
    """
    common = np.min([x.lengths for x in features.values()], axis=0)
    return {m: _average(x, common) for m, x in features.items()}


def _average(
    ragged: Ragged, lengths: np.ndarray, each: np.ndarray | None = None
) -> Ragged:
    """Averages the steps of each recording in as many parts as `lengths` says.

    Args:
      ragged: of one modality.
      lengths: (N,), parts of each recording, at most its steps.
      each: (N,), steps of a part, the last of which may have fewer; by default parts
        are as equal as can be.
    """
    own = ragged.lengths.astype(np.int64)
    place = concatenated_ranges(np.zeros_like(own), own)
    if each is None:
        parts = place * np.repeat(lengths, own) // np.repeat(own, own)
    else:
        parts = place // np.repeat(each, own)
    parts = parts + np.repeat(np.cumsum(lengths) - lengths, own)
    edges = np.flatnonzero(np.diff(parts, prepend=-1))
    values = ragged.values[concatenated_ranges(ragged.starts, own)]
    if len(edges) < len(values):
        sums = np.add.reduceat(values, edges, axis=0, dtype=np.float64)
        counts = np.diff(np.append(edges, len(values)))
        values = (sums / counts[:, None]).astype(np.float32)
    return to_ragged(values, lengths)


def common_buckets(buckets: Buckets, incomplete: bool = False) -> Buckets:
    """Returns the buckets of modalities brought to common steps.

    If recordings are `incomplete`, one may have the longest modality alone.
    """
    most = max if incomplete else min
    return tuple(dict.fromkeys(bucket, most(bucket.values())) for bucket in buckets)


def choose_buckets(lengths: Mapping[str, np.ndarray], multiple: int) -> Buckets:
    """Chooses the shapes that recordings are padded to, with the least padding.

    Args:
      lengths: {m: (N,)}, steps of each recording.
      multiple: shapes longer than this become multiples of it.

    Returns:
      At most `NUM_BUCKETS`; the last holds all recordings.
    """
    relative = relative_lengths(lengths)
    order = np.argsort(relative, kind="stable")
    count = len(order)
    ends = np.unique(np.linspace(0, count, min(CANDIDATES, count) + 1).astype(int)[1:])
    tops = np.sum(
        [np.maximum.accumulate(x[order])[ends - 1] for x in lengths.values()], axis=0
    )
    cost = (tops * ends).astype(float)  # of the first ends[j] recordings in one bucket
    last_bucket = np.where(ends > ends[:, None], tops * (ends - ends[:, None]), np.inf)
    back: list[np.ndarray] = []
    while len(back) + 1 < NUM_BUCKETS:  # ... in one bucket more
        more = cost[:, None] + last_bucket
        least = more.min(axis=0)
        if not least[-1] < (1 - WORTH) * cost[-1]:
            break
        back.append(more.argmin(axis=0))
        cost = least
    cuts = [len(ends) - 1]
    for before in reversed(back):
        cuts.append(int(before[cuts[-1]]))

    def padded(steps: int) -> int:
        return steps if steps <= multiple else steps + -steps % multiple

    return tuple(
        {m: padded(int(x[order[: ends[cut]]].max())) for m, x in lengths.items()}
        for cut in reversed(cuts)
    )


def relative_lengths(lengths: Mapping[str, np.ndarray]) -> np.ndarray:
    """Lengths of recordings relative to the longest, the largest of all modalities."""
    each = [x / max(x.max(initial=1), 1) for x in lengths.values()]
    return np.max(each, axis=0).astype(np.float32)


def find_buckets(lengths: Mapping[str, np.ndarray], buckets: Buckets) -> np.ndarray:
    """Finds the first bucket that holds all modalities of a recording: (N,) int32."""
    fits = [np.all([x <= b[m] for m, x in lengths.items()], axis=0) for b in buckets]
    return np.argmax(fits, axis=0).astype(np.int32)


def measure_lengths(
    features: Mapping[str, Ragged], buckets: Buckets, room: Sequence[int] = ()
) -> Lengths:
    """Puts recordings into buckets.

    Args:
      features: {m: N recordings}; of length 0 in all modalities = none.
      buckets: of `choose_buckets`.
      room: K, how many recordings of each bucket to make room for in `groups`; () =
        no groups.
    """
    lengths = {m: np.asarray(x.lengths) for m, x in features.items()}
    bucket = find_buckets(lengths, buckets)
    there = np.any([x > 0 for x in lengths.values()], axis=0)
    groups = []
    for k, size in enumerate(room):
        own = np.flatnonzero(there & (bucket == k)).astype(np.int32)
        groups.append(np.pad(own, (0, size - len(own)), constant_values=-1))
    return Lengths(relative_lengths(lengths), bucket, tuple(groups))


def padded_parts(
    features: Mapping[str, Ragged],
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
    """Yields a few recordings at a time, of similar length, for prediction.

    Args:
      features: {m: N recordings}, equally long in all modalities.

    Yields:
      Their numbers (n,); {m: (PART_ROWS, T, F)}; and (PART_ROWS, T), 1 where a step
      exists. T is a power of two, so that few programs are compiled.
    """
    lengths = np.asarray(next(iter(features.values())).lengths)
    order = np.argsort(lengths, kind="stable")
    for first in range(0, len(order), PART_ROWS):
        rows = order[first : first + PART_ROWS]
        steps = 1 << (int(lengths[rows].max()) - 1).bit_length()
        exists = np.arange(steps) < lengths[rows][:, None]
        exists = np.pad(exists, ((0, PART_ROWS - len(rows)), (0, 0)))
        padded = {}
        for m, x in features.items():
            padded[m] = np.zeros((*exists.shape, x.values.shape[1]), np.float32)
            places = concatenated_ranges(x.starts[rows], x.lengths[rows])
            padded[m][exists] = x.values[places]
        yield rows, padded, exists.astype(np.float32)
