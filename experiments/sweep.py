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
from ml_collections import ConfigDict

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
    "resume",
    False,
    "Go on with the run in --workdir, whatever ended it; begin it where there is none.",
)
REPLAY = flags.DEFINE_string(
    "replay-lane",
    None,
    "Train one lane of the run in --workdir again, by the config of that run, and "
    "compare: main=audio,alpha=0.3,seed=2, and target=...,fold=... where there are "
    "several.",
)
flags.register_validator(
    "config",
    lambda config: config is not None or flags.FLAGS["replay-lane"].value is not None,
    "expected an experiment, such as --config=configs/ravdess.py",
)


def main() -> None:
    """Runs the sweep, or one lane of it again."""
    use_all_cores()
    keep_compiled(CACHE.value)
    workdir = Path(WORKDIR.value)
    if REPLAY.value is None:
        train(CONFIG.value, workdir)
        return
    if CONFIG.value is not None:
        raise ValueError("--replay-lane goes by the config of the run: omit --config")

    from replay import replay_lane

    print(replay_lane(workdir, REPLAY.value))


def train(config: ConfigDict, workdir: Path) -> None:
    """Trains all folds that are not finished, and reports."""
    from data import open_corpus, split_corpus, warnings_of
    from directory import prepare_run
    from files import CHECKPOINTS, SWEEP, forget_snapshots, locked, refuse_existing
    from fold import failures_of, is_finished, save_fold, train_fold
    from progress import ProgressLine
    from snapshots import open_snapshots
    from study import make_plan, steps_of

    from ifusion.reporting.report import TABLES, write_report

    refuse_existing(workdir, RESUME.value)
    corpus = open_corpus(config.corpus)
    folds = split_corpus(corpus, FOLDS.value)
    for sentence in (*corpus.notes, *warnings_of(folds)):
        print(f"note: {sentence}", file=sys.stderr)
    plan = make_plan(config, folds)
    with locked(workdir):
        refuse_existing(workdir, RESUME.value)  # another may have come first
        prepare_run(workdir, SWEEP, config, folds, {"lanes": len(plan.lanes)})
        (workdir / CHECKPOINTS).mkdir(exist_ok=True)
        begin = time.monotonic()
        for number, (name, split) in enumerate(folds.items(), 1):
            if is_finished(workdir, name):
                print(f"fold {name} was finished before", file=sys.stderr)
                forget_snapshots(workdir, name)
                continue
            label = f"fold {number}/{len(folds)}  " if len(folds) > 1 else ""
            watch = partial(
                ProgressLine,
                *(steps_of(plan), plan.options.epochs, plan.sweep.width),
                *(config.evaluation.metric, label),
            )
            keep = partial(open_snapshots, workdir, config.sweep, name)
            trained = train_fold(plan, split, name, watch, keep)
            for sentence in failures_of(trained[0]):
                print(f"note: {label}{sentence}", file=sys.stderr)
            save_fold(workdir, name, split, plan.task, *trained)
            forget_snapshots(workdir, name)
        print(f"trained in {time.monotonic() - begin:.0f} s", file=sys.stderr)
        report = write_report(workdir, config.evaluation.resamples)
    print((workdir / TABLES[corpus.task]).read_text("utf-8"))
    print(f"report: {report}")


if __name__ == "__main__":
    run(main, "stopped; what was saved is kept (--resume goes on)")
