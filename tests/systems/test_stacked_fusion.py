from dataclasses import replace

import numpy as np
import pytest

from ifusion.systems import implicit_fusion
from ifusion.systems.classical import Predictor, collect_predictors
from ifusion.systems.stacked_fusion import STACKED_FUSION, in_context
from ifusion.systems.system import Candidate, UnsuitedError

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture
def study(recordings):
    """The study with one seed and a ridge of three frames."""
    protocol, fold = recordings
    options = replace(
        protocol.systems, stacking_contexts=(3,), stacking_penalties=(2.0,)
    )
    return replace(protocol, seeds=(0,), systems=options), fold


def test_frames_around_are_held_at_the_ends():
    values = np.arange(8.0).reshape(2, 4, 1)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = in_context([values, -values], mask, 3)
    assert found.shape == (2, 4, 6)
    assert found[0, 0].tolist() == [0, 0, 1, 0, 0, -1]
    assert found[0, 3].tolist() == [2, 3, 3, -2, -3, -3]
    assert found[1, 1].tolist() == [4, 5, 5, -4, -5, -5]
    np.testing.assert_array_equal(in_context([values], mask, 1)[0], values[0])


def test_the_ridge_is_the_closed_form(study, watch):
    """Audio lags by one step, so its decisions are put back by one."""
    protocol, fold = study
    baselines = implicit_fusion.BASELINE.make(protocol)(fold, watch)
    features, mask = fold.dev.features, np.asarray(fold.dev.mask)
    decided = []
    for c, values in zip(
        baselines.candidates, baselines.predict(features, mask, range(4)), strict=True
    ):
        if c.target == "arousal":
            late = np.maximum(np.arange(12) - fold.settings[c.main, "arousal"].delay, 0)
            decided.append(np.asarray(values)[:, late])
    known = (mask > 0) & (fold.dev.labelled[:, :12] > 0)
    x = in_context(decided, mask, 3).astype(np.float64)
    y = fold.dev.labels[:, :12, 0][known].astype(np.float64)
    centred = x[known] - x[known].mean(0)
    gram = centred.T @ centred + 2.0 * np.eye(6)
    weights = np.linalg.solve(gram, centred.T @ (y - y.mean()))
    expected = y.mean() + (x - x[known].mean(0)) @ weights
    fitted = STACKED_FUSION.make(protocol)(fold, watch)
    assert [(c.main, c.target) for c in fitted.candidates] == [
        ("audio+video", "arousal"),
        ("audio+video", "valence"),
    ]
    found = fitted.predict(features, mask, [0])[0, ..., 0]
    np.testing.assert_allclose(found[mask > 0], expected[mask > 0], atol=1e-4)


def test_the_context_that_predicts_unseen_recordings_is_taken(
    study, watch, monkeypatch
):
    """What audio decides comes two frames early: five frames see it, three do not."""
    protocol, fold = study
    rng = np.random.default_rng(4)
    ahead = rng.standard_normal((6, 62)).astype(np.float32)
    features = {
        "audio": ahead[:, 2:, None],
        "video": rng.standard_normal((6, 60, 1)).astype(np.float32),
    }
    labels = np.stack([ahead[:, :60]] * 2, axis=-1)
    mask = np.ones((6, 60), np.float32)
    dev = fold.dev._replace(features=features, mask=mask, labels=labels, labelled=mask)
    fold = replace(fold, dev=dev)

    def make(protocol):
        predictors = [
            Predictor(Candidate(m, t, 0), lambda features, mask: features)
            for m in protocol.mains
            for t in protocol.targets
        ]
        return lambda fold, watch: collect_predictors(predictors)

    known = implicit_fusion.BASELINE._replace(make=make)
    monkeypatch.setattr(implicit_fusion, "BASELINE", known)
    for contexts, right in (((1, 3, 5), True), ((1, 3), False)):
        options = replace(
            protocol.systems, stacking_contexts=contexts, stacking_penalties=(1.0, 1e6)
        )
        mine = replace(protocol, systems=options, num_features={"audio": 1, "video": 1})
        fitted = STACKED_FUSION.make(mine)(fold, watch)
        found = fitted.predict(features, mask, [1])[0, ..., 0]
        error = np.abs(found - labels[..., 1])[:, 2:].mean()
        assert (error < 0.05) == right


def test_dev_without_labels_is_refused(study, watch):
    protocol, fold = study
    dev = fold.dev._replace(labelled=np.zeros_like(fold.dev.labelled))
    with pytest.raises(UnsuitedError, match="dev has no label"):
        STACKED_FUSION.make(protocol)(replace(fold, dev=dev), watch)
