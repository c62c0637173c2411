"""The SVR against windows, labels and liblinear written out with numpy."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVR

from ifusion.preprocessing.sequences import Batch
from ifusion.systems.options import COMPLEXITIES, SystemOptions
from ifusion.systems.svr import SVR, fit_svr, pool_windows
from ifusion.systems.system import Fold

STEP, HOP, AHEAD = 0.04, 5, 20  # [s], [frame], [frame]
TARGETS = ("arousal", "valence")


def draw(seed, lengths, ahead):
    """Recordings whose targets follow two features by 10 frames."""
    rng = np.random.default_rng(seed)
    steps = max(lengths)
    mask = (np.arange(steps) < np.array(lengths)[:, None]).astype(np.float32)
    walk = rng.standard_normal((len(lengths), steps + 10 + ahead, 2)).cumsum(1) / 10
    features = {
        m: rng.standard_normal((len(lengths), steps, size)) for m, size in SIZES.items()
    }
    for values in features.values():
        values[..., :2] += walk[:, 10 : 10 + steps]
        values *= mask[..., None]
    labels = walk[:, : steps + ahead].astype(np.float32)
    labelled = np.zeros(labels.shape[:2], np.float32)
    for i, length in enumerate(lengths):
        labelled[i, :length] = 1
    return Batch(
        {m: v.astype(np.float32) for m, v in features.items()},
        mask,
        labels * labelled[..., None],
        labelled,
    )


SIZES = {"audio": 3, "video": 4}


@pytest.fixture(scope="module")
def study(recordings):
    train = draw(0, [200, 150, 170], AHEAD)
    protocol = replace(
        recordings[0],
        num_features=SIZES,
        targets=TARGETS,
        frame_step=STEP,
        seeds=(3, 4),
        systems=SystemOptions(
            svr_windows=(0.4, 0.8),
            svr_delays=(0.0, 0.4),
            svr_complexities=(1e-3, 0.1),
            svr_hop=0.2,
            svr_epsilon=0.05,
        ),
    )
    dev = draw(1, [130, 90], 0)
    return protocol, Fold(train, dev, 3, train, np.arange(3), {})


def windows_by_hand(features, length, window):
    rows = []
    for centre in range(0, length, HOP):
        start = max(centre - window // 2, 0)
        stop = min(centre - window // 2 + window, length)
        part = features[start:stop].astype(np.float64)
        rows.append(np.concatenate([part.mean(0), part.std(0)]))
    return np.array(rows)


def predict_by_hand(fold, main, k, window, delay, complexity, batch):
    lengths = (fold.whole.mask > 0).sum(1)
    values, labels = [], []
    for i, length in enumerate(lengths):
        values.append(windows_by_hand(fold.whole.features[main][i], length, window))
        for centre in range(0, length, HOP):
            labels.append(fold.whole.labels[i, min(centre + delay, length - 1), k])
    machine = LinearSVR(
        C=complexity, epsilon=0.05, loss="squared_epsilon_insensitive", dual=False
    )
    pipeline = make_pipeline(StandardScaler(), machine)
    pipeline.fit(np.concatenate(values), labels)
    found = []
    for i, length in enumerate((batch.mask > 0).sum(1)):
        held = pipeline.predict(
            windows_by_hand(batch.features[main][i], length, window)
        )
        centres = np.arange(0, length, HOP)
        found.append(np.interp(np.arange(length), centres, held))
    return np.concatenate(found)


def test_it_predicts_as_the_pipeline_written_out(study, fit_and_predict):
    protocol, fold = study
    fitted, outputs = fit_and_predict(SVR, protocol, fold)
    assert len(fitted.candidates) == 2 * 2 * 2 * 2 * 2
    exists = fold.dev.mask > 0
    for candidate, mine in zip(fitted.candidates, outputs, strict=True):
        setting = candidate.setting
        delay = round(setting["delay"] / STEP)
        assert candidate.delay == delay and candidate.seed == 3
        expected = predict_by_hand(
            fold,
            candidate.main,
            TARGETS.index(candidate.target),
            round(setting["window"] / STEP),
            delay,
            setting["C"],
            fold.dev,
        )
        np.testing.assert_allclose(mine[exists, 0], expected, rtol=1e-4, atol=1e-5)
        size = 2 * protocol.num_features[candidate.main] + 1
        assert candidate.parameters == size
    assert len({(c.main, c.target, str(c.setting)) for c in fitted.candidates}) == 32


def test_an_utterance_is_its_features(study, fit_and_predict):
    protocol, fold = study
    first = np.s_[:, :1]
    train, dev = (
        Batch(
            {m: x[first] for m, x in batch.features.items()},
            batch.mask[first],
            batch.labels[first],
            batch.labelled[first],
        )
        for batch in (draw(2, [1] * 40, 0), draw(3, [1] * 10, 0))
    )
    single = replace(protocol, frame_step=None)
    fold = Fold(train, dev, 40, train, np.arange(40), {})
    fitted, outputs = fit_and_predict(SVR, single, fold)
    options = protocol.systems
    for candidate, mine in zip(fitted.candidates, outputs, strict=True):
        assert set(candidate.setting) == {"C"} and candidate.delay == 0
        machine = LinearSVR(
            C=candidate.setting["C"],
            epsilon=options.svr_epsilon,
            loss="squared_epsilon_insensitive",
            dual=False,
        )
        column = TARGETS.index(candidate.target)
        x = {
            name: b.features[candidate.main][:, 0]
            for name, b in (("t", train), ("d", dev))
        }
        pipeline = make_pipeline(StandardScaler(), machine)
        pipeline.fit(x["t"], train.labels[:, 0, column])
        np.testing.assert_allclose(mine[:, 0, 0], pipeline.predict(x["d"]), atol=1e-5)
        assert candidate.parameters == protocol.num_features[candidate.main] + 1


def test_primal_and_dual_have_one_solution():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 6))
    labels = values @ rng.standard_normal(6) + 0.3 * rng.standard_normal(300)
    for complexity in (1e-3, 1e-2):
        primal, dual = (
            fit_svr(values, labels, complexity, SystemOptions(svr_dual=dual))
            for dual in (False, True)
        )
        np.testing.assert_allclose(primal.coef_, dual.coef_, rtol=1e-3)
        np.testing.assert_allclose(primal.intercept_, dual.intercept_, atol=1e-3)


def test_functionals_keep_their_digits_far_from_zero():
    rng = np.random.default_rng(0)
    features = (1e4 + rng.standard_normal((1, 5000, 1))).astype(np.float32)
    found = pool_windows(features, np.ones((1, 5000)), 101, 250)
    for row, centre in zip(found.values, found.centre, strict=True):
        part = features[0, max(centre - 50, 0) : centre + 51, 0].astype(np.float64)
        np.testing.assert_allclose(row, [part.mean(), part.std()], rtol=1e-9)


def test_delays_and_windows_on_the_same_frame_count_once(study, fit_and_predict):
    protocol, fold = study
    systems = replace(protocol.systems, svr_delays=(0.0, 0.01), svr_windows=(0.4, 0.41))
    fitted, _ = fit_and_predict(SVR, replace(protocol, systems=systems), fold)
    assert len(fitted.candidates) == 2 * 2 * 2  # mains, targets, complexities


def test_the_grid_is_that_of_the_challenge():
    assert len(COMPLEXITIES) == 13
    grid = [m * 10.0**e for e in range(-4, 0) for m in (1, 2, 5)]
    np.testing.assert_allclose(COMPLEXITIES, [*grid, 1.0])


def test_windows_without_a_label_are_left_out(study):
    protocol, fold = study
    few = replace(
        protocol.systems,
        svr_windows=(0.4,),
        svr_delays=(0.4,),
        svr_complexities=(0.1,),
    )
    labelled = fold.whole.labelled.copy()
    labelled[1, 60:] = 0
    found = []
    for value in (0, 50):
        labels = np.where(labelled[..., None] > 0, fold.whole.labels, value)
        whole = fold.whole._replace(labels=labels, labelled=labelled)
        fit = SVR.make_fit(replace(protocol, systems=few))
        found.append(fit(replace(fold, whole=whole), None).params[0]["weights"])
    np.testing.assert_array_equal(*found)
