"""Every system of the paper's tables under one protocol, and a report that compares.

    python experiments/tables.py --config=configs/ravdess.py --workdir=runs/tables \
        --folds --systems=svm,baseline,implicit_fusion --test

Systems that are finished are kept: --resume goes on, with more systems where --systems
names them. --test opens the test partition for the systems named, which is logged; what
was fitted without it is fitted again. `docs/systems.md` lists the systems.
"""

import sys
import time
from pathlib import Path

from absl import flags

from launch import define_cache, define_config, keep_compiled, run, use_all_cores

CONFIG = define_config()
CACHE = define_cache()
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run directory to make, for example runs/tables.", required=True
)
flags.mark_flag_as_required("config")
CHOSEN = flags.DEFINE_list("systems", [], "Systems to compare; all by default.")
FOLDS = flags.DEFINE_bool(
    "folds", False, "Cross-validate over the corpus's folds instead of its own split."
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Go on with the run in --workdir; finished systems are kept."
)
TEST = flags.DEFINE_bool("test", False, "Open the test partition, too.")


def main() -> None:
    """Fits, chooses and scores the systems, and writes the report."""
    config, workdir = CONFIG.value, Path(WORKDIR.value)
    use_all_cores()
    keep_compiled(CACHE.value)

    from comparison import (
        baseline_is_missing,
        compare,
        list_systems,
        make_fits,
        make_study,
        pick_systems,
    )
    from data import open_corpus, split_corpus, warnings_of
    from directory import log_opening, prepare_run
    from files import EVALUATIONS, TABLES, locked, refuse_existing

    from ifusion.reporting.comparison_report import write_comparison
    from ifusion.systems.catalogue import SYSTEMS

    refuse_existing(workdir, RESUME.value)
    chosen = pick_systems(CHOSEN.value, SYSTEMS)
    corpus = open_corpus(config.corpus)
    folds = split_corpus(corpus, FOLDS.value)
    for sentence in (*corpus.notes, *warnings_of(folds)):
        print(f"note: {sentence}", file=sys.stderr)
    study = make_study(config, folds)
    partitions = ["dev", "test"] if TEST.value else ["dev"]
    for name, split in folds.items():
        if not set(partitions) <= set(split.partition):
            raise ValueError(
                f"corpus {corpus.name!r} has no recording in 'test' (fold {name})"
            )
    fits, impossible = make_fits(study, chosen)
    for key, reason in impossible.items():
        print(f"note: {key} has no score: {reason}", file=sys.stderr)
    with locked(workdir):
        refuse_existing(workdir, RESUME.value)  # another may have come first
        prepare_run(workdir, TABLES, config, folds, {})
        list_systems(workdir, SYSTEMS, chosen, impossible)
        if baseline_is_missing(workdir, study, chosen, partitions):
            print(
                f"note: baseline has no score on {partitions[-1]}, so no difference to "
                "it can be told there; add it to --systems",
                file=sys.stderr,
            )
        if TEST.value:
            times = log_opening(workdir / EVALUATIONS, "test")
            if times:
                print(f"note: test was opened {times} times before", file=sys.stderr)
        begin = time.monotonic()
        compare(workdir, study, fits, partitions, config.evaluation.metric)
        print(f"compared in {time.monotonic() - begin:.0f} s", file=sys.stderr)
        report = write_comparison(workdir, config.evaluation.resamples)
    print((workdir / "comparison.md").read_text("utf-8"))
    print(f"report: {report}")


if __name__ == "__main__":
    run(main, "stopped; systems that were finished are kept (--resume goes on)")
