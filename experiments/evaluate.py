"""Opens a partition of a finished run: the one act that may look at test.

    python experiments/evaluate.py --run=runs/ravdess --partition=test

Every opening is logged in evaluations.jsonl of the run; the report is written anew.
"""

import sys
from pathlib import Path

from absl import flags

from launch import define_cache, keep_compiled, run, use_all_cores

RUN = flags.DEFINE_string("run", None, "Run directory of sweep.py.", required=True)
PARTITION = flags.DEFINE_enum("partition", "test", ["dev", "test"], "What to open.")
CACHE = define_cache()


def main() -> None:
    """Scores every lane of the run on the partition."""
    workdir, partition = Path(RUN.value), PARTITION.value
    use_all_cores()
    keep_compiled(CACHE.value)

    from data import open_corpus, require_unchanged, split_corpus
    from directory import log_opening
    from files import CHECKPOINTS, CORPUS, EVALUATIONS, locked, read_config
    from fold import require_evaluable, score_fold
    from ml_collections import ConfigDict
    from study import make_task

    from ifusion.reporting.report import TABLES, write_report
    from ifusion.training.checkpoint import load_checkpoint

    config = ConfigDict(read_config(workdir))
    folds = split_corpus(open_corpus(config.corpus), len(config.folds) > 1)
    checkpoints = {}
    for name, corpus in folds.items():
        if not (workdir / CHECKPOINTS / name).exists():
            raise ValueError(
                f"{workdir}: fold {name} is not trained yet; finish the run by "
                "sweep.py --resume first"
            )
        checkpoints[name] = load_checkpoint(workdir / CHECKPOINTS / name)
        require_evaluable(checkpoints[name], corpus, name, partition)
    require_unchanged(workdir / CORPUS, folds)
    with locked(workdir):
        times = log_opening(workdir / EVALUATIONS, partition)
        if times:
            print(f"note: {partition} was opened {times} times before", file=sys.stderr)
        for name, corpus in folds.items():
            task = make_task(config, corpus)
            score_fold(workdir, name, corpus, task, checkpoints[name], partition)
        report = write_report(workdir, config.evaluation.resamples)
    print((workdir / TABLES[corpus.task]).read_text("utf-8"))
    print(f"report: {report}")


if __name__ == "__main__":
    run(
        main,
        "stopped; run it again to score what is missing (evaluations.jsonl of the run "
        "tells whether the partition was opened)",
    )
