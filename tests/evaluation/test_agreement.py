import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score

from ifusion.concordance import concordance
from ifusion.evaluation.agreement import make_measures, measure, recording_moments

OFFSETS = np.array([0, 700, 1000, 2400])


def series(offset=0.0):
    """Two lanes that predict three recordings of unlike length and level."""
    rng = np.random.default_rng(0)
    labels = np.cumsum(rng.standard_normal(2400)) / 40 + offset
    noise = rng.standard_normal((2, 2400)) * np.array([[0.2], [0.6]])
    predictions = 0.7 * labels + 0.3 * offset + noise + np.array([[0.1], [-0.3]])
    return predictions, labels


def scores_of(name, predictions, labels, convention="population"):
    moments = recording_moments(predictions, labels, OFFSETS)
    return measure(moments, make_measures(convention)[name])


def by_recording(values):
    return np.split(values, OFFSETS[1:-1], axis=-1)


@pytest.mark.parametrize("convention", ["population", "sample", "avec_ces"])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_both_concordances_equal_those_of_the_frames(convention, offset):
    predictions, labels = series(offset)
    pooled = concordance(predictions, labels, convention=convention)
    found = scores_of("ccc_pooled", predictions, labels, convention)
    np.testing.assert_allclose(found, pooled, rtol=1e-10)
    pairs = zip(by_recording(predictions), by_recording(labels), strict=True)
    each = [concordance(x, y, convention=convention) for x, y in pairs]
    found = scores_of("ccc_recordings", predictions, labels, convention)
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-10)
    assert np.abs(np.mean(each, axis=0) - pooled).min() > 1e-3


def test_measures_of_single_values_are_those_of_mmsa():
    """Formulas of MMSA's evaluation of MOSI, with numpy and scikit-learn."""
    rng = np.random.default_rng(4)
    truth = rng.integers(-6, 7, 300) / 2  # as in MOSI, -3 to 3
    guess = truth + rng.standard_normal(300)
    guess[:20] = np.round(guess[:20] * 2) / 2  # 0 and halves
    scores = {}
    for neutral in (0.0, 3.0):
        moments = recording_moments(
            guess + neutral, truth + neutral, np.arange(len(truth) + 1)
        )
        measures = make_measures(single=True, neutral=neutral)
        scores = {name: float(measure(moments, x)) for name, x in measures.items()}
        polar = truth != 0
        expected = {
            "mae": np.mean(np.abs(guess - truth)),
            "pearson": np.corrcoef(guess, truth)[0, 1],
            "acc2": accuracy_score(truth >= 0, guess >= 0),
            "f1_2": f1_score(truth >= 0, guess >= 0, average="weighted"),
            "acc2_polar": accuracy_score(truth[polar] > 0, guess[polar] > 0),
            "f1_2_polar": f1_score(
                truth[polar] > 0, guess[polar] > 0, average="weighted"
            ),
        }
        for most, name in ((2, "acc5"), (3, "acc7")):
            x, y = (np.round(np.clip(v, -most, most)) for v in (guess, truth))
            expected[name] = np.mean(x == y)
        for name, value in expected.items():
            assert scores[name] == pytest.approx(value, abs=1e-12), name
    assert not {"ccc_recordings"} & set(scores)
    assert not {"mae", "acc2"} & set(make_measures())
    assert "acc2" not in make_measures(single=True)


def test_single_values_without_a_label_do_not_count():
    moments = recording_moments(
        np.array([1.0, -2, 0.5]), np.array([1.5, np.nan, 2]), np.arange(4)
    )
    measures = make_measures(single=True, neutral=1.0)
    assert measure(moments, measures["mae"]) == pytest.approx((0.5 + 1.5) / 2)
    assert measure(moments, measures["acc2"]) == pytest.approx(1 / 2)


def test_pearson_equals_scipy_and_rmse_its_definition():
    predictions, labels = series()
    expected = [pearsonr(x, labels).statistic for x in predictions]
    np.testing.assert_allclose(scores_of("pearson", predictions, labels), expected)
    expected = np.sqrt(np.mean((predictions - labels) ** 2, axis=1))
    np.testing.assert_allclose(scores_of("rmse", predictions, labels), expected)


def test_frames_without_a_label_are_left_out():
    predictions, labels = series()
    gaps = labels.copy()
    gaps[100:200] = gaps[700:1000] = np.nan  # the second recording has none at all
    known = ~np.isnan(gaps)
    for name in make_measures():
        found = scores_of(name, predictions, gaps)
        kept = recording_moments(predictions[:, known], gaps[known], [0, 600, 2000])
        np.testing.assert_allclose(found, measure(kept, make_measures()[name]))


@pytest.mark.parametrize("constant", ["predictions", "labels", "both"])
def test_of_a_constant_the_concordance_is_zero(constant):
    predictions, labels = series()
    if constant in ("predictions", "both"):
        predictions = np.full_like(predictions, 0.1)
    if constant in ("labels", "both"):
        labels = np.full_like(labels, 0.1)
    for name in ("ccc_pooled", "ccc_recordings", "pearson"):
        np.testing.assert_allclose(scores_of(name, predictions, labels), 0, atol=1e-15)


def test_sums_of_recordings_add_up_under_weights():
    predictions, labels = series()
    moments = recording_moments(predictions, labels, OFFSETS)
    weights = np.array([2, 0, 1])
    x, y = by_recording(predictions), by_recording(labels)
    drawn = concordance(
        np.concatenate([x[0], x[0], x[2]], axis=-1), np.concatenate([y[0], y[0], y[2]])
    )
    score = make_measures()["ccc_pooled"]
    found = score.formula((weights[:, None] * score.sums(moments)).sum(-2))
    np.testing.assert_allclose(found, drawn, rtol=1e-12)


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"evaluation\.convention is 'muse'"):
        make_measures("muse")
