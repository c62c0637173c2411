"""Checks options against a corpus, and makes what all folds share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ifusion.corpora.corpus import (
    JOIN,
    UNLABELLED,
    Corpus,
    Modality,
    row_partition,
    with_targets,
)
from ifusion.corpora.splits import cluster_column
from ifusion.evaluation.metrics import CLASSIFICATION_METRICS
from ifusion.experiment.options import Options, with_sweep
from ifusion.lanes import Lane, make_grid
from ifusion.losses import (
    TaskLoss,
    concordance_loss,
    cross_entropy,
    sequence_concordance_loss,
    squared_error,
)
from ifusion.models.native_gru import choose_instructions
from ifusion.models.parts import EVALUATION_STEPS
from ifusion.preprocessing.disagreement import rater_disagreement
from ifusion.preprocessing.ragged import (
    Buckets,
    choose_buckets,
    find_buckets,
    thinned_lengths,
)
from ifusion.preprocessing.sequences import (
    DEFAULT_POOLING,
    SequenceOptions,
    require_frames,
    sequence_rows,
    training_rows,
    unlabelled_sequences,
)
from ifusion.systems.system import Fit, Protocol, System, UnsuitedError
from ifusion.training.dev_score import CONCORDANCE_SCORES, DevScore, make_dev_score

LOSSES: Mapping[str, TaskLoss] = {
    "squared_error": squared_error,
    "ccc": concordance_loss,
    "ccc_sequences": sequence_concordance_loss,
}
TAKEN = {"joint", "labels", "dev_score"}  # names in the history of a lane
Folds = Mapping[str, Corpus]


class FramesRoom(NamedTuple):
    """Room for the frames of every fold, so that all share one compiled program.

    Attributes:
      steps: {partition: {m: steps of all recordings}}.
      groups: K, the number of recordings of dev in each bucket.
    """

    steps: Mapping[str, Mapping[str, int]]
    groups: tuple[int, ...]


class Study(NamedTuple):
    """What all folds share.

    Attributes:
      options: options of the experiment.
      folds: {name: corpus under its split, with the targets of the study}.
      protocol: protocol that systems are made from.
      tuning: lanes that choose the settings; () if there is only one setting.
      grid: lanes of the whole sweep, with the first setting.
      ahead: how far labels are gathered beyond the last step [frame].
      functionals: protocol of systems that read functionals, if recordings have frames
        and one label; None if all systems read the same.
      room: room for the frames of every fold, or None.
    """

    options: Options
    folds: Folds
    protocol: Protocol
    tuning: tuple[Lane, ...]
    grid: tuple[Lane, ...]
    ahead: int
    functionals: Protocol | None = None
    room: FramesRoom | None = None

    @property
    def over_frames(self) -> bool:
        """Whether systems read frames of recordings that have one label."""
        return bool(self.protocol.buckets)

    def view(self, functionals: bool) -> "Study":
        """Returns the study as seen by systems that read frames, or functionals."""
        if self.functionals is None or not functionals:
            return self
        return self._replace(protocol=self.functionals, functionals=None)

    def features(self, fold: str) -> Mapping[str, Modality]:
        """Returns the features, or frames, that are read of each modality."""
        corpus = self.folds[fold]
        return corpus.frames if self.over_frames else corpus.modalities


def make_study(options: Options, folds: Folds, mesh: Mesh) -> Study:
    """Checks options against the corpus, before anything is trained.

    Raises:
      ValueError: if an option does not suit the corpus.
    """
    platform = mesh.devices.flat[0].platform
    native = choose_instructions(options.sweep.native, platform)
    options = with_sweep(options, native=native)
    corpus = next(iter(folds.values()))
    cluster_column(corpus, options.evaluation.cluster)  # refuses unknown columns
    loss, dev_score = _task(options, corpus)
    modalities = _modalities(options, corpus)
    pooling = _pooling(options, corpus)
    grid, tuning = _lanes(options, modalities, corpus)
    targets = tuple(dict.fromkeys(lane.target for lane in grid))
    folds = {name: with_targets(split, targets) for name, split in folds.items()}
    capacity = _find_capacity(folds, options.sequences)
    count, windows, _ = capacity["train"]
    training = options.training
    if windows > 1:  # no more recordings side by side than there are
        training = replace(training, batch_size=min(training.batch_size, count))
    recurrent = any(shape[-1] > 1 for shape in capacity.values())
    functionals = Protocol(
        num_features={m: len(corpus.modalities[m].names) for m in modalities},
        mains=tuple(dict.fromkeys(lane.main for lane in grid)),
        targets=targets,
        num_classes=len(corpus.classes),
        frame_step=corpus.frame_step,
        architecture=replace(options.model, recurrent=recurrent),
        systems=options.systems,
        seeds=options.sweep.seeds,
        alphas=tuple(float(alpha) for alpha in options.sweep.alphas),
        training=training,
        loss=loss,
        dev_score=dev_score,
        capacity=capacity,
        mesh=mesh,
        memory=options.sweep.memory_gib * 2**30 or None,
        windows=windows,
        block_bytes=int(options.sweep.block_mib * 2**20),
        native=options.sweep.native,
        incomplete=any((x.lengths == 0).any() for x in corpus.frames.values()),
    )
    _require_frames_of_each(folds, functionals)
    ahead = max(lane.delay for lane in (*grid, *tuning))
    study = Study(options, folds, functionals, tuning, grid, ahead)
    if not pooling:
        return study
    buckets, room = _find_room(folds, modalities, options.sequences)
    protocol = replace(
        functionals,
        num_features={m: len(corpus.frames[m].names) for m in modalities},
        architecture=replace(options.model, recurrent=True, pooling=pooling),
        buckets=buckets,
    )
    return study._replace(protocol=protocol, functionals=functionals, room=room)


def _require_frames_of_each(folds: Folds, protocol: Protocol) -> None:
    """Checks that some recordings of train have each modality, and of dev each main.

    Raises:
      ValueError: none has.
    """
    for fold, split in folds.items():
        for part, names in (("train", protocol.modalities), ("dev", protocol.mains)):
            for m in names if split.frames else ():
                if not split.frames[m].lengths[split.partition == part].any():
                    raise ValueError(
                        f"no recording of {part} has frames of {m} (fold {fold}); "
                        "leave it out of sweep.modalities or choose another split"
                    )


def _pooling(options: Options, corpus: Corpus) -> str:
    """Names the pooling over steps; "" if there are none to pool."""
    sequences, pooling = options.sequences, options.sequences.pooling
    require_frames(corpus, sequences)
    if not corpus.frames:
        if pooling != "auto":
            raise ValueError(
                f"training.pooling is {pooling!r}, but {corpus.name!r} has no frames "
                "with one label per recording; expected 'auto'"
            )
        return ""
    if pooling == "functionals":
        return ""
    if sequences.sequence:
        raise ValueError(
            f"training.sequence is {sequences.sequence!r}, but a recording of "
            f"{corpus.name!r} is a sequence of frames already; expected ''"
        )
    if sequences.window or options.sweep.block_mib:
        name = "training.window" if sequences.window else "sweep.block_mib"
        value = sequences.window or options.sweep.block_mib
        raise ValueError(
            f"{name} is {value:g}, but recordings of {corpus.name!r} have one label "
            "each, so they are trained on whole and from memory; expected 0"
        )
    return DEFAULT_POOLING if pooling == "auto" else pooling


def _find_room(
    folds: Folds, modalities: Sequence[str], options: SequenceOptions
) -> tuple[Buckets, FramesRoom]:
    """Chooses buckets, and finds room for the frames of every fold."""
    corpus = next(iter(folds.values()))
    most = options.max_frames
    lengths = {m: thinned_lengths(corpus.frames[m].lengths, most) for m in modalities}
    buckets = choose_buckets(lengths, EVALUATION_STEPS)
    parts = {"train": ("train",), "dev": ("dev",), UNLABELLED: ("train", UNLABELLED)}
    steps = {
        name: {
            m: max(
                1,  # a partition may lack a modality
                *(
                    int(x[np.isin(split.partition, those)].sum())
                    for split in folds.values()
                ),
            )
            for m, x in lengths.items()
        }
        for name, those in parts.items()
    }
    bucket = find_buckets(lengths, buckets)
    counts = [
        np.bincount(bucket[split.partition == "dev"], minlength=len(buckets))
        for split in folds.values()
    ]
    groups = tuple(np.max(counts, axis=0).tolist())
    return buckets, FramesRoom(steps, groups)


def count_grid(options: Options, corpus: Corpus) -> int:
    """Counts the lanes of the sweep."""
    return len(_lanes(options, _modalities(options, corpus), corpus)[0])


def lane_mesh(single: bool = False) -> Mesh:
    """Makes a mesh of this host's devices, or of the first one, for lanes."""
    devices = jax.local_devices()
    return Mesh(np.array(devices[:1] if single else devices), ("lanes",))


def make_fits(
    study: Study, systems: Sequence[System]
) -> tuple[dict[System, Fit], dict[str, str]]:
    """Makes the fits of the systems that suit the corpus.

    Returns:
      {system: fit}, and {key: reason} for the others.

    Raises:
      ValueError: if an option makes no sense for a system, whatever the corpus.
    """
    lacking = _what_corpus_lacks(next(iter(study.folds.values())))
    fits: dict[System, Fit] = {}
    impossible: dict[str, str] = {}
    for system in systems:
        missing = [words for need, words in lacking.items() if need in system.needs]
        if missing:
            impossible[system.key] = f"needs {' and '.join(missing)}"
            continue
        try:
            fits[system] = system.make_fit(study.view(system.functionals).protocol)
        except UnsuitedError as error:
            impossible[system.key] = str(error)
    return fits, impossible


def _task(options: Options, corpus: Corpus) -> tuple[TaskLoss, DevScore]:
    """Picks loss and dev score for the task of the corpus."""
    metric = options.evaluation.metric
    own, other = CLASSIFICATION_METRICS, CONCORDANCE_SCORES
    if not corpus.classes:
        own, other = other, own
    if metric in other:
        raise ValueError(
            f"corpus {corpus.name!r} is a {corpus.task}, but the config is for the "
            f"other task (its evaluation.metric is {metric!r}); use one for a "
            f"{corpus.task}, such as {_config_for(corpus)}"
        )
    _require("evaluation.metric", metric, own)
    if corpus.classes:
        if corpus.frame_step is not None:
            raise ValueError(
                f"corpus {corpus.name!r} is a classification of frames (frame_step "
                f"{corpus.frame_step} s); expected single utterances, without a "
                "frame_step"
            )
        score = CLASSIFICATION_METRICS[metric]
        return cross_entropy, make_dev_score(score, len(corpus.classes))
    _require("training.loss", options.loss, LOSSES)
    if corpus.frame_step is None:
        _require_single(options, corpus)
    convention = options.evaluation.convention
    return LOSSES[options.loss], partial(
        CONCORDANCE_SCORES[metric], convention=convention
    )


def _config_for(corpus: Corpus) -> str:
    """Names the config, with its variant, for the task of a corpus."""
    if corpus.source.get("kind") == "omg":
        return "configs/omg.py" + ("" if corpus.classes else ":dimensions")
    if corpus.classes:
        return "configs/folder.py"
    kind = "values" if corpus.frame_step is None else "continuous"
    return f"configs/folder.py:{kind}"


def _require_single(options: Options, corpus: Corpus) -> None:
    """Refuses options that need frames if recordings have one value."""
    metric, steps = options.evaluation.metric, options.postprocessing.steps
    if metric == "ccc_recordings":
        name, value, expected = "evaluation.metric", repr(metric), "'ccc_pooled'"
    elif options.loss == "ccc_sequences":
        name, value = "training.loss", repr(options.loss)
        expected = "'squared_error' or 'ccc'"
    elif {"median", "shift"} & set(steps):
        name, value = "postprocessing.steps", repr(steps)
        expected = "some of 'centre' and 'scale', or none"
    else:
        return
    raise ValueError(
        f"{name} is {value}, which needs values over time, but {corpus.name!r} has one "
        f"value per recording; expected {expected} (as in configs/folder.py:values)"
    )


def _require(name: str, value: str, known: Mapping[str, object]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")


def _modalities(options: Options, corpus: Corpus) -> tuple[str, ...]:
    """Names the modalities of the study, in the order of the loss weights."""
    chosen = options.sweep.modalities
    for name in chosen:
        if name not in corpus.modalities:
            raise ValueError(
                f"sweep.modalities holds {name!r}; the modalities of {corpus.name!r} "
                f"are {', '.join(corpus.modalities)}"
            )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"sweep.modalities repeats a name: {chosen}")
    names = chosen or tuple(corpus.modalities)
    for name in names:
        if name in TAKEN or JOIN in name:
            raise ValueError(f"a modality cannot be called {name!r}; rename it")
    return names


def _lanes(
    options: Options, modalities: tuple[str, ...], corpus: Corpus
) -> tuple[tuple[Lane, ...], tuple[Lane, ...]]:
    """Lists the lanes of the sweep and those that choose its settings."""
    sweep = options.sweep
    mains, targets = sweep.mains or modalities, sweep.targets or corpus.targets
    for name, values, known in (
        ("mains", mains, modalities),
        ("targets", targets, corpus.targets),
    ):
        for value in values:
            if value not in known:
                raise ValueError(
                    f"sweep.{name} holds {value!r}; expected one of {', '.join(known)}"
                )
    delays = _delays(sweep.delays, corpus)
    shifted = options.training.delay_scoring == "shifted"
    if sweep.tune == "alpha" and shifted and len(delays) > 1:
        raise ValueError(
            "training.delay_scoring 'shifted' scores lanes of different delays on "
            "different labels, so alphas with delays of their own cannot be compared; "
            "use 'original', sweep.tune 'baseline', or one value in sweep.delays"
        )
    grid = make_grid(
        mains, targets, sweep.alphas, sweep.seeds, sweep.l2[:1], delays[:1]
    )
    tuning = make_grid(
        mains,
        targets,
        (0.0,) if sweep.tune == "baseline" else sweep.alphas,
        sweep.tuning_seeds or sweep.seeds,
        sweep.l2,
        delays,
    )
    return grid, tuning if len(sweep.l2) * len(delays) > 1 else ()


def _delays(seconds: Sequence[float], corpus: Corpus) -> tuple[int, ...]:
    """Converts annotation delays [s] to frames, each once."""
    if corpus.frame_step is None:
        if tuple(seconds) != (0.0,):
            raise ValueError(
                f"sweep.delays is {tuple(seconds)}; expected (0.0,), since "
                f"{corpus.name!r} has no frames"
            )
        return (0,)
    for value in seconds:
        if not (isinstance(value, int | float) and 0 <= value < float("inf")):
            raise ValueError(f"sweep.delays holds {value!r}; expected at least 0 [s]")
    frames = tuple(round(value / corpus.frame_step) for value in seconds)
    if len(set(seconds)) > 1 and not any(frames):
        raise ValueError(
            f"sweep.delays, up to {max(seconds):g} s, all fall on frame 0, since a "
            f"frame of {corpus.name!r} takes {corpus.frame_step:g} s; write times and "
            "frame_step in seconds, or set sweep.delays to (0.0,)"
        )
    return tuple(dict.fromkeys(frames))


def _find_capacity(
    folds: Folds, sequences: SequenceOptions
) -> dict[str, tuple[int, ...]]:
    """Finds sizes that hold every fold, so that all share one compiled program.

    Returns:
      {"train": (N, W, T), "dev": (N, T)}, and `UNLABELLED`: (N, W, T) if there are such
      sequences.
    """

    def room(list_rows: Callable[..., np.ndarray]) -> tuple[int, ...]:
        shapes = [list_rows(corpus, sequences).shape for corpus in folds.values()]
        return tuple(np.max(shapes, axis=0).tolist())

    dev = evaluation_room(folds, "dev", sequences.sequence)
    unlabelled = room(unlabelled_sequences)
    others = {UNLABELLED: unlabelled} if unlabelled[0] else {}
    return {"train": room(training_rows), "dev": dev, **others}


def evaluation_room(folds: Folds, partition: str, by: str) -> tuple[int, int]:
    """Finds room (N, T) for whole sequences of a partition in every fold."""
    shapes = [sequence_rows(corpus, partition, by).shape for corpus in folds.values()]
    count, steps = np.max(shapes, axis=0).tolist()
    if steps > EVALUATION_STEPS:  # evaluated in parts of equal length
        steps += -steps % EVALUATION_STEPS
    return count, steps


def _what_corpus_lacks(corpus: Corpus) -> dict[str, str]:
    """Lists what the corpus lacks that systems may need, {need: in words}."""
    lacking = {}
    if not _raters_disagree(corpus):
        rated = any(target in corpus.raters for target in corpus.targets)
        lacking["raters"] = "raters who disagree" if rated else "raters"
    other = "regression" if corpus.classes else "classes"
    return {**lacking, other: other}


def _raters_disagree(corpus: Corpus) -> bool:
    """Returns whether raters agree more on some labels of train than on others."""
    disagreement = rater_disagreement(corpus)
    if disagreement is None:
        return False
    known = np.ma.masked_invalid(disagreement[row_partition(corpus) == "train"])
    return bool(np.all(np.ma.filled(known.max(0) > known.min(0), False)))
