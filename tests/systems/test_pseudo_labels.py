from dataclasses import replace

import jax
import numpy as np
import pytest

from ifusion.models.network import POOLING
from ifusion.systems import pseudo_labels, teaching
from ifusion.systems.explicit import EARLY_FUSION
from ifusion.systems.implicit_fusion import BASELINE, joint_program
from ifusion.systems.neural import (
    list_candidates,
    plain_trainer,
    recurrent_parts,
    tuned_lane,
)
from ifusion.systems.system import UnsuitedError
from ifusion.systems.teaching import TARGETS, Lesson, append_unlabelled, make_targets

KNOWN = 12  # of twenty utterances
EVERY = np.ones((1, 1), bool)  # each sequence has what the teacher reads

pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture(scope="module")
def few(utterances):
    """The study of utterances, the last eight of whose labels are hidden."""
    return hide(*utterances, KNOWN)


@pytest.fixture(scope="module")
def few_windows(recordings):
    """The study over time, the last two of whose five windows have no label."""
    return hide(*recordings, 3)


def hide(protocol, fold, known):
    """Takes labels from the sequences behind the first ones; two rows are padding."""
    count, rest = fold.num_sequences, fold.num_sequences - known

    def take(x, rows, room):
        return np.concatenate([x[rows], np.zeros_like(x[: room - len(x[rows])])])

    def cut(rows, room):
        return jax.tree.map(lambda x: take(np.asarray(x), rows, room), fold.train)

    train = cut(np.arange(known), known + 1)
    unlabelled = cut(np.arange(known, count), rest + 2)
    nothing = np.zeros_like(unlabelled.labelled)
    zeros = np.zeros_like(unlabelled.labels)
    fold = replace(
        fold,
        train=train,
        num_sequences=known,
        unlabelled=unlabelled._replace(labelled=nothing, labels=zeros),
        num_unlabelled=rest,
    )
    room = (rest + 2, *protocol.capacity["train"][1:])
    return replace(protocol, capacity={**protocol.capacity, "unlabelled": room}), fold


@pytest.mark.parametrize("study", ["few", "few_windows"])
def test_joining_puts_padding_last(study, request, utterances, recordings):
    _, fold = request.getfixturevalue(study)
    whole = (utterances if study == "few" else recordings)[1]
    joined = append_unlabelled(fold)
    count = whole.num_sequences
    assert joined.num_sequences == count
    batch = joined.train
    for m, x in whole.train.features.items():
        np.testing.assert_array_equal(batch.features[m][:count], x[:count])
    assert not batch.mask[count:].any() and len(batch.mask) == count + 3
    known = fold.num_sequences
    np.testing.assert_array_equal(batch.labelled[:known], whole.train.labelled[:known])
    assert not batch.labelled[known:].any()


def test_targets_are_labels_where_known_else_what_the_teacher_says(few):
    protocol, fold = few
    batch = append_unlabelled(fold).train
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((len(batch.mask), 1, 3))
    lane = tuned_lane(fold, "audio", "emotion", 0, {})
    found = make_targets(protocol, batch, Lesson(logits, 0, -1, EVERY), lane)
    powers = np.exp(logits)
    expected = powers / powers.sum(-1, keepdims=True)
    labelled = batch.labelled[:, 0] > 0
    expected[labelled] = np.eye(3)[batch.labels[labelled, 0, 0]][:, None]
    assert 0 < labelled.sum() < 20
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    hard = replace(protocol, systems=replace(protocol.systems, hard_labels=True))
    found = make_targets(hard, batch, Lesson(logits, 0, -1, EVERY), lane)
    assert set(np.unique(found)) == {0, 1}
    np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))


def test_values_have_the_mean_and_deviation_of_the_labels(few_windows):
    protocol, fold = few_windows
    batch = append_unlabelled(fold).train
    rng = np.random.default_rng(0)
    said = 7 + 0.1 * rng.standard_normal((*batch.mask.shape, 1))
    lane = tuned_lane(fold, "audio", "valence", 0, {})  # labels two frames ahead
    assert lane.delay == 2
    found = make_targets(protocol, batch, Lesson(said, 2, -1, EVERY), lane)
    exists = batch.mask > 0
    labels = batch.labels[:, 2:, 1]
    known = (batch.labelled[:, 2:] > 0) & exists
    np.testing.assert_array_equal(found[known, 0], labels[known])
    expected = (said[..., 0] - said[exists].mean()) / said[exists].std()
    expected = expected * labels[known].std() + labels[known].mean()
    free = exists & ~known
    assert free.any()
    np.testing.assert_allclose(found[free, 0], expected[free], rtol=1e-4)


def test_a_teacher_of_another_delay_is_read_at_the_same_time(few_windows):
    protocol, fold = few_windows
    batch = append_unlabelled(fold).train
    steps = batch.mask.shape[1]
    said = np.broadcast_to(np.arange(float(steps))[:, None], (*batch.mask.shape, 1))
    lane = tuned_lane(fold, "audio", "valence", 0, {})
    found = make_targets(protocol, batch, Lesson(said, 1, -1, EVERY), lane)
    # what is true at t + 2 is what the teacher says a frame later, to the end
    row = found[fold.num_sequences, :, 0]
    np.testing.assert_allclose(np.diff(row)[:-1], np.diff(row)[0], rtol=1e-4)
    assert row[-1] == row[-2]


def test_a_student_of_true_labels_is_the_baseline(utterances):
    protocol, fold = utterances
    lanes = [tuned_lane(fold, main, "emotion", 0, {}) for main in protocol.mains]
    expected = plain_trainer(joint_program(protocol), lanes, fold)
    truth = np.eye(3, dtype=np.float32)[fold.train.labels[..., 0]]
    known = fold.train.labelled > 0
    assert known.all()
    found = teaching.train_students(
        teaching.student_program(protocol),
        lanes,
        [{TARGETS: truth}] * 2,
        [-1, -1],
        teaching.mark_rows(fold),
        plain_trainer,
    )
    expected = list_candidates(lanes, expected, recurrent_parts)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
        (found.params, found.auxiliary),
        (expected.params, expected.auxiliary),
    )
    assert found.candidates == expected.candidates


def test_a_teacher_that_diverged_fails_its_student(few):
    protocol, fold = few
    joined = append_unlabelled(fold)
    lanes = [tuned_lane(fold, "audio", "emotion", seed, {}) for seed in (0, 1)]
    targets = np.full((len(joined.train.mask), 1, 3), 1 / 3, np.float32)
    found = teaching.train_students(
        teaching.student_program(protocol),
        lanes,
        [{TARGETS: targets}] * 2,
        [4, -1],
        teaching.mark_rows(joined),
        plain_trainer,
    )
    assert [c.failed_step for c in found.candidates] == [4, -1]


SYSTEMS = [
    pseudo_labels.PSEUDO_LABELS,
    pseudo_labels.OTHER,
    pseudo_labels.SELF_TRAINING,
    pseudo_labels.SHUFFLED,
    pseudo_labels.FUSED,
]


@pytest.mark.parametrize(
    "study", ["few", pytest.param("few_windows", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "system",
    [SYSTEMS[0], *(pytest.param(x, marks=pytest.mark.slow) for x in SYSTEMS[1:])],
    ids=lambda x: x.key,
)
def test_a_student_holds_nothing_of_its_teacher(
    system, study, request, fit_and_predict
):
    protocol, fold = request.getfixturevalue(study)
    fitted, outputs = fit_and_predict(system, protocol, fold)
    assert np.isfinite(outputs).all()
    for candidate, params in zip(fitted.candidates, fitted.params, strict=True):
        assert set(params) == {*recurrent_parts(candidate.main)} - {POOLING}
    alone = BASELINE.make_fit(protocol)(fold, plain_trainer)
    assert fitted.candidates[0].parameters == alone.candidates[0].parameters


def test_the_better_setting_of_a_teacher_is_chosen(few):
    protocol, fold = few
    fitted = EARLY_FUSION.make_fit(protocol)(fold, plain_trainer)
    settings = {tuple(c.setting.items()) for c in fitted.candidates}
    assert len(settings) == 2
    chosen = teaching.choose_candidates(protocol, EARLY_FUSION, fitted, fold)
    scores = {}
    for candidate, params in zip(fitted.candidates, fitted.params, strict=True):
        outputs = EARLY_FUSION.make_predict(protocol, candidate.main)(
            params, fold.dev.features, fold.dev.mask
        )
        right = outputs[:, 0].argmax(-1) == fold.dev.labels[:, 0, 0]
        scores.setdefault(candidate.setting["l2"], []).append(right.mean())
    best = max(scores, key=lambda key: np.mean(scores[key]))
    assert {c.setting["l2"] for c, _ in chosen.values()} == {best}
    assert {key[2] for key in chosen} == {0, 1}


def test_shuffled_pairs_are_of_other_unlabelled_recordings(few):
    protocol, fold = few
    joined = append_unlabelled(fold)
    batch = joined.train
    shown = pseudo_labels.shuffle_pairs(protocol, joined, "audio", "emotion", 0)
    np.testing.assert_array_equal(shown.features["audio"], batch.features["audio"])
    mine, theirs = shown.features["video"][:, 0], batch.features["video"][:, 0]
    np.testing.assert_array_equal(mine[:KNOWN], theirs[:KNOWN])
    assert (mine[KNOWN:20] != theirs[KNOWN:20]).any(1).all()
    order = [np.flatnonzero((theirs == row).all(1))[0] for row in mine[KNOWN:20]]
    assert sorted(order) == list(range(KNOWN, 20))


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda x: x.key)
def test_labels_everywhere_leave_nothing_to_teach(system, utterances):
    with pytest.raises(UnsuitedError, match="every recording of train has a label"):
        system.make_fit(utterances[0])


def test_a_teacher_needs_several_mains(few):
    protocol = replace(few[0], mains=("audio",))
    with pytest.raises(UnsuitedError, match="needs at least two mains"):
        pseudo_labels.PSEUDO_LABELS.make_fit(protocol)
    with pytest.raises(UnsuitedError, match="the mains are audio; expected two"):
        pseudo_labels.OTHER.make_fit(protocol)
