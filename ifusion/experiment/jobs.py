"""Trains one run with several processes: a share for each, then a merge."""

from pathlib import Path

from jax.sharding import Mesh

from ifusion.experiment.hosts import ALONE, Host, wait_for_hosts
from ifusion.experiment.runs import Plan, merge, train, train_shares
from ifusion.experiment.shares import count_shares
from ifusion.experiment.store import CONFIG, SHARES
from ifusion.experiment.study import count_grid
from ifusion.experiment.trainer import Share
from ifusion.terminal import note


def train_here(
    run: Path, plan: Plan, mesh: Mesh, resume: bool, host: Host = ALONE
) -> bool:
    """Trains this process's part of a run in a directory that all processes see.

    A run started by several processes keeps its number of shares, however many
    processes continue it. Process 0 merges.

    Returns:
      Whether the run is complete; only process 0 completes it.
    """
    shared = resume and (run / SHARES).exists() and not (run / CONFIG).exists()
    if host == ALONE and not shared:
        train(run, plan, mesh, resume)
        return True
    count = count_shares(run) or min(
        host.processes, count_grid(plan.options, plan.corpus)
    )
    mine = [Share(i + 1, count) for i in range(host.process, count, host.processes)]
    if not mine:
        note(
            f"process {host.process} of {host.processes} has nothing to do: the "
            f"run is split into {count} shares"
        )
    train_shares(run, plan, mine, mesh, resume)
    if host != ALONE:
        wait_for_hosts()
    if host.process == 0:
        merge(run, [run], plan.corpus, mesh)
    return host.process == 0
