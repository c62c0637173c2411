"""What systems learn from synthetic corpora whose information is known.

Dev chooses the candidate, test says what it has learnt.
"""

from dataclasses import fields, replace

import jax
import numpy as np
import pytest

from configs import synthetic
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.evaluation.metrics import accuracy, confusion_matrix
from ifusion.losses import cross_entropy, masked_concordance, squared_error
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.disagreement import rater_disagreement
from ifusion.preprocessing.minibatches import shift_back
from ifusion.preprocessing.sequences import (
    SequenceOptions,
    make_batch,
    sequence_rows,
    training_rows,
)
from ifusion.preprocessing.standardise import fit_standardizer
from ifusion.systems import (
    controls,
    distillation,
    implicit_fusion,
    matching,
    pseudo_labels,
)
from ifusion.systems.catalogue import SYSTEMS
from ifusion.systems.neural import plain_trainer
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import Fold, Protocol, Setting
from ifusion.training.dev_score import make_dev_score, pooled_concordance
from ifusion.training.options import TrainingOptions

pytestmark = pytest.mark.slow

# rows of Table 2, or of quantities over time
OVER_TIME = {
    "curriculum",
    "curriculum_random",
    "curriculum_anti",
    "re_two_stage",
    "mtl_re",
    "mtl_pu",
    "ddat_re",
    "ddat_pu",
    "multi_task_targets",
    "implicit_fusion_ddat_pu",
    "svr",
    "late_fusion_ridge",
}
# rows that need a teacher of several mains, and recordings without a label
TAUGHT = {"generalised_distillation", "matching", "matching_own", "self_training"}
LEARNERS = [
    s
    for s in SYSTEMS
    if s.key not in TAUGHT | {"constant"} and not s.key.startswith("pseudo_labels")
]


def make_study(mesh, options, training, hidden_size, window=0, **protocol):
    """Turns a corpus into (protocol, fold, test partition), as the shell does."""
    corpus = make_synthetic(options)
    seen = corpus.partition[
        np.searchsorted(corpus.offsets, np.arange(corpus.num_rows), "right") - 1
    ]
    standardizers = {
        m: fit_standardizer([x.values[seen == "train"]])
        for m, x in corpus.modalities.items()
    }
    extras = {"uncertainty": rater_disagreement(corpus)} if options.raters else {}
    cut = SequenceOptions(window=window, hop=window // 2)
    rows = {
        "train": training_rows(corpus, cut)[:, 0],
        **{p: sequence_rows(corpus, p) for p in ("dev", "test")},
        "whole": sequence_rows(corpus, "train"),
    }
    batches = {
        k: make_batch(corpus, r, standardizers, 0, extras) for k, r in rows.items()
    }
    classes = len(corpus.classes)
    made = Protocol(
        num_features={m: len(x.names) for m, x in corpus.modalities.items()},
        targets=corpus.targets,
        num_classes=classes,
        frame_step=corpus.frame_step,
        architecture=Architecture(
            hidden_size=hidden_size, recurrent=bool(options.frames)
        ),
        training=training,
        loss=cross_entropy if classes else squared_error,
        dev_score=make_dev_score(accuracy, classes) if classes else pooled_concordance,
        capacity={k: batches[k].mask.shape for k in ("train", "dev")},
        mesh=mesh,
        **protocol,
    )
    settings = {(m, t, 0.0): Setting() for m in made.modalities for t in made.targets}
    speakers = np.arange(len(rows["whole"])) % 4
    count = len(rows["train"])
    fold = Fold(
        train=batches["train"],
        dev=batches["dev"],
        num_sequences=count,
        whole=batches["whole"],
        speakers=speakers,
        settings=settings,
        origins=places_of(rows["whole"], rows["train"]),
    )
    return made, fold, batches["test"]


def places_of(whole, windows):
    """Where the first row of each window lies: sequence and step."""
    return np.stack([np.argwhere(whole == first)[0] for first in windows[:, 0]])


def scores(protocol, system, fitted, batch):
    """Accuracy or CCC of every candidate."""
    found = []
    for candidate, params in zip(fitted.candidates, fitted.params, strict=True):
        predict = system.make_predict(protocol, candidate.main)
        outputs = predict(params, batch.features, batch.mask)
        labels = batch.labels[..., protocol.targets.index(candidate.target)]
        if protocol.num_classes:
            known = batch.mask > 0
            counts = confusion_matrix(
                labels[known], outputs[known].argmax(-1), protocol.num_classes
            )
            found.append(float(accuracy(counts)))
        else:
            values = np.asarray(shift_back(outputs, candidate.delay))[..., 0]
            flat = (x.ravel() for x in (values, labels, batch.mask))
            found.append(float(masked_concordance(*flat)))
    return np.array(found)


def chosen(protocol, system, fold, test):
    """Test scores of what dev chooses: {(main, target, seed): score}."""
    fitted = system.make_fit(protocol)(fold, plain_trainer)
    dev, test = (scores(protocol, system, fitted, x) for x in (fold.dev, test))
    best = {}
    for i, c in enumerate(fitted.candidates):
        group = (c.main, c.target, c.seed)
        if group not in best or dev[i] > dev[best[group]]:
            best[group] = i
    return {group: test[i] for group, i in best.items()}


@pytest.fixture(scope="module")
def classes(mesh):
    """Four classes of two modes; a third modality is there for who can use it."""
    options = SyntheticOptions(
        modalities=("audio", "video", "physiology"),
        features=(12, 10, 8),
        noise=(0.4, 0.3, 0.6),
        informative=(1.0, 1.0, 1.0),
        latent=4,
        modes=2,
        recordings=(240, 120, 240),
    )
    return make_study(
        mesh,
        options,
        TrainingOptions(epochs=40, learning_rate=1e-2, batch_size=32),
        hidden_size=12,
        mains=("audio", "video"),
        seeds=(0,),
        alphas=(0.0, 0.5),
        systems=SystemOptions(lambdas=(0.3,), crossed_alphas=(0.0, 0.5)),
    )


@pytest.fixture(scope="module")
def values(mesh):
    """Arousal and valence, whose raters disagree, over time."""
    options = SyntheticOptions(
        features=(10, 8),
        noise=(0.3, 0.2),
        latent=4,
        recordings=(6, 3, 3),
        speakers=12,
        frames=300,
        smoothness=0.8,
        rater_noise=0.2,
    )
    return make_study(
        mesh,
        options,
        TrainingOptions(epochs=20, learning_rate=1e-2, batch_size=16),
        hidden_size=10,
        window=50,
        mains=("audio", "video"),
        seeds=(0,),
        alphas=(0.0, 0.5),
        systems=SystemOptions(lambdas=(0.3,), crossed_alphas=(0.0, 0.5)),
    )


@pytest.mark.parametrize("system", LEARNERS, ids=[s.key for s in LEARNERS])
def test_a_system_beats_the_constant(system, request):
    over_time = system.key in OVER_TIME
    protocol, fold, test = request.getfixturevalue("values" if over_time else "classes")
    if not system.explicit:
        protocol = replace(protocol, mains=("audio",))
    found = chosen(protocol, system, fold, test)
    if over_time:  # whose CCC is 0
        assert min(found.values()) > 0.3
        return
    labels = test.labels[test.mask > 0].ravel()
    constant = np.bincount(fold.train.labels.ravel()).argmax()
    assert min(found.values()) > np.mean(labels == constant) + 0.2


@pytest.fixture(scope="module")
def few_gain(classes):
    """Mean test accuracy from audio beyond the baseline, with 30 of 240 labels."""
    protocol, fold, test = classes
    batch, known = fold.train, 30

    def cut(rows):
        return jax.tree.map(lambda x: x[rows], batch)

    rest = cut(slice(known, None))
    hidden = rest._replace(
        labels=np.zeros_like(rest.labels), labelled=np.zeros_like(rest.labelled)
    )
    few = replace(
        fold,
        train=cut(slice(known)),
        num_sequences=known,
        unlabelled=hidden,
        num_unlabelled=len(hidden.mask),
        speakers=np.arange(known) % 5,
        origins=None,
        whole=cut(slice(known)),
    )
    capacity = {**protocol.capacity, "unlabelled": (len(hidden.mask), 1, 1)}
    protocol = replace(protocol, seeds=(0, 1, 2), capacity=capacity)

    def mean(system):
        found = chosen(protocol, system, few, test)
        return np.mean(
            [score for (main, *_), score in found.items() if main == "audio"]
        )

    baseline = mean(implicit_fusion.BASELINE)
    return lambda system: mean(system) - baseline


def test_a_fusion_teaches_what_few_labels_do_not(few_gain):
    taught = few_gain(pseudo_labels.PSEUDO_LABELS)
    own, shuffled = map(few_gain, (pseudo_labels.SELF_TRAINING, pseudo_labels.SHUFFLED))
    assert taught > 0.03 and taught - own > 0.02 and taught - shuffled > 0.02


@pytest.mark.parametrize("system", [distillation.DISTILLATION, matching.MATCHING])
def test_other_teachers_do_no_harm(few_gain, system):
    assert few_gain(system) > -0.03


@pytest.fixture(scope="module")
def parity(mesh):
    """The corpus on which implicit fusion is known to help audio: XOR of two signs."""
    names = {entry.name for entry in fields(SyntheticOptions)}
    corpus = synthetic.get_config().corpus.to_dict()
    options = SyntheticOptions(**{k: v for k, v in corpus.items() if k in names})
    options = replace(options, seed=130, raters=0)
    protocol, fold, test = make_study(
        mesh,
        options,
        TrainingOptions(epochs=80, patience=30),
        hidden_size=100,
        mains=("audio",),
        seeds=(0, 1, 2),
        alphas=(0.0, 0.3, 0.6, 1.0),
        systems=SystemOptions(),
    )
    fold = replace(fold, settings={("audio", "emotion", 0.0): Setting(l2=0.03)})
    return protocol, fold, test


@pytest.fixture(scope="module")
def gain(parity):
    """Mean test accuracy beyond that of the baseline."""
    protocol, fold, test = parity

    def mean(system):
        found = chosen(protocol, system, fold, test)
        return np.mean(list(found.values()))

    baseline = mean(implicit_fusion.BASELINE)
    return lambda system: mean(system) - baseline


def test_implicit_fusion_gains_and_so_it_does_within_the_class(gain):
    """Its loss pairs modalities by their label alone: the class is all it needs."""
    assert gain(implicit_fusion.IMPLICIT_FUSION) > 0.1
    assert gain(controls.SHUFFLED_WITHIN) > 0.1


@pytest.mark.parametrize(
    "system", [controls.SHUFFLED_ACROSS, controls.NOISE, controls.MATCHED]
)
def test_nothing_is_gained_without_the_information_of_video(gain, system):
    assert gain(system) < 0.05
