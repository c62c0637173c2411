"""Generalised distillation: the student learns labels and a fusion's probabilities.

J = (1 - lambda) CE(y) + lambda T^2 CE(softmax(t / T), softmax(s / T)) with the logits s
of the student and t of the teacher, a fusion of all modalities (Lopez-Paz, Bottou,
Schölkopf and Vapnik, 2016, after Hinton, Vinyals and Dean, 2015). It is the reference
for teachers where every recording has a label.

Not in the paper: lambda is 1/2, and dev chooses T from 1 and 3. Teachers label only
speakers they have not seen, in five parts of the speakers of train unless
`systems.out_of_fold` says otherwise. The penalty is the baseline's.

Axes: L lanes, N sequences, B batch, T time, O classes.
"""

from functools import partial
from itertools import product
from typing import Any

import jax
import numpy as np

from ifusion.core import Losses
from ifusion.lanes import LaneArrays
from ifusion.losses import soft_cross_entropy
from ifusion.models.multi_head import make_multi_head
from ifusion.models.network import OUTPUT, Outputs
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.difficulty import deal_parts, without
from ifusion.systems.neural import (
    TEMPERATURE,
    Program,
    Trainer,
    build_program,
    join_fitted,
    make_recurrent_predict,
    tuned_lanes,
)
from ifusion.systems.pseudo_labels import find_fusion
from ifusion.systems.side_by_side import Ask, side_by_side
from ifusion.systems.system import Fit, Fitted, Fold, Protocol, System
from ifusion.systems.teaching import (
    ROW,
    TARGETS,
    Lesson,
    Teacher,
    decide,
    fit_teacher,
    make_lessons,
    mark_rows,
    train_students,
)
from ifusion.training.learner import make_network_learner

KEY = "generalised_distillation"
TEMPERATURES = (1.0, 3.0)
IMITATION = 0.5  # lambda
PARTS = 5  # of the speakers of train


def make_fit(protocol: Protocol) -> Fit:
    """Builds the fit of the students mains x targets x seeds x temperatures."""
    teacher = find_fusion(protocol)
    fit_one = teacher.system.make_fit(protocol)
    programs = {main: make_program(protocol, main) for main in protocol.mains}
    settings = [{TEMPERATURE: value} for value in TEMPERATURES]
    grid = list(product(protocol.targets, protocol.seeds, settings))

    def fit(fold: Fold, trainer: Trainer) -> Fitted:
        said = teach_apart(protocol, teacher, fit_one, fold, trainer, len(grid))
        marked, fitted = mark_rows(fold), []
        for main, program in programs.items():
            lanes = tuned_lanes(fold, main, grid)
            lessons = [said[main, x.target, x.seed] for x in lanes]
            taught = [
                {
                    TARGETS: decide(lesson.outputs / lane.setting[TEMPERATURE], False),
                    TEMPERATURE: np.array(lane.setting[TEMPERATURE], np.float32),
                }
                for lane, lesson in zip(lanes, lessons, strict=True)
            ]
            failed = [lesson.failed_step for lesson in lessons]
            students = train_students(
                program, lanes, taught, failed, marked, trainer, main
            )
            fitted.append(students)
        return join_fitted(fitted)

    return fit


def teach_apart(
    protocol: Protocol,
    teacher: Teacher,
    fit_one: Fit,
    fold: Fold,
    trainer: Trainer,
    students: int,
) -> dict[tuple[str, str, int], Lesson]:
    """Labels each part of the speakers with a teacher that has not seen it.

    Returns:
      {(main, target, seed) of a student: lesson}.
    """
    count = protocol.systems.out_of_fold or PARTS
    parts = deal_parts(fold, count)

    def teach(part: int, ask: Ask) -> Fitted:
        rest = without(fold, parts, part)
        return fit_teacher(fit_one, rest, Trainer(ask), students, f"part {part}")

    calls = [partial(teach, part) for part in range(count)]
    joined: dict[tuple[str, str, int], Lesson] = {}
    for part, fitted in enumerate(side_by_side(calls, trainer.together)):
        lessons = make_lessons(protocol, teacher, fitted, fold)
        mine = (parts == part)[:, None, None]
        for key, lesson in lessons.items():
            known = joined.get(key, lesson)
            joined[key] = lesson._replace(
                outputs=np.where(mine, lesson.outputs, known.outputs),
                failed_step=max(known.failed_step, lesson.failed_step),
            )
    return joined


def make_program(protocol: Protocol, main: str) -> Program:
    """Builds the program of the students of one main."""
    network = make_multi_head(
        {main: protocol.num_features[main]},
        {OUTPUT: protocol.num_outputs},
        protocol.architecture,
    )

    def objective(
        outputs: Outputs, batch: Batch, lane: LaneArrays, epoch: Any
    ) -> tuple[jax.Array, Losses]:
        logits, temperature = outputs[OUTPUT], lane.frozen[TEMPERATURE]
        soft = lane.frozen[TARGETS][batch.extras[ROW][:, 0]]
        first = protocol.loss(logits, batch.labels, batch.labelled)
        second = soft_cross_entropy(logits / temperature, soft, batch.labelled)
        second = temperature**2 * second
        joint = (1 - IMITATION) * first + IMITATION * second
        return joint, {"first": first, "second": second}

    learner = make_network_learner(network, main, objective)
    return build_program(protocol, f"{KEY} {main}", learner)


DISTILLATION = System(
    key=KEY,
    title="RNN (generalised distillation)",
    make_fit=make_fit,
    make_predict=make_recurrent_predict,
    needs=frozenset({"classes"}),
)
