"""A corpus drawn from a model, so that shared and private information is known.

Not in the paper. Axes: N recordings, R rows, C classes, J modes of a class, D latent
dimensions, F features of a modality, A raters.

One knob, s = `shared`, sets how much the modalities have in common. With independent
standard normal draws `common` and `private_m` (m a modality),

    mix_m(common, private) = sqrt(s) common + sqrt(1 - s) private_m

has unit variance for every s, equals `common` at s = 1, and says nothing about another
modality at s = 0. Modality m observes of the latent z_m (D,)

    f_m = W_m z_m + noise_m e,    W_m (F, D) with orthonormal columns, e ~ N(0, I).

**Classification** (`frames` = 0). An utterance has a class c, a mode j of it, and a
speaker p:

    z_m = mix_m(P[c, j], P_m[c, j]) + scatter mix_m(u, u_m)
          + speaker_scatter mix_m(o[p], o_m[p])

The J prototypes P[c] of a class can be anywhere, so the rule z -> class is nonlinear
and must be learnt from examples; or, for `prototypes` "parity", they are the corners of
the cube {-1, 1}^D, the same for all modalities, and the class is the parity of the
signs, about which any D - 1 coordinates say nothing. At s = 1 one rule serves all
modalities, so a shared head that learns it from a clean modality serves a noisy one:
implicit fusion can gain. At s = 0 random rules are unrelated, and so are the modes (j
is private with probability 1 - s): it cannot. Classes are drawn with
p_c ~ imbalance^(-c / (C - 1)); within a video an utterance keeps the class of the one
before with probability `persistence`, so that context may help. Rater a votes for the
class, or with probability e_a for another, e_a evenly spaced over `rater_error`; the
gold standard is the class itself or the majority vote.

A second knob, `informative`, is the probability that modality m shows anything about
the emotion of a recording; otherwise c and j above (y_t below) are drawn anew for m,
privately. A modality that is never informative has nothing to offer, as main or as
auxiliary: implicit fusion with it cannot gain.

**Time-continuous regression** (`frames` > 0). Arousal and valence are y_t (2,),
independent standard Gaussian processes with autocorrelation
exp(-lag^2 / (2 smoothness^2)):

    z_m,t = mix_m(phi(y_t), phi_m(y_t)) + speaker_scatter mix_m(o[p], o_m[p])
    phi(y)_d = sqrt(2) cos(curvature w_d . y + b_d),    w_d ~ N(0, I), b_d ~ U(0, 2 pi)

phi is a random curved surface; what must be learnt is its inverse, from z to y. The
annotation lags behind the features by `annotation_delay`:

    rating_a,t = tanh(y_{t - delay}) + rater_bias N(0, 1)_a + rater_noise n_a,t

with n_a smooth as y is; the gold standard is the mean over raters.

Every part has a random stream of its own: changing noise, `shared` or raters does not
change classes, speakers or the common prototypes.
"""

from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from ifusion.corpora.corpus import PARTITIONS, Corpus, Modality

# what is drawn; a name's position is part of the seed, so append only
PARTS = (
    "folds",
    "observer",
    "noise",
    "classes",
    "modes",
    "prototypes",
    "scatter",
    "speakers",
    "votes",
    "emotion",
    "surface",
    "ratings",
    "informative",
)

# ranges of options, or of all their entries
RANGES = {
    (0, 1): ("shared", "persistence", "rater_error", "informative"),
    (0, np.inf): (
        "noise",
        "scatter",
        "speaker_scatter",
        "rater_bias",
        "rater_noise",
        "raters",
        "frames",
        "annotation_delay",
    ),
    (1, np.inf): ("folds", "modes", "video_length"),
    (np.finfo(float).tiny, np.inf): (
        "imbalance",
        "frame_step",
        "smoothness",
        "curvature",
    ),
}


@dataclass(frozen=True)
class SyntheticOptions:
    """What a synthetic corpus is drawn from.

    Attributes:
      seed: of all that is drawn.
      modalities: names.
      features: F of each modality.
      noise: standard deviation of the observation noise of each modality.
      shared: s in [0, 1], see the module.
      informative: probability that a modality shows the emotion of a recording.
      latent: D, at most the least F.
      recordings: recordings in train, dev and test.
      speakers: distributed over the partitions in proportion, none in two of them.
      folds: number of speaker-wise folds of attribute "fold".
      speaker_scatter: standard deviation of the speaker's offset in the latent space.
      raters: A; 0 = the gold standard is given, not rated.
      classes: class names in code order.
      prototypes: where the modes of a class are, see the module; parity has two
        classes and J = 2^(D - 1).
      modes: J.
      scatter: standard deviation within a mode; prototypes have 1.
      imbalance: how many times more frequent the first class is than the last.
      video_length: utterances per video (attribute "video"), all of one speaker.
      persistence: probability that an utterance keeps the class of the one before.
      rater_error: least and greatest probability of a wrong vote.
      gold: label = the true class, or the majority vote (ties: the first class).
      frames: frames per recording; 0 = utterance-level classification.
      frame_step: [s].
      smoothness: [s] of arousal, valence and the raters' noise.
      curvature: of phi; small is nearly linear.
      annotation_delay: [s], rounded to frames.
      rater_bias: standard deviation over raters.
      rater_noise: standard deviation over time.
    """

    seed: int = 0
    modalities: tuple[str, ...] = ("audio", "video")
    features: tuple[int, ...] = (32, 24)
    noise: tuple[float, ...] = (0.6, 0.2)
    shared: float = 1.0
    informative: tuple[float, ...] = (1.0, 1.0)
    latent: int = 6
    recordings: tuple[int, int, int] = (400, 200, 200)
    speakers: int = 40
    folds: int = 5
    speaker_scatter: float = 0.1
    raters: int = 5
    classes: tuple[str, ...] = ("anger", "happy", "neutral", "sad")
    prototypes: Literal["random", "parity"] = "random"
    modes: int = 6
    scatter: float = 0.2
    imbalance: float = 1.0
    video_length: int = 5
    persistence: float = 0.0
    rater_error: tuple[float, float] = (0.1, 0.3)
    gold: Literal["true", "majority"] = "true"
    frames: int = 0
    frame_step: float = 0.04
    smoothness: float = 1.0
    curvature: float = 0.6
    annotation_delay: float = 0.0
    rater_bias: float = 0.1
    rater_noise: float = 0.1

    def __post_init__(self) -> None:
        num = len(self.modalities)
        entries = [len(self.features), len(self.noise), len(self.informative)]
        if set(entries) != {num} or not num:
            raise ValueError(
                "features, noise and informative need an entry for each of one or more "
                f"modalities, found {entries} for {num}"
            )
        if not 0 < self.latent <= min(self.features):
            raise ValueError(
                f"latent is {self.latent}, expected 1 to the least number of features, "
                f"{min(self.features)}"
            )
        if len(self.recordings) != 3 or min(self.recordings) < 1 or self.speakers < 3:
            raise ValueError(
                "expected three partitions of one or more recordings and three or more "
                f"speakers, found {self.recordings} and {self.speakers}"
            )
        if (_deal(self.recordings, self.speakers) > self.recordings).any():
            raise ValueError(
                f"{self.speakers} speakers for {self.recordings} recordings"
            )
        if self.prototypes not in ("random", "parity"):
            raise ValueError(
                f"prototypes is {self.prototypes!r}, expected 'random' or 'parity'"
            )
        corners = 2 ** (self.latent - 1)
        shape = (len(self.classes), self.modes)
        if self.prototypes == "parity" and shape != (2, corners):
            raise ValueError(
                f"prototypes 'parity' in {self.latent} dimensions needs 2 classes of "
                f"{corners} modes, found {len(self.classes)} of {self.modes}"
            )
        if self.gold == "majority" and not self.raters:
            raise ValueError("gold 'majority' needs raters, found 0")
        if len(self.rater_error) != 2:
            raise ValueError(
                f"rater_error is {self.rater_error}, expected the least and the "
                "greatest probability of a wrong vote"
            )
        for (low, high), names in RANGES.items():
            for name in names:
                value = np.asarray(getattr(self, name))
                if not ((low <= value) & (value <= high)).all():
                    raise ValueError(
                        f"{name} is {value.tolist()}, expected {low:.3g} to {high:g}"
                    )
        if len(self.classes) < 2:
            raise ValueError(f"classes are {self.classes}, expected two or more")


def read_synthetic(**options: Any) -> Corpus:
    """Draws a corpus; takes the fields of `SyntheticOptions`, as readers take theirs.

    Example:
      >>> import ifusion.corpora
      >>> ifusion.corpora.synthetic(shared=0.5, recordings=(200, 100, 100)).task
      'classification'
      >>> ifusion.corpora.synthetic(frames=250, recordings=(20, 10, 10)).targets
      ('arousal', 'valence')
    """
    chosen = SyntheticOptions(**options)
    return replace(
        make_synthetic(chosen), source={"kind": "synthetic", **asdict(chosen)}
    )


def make_synthetic(options: SyntheticOptions) -> Corpus:
    """Draws a corpus; the same options give the same corpus.

    Returns:
      Classification of target "emotion" with attributes "video" and "fold", or, if
      `frames` > 0, regression of "arousal" and "valence" with attribute "fold".
    """
    if options.frames:
        return _make_continuous(options)
    return _make_utterances(options)


def draw_prototypes(options: SyntheticOptions) -> dict[str, np.ndarray]:
    """Returns the prototypes of each modality: {m: (C, J, D)}."""
    if options.prototypes == "parity":
        cube = np.array(list(product((-1.0, 1.0), repeat=options.latent)))
        parity = (cube > 0).sum(1) % 2
        corners = np.stack([cube[parity == c] for c in (0, 1)])
        return dict.fromkeys(options.modalities, corners)
    shape = (len(options.classes), options.modes, options.latent)
    return {
        m: _mixed_normal(options, "prototypes", i, shape)
        for i, m in enumerate(options.modalities)
    }


# ---- both kinds --------------------------------------------------------------------


def _rng(options: SyntheticOptions, part: str, i: int = 0) -> np.random.Generator:
    """Opens the stream of a part: 0 = common, 1 + i = private to modality i."""
    key = (PARTS.index(part), i)
    return np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=key))


def _mix(options: SyntheticOptions, common: np.ndarray, own: np.ndarray) -> np.ndarray:
    return np.sqrt(options.shared) * common + np.sqrt(1 - options.shared) * own


def _mixed_normal(
    options: SyntheticOptions, part: str, i: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Draws mix_m(common, private_m) for modality i."""
    common = _rng(options, part).standard_normal(shape)
    return _mix(options, common, _rng(options, part, 1 + i).standard_normal(shape))


def _deal(weights: tuple[int, ...], total: int) -> np.ndarray:
    """Distributes a total in proportion to weights, at least one each: (n,) int."""
    exact = np.asarray(weights) / max(sum(weights), 1) * total
    shares = np.maximum(exact.astype(int), 1)
    shares[np.argmax(exact)] += total - shares.sum()
    return shares


def _layout(options: SyntheticOptions) -> tuple[np.ndarray, np.ndarray]:
    """Orders recordings by partition and speaker: (N,) names, (N,) speaker index."""
    speakers = _deal(options.recordings, options.speakers)
    first = np.cumsum(speakers) - speakers
    owners = [
        start + np.sort(np.arange(count) % share)
        for start, count, share in zip(first, options.recordings, speakers, strict=True)
    ]
    return np.repeat(PARTITIONS, options.recordings), np.concatenate(owners)


def _observer(options: SyntheticOptions, i: int) -> np.ndarray:
    """Draws W_m (F, D) of modality i, with orthonormal columns."""
    shape = (options.features[i], options.latent)
    return np.linalg.qr(_rng(options, "observer", 1 + i).standard_normal(shape))[0]


def _observe(options: SyntheticOptions, i: int, latent: np.ndarray) -> Modality:
    """Turns the latent z_m (R, D) of modality i into its features."""
    name = options.modalities[i]
    shape = (len(latent), options.features[i])
    values = _rng(options, "noise", 1 + i).standard_normal(shape, np.float32)
    values *= np.float32(options.noise[i])
    values += latent.astype(np.float32) @ _observer(options, i).T.astype(np.float32)
    names = tuple(f"{name}_{k:02d}" for k in range(options.features[i]))
    return Modality(names, values)


def _corpus(
    options: SyntheticOptions,
    modalities: dict[str, Modality],
    labels: np.ndarray,
    raters: dict[str, np.ndarray],
    video: np.ndarray | None = None,
) -> Corpus:
    partition, speaker = _layout(options)
    order = _rng(options, "folds").permutation(options.speakers)
    fold = {"fold": (order % options.folds)[speaker]}
    continuous = options.frames > 0
    rows = np.arange(len(speaker) + 1)
    return Corpus(
        name="synthetic continuous" if continuous else "synthetic",
        recording=np.array([f"r{i:05d}" for i in range(len(speaker))]),
        partition=partition,
        speaker=np.array([f"speaker {p:03d}" for p in speaker]),
        modalities=modalities,
        targets=("arousal", "valence") if continuous else ("emotion",),
        labels=labels,
        classes=() if continuous else options.classes,
        frame_step=options.frame_step if continuous else None,
        offsets=rows * options.frames if continuous else rows,
        attributes=fold if video is None else {"video": video, **fold},
        raters=raters,
        licence="drawn at random; free of rights",
    )


def _uninformative(
    options: SyntheticOptions, i: int, num: int
) -> tuple[np.ndarray, np.random.Generator]:
    """Draws where modality i shows something other than the emotion: (num,) bool."""
    rng = _rng(options, "informative", 1 + i)
    return rng.random(num) >= options.informative[i], rng


# ---- classification ----------------------------------------------------------------


def _make_utterances(options: SyntheticOptions) -> Corpus:
    _, speaker = _layout(options)
    video = _videos(options, speaker)
    classes = _draw_classes(options, video, _rng(options, "classes"))
    votes = _vote(options, classes)
    raters = {"emotion": votes.astype(np.float32)} if options.raters else {}
    labels = classes
    if options.gold == "majority":
        every = np.arange(len(options.classes))
        labels = (votes[:, :, None] == every).sum(1).argmax(1)
    modalities = _utterance_features(options, classes, speaker)
    names = np.array([f"video {v:04d}" for v in video])
    return _corpus(options, modalities, labels[:, None], raters, names)


def _videos(options: SyntheticOptions, speaker: np.ndarray) -> np.ndarray:
    """Groups the utterances of each speaker into videos: (N,) running index."""
    place = np.arange(len(speaker)) - np.searchsorted(speaker, speaker)
    starts = place % options.video_length == 0
    return np.cumsum(starts) - 1


def _class_weights(options: SyntheticOptions) -> np.ndarray:
    num = len(options.classes)
    weights = options.imbalance ** (-np.arange(num) / (num - 1))
    return weights / weights.sum()


def _draw_classes(
    options: SyntheticOptions, video: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws one Markov chain per video, with the weights as long-run shares: (N,)."""
    fresh = rng.choice(len(options.classes), len(video), p=_class_weights(options))
    keeps = rng.random(len(video)) < options.persistence
    keeps &= np.diff(video, prepend=-1) == 0
    # each utterance takes the draw of the last one that did not keep
    source = np.maximum.accumulate(np.where(keeps, 0, np.arange(len(video))))
    return fresh[source]


def _utterance_features(
    options: SyntheticOptions, classes: np.ndarray, speaker: np.ndarray
) -> dict[str, Modality]:
    num, dim = len(classes), options.latent
    modalities = {}
    for i, (m, prototypes) in enumerate(draw_prototypes(options).items()):
        within = _mixed_normal(options, "scatter", i, (num, dim))
        voice = _mixed_normal(options, "speakers", i, (options.speakers, dim))[speaker]
        apart, rng = _uninformative(options, i, num)
        shown = np.where(apart, _draw_classes(options, np.arange(num), rng), classes)
        anew = rng.integers(options.modes, size=num)
        modes = np.where(apart, anew, _modes(options, i, num))
        latent = prototypes[shown, modes]
        latent = latent + options.scatter * within + options.speaker_scatter * voice
        modalities[m] = _observe(options, i, latent)
    return modalities


def _modes(options: SyntheticOptions, i: int, num: int) -> np.ndarray:
    """Draws the mode j that modality i shows for each utterance: (N,)."""
    rng = _rng(options, "modes", 1 + i)
    common = _rng(options, "modes").integers(options.modes, size=num)
    private = rng.integers(options.modes, size=num)
    return np.where(rng.random(num) < options.shared, common, private)


def _vote(options: SyntheticOptions, classes: np.ndarray) -> np.ndarray:
    """Draws the votes of the raters: (N, A) class index."""
    rng = _rng(options, "votes")
    shape = (len(classes), options.raters)
    error = np.linspace(*options.rater_error, options.raters)
    shift = rng.integers(1, len(options.classes), size=shape)
    wrong = rng.random(shape) < error
    return (classes[:, None] + wrong * shift) % len(options.classes)


# ---- time-continuous regression ----------------------------------------------------


def _make_continuous(options: SyntheticOptions) -> Corpus:
    _, speaker = _layout(options)
    delay = round(options.annotation_delay / options.frame_step)
    rng = _rng(options, "emotion")
    # the annotation at frame t is about frame t - delay, so the emotion starts earlier
    emotion = _smooth(options, rng, (len(speaker), options.frames + delay, 2))
    modalities = _frame_features(options, emotion[:, delay:], speaker)
    truth = np.tanh(emotion[:, : options.frames]).reshape(-1, 2)
    ratings = _rate(options, truth, len(speaker))
    labels = ratings.mean(1) if options.raters else truth
    raters = {"arousal": ratings[..., 0], "valence": ratings[..., 1]}
    return _corpus(options, modalities, labels, raters if options.raters else {})


def _smooth(
    options: SyntheticOptions, rng: np.random.Generator, shape: tuple[int, int, int]
) -> np.ndarray:
    """Filters white noise along axis 1 to unit variance and the given smoothness."""
    sigma = options.smoothness / options.frame_step / np.sqrt(2)
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= np.sqrt(np.square(kernel).sum())
    length = shape[1] + 2 * reach
    white = rng.standard_normal((shape[0], length, shape[2]))
    spectrum = np.fft.rfft(white, axis=1) * np.fft.rfft(kernel, length)[:, None]
    # circular convolution is exact from the kernel's length on
    return np.fft.irfft(spectrum, length, axis=1)[:, 2 * reach :]


def _frame_features(
    options: SyntheticOptions, emotion: np.ndarray, speaker: np.ndarray
) -> dict[str, Modality]:
    modalities = {}
    for i, m in enumerate(options.modalities):
        apart, rng = _uninformative(options, i, len(speaker))
        shown = emotion
        if apart.any():
            shown = np.where(
                apart[:, None, None], _smooth(options, rng, emotion.shape), emotion
            )
        common = _surface(options, _rng(options, "surface"), shown)
        own = _surface(options, _rng(options, "surface", 1 + i), shown)
        shape = (options.speakers, options.latent)
        voice = _mixed_normal(options, "speakers", i, shape)[speaker]
        latent = _mix(options, common, own) + options.speaker_scatter * voice[:, None]
        modalities[m] = _observe(options, i, latent.reshape(-1, options.latent))
    return modalities


def _surface(
    options: SyntheticOptions, rng: np.random.Generator, emotion: np.ndarray
) -> np.ndarray:
    """Maps y (N, T, 2) by a phi drawn at random: (N, T, D)."""
    directions = rng.standard_normal((2, options.latent)) * options.curvature
    phases = rng.uniform(0, 2 * np.pi, options.latent)
    return np.sqrt(2) * np.cos(emotion @ directions + phases)


def _rate(options: SyntheticOptions, truth: np.ndarray, num: int) -> np.ndarray:
    """Draws the ratings of the delayed emotion (R, 2): (R, A, 2) float32."""
    rng = _rng(options, "ratings")
    ratings = np.empty((len(truth), options.raters, 2), np.float32)
    for a in range(options.raters):
        bias = options.rater_bias * rng.standard_normal(2)
        noise = _smooth(options, rng, (num, options.frames, 2)).reshape(-1, 2)
        ratings[:, a] = truth + bias + options.rater_noise * noise
    return ratings
