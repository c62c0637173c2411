"""The devices and processes that a program uses, from its flags."""

import os
from typing import TYPE_CHECKING

from absl import flags

from ifusion.launch.flags import define_path

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from ifusion.experiment.hosts import Host

CACHE = define_path(
    "compilation_cache",
    "Folder for compiled programs, for a faster start next time.",
)
MESH = flags.DEFINE_enum(
    "mesh",
    "lanes",
    ["lanes", "single"],
    "Spread lanes over all devices of this host (CPU cores without an accelerator), or "
    "use one.",
)


def use_devices() -> "Mesh":
    """Lays out the devices of this process for lanes."""
    _prepare_jax()
    return _lay_out()


def join_job() -> tuple["Host", "Mesh"]:
    """Joins this process's job, if any, and lays out its devices.

    Raises:
      ValueError: if flags contradict each other, or there is no job.
    """
    _prepare_jax()
    return _read_host(), _lay_out()


def _prepare_jax() -> None:
    """Sets what JAX must know before it looks for devices or other processes."""
    import jax

    if CACHE.value:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.value))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if MESH.value == "lanes":  # on a CPU every core becomes a device
        jax.config.update("jax_num_cpu_devices", _count_cores())


def _lay_out() -> "Mesh":
    from ifusion.experiment.study import lane_mesh

    return lane_mesh(single=MESH.value == "single")


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_host() -> "Host":
    from ifusion.experiment.hosts import ALONE, join_hosts

    values = flags.FLAGS
    joins = values.distributed or values.coordinator is not None
    if joins and values.lanes is not None:
        raise ValueError(
            "--lanes and --distributed (or --coordinator) exclude each other"
        )
    if not joins and (values.processes, values.process) != (None, None):
        raise ValueError("--processes and --process need --coordinator=HOST:PORT")
    if not joins:
        return ALONE
    return join_hosts(
        values.coordinator, values.processes, values.process, values.heartbeat
    )
