"""Cross-modal pseudo-labels: a fusion labels recordings, one modality learns from them.

A teacher that reads several modalities is trained on the labelled recordings of train
and chosen on dev; it then labels the others. The student, one modality, is trained from
scratch on all of them. Use it where labels are scarce and recordings are not.

Two controls: in self-training, the teacher is the baseline of the same modality, so a
gain over it is due to the other modality rather than to more sequences. With shuffled
pairs, the teacher reads other modalities of another recording, so a gain over it is due
to what they say about this one.

Not in the paper. Pseudo-labels follow Lee (2013), and Gupta, Hoffman and Malik (2016)
across modalities. Penalty and delay are those of the baseline. With implicit fusion,
both modalities train on the same targets and dev chooses alpha.

Axes: N sequences, T time, F_m features of modality m.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ifusion.preprocessing.ragged import reorder
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.controls import shuffled_across
from ifusion.systems.explicit import EARLY_FUSION, MODEL_LEVEL_FUSION, joined_mains
from ifusion.systems.implicit_fusion import (
    BASELINE,
    equal_weights,
    weighted_lanes,
)
from ifusion.systems.late_fusion import LATE_FUSION
from ifusion.systems.neural import Trainer, make_recurrent_predict
from ifusion.systems.system import (
    Fit,
    Fitted,
    Fold,
    Protocol,
    System,
    UnsuitedError,
    other_modalities,
    require_plain_training,
)
from ifusion.systems.teaching import (
    TARGETS,
    Show,
    Teacher,
    append_unlabelled,
    fit_teacher,
    make_lessons,
    make_targets,
    mark_rows,
    show_all,
    student_program,
    train_students,
)

FUSIONS = {x.key: x for x in (EARLY_FUSION, MODEL_LEVEL_FUSION, LATE_FUSION)}


def make_fit(
    protocol: Protocol,
    key: str,
    find_teacher: Callable[[Protocol], Teacher],
    shuffled: bool = False,
    fused: bool = False,
) -> Fit:
    """Builds the fit of the students mains x targets x seeds (x alphas).

    If `shuffled`, the teacher reads other modalities of other recordings. A `fused`
    student is implicit fusion, whose alpha dev chooses.
    """
    require_plain_training(protocol)
    if "unlabelled" not in protocol.capacity:
        raise UnsuitedError(
            "every recording of train has a label; expected some without, or "
            "corpus.labelled below 1"
        )
    teacher = find_teacher(protocol)
    fit_one = teacher.system.make_fit(protocol)
    program = student_program(protocol)._replace(key=key)
    alphas: Sequence[float] = protocol.alphas if fused else (0.0,)
    tried = {main: equal_weights(protocol, main, alphas) for main in protocol.mains}
    if not fused:  # nothing to choose
        tried = {m: [x._replace(setting={}) for x in each] for m, each in tried.items()}
    show: Show = partial(shuffle_pairs, protocol) if shuffled else show_all

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        lanes = weighted_lanes(protocol, fold, tried)
        fitted = fit_teacher(fit_one, fold, trainer, len(lanes))
        joined = append_unlabelled(fold, protocol.buckets)
        said = make_lessons(protocol, teacher, fitted, joined, show)
        lessons = [said[lane.main, lane.target, lane.seed] for lane in lanes]
        taught = [
            {TARGETS: make_targets(protocol, joined.train_batch, lesson, lane)}
            for lane, lesson in zip(lanes, lessons, strict=True)
        ]
        failed = [lesson.failed_step for lesson in lessons]
        marked = mark_rows(joined)
        return train_students(program, lanes, taught, failed, marked, trainer)

    return fit


# ---- teachers -----------------------------------------------------------------------


def find_fusion(protocol: Protocol) -> Teacher:
    """Returns the fusion of all mains that `systems.teacher` names."""
    default = "early_fusion" if protocol.num_classes else "late_fusion"
    joined = joined_mains(protocol)
    system = FUSIONS[protocol.systems.teacher or default]
    return Teacher(system, dict.fromkeys(protocol.mains, joined))


def find_other(protocol: Protocol) -> Teacher:
    """Returns the baseline of the other main."""
    if len(protocol.mains) != 2:
        raise UnsuitedError(
            f"the mains are {', '.join(protocol.mains)}; expected two that teach each "
            "other"
        )
    return Teacher(
        BASELINE, dict(zip(protocol.mains, protocol.mains[::-1], strict=True))
    )


def find_own(protocol: Protocol) -> Teacher:
    """Returns the baseline of the same main."""
    return Teacher(BASELINE, {main: main for main in protocol.mains})


def shuffle_pairs(
    protocol: Protocol, fold: Fold, main: str, target: str, seed: int
) -> Batch:
    """Gives each unlabelled sequence the other modalities of another one."""
    batch = fold.train_batch
    there = np.any(batch.mask, axis=1) & ~np.any(batch.labelled, axis=1)
    places = np.flatnonzero(there)
    draw = [seed, protocol.targets.index(target), protocol.modalities.index(main)]
    order = np.arange(len(batch.mask))
    order[places] = places[
        shuffled_across(np.arange(len(places)), np.random.default_rng(draw))
    ]
    features, steps = dict(batch.features), dict(batch.steps)
    for m in other_modalities(protocol, main):
        features[m] = reorder(features[m], order)
        steps |= {m: reorder(steps[m], order)} if steps else {}
    return batch._replace(features=features, steps=steps)


def _system(
    key: str,
    title: str,
    find_teacher: Callable[[Protocol], Teacher],
    shuffled: bool = False,
    fused: bool = False,
    control: str = "",
) -> System:
    fit = partial(
        make_fit, key=key, find_teacher=find_teacher, shuffled=shuffled, fused=fused
    )
    return System(
        key=key,
        title=title,
        make_fit=fit,
        make_predict=make_recurrent_predict,
        needs=frozenset({"unlabelled"}),
        control=control,
        control_of="pseudo_labels" if control else "implicit_fusion",
    )


PSEUDO_LABELS = _system(
    "pseudo_labels", "RNN (pseudo-labels of the fusion)", find_fusion
)
OTHER = _system(
    "pseudo_labels_other", "RNN (pseudo-labels of the other modality)", find_other
)
FUSED = _system(
    "pseudo_labels_implicit_fusion",
    "RNN (implicit fusion + pseudo-labels)",
    find_fusion,
    fused=True,
)
SELF_TRAINING = _system(
    "self_training",
    "Control: self-training",
    find_own,
    control="the other modalities, instead of more recordings",
)
SHUFFLED = _system(
    "pseudo_labels_shuffled",
    "Control: pseudo-labels of shuffled pairs",
    find_fusion,
    shuffled=True,
    control="what the other modalities say about this very recording",
)
