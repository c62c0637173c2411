"""Many systems under one protocol: fitted, chosen on dev, and scored, fold by fold."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from candidates import describe_choice, is_finished, run_system, score_candidates
from files import (
    FIT,
    FITTED,
    SETTINGS,
    SYSTEMS,
    TUNING,
    replace_rows,
    write_json,
)
from hosts import lane_mesh
from judging import Judge, Sheet, make_judge, make_sheet
from ml_collections import ConfigDict
from partitions import (
    chosen_modalities,
    evaluation_room,
    find_capacity,
    fit_standardizers,
    read_training,
)
from progress import ProgressLine
from settings import list_lanes, tune_lanes
from study import check_amounts, check_evaluation, make_task

from ifusion.corpora.corpus import JOIN, Corpus, row_partition, with_targets
from ifusion.models.architecture import Architecture
from ifusion.preprocessing.disagreement import rater_disagreement
from ifusion.preprocessing.sequences import (
    SequenceOptions,
    make_batch,
    pad_rows,
    sequence_rows,
    training_rows,
)
from ifusion.reporting.comparison import BASELINE
from ifusion.reporting.comparison_run import ENTRY, read_facts
from ifusion.reporting.run import NUMBER, Kinds, read_objects
from ifusion.reporting.wording import notation
from ifusion.systems.options import SystemOptions
from ifusion.systems.system import (
    Fit,
    Fold,
    Protocol,
    Setting,
    System,
    UnsuitedError,
    Watch,
)
from ifusion.systems.tuning import make_tuning
from ifusion.training.lanes import Lane, lane_arrays

UNCERTAINTY = "uncertainty"  # the extra of a batch
# a row of the settings of a fold
SETTING: Kinds = {"main": str, "target": str, "l2": NUMBER, "delay": int}


class Study(NamedTuple):
    """What is the same for every system and fold.

    Attributes:
      protocol: that systems are made from.
      folds: {name: corpus under its split, with the targets compared}.
      judges: {fold: of its split}.
      baseline: lanes of alpha = 0, one a main and target at least, under the first
        setting.
      tuning: lanes that settings are chosen by; () where there is one setting only.
      sequences: what the GRU runs over.
      ahead: [frame] beyond the last step that labels are gathered for.
      cluster: column that significance resamples.
    """

    protocol: Protocol
    folds: Mapping[str, Corpus]
    judges: Mapping[str, Judge]
    baseline: tuple[Lane, ...]
    tuning: tuple[Lane, ...]
    sequences: SequenceOptions
    ahead: int
    cluster: str


def make_study(config: ConfigDict, folds: Mapping[str, Corpus]) -> Study:
    """Checks a config against the corpus.

    Raises:
      ValueError: an entry does not fit the corpus, makes no sense, or is none that all
        systems can be compared under.
    """
    corpus = next(iter(folds.values()))
    check_evaluation(config.evaluation, corpus)
    check_amounts(config.sweep)
    _require_comparable(config)
    task = make_task(config, corpus)
    modalities = chosen_modalities(config.sweep, corpus)
    for name in modalities:
        if JOIN in name:
            raise ValueError(f"a modality may not be called {name!r}, with a {JOIN}")
    lanes, tuning = list_lanes(config, modalities, corpus)
    lane_arrays(lanes, modalities, corpus.targets)  # refuses unknown names
    targets = tuple(dict.fromkeys(lane.target for lane in lanes))
    folds = {name: with_targets(split, targets) for name, split in folds.items()}
    options, sequences = read_training(config.training)
    capacity = find_capacity(folds, sequences)
    recurrent = any(shape[-1] > 1 for shape in capacity.values())
    protocol = Protocol(
        num_features={m: len(corpus.modalities[m].names) for m in modalities},
        mains=tuple(dict.fromkeys(lane.main for lane in lanes)),
        targets=targets,
        num_classes=len(corpus.classes),
        frame_step=corpus.frame_step,
        seeds=tuple(config.sweep.seeds),
        alphas=tuple(float(alpha) for alpha in config.sweep.alphas),
        architecture=Architecture(**config.model, recurrent=recurrent),
        training=options,
        systems=SystemOptions(**config.systems.to_dict()),
        loss=task.loss,
        dev_score=task.dev_score,
        capacity=capacity,
        mesh=lane_mesh(),
        memory=config.sweep.memory_gib * 2**30 or None,
    )
    return Study(
        protocol,
        folds,
        {name: make_judge(config, split) for name, split in folds.items()},
        tuple(lane for lane in lanes if lane.alpha == 0),
        tuning,
        sequences,
        max(lane.delay for lane in (*lanes, *tuning)),
        config.evaluation.cluster,
    )


def _require_comparable(config: ConfigDict) -> None:
    """Refuses what only the sweep of alphas does."""
    if config.sweep.tune != "baseline":
        raise ValueError(
            f"sweep.tune is {config.sweep.tune!r}; systems are compared under the "
            "settings of the mono-modal baseline, expected 'baseline'"
        )
    if config.training.delay_scoring != "original":
        raise ValueError(
            f"training.delay_scoring is {config.training.delay_scoring!r}; systems of "
            "different delays are compared on the labels as they are, expected "
            "'original'"
        )
    if config.training.carry:
        raise ValueError(
            "training.carry is True; not every system has a state to carry from window "
            "to window, expected False"
        )
    if config.sweep.block_mib:
        raise ValueError(
            f"sweep.block_mib is {config.sweep.block_mib}; not every system can read "
            "its data in blocks, expected 0"
        )


def what_corpus_lacks(corpus: Corpus) -> dict[str, str]:
    """Lists what systems may need and the corpus lacks: {need: in words}."""
    there = {
        "raters": _raters_disagree(corpus),
        "classes": bool(corpus.classes),
        "frames": corpus.frame_step is not None,
        "regression": not corpus.classes,
    }
    rated = any(target in corpus.raters for target in corpus.targets)
    words = {"raters": "raters who disagree"} if rated else {}
    return {need: words.get(need, need) for need in there if not there[need]}


def what_is_missing(system: System, lacking: Mapping[str, str]) -> str:
    """Names what a system needs of what a corpus lacks; "" if nothing."""
    names = [said for need, said in lacking.items() if need in system.needs]
    return f"needs {' and '.join(names)}" if names else ""


def _raters_disagree(corpus: Corpus) -> bool:
    """Says whether train has labels that raters agree on more, and on less."""
    disagreement = rater_disagreement(corpus)
    if disagreement is None:
        return False
    known = np.ma.masked_invalid(disagreement[row_partition(corpus) == "train"])
    return bool(np.all(np.ma.filled(known.max(0) > known.min(0), False)))


class FoldData(NamedTuple):
    """A fold as systems and judge take it.

    Attributes:
      fold: what systems are fitted on.
      sheets: {"dev" and, where it is opened, "test": partition}.
    """

    fold: Fold
    sheets: Mapping[str, Sheet]


def gather_fold(study: Study, name: str, partitions: Sequence[str]) -> FoldData:
    """Gathers the arrays of a fold; its settings are still to be chosen."""
    corpus, by = study.folds[name], study.sequences.sequence
    standardizers = fit_standardizers(corpus, study.protocol.modalities)
    disagreement = rater_disagreement(corpus)
    extras = {} if disagreement is None else {UNCERTAINTY: disagreement}
    train_rows = training_rows(corpus, study.sequences)
    whole_rows = sequence_rows(corpus, "train", by)
    capacity = study.protocol.capacity
    rows = {
        "train": pad_rows(train_rows, *capacity["train"])[:, 0],
        "dev": pad_rows(sequence_rows(corpus, "dev", by), *capacity["dev"]),
        "whole": whole_rows,
    }
    batches = {
        part: make_batch(corpus, mine, standardizers, study.ahead, extras)
        for part, mine in rows.items()
    }
    recordings = np.searchsorted(corpus.offsets, whole_rows[:, 0], side="right") - 1
    _, speakers = np.unique(corpus.speaker[recordings], return_inverse=True)
    fold = Fold(
        train=batches["train"],
        dev=batches["dev"],
        num_sequences=len(train_rows),
        whole=batches["whole"],
        speakers=speakers,
        settings={},
        origins=_places(whole_rows, corpus.num_rows)[train_rows[:, 0, 0]],
    )
    sheets = {
        partition: make_sheet(
            *(corpus, name, partition, evaluation_room(study.folds, partition, by)),
            *(standardizers, by, study.cluster),
        )
        for partition in partitions
    }
    return FoldData(fold, sheets)


def _places(rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Sequence and step (N, T) of each row of the corpus: (R, 2), -1 = none."""
    places = np.full((num_rows, 2), -1)
    sequences, steps = np.nonzero(rows >= 0)
    places[rows[sequences, steps]] = np.stack([sequences, steps], axis=1)
    return places


def choose_fold_settings(
    workdir: Path, study: Study, fit: Fit | None, data: FoldData, watch: Watch
) -> dict[tuple[str, str], Setting]:
    """Chooses penalty and delay of each main and target for the baseline, on dev.

    Args:
      workdir: of the run, where they are kept.
      study: of all systems.
      fit: of `make_tuning`, None where there is one setting only.
      data: of the fold.
      watch: opens the progress line.

    Raises:
      ValueError: every setting of a main and target diverged.
    """
    lanes, name = study.baseline, data.sheets["dev"].fold
    if fit is not None:
        fitted = fit(data.fold, watch)
        scores = score_candidates(study.judges[name], fitted, data.sheets["dev"])
        lanes, tuning = tune_lanes(lanes, study.tuning, scores.tolist(), name)
        step = study.protocol.frame_step or 0.0
        tuning["delay_seconds"] = tuning["delay"] * step
        replace_rows(workdir / TUNING, tuning, {"fold": name})
    settings = {(x.main, x.target): Setting(x.l2, x.delay) for x in lanes}
    rows = [
        {"main": main, "target": target, **setting._asdict()}
        for (main, target), setting in settings.items()
    ]
    (workdir / SETTINGS).mkdir(exist_ok=True)
    write_json(workdir / SETTINGS / f"{name}.json", rows)
    return settings


def read_settings(workdir: Path, fold: str) -> dict[tuple[str, str], Setting] | None:
    """Reads the settings of a fold, None where they are not chosen yet."""
    path = workdir / SETTINGS / f"{fold}.json"
    if not path.is_file():
        return None
    return {
        (row["main"], row["target"]): Setting(row["l2"], row["delay"])
        for row in read_objects(path, SETTING)
    }


def pick_systems(names: Sequence[str], systems: Sequence[System]) -> list[System]:
    """Finds systems by key, in the order of the tables; all where no name is given.

    Raises:
      ValueError: a name is none of the keys.
    """
    keys = [system.key for system in systems]
    for name in names:
        if name not in keys:
            raise ValueError(
                f"--systems names {name!r}; expected some of {', '.join(keys)}"
            )
    return [system for system in systems if not names or system.key in names]


def make_fits(
    study: Study, systems: Sequence[System]
) -> tuple[dict[System, Fit], dict[str, str]]:
    """Makes the systems that the corpus allows.

    Returns:
      {system: fit} and, of the others, {key: why not}.

    Raises:
      ValueError: the config makes no sense for a system, whatever the corpus.
    """
    lacking = what_corpus_lacks(next(iter(study.folds.values())))
    fits: dict[System, Fit] = {}
    impossible: dict[str, str] = {}
    for system in systems:
        missing = what_is_missing(system, lacking)
        if missing:
            impossible[system.key] = missing
            continue
        try:
            fits[system] = system.make(study.protocol)
        except UnsuitedError as error:
            impossible[system.key] = str(error)
    return fits, impossible


def list_systems(
    workdir: Path,
    systems: Sequence[System],
    asked: Sequence[System],
    impossible: Mapping[str, str],
) -> None:
    """Writes which systems the run has, those of before among them, in table order."""
    path = workdir / SYSTEMS
    rows = read_objects(path, ENTRY) if path.exists() else []
    known = {row["key"]: row for row in rows}
    for system in asked:
        known[system.key] = {
            **{"key": system.key, "title": system.title, "source": system.source},
            **{"explicit": system.explicit, "seeded": system.seeded},
            **{"control": system.control, "impossible": impossible.get(system.key, "")},
        }
    order = [system.key for system in systems]
    write_json(path, [known[key] for key in order if key in known])


def _give_up(workdir: Path, key: str, reason: str) -> None:
    """Writes why a system has no score, which was found out when it was fitted."""
    path = workdir / SYSTEMS
    rows = read_objects(path, ENTRY)
    for row in rows:
        if row["key"] == key:
            row["impossible"] = reason
    write_json(path, rows)


def baseline_is_missing(
    workdir: Path,
    study: Study,
    asked: Sequence[System],
    partitions: Sequence[str],
) -> bool:
    """Tells whether systems will have nothing to be compared with on a partition."""
    return not any(system.key == BASELINE for system in asked) and not all(
        is_finished(workdir / FITTED / BASELINE / name, partitions)
        for name in study.folds
    )


def steps_of(study: Study) -> int:
    """Counts the updates of an epoch."""
    sequences = study.protocol.capacity["train"][0]
    return -(-sequences // study.protocol.training.batch_size)


def compare(
    workdir: Path,
    study: Study,
    fits: Mapping[System, Fit],
    partitions: Sequence[str],
    metric: str,
) -> None:
    """Runs every system on every fold, except where that was done before.

    What a fold does not suit has no score; its row says why, and the others go on.

    Args:
      workdir: of the run.
      study: of all systems.
      fits: of `make_fits`.
      partitions: "dev" and, where it is opened, "test".
      metric: of dev.
    """
    gathered = cache(lambda name: gather_fold(study, name, partitions))
    labels = {
        name: f"fold {i}/{len(study.folds)}  " if len(study.folds) > 1 else ""
        for i, name in enumerate(study.folds, 1)
    }
    line = partial(
        ProgressLine, steps_of(study), study.protocol.training.epochs, None, metric
    )
    places = {
        (system, name): workdir / FITTED / system.key / name
        for system in fits
        for name in study.folds
    }
    missing = {x for x, path in places.items() if not is_finished(path, partitions)}
    settings: dict[str, Mapping[tuple[str, str], Setting]] = {}
    tunes = study.tuning and any(system.seeded for system, _ in missing)
    tune = make_tuning(study.protocol, study.tuning) if tunes else None
    for name in study.folds:
        # what nothing is drawn for is no lane, and keeps no settings
        if any(system.seeded and fold == name for system, fold in missing):
            settings[name] = read_settings(workdir, name) or choose_fold_settings(
                *(workdir, study, tune, gathered(name), partial(line, labels[name]))
            )
    given_up: set[System] = set()
    for (system, name), path in places.items():
        if system in given_up:
            continue
        label = f"{labels[name]}{system.key}  "
        if (system, name) not in missing:
            print(f"{label}was finished before", file=sys.stderr)
            continue
        print(f"{label}begins", file=sys.stderr)
        data = gathered(name)
        fold = replace(data.fold, settings=settings.get(name, {}))
        watch = partial(line, label)
        judge = study.judges[name]
        try:
            found = run_system(fits[system], fold, data.sheets, judge, watch, path)
        except UnsuitedError as error:
            print(f"note: {label}{error}", file=sys.stderr)
            where = f"fold {name}: " if len(study.folds) > 1 else ""
            _give_up(workdir, system.key, f"{where}{error}")
            given_up.add(system)
            continue
        said = describe_choice(found, notation(metric).score)
        seconds = read_facts(path / FIT)["seconds"]
        print(f"{label}fitted in {seconds:.0f} s, on dev: {said}", file=sys.stderr)
