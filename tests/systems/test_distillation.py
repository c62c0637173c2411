from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, POOLING
from ifusion.preprocessing.minibatches import take_target
from ifusion.systems import distillation, matching
from ifusion.systems.difficulty import deal_parts
from ifusion.systems.explicit import EARLY_FUSION, make_network, network_inputs
from ifusion.systems.neural import (
    Trainer,
    lane_arrays,
    plain_trainer,
    recurrent_parts,
    train_plainly,
    tuned_lane,
)
from ifusion.systems.pseudo_labels import find_fusion
from ifusion.systems.shapes import SECOND
from ifusion.systems.system import UnsuitedError
from ifusion.systems.teaching import TARGETS, mark_rows

pytestmark = pytest.mark.usefixtures("unoptimised")


def lane_of(protocol, fold, frozen, setting=None):
    """The arrays of one lane of audio."""
    lane = tuned_lane(fold, "audio", "emotion", 0, setting or {})
    arrays = lane_arrays([lane], protocol.modalities, protocol.targets)
    return jax.tree.map(lambda x: x[0], arrays)._replace(frozen=frozen)


def batch_of(fold, lane):
    """The whole of train as a minibatch of a lane."""
    batch = jax.tree.map(jnp.asarray, fold.train)
    return take_target(batch, lane.target, lane.delay)


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_the_loss_of_distillation_is_the_mean_of_two(utterances):
    """(1 - 1/2) CE(y) + 1/2 T^2 CE(softmax(t / T), softmax(s / T)), T = 3."""
    protocol, fold = utterances
    teacher = np.random.default_rng(0).standard_normal((20, 1, 3)).astype(np.float32)
    soft = np.exp(log_softmax(teacher / 3))
    frozen = {TARGETS: soft.astype(np.float32), "temperature": np.float32(3)}
    learner = distillation.make_program(protocol, "audio").learner
    lane = lane_of(protocol, fold, frozen)
    batch = batch_of(mark_rows(fold), lane)
    params = learner.init(jax.random.key(0), None)
    joint, _ = learner.loss(params, batch, lane, 1, None)
    logits = np.asarray(learner.output(params, batch, lane))[:, 0]
    hard = -log_softmax(logits)[np.arange(20), fold.train.labels[:, 0, 0]].mean()
    imitation = -(soft[:, 0] * log_softmax(logits / 3)).sum(-1).mean()
    np.testing.assert_allclose(joint, (hard + 9 * imitation) / 2, rtol=1e-5)


def test_a_teacher_has_not_seen_the_speakers_that_it_labels(utterances):
    protocol, fold = utterances
    options = replace(protocol.systems, out_of_fold=2)
    protocol = replace(protocol, systems=options)
    parts = deal_parts(fold, 2)
    assert sorted(set(parts)) == [0, 1]
    seen = []

    def watch(requests):
        seen.append([np.asarray(x.fold.train.mask).any(1) for x in requests])
        return train_plainly(requests)

    teacher = find_fusion(protocol)
    fit_one = teacher.system.make_fit(protocol)
    said = distillation.teach_apart(protocol, teacher, fit_one, fold, Trainer(watch), 1)
    (seen,) = seen  # teachers train side by side
    for part, there in enumerate(seen):
        np.testing.assert_array_equal(there, parts != part)
    assert said["audio", "emotion", 0].outputs.shape == (20, 1, 3)


def test_too_few_speakers_are_said(utterances):
    protocol, fold = utterances  # of four speakers
    fit = distillation.DISTILLATION.make_fit(protocol)
    with pytest.raises(UnsuitedError, match="train has only 4 speakers"):
        fit(fold, plain_trainer)


def test_students_of_both_temperatures_differ(utterances, fit_and_predict):
    protocol, fold = utterances
    protocol = replace(protocol, systems=replace(protocol.systems, out_of_fold=2))
    fitted, outputs = fit_and_predict(distillation.DISTILLATION, protocol, fold)
    assert np.isfinite(outputs).all()
    settings = [c.setting["temperature"] for c in fitted.candidates]
    assert settings.count(1.0) == settings.count(3.0) == 4
    first = {c.main: i for i, c in enumerate(fitted.candidates) if c.seed == 0}
    assert len(first) == 2
    assert len({outputs[i].tobytes() for i in range(len(outputs))}) == len(outputs)
    for candidate, params in zip(fitted.candidates, fitted.params, strict=True):
        assert set(params) == {*recurrent_parts(candidate.main)} - {POOLING}


def test_the_hidden_layer_is_what_the_head_reads(utterances):
    protocol, fold = utterances
    fitted = EARLY_FUSION.make_fit(protocol)(fold, plain_trainer)
    params, main = fitted.params[0], "audio+video"
    layer = matching.hidden_layer(protocol, main, params, fold.train)
    np.testing.assert_allclose(layer[:, 0].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(layer[:, 0].std(0), 1, rtol=1e-3)
    network = make_network(protocol, main, early=True)
    inputs = network_inputs(main, True, fold.train.features)
    logits = network.apply(params, inputs, fold.train.mask, None)[OUTPUT]
    # a linear map of the layer, as least squares finds
    design = np.column_stack([layer[:, 0], np.ones(20)])
    fit, *_ = np.linalg.lstsq(design, np.asarray(logits)[:, 0], rcond=None)
    np.testing.assert_allclose(design @ fit, logits[:, 0], atol=1e-4)


def test_the_loss_of_matching_counts_labels_where_there_are_some(utterances):
    protocol, fold = utterances
    labelled = fold.train.labelled * (np.arange(20) < 5)[:, None]
    fold = replace(fold, train=fold.train._replace(labelled=labelled))
    layer = np.random.default_rng(0).standard_normal((20, 1, 4)).astype(np.float32)
    learner = matching.make_program(protocol, "matching", "audio").learner
    marked = matching.mark_known(fold)
    lane = lane_of(protocol, fold, {TARGETS: layer}, {"lambda": 0.3})
    batch = batch_of(marked, lane)
    assert batch.labelled.sum() == 20  # a minibatch without labels trains, too
    params = learner.init(jax.random.key(0), None)
    joint, (losses, _) = learner.loss(params, batch, lane, 1, None)
    logits = np.asarray(learner.output(params, batch, lane))[:5, 0]
    labels = fold.train.labels[:5, 0, 0]
    first = -log_softmax(logits)[np.arange(5), labels].mean()
    np.testing.assert_allclose(losses["first"], first, rtol=1e-5)
    heads = {OUTPUT: protocol.num_outputs, SECOND: protocol.architecture.hidden_size}
    sizes = {"audio": protocol.num_features["audio"]}
    network = make_multi_head(sizes, heads, protocol.architecture)
    outputs = network.apply(params, batch.features, batch.mask, None)
    second = np.square(outputs[SECOND] - layer).mean()  # of all 20
    np.testing.assert_allclose(losses["second"], second, rtol=1e-5)
    np.testing.assert_allclose(joint, first + 0.3 * second, rtol=1e-5)


@pytest.mark.parametrize(
    ("system", "study"),
    [
        pytest.param(matching.MATCHING, "recordings", marks=pytest.mark.slow),
        (matching.SELF_MATCHING, "utterances"),
    ],
)
def test_matching_leaves_a_mono_modal_student(system, study, request, fit_and_predict):
    protocol, fold = request.getfixturevalue(study)
    fitted, outputs = fit_and_predict(system, protocol, fold)
    assert np.isfinite(outputs).all()
    assert {c.setting["lambda"] for c in fitted.candidates} == {0.1, 1.0}
    for candidate, params in zip(fitted.candidates, fitted.params, strict=True):
        assert set(params) == {*recurrent_parts(candidate.main)} - {POOLING}
