r"""Writes the predictions of a run as files of AVEC, or scores such files.

    python experiments/submission.py --run=runs/recola --partition=test \
        --folder=submission
    python experiments/submission.py --gold=DIR/ratings_gold_standard \
        --folder=submission/audio

The first writes <folder>/<main>/<target>/<recording>.csv (name;frameTime;prediction) of
the best seed that dev chose; evaluate.py must have opened the partition. A file has one
row per frame of the recording's own files; the first and last prediction are repeated
where these were cut to common frames. The second needs no run: it scores a folder with
one sub-folder per target.
"""

import early  # noqa: F401

from typing import Any

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

RUN = define_path("run", "Run directory to write files of.")
PARTITION = flags.DEFINE_enum("partition", "test", ["dev", "test"], "What to write.")
SYSTEM = flags.DEFINE_enum(
    "system", "implicit_fusion", ["implicit_fusion", "baseline"], "Whose predictions."
)
SEED = flags.DEFINE_integer("seed", None, "Seed to write instead of the best on dev.")
FOLDER = define_path("folder", "Of the prediction files.", required=True)
GOLD = define_path("gold", "Folder of gold standards, to score by.")
CONVENTION = flags.DEFINE_enum(
    "convention", "population", ["population", "sample", "avec_ces"], "Of the CCC."
)
STEP = flags.DEFINE_float("frame_step", 0.04, "Of the files that are scored [s].")


def main() -> None:
    """Writes or scores."""
    run_folder, gold, folder = RUN.value, GOLD.value, FOLDER.value
    if (run_folder is None) == (gold is None):
        raise ValueError("expected either --run, to write files, or --gold, to score")
    if run_folder is not None:
        from ifusion.experiment.runs import read_result
        from ifusion.reporting.submission import export_submission

        result, system = read_result(run_folder), SYSTEM.value
        lines = export_submission(result, folder, PARTITION.value, system, SEED.value)
    else:
        from ifusion.evaluation.submission import score_folders

        convention: Any = CONVENTION.value
        lines = score_folders(folder, gold, convention, STEP.value)
    for line in lines:
        print_result(line)


if __name__ == "__main__":
    run(main, "stopped; files written so far are left")
