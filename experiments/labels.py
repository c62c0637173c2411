r"""Scores over the share of labels: what other modalities add where labels are few.

    python experiments/labels.py --config=configs/ravdess.py:few_labels --folds \
        --workdir=runs/labels --test

Hides labels of train, draw by draw, and trains on the rest: the baseline, implicit
fusion, a teacher that fuses all modalities, its student of one modality, and what the
student is compared with. --resume continues.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.devices import use_devices
from ifusion.launch.flags import define_config, define_plan
from ifusion.launch.program import run
from ifusion.launch.train import read_plan
from ifusion.terminal import print_result

CONFIG = define_config()
define_plan()
FRACTIONS = flags.DEFINE_list(
    "fractions", ["0.05", "0.1", "0.2", "0.5", "1"], "Shares of the labels to keep."
)
DRAWS = flags.DEFINE_integer("draws", 5, "Draws of each share.", lower_bound=1)
BY = flags.DEFINE_enum(
    "by",
    "clip",
    ["clip", "speaker"],
    "Keep the labels of some clips of each speaker, or of some speakers.",
)
TEST = flags.DEFINE_bool("test", False, "Also open the test partitions.")


def main() -> None:
    """Trains the study and writes its table and picture."""
    from ifusion.evaluation.label_curve import make_label_curve
    from ifusion.experiment import label_study as study
    from ifusion.reporting.label_report import write_label_report

    folder, shares = flags.FLAGS.workdir, study.parse_shares(FRACTIONS.value)
    mesh, plan = use_devices(), read_plan(CONFIG.value, study.COMPARED)
    resume, by, draws = flags.FLAGS.resume, BY.value, DRAWS.value
    study.run_study(folder, plan, shares, draws, by, mesh, resume, TEST.value)
    curve = make_label_curve(study.read_study(folder, shares, draws), study.PAIRS)
    teachers = study.score_teachers(folder, plan.corpus, shares, draws, by)
    path = write_label_report(curve, teachers, folder)
    print_result(path.read_text("utf-8"))
    print_result(f"report: {path.with_name('report.html')}")


if __name__ == "__main__":
    run(main, "stopped; pass --resume to continue")
