"""A corpus of utterances and one of frames, small enough to check by hand."""

import numpy as np

from ifusion.corpora.corpus import Corpus, Modality

RNG = np.random.default_rng(0)


def make_corpus(**changes):
    """Four utterances of three speakers."""
    fields = {
        "name": "four",
        "recording": np.array(["a", "b", "c", "d"]),
        "partition": np.array(["train", "train", "dev", "test"]),
        "speaker": np.array(["1", "1", "2", "3"]),
        "modalities": {
            "audio": Modality(("f0", "f1"), RNG.normal(size=(4, 2))),
            "video": Modality(("g0",), RNG.normal(size=(4, 1))),
        },
        "targets": ("emotion",),
        "labels": np.array([[0], [1], [0], [-1]]),
        "classes": ("no", "yes"),
        "raters": {"emotion": np.array([[0, 1], [1, np.nan], [0, 0], [1, 1]])},
    }
    return Corpus(**{**fields, **changes})


def make_frames(**changes):
    """Three recordings of 2, 3 and 1 frames of 40 ms."""
    fields = {
        "name": "frames",
        "recording": ["a", "b", "c"],
        "partition": ["train", "dev", "test"],
        "speaker": ["1", "2", "3"],
        "modalities": {"audio": Modality(("f0",), np.arange(6.0)[:, None])},
        "targets": ("arousal", "valence"),
        "labels": np.arange(12.0).reshape(6, 2),
        "frame_step": 0.04,
        "offsets": [0, 2, 5, 6],
    }
    return Corpus(**{**fields, **changes})
