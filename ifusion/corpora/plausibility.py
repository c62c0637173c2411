"""Warns of values that are unlikely to be right, one sentence each; not in the paper.

Features are read once, a chunk of rows at a time. Statistics are those of train;
quartiles, and features that are labels, are found from `SAMPLE` of its rows. The labels
of test stay closed. The bounds let ordinary tails pass.

Axes: N recordings, R rows, r some of them, F features of a modality, P = 3 partitions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ifusion.corpora.corpus import (
    CHUNK_ROWS,
    PARTITIONS,
    Corpus,
    Modality,
    is_unlabelled,
    row_partition,
    shorten,
    unlabelled_rows,
    with_recordings,
)

SAMPLE = 8192  # rows of train that quartiles are estimated from
FEW = 512  # rows that show which columns to examine as a whole
ENOUGH = 20  # rows needed to trust statistics
KINDS = 3  # distinct values needed to trust a range
SPREAD = 10.0  # ratio of standard deviations that is too large
FAR = 100.0  # [robust standard deviation], or of train
IQR = 1.349  # of a normal distribution [standard deviation]
SAME = 1e-6  # a correlation this close to 1 is 1
TIGHT = 0.01  # width of a class, in gaps between classes, that makes it one value
USUAL = 3.0  # [range of all others] within which most rows may have one value
COARSE = 100.0  # steps of float32 that a standard deviation should span


@dataclass(frozen=True, eq=False)
class Statistics:
    """What one pass over a modality finds; NaN counts as not observed."""

    count: np.ndarray  # (P, F) values observed
    low: np.ndarray  # (P, F), inf where there are none
    high: np.ndarray  # (P, F), -inf where there are none
    mean: np.ndarray  # (F,) of train
    std: np.ndarray  # (F,) of train
    robust: np.ndarray  # (F,) standard deviation from the quartiles of train
    moved: np.ndarray  # (P, F) root mean square distance from the mean of train
    blank: np.ndarray  # (R,) bool, rows without any value
    zero: np.ndarray  # (R,) bool, rows of zeros


def implausible_features(corpus: Corpus) -> list[str]:
    """Lists what is wrong with features, one sentence per kind and modality."""
    sentences = []
    for name in corpus.modalities:
        own = corpus
        if name in corpus.frames and not corpus.frames[name].lengths.all():
            own = with_recordings(corpus, corpus.frames[name].lengths > 0)
        sentences += [f"{name}: {said}" for said in _judge(own, own.modalities[name])]
    return [*sentences, *_identical(corpus)]


def implausible_labels(corpus: Corpus, test: bool = False) -> list[str]:
    """Lists what is wrong with labels and ratings of train and dev, or of test."""
    partition = row_partition(corpus)
    rows = np.flatnonzero((partition == "test") == test)
    sentences = [*_constant_labels(corpus, "test" if test else "train")]
    if corpus.classes:
        return sentences
    columns = {t: corpus.labels[:, k : k + 1] for k, t in enumerate(corpus.targets)}
    columns |= {f"raters of {t}": ratings for t, ratings in corpus.raters.items()}
    for name, values in columns.items():
        for value, count, row, others in _isolated(values[rows]):
            sentences.append(
                f"{name}: {count} of {len(rows)} labels are {value:g}, far from all "
                f"others ({others[0]:g} to {others[1]:g}), the first "
                f"{_place(corpus, rows[row])}; do they mean that it is missing?"
            )
    for k, target in enumerate(corpus.targets):
        column = corpus.labels[:, k]
        train = column[partition == "train"]
        other = "test" if test else "dev"
        sentences += _other_unit(
            target, "train", train, other, column[partition == other]
        )
        if not test:
            sentences += _coarse(target, train)
            if target in corpus.raters:
                ratings = corpus.raters[target][partition == "train"]
                sentences += _other_unit(target, "labels", train, "ratings", ratings)
        sentences += _flat_recordings(corpus, target, column, test)
    return sentences


def _constant_labels(corpus: Corpus, partition: str) -> Iterator[str]:
    """Says which targets have one label throughout."""
    labels = corpus.labels[row_partition(corpus) == partition]
    means = {"train": "there is nothing to learn", "test": "scores mean little"}
    for target, column in zip(corpus.targets, labels.T, strict=True):
        known = np.unique(column[~is_unlabelled(column)])
        if len(column) > 1 and len(known) == 1:
            value = corpus.classes[int(known[0])] if corpus.classes else f"{known[0]:g}"
            yield f"All {partition} labels of {target} are {value}: {means[partition]}."


def _other_unit(
    target: str, usual: str, values: np.ndarray, other: str, others: np.ndarray
) -> Iterator[str]:
    """Says that a target may be in another unit in some place than in the usual one."""
    values, others = (x[~np.isnan(x)].astype(np.float64) for x in (values, others))
    if min(len(values), len(others)) < ENOUGH or not values.std():
        return
    moved = np.sqrt(np.square(others - values.mean()).mean())
    if not moved <= SPREAD * values.std() <= SPREAD**2 * others.std():
        yield (
            f"{target} is {values.mean():.3g} +- {values.std():.3g} in {usual} and "
            f"{others.mean():.3g} +- {others.std():.3g} in {other}: are both in one "
            "unit?"
        )


def _coarse(target: str, values: np.ndarray) -> Iterator[str]:
    """Says that a target hardly varies beside its size, as float32 holds it."""
    known = values[~np.isnan(values)].astype(np.float64)
    if len(known) >= ENOUGH and _hardly_varies(known.mean(), known.std()):
        yield (
            f"{target} is {known.mean():.9g} +- {known.std():.2g} in train, and "
            f"float32 has steps of {np.spacing(np.float32(known.mean())):.2g} there: "
            f"subtract {known.mean():.6g} from all labels."
        )


def _hardly_varies(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Returns where a standard deviation is few steps of float32, (...) bool."""
    step = np.spacing(np.abs(mean).astype(np.float32))
    return (std > 0) & (std < COARSE * step)


def _flat_recordings(
    corpus: Corpus, target: str, column: np.ndarray, test: bool
) -> Iterator[str]:
    """Says in which recordings, but not most, a label over time never changes."""
    starts, lengths = corpus.offsets[:-1], np.diff(corpus.offsets)
    long = ((corpus.partition == "test") == test) & (lengths >= ENOUGH)
    flat = np.fmax.reduceat(column, starts) == np.fmin.reduceat(column, starts)
    names = corpus.recording[flat & long].tolist()
    if 0 < len(names) <= long.sum() / 2:
        yield (
            f"{target} never changes in {len(names)} of {long.sum()} recordings: "
            f"{shorten(names)}. Were they rated?"
        )


def _measure(modality: Modality, partition: np.ndarray) -> Statistics:
    """Computes statistics in one pass over a modality."""
    values, shape = modality.values, (len(PARTITIONS), len(modality.names))
    centre, robust = robust_statistics(modality, np.flatnonzero(partition == "train"))
    count, sums, squares = (np.zeros(shape) for _ in range(3))
    low, high = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    blank, zero = np.zeros(len(values), bool), np.zeros(len(values), bool)
    for start in range(0, len(values), CHUNK_ROWS):
        here = slice(start, start + CHUNK_ROWS)
        chunk = values[here]
        missing = np.isnan(chunk)
        blank[here], zero[here] = missing.all(1), ~chunk.any(1)
        shifted = np.where(missing, 0, chunk - centre)
        for p, name in enumerate(PARTITIONS):
            inside = partition[here] == name
            if inside.any():
                part, own = chunk[inside], shifted[inside]
                count[p] += (~missing[inside]).sum(0)
                sums[p] += own.sum(0)
                squares[p] += np.einsum("rf,rf->f", own, own)
                low[p] = np.fmin(low[p], np.fmin.reduce(part))
                high[p] = np.fmax(high[p], np.fmax.reduce(part))
    with np.errstate(invalid="ignore", divide="ignore"):  # where nothing was seen
        offset = sums[0] / count[0]
        std = np.sqrt(np.maximum(squares[0] / count[0] - offset**2, 0))
        moved = squares / count - 2 * offset * sums / count + offset**2
        moved = np.sqrt(np.maximum(moved, 0))
    mean = centre + offset
    return Statistics(count, low, high, mean, std, robust, moved, blank, zero)


def robust_statistics(
    modality: Modality, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Estimates median and standard deviation from quartiles of rows (r,).

    Of many rows, `SAMPLE` are read.

    Returns:
      (F,), (F,) float64; the deviation is 0 where half of the rows agree.
    """
    sample = np.asarray(modality.values[_some(rows, SAMPLE)], np.float64)
    sample = np.where(np.isnan(sample).all(0), 0, sample)
    quantile = np.nanquantile if np.isnan(sample).any() else np.quantile
    first, median, third = quantile(sample, (0.25, 0.5, 0.75), axis=0)
    return median, (third - first) / IQR


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """Takes at most that many rows, spread evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def _judge(corpus: Corpus, modality: Modality) -> Iterator[str]:
    names, partition = np.array(modality.names), row_partition(corpus)
    found = _measure(modality, partition)
    count, train = found.count[0], np.flatnonzero(partition == "train")
    for what, where in {
        "are constant in train, and scaled to 0": found.low[0] == found.high[0],
        "have no value in train": count == 0,
        "lack values in train": (count > 0) & (count < len(train)),
        "hardly vary beside their size, as float32 holds them; subtract their mean": (
            _hardly_varies(found.mean, found.std)
        ),
        "count rows, so they may be none": _counters(corpus, modality),
    }.items():
        if where.any():
            yield (
                f"{where.sum()} of {len(names)} features {what}: "
                f"{shorten(names[where])}."
            )
    yield from _gaps(corpus, found)
    if len(train) < ENOUGH:
        return
    labelled = train[~unlabelled_rows(corpus)[train]]
    yield from _labels_among(corpus, modality, _some(labelled, SAMPLE))
    odd, listed = _list_isolated(corpus, modality, found)
    if listed:
        yield (
            f"In {odd.sum()} of {len(names)} features, values are far from all others: "
            f"{shorten(listed, 3)}."
        )
    wide = (found.robust > 0) & (found.std > SPREAD * found.robust) & ~odd
    if wide.any():
        ratio = found.std / np.where(wide, found.robust, np.inf)
        worst = int(np.argmax(ratio))
        row = _farthest(modality, worst, found.mean[worst])
        yield (
            f"In {wide.sum()} of {len(names)} features, a few rows outweigh all others "
            f"(the standard deviation is more than {SPREAD:g} times that of the middle "
            f"half of train): {shorten(names[wide])}; {names[worst]} is "
            f"{modality.values[row, worst]:g} at {_place(corpus, row)}."
        )
    yield from _strays(corpus, modality, found, odd | wide)


def _labels_among(
    corpus: Corpus, modality: Modality, rows: np.ndarray
) -> Iterator[str]:
    """Says which features are the label itself, or a one-to-one code of it."""
    names, values = np.array(modality.names), modality.values[rows]
    count = len(names)
    if corpus.classes:
        labels = corpus.labels[rows, 0]
        own = [values[labels == c] for c in np.unique(labels)]
        if len(own) < 2 or len(rows) < len(own) + ENOUGH:
            return
        low = np.array([x.min(0) for x in own], np.float64)
        high = np.array([x.max(0) for x in own], np.float64)
        gaps = np.sort(low, axis=0)[1:] - np.sort(high, axis=0)[:-1]
        coded = (gaps > 0).all(0) & ((high - low).max(0) <= TIGHT * gaps.min(0))
        if coded.any():
            yield (
                f"In {coded.sum()} of {count} features, each class of train has a "
                f"value of its own: {shorten(names[coded])}. Are they labels?"
            )
        return
    away = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    for k, target in enumerate(corpus.targets):
        label = corpus.labels[rows, k].astype(np.float64)
        label -= label.mean()
        scale = np.sqrt((away**2).sum(0) * (label**2).sum())
        same = (scale > 0) & (np.abs(away.T @ label) > (1 - SAME) * scale)
        if same.any():
            yield (
                f"In {same.sum()} of {count} features, train holds {target} itself, "
                f"except for scale: {shorten(names[same])}. Are they labels?"
            )


def _counters(corpus: Corpus, modality: Modality) -> np.ndarray:
    """Finds features that go up by the same step from row to row: (F,) bool."""

    def steady(rows: slice) -> np.ndarray:
        steps = np.diff(modality.values[rows], axis=0)
        if corpus.frame_step is not None:  # counted anew in each recording
            starts = corpus.offsets[1:-1] - 1
            steps = np.delete(steps, starts[starts < len(steps)], axis=0)
        if len(steps) < ENOUGH:
            return np.zeros(len(modality.names), bool)
        return np.asarray((steps == steps[0]).all(0) & (steps[0] != 0))

    found = steady(slice(FEW))
    return found & steady(slice(None)) if found.any() else found


def _list_isolated(
    corpus: Corpus, modality: Modality, found: Statistics
) -> tuple[np.ndarray, list[str]]:
    """Finds features with values far from all others: (F,) bool, and these values."""
    odd, listed = np.zeros(len(modality.names), bool), []
    for j in _suspects(modality, found):
        for value, times, row, (low, high) in _isolated(modality.values[:, j : j + 1]):
            distance = min(abs(value - low), abs(value - high))
            if times > 1 or distance > FAR * (found.robust[j] or high - low):
                odd[j] = True
                listed.append(
                    f"{modality.names[j]} is {value:g} in {times} of "
                    f"{len(found.zero)} rows, the first {_place(corpus, row)} (others "
                    f"{low:g} to {high:g})"
                )
    return odd, listed


def _gaps(corpus: Corpus, found: Statistics) -> Iterator[str]:
    """Says which rows are empty."""
    starts = corpus.offsets[:-1]
    lost = np.flatnonzero(np.logical_and.reduceat(found.blank, starts))
    if len(lost):
        yield (
            f"No value at all in {len(lost)} of {corpus.num_recordings} recordings: "
            f"{shorten(corpus.recording[lost])}."
        )
    if found.zero.any() and len(found.mean) >= KINDS:
        yield (
            f"{found.zero.sum()} of {len(found.zero)} rows are 0 throughout, the first "
            f"{_place(corpus, int(found.zero.argmax()))}; if nothing was measured "
            "there, leave them blank."
        )


def _suspects(modality: Modality, found: Statistics) -> Iterator[int]:
    """Picks features whose extremes may be isolated, judging by a few rows."""
    ends = np.stack([found.low.min(0), found.high.max(0)])
    sample = np.concatenate([_few_rows(modality), ends]).astype(np.float64)
    for j, column in enumerate(sample.T):
        distinct = np.unique(column[np.isfinite(column)])
        if len(distinct) > 2:
            inner = distinct[-2] - distinct[1]
            gaps = (distinct[-1] - distinct[-2], distinct[1] - distinct[0])
            if max(gaps) > inner:
                yield j


def _few_rows(modality: Modality) -> np.ndarray:
    return np.asarray(modality.values[_some(np.arange(len(modality.values)), FEW)])


def _isolated(
    values: np.ndarray,
) -> Iterator[tuple[float, int, int, tuple[float, float]]]:
    """Finds values that are farther from all others than these are from each other.

    It yields the value, how often it occurs, its first row, and the others' range.
    """
    kinds, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    kinds = kinds.astype(np.float64)
    begin, end = 0, len(kinds)
    while end - begin > KINDS:
        first, second, *_, last_but_one, last = kinds[begin:end][[0, 1, -2, -1]]
        if last - last_but_one > last_but_one - first:
            end -= 1
        elif second - first > last - second:
            begin += 1
        else:
            break
    rest = counts[begin:end].sum()
    if rest < ENOUGH:
        return
    low, high = kinds[[begin, end - 1]]
    rare = rest < counts.sum() / 2  # then it takes more to doubt what is usual
    for i in (*range(begin), *range(end, len(kinds))):
        away = max(low - kinds[i], kinds[i] - high)
        if rare and (kinds[i] == 0 or away <= USUAL * (high - low)):
            continue
        row = int((values == kinds[i].astype(values.dtype)).any(1).argmax())
        yield float(kinds[i]), int(counts[i]), row, (low, high)


def _strays(
    corpus: Corpus, modality: Modality, found: Statistics, known: np.ndarray
) -> Iterator[str]:
    """Says which features move in dev or test as they never do in train."""
    varies = (found.std > np.finfo(np.float32).eps * np.abs(found.mean)) & ~known
    std = np.where(varies, found.std, 1)
    for p, partition in enumerate(PARTITIONS[1:], 1):
        seen = varies & (found.count[p] > 0)
        reach = np.maximum(found.high[p] - found.mean, found.mean - found.low[p]) / std
        apart = seen & ((reach > FAR) | (found.moved[p] > SPREAD * std))
        if apart.any():
            worst = int(np.argmax(np.where(apart, reach, 0)))
            inside = row_partition(corpus) == partition
            row = _farthest(modality, worst, found.mean[worst], inside)
            names = np.array(modality.names)
            yield (
                f"In {apart.sum()} of {len(names)} features, {partition} is unlike "
                f"anything in train: {shorten(names[apart])}; {names[worst]} is "
                f"{modality.values[row, worst]:g} at {_place(corpus, row)}, "
                f"{reach[worst]:.0f} standard deviations away. Is train nearly "
                "constant, or in another unit?"
            )


def _farthest(
    modality: Modality, column: int, mean: float, inside: np.ndarray | bool = True
) -> int:
    """Finds the row that is farthest from the mean."""
    distance = np.abs(modality.values[:, column] - mean)
    return int(np.nanargmax(np.where(inside, distance, np.nan)))


def _identical(corpus: Corpus) -> Iterator[str]:
    """Says which columns hold the same values, within or across modalities."""
    first: dict[bytes, tuple[str, int]] = {}
    pairs = []
    for name, modality in corpus.modalities.items():
        for j, column in enumerate(_few_rows(modality).T):
            other, k = first.setdefault(column.tobytes(), (name, j))
            if (other, k) == (name, j):
                continue
            mine, theirs = modality.values[:, j], corpus.modalities[other].values[:, k]
            varies = np.nanmin(mine) < np.nanmax(mine)
            if varies and np.array_equal(mine, theirs, equal_nan=True):
                pairs.append(
                    f"{other} {corpus.modalities[other].names[k]} and {name} "
                    f"{modality.names[j]}"
                )
    if pairs:
        yield f"Equal features: {shorten(pairs)}."


def _place(corpus: Corpus, row: int) -> str:
    """Names a row by its recording, and its frame where it has frames."""
    i = int(np.searchsorted(corpus.offsets, row, side="right")) - 1
    frame = f", frame {row - corpus.offsets[i]}" if corpus.frame_step else ""
    return f"{corpus.recording[i]}{frame}"
