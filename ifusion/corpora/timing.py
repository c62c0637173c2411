"""What the times of files imply: units, stamps, rates and drift.

Axes: M files, N recordings.
"""

from collections.abc import Sequence

import numpy as np

from ifusion.corpora.corpus import Corpus, shorten

LONG_STEP = 1.0  # [s]; a longer frame step is doubted
SLACK = 0.1  # [frame] by which rounded times may be off
MOST = 0.9  # share of recordings that makes a rule
FEW = 2  # [frame] by which ends of files may differ without a note
VARIED = 1.2  # ratio of longest to shortest at which drift and early end differ


def step_warnings(corpus: Corpus) -> list[str]:
    """Warns about a frame step that is probably not in seconds."""
    step = corpus.frame_step
    if step is None or step <= LONG_STEP:
        return []
    return [
        f"The frame step is {step:g} s; if times are in ms, write them and frame_step "
        f"({step / 1000:g}) in seconds, since delays and windows are."
    ]


def other_rate(usual: float, step: float) -> str:
    """Says what to do about times whose step is not the frame step [s]."""
    if abs(usual / step / 1000 - 1) < SLACK:
        return "; are times in ms? Write them in seconds"
    if step > LONG_STEP:
        for unit, seconds in (("ms", step / 1000), ("Hz", 1 / step)):
            if abs(usual / seconds - 1) < SLACK:
                return f"; is frame_step in {unit}? Write {seconds:g}, in seconds"
    if usual < step:
        return f"; average to a row every {step:g} s"
    frames = f" (if times number frames, multiply them by {step:g})"
    return f"; interpolate to a row every {step:g} s{frames if usual == 1 else ''}"


def nearest_frame(frames: np.ndarray | float) -> np.ndarray:
    """Rounds times [frame]; halves, as of window centres, always go down."""
    return np.ceil(np.asarray(frames) - 0.5 - 1e-3)


def cut_notes(cuts: Sequence[str], total: int) -> list[str]:
    """Notes how many of all recordings were cut; `cuts` names each, and to what."""
    if not cuts:
        return []
    return [
        f"{len(cuts)} of {total} recordings were cut to the frames that all files "
        f"have: {shorten(cuts, 3)}"
    ]


def usual_offset(starts: np.ndarray, step: float) -> float:
    """Returns by how much a file usually begins later than another [frame].

    `starts` (N,) are times of its first rows minus those of the other [s], NaN where
    one lacks a recording. It is their median, or 0 unless nearly all agree on it.
    """
    apart = starts[~np.isnan(starts)] / step
    usual = float(np.median(apart)) if len(apart) else 0.0
    alike = np.abs(apart - usual) < SLACK
    return usual if abs(usual) >= SLACK and alike.mean() >= MOST else 0.0


def stamp_notes(
    names: Sequence[str], starts: np.ndarray, recordings: Sequence[str], step: float
) -> list[str]:
    """Notes which of M files begins at other times than the first, by one offset.

    Times of first rows, `starts` (M, N), and the step are in seconds; a time is NaN
    where a file lacks a recording.
    """
    notes = []
    for name, mine in zip(names[1:], starts[1:], strict=True):
        usual = usual_offset(mine - starts[0], step)
        if not usual:
            continue
        known = np.flatnonzero(~np.isnan(mine - starts[0]))
        alike = np.abs((mine - starts[0])[known] / step - usual) < SLACK
        i = known[alike.argmax()]
        whole = int(nearest_frame(abs(usual)))
        row, first = (1, 1 + whole) if usual > 0 else (1 + whole, 1)
        notes.append(
            f"{name} begins {abs(usual * step):.3g} s ({abs(usual):.3g} of a frame "
            f"step) {'after' if usual > 0 else 'before'} {names[0]} in "
            f"{int(alike.sum())} of {len(known)} recordings (in {recordings[i]} at "
            f"{mine[i]:g} s, not {starts[0, i]:g} s), as if one had stamped the "
            f"start of windows and the other their centre or end. Row {row} of "
            f"{name} was matched with row {first} of {names[0]}; if that is wrong, "
            "change the times of one"
        )
    return notes


def drift_notes(
    names: Sequence[str], starts: np.ndarray, counts: np.ndarray, step: float
) -> list[str]:
    """Notes which file is shorter than the longest by a share, not at one end.

    If all recordings have the same length, the two cannot be told apart; the note says
    so. Arguments are as of `stamp_notes`; `counts` (M, N) of rows are NaN likewise.
    """
    longest = int(np.nansum(counts, axis=1).argmax())
    notes = []
    for k, name in enumerate(names):
        together = np.abs(starts[k] - starts[longest]) < (1 - SLACK) * step
        whole = counts[longest][together]
        fewer = whole - counts[k][together]
        if not len(fewer) or np.median(fewer) <= FEW:
            continue
        share = fewer.sum() / whole.sum()
        varied = whole.max() > VARIED * whole.min()
        by_share = np.abs(fewer - share * whole).max()
        at_end = np.abs(fewer - np.median(fewer)).max()
        if varied and by_share > at_end:
            continue  # an early end: as many frames in long recordings as in short ones
        kind = "a drift" if varied else "a drift or an early end"
        notes.append(
            f"{name} has {100 * share:.2g} % fewer rows than {names[longest]} from the "
            f"same start in {len(fewer)} recordings: {kind}. If it is a drift (a rate "
            f"of {(1 - share) / step:.6g} rows per second), rows are up to "
            f"{fewer.max() * step:.2g} s off at the end: resample {name} to a row "
            f"every {step:g} s"
        )
    return notes
