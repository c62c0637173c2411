"""A study: the lanes of a config, trained and scored on every fold of a corpus."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from classification import make_classification
from data import cluster_column
from jax.sharding import Mesh
from ml_collections import ConfigDict
from partitions import (
    chosen_modalities,
    find_capacity,
    read_training,
)
from regression import make_regression
from settings import WHOLE, Share, cut_lanes, list_lanes
from task import Task

from ifusion.core import ImplicitFusion
from ifusion.corpora.corpus import Corpus
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.sequences import (
    SequenceOptions,
)
from ifusion.training.lanes import Lane, lane_arrays
from ifusion.training.learner import make_implicit_fusion
from ifusion.training.options import TrainingOptions
from ifusion.training.sweep import Sweep, build_sweep


class Plan(NamedTuple):
    """What is the same for every fold.

    Attributes:
      lanes: all training runs, or those of a share.
      tuning: those that settings are chosen by; () where there is one setting only.
      modalities: names, in the order of the loss weights.
      targets: names, in the order of the labels.
      model: the network.
      options: how lanes are trained.
      sequences: what the GRU runs over.
      task: what is predicted, and how that is scored.
      sweep: the program.
      capacity: {"train": (N, W, T), "dev": (N, T)}, sequences, windows whose state is
        carried, and steps that the arrays of a fold have room for.
      block_bytes: of train that is read at once while lanes train; 0 = it is held.
    """

    lanes: tuple[Lane, ...]
    tuning: tuple[Lane, ...]
    modalities: tuple[str, ...]
    targets: tuple[str, ...]
    model: ImplicitFusion
    options: TrainingOptions
    sequences: SequenceOptions
    task: Task
    sweep: Sweep
    capacity: Mapping[str, tuple[int, ...]]
    block_bytes: int


def make_plan(
    config: ConfigDict,
    folds: Mapping[str, Corpus],
    mesh: Mesh,
    share: Share = WHOLE,
) -> Plan:
    """Checks a config against the corpus and builds the program.

    Args:
      config: of the run.
      folds: the corpus under each split.
      mesh: devices that lanes are spread over.
      share: of the lanes.

    Raises:
      ValueError: an entry does not fit the corpus or makes no sense, or there are fewer
        lanes than shares.
    """
    corpus = next(iter(folds.values()))
    check_evaluation(config.evaluation, corpus)
    check_amounts(config.sweep)
    task = make_task(config, corpus)
    modalities = chosen_modalities(config.sweep, corpus)
    lanes, tuning = list_lanes(config, modalities, corpus)
    lane_arrays(lanes, modalities, corpus.targets)  # refuses unknown names
    lanes, tuning = cut_lanes(share, lanes, tuning)
    options, sequences = read_training(config.training)
    capacity = find_capacity(folds, sequences)
    room, windows, _ = capacity["train"]
    if windows > 1:  # no more recordings side by side than there are
        options = replace(options, batch_size=min(options.batch_size, room))
    recurrent = any(shape[-1] > 1 for shape in capacity.values())
    model = ImplicitFusion(
        modalities,
        task.num_outputs,
        Architecture(**config.model, recurrent=recurrent),
    )
    sizes = {m: len(corpus.modalities[m].names) for m in modalities}
    budget = config.sweep.memory_gib * 2**30 or None
    block = int(config.sweep.block_mib * 2**20)
    sweep = build_sweep(
        make_implicit_fusion(model, sizes, task.loss),
        *(task.dev_score, options, mesh),
        windows=windows,
        memory=budget,
    )
    return Plan(
        lanes=lanes,
        tuning=tuning,
        modalities=modalities,
        targets=corpus.targets,
        model=model,
        options=options,
        sequences=sequences,
        task=task,
        sweep=sweep,
        capacity=capacity,
        block_bytes=block,
    )


def count_lanes(config: ConfigDict, folds: Mapping[str, Corpus]) -> int:
    """Counts the lanes of a config.

    Raises:
      ValueError: an entry makes no sense.
    """
    corpus = next(iter(folds.values()))
    lanes, _ = list_lanes(config, chosen_modalities(config.sweep, corpus), corpus)
    return len(lanes)


def steps_of(plan: Plan) -> int:
    """Counts the updates of an epoch."""
    sequences, windows, _ = plan.capacity["train"]
    return -(-sequences // plan.options.batch_size) * windows


def make_task(config: ConfigDict, corpus: Corpus) -> Task:
    """Builds the task of a corpus.

    Raises:
      ValueError: an entry of the config does not fit it.
    """
    makers = {"classification": make_classification, "regression": make_regression}
    return makers[corpus.task](config, corpus)


def check_evaluation(section: ConfigDict, corpus: Corpus) -> None:
    """Checks the section `evaluation` of a config against the corpus.

    Raises:
      ValueError: an entry makes no sense.
    """
    if section.resamples < 1:
        raise ValueError(f"evaluation.resamples is {section.resamples}; expected > 0")
    cluster_column(corpus, section.cluster)


def check_amounts(section: ConfigDict) -> None:
    """Checks what the section `sweep` of a config says of memory, time and snapshots.

    Raises:
      ValueError: an entry makes no sense.
    """
    for name in ("save_every_seconds", "memory_gib", "block_mib"):
        if not 0 <= section[name] < float("inf"):
            raise ValueError(f"sweep.{name} is {section[name]}; expected at least 0")
    if section.keep_snapshots < 1:
        raise ValueError(
            f"sweep.keep_snapshots is {section.keep_snapshots}; expected at least 1"
        )
