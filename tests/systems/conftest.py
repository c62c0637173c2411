"""Small studies that systems are fitted on.

Axes: as in `tests/conftest.py`; K targets, D steps of labels beyond T.
"""

from dataclasses import replace

import numpy as np
import pytest

from ifusion.losses import cross_entropy, squared_error
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.neural import plain_trainer
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import Fold, Protocol, Setting
from ifusion.training.dev_score import make_dev_score, pooled_concordance
from ifusion.training.options import TrainingOptions

CLASSES = 3
AHEAD = 2


def accuracy(confusion):
    return confusion.trace() / confusion.sum()


@pytest.fixture(scope="session")
def fit_and_predict():
    """(system, protocol, fold) -> (Fitted, its outputs (L, N, T, O) on dev)."""

    def run(system, protocol, fold):
        fitted = system.make_fit(protocol)(fold, plain_trainer)
        mains = {c.main for c in fitted.candidates}
        predict = {main: system.make_predict(protocol, main) for main in mains}
        outputs = [
            predict[c.main](params, fold.dev.features, fold.dev.mask)
            for c, params in zip(fitted.candidates, fitted.params, strict=True)
        ]
        return fitted, np.stack(outputs)

    return run


@pytest.fixture(scope="session")
def utterances(mesh, num_features, make_data):
    """A classification of utterances: (protocol, fold)."""
    train, dev = make_data(20), make_data(12, seed=1)
    rng = np.random.default_rng(5)
    disagreement = rng.random(train.labels.shape).astype(np.float32)
    train = train._replace(extras={"uncertainty": disagreement})
    protocol = Protocol(
        num_features=num_features,
        mains=("audio", "video"),
        targets=("emotion",),
        num_classes=CLASSES,
        frame_step=None,
        seeds=(0, 1),
        alphas=(0.0, 0.5),
        architecture=Architecture(hidden_size=4, recurrent=False),
        training=TrainingOptions(epochs=5, patience=3, batch_size=4),
        systems=SystemOptions(
            lambdas=(0.1, 1.0), crossed_alphas=(0.0, 0.5), cnn_units=8
        ),
        loss=cross_entropy,
        dev_score=make_dev_score(accuracy, CLASSES),
        capacity={"train": (20, 1), "dev": (12, 1)},
        mesh=mesh,
    )
    settings = {
        ("audio", "emotion", 0.0): Setting(0.01),
        ("video", "emotion", 0.0): Setting(),
    }
    fold = Fold(train, dev, 20, train, np.arange(20) % 4, settings)
    return protocol, fold


@pytest.fixture(scope="session")
def recordings(utterances, num_features):
    """A regression of two targets over time: (protocol, fold).

    Six windows of eight steps, one of them empty, cut from three recordings; labels of
    the first two overlap, as those of the next two, by what lies ahead. Arousal of
    audio lags behind by one step, valence by two.
    """
    rng = np.random.default_rng(2)

    def draw(num, steps, lengths):
        mask = (np.arange(steps) < np.array(lengths)[:, None]).astype(np.float32)
        labels = rng.standard_normal((num, steps + AHEAD, 2)).astype(np.float32)
        labelled = np.pad(mask, ((0, 0), (AHEAD, 0)), constant_values=1)
        labelled = labelled * mask.any(1, keepdims=True)
        features = {
            m: (rng.standard_normal((num, steps, f)) + labels[:, :steps, :1])
            * mask[..., None]
            for m, f in num_features.items()
        }
        features = {m: x.astype(np.float32) for m, x in features.items()}
        uncertainty = rng.random(labels.shape).astype(np.float32)
        return Batch(features, mask, labels, labelled, {"uncertainty": uncertainty})

    whole = draw(3, 16, [16, 16, 5])
    origins = np.array([[0, 0], [0, 8], [1, 0], [1, 8], [2, 0]])

    def cut(x, length):
        windows = [x[s, start : start + length] for s, start in origins]
        return np.stack([*windows, np.zeros_like(windows[0])])

    train = Batch(
        {m: cut(x, 8) for m, x in whole.features.items()},
        cut(whole.mask, 8),
        cut(whole.labels, 8 + AHEAD),
        cut(whole.labelled, 8 + AHEAD),
        {name: cut(x, 8 + AHEAD) for name, x in whole.extras.items()},
    )
    protocol = replace(
        utterances[0],
        targets=("arousal", "valence"),
        num_classes=0,
        frame_step=0.04,
        architecture=Architecture(hidden_size=4),
        loss=squared_error,
        dev_score=pooled_concordance,
        capacity={"train": (6, 1, 8), "dev": (2, 12)},
    )
    settings = {
        ("audio", "arousal", 0.0): Setting(0.01, 1),
        ("audio", "valence", 0.0): Setting(0.0, 2),
        ("video", "arousal", 0.0): Setting(0.0, 1),
        ("video", "valence", 0.0): Setting(0.0, 2),
    }
    fold = Fold(
        train=train,
        dev=draw(2, 12, [12, 7]),
        num_sequences=5,
        whole=whole,
        speakers=np.array([0, 1, 2]),
        settings=settings,
        origins=origins,
    )
    return protocol, fold
