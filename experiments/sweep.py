"""Trains mains x alphas x seeds as lanes of one program, and reports on dev.

    python experiments/sweep.py --config=configs/ravdess.py --workdir=runs/ravdess

Any entry of the config is a flag, as in --config.training.epochs=50. The test partition
stays closed; `experiments/evaluate.py` opens it.
"""

import sys
import time
from functools import partial
from pathlib import Path

from absl import flags

from launch import define_cache, define_config, keep_compiled, run, use_all_cores

CONFIG = define_config()
CACHE = define_cache()
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run directory to make, for example runs/ravdess.", required=True
)
FOLDS = flags.DEFINE_bool(
    "folds", False, "Cross-validate over the corpus's folds instead of its own split."
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Go on with the run in --workdir; finished folds are kept."
)


def main() -> None:
    """Runs the sweep."""
    config, workdir = CONFIG.value, Path(WORKDIR.value)
    use_all_cores()
    keep_compiled(CACHE.value)

    from data import open_corpus, split_corpus, warnings_of
    from directory import prepare_run
    from files import CHECKPOINTS, locked, refuse_existing
    from progress import ProgressLine
    from study import make_plan, save_fold, steps_of, train_fold

    from ifusion.reporting.report import TABLES, write_report

    refuse_existing(workdir, RESUME.value)
    corpus = open_corpus(config.corpus)
    folds = split_corpus(corpus, FOLDS.value)
    for sentence in (*corpus.notes, *warnings_of(folds)):
        print(f"note: {sentence}", file=sys.stderr)
    plan = make_plan(config, folds)
    with locked(workdir):
        refuse_existing(workdir, RESUME.value)  # another may have come first
        prepare_run(workdir, config, folds, {"lanes": len(plan.lanes)})
        (workdir / CHECKPOINTS).mkdir(exist_ok=True)
        begin = time.monotonic()
        for number, (name, split) in enumerate(folds.items(), 1):
            if (workdir / CHECKPOINTS / name).exists():
                print(f"fold {name} was finished before", file=sys.stderr)
                continue
            label = f"fold {number}/{len(folds)}  " if len(folds) > 1 else ""
            watch = partial(
                ProgressLine,
                *(steps_of(plan), plan.options.epochs, plan.sweep.width),
                *(config.evaluation.metric, label),
            )
            trained = train_fold(plan, split, name, watch)
            save_fold(workdir, name, split, plan.task, *trained)
        print(f"trained in {time.monotonic() - begin:.0f} s", file=sys.stderr)
        report = write_report(workdir, config.evaluation.resamples)
    print((workdir / TABLES[corpus.task]).read_text("utf-8"))
    print(f"report: {report}")


if __name__ == "__main__":
    run(main, "stopped; folds that were finished are kept (--resume goes on)")
