"""Where a gain comes from: implicit fusion against its controls, as tables."""

import pandas as pd

from ifusion.reporting.comparison import Comparison
from ifusion.reporting.wording import count, interval, notation, p_cell


def gains(comparison: Comparison) -> pd.DataFrame:
    """Lays out the gain of implicit fusion over each control on the last partition.

    Returns:
      The table as text, a row a control, main and target; without columns where there
      are no controls.
    """
    frame = comparison.controls
    if frame.empty:
        return frame
    last, style = comparison.partitions[-1], notation(comparison.metric)
    frame = frame[frame["partition"] == last]
    several = len(comparison.targets) > 1
    rows = []
    for entry in comparison.entries:
        for row in frame[frame["system"] == entry.key].to_dict("records"):
            rows.append(
                {
                    "control": entry.name,
                    "main": row["main"],
                    **({"target": row["target"]} if several else {}),
                    f"gain{style.difference_unit}": style.difference(row["estimate"]),
                    "95 % interval": interval(
                        row["low"], row["high"], style.difference
                    ),
                    "p": p_cell(row["p_value"]),
                    f"{comparison.cluster}s": count(row["clusters"]),
                    "seeds": count(row["seeds"]),
                    "a gain says": entry.control,
                }
            )
    return pd.DataFrame(rows)


def tidy_gains(comparison: Comparison) -> pd.DataFrame:
    """The gain of implicit fusion over each control, as numbers.

    Returns:
      The columns system, title, main, target, partition, processing, metric, gain, low,
      high, p_value, clusters, seeds, verdict; a row a control, main, target and
      partition.
    """
    titles = {entry.key: entry.name for entry in comparison.entries}
    frame = comparison.controls.rename(columns={"estimate": "gain"}).assign(
        title=comparison.controls["system"].map(titles),
        processing=comparison.processing,
        metric=comparison.metric,
    )
    frame = frame.iloc[
        frame["system"].map(list(titles).index).argsort(kind="stable").to_numpy()
    ]
    return frame[
        [
            *("system", "title", "main", "target", "partition", "processing", "metric"),
            *("gain", "low", "high", "p_value", "clusters", "seeds", "verdict"),
        ]
    ]
