"""Opens the test partition of a finished run; no other program looks at it.

    python experiments/evaluate.py --run=runs/ravdess

Fits nothing: every system predicts with what was saved. Each opening is logged in
evaluations.jsonl of the run, and the report is written again.
"""

import early  # noqa: F401

from ifusion.launch.devices import use_devices
from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.launch.train import print_report

RUN = define_path("run", "Run directory.", required=True)


def main() -> None:
    """Predicts test with every system of the run."""
    from ifusion.api import corpus_of
    from ifusion.experiment.runs import open_test

    place, mesh = RUN.value, use_devices()
    open_test(place, corpus_of(place), mesh)
    print_report(place)


if __name__ == "__main__":
    run(main, "stopped; run it again (evaluations.jsonl says whether test was opened)")
