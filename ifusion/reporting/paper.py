"""What the paper reports, in Tables 1 and 2."""

from collections.abc import Mapping
from typing import NamedTuple

from ifusion.evaluation.result import BASELINE_KEY, FUSION_KEY


class PaperScore(NamedTuple):
    """A score that the paper reports.

    Attributes:
      system: key.
      main: "audio" or "video".
      target: "" in Table 1.
      partition: "dev" or "test".
      value: F1, most likely micro-F1, or CCC; the paper does not say which.
    """

    system: str
    main: str
    target: str
    partition: str
    value: float


TITLES: Mapping[str, str] = {
    "svm": "SVM [23]",
    "cnn": "CNN [23]",
    "svr": "SVR [11]",
    "curriculum": "DNN + curriculum learning [29]",
    "mtl_re": "MTL (RE based) [30]",
    "mtl_pu": "MTL (PU based) [12]",
    "ddat_re": "DDAT (RE based) [22]",
    "ddat_pu": "DDAT (PU based) [22]",
    BASELINE_KEY: "RNN (baseline)",
    FUSION_KEY: "RNN (implicit fusion)",
}
TABLE1: Mapping[str, Mapping[str, float]] = {  # on dev of OMG-Emotion
    "svm": {"audio": 0.330},
    "cnn": {"video": 0.370},
    BASELINE_KEY: {"audio": 0.365, "video": 0.379},
    FUSION_KEY: {"audio": 0.402, "video": 0.421},
}
TABLE2: Mapping[str, tuple[float, ...]] = {  # on RECOLA; columns as below
    "svr": (0.796, 0.648, 0.379, 0.272, 0.455, 0.375, 0.612, 0.507),
    "curriculum": (0.687, 0.591, 0.394, 0.267, 0.159, 0.174, 0.300, 0.269),
    "mtl_re": (0.788, 0.629, 0.502, 0.324, 0.519, 0.331, 0.632, 0.488),
    "mtl_pu": (0.803, 0.654, 0.508, 0.327, 0.506, 0.416, 0.643, 0.452),
    "ddat_re": (0.807, 0.694, 0.544, 0.400, 0.508, 0.422, 0.639, 0.471),
    "ddat_pu": (0.811, 0.664, 0.513, 0.397, 0.498, 0.407, 0.632, 0.501),
    BASELINE_KEY: (0.766, 0.605, 0.499, 0.399, 0.504, 0.381, 0.619, 0.529),
    FUSION_KEY: (0.769, 0.611, 0.515, 0.413, 0.513, 0.395, 0.622, 0.527),
}
COLUMNS2 = tuple(
    (target, main, partition)
    for target in ("arousal", "valence")
    for main in ("audio", "video")
    for partition in ("dev", "test")
)
SCORES1 = tuple(
    PaperScore(system, main, "", "dev", value)
    for system, values in TABLE1.items()
    for main, value in values.items()
)
SCORES2 = tuple(
    PaperScore(system, main, target, partition, value)
    for system, values in TABLE2.items()
    for (target, main, partition), value in zip(COLUMNS2, values, strict=True)
)
