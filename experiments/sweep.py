"""Trains mains x alphas x seeds as lanes of one program, and reports on dev.

    python experiments/sweep.py --config=configs/ravdess.py --workdir=runs/ravdess

Any entry of the config is a flag, as in --config.training.epochs=50. The test partition
stays closed; `experiments/evaluate.py` opens it.

--lanes=2/4 trains the second of four shares of the lanes, for jobs that know nothing of
each other; `experiments/merge.py` joins them. Under --distributed or --coordinator, the
processes of one job, which see the same --workdir, share the lanes by themselves, and
the first of them joins them.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from hosts import (
    ALONE,
    Host,
    join_hosts,
    lane_mesh,
    not_waiting_for_hosts,
    wait_for_hosts,
)
from ml_collections import ConfigDict

from launch import define_cache, define_config, keep_compiled, run, use_all_cores

if TYPE_CHECKING:
    from jax.sharding import Mesh

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
MESH = flags.DEFINE_enum(
    "mesh",
    "lanes",
    ["lanes", "single"],
    "Spread lanes over all devices of this host, CPU cores where there is no other, or "
    "use one.",
)
LANES = flags.DEFINE_string(
    "lanes", None, "Train share i of n only, as in 2/4; merge.py joins the shares."
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "Share the lanes among the processes of the job that this one is part of, under "
    "SLURM, Open MPI or Kubernetes.",
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "Share the lanes among processes that are told of each other: HOST:PORT of process "
    "0; with --processes and --process.",
)
PROCESSES = flags.DEFINE_integer(
    "processes", None, "How many processes share the lanes.", lower_bound=1
)
PROCESS = flags.DEFINE_integer(
    "process", None, "Which of them this one is, counted from 0.", lower_bound=0
)
HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", 100, "[s] after which a process counts as dead.", lower_bound=1
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
    """Runs the sweep or its part of it, or one lane of it again."""
    if MESH.value == "lanes":
        use_all_cores()
    keep_compiled(CACHE.value)
    workdir = Path(WORKDIR.value)
    among_others = DISTRIBUTED.value or COORDINATOR.value is not None
    if sum([LANES.value is not None, REPLAY.value is not None, among_others]) > 1:
        raise ValueError(
            "--lanes, --replay-lane and --distributed (or --coordinator) exclude each "
            "other"
        )
    if not among_others and (PROCESSES.value, PROCESS.value) != (None, None):
        raise ValueError("--processes and --process need --coordinator=HOST:PORT")
    if REPLAY.value is not None:
        replay(workdir, REPLAY.value)
    elif LANES.value is not None:
        train_share(CONFIG.value, workdir, LANES.value)
    elif among_others:
        coordinator, heartbeat = COORDINATOR.value, HEARTBEAT.value
        host = join_hosts(coordinator, PROCESSES.value, PROCESS.value, heartbeat)
        train_among_others(CONFIG.value, workdir, host)
    elif RESUME.value and (workdir / "shares").exists():
        train_among_others(CONFIG.value, workdir, ALONE)
    else:
        train(CONFIG.value, workdir)


def train(config: ConfigDict, workdir: Path) -> None:
    """Trains all folds that are not finished, and reports."""
    from course import open_folds, train_run
    from files import refuse_existing

    refuse_existing(workdir, RESUME.value)
    folds = open_folds(config, FOLDS.value)
    train_run(workdir, config, folds, _mesh(), RESUME.value)


def train_share(config: ConfigDict, workdir: Path, lanes: str) -> None:
    """Trains one share of the lanes."""
    from course import open_folds, train_shares
    from shares import parse_share

    share = parse_share(lanes)
    folds = open_folds(config, FOLDS.value)
    train_shares(workdir, config, folds, _mesh(), [share], RESUME.value)


def train_among_others(config: ConfigDict, workdir: Path, host: Host) -> None:
    """Trains the shares of this process; the first one joins those of all.

    There are as many shares as the run began with processes, however many go on.
    """
    from course import merge_shares, open_folds, train_shares
    from settings import Share
    from shares import count_shares
    from study import count_lanes

    folds = open_folds(config, FOLDS.value)
    count = count_shares(workdir) or min(host.processes, count_lanes(config, folds))
    mine = [Share(i + 1, count) for i in range(host.process, count, host.processes)]
    if not mine:
        print(
            f"note: process {host.process} of {host.processes} has nothing to do: "
            f"the run is split into {count} shares",
            file=sys.stderr,
        )
    train_shares(workdir, config, folds, _mesh(), mine, RESUME.value)
    wait_for_hosts()
    if host.process == 0:
        merge_shares(workdir, [workdir], _mesh())


def replay(workdir: Path, lane: str) -> None:
    """Trains one lane of a run again."""
    if CONFIG.value is not None:
        raise ValueError("--replay-lane goes by the config of the run: omit --config")

    from replay import replay_lane

    print(replay_lane(workdir, lane, _mesh()))


def _mesh() -> "Mesh":
    return lane_mesh(single=MESH.value == "single")


if __name__ == "__main__":
    with not_waiting_for_hosts():
        run(main, "stopped; what was saved is kept (--resume goes on)")
