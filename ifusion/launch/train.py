"""Trains the run that a program's flags describe, and prints its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from ifusion.launch.devices import join_job
from ifusion.terminal import print_result

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from ifusion.experiment.runs import Plan


def train_run(config: "ConfigDict", systems: Sequence[str], test: bool = False) -> None:
    """Trains the run that the flags of `define_run` describe, and reports.

    `systems` are used without --systems; of these, systems that need unlabelled
    recordings are left out if there are none. If `test`, test is opened, too.
    """
    from ifusion.experiment import runs
    from ifusion.experiment.jobs import train_here
    from ifusion.experiment.shares import parse_share

    values, place = flags.FLAGS, flags.FLAGS.workdir
    host, mesh = join_job()
    share = parse_share(values.lanes) if values.lanes else None
    plan = read_plan(config, systems)
    if not values.systems:
        plan = _without_unsuited(plan)
    if share is not None:
        runs.train_shares(place, plan, [share], mesh, values.resume)
    elif train_here(place, plan, mesh, values.resume, host):
        if test:
            runs.open_test(place, plan.corpus, mesh=mesh)
        print_report(place)


def _without_unsuited(plan: "Plan") -> "Plan":
    """Leaves out systems that need unlabelled recordings if there are none."""
    from ifusion.corpora.corpus import has_unlabelled
    from ifusion.systems.catalogue import find_systems

    if has_unlabelled(plan.corpus):
        return plan
    needing = {x.key for x in find_systems(plan.systems) if "unlabelled" in x.needs}
    return plan._replace(systems=tuple(k for k in plan.systems if k not in needing))


def print_report(place: Path) -> None:
    """Writes the report of a run, and prints its table and path."""
    from ifusion.experiment.runs import read_result
    from ifusion.reporting.report import main_table, write_report

    result = read_result(place)
    path = write_report(result, place)
    print_result((place / main_table(result)).read_text("utf-8"))
    print_result(f"report: {path}")


def read_plan(config: "ConfigDict", systems: Sequence[str]) -> "Plan":
    """Opens the corpus of a config and reads its options.

    `systems` are used without --systems.
    """
    from ifusion.corpora.readers import open_corpus
    from ifusion.experiment.options import options_from_dict
    from ifusion.experiment.runs import Plan
    from ifusion.systems.catalogue import find_systems

    sections = config.to_dict()
    source = sections.pop("corpus")
    values = flags.FLAGS
    chosen = tuple(values.systems or systems)
    find_systems(chosen)  # refuses unknown ones before anything is read
    if values.adapt:
        if source.get("unlabelled"):
            raise ValueError(
                "--adapt and corpus.unlabelled both name a folder; expected one of them"
            )
        source["unlabelled"] = str(values.adapt)
    options = options_from_dict(sections)
    corpus = open_corpus(source.pop("kind"), source)
    return Plan(
        corpus=corpus,
        options=options,
        systems=chosen,
        folds=values.folds,
        tensorboard=values.tensorboard,
        strict=values.strict,
    )
