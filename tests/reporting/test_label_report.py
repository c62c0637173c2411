import pandas as pd

from ifusion.evaluation.label_curve import LabelCurve
from ifusion.reporting.label_report import describe_gains


def test_gains_count_where_both_intervals_are_above_0():
    rows = [
        ("audio", 0.1, "baseline", 0.01),
        ("audio", 0.1, "self_training", 0.02),
        ("audio", 0.2, "baseline", 0.01),
        ("audio", 0.2, "self_training", -0.01),
        ("audio", 0.5, "baseline", 0.01),
        ("video", 0.1, "baseline", -0.01),
        ("video", 0.1, "self_training", 0.02),
    ]
    frame = pd.DataFrame(rows, columns=["main", "share", "reference", "low"])
    frame = frame.assign(system="pseudo_labels", target="emotion")
    other = frame.assign(system="matching", low=1.0)
    both = pd.concat([frame, other])
    curve = LabelCurve("micro_f1", "test", "mine", (), pd.DataFrame(), both)
    assert describe_gains(curve) == [
        ("from audio", "at 10 % of the labels"),
        ("from video", "at no share of the labels"),
    ]
