"""Joins the shares of a run that `sweep.py --lanes=i/n` has trained; reports on dev.

    python experiments/merge.py --workdir=runs/ravdess
    python experiments/merge.py --workdir=runs/ravdess --from=/scratch/a,/scratch/b

What comes out is the run that one machine would have made. The shares stay, and are not
needed any more.
"""

from pathlib import Path

from absl import flags
from hosts import lane_mesh

from launch import define_cache, keep_compiled, run, use_all_cores

CACHE = define_cache()
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Run directory to complete, for example runs/ravdess.",
    required=True,
)
FROM = flags.DEFINE_list(
    "from",
    None,
    "Directories that the shares were trained in, the --workdir of each sweep.py; by "
    "default that of the run.",
)


def main() -> None:
    """Joins the shares."""
    use_all_cores()
    keep_compiled(CACHE.value)

    from course import merge_shares

    workdir = Path(WORKDIR.value)
    roots = [Path(x) for x in FROM.value or (WORKDIR.value,)]
    merge_shares(workdir, roots, lane_mesh())


if __name__ == "__main__":
    run(main, "stopped; the same command goes on")
