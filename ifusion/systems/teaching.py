"""A trained system, the teacher, labels sequences for another, the student.

The student is implicit fusion or its baseline, trained on a target at each step: the
label if there is one, else the teacher's output. Targets are frozen data of a lane, so
students of several teachers, seeds and delays train side by side and keep nothing of a
teacher.

Not in the paper. Class probabilities are not softened further. Values are rescaled to
the mean and deviation of the labels of train, since averaged outputs shrink and lower
the CCC of a student. A teacher predicts each window of train from its own beginning.

Axes: L lanes, N sequences, B batch, T time, D steps of labels beyond T, F_m features of
modality m, O outputs, K targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ifusion.core import Losses
from ifusion.corpora.corpus import JOIN
from ifusion.lanes import LaneArrays
from ifusion.losses import soft_cross_entropy
from ifusion.preprocessing.minibatches import shift_back
from ifusion.preprocessing.ragged import Buckets, join_recordings, measure_lengths
from ifusion.preprocessing.sequences import Batch
from ifusion.systems.implicit_fusion import make_learner
from ifusion.systems.neural import (
    NeuralLane,
    Program,
    Request,
    Stage,
    Trained,
    Trainer,
    build_program,
    list_candidates,
    recurrent_parts,
    with_extras,
)
from ifusion.systems.system import (
    Candidate,
    Fit,
    Fitted,
    Fold,
    Params,
    Protocol,
    System,
    labels_of,
)
from ifusion.ties import first_best

ROW, TARGETS = "row", "targets"


class Teacher(NamedTuple):
    """A system that labels sequences.

    Attributes:
      system: the system to fit.
      mains: main of a student -> main of its teacher.
    """

    system: System
    mains: Mapping[str, str]


class Lesson(NamedTuple):
    """What a teacher predicts for sequences.

    Attributes:
      outputs: (N, T, O), logits or values of each step.
      delay: how much too early they come [frame].
      failed_step: the update at which the teacher diverged, or -1.
      has: (N, 1) bool, sequences that have what the teacher reads; it says nothing
        about the others.
    """

    outputs: np.ndarray
    delay: int
    failed_step: int
    has: np.ndarray


# ---- the sequences that are taught --------------------------------------------------


def append_unlabelled(fold: Fold, buckets: Buckets = ()) -> Fold:
    """Appends the unlabelled sequences, if any, to those of train, padding last."""
    known, more = fold.train_batch, fold.unlabelled
    if more is None:
        return fold
    counts = (fold.num_sequences, fold.num_unlabelled)

    def join(*parts: Any) -> np.ndarray:
        arrays = [np.asarray(part) for part in parts]
        steps = max(x.shape[1] for x in arrays)
        shape = (sum(map(len, arrays)), steps, *arrays[0].shape[2:])
        joined = np.zeros(shape, arrays[0].dtype)
        begin = 0
        for x, count in zip(arrays, counts, strict=True):
            joined[begin : begin + count, : x.shape[1]] = x[:count]
            begin += count
        return joined

    if known.lengths is None:
        joined = jax.tree.map(join, known, more)
    else:
        rest = [x._replace(features={}, lengths=None) for x in (known, more)]
        features = {
            m: join_recordings([x, more.features[m]], counts)
            for m, x in known.features.items()
        }
        lengths = measure_lengths(features, buckets)
        joined = jax.tree.map(join, *rest)
        joined = joined._replace(features=features, lengths=lengths)
    return replace(fold, train=joined, num_sequences=sum(counts), origins=None)


# ---- teachers -----------------------------------------------------------------------


def fit_teacher(
    fit: Fit, fold: Fold, trainer: Trainer, students: int, stage: str = ""
) -> Fitted:
    """Fits a teacher of L students; every share of the students trains all of it.

    `stage` names the stage if the fold is only a part.
    """

    def named(request: Request) -> Request:
        program = request.program
        if stage:
            program = program._replace(key=f"{program.key} {stage}")
        everyone = [range(len(request.lanes))] * students
        return request._replace(program=program, stage=Stage(stage, reads=everyone))

    def together(requests: Sequence[Request]) -> list[Trained]:
        return trainer.together([named(request) for request in requests])

    return fit(fold, Trainer(together))


def choose_candidates(
    protocol: Protocol, system: System, fitted: Fitted, fold: Fold
) -> dict[tuple[str, str, int], tuple[Candidate, Params]]:
    """Chooses a teacher's candidates by their mean score on dev.

    Returns:
      {(main, target, seed): (candidate, parameters)} of the setting with the highest
      mean over seeds, the first if equal; diverged ones come last.
    """
    scores: dict[tuple[str, str], dict[Any, list[float]]] = {}
    for candidate, params in zip(fitted.candidates, fitted.params, strict=True):
        cell = scores.setdefault((candidate.main, candidate.target), {})
        value = score_on_dev(protocol, system, candidate, params, fold.dev)
        cell.setdefault(_setting(candidate), []).append(value)
    best = {
        cell: [*each][first_best([np.mean(x) for x in each.values()])]
        for cell, each in scores.items()
    }
    return {
        (c.main, c.target, c.seed): (c, params)
        for c, params in zip(fitted.candidates, fitted.params, strict=True)
        if best[c.main, c.target] == _setting(c)
    }


def _setting(candidate: Candidate) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(candidate.setting.items()))


def score_on_dev(
    protocol: Protocol, system: System, candidate: Candidate, params: Params, dev: Batch
) -> float:
    """Scores a candidate by the dev score of the run; -inf if it diverged."""
    if candidate.failed:
        return -np.inf
    outputs = predict_with(protocol, system, candidate, params, dev)
    column = protocol.targets.index(candidate.target)
    labels, known = labels_of(dev, column, candidate.main)
    shifted = shift_back(jnp.asarray(outputs), jnp.asarray(candidate.delay))
    score = protocol.dev_score(
        shifted, jnp.asarray(labels), jnp.asarray(known, jnp.float32)
    )
    return float(score)


def predict_with(
    protocol: Protocol,
    system: System,
    candidate: Candidate,
    params: Params,
    batch: Batch,
) -> np.ndarray:
    """Predicts (N, T, O) from the modalities of a candidate's main."""
    features = {m: batch.features[m] for m in candidate.main.split(JOIN)}
    function = system.make_predict(protocol, candidate.main)
    return np.asarray(function(params, features, np.asarray(batch.mask)))


Show = Callable[[Fold, str, str, int], Batch]  # (fold, main, target, seed) -> batch


def show_all(fold: Fold, main: str, target: str, seed: int) -> Batch:
    """Shows a teacher the sequences unchanged."""
    return fold.train_batch


def make_lessons(
    protocol: Protocol,
    teacher: Teacher,
    fitted: Fitted,
    fold: Fold,
    show: Show = show_all,
) -> dict[tuple[str, str, int], Lesson]:
    """Predicts the sequences of train with a teacher, as `show` shows them.

    Returns:
      {(main, target, seed) of a student: lesson}.
    """
    chosen = choose_candidates(protocol, teacher.system, fitted, fold)
    lessons = {}
    for main in protocol.mains:
        for (own, target, seed), (candidate, params) in chosen.items():
            if own == teacher.mains[main]:
                shown = show(fold, main, target, seed)
                outputs = predict_with(
                    protocol, teacher.system, candidate, params, shown
                )
                lessons[main, target, seed] = Lesson(
                    outputs, candidate.delay, candidate.failed_step, shown.has(own)
                )
    return lessons


# ---- targets ------------------------------------------------------------------------


def make_targets(
    protocol: Protocol, batch: Batch, lesson: Lesson, lane: NeuralLane
) -> np.ndarray:
    """Makes the targets of a lane: labels where known, else the lesson.

    Step t is trained on the truth at t + delay of the lane.

    Returns:
      (N, T, O) float32, class probabilities or values; NaN where neither says anything.
    """
    steps, column = batch.mask.shape[1], protocol.targets.index(lane.target)
    ahead = np.s_[:, lane.delay : lane.delay + steps]
    labels = np.asarray(batch.labels)[ahead][..., column]
    known = np.asarray(batch.labelled)[ahead] * np.asarray(batch.mask) > 0
    places = np.clip(np.arange(steps) + lane.delay - lesson.delay, 0, steps - 1)
    said = lesson.outputs[:, places]
    if protocol.num_classes:
        true = np.eye(protocol.num_classes, dtype=np.float32)[labels]
        said = decide(said, protocol.systems.hard_labels)
    else:
        true = labels[..., None]
        heard = (np.asarray(batch.mask) > 0) & lesson.has
        said = rescale(said, heard, labels[known])
    said = np.where(lesson.has[..., None], said, np.nan)
    return np.where(known[..., None], true, said).astype(np.float32)


def decide(outputs: np.ndarray, hard: bool) -> np.ndarray:
    """Turns logits (..., O) into probabilities; 1 for the largest if `hard`."""
    if hard:
        return np.eye(outputs.shape[-1])[outputs.argmax(-1)]
    powers = np.exp(outputs - outputs.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def rescale(values: np.ndarray, exists: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scales values (N, T, 1) to the mean and deviation of labels (n,).

    Only steps that exist (N, T) count.
    """
    seen = values[exists].astype(np.float64)
    labels = labels.astype(np.float64)
    scale = labels.std() / max(seen.std(), np.finfo(np.float32).tiny)
    return np.asarray((values - seen.mean()) * scale + labels.mean())


# ---- students -----------------------------------------------------------------------


@lru_cache(maxsize=8)
def student_program(protocol: Protocol) -> Program:
    """Builds the program that trains students of implicit fusion on targets.

    Lanes have frozen `TARGETS` (N, T, O); train has the `ROW` of each sequence.
    """

    def task_loss(outputs: Any, targets: Any, mask: Any) -> jax.Array:
        if protocol.num_classes:
            return soft_cross_entropy(outputs, targets, mask)
        return protocol.loss(outputs, targets[..., 0], mask)

    inner = make_learner(replace(protocol, loss=task_loss))

    def loss(
        params: Any, batch: Batch, lane: LaneArrays, epoch: Any, hidden: Any
    ) -> tuple[jax.Array, tuple[Losses, Any]]:
        targets = lane.frozen[TARGETS][batch.extras[ROW][:, 0]]
        taught = batch._replace(labels=targets)
        if protocol.incomplete:  # the teacher may have had nothing to go by
            told = ~jnp.isnan(targets).any(axis=-1)
            taught = batch._replace(
                labels=jnp.where(told[..., None], targets, 0),
                labelled=batch.labelled * told,
            )
        return inner.loss(params, taught, lane, epoch, hidden)

    return build_program(protocol, "student", inner._replace(loss=loss))


def mark_rows(fold: Fold) -> Fold:
    """Numbers the sequences of train; every step now has a target."""
    batch = fold.train_batch
    shape = np.shape(batch.labels)
    rows = np.arange(shape[0], dtype=np.int32)[:, None, None]
    marked = with_extras(fold, {ROW: np.broadcast_to(rows, shape)})
    exists = rows[..., 0] < fold.num_sequences
    taught = np.broadcast_to(exists, shape[:2]).astype(np.float32)
    return replace(marked, train=marked.train_batch._replace(labelled=taught))


def train_students(
    program: Program,
    lanes: Sequence[NeuralLane],
    taught: Sequence[Mapping[str, np.ndarray]],
    failed: Sequence[int],
    fold: Fold,
    trainer: Trainer,
    stage: str = "",
) -> Fitted:
    """Trains students; a student whose teacher diverged counts as diverged.

    `taught` has the frozen data of each lane, `TARGETS` (N, T, ...) among them,
    `failed` the update at which its teacher diverged, or -1; `fold` is from
    `mark_rows`.
    """
    frozen = jax.tree.map(lambda *x: np.stack(x), *taught)
    name = f"student {stage}".strip()
    trained = trainer(program, lanes, fold, Stage(name, frozen))
    theirs, own = np.asarray(failed, np.int32), np.asarray(trained.failed_step)
    trained = trained._replace(failed_step=np.where(theirs >= 0, theirs, own))
    return list_candidates(lanes, trained, recurrent_parts)
