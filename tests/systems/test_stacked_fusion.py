from dataclasses import replace

import numpy as np
import pytest

from ifusion.preprocessing.sequences import Batch
from ifusion.systems.implicit_fusion import BASELINE
from ifusion.systems.options import SystemOptions
from ifusion.systems.stacked_fusion import (
    STACKED_FUSION,
    apply_ridge,
    fit_ridge,
    in_context,
)
from ifusion.systems.system import UnsuitedError

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


def test_the_ridge_is_the_closed_form(study, fit_and_predict):
    """Audio lags by one step, so its decisions are put back by one."""
    protocol, fold = study
    baselines, outputs = fit_and_predict(BASELINE, protocol, fold)
    mask = np.asarray(fold.dev.mask)
    decided = []
    for c, values in zip(baselines.candidates, outputs, strict=True):
        if c.target == "arousal":
            late = np.maximum(np.arange(12) - c.delay, 0)
            decided.append(values[:, late])
    known = (mask > 0) & (fold.dev.labelled[:, :12] > 0)
    x = in_context(decided, mask, 3).astype(np.float64)
    y = fold.dev.labels[:, :12, 0][known].astype(np.float64)
    centred = x[known] - x[known].mean(0)
    gram = centred.T @ centred + 2.0 * np.eye(6)
    weights = np.linalg.solve(gram, centred.T @ (y - y.mean()))
    expected = y.mean() + (x - x[known].mean(0)) @ weights
    fitted, fused = fit_and_predict(STACKED_FUSION, protocol, fold)
    assert [(c.main, c.target) for c in fitted.candidates] == [
        ("audio+video", "arousal"),
        ("audio+video", "valence"),
    ]
    found = fused[0, ..., 0]
    np.testing.assert_allclose(found[mask > 0], expected[mask > 0], atol=1e-4)


@pytest.mark.parametrize(("contexts", "right"), [((1, 3, 5), True), ((1, 3), False)])
def test_the_context_that_predicts_unseen_recordings_is_chosen(contexts, right):
    """One decision comes two frames early: five frames see it, three do not."""
    rng = np.random.default_rng(4)
    ahead = rng.standard_normal((6, 62)).astype(np.float32)
    noise = rng.standard_normal((6, 60, 1)).astype(np.float32)
    decisions, labels = [ahead[:, 2:, None], noise], ahead[:, :60, None]
    mask = np.ones((6, 60), np.float32)
    dev = Batch({}, mask, labels, mask)
    options = SystemOptions(stacking_contexts=contexts, stacking_penalties=(1.0, 1e6))
    params = fit_ridge(decisions, dev, 0, "audio+video", options)
    found = apply_ridge(params, decisions, mask)
    assert (np.abs(found - labels)[:, 2:].mean() < 0.05) == right


def test_dev_without_labels_is_refused(study, fit_and_predict):
    protocol, fold = study
    dev = fold.dev._replace(labelled=np.zeros_like(fold.dev.labelled))
    with pytest.raises(UnsuitedError, match="dev, which has no labels"):
        fit_and_predict(STACKED_FUSION, protocol, replace(fold, dev=dev))
