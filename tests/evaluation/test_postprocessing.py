import json

import numpy as np
import pytest

from ifusion.adjustments import (
    Adjustment,
    adjust,
    adjustments_from_json,
    adjustments_to_json,
    shift_series,
)
from ifusion.concordance import concordance
from ifusion.evaluation.postprocessing import (
    PostProcessingOptions,
    fit_postprocessing,
    kept_adjustments,
)

OFFSETS = np.array([0, 900, 1500])
STEP = 0.04


def smooth_labels():
    t = np.arange(1500) * STEP
    return 0.3 * np.sin(0.5 * t) + 0.2 * np.sin(1.3 * t + 1) + 0.1


def fit(predictions, labels, **options):
    def score(values):
        return float(concordance(values, labels))

    trials = fit_postprocessing(
        predictions,
        OFFSETS,
        score,
        (labels.mean(), labels.std()),
        STEP,
        PostProcessingOptions(**options),
    )
    return trials, score


@pytest.mark.parametrize("window", [1, 5, 21, 301])
def test_the_median_filter_equals_sorting_each_window(window):
    values = np.random.default_rng(0).standard_normal(1500)
    found = adjust(values, OFFSETS, [Adjustment("median", window)])
    reach = window // 2
    expected = []
    for part in np.split(values, OFFSETS[1:-1]):
        held = np.concatenate([[part[0]] * reach, part, [part[-1]] * reach])
        expected += [sorted(held[t : t + window])[reach] for t in range(len(part))]
    np.testing.assert_array_equal(found, expected)


def test_a_shift_stays_inside_its_recording_and_holds_the_edges():
    values = np.arange(1500.0)
    later = adjust(values, OFFSETS, [Adjustment("shift", 3)])
    assert later[:5].tolist() == [0, 0, 0, 0, 1]
    assert later[900:905].tolist() == [900, 900, 900, 900, 901]
    earlier = adjust(values, OFFSETS, [Adjustment("shift", -2)])
    assert earlier[896:902].tolist() == [898, 899, 899, 899, 902, 903]
    assert shift_series(values[:5], 9).tolist() == [0] * 5


def test_centring_and_scaling_use_the_constants_they_are_given():
    values = np.array([1.0, 2.0, 4.0])
    found = adjust(
        values, [0, 3], [Adjustment("centre", -1.0), Adjustment("scale", 2.0, 1.0)]
    )
    assert found.tolist() == [-1.0, 1.0, 5.0]
    found = adjust(values, [0, 3], [Adjustment("scale", 2.0)])
    assert found.tolist() == [2.0, 4.0, 8.0]


def test_what_was_done_to_the_predictions_is_undone():
    labels = smooth_labels()
    spoilt = adjust(labels, OFFSETS, [Adjustment("shift", 10)])
    spoilt = 0.5 * spoilt - 0.4
    spikes = np.arange(7, 1500, 50)
    spoilt[spikes] += 3.0
    trials, score = fit(spoilt, labels)
    median, centre, scale, shift = trials
    assert [t.adjustment.step for t in trials] == ["median", "centre", "scale", "shift"]
    assert all(t.kept for t in trials)
    assert median.adjustment.value in (5, 9)  # spikes go, the curve stays
    assert scale.adjustment.value == pytest.approx(2, rel=0.05)
    assert shift.adjustment.value == -10
    assert [t.before for t in trials[1:]] == [t.after for t in trials[:-1]]
    repaired = adjust(spoilt, OFFSETS, kept_adjustments(trials))
    assert score(repaired) == pytest.approx(trials[-1].after, abs=1e-12)
    assert score(spoilt) == median.before < 0.2 < 0.98 < score(repaired)
    assert centre.adjustment.value == pytest.approx(
        labels.mean() - adjust(spoilt, OFFSETS, [median.adjustment]).mean()
    )


def test_a_step_that_does_not_help_is_left_out():
    labels = smooth_labels()
    trials, score = fit(labels, labels)
    assert kept_adjustments(trials) == ()
    assert all(t.before == 1.0 and t.after <= 1 + 1e-12 for t in trials)
    assert score(adjust(labels, OFFSETS, ())) == 1.0


def test_greedy_steps_depend_on_those_before():
    labels = smooth_labels()
    spoilt = 2 * (labels - labels.mean()) + labels.mean() + 0.5
    (scale_first, *_), _ = fit(spoilt, labels, steps=("scale", "centre"))
    (_, scale_last), _ = fit(spoilt, labels, steps=("centre", "scale"))
    assert not scale_first.kept  # the smaller spread makes the gap weigh more
    assert scale_last.kept
    assert scale_last.after == pytest.approx(1)


def test_about_zero_is_the_baseline_of_avec_2018():
    labels = smooth_labels()
    rng = np.random.default_rng(1)
    predictions = 0.4 * labels + 0.02 * rng.standard_normal(1500) - 0.2
    trials, _ = fit(predictions, labels, steps=("centre", "scale"), about="zero")
    bias = labels.mean() - predictions.mean()
    expected = predictions + bias
    ratio = labels.std() / expected.std()
    assert trials[0].adjustment == Adjustment("centre", pytest.approx(bias))
    assert trials[1].adjustment == Adjustment("scale", pytest.approx(ratio), 0.0)
    assert trials[1].after == pytest.approx(concordance(expected * ratio, labels))


def test_a_constant_prediction_is_left_in_peace():
    labels = smooth_labels()
    trials, _ = fit(np.full(1500, 0.3), labels)
    assert kept_adjustments(trials) == ()
    assert all(np.isfinite(t.adjustment.value) for t in trials)


@pytest.mark.parametrize(
    ("options", "tried"),
    [
        ({"steps": ("median",), "median": (0.2, 1.0, 3.0, 3.4, 5.0)}, [3, 5]),
        ({"steps": ("shift",), "shift": (0.2, 0.9, 1.0, -1.1, 0.0)}, [1, -1]),
        ({"steps": ("median",), "median": (0.2, 0.4)}, [1]),
        ({"steps": ("shift",), "shift": (0.2, -0.2)}, [0]),
    ],
)
def test_long_frames_try_each_adjustment_once(options, tried):
    """With frames of 1 s; what a trial changes gives it away."""
    values = np.random.default_rng(0).standard_normal(40)
    seen = []
    (trial,) = fit_postprocessing(
        values,
        np.array([0, 40]),
        lambda x: seen.append(x) or 0.0,
        (0.0, 1.0),
        1.0,
        PostProcessingOptions(**options),
    )
    step = options["steps"][0]
    assert len(seen) == 1 + len(tried)  # the first is of the predictions as they are
    for found, value in zip(seen[1:], tried, strict=True):
        expected = adjust(values, np.array([0, 40]), [Adjustment(step, value)])
        np.testing.assert_array_equal(found, expected)
    assert trial.adjustment == Adjustment(step, tried[0])
    assert not trial.kept


def test_constants_survive_json():
    adjustments = (Adjustment("median", 5), Adjustment("scale", 1 / 3, 0.1))
    text = json.dumps(adjustments_to_json(adjustments))
    assert adjustments_from_json(json.loads(text)) == adjustments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": ("mean",)}, "postprocessing.steps holds 'mean'"),
        ({"gold": "test"}, "postprocessing.gold is 'test'"),
        ({"about": "median"}, "postprocessing.about is 'median'"),
        ({"median": ()}, "postprocessing.median is empty"),
        ({"median": (0.0,)}, "postprocessing.median holds 0.0"),
        ({"shift": (float("nan"),)}, "postprocessing.shift holds nan"),
        ({"shift": ("a",)}, "postprocessing.shift holds 'a'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PostProcessingOptions(**options)


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="step 'mean' is not one of"):
        adjust(np.zeros(3), [0, 3], [Adjustment("mean", 1.0)])
