from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from ifusion.corpora.description import corpus_warnings
from ifusion.corpora.sources import synthetic
from ifusion.corpora.sources.synthetic import (
    SyntheticOptions,
    draw_prototypes,
    make_synthetic,
)
from ifusion.corpora.splits import fold_names, fold_partition

DEFAULT = SyntheticOptions()
QUIET = replace(DEFAULT, noise=(0.0, 0.0), recordings=(200, 50, 50))
FRAMES = SyntheticOptions(
    frames=1500, recordings=(4, 2, 2), speakers=8, features=(10, 8), noise=(0.1, 0.1)
)


def bayes_predictions(options, corpus):
    """Predicts optimally from one modality: {m: (N,) class index}.

    The class of maximum posterior under the mixture of Gaussians of the module, without
    knowing the speaker, the video, or whether the modality shows the emotion.
    """
    predictions = {}
    weights = synthetic._class_weights(options)
    for i, (m, prototypes) in enumerate(draw_prototypes(options).items()):
        latent = corpus.modalities[m].values @ synthetic._observer(options, i)
        variance = (
            options.scatter**2 + options.speaker_scatter**2 + options.noise[i] ** 2
        )
        gaps = latent[:, None, None] - prototypes
        log_density = -np.square(gaps).sum(-1) / (2 * max(variance, 1e-12))
        log_shown = np.logaddexp.reduce(log_density, axis=2)
        shown = np.exp(log_shown - log_shown.max(1, keepdims=True))
        q = options.informative[i]  # otherwise features are unrelated to the class
        likelihood = q * shown + (1 - q) * (shown @ weights)[:, None]
        predictions[m] = (weights * likelihood).argmax(1)
    return predictions


def gram(corpus, modality):
    """W_m drops out of f_m f_m' when there is no noise, since its columns are
    orthonormal: what is left is z_m z_m'."""
    values = corpus.modalities[modality].values.astype(np.float64)
    return (values @ values.T)[np.triu_indices(len(values))]


def test_all_shared_means_the_same_latent():
    corpus = make_synthetic(replace(QUIET, shared=1.0))
    audio, video = gram(corpus, "audio"), gram(corpus, "video")
    np.testing.assert_allclose(audio, video, atol=1e-4)


def test_nothing_shared_means_unrelated_rules():
    """Within a class, what one modality shows says nothing of the other."""
    corpus = make_synthetic(replace(QUIET, shared=0.0))
    one = corpus.labels[:, 0] == 0
    values = [corpus.modalities[m].values[one] for m in ("audio", "video")]
    audio, video = (v - v.mean(0) for v in values)
    similar = [(v @ v.T)[np.triu_indices(len(v), 1)] for v in (audio, video)]
    assert abs(np.corrcoef(similar)[0, 1]) < 0.1


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.7, 1.0])
def test_prototypes_correlate_as_much_as_is_shared(shared):
    options = replace(DEFAULT, shared=shared, modes=500)
    audio, video = (p.ravel() for p in draw_prototypes(options).values())
    assert np.corrcoef(audio, video)[0, 1] == pytest.approx(shared, abs=0.03)
    assert [audio.var(), video.var()] == pytest.approx([1, 1], abs=0.05)


def test_noise_has_the_stated_size():
    quiet = make_synthetic(replace(DEFAULT, noise=(0.0, 0.0)))
    noisy = make_synthetic(DEFAULT)
    for i, m in enumerate(DEFAULT.modalities):
        gap = noisy.modalities[m].values - quiet.modalities[m].values
        assert gap.std() == pytest.approx(DEFAULT.noise[i], rel=0.03)


def test_knobs_change_only_what_they_turn():
    first = make_synthetic(DEFAULT)
    second = make_synthetic(replace(DEFAULT, shared=0.2, noise=(3.0, 1.0), raters=2))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.speaker, second.speaker)
    np.testing.assert_array_equal(first.attributes["fold"], second.attributes["fold"])
    assert (first.modalities["audio"].values != second.modalities["audio"].values).all()


def test_the_seed_decides():
    first, again = make_synthetic(DEFAULT), make_synthetic(DEFAULT)
    other = make_synthetic(replace(DEFAULT, seed=1))
    for m in DEFAULT.modalities:
        a, b, c = (x.modalities[m].values for x in (first, again, other))
        np.testing.assert_array_equal(a, b)
        assert (a != c).all()
    assert (first.labels != other.labels).any()


def test_partitions_have_their_sizes_and_share_no_speaker():
    corpus = make_synthetic(DEFAULT)
    sizes = [(corpus.partition == p).sum() for p in ("train", "dev", "test")]
    assert sizes == [400, 200, 200]
    assert len(set(corpus.speaker)) == DEFAULT.speakers
    assert corpus_warnings(corpus) == ()
    for fold in fold_names(corpus):
        partition = fold_partition(corpus, fold)
        speakers = [
            set(corpus.speaker[partition == p]) for p in ("train", "dev", "test")
        ]
        assert sum(map(len, speakers)) == DEFAULT.speakers


def test_videos_belong_to_one_speaker_and_have_the_stated_length():
    corpus = make_synthetic(replace(DEFAULT, video_length=4))
    video = corpus.attributes["video"]
    names, counts = np.unique(video, return_counts=True)
    assert counts.max() == 4
    for name in names:
        assert len(set(corpus.speaker[video == name])) == 1


def test_imbalance_is_realised():
    options = replace(
        DEFAULT, imbalance=8.0, recordings=(20000, 10, 10), features=(6, 6)
    )
    counts = np.bincount(make_synthetic(options).labels[:, 0]) / 20020
    weights = np.array([8, 4, 2, 1]) / 15  # 8 ** (-c / 3), c = 0 ... 3
    np.testing.assert_allclose(counts, weights, atol=0.012)


def test_classes_persist_within_a_video_without_changing_their_frequency():
    options = replace(DEFAULT, persistence=0.6, imbalance=4.0, video_length=10)
    options = replace(options, recordings=(20000, 10, 10), features=(6, 6), raters=0)
    corpus = make_synthetic(options)
    labels, video = corpus.labels[:, 0], corpus.attributes["video"]
    inside = video[1:] == video[:-1]
    same = labels[1:] == labels[:-1]
    weights = 4.0 ** (-np.arange(4) / 3)
    weights /= weights.sum()
    chance = np.square(weights).sum()
    assert same[inside].mean() == pytest.approx(0.6 + 0.4 * chance, abs=0.02)
    assert same[~inside].mean() == pytest.approx(chance, abs=0.04)
    np.testing.assert_allclose(np.bincount(labels) / len(labels), weights, atol=0.03)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_an_uninformative_modality_says_as_little_as_stated(share):
    """The best guess is right where the modality speaks, and by chance elsewhere."""
    options = replace(DEFAULT, noise=(0.01, 0.01), scatter=0.01, speaker_scatter=0.0)
    options = replace(options, informative=(1.0, share), recordings=(4000, 10, 10))
    corpus = make_synthetic(options)
    right = {
        m: (guess == corpus.labels[:, 0]).mean()
        for m, guess in bayes_predictions(options, corpus).items()
    }
    assert right["audio"] == 1.0
    assert right["video"] == pytest.approx(share + (1 - share) / 4, abs=0.03)


def test_an_uninformative_modality_shows_a_mode_of_its_own():
    """Of parity in two dimensions the class is one sign, given the other: the mode."""
    options = replace(
        DEFAULT,
        **{"prototypes": "parity", "latent": 2, "classes": ("odd", "even"), "modes": 2},
        **{"noise": (0.0, 0.0), "features": (2, 2), "informative": (1.0, 0.0)},
        **{"scatter": 0.0, "speaker_scatter": 0.0, "recordings": (4000, 20, 20)},
    )
    apart = make_synthetic(options).modalities
    whole = make_synthetic(replace(options, informative=(1.0, 1.0))).modalities
    np.testing.assert_array_equal(apart["audio"].values, whole["audio"].values)
    # z . z' counts the signs that agree less those that do not: 2, 0, 0 or -2 by chance
    products = (apart["video"].values * whole["video"].values).sum(1)
    shares = [np.isclose(products, p, atol=1e-4).mean() for p in (-2, 0, 2)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.03)


def test_recordings_of_an_uninformative_modality_have_an_emotion_of_their_own():
    quiet = replace(FRAMES, noise=(0.0, 0.0), frames=40)
    whole, apart = (
        make_synthetic(replace(quiet, informative=(1.0, share))) for share in (1.0, 0.0)
    )
    for m, same in (("audio", True), ("video", False)):
        pairs = [c.modalities[m].values for c in (whole, apart)]
        assert np.array_equal(*pairs) == same
    np.testing.assert_array_equal(whole.labels, apart.labels)


def test_raters_err_as_often_as_stated_and_the_majority_errs_less():
    options = replace(DEFAULT, rater_error=(0.05, 0.45), recordings=(4000, 10, 10))
    corpus = make_synthetic(options)
    wrong = corpus.raters["emotion"] != corpus.labels
    np.testing.assert_allclose(wrong.mean(0), [0.05, 0.15, 0.25, 0.35, 0.45], atol=0.03)
    gold = make_synthetic(replace(options, gold="majority")).labels[:, 0]
    votes = corpus.raters["emotion"].astype(int)
    by_hand = [np.bincount(row, minlength=4).argmax() for row in votes]
    np.testing.assert_array_equal(gold, by_hand)
    assert (gold != corpus.labels[:, 0]).mean() < 0.05


def test_speaker_scatter_moves_whole_speakers():
    options = replace(QUIET, scatter=0.0, modes=1, speaker_scatter=0.5)
    corpus = make_synthetic(options)
    values = corpus.modalities["audio"].values.astype(np.float64)
    for speaker in set(corpus.speaker):
        for label in range(4):
            same = values[(corpus.speaker == speaker) & (corpus.labels[:, 0] == label)]
            np.testing.assert_allclose(same, same[:1].repeat(len(same), 0), atol=1e-5)
    means = [values[corpus.labels[:, 0] == k].std(0).sum() for k in range(4)]
    assert min(means) > 0.5


def test_bayes_predictions_are_nearest_prototypes_where_classes_are_balanced():
    options = replace(DEFAULT, scatter=0.05, speaker_scatter=0.0, noise=(0.05, 0.05))
    corpus = make_synthetic(options)
    assert (bayes_predictions(options, corpus)["audio"] == corpus.labels[:, 0]).all()


def test_bayes_predictions_are_a_ceiling_that_noise_lowers():
    accuracy = {}
    for noise in (0.3, 1.0, 100.0):
        options = replace(DEFAULT, noise=(noise, 0.2), recordings=(1500, 500, 10))
        corpus = make_synthetic(options)
        train, dev = corpus.partition == "train", corpus.partition == "dev"
        values, labels = corpus.modalities["audio"].values, corpus.labels[:, 0]
        best = bayes_predictions(options, corpus)["audio"] == labels
        learnt = KNeighborsClassifier(9).fit(values[train], labels[train])
        assert best[dev].mean() > learnt.score(values[dev], labels[dev]) - 0.03
        accuracy[noise] = best.mean()
    assert accuracy[0.3] > 0.95 > accuracy[1.0] > 0.4
    assert accuracy[100.0] == pytest.approx(0.25, abs=0.05)


def test_frames_have_the_stated_shape():
    corpus = make_synthetic(FRAMES)
    assert corpus.task == "regression"
    assert corpus.targets == ("arousal", "valence")
    assert (corpus.frame_step, corpus.num_rows) == (0.04, 8 * 1500)
    assert corpus.modalities["audio"].values.shape == (8 * 1500, 10)
    assert corpus.raters["valence"].shape == (8 * 1500, 5)


def test_gold_is_the_mean_of_biased_noisy_raters():
    options = replace(FRAMES, rater_noise=0.2, rater_bias=0.5)
    corpus = make_synthetic(options)
    clean = make_synthetic(replace(options, raters=0)).labels[:, 0]
    ratings = corpus.raters["arousal"].astype(np.float64)
    np.testing.assert_allclose(corpus.labels[:, 0], ratings.mean(1), atol=1e-6)
    error = ratings - clean[:, None]
    assert error.std(0) == pytest.approx([0.2] * 5, rel=0.2)
    assert 0.2 < error.mean(0).std() < 1.0


def test_emotions_are_as_smooth_as_stated():
    """Autocorrelation of a Gaussian kernel's output, exp(-lag^2 / (2 L^2))."""
    options = replace(FRAMES, raters=0, smoothness=0.8, frames=20000)
    labels = make_synthetic(options).labels.reshape(8, -1, 2)
    emotion = np.arctanh(np.clip(labels.astype(np.float64), -1 + 1e-6, 1 - 1e-6))
    assert emotion.std() == pytest.approx(1, abs=0.05)
    for lag in (5, 20, 40):
        pairs = np.corrcoef(emotion[:, lag:].ravel(), emotion[:, :-lag].ravel())
        expected = np.exp(-((0.04 * lag) ** 2) / (2 * 0.8**2))
        assert pairs[0, 1] == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("delay", [0.0, 2.4])
def test_labels_follow_the_features_by_the_delay(delay):
    """A shifted gold standard fits the features best: ridge on squares and products."""
    options = replace(FRAMES, annotation_delay=delay, curvature=0.3)
    corpus = make_synthetic(options)
    shape = (8, options.frames, -1)
    features = corpus.modalities["video"].values.astype(np.float64).reshape(shape)
    target = corpus.labels[:, 0].astype(np.float64).reshape(8, -1)
    steps = np.arange(0, 101, 5)
    errors = []
    for step in steps:
        x = features[:, : options.frames - 100].reshape(-1, 8)
        x = np.concatenate([np.ones((len(x), 1)), x, x**2], 1)
        y = target[:, step : step + options.frames - 100].ravel()
        weights = np.linalg.solve(x.T @ x, x.T @ y)
        errors.append(np.square(y - x @ weights).sum())
    assert steps[np.argmin(errors)] * 0.04 == pytest.approx(delay)


def test_continuous_features_are_shared_or_not():
    quiet = replace(FRAMES, noise=(0.0, 0.0), frames=40, speaker_scatter=0.2)
    shared = make_synthetic(replace(quiet, shared=1.0))
    apart = make_synthetic(replace(quiet, shared=0.0))
    audio, video = gram(shared, "audio"), gram(shared, "video")
    np.testing.assert_allclose(audio, video, atol=1e-4)
    assert np.abs(gram(apart, "audio") - gram(apart, "video")).max() > 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"noise": (1.0,)}, r"found \[2, 1, 2\] for 2"),
        (
            {"modalities": (), "noise": (), "features": (), "informative": ()},
            r"found \[0, 0, 0\] for 0",
        ),
        ({"informative": (1.0, 1.5)}, "informative is"),
        (
            {"latent": 25},
            "latent is 25, expected 1 to the least number of features, 24",
        ),
        ({"shared": 1.5}, "shared is 1.5, expected 0 to 1"),
        ({"persistence": -0.1}, "persistence is -0.1"),
        ({"noise": (-1.0, 1.0)}, "noise is"),
        ({"recordings": (0, 1, 1)}, "three partitions of one or more recordings"),
        ({"speakers": 2}, "three or more speakers"),
        ({"speakers": 900}, "900 speakers for"),
        ({"classes": ("one",)}, "expected two or more"),
        ({"imbalance": 0.0}, "imbalance is 0.0"),
        ({"rater_error": (0.0, 2.0)}, "rater_error is"),
        ({"rater_error": (0.1, 0.2, 0.3)}, "expected the least and the greatest"),
        ({"gold": "majority", "raters": 0}, "needs raters"),
        ({"prototypes": "cube"}, "'cube', expected 'random' or 'parity'"),
        ({"prototypes": "parity"}, "needs 2 classes of 32 modes, found 4 of 6"),
    ],
)
def test_bad_options_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(DEFAULT, **changes)


def test_parity_needs_every_dimension():
    """All three signs tell the class; any two of them say nothing."""
    options = replace(
        QUIET,
        **{"classes": ("even", "odd"), "prototypes": "parity", "modes": 4},
        **{"latent": 3, "scatter": 0.0, "speaker_scatter": 0.0, "raters": 0},
    )
    prototypes = draw_prototypes(options)
    np.testing.assert_array_equal(prototypes["audio"], prototypes["video"])
    corners = prototypes["audio"].reshape(8, 3)
    assert len(np.unique(corners, axis=0)) == 8 and (np.abs(corners) == 1).all()
    product = prototypes["audio"].prod(-1)
    assert (product[0] == product[0, 0]).all() and (product[1] == -product[0]).all()
    for keep in ((0, 1), (0, 2), (1, 2)):
        found = [np.unique(p[:, keep], axis=0) for p in prototypes["audio"]]
        np.testing.assert_array_equal(*found)
    corpus = make_synthetic(options)
    guesses = bayes_predictions(replace(options, noise=(0.1, 0.1)), corpus)
    assert (guesses["video"] == corpus.labels[:, 0]).all()
