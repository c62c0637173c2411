from dataclasses import replace
from math import comb

import numpy as np
import pytest

from ifusion.systems.implicit_fusion import BASELINE
from ifusion.systems.late_fusion import LATE_FUSION, WEIGHTED_LATE_FUSION, fuse, simplex
from ifusion.systems.system import Setting

pytestmark = pytest.mark.usefixtures("unoptimised")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize(("num", "steps"), [(1, 3), (2, 10), (3, 4)])
def test_weights_are_all_that_sum_to_one(num, steps):
    grid = simplex(num, steps)
    assert len(set(grid)) == len(grid) == comb(steps + num - 1, num - 1)
    assert all(min(w) >= 0 and sum(w) == pytest.approx(1) for w in grid)


def test_certain_votes_stay_finite():
    certain = np.array([[[1.0, 0.0]]])
    assert np.isfinite(fuse([certain], (1.0,), True)).all()


def test_votes_are_means_of_probabilities(utterances, fit_and_predict):
    protocol, fold = utterances
    baselines, outputs = fit_and_predict(BASELINE, protocol, fold)
    shares = {
        (c.main, c.seed): softmax(p)
        for c, p in zip(baselines.candidates, outputs, strict=True)
    }
    fused, votes = fit_and_predict(LATE_FUSION, protocol, fold)
    assert [(c.main, c.seed) for c in fused.candidates] == [
        ("audio+video", 0),
        ("audio+video", 1),
    ]
    sizes = {c.main: c.parameters for c in baselines.candidates}
    assert fused.candidates[0].parameters == sum(sizes.values())
    for vote, seed in zip(np.exp(votes), (0, 1), strict=True):
        expected = (shares["audio", seed] + shares["video", seed]) / 2
        np.testing.assert_allclose(vote, expected, atol=1e-6)


def test_weighted_votes_of_values_are_shifted_by_their_own_delay(
    recordings, fit_and_predict
):
    """Voters of delays 1 and 2; weights in steps of a half."""
    protocol, fold = recordings
    settings = {**fold.settings, ("video", "arousal", 0.0): Setting(0.0, 2)}
    fold = replace(fold, settings=settings)
    options = replace(protocol.systems, voting_steps=2)
    protocol = replace(protocol, seeds=(0,), systems=options)
    baselines, outputs = fit_and_predict(BASELINE, protocol, fold)
    values = {
        (c.main, c.target): p
        for c, p in zip(baselines.candidates, outputs, strict=True)
    }
    audio, video = values["audio", "arousal"], values["video", "arousal"]
    audio = audio[:, [0, *range(11)]]
    video = video[:, [0, 0, *range(10)]]
    fused, outputs = fit_and_predict(WEIGHTED_LATE_FUSION, protocol, fold)
    mine = [i for i, c in enumerate(fused.candidates) if c.target == "arousal"]
    assert [dict(fused.candidates[i].setting) for i in mine] == [
        {"weight_audio": a, "weight_video": 1 - a} for a in (0.0, 0.5, 1.0)
    ]
    assert all(c.delay == 0 for c in fused.candidates)
    for output, weight in zip(outputs[mine], (0.0, 0.5, 1.0), strict=True):
        expected = weight * audio + (1 - weight) * video
        np.testing.assert_allclose(output, expected, atol=1e-6)
    predict = WEIGHTED_LATE_FUSION.make_predict(protocol, "audio+video")
    given = {"audio": fold.dev.features["audio"]}
    lonely = predict(fused.params[mine[-1]], given, fold.dev.mask)
    np.testing.assert_allclose(lonely, audio, atol=1e-6)
