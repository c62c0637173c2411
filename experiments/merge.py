"""Joins the shares of a run that `sweep.py --lanes=i/n` has trained; reports on dev.

    python experiments/merge.py --workdir=runs/ravdess
    python experiments/merge.py --workdir=runs/ravdess --from=/scratch/a,/scratch/b

The result is the run that one machine would have produced. You may remove the shares.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.devices import use_devices
from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.launch.train import print_report

WORKDIR = define_path("workdir", "Run to complete.", required=True)
FROM = flags.DEFINE_list(
    "from", None, "The --workdir of each share; that of the run by default."
)


def main() -> None:
    """Joins the shares."""
    from ifusion.api import corpus_of
    from ifusion.experiment.runs import merge
    from ifusion.experiment.shares import find_shares
    from ifusion.paths import expand_path

    place, mesh = WORKDIR.value, use_devices()
    roots = [expand_path(root) for root in FROM.value or (place,)]
    merge(place, roots, corpus_of(find_shares(roots)[0]), mesh)
    print_report(place)


if __name__ == "__main__":
    run(main, "stopped; run it again to continue")
